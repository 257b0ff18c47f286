"""What runs leave behind when their process is gone: the sensor that notices, and the job that brings it to an end."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from media_assets.canonical import digest_of
from media_assets.catalog import Recovery
from media_assets.defs.failures import as_failure
from media_assets.defs.reporting import own, owner_of
from media_assets.defs.resources import (
    LedgerResource,
    StoreResource,
    StudioResource,
    opened_ledger,
    opened_rescue,
    opened_studio,
)
from media_assets.defs.run_blocking import run_blocking
from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.pricing import from_micro_usd
from media_assets.recovery.janitor import Cleared, Janitor
from media_assets.recovery.rescue import Rescue, Rescued
from media_assets.studio import Studio

_EVERY_S = 30
_AGAIN_S = 600
"""What a janitor could not bring to an end is looked at again after this time."""
_HELD_AGAIN_S = 86_400
"""And where all of it has been unknown for as long as this, so seldom: a person has to decide."""
_GRACE_S = 30.0
_POLL_S = 0.5
_AT_WORK = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def _left_behind(ledger: Ledger) -> list[PurchaseRow]:
    """Return what processes that are gone have sent, or perhaps sent, and a janitor can do something about.

    What was only reserved is free already; what is unknown where no list is kept, only a person can decide.
    """
    rows = [row for row in ledger.purchases.unfinished() if row.state is not PurchaseState.RESERVED]
    rows = [row for row in rows if not _is_for_people(row)]
    return [row for row in rows if not ledger.owner.is_alive(row.owner)]


def _is_for_people(row: PurchaseRow) -> bool:
    return row.state is PurchaseState.UNKNOWN and row.recovery is not Recovery.LISTED


def _again_s(rows: Sequence[PurchaseRow]) -> int:
    """Return how long until a janitor looks again at what the last one could not bring to an end."""
    soon = datetime.now(UTC) - timedelta(seconds=_HELD_AGAIN_S)
    is_held = [row.state is PurchaseState.UNKNOWN and datetime.fromisoformat(row.created_at) < soon for row in rows]
    return _HELD_AGAIN_S if rows and all(is_held) else _AGAIN_S


def _orphans(instance: dg.DagsterInstance, ledger: Ledger) -> list[dg.DagsterRun]:
    """Return the runs that Dagster takes to be at work, and whose process is gone.

    Its default launcher cannot tell (1.13.27): a run whose code server was killed stays STARTED for ever.
    """
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_AT_WORK))
    return [run for run in runs if (owner := owner_of(run)) and not ledger.owner.is_alive(owner)]


class JanitorConfig(dg.Config):
    """How far a janitor goes."""

    waits: bool = Field(default=True, description="Wait for what still runs; if not, it is left to a later janitor")
    rescues: bool = Field(
        default=True, description="Pull what may be what a purchase of unknown outcome became, before it expires"
    )


@dg.op(name="clear_up")
def clear_up(
    context: dg.OpExecutionContext,
    config: JanitorConfig,
    studio: StudioResource,
) -> Iterator[dg.Output[None]]:
    """Finish, cancel or release what was begun and is no longer worked on, and rescue. Free: nothing is submitted."""
    work = _Work()
    try:
        with opened_studio(studio) as opened:
            own(context, opened.ledger.owner.id)
            orphans = _orphans(context.instance, opened.ledger)
            for run in orphans:
                why = "its process is gone: it was killed, or lost its machine. What it had begun is cleared up."
                context.instance.report_run_failed(run, why)
                context.log.warning("run %s of %s: %s", run.run_id, run.job_name, why)
            with opened_rescue(studio, opened.ledger) as rescue:
                _clear(context, opened, rescue if config.rescues else None, work, waits=config.waits)
    except MediaAssetsError as error:
        raise as_failure(error) from error
    yield dg.Output(None, metadata={"orphaned_runs": len(orphans), **_metadata(work)})


@dataclass(kw_only=True)
class _Work:
    """What a janitor has done."""

    cleared: list[Cleared] = field(default_factory=list)
    rescued: list[Rescued] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    """Why something may be missing among what was rescued."""


def _clear(context: dg.OpExecutionContext, studio: Studio, rescue: Rescue | None, work: _Work, *, waits: bool) -> None:
    told = _Work()

    def tick() -> None:
        for one in work.cleared[len(told.cleared) :]:
            told.cleared.append(one)
            context.log.info("%s of %s: %s %s", one.row.step, one.row.prompt_key, one.outcome, one.why)
        for found in work.rescued[len(told.rescued) :]:
            told.rescued.append(found)
            for said in found.seen.ways_to_adopt():
                context.log.warning("%s", said)

    async def clear() -> None:
        janitor = Janitor(studio, waits=waits)
        await janitor.clear(studio.ledger.purchases.unfinished(), work.cleared.append)
        if rescue is not None:
            await _rescue(rescue, studio.ledger, work)

    run_blocking(clear, tick=tick, on_interrupt=tick, grace_s=_GRACE_S, poll_s=_POLL_S)
    tick()
    for why in work.not_looked_at:
        context.log.warning("nothing was rescued: %s", why)


async def _rescue(rescue: Rescue, ledger: Ledger, work: _Work) -> None:
    """Pull what may be adopted; that this cannot be done takes nothing from what was cleared up."""
    try:
        looked = await rescue.pull_candidates(ledger, now=datetime.now(UTC), on_end=work.rescued.append)
    except MediaAssetsError as error:
        work.not_looked_at.append(error.message)
        return
    work.not_looked_at += [f"{one.provider}: {one.error.message}" for one in looked if one.error is not None]
    work.not_looked_at += [f"{one.provider}: {why}" for one in looked for why in one.unreadable]


def _metadata(work: _Work) -> dict[str, Any]:
    counts = Counter(str(one.outcome).replace(" ", "_") for one in work.cleared)
    cost = sum((from_micro_usd(one.row.cost_micro_usd or 0) for one in work.cleared), start=from_micro_usd(0))
    told: dict[str, Any] = {"purchases": len(work.cleared), "cost_usd": float(cost), **counts}
    if work.cleared:
        told["outcomes"] = dg.MetadataValue.table([_record(one) for one in work.cleared])
    if work.rescued:
        told["rescued"] = sum(len(one.files) for one in work.rescued)
        told["may_be_adopted"] = dg.MetadataValue.table([_candidate(one) for one in work.rescued])
    return told


def _candidate(one: Rescued) -> dg.TableRecord:
    listed = one.seen.listed
    return dg.TableRecord(
        {
            "provider": one.seen.provider,
            "prediction": listed.prediction.id,
            "state": str(listed.prediction.state),
            "may be": ", ".join(row.request_key[:12] for row in one.seen.fits),
            "files": ", ".join(str(path) for path in one.files),
            "why not": one.why,
        }
    )


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
    period = int(time.time() // _again_s(rows))
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"{period}:{what}")])


in_flight = dg.SensorDefinition(
    name="in_flight",
    evaluation_fn=look,
    job=janitor,
    minimum_interval_seconds=_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the janitor when a run has left something behind. Spends nothing.",
)
