"""What asset checks say of each step: whether it is what was asked for, with numbers, and whether a stand-in made it.

A file that the judge refuses is never reported as materialized (DESIGN §3.10), so these tell a verdict and decide
nothing: they fail only with a warning, for what a person accepted and for stand-ins.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

# Not public (1.13.27), and there is no other way to say in a logged evaluation which materialization it is of.
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from media_assets.conformity import Conformity
from media_assets.defs.definition_sources import unfinished_in_dagster
from media_assets.defs.partitions import prompts_partitions
from media_assets.film import StepResult
from media_assets.prompt import Step

CONFORMS = "conforms"
NOT_DEGRADED = "not_degraded"

_ABOUT = {
    CONFORMS: (
        "The file was judged good enough to build on. Numbers: what came, what was asked for, and their drift; black, "
        "frozen and silent parts. Fails where a person accepted a file that the judge had refused."
    ),
    NOT_DEGRADED: "Made by a model that was meant to make it, and not by a stand-in; a film: every step of it.",
}


def _specs() -> list[dg.AssetCheckSpec]:
    with unfinished_in_dagster():
        return [
            dg.AssetCheckSpec(name, asset=str(step), description=about, partitions_def=prompts_partitions)
            for step in Step
            for name, about in _ABOUT.items()
        ]


CHECK_SPECS = _specs()

Target = AssetCheckEvaluationTargetMaterializationData | None


def newest_materialization(instance: dg.DagsterInstance, key: str, step: Step) -> Target:
    """Return what Dagster calls the newest materialization of a step, for its checks; None where there is none."""
    which = dg.AssetRecordsFilter(asset_key=dg.AssetKey(str(step)), asset_partitions=[key])
    for record in instance.fetch_materializations(which, limit=1).records:
        return AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
    return None


def evaluations(
    key: str,
    result: StepResult,
    conformity: Conformity,
    *,
    target: Target,
    every: bool = True,
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the checks of a step that was made or found.

    Args:
        key: The partition.
        result: The step.
        conformity: How it compares with its request.
        target: The materialization that is checked; without it Dagster shows the partition as not checked.
        every: False leaves out that it is not degraded: in a large run each event counts.
    """
    yield _conforms(key, result, conformity, target)
    if every or conformity.stand_ins:
        yield _not_degraded(key, result, conformity, target)


def _conforms(key: str, result: StepResult, conformity: Conformity, target: Target) -> dg.AssetCheckEvaluation:
    numbers = {name: dg.MetadataValue.float(float(value)) for name, value in conformity.numbers.items()}
    facts: dict[str, dg.MetadataValue[Any]] = {"model": dg.MetadataValue.text(result.model)}
    told = None
    if (who := conformity.accepted_by) is not None:
        facts["accepted_by"] = dg.MetadataValue.text(who)
        told = f"{who}: {conformity.acceptance or 'accepted, though it was judged not good enough'}"
    return _evaluation(
        key, result, CONFORMS, passed=who is None, metadata={**numbers, **facts}, told=told, target=target
    )


def _not_degraded(key: str, result: StepResult, conformity: Conformity, target: Target) -> dg.AssetCheckEvaluation:
    stand_ins = {str(step): why for step, why in conformity.stand_ins.items()}
    facts = {
        "model": dg.MetadataValue.text(result.model),
        **{name: dg.MetadataValue.text(why) for name, why in stand_ins.items()},
    }
    told = "\n".join(f"{step} is made by a stand-in, {why}" for step, why in stand_ins.items()) or None
    return _evaluation(key, result, NOT_DEGRADED, passed=not stand_ins, metadata=facts, told=told, target=target)


def _evaluation(
    key: str, result: StepResult, name: str, *, passed: bool, metadata: dict[str, Any], told: str | None, target: Target
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(str(result.step)),
        check_name=name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
        description=told,
        partition=key,
        target_materialization_data=target,
    )
