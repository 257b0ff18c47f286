"""ElevenLabs' history: what was spoken, kept with its sound.

It is how a voice that was paid for and whose reply was lost can still be had. That speech is listed while it is being
made is decided here, 2026-11-22: the specification has a state for it, and says not of what.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from media_assets.simulator.clock import Clock
from media_assets.simulator.elevenlabs_inputs import HistoryQuery, voice_name

FIRST_COUNT = 17_189
"""What the account had used before the simulator began; not 0, so that nobody takes a count for a charge."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One entry."""

    id: str
    request_id: str
    voice_id: str
    model_id: str
    text: str
    settings: Mapping[str, Any]
    output_format: str
    mime: str
    created_s: float
    """Virtual seconds since the simulator's start."""
    count_from: int
    count_to: int
    """Credits used before and after."""
    make: Callable[[], bytes] | None
    """Makes the sound again, byte for byte; None while it is being made."""


class History:
    """One account's history, and the count of what it has used; safe to use from any thread."""

    def __init__(self, clock: Clock) -> None:
        """Start empty."""
        self._clock = clock
        self._lock = threading.Lock()
        self._items: dict[str, Item] = {}
        self._used = FIRST_COUNT

    @property
    def used(self) -> int:
        """Return how many credits the account has used."""
        return self._used

    def charge(self, count: int) -> tuple[int, int]:
        """Count credits; return the count before and after."""
        with self._lock:
            before, self._used = self._used, self._used + count
            return before, self._used

    def add(self, item: Item) -> None:
        """Keep an entry."""
        with self._lock:
            self._items[item.id] = item

    def get(self, item_id: str) -> Item | None:
        """Return an entry."""
        return self._items.get(item_id)

    def remove(self, item_id: str) -> bool:
        """Forget an entry; False when there is none. What it cost stays counted."""
        with self._lock:
            return self._items.pop(item_id, None) is not None

    def page(self, query: HistoryQuery, *, lag_s: float = 0.0, hides_running: bool = False) -> dict[str, Any]:
        """Return one page of the list.

        Args:
            query: Filters, order and where to begin.
            lag_s: Entries younger than this, in virtual seconds, are not listed yet.
            hides_running: Whether entries whose sound is still being made are left out.
        """
        with self._lock:
            items = list(self._items.values())
        newest_s = self._clock.now_s() - lag_s
        found = [item for item in items if item.created_s <= newest_s and self._fits(item, query)]
        if hides_running:
            found = [item for item in found if item.make is not None]
        if query.sort_direction == "desc":
            found.reverse()
        rest = list(_after(found, query.start_after_history_item_id))
        shown = rest[: query.page_size]
        return {
            "history": [self.shown(item) for item in shown],
            "last_history_item_id": shown[-1].id if shown else None,
            "has_more": len(rest) > len(shown),
            "scanned_until": self._unix(shown[-1]) if shown else None,
        }

    def shown(self, item: Item) -> dict[str, Any]:
        """Return an entry as the API tells it."""
        return {
            "history_item_id": item.id,
            "request_id": item.request_id,
            "voice_id": item.voice_id,
            "model_id": item.model_id,
            "voice_name": voice_name(item.voice_id),
            "voice_category": "premade",
            "text": item.text,
            "date_unix": self._unix(item),
            "character_count_change_from": item.count_from,
            "character_count_change_to": item.count_to,
            "content_type": item.mime,
            "state": "processing" if item.make is None else "created",
            "settings": dict(item.settings),
            "share_link_id": None,
            "source": "TTS",
            "output_format": item.output_format,
        }

    def _unix(self, item: Item) -> int:
        return int(self._clock.utc(item.created_s).timestamp())

    def _fits(self, item: Item, query: HistoryQuery) -> bool:
        made = self._unix(item)
        return (
            query.voice_id in {None, item.voice_id}
            and query.model_id in {None, item.model_id}
            and query.source in {None, "TTS"}
            and (query.search is None or query.search.lower() in item.text.lower())
            and (query.date_after_unix is None or made >= query.date_after_unix)
            and (query.date_before_unix is None or made < query.date_before_unix)
        )


def _after(items: list[Item], item_id: str | None) -> Iterator[Item]:
    """Yield the items behind one; all when none is named, nothing when it is not among them."""
    has_begun = item_id is None
    for item in items:
        if has_begun:
            yield item
        has_begun = has_begun or item.id == item_id
