"""What a provider's own lists tell, typed: the predictions it has, and what it bills; and what could not be read.

A list is how a submission whose reply was lost is found again. So nothing in it is passed over in silence: a list that
holds an entry nobody can read may hold the very one that is looked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from media_assets.prediction import Prediction, State

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One prediction as its provider's list shows it."""

    prediction: Prediction
    """Its id, state, ``urls`` to ask on and what it used; never outputs or a failure, which only asking tells."""
    created_at: datetime | None
    """When it was created, aware, in UTC; None where the list does not say, or says it unreadably."""
    endpoint: str
    """The provider's own name of what was asked, written as in a request's ``endpoint`` as far as the list allows."""
    version: str | None = None
    """Of the model, as the list shows it; None: not shown."""
    input: Mapping[str, Any] | None = field(default=None, repr=False)
    """What was asked for; None: not shown, or not any more."""
    ended: bool
    """Whether the provider is done with it, well or badly."""
    source: str = ""
    """The provider's word for how it was made (Replicate: api, web; ElevenLabs: TTS, …); empty: not shown."""
    other_ids: tuple[str, ...] = ()
    """Further ids that the same work may be known by."""

    def to_follow(self) -> Prediction:
        """Return the prediction as one to ask about: a list shows no outputs, so its state is not the last word."""
        return replace(self.prediction, state=State.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """What a provider itself says that one prediction cost; at least one of ``usd`` and ``units`` is set."""

    prediction_id: str
    endpoint: str
    """The provider's own name for it; may be empty."""
    at: datetime | None
    """When, aware, in UTC; None where it is not said readably."""
    usd: Decimal | None = None
    """After discounts."""
    units: Decimal | None = None
    unit: str = ""
    """What the units are."""


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_page: str | None = None
    """What to ask for the next page with; None: this was the last one."""
    unreadable: tuple[str, ...] = ()
    """Of each entry that could not be read: why, for people; nothing secret."""


@dataclass(frozen=True, kw_only=True)
class Collected(Generic[T]):
    """All pages of a list."""

    items: tuple[T, ...]
    """In the provider's order, each once."""
    complete: bool
    """Whether this is all there is in the list: no entry and no page was unreadable, and none was left unasked."""
    unreadable: tuple[str, ...] = ()
    """What was not read, and why, for people."""


ListedPage = Page[Listed]
BillPage = Page[BillLine]
Listing = Collected[Listed]
Bill = Collected[BillLine]
