"""The four assets of a prompt, made by one step, so that video and audio run side by side and a batch is one process.

The step runs the core and reports what it made; nothing here decides what is made or bought.
"""

from collections.abc import Callable, Iterator, Mapping

import dagster as dg

from media_assets.defs.checks import CHECK_SPECS
from media_assets.defs.definition_sources import code_of
from media_assets.defs.failures import as_failure
from media_assets.defs.making import MakeConfig, Wanted, check, make, origin_of
from media_assets.defs.partitions import PARTITIONS_NAME, prompts_partitions
from media_assets.defs.reporting import CODE_VERSION, Report
from media_assets.defs.resources import StudioResource, opened_studio
from media_assets.errors import ConfigurationError, MediaAssetsError
from media_assets.prompt import Step
from media_assets.standing import MADE_FROM
from media_assets.steps import Draft, draft_audio, draft_image, draft_merged, draft_video

DIGEST_TAG = "prompt_digest"
"""Tag of a run that was started for one form of its prompt: when that is not pinned any more, it makes nothing."""

_MOST_PARTITIONS_A_RUN = 100

_ABOUT: Mapping[Step, tuple[str, set[str], Callable[..., Draft]]] = {
    Step.IMAGE: ("The picture the prompt describes.", {"png"}, draft_image),
    Step.VIDEO: ("The picture in motion.", {"mp4"}, draft_video),
    Step.AUDIO: ("The script, spoken; a silent track when there is none.", {"wav"}, draft_audio),
    Step.MERGED: ("The film: clip and voice as one file, at -16 LUFS.", {"mp4", "ffmpeg"}, draft_merged),
}

SPECS = [
    dg.AssetSpec(
        key=str(step),
        deps=[str(upstream) for upstream in MADE_FROM[step]],
        description=about,
        kinds=kinds,
        group_name="film",
        metadata=code_of(draft),
        # Without an output Dagster marks only the partitions whose materialization was logged.
        skippable=True,
        code_version=CODE_VERSION,
    )
    for step, (about, kinds, draft) in _ABOUT.items()
]


@dg.multi_asset(
    name="media",
    specs=SPECS,
    check_specs=CHECK_SPECS,
    can_subset=True,
    partitions_def=prompts_partitions,
    backfill_policy=dg.BackfillPolicy.multi_run(_MOST_PARTITIONS_A_RUN),
)
def media(
    context: dg.AssetExecutionContext,
    config: MakeConfig,
    studio: StudioResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """Make the selected assets of the run's prompts, and what they need."""
    origin = origin_of(context.run)
    steps = [Step(key.to_user_string()) for key in context.selected_asset_keys]
    keys = _keys_of(context, wants_assets=bool(steps))
    report = Report(context, origin=origin, keys=keys, wanted=steps, yields=True)
    digest = context.run.tags.get(DIGEST_TAG)
    try:
        with opened_studio(studio, max_run_usd=config.max_run_usd) as opened:
            wanted = Wanted(opened, config, origin=origin)
            wanted.find(keys, {keys[0]: digest} if digest is not None and len(keys) == 1 else {})
            if not steps:
                # Somebody asked for checks alone: those of what is there.
                checked = {Step(one.asset_key.to_user_string()) for one in context.selected_asset_check_keys}
                check(opened, wanted, sorted(checked, key=list(Step).index), report)
                return
            outcome = make(opened, wanted, config, report)
    except MediaAssetsError as error:
        raise as_failure(error) from error
    yield from report.results()
    if len(keys) == 1:
        outcome.require_one()
    outcome.require_all(outcome.summary.failed | outcome.summary.deferred, len(keys))


def _keys_of(context: dg.AssetExecutionContext, *, wants_assets: bool) -> list[str]:
    """Return the prompts that a run is of. The UI's button for checks alone asks for no partition: then it is all."""
    if context.has_partition_key or context.has_partition_key_range:
        return list(context.partition_keys)
    if wants_assets:
        raise as_failure(ConfigurationError("no partition was chosen; nothing was sent. Choose the prompts to make."))
    return list(context.instance.get_dynamic_partitions(PARTITIONS_NAME))
