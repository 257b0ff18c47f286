"""What was bought, put together: by day, by model, by provider and by step."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from media_assets.ledger.figures import Duration, Saving, Spend, StandIn
from media_assets.prompt import Step

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class DaySpend:
    """What was bought on one UTC day."""

    day: date
    purchases: int
    succeeded: int
    failed: int
    unknown: int
    cost_usd: Decimal
    failed_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """What one model was bought for, how well that went, and what it cost."""

    provider: str
    model: str
    step: str
    purchases: int
    attempts: int
    succeeded: int
    failed: int
    unknown: int
    success_rate: float | None
    """Of those that succeeded or failed, 0..1; None: none did."""
    p50_s: float | None
    """Seconds, of those that succeeded."""
    p95_s: float | None
    failed_p50_s: float | None
    """Seconds until a failure was known."""
    failed_p95_s: float | None
    failed_untimed: int
    """Failures of which the ledger does not know how long they took."""
    cost_usd: Decimal
    failed_usd: Decimal
    unknown_usd: Decimal
    quote_usd: Decimal
    cost_to_quote: float | None
    """Above 1 where one purchase was paid twice, or billed above its worst case."""


@dataclass(frozen=True, kw_only=True)
class ProviderUse:
    """What was bought of one provider."""

    provider: str
    purchases: int
    succeeded: int
    failed: int
    unknown: int
    success_rate: float | None
    """As :class:`ModelUse` has it."""
    cost_usd: Decimal
    failed_usd: Decimal
    unknown_usd: Decimal
    quote_usd: Decimal
    cost_to_quote: float | None


@dataclass(frozen=True, kw_only=True)
class StepUse:
    """What was bought for one step of all films, and what stood in or was there already."""

    step: str
    purchases: int
    succeeded: int
    failed: int
    unknown: int
    success_rate: float | None
    """As :class:`ModelUse` has it."""
    degraded: int
    """Finished steps that a stand-in made; its purchases, which are free, are among those that succeeded."""
    reused: int
    """Finished steps that took a paid purchase which was there."""
    cost_usd: Decimal
    failed_usd: Decimal
    unknown_usd: Decimal
    quote_usd: Decimal
    cost_to_quote: float | None
    saved_usd: Decimal


def day_spends(spend: Iterable[Spend]) -> list[DaySpend]:
    """Put together what was bought on each day, of all models."""
    by_day = _by(spend, lambda row: row.day)
    return [
        DaySpend(
            day=day,
            purchases=sum(row.purchases for row in rows),
            succeeded=sum(row.succeeded for row in rows),
            failed=sum(row.failed for row in rows),
            unknown=sum(row.unknown for row in rows),
            cost_usd=total(row.cost_usd for row in rows),
            failed_usd=total(row.failed_usd for row in rows),
        )
        for day, rows in sorted(by_day.items())
    ]


def model_uses(spend: Iterable[Spend], durations: Iterable[Duration]) -> list[ModelUse]:
    """Put together what each model was bought for, on all days, and how long that took."""
    timed = {(one.model, one.succeeded): one for one in durations}
    by_model = _by(spend, lambda row: (row.provider, row.model, row.step))
    return [
        _model(key, rows, timed.get((key[1], True)), timed.get((key[1], False)))
        for key, rows in sorted(by_model.items())
    ]


def _model(key: tuple[str, str, str], rows: list[Spend], good: Duration | None, bad: Duration | None) -> ModelUse:
    provider, model, step = key
    sums = _put_together(rows)
    return ModelUse(
        provider=provider,
        model=model,
        step=step,
        attempts=sum(row.attempts for row in rows),
        p50_s=None if good is None else round(good.p50_s, 3),
        p95_s=None if good is None else round(good.p95_s, 3),
        failed_p50_s=None if bad is None else round(bad.p50_s, 3),
        failed_p95_s=None if bad is None else round(bad.p95_s, 3),
        failed_untimed=sums["failed"] - (0 if bad is None else bad.timed),
        **sums,
    )


def provider_uses(spend: Iterable[Spend]) -> list[ProviderUse]:
    """Put together what was bought of each provider, by name."""
    by_provider = _by(spend, lambda row: row.provider)
    return [ProviderUse(provider=name, **_put_together(rows)) for name, rows in sorted(by_provider.items())]


def step_uses(spend: Iterable[Spend], savings: Sequence[Saving], stand_ins: Sequence[StandIn]) -> list[StepUse]:
    """Put together what was bought for each step, in the order in which a film is made."""
    by_step = _by(spend, lambda row: row.step)
    known = {*by_step, *(one.step for one in savings), *(one.step for one in stand_ins)}
    return [
        StepUse(
            step=str(step),
            degraded=sum(one.degraded for one in stand_ins if one.step == step),
            reused=sum(one.reused for one in savings if one.step == step),
            saved_usd=total(one.saved_usd for one in savings if one.step == step),
            **_put_together(by_step[step]),
        )
        for step in Step
        if step in known
    ]


def _by(spend: Iterable[Spend], key: Callable[[Spend], K]) -> dict[K, list[Spend]]:
    found: dict[K, list[Spend]] = defaultdict(list)
    for row in spend:
        found[key(row)].append(row)
    return found


def _put_together(rows: Sequence[Spend]) -> dict[str, Any]:
    succeeded, failed = sum(row.succeeded for row in rows), sum(row.failed for row in rows)
    cost_usd, quote_usd = total(row.cost_usd for row in rows), total(row.quote_usd for row in rows)
    return {
        "purchases": sum(row.purchases for row in rows),
        "succeeded": succeeded,
        "failed": failed,
        "unknown": sum(row.unknown for row in rows),
        "success_rate": share(succeeded, succeeded + failed),
        "cost_usd": cost_usd,
        "failed_usd": total(row.failed_usd for row in rows),
        "unknown_usd": total(row.unknown_usd for row in rows),
        "quote_usd": quote_usd,
        "cost_to_quote": share(cost_usd, quote_usd),
    }


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return a sum that is exact, also of nothing."""
    return sum(amounts, Decimal(0))


def share(part: Decimal | int, whole: Decimal | int) -> float | None:
    """Return a part of a whole, rounded; None of nothing."""
    return round(float(part / whole), 4) if whole else None
