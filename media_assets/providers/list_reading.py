"""What every provider's list is read with: times, pages whose unreadable entries are reported, and what refusals mean.

A question for a list costs nothing and buys nothing: whatever it is answered with, it may be asked again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from media_assets.errors import (
    InsufficientCreditError,
    KeyRejectedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    UnexpectedResponseError,
)
from media_assets.media.sniff import HEAD_BYTES
from media_assets.providers.base import HttpReply
from media_assets.providers.listing import Page
from media_assets.providers.refusals import REFUSED, text_of
from media_assets.redact import redact_text

T = TypeVar("T")

_ACCESS = (401, 402, 403)
_TRY_AGAIN = (408, 425)
_TOO_MANY, _SERVER_FAULTS = 429, 500
_LATEST_UNIX_S = 253_402_300_799
"""The last second of the year 9999."""
_MOST_TOLD = 20


class UnreadableEntryError(ValueError):
    """Why an entry of a list cannot be read; worded to follow a colon."""


def page_of(
    entries: Sequence[Any],
    read: Callable[[Mapping[str, Any]], T],
    *,
    id_field: str,
    next_page: Callable[[], str | None] = lambda: None,
) -> Page[T]:
    """Return a page of whatever ``read`` makes of each entry; what it cannot read is reported, the rest is kept.

    Args:
        entries: As the reply has them.
        read: Raises ``UnreadableEntryError`` or ``UnexpectedResponseError`` for what it cannot read.
        id_field: What the entries call their id.
        next_page: Returns what to ask for the next page with; raises as ``read`` does, which is reported alike.
    """
    items: list[T] = []
    unreadable: list[str] = []
    for entry in entries:
        try:
            items.append(read(_object(entry)))
        except (UnreadableEntryError, UnexpectedResponseError) as error:
            named = redact_text(text_of(entry.get(id_field)), limit=80) if isinstance(entry, Mapping) else ""
            unreadable.append(f"{named or 'an entry without a readable id'}: {error}")
    told = unreadable[:_MOST_TOLD]
    if len(unreadable) > _MOST_TOLD:
        told.append(f"and {len(unreadable) - _MOST_TOLD} more")
    following = None
    try:
        following = next_page()
    except UnreadableEntryError as error:
        told.append(str(error))
    return Page(items=tuple(items), next_page=following, unreadable=tuple(told))


def _object(entry: Any) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    message = f"it is {type(entry).__name__}, not an object"
    raise UnreadableEntryError(message)


def wanted_text(entry: Mapping[str, Any], name: str, *, limit: int = 200) -> str:
    """Return a field that an entry must have as text.

    Raises:
        UnreadableEntryError: It has not, or one that is too long or not printable.
    """
    text = text_of(entry.get(name))
    if not text or len(text) > limit or not text.isprintable():
        message = f"its {name} is no usable text"
        raise UnreadableEntryError(message)
    return text


def moment_of(value: Any) -> datetime | None:
    """Return a time that a provider writes as ISO 8601 with a zone, or as Unix seconds, in UTC; None for all else."""
    try:
        if isinstance(value, str) and len(value) <= 40:  # noqa: PLR2004 - no time is longer
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo is not None else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LATEST_UNIX_S:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError):
        return None
    return None


def second_before(moment: datetime) -> datetime:
    """Return the whole second at or before a time: a list that begins there misses nothing."""
    return moment.astimezone(UTC).replace(microsecond=0)


def second_after(moment: datetime) -> datetime:
    """Return the whole second behind a time: a list that ends before it misses nothing."""
    return second_before(moment) + timedelta(seconds=1)


def stamp_of(moment: datetime) -> str:
    """Return a time in UTC as providers' queries want it: whole seconds, with ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def kind_of_refusal(reply: HttpReply, meaning: type[PurchaseError] | None) -> type[PurchaseError]:
    """Return what a refused question means: to be asked again, not to be asked with this key, or nobody knows.

    Args:
        reply: Not a 2xx.
        meaning: What the provider's words mean, where they say more than the status.
    """
    if reply.status == _TOO_MANY:
        return RateLimitedError
    is_page = reply.body[:HEAD_BYTES].lstrip().startswith(b"<")
    if reply.status >= _SERVER_FAULTS or reply.status in _TRY_AGAIN or is_page:
        return ProviderUnavailableError
    if reply.status in _ACCESS:
        return meaning if meaning in {InsufficientCreditError, KeyRejectedError} and meaning else REFUSED[reply.status]
    return UnexpectedResponseError
