"""The report: what a ledger says of a time, as tables and totals. It reads, and asks nobody."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from media_assets.caps import is_lifted
from media_assets.catalog import Catalog
from media_assets.durable import write_whole
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.figures import Decided, Figures, PromptCount, Saving, Spend, StandIn
from media_assets.ledger.spending import Scope
from media_assets.pricing import from_micro_usd, price_read_on, stale, usd_text
from media_assets.report.uses import (
    DaySpend,
    ModelUse,
    ProviderUse,
    StepUse,
    day_spends,
    model_uses,
    provider_uses,
    share,
    step_uses,
    total,
)
from media_assets.spreadsheet import csv_line

SAVED_MEANS = (
    "the least that can be proved: finished steps of other prompts, or of other versions of a prompt, that took a paid "
    "purchase which was there, each at its cost and at most its worst case; reruns of unchanged prompts are not in it"
)
"""What ``saved_usd`` is, wherever it is shown."""

SPEND_TABLE = "spend"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One day's cap, of all or of one provider, as it was when something was reserved under it last."""

    scope: str
    cap_usd: Decimal | None
    """None: no cap."""
    spent_usd: Decimal
    reserved_usd: Decimal
    spent_share: float | None
    """Of the cap; None: no cap, or one of nothing."""
    overrun: bool


@dataclass(frozen=True, kw_only=True)
class OldPrice:
    """A paid model whose price was read so long ago that it may have changed."""

    model: str
    read_on: date
    age_days: int
    purchases: int
    """Of it in the report's time."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The report in one line."""

    purchases: int
    attempts: int
    succeeded_count: int
    failed_count: int
    """Purchases that failed for good."""
    unknown_count: int
    degraded_count: int
    """Steps that a stand-in made."""
    success_rate: float | None
    spent_usd: Decimal
    failed_usd: Decimal
    unknown_reserved_usd: Decimal
    counted_usd: Decimal
    """What decisions count as spent: a part of ``spent_usd``, unless they are of another day than their purchase."""
    quote_usd: Decimal
    cost_to_quote: float | None
    reused_count: int
    saved_usd: Decimal
    spent_today_usd: Decimal
    spent_7d_usd: Decimal
    spent_30d_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a ledger says of the UTC days from ``since`` to ``until``, both included."""

    since: date
    until: date
    today: date
    totals: Totals
    spend: Sequence[Spend]
    days: Sequence[DaySpend]
    models: Sequence[ModelUse]
    providers: Sequence[ProviderUse]
    steps: Sequence[StepUse]
    savings: Sequence[Saving]
    stand_ins: Sequence[StandIn]
    decisions: Sequence[Decided]
    budgets: Sequence[Budget]
    old_prices: Sequence[OldPrice]
    prompts: Sequence[PromptCount]

    def tables(self) -> dict[str, tuple[type[Any], Sequence[Any]]]:
        """Return what a row of each table is, and its rows, by name."""
        return {
            SPEND_TABLE: (Spend, self.spend),
            "days": (DaySpend, self.days),
            "models": (ModelUse, self.models),
            "providers": (ProviderUse, self.providers),
            "steps": (StepUse, self.steps),
            "savings": (Saving, self.savings),
            "stand_ins": (StandIn, self.stand_ins),
            "decisions": (Decided, self.decisions),
            "budgets": (Budget, self.budgets),
            "old_prices": (OldPrice, self.old_prices),
            "prompts": (PromptCount, self.prompts),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``report --json``: the totals, then each table as a list of flat objects."""
        days = {name: getattr(self, name).isoformat() for name in ("since", "until", "today")}
        rows = {name: [flat(row) for row in found] for name, (_, found) in self.tables().items()}
        return days | flat(self.totals) | {"saved_means": SAVED_MEANS} | rows


def flat(row: Any) -> dict[str, Any]:
    """Return a row as JSON and CSV have it: money as exact text, days as ISO text."""
    return {field.name: _plain(getattr(row, field.name)) for field in fields(row)}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return usd_text(value)
    return value.isoformat() if isinstance(value, date) else value


def build_report(ledger: Ledger, catalog: Catalog, *, since: date, until: date, today: date) -> Report:
    """Read what a ledger says of the UTC days from ``since`` to ``until``, both included. Free.

    Args:
        ledger: Where it is read.
        catalog: Whose prices may be old.
        since: The first day.
        until: The last one.
        today: The day on which it is asked: for the age of prices, and for what was spent of late.

    Raises:
        LedgerError: The ledger cannot be read.
    """
    month = today - timedelta(days=29)
    spend = Figures(ledger.database, min(since, month), max(until, today)).spend()
    figures = Figures(ledger.database, since, until)
    within = [row for row in spend if since <= row.day <= until]
    models = model_uses(within, figures.durations())
    savings, stand_ins, decisions = figures.savings(), figures.stand_ins(), figures.decisions()
    return Report(
        since=since,
        until=until,
        today=today,
        totals=_totals(models, savings, stand_ins, decisions, of_late=_of_late(spend, today)),
        spend=within,
        days=day_spends(within),
        models=models,
        providers=provider_uses(within),
        steps=step_uses(within, savings, stand_ins),
        savings=savings,
        stand_ins=stand_ins,
        decisions=decisions,
        budgets=[_budget(scope) for scope in ledger.spending.of_days(since, until)],
        old_prices=list(_old_prices(catalog, models, today)),
        prompts=figures.prompts(),
    )


