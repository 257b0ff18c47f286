"""``report``: what was spent on what, and how well that went, as tables, CSV and pictures."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.table import Table
from rich.text import Text

from media_assets.catalog import load_catalog
from media_assets.cli.exit_codes import DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import print_json, print_text, say, table, with_failure_object
from media_assets.errors import ArtifactError, ConfigurationError
from media_assets.ledger.figures import Spend
from media_assets.report.tables import SAVED_MEANS, Budget, Report, build_report, nothing_bought, write_csv
from media_assets.report.uses import ModelUse, ProviderUse, StepUse

_SPEND_COLUMNS = ("day (UTC)", "provider", "model", "step", "bought", "cost (USD)", "of failed", "unknown")
_MODEL_COLUMNS = ("model", "bought", "good", "p50/p95 (s)", "failed p50/p95 (s)", "quote (USD)", "cost", "cost/quote")
_USE_COLUMNS = ("bought", "good", "failed", "cost (USD)", "of failed", "quote (USD)")
_PROVIDER_COLUMNS = ("provider", *_USE_COLUMNS)
_STEP_COLUMNS = ("step", *_USE_COLUMNS, "degraded", "saved (USD)")
_BUDGET_COLUMNS = ("budget", "cap (USD)", "spent", "reserved", "used")
_TEXTS = frozenset({"day (UTC)", "provider", "model", "step", "budget"})
_BACK = re.compile(r"([1-9][0-9]{0,4})d")
_SHOWN_PRICES = 8


@with_failure_object
def run_report(*, since: str, until: str | None, csv: Path | None, charts: Path | None, json: bool) -> int:
    """Print the report of a time, and write its files; return the exit code. Free, and nothing is changed."""
    today = datetime.now(UTC).date()
    last = today if until is None else _day("--until", until)
    place = find_place()
    report = _read(place, since=_first(since, last), until=last, today=today)
    files = []
    if csv is not None:
        files += _written(csv, "--csv", lambda: write_csv(report, csv))
    if charts is not None:
        files += _written(charts, "--charts", lambda: _write_charts(report, charts))
    if json:
        print_json({"home": str(place.home)} | report.as_dict() | {"files": [str(file.absolute()) for file in files]})
    else:
        print_text(*_tell(report))
        for file in files:
            say(f"written: {file}")
    return DONE


def _first(since: str, last: date) -> date:
    back = _BACK.fullmatch(since.strip().lower())
    try:
        first = _day("--since", since) if back is None else last - timedelta(days=int(back[1]) - 1)
    except OverflowError as error:
        message = f"--since {since!r}: there are not so many days."
        raise ConfigurationError(message) from error
    if last < first:
        message = f"--until {last} is before --since {first}: nothing can have been bought between them."
        raise ConfigurationError(message)
    return first


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        days = ", or a number of days as 7d" if option == "--since" else ""
        message = f"{option} {text!r}: write the UTC day as YYYY-MM-DD{days}."
        raise ConfigurationError(message) from error


def _read(place: Place, *, since: date, until: date, today: date) -> Report:
    catalog = load_catalog(place.settings.catalog_folder)
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return nothing_bought(catalog, since=since, until=until, today=today)
    with ledger_of(place) as ledger:
        return build_report(ledger, catalog, since=since, until=until, today=today)


def _write_charts(report: Report, folder: Path) -> list[Path]:
    from media_assets.report.charts import draw_all, write_charts  # noqa: PLC0415 - matplotlib: see there

    return write_charts(draw_all(report), folder)


def _written(target: Path, option: str, write: Callable[[], list[Path]]) -> list[Path]:
    try:
        return write()
    except OSError as error:
        message = f"writing {target}: {error.strerror or error}. Choose another path with {option}."
        raise ArtifactError(message) from error


def _tell(report: Report) -> Iterator[str | Text | Table]:
    totals = report.totals
    yield Text(f"{report.since} to {report.until} (UTC)", style="bold")
    if spent := [row for row in report.spend if row.cost_usd or row.unknown]:
        yield _table(_SPEND_COLUMNS, map(_spend_row, spent))
    else:
        yield "nothing was spent."
    if report.models:
        yield _table(_MODEL_COLUMNS, map(_model_row, report.models))
    if report.providers:
        yield _table(_PROVIDER_COLUMNS, [(one.provider, *_use(one)) for one in report.providers])
    if report.steps:
        rows = [(one.step, *_use(one), str(one.degraded), usd(one.saved_usd)) for one in report.steps]
        yield _table(_STEP_COLUMNS, rows)
    if report.budgets:
        yield _table(_BUDGET_COLUMNS, map(_budget_row, report.budgets))
    rate = "" if totals.success_rate is None else f" ({totals.success_rate:.1%})"
    yield (
        f"spent: {usd(totals.spent_usd)} USD, {usd(totals.failed_usd)} of it for what failed; quoted at most "
        f"{usd(totals.quote_usd)}; today {usd(totals.spent_today_usd)}, in 7 days {usd(totals.spent_7d_usd)}, in 30 "
        f"days {usd(totals.spent_30d_usd)}"
    )
    yield (
        f"purchases: {totals.succeeded_count} succeeded{rate}, {totals.failed_count} failed, {totals.unknown_count} of "
        f"unknown outcome, which hold {usd(totals.unknown_reserved_usd)} USD reserved; {totals.attempts} submissions; "
        f"{totals.degraded_count} steps by a stand-in"
    )
    yield f"saved: {usd(totals.saved_usd)} USD (steps that took what was there: {totals.reused_count}); {SAVED_MEANS}"
    for one in report.decisions:
        yield f"decided by {one.by}: {one.what}, {one.decisions} times, counted as {usd(one.counted_usd)} USD"
    if report.prompts:
        yield "prompts now: " + ", ".join(f"{one.prompts} {one.state}" for one in report.prompts)
    yield from _old_prices(report)


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    return table(columns, rows, right=frozenset(columns) - _TEXTS)


def _spend_row(row: Spend) -> tuple[str, ...]:
    amounts = (usd(row.cost_usd), usd(row.failed_usd), usd(row.unknown_usd))
    return (str(row.day), row.provider, row.model, row.step, str(row.purchases), *amounts)


def _model_row(one: ModelUse) -> tuple[str, ...]:
    return (
        one.model,
        str(one.purchases),
        "" if one.success_rate is None else f"{one.success_rate:.0%}",
        _range(one.p50_s, one.p95_s),
        _range(one.failed_p50_s, one.failed_p95_s),
        usd(one.quote_usd),
        usd(one.cost_usd),
        "" if one.cost_to_quote is None else f"{one.cost_to_quote:.0%}",
    )


def _use(one: ProviderUse | StepUse) -> tuple[str, ...]:
    rate = "" if one.success_rate is None else f"{one.success_rate:.0%}"
    return (str(one.purchases), rate, str(one.failed), usd(one.cost_usd), usd(one.failed_usd), usd(one.quote_usd))


def _range(p50_s: float | None, p95_s: float | None) -> str:
    return "" if p50_s is None or p95_s is None else f"{p50_s:.1f}/{p95_s:.1f}"


def _budget_row(one: Budget) -> tuple[str, ...]:
    cap = "none" if one.cap_usd is None else usd(one.cap_usd)
    used = "" if one.spent_share is None else f"{one.spent_share:.0%}"
    return (one.scope, cap, usd(one.spent_usd), usd(one.reserved_usd), f"{used} OVERRUN" if one.overrun else used)


def _old_prices(report: Report) -> Iterator[str]:
    """Name those that were bought at first: their costs may be wrong."""
    old = sorted(report.old_prices, key=lambda one: (-one.purchases, one.model))
    for one in old[:_SHOWN_PRICES]:
        yield f"old price: {one.model}, read on {one.read_on}, {one.age_days} days ago; {one.purchases} bought"
    if len(old) > _SHOWN_PRICES:
        yield f"… and {len(old) - _SHOWN_PRICES} more old prices: see --json"
