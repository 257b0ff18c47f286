"""What was spent, every day, as an asset: numbers that plot, charts, tables, and files beside the ledger. Free."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from media_assets.catalog import load_catalog
from media_assets.defs.failures import as_failure
from media_assets.defs.metadata import shown
from media_assets.defs.resources import LedgerResource, StoreResource, opened_ledger
from media_assets.errors import ArtifactError, ConfigurationError, MediaAssetsError
from media_assets.report.tables import SAVED_MEANS, SPEND_TABLE, Report, build_report, flat, write_csv

NAME = "daily_spend_report"

_MOST_DAYS = 3660
_FIRST_DAY = date(2000, 1, 1)
"""Nothing was bought before it."""
_MOST_ROWS = 100
"""Of a table in an event, which is a database row that lists load; the files have them all."""


class SpendReportConfig(dg.Config):
    """What time a report is of."""

    # Without bounds here: Dagster would tell what passes them as a traceback.
    since_days: int = Field(default=30, description=f"How many UTC days it is of, with its last: 1 to {_MOST_DAYS}")
    day: str = Field(default="", description="Its last UTC day, as YYYY-MM-DD; empty: today")


@dg.asset(name=NAME, group_name="keeping", kinds={"csv", "matplotlib"})
def daily_spend_report(
    context: dg.AssetExecutionContext, config: SpendReportConfig, store: StoreResource, ledger: LedgerResource
) -> dg.MaterializeResult[None]:
    """Tell what was spent by day, provider, model and step, how well that went, and what it saved. Nothing is bought.

    Success and p50/p95 duration of each model, sums by provider and by step, what failed or is a stand-in's, savings,
    quote against cost, caps against spent, old prices by name. The tables are CSV files, and the charts PNG files, in
    `reports/<day>/` of the home.
    """
    try:
        today = _day(config.day)
        since = today - timedelta(days=_days(config.since_days) - 1)
        with opened_ledger(store, ledger) as opened:
            catalog = load_catalog(opened.settings.catalog_folder)
            report = build_report(opened.ledger, catalog, since=since, until=today, today=today)
        folder = opened.home / "reports" / str(today)
        charts = _write(report, folder)
    except MediaAssetsError as error:
        raise as_failure(error) from error
    for one in report.old_prices:
        context.log.warning("the price of %s was read %s days ago, on %s", one.model, one.age_days, one.read_on)
    return dg.MaterializeResult(metadata={**charts, **_numbers(report), **_tables(report), **_facts(report, folder)})


# Not by the asset's name: its op has that, and no job may have an op's.
spend_report_job = dg.define_asset_job("spend_report", selection=[NAME], description="Tell what was spent. Free.")

spend_report_schedule = dg.ScheduleDefinition(
    name=NAME,
    job=spend_report_job,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every day at 06:00 UTC.",
)


def _day(text: str) -> date:
    now = datetime.now(UTC).date()
    try:
        day = date.fromisoformat(text.strip()) if text.strip() else now
    except ValueError as error:
        message = f"the run's configuration cannot be used: day {text!r} is no UTC day, written as YYYY-MM-DD."
        raise ConfigurationError(message) from error
    newest = now + timedelta(days=1)  # somewhere it is tomorrow already
    if not _FIRST_DAY <= day <= newest:
        message = f"the run's configuration cannot be used: day {day} is not within {_FIRST_DAY} and {newest}."
        raise ConfigurationError(message)
    return day


def _days(count: int) -> int:
    if not 1 <= count <= _MOST_DAYS:
        message = f"the run's configuration cannot be used: since_days {count} is not within 1 and {_MOST_DAYS}."
        raise ConfigurationError(message)
    return count


def _write(report: Report, folder: Path) -> dict[str, dg.MetadataValue[Any]]:
    """Write the files; return the charts as metadata."""
    from media_assets.report.charts import draw_all, small, thumbnail, write_charts  # noqa: PLC0415 - matplotlib: see there

    charts = draw_all(report)
    try:
        write_csv(report, folder)
        write_charts(charts, folder)
    except OSError as error:
        message = f"writing the report into {folder}: {error.strerror or error}. Is the folder yours to write?"
        raise ArtifactError(message) from error
    pictures = {f"chart_{name}": shown(small(chart), "image/webp") for name, chart in charts.items()}
    return {"thumbnail": shown(thumbnail(report), "image/webp"), **pictures}


def _numbers(report: Report) -> dict[str, dg.MetadataValue[Any]]:
    """Return flat numbers, under names that plot from one day to the next."""
    totals = report.totals
    told = {field.name: getattr(totals, field.name) for field in fields(totals)} | {"cost_usd": totals.spent_usd}
    return {
        name: dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(float(value))
        for name, value in told.items()
        if value is not None
    }


def _tables(report: Report) -> dict[str, dg.MetadataValue[Any]]:
    """Return every table but the longest, whose rows are in ``spend.csv``."""
    return {name: _table(kind, rows) for name, (kind, rows) in report.tables().items() if name != SPEND_TABLE}


def _table(kind: type[Any], rows: Sequence[Any]) -> dg.TableMetadataValue:
    schema = dg.TableSchema(columns=[dg.TableColumn(name=field.name) for field in fields(kind)])
    return dg.MetadataValue.table([dg.TableRecord(flat(row)) for row in rows[-_MOST_ROWS:]], schema=schema)


def _facts(report: Report, folder: Path) -> dict[str, dg.MetadataValue[Any]]:
    facts = {"since": str(report.since), "until": str(report.until), "saved_means": SAVED_MEANS}
    named = ", ".join(f"{one.model} ({one.age_days} days)" for one in report.old_prices)
    return {
        **{name: dg.MetadataValue.text(text) for name, text in facts.items()},
        "old_prices_named": dg.MetadataValue.text(named or "none"),
        "folder": dg.MetadataValue.path(str(folder)),
        **{f"{name}_csv": dg.MetadataValue.path(str(folder / f"{name}.csv")) for name in report.tables()},
    }