def nothing_bought(catalog: Catalog, *, since: date, until: date, today: date) -> Report:
    """Return the report of a ledger that there is not yet."""
    return Report(
        since=since,
        until=until,
        today=today,
        totals=_totals([], [], [], [], of_late=_of_late([], today)),
        spend=[],
        days=[],
        models=[],
        providers=[],
        steps=[],
        savings=[],
        stand_ins=[],
        decisions=[],
        budgets=[],
        old_prices=list(_old_prices(catalog, [], today)),
        prompts=[],
    )


def _of_late(spend: Iterable[Spend], today: date) -> dict[str, Decimal]:
    """Return what was spent today, and within so many days that end with it."""
    days = {"spent_today_usd": 1, "spent_7d_usd": 7, "spent_30d_usd": 30}
    ages = [((today - row.day).days, row.cost_usd) for row in spend]
    return {name: total(cost for age, cost in ages if 0 <= age < count) for name, count in days.items()}


def _totals(
    models: Sequence[ModelUse],
    savings: Iterable[Saving],
    stand_ins: Iterable[StandIn],
    decisions: Iterable[Decided],
    *,
    of_late: Mapping[str, Decimal],
) -> Totals:
    succeeded, failed = sum(one.succeeded for one in models), sum(one.failed for one in models)
    spent_usd, quote_usd = total(one.cost_usd for one in models), total(one.quote_usd for one in models)
    saved = list(savings)
    return Totals(
        purchases=sum(one.purchases for one in models),
        attempts=sum(one.attempts for one in models),
        succeeded_count=succeeded,
        failed_count=failed,
        unknown_count=sum(one.unknown for one in models),
        degraded_count=sum(one.degraded for one in stand_ins),
        success_rate=share(succeeded, succeeded + failed),
        spent_usd=spent_usd,
        failed_usd=total(one.failed_usd for one in models),
        unknown_reserved_usd=total(one.unknown_usd for one in models),
        counted_usd=total(one.counted_usd for one in decisions),
        quote_usd=quote_usd,
        cost_to_quote=share(spent_usd, quote_usd),
        reused_count=sum(one.reused for one in saved),
        saved_usd=total(one.saved_usd for one in saved),
        **of_late,
    )


def _budget(scope: Scope) -> Budget:
    cap = Cap(scope.scope, scope.cap_micro_usd, "")
    cap_usd = None if is_lifted(cap) else from_micro_usd(cap.micro_usd)
    spent_usd = from_micro_usd(scope.spent_micro_usd)
    return Budget(
        scope=scope.scope,
        cap_usd=cap_usd,
        spent_usd=spent_usd,
        reserved_usd=from_micro_usd(scope.reserved_micro_usd),
        spent_share=None if cap_usd is None else share(spent_usd, cap_usd),
        overrun=scope.overrun is not None,
    )


def _old_prices(catalog: Catalog, models: Iterable[ModelUse], today: date) -> Iterator[OldPrice]:
    bought = {one.model: one.purchases for one in models}
    for spec in sorted(catalog, key=lambda spec: spec.id):
        read_on = price_read_on(spec)
        is_paid = any(part.usd for row in spec.price for part in row.parts)
        if is_paid and read_on is not None and stale(spec, today):
            age_days = (today - read_on).days
            yield OldPrice(model=spec.id, read_on=read_on, age_days=age_days, purchases=bought.get(spec.id, 0))


def write_csv(report: Report, target: Path) -> list[Path]:
    """Write one file a table into a folder, which is made; return the files.

    Args:
        report: What to write.
        target: The folder; or a file ``*.csv``, which gets the spending alone.

    Raises:
        OSError: It cannot be written.
    """
    if target.suffix.lower() == ".csv" and not target.is_dir():
        wanted = {target: report.tables()[SPEND_TABLE]}
    else:
        target.mkdir(parents=True, exist_ok=True)
        wanted = {target / f"{name}.csv": table for name, table in report.tables().items()}
    for file, (kind, rows) in wanted.items():
        write_whole(file, _csv(kind, rows))
    return list(wanted)


def _csv(kind: type[Any], rows: Iterable[Any]) -> Iterator[str]:
    yield csv_line(field.name for field in fields(kind))
    for row in rows:
        yield csv_line(flat(row).values())
