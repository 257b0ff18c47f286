"""Replicate's list of an account's predictions, newest first, 100 a page: the only way to find a lost one.

From Replicate's OpenAPI document of 2026-04-09. ``created_after`` takes what was created then or later,
``created_before`` what was created earlier; ``source`` knows no value but ``web``, so that ours cannot be asked for
alone. Whether a page's ``next`` repeats the range is not said: it is added where it is missing.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from media_assets.prediction import Prediction, State
from media_assets.providers.list_reading import (
    UnreadableEntryError,
    moment_of,
    second_after,
    second_before,
    stamp_of,
    wanted_text,
)
from media_assets.providers.listing import Listed
from media_assets.providers.polled import quantities, state_word
from media_assets.providers.refusals import text_of

_PATH = "/predictions"
_LONGEST_URL = 4_000
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_VERSION = re.compile(r"[0-9a-f]{64}")


def list_url(base_url: str, *, since: datetime, until: datetime, page: str | None) -> str:
    """Return the address of a page: always at ``base_url``, wherever a page before said that the next one is.

    Args:
        base_url: The adapter's own.
        since: Predictions created from then on.
        until: Predictions created before then.
        page: What :func:`next_of` returned.
    """
    query = dict(parse_qsl(page)) if page else {}
    query.setdefault("created_after", stamp_of(second_before(since)))
    query.setdefault("created_before", stamp_of(second_after(until)))
    return f"{base_url}{_PATH}?{urlencode(query)}"


def next_of(url: Any) -> str | None:
    """Return the query of the next page's address, which is all that is used of it; None after the last page.

    Raises:
        UnreadableEntryError: It is no address of a list.
    """
    if url is None or url == "":
        return None
    is_usable = isinstance(url, str) and len(url) <= _LONGEST_URL and url.isascii() and url.isprintable()
    try:
        parts = urlsplit(url if is_usable else "")
    except ValueError:
        parts = urlsplit("")
    if not parts.path.endswith(_PATH) or not parse_qsl(parts.query):
        message = "its next page is no address of a list"
        raise UnreadableEntryError(message)
    return parts.query


def listed_of(entry: Mapping[str, Any], states: Mapping[str, State]) -> Listed:
    """Read one prediction of the list.

    Input and output are deleted about an hour after completion; an empty input is taken as a deleted one, for no
    request of ours is empty.

    Raises:
        UnreadableEntryError: Its id, status or model cannot be read.
    """
    found = wanted_text(entry, "id")
    if not _ID.fullmatch(found):
        message = "its id is none of Replicate's"
        raise UnreadableEntryError(message)
    word = wanted_text(entry, "status")
    state = states.get(word, State.UNKNOWN)
    metrics, given = entry.get("metrics"), entry.get("input")
    used = metrics if isinstance(metrics, Mapping) else {}
    return Listed(
        prediction=Prediction(
            id=found,
            state=state,
            remote_state=state_word(word),
            reported=quantities(compute_s=used.get("predict_time"), total_s=used.get("total_time")),
        ),
        created_at=moment_of(entry.get("created_at")),
        endpoint=wanted_text(entry, "model"),
        version=text_of(entry.get("version")) or None,
        input=given if isinstance(given, Mapping) and given else None,
        ended=state.is_final,
        source=text_of(entry.get("source")),
    )


def is_version_of(version: str, shown: str | None) -> bool:
    """Whether a listed version can be a request's: only two whole ids contradict each other.

    Official models show ``hidden``, and recordings of 2025 short ids of deployments (``dp-…``).
    """
    both = shown is not None and _VERSION.fullmatch(shown) and _VERSION.fullmatch(version)
    return version == shown if both else True
