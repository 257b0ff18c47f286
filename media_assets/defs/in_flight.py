"""What runs leave behind when their process is gone: the sensor that notices, and the job that brings it to an end."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from media_assets.canonical import digest_of
from media_assets.defs.failures import as_failure
from media_assets.defs.reporting import own, owner_of
from media_assets.defs.resources import (
    LedgerResource,
    StoreResource,
    StudioResource,
    opened_ledger,
    opened_studio,
)
from media_assets.defs.run_blocking import run_blocking
from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.pricing import from_micro_usd
from media_assets.recovery.janitor import Cleared, Janitor
from media_assets.studio import Studio

_EVERY_S = 30
_AGAIN_S = 600
"""What a janitor could not bring to an end is looked at again after this time."""
_GRACE_S = 30.0
_POLL_S = 0.5
_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def _left_behind(ledger: Ledger) -> list[PurchaseRow]:
    """Return what was sent, or perhaps sent, by processes that are gone; what was only reserved is free already."""
    rows = [row for row in ledger.purchases.unfinished() if row.state is not PurchaseState.RESERVED]
    return [row for row in rows if not ledger.owner.is_alive(row.owner)]


def _orphans(instance: dg.DagsterInstance, ledger: Ledger) -> list[dg.DagsterRun]:
    """Return the runs that Dagster takes to be at work, and whose process is gone.

    Its default launcher cannot tell (1.13.27): a run whose code server was killed stays STARTED for ever.
    """
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_AT_WORK))
    return [run for run in runs if (owner := owner_of(run)) and not ledger.owner.is_alive(owner)]


class JanitorConfig(dg.Config):
    """How far a janitor goes."""

    waits: bool = Field(default=True, description="Wait for what still runs; if not, it is left to a later janitor")


@dg.op(name="clear_up")
def clear_up(
    context: dg.OpExecutionContext,
    config: JanitorConfig,
    studio: StudioResource,
) -> Iterator[dg.Output[None]]:
    """Finish, cancel or release what was begun and is no longer worked on. Free: nothing is submitted."""
    try:
        with opened_studio(studio) as opened:
            own(context, opened.ledger.owner.id)
            orphans = _orphans(context.instance, opened.ledger)
            for run in orphans:
                why = "its process is gone: it was killed, or lost its machine. What it had begun is cleared up."
                context.instance.report_run_failed(run, why)
                context.log.warning("run %s of %s: %s", run.run_id, run.job_name, why)
            cleared = _clear(context, opened, waits=config.waits)
    except MediaAssetsError as error:
        raise as_failure(error) from error
    yield dg.Output(None, metadata={"orphaned_runs": len(orphans), **_metadata(cleared)})


def _clear(context: dg.OpExecutionContext, studio: Studio, *, waits: bool) -> list[Cleared]:
    cleared: list[Cleared] = []
    told = 0

    def tick() -> None:
        nonlocal told
        for one in cleared[told:]:
            told += 1
            context.log.info("%s of %s: %s %s", one.row.step, one.row.prompt_key, one.outcome, one.why)

    async def clear() -> None:
        janitor = Janitor(studio, waits=waits)
        await janitor.clear(studio.ledger.purchases.unfinished(), cleared.append)

    run_blocking(clear, tick=tick, on_interrupt=tick, grace_s=_GRACE_S, poll_s=_POLL_S)
    tick()
    return cleared


def _metadata(cleared: list[Cleared]) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for one in cleared:
        counts[str(one.outcome)] = counts.get(str(one.outcome), 0) + 1
    cost = sum((from_micro_usd(one.row.cost_micro_usd or 0) for one in cleared), start=from_micro_usd(0))
    told: dict[str, Any] = {"purchases": len(cleared), "cost_usd": float(cost)}
    if cleared:
        told["outcomes"] = dg.MetadataValue.table([_record(one) for one in cleared])
    return told | {outcome.replace(" ", "_"): count for outcome, count in counts.items()}


def _record(one: Cleared) -> dg.TableRecord:
    row = one.row
    return dg.TableRecord(
        {
            "request": row.request_key[:12],
            "prompt": row.prompt_key,
            "step": row.step,
            "model": row.model,
            "was": str(one.was),
            "now": str(one.outcome),
            "why": one.why,
        }
    )


@dg.job(name="janitor", description="Brings to its end what runs have begun whose process is gone. Submits nothing.")
def janitor() -> None:
    """Clear up."""
    clear_up()


def look(context: dg.SensorEvaluationContext, store: StoreResource, ledger: LedgerResource) -> dg.SensorResult:
    """Ask for a janitor where there is something left to clear up, and none is at work."""
    at_work = [*_AT_WORK, dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED]
    recent = datetime.now(UTC) - timedelta(days=1)
    filters = dg.RunsFilter(job_name=janitor.name, statuses=at_work, created_after=recent)
    with opened_ledger(store, ledger) as opened:
        rows = _left_behind(opened.ledger)
        runs = _orphans(context.instance, opened.ledger)
    gone = {run.run_id for run in runs}
    if any(run.run_id not in gone for run in context.instance.get_runs(filters=filters)):
        return dg.SensorResult(skip_reason="a janitor is at work")
    if not rows and not runs:
        return dg.SensorResult(skip_reason="nothing is left behind")
    what = digest_of([sorted(row.request_key for row in rows), sorted(run.run_id for run in runs)])
    period = int(time.time() // _AGAIN_S)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"{period}:{what}")])


in_flight = dg.SensorDefinition(
    name="in_flight",
    evaluation_fn=look,
    job=janitor,
    minimum_interval_seconds=_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the janitor when a run has left something behind. Spends nothing.",
)
