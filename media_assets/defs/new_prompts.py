"""The sensor that starts runs for prompts that arrive in the inbox."""

import json
from collections.abc import Sequence
from typing import Any

import dagster as dg

from media_assets.canonical import digest_of
from media_assets.defs.assets import DIGEST_TAG
from media_assets.defs.definition_sources import code_of
from media_assets.defs.jobs import batch, films, make_batch_op
from media_assets.defs.partitions import prompts_partitions, without_partition
from media_assets.defs.resources import LedgerResource, StoreResource, opened_inbox
from media_assets.inbox import Inbox, Look, Refused, Seen
from media_assets.ledger.pins import PinnedPrompt, readable, unreadable

_MOST_PARTITIONS = 200
"""New ones in a tick: each costs Dagster a query, and the tick has to end."""
_MOST_RUNS = 4
"""Runs of a prompt each in a tick; more are one batch."""
_EVERY_S = 10
_SHOWN = 20

inbox_spec = dg.AssetSpec(
    "inbox",
    description=(
        "Prompts that arrive: files in the inbox folder, rows of the ledger's table `inbox`. Observed by the sensor "
        "new_prompts, with what was taken in and what cannot be used."
    ),
    group_name="film",
    kinds={"yaml", "csv"},
    metadata=code_of(Inbox.look),
)


def take_in(context: dg.SensorEvaluationContext, store: StoreResource, ledger: LedgerResource) -> dg.SensorResult:
    """Take in what has arrived; start a run for each prompt, or one batch for many.

    What has arrived is in the ledger before a run is asked for, and the cursor moves only with the runs, so nothing is
    lost when the daemon dies in between, and nothing is started twice: a run's key says which form of a prompt it is.
    """
    cursor = json.loads(context.cursor) if context.cursor else {}
    with opened_inbox(store, ledger) as (inbox, prompts):
        look = inbox.look(Seen.of_dict(cursor))
        found = prompts.arrived_after(cursor.get("arrived", 0), most=_MOST_PARTITIONS)
    newest = max((one.arrived or 0 for one in found), default=cursor.get("arrived", 0))
    arrived = readable(found)
    look.refused += [Refused(where=one.key, error=one.error.message, aside="") for one in unreadable(found)]
    missing = without_partition(context.instance, [one.key for one in arrived]) if arrived else []
    told = _told(look, len(arrived))
    return dg.SensorResult(
        run_requests=_requests(arrived),
        skip_reason=None if arrived else told,
        cursor=json.dumps({"arrived": newest, **look.seen.as_dict()}),
        dynamic_partitions_requests=[prompts_partitions.build_add_request(missing)] if missing else None,
        asset_events=[_observation(look, len(arrived))] if arrived or look.refused else [],
    )


# Not by the decorator, which warns that it passes `owners` on, a parameter in beta (1.13.27).
new_prompts = dg.SensorDefinition(
    name="new_prompts",
    evaluation_fn=take_in,
    jobs=[films, batch],
    minimum_interval_seconds=_EVERY_S,
    description="Reads the inbox and makes the film of each new or changed prompt. Spends money, so it starts off.",
)


def _requests(arrived: Sequence[PinnedPrompt]) -> list[dg.RunRequest]:
    if len(arrived) <= _MOST_RUNS:
        return [
            dg.RunRequest(
                run_key=f"{one.prompt.key}:{one.prompt.digest}:{one.pin_seq}",
                job_name=films.name,
                partition_key=one.prompt.key,
                tags={DIGEST_TAG: one.prompt.digest},
            )
            for one in arrived
        ]
    in_order = sorted(arrived, key=lambda one: -one.priority)
    digests = {one.prompt.key: one.prompt.digest for one in in_order}
    config = {"ops": {make_batch_op.name: {"config": {"keys": list(digests), "digests": digests}}}}
    pins = {one.prompt.key: one.pin_seq for one in in_order}
    return [dg.RunRequest(run_key=f"batch:{digest_of([digests, pins])}", job_name=batch.name, run_config=config)]


def _told(look: Look, arrived: int) -> str:
    parts = [f"{arrived} new or changed"] if arrived else ["nothing new"]
    parts += [f"{len(look.refused)} cannot be used"] if look.refused else []
    parts += [f"{name}: {why}" for name, why in list(look.waiting.items())[:_SHOWN]]
    return "; ".join(parts)


def _observation(look: Look, arrived: int) -> dg.AssetObservation:
    metadata: dict[str, dg.MetadataValue[Any]] = {
        "arrived": dg.MetadataValue.int(arrived),
        "refused": dg.MetadataValue.int(len(look.refused)),
    }
    if look.refused:
        metadata["cannot_be_used"] = dg.MetadataValue.table([_record(one) for one in look.refused[:_SHOWN]])
    return dg.AssetObservation(asset_key="inbox", metadata=metadata, description=_told(look, arrived))


def _record(refused: Refused) -> dg.TableRecord:
    return dg.TableRecord({"what": refused.where, "is now": refused.aside, "why": refused.error})
