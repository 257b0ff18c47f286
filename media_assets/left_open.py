"""What a run that was told to stop leaves open at the providers: what it is, what it may cost, how long it is kept."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from media_assets.catalog import Recovery
from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.pricing import from_micro_usd
from media_assets.providers.base import Adapter

_HOUR_S = 3_600
_DAY_S = 24 * _HOUR_S


@dataclass(frozen=True, kw_only=True)
class LeftOpen:
    """One purchase that was sent and is not at its end."""

    prompt_key: str
    step: str
    provider: str
    model: str
    state: PurchaseState
    remote_state: str | None
    """The provider's own word."""
    prediction_id: str | None
    at_most_usd: Decimal
    """What it costs at most; what it cost, where it is settled."""
    kept_s: float | None
    """How long its provider keeps an output, by its own word; None: it comes with the reply and nowhere else."""
    kept_until: datetime | None
    """Until when at least: it may still be made."""
    request_key: str

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``--json``; money as strings."""
        return {
            "step": self.step,
            "provider": self.provider,
            "model": self.model,
            "state": str(self.state),
            "remote_state": self.remote_state,
            "prediction_id": self.prediction_id,
            "at_most_usd": format(self.at_most_usd, "f"),
            "kept_s": self.kept_s,
            "kept_until": None if self.kept_until is None else self.kept_until.isoformat(timespec="seconds"),
            "request_key": self.request_key,
        }

    def __str__(self) -> str:
        amount = f"{self.at_most_usd:f} USD"
        if self.prediction_id is None or self.state in {PurchaseState.SUBMITTING, PurchaseState.UNKNOWN}:
            return (
                f"{self.step}: what was sent to {self.provider} for {self.model} has no recorded reply; it costs at "
                f"most {amount}. Run again, or `media-assets janitor`, to find out what came of it."
            )
        it = f"prediction {self.prediction_id} of {self.model}"
        stands = (
            f"{it} is still open at {self.provider} ({self.remote_state or 'submitted'}); it costs at most {amount}"
        )
        if self.state is PurchaseState.DONE:
            stands = f"{it} has finished at {self.provider}; it cost {amount}"
        return f"{self.step}: {stands}. {self._kept()}Run again, or `media-assets janitor`, to have it: that is free."

    def _kept(self) -> str:
        if self.kept_s is None or self.kept_until is None:
            return ""
        time = f"{self.kept_until:%Y-%m-%d %H:%M} UTC"
        if self.state is PurchaseState.DONE:
            return f"Its output is kept there until about {time}. "
        return f"Its output is kept there for {_duration(self.kept_s)} once it is made: until {time} or later. "


def left_open(
    ledger: Ledger, adapter_of: Callable[[str], Adapter], prompt_keys: Collection[str], *, now: datetime
) -> list[LeftOpen]:
    """Return what is open at the providers for some prompts; blocking, and nothing is asked or changed.

    Args:
        ledger: Where it is recorded.
        adapter_of: Returns a provider's adapter.
        prompt_keys: Those that asked first.
        now: Aware.
    """
    wanted = frozenset(prompt_keys)
    return [
        _left_open(row, adapter_of(row.provider), now)
        for row in ledger.purchases.unfinished()
        if row.prompt_key in wanted and row.state is not PurchaseState.RESERVED and row.recovery is not Recovery.FREE
    ]


def _left_open(row: PurchaseRow, adapter: Adapter, now: datetime) -> LeftOpen:
    is_done = row.state is PurchaseState.DONE
    made_at = datetime.fromisoformat(row.updated_at) if is_done else now
    amount = row.cost_micro_usd if is_done else row.estimate_micro_usd
    kept_s = adapter.outputs_kept_s
    return LeftOpen(
        prompt_key=row.prompt_key,
        step=row.step,
        provider=row.provider,
        model=row.model,
        state=row.state,
        remote_state=row.remote_state,
        prediction_id=row.prediction_id,
        at_most_usd=from_micro_usd(amount or 0),
        kept_s=kept_s,
        kept_until=None if kept_s is None else made_at + timedelta(seconds=kept_s),
        request_key=row.request_key,
    )


def _duration(seconds: float) -> str:
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:g} days"
    return f"{seconds / _HOUR_S:g} h"
