"""What the purchase protocol hands around: the right to work on a purchase, and what it came to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from media_assets.errors import Billed, LedgerError, MediaAssetsError, UnexpectedResponseError
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prediction import Prediction

ENDED: Mapping[str, float] = {"progress": 1.0}
"""What is kept of work that has ended at its provider: it holds no place there any more."""

_ALL_BUT_DONE = 0.999
_LONGEST_REMOTE_STATE = 40
"""What the ledger's column takes."""


class PredictionTakenError(LedgerError):
    """A prediction's id is recorded for another purchase of the same provider; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a purchase, until somebody claims it after us."""

    request_key: str
    fence: int
    found: PurchaseState | None
    """The state the purchase was in; None for a new one."""
    row: PurchaseRow | None = None
    """The purchase as it was found."""

    @property
    def prediction(self) -> Prediction | None:
        """The prediction that was submitted for it, as far as it is known."""
        return self.row.prediction if self.row is not None else None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """What a finished prediction cost."""

    cost_micro_usd: int = 0
    """By our own price table."""
    reported: Mapping[str, Decimal] = field(default_factory=dict)
    """What the provider says it used, in its own units."""
    price_from: date | None = None
    """Day of the price row."""

    def as_columns(self) -> dict[str, Any]:
        """Return what is kept of it beside the cost."""
        if self == Settlement():
            return {}
        reported = {name: str(value) for name, value in self.reported.items()}
        price_from = self.price_from.isoformat() if self.price_from else None
        return {"reported": json.dumps(reported), "price_from": price_from}


@dataclass(frozen=True)
class Busy:
    """Somebody is at work on it, or nobody can say yet that nobody is."""

    reason: str = ""
    """Why it is left alone, where that is more than somebody at work on it; for people."""
    wait_s: float | None = None
    """How long it will be left alone at most, unless something changes."""


def known_of(prediction: Prediction) -> dict[str, Any]:
    """Return what is kept of a prediction: where to ask on, never where an output is."""
    word = prediction.remote_state or str(prediction.state)
    known: dict[str, Any] = {"prediction_id": prediction.id, "remote_state": word[:_LONGEST_REMOTE_STATE]}
    if prediction.urls:
        known["urls"] = json.dumps(dict(prediction.urls))
    if prediction.state.is_final:
        return {**known, **ENDED}
    return known if prediction.progress is None else known | going_on(prediction.progress)


def going_on(fraction: float) -> dict[str, float]:
    """Return what is kept of the fraction done of work that has not ended, whatever it says."""
    return {"progress": round(min(fraction, _ALL_BUT_DONE), 3)}


def ended_by(error: MediaAssetsError) -> Mapping[str, float]:
    """Return what is kept of an open purchase's end at its provider, which an error may tell of.

    An output that cannot be read has been made, and is billed.
    """
    has_ended = isinstance(error, UnexpectedResponseError) and error.billed is Billed.YES
    return ENDED if has_ended else {}
