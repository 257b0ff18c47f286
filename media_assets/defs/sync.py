"""Reports to Dagster what the ledger has, after Dagster's event log was wiped or moved. Nothing is made or bought.

Usage: ``python -m media_assets.defs.sync [--json]``, which ``media-assets dagster-sync`` calls.
"""

import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dagster as dg

from media_assets.conformity import conformity_of
from media_assets.defs.checks import CONFORMS, evaluations, newest_materialization
from media_assets.defs.metadata import as_materialization, step_metadata
from media_assets.defs.partitions import add_partitions
from media_assets.defs.reporting import CODE_VERSION
from media_assets.errors import LedgerError
from media_assets.film import StepResult
from media_assets.found import found_result
from media_assets.prompt import Step
from media_assets.settings import find_home, load_settings
from media_assets.standing import Standings
from media_assets.studio import Studio, open_studio

_VERSION_TAG = "dagster/data_version"
_PROGRESS_EVERY = 50
_JOB = "dagster-sync"


@dataclass(kw_only=True)
class Synced:
    """What was reported."""

    prompts: int = 0
    """That the ledger knows."""
    partitions: int = 0
    """New ones."""
    known: int = 0
    """Steps of which Dagster had the newest file."""
    reported: int = 0
    """Steps that were reported now."""
    checked: int = 0
    """Steps whose checks were reported now: those of all that were reported, and of known ones that had lost them."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Prompts of which nothing could be reported, each with why."""


def sync(studio: Studio, instance: dg.DagsterInstance, *, with_pictures: bool = True) -> Synced:
    """Report every finished step whose file or checks Dagster does not know of as a partition's newest. Free."""
    keys = studio.ledger.prompts.keys()
    done = Synced(prompts=len(keys), partitions=add_partitions(instance, keys))
    versions = {step: _versions(instance, step) for step in Step}
    checked, origin = {step: _checked(instance, step) for step in Step}, str(uuid.uuid4())
    for number, key in enumerate(keys, start=1):
        try:
            chain = dict(_found(studio, key))
        except LedgerError as error:  # pinned by another version: one bad row holds up no other prompt
            done.unreadable[key] = error.message
            continue
        for step, result in chain.items():
            digest = result.artifact.sha256 if result.artifact is not None else ""
            is_known = versions[step].get(key) == digest
            if is_known:
                done.known += 1
            else:
                _report(instance, key, result, chain=chain, with_pictures=with_pictures)
                done.reported += 1
            if not is_known or key not in checked[step]:
                _check(studio, instance, key, result, origin=origin)
                done.checked += 1
        if number % _PROGRESS_EVERY == 0:
            sys.stderr.write(f"{number} of {len(keys)} prompts, {done.reported} steps reported\n")
    return done


def _versions(instance: dg.DagsterInstance, step: Step) -> Mapping[str, str]:
    """Return the digest of what Dagster takes for the newest file of each partition."""
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(str(step)), dg.DagsterEventType.ASSET_MATERIALIZATION, tag_keys=[_VERSION_TAG]
    )
    return {partition: found[_VERSION_TAG] for partition, found in tags.items() if _VERSION_TAG in found}


def _checked(instance: dg.DagsterInstance, step: Step) -> set[str | None]:
    """Return the partitions whose newest file Dagster has a check of, or waits for one from a run."""
    which = dg.AssetCheckKey(dg.AssetKey(str(step)), CONFORMS)
    infos = instance.event_log_storage.get_asset_check_partition_info([which])
    return {one.partition_key for one in infos if one.is_current or one.latest_execution_status.value == "PLANNED"}


def _found(studio: Studio, key: str) -> Iterator[tuple[Step, StepResult]]:
    pinned = studio.ledger.prompts.get(key)
    if pinned is None:
        return
    for step, standing in Standings(studio.ledger, studio.store).of(pinned.prompt).items():
        if standing.artifact is not None:
            yield step, found_result(step, standing, studio.store)


def _report(
    instance: dg.DagsterInstance,
    key: str,
    result: StepResult,
    *,
    chain: Mapping[Step, StepResult],
    with_pictures: bool,
) -> None:
    metadata = step_metadata(result, chain=chain, with_pictures=with_pictures)
    instance.report_runless_asset_event(as_materialization(key, result, metadata, CODE_VERSION))


def _check(studio: Studio, instance: dg.DagsterInstance, key: str, result: StepResult, *, origin: str) -> None:
    """Report the checks of a step, as the run did that made it: what a person accepted is in them, and stand-ins."""
    target = newest_materialization(instance, key, result.step)
    for evaluation in evaluations(key, result, conformity_of(studio, key, result), target=target):
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name=_JOB,
            event_specific_data=evaluation,
        )
        # Not report_runless_asset_event: without a run's name Dagster (1.13.27) takes only one evaluation of a check
        # and partition for ever, and a second one is an IntegrityError.
        instance.report_dagster_event(event, run_id=origin)


def main(arguments: list[str]) -> None:
    """Report what is missing, and say how much that was."""
    settings = load_settings()
    home = find_home(settings, Path.cwd())
    with open_studio(home, settings.studio_options()) as studio, dg.DagsterInstance.get() as instance:
        done = sync(studio, instance)
    for message in done.unreadable.values():
        sys.stderr.write(f"error: {message}\n")
    if "--json" in arguments:
        sys.stdout.write(json.dumps({"home": str(home), **asdict(done)}) + "\n")
    else:
        sys.stdout.write(
            f"{done.prompts} prompts, {done.partitions} of them new partitions; {done.reported} steps reported, "
            f"{done.known} known to Dagster; the checks of {done.checked} reported\n"
        )
    if done.unreadable:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
