"""What the prompt table holds of a key: how it is read, and compared with a prompt as it is given."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from media_assets.errors import LedgerError, MediaAssetsError, Rerun
from media_assets.ledger.clock import utc_now
from media_assets.ledger.schema import prompt
from media_assets.prompt import Prompt


class SupersededError(MediaAssetsError):
    """Another prompt is pinned under the key by now. Nothing was sent or changed, and nothing has failed."""


@dataclass(frozen=True, kw_only=True)
class PinnedPrompt:
    """A prompt as runs find it."""

    prompt: Prompt
    pin_seq: int
    """Grows by one whenever what is pinned under the key changes."""
    source: str
    status: str
    error: dict[str, str] | None
    updated_at: str
    priority: int = 0
    """The higher, the sooner in a batch."""
    arrived: int | None = None
    """Its place among what came through the inbox; None: it was pinned otherwise."""

    @property
    def key(self) -> str:
        """The prompt's."""
        return self.prompt.key


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A prompt whose row this version cannot read: told where it stands, it hides no other."""

    key: str
    error: LedgerError
    """Why, and what to do."""
    arrived: int | None
    """As a :class:`PinnedPrompt` has it."""


_DIGEST = sa.select(prompt.c.digest).where(prompt.c.key == sa.bindparam("its_key"))


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """On what terms a prompt comes through the inbox."""

    priority: int = 0


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is pinned under the key of a prompt that is given."""

    source: str
    is_same: bool
    """Whether to pin the given one would change nothing."""


def row_of(connection: sa.Connection, key: str) -> sa.Row[Any] | None:
    """Return the row of a key."""
    return connection.execute(sa.select(prompt).where(prompt.c.key == key)).one_or_none()


def require(connection: sa.Connection, key: str, digest: str) -> None:
    """Hold that a prompt is pinned still.

    Raises:
        SupersededError: Another one is.
    """
    known = connection.execute(_DIGEST, {"its_key": key}).scalar_one_or_none()
    if known != digest:
        message = f"the prompt {key} was changed meanwhile; nothing was sent for what it was."
        raise SupersededError(message)


def newest_arrival(connection: sa.Connection) -> int:
    """Return the newest place in the order of what came through the inbox; 0: nothing did."""
    return connection.execute(sa.select(sa.func.max(prompt.c.arrived))).scalar() or 0


def effective(known: sa.Row[Any] | None, as_given: Prompt) -> Prompt:
    """Return what is to be pinned: as given, but with the new takes of a prompt whose source has not changed.

    What cannot be read gives way to what is given: to pin its file again is what its error asks for.
    """
    if known is None or known.source_digest != as_given.digest or known.digest == known.source_digest:
        return as_given
    try:
        pinned = read_body(known)
    except LedgerError:
        return as_given
    return pinned.model_copy(update={"max_cost_usd": as_given.max_cost_usd})


def read_body(row: sa.Row[Any]) -> Prompt:
    """Return the prompt of a row.

    Raises:
        LedgerError: Another version wrote it, or it is damaged.
    """
    try:
        return Prompt.model_validate_json(row.body)
    except ValidationError as error:
        raise _cannot_be_read(row.key) from error


def _cannot_be_read(key: str) -> LedgerError:
    message = f"the prompt {key} was pinned by another version, or is damaged, and cannot be read; pin its file again."
    return LedgerError(message, rerun=Rerun.NEVER)


def is_pinned(known: sa.Row[Any] | None, as_given: Prompt, arrival: Arrival | None = None) -> bool:
    """Whether to pin a prompt as it is given would change nothing."""
    if known is None or known.source_digest != as_given.digest:
        return False
    if arrival is not None and (known.arrived is None or known.priority != arrival.priority):
        return False
    return bool(known.body == effective(known, as_given).model_dump_json())


def pinned_as(one: Prompt) -> dict[str, Any]:
    """Return the columns of a prompt that nothing was made of yet."""
    return {
        "digest": one.digest,
        "body": one.model_dump_json(),
        "status": "pending",
        "error": None,
        "updated_at": utc_now(),
    }


def pinned(row: sa.Row[Any]) -> PinnedPrompt:
    """Return a row as runs find it.

    Raises:
        LedgerError: Another version wrote it, or it is damaged.
    """
    prompt = read_body(row)
    try:
        error = json.loads(row.error) if row.error else None
    except ValueError as fault:
        raise _cannot_be_read(row.key) from fault
    return PinnedPrompt(
        prompt=prompt,
        pin_seq=row.pin_seq,
        source=row.source,
        status=row.status,
        error=error,
        updated_at=row.updated_at,
        priority=row.priority,
        arrived=row.arrived,
    )


def pinned_or_not(row: sa.Row[Any]) -> PinnedPrompt | Unreadable:
    """Return a row as runs find it, or why it cannot be read."""
    try:
        return pinned(row)
    except LedgerError as error:
        return Unreadable(key=row.key, error=error, arrived=row.arrived)


def readable(found: Iterable[PinnedPrompt | Unreadable]) -> list[PinnedPrompt]:
    """Return those that can be read; the others have to be told."""
    return [one for one in found if isinstance(one, PinnedPrompt)]


def unreadable(found: Iterable[PinnedPrompt | Unreadable]) -> list[Unreadable]:
    """Return those that cannot be read."""
    return [one for one in found if isinstance(one, Unreadable)]
