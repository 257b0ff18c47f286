"""Work that is no asset's: batches of any prompts, and a form that takes a prompt."""

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from media_assets.defs.assets import SPECS
from media_assets.defs.failures import as_failure
from media_assets.defs.making import MakeConfig, Wanted, make, origin_of
from media_assets.defs.metadata import summary_metadata
from media_assets.defs.partitions import add_partitions
from media_assets.defs.reporting import Report
from media_assets.defs.resources import StudioResource, opened_studio
from media_assets.errors import MediaAssetsError, PlanError, Problem
from media_assets.ledger.pins import Arrival
from media_assets.prompt import Step
from media_assets.prompt_file import validate_prompt

films = dg.define_asset_job(
    "films",
    selection=[spec.key for spec in SPECS],
    description="The film of a prompt: all four assets of one partition, or of several.",
)


class BatchConfig(MakeConfig):
    """Which prompts a batch makes."""

    keys: list[str] = Field(default=[], description="Of the prompts; empty: every prompt that is still to be made")
    digests: dict[str, str] = Field(
        default={},
        description=(
            "Of the prompts in `keys`, as they were when the batch was asked for; a changed one is left out. Of others "
            "they are refused"
        ),
    )


@dg.op(name="make_batch")
def make_batch_op(
    context: dg.OpExecutionContext,
    config: BatchConfig,
    studio: StudioResource,
) -> Iterator[dg.Output[None]]:
    """Make many prompts, each through its own chain, and report each as it ends."""
    origin = origin_of(context.run)
    try:
        with opened_studio(studio, max_run_usd=config.max_run_usd) as opened:
            keys = [*dict.fromkeys(config.keys)] or [one.key for one in opened.ledger.prompts.waiting()]
            _require_keys_of(config)
            report = Report(context, origin=origin, keys=keys, wanted=list(Step), yields=False)
            wanted = Wanted(opened, config, origin=origin)
            wanted.find(keys, config.digests)
            # A materialization of a key that is no partition would show nowhere; a mistyped one must not become one.
            add_partitions(context.instance, [key for key in keys if key not in wanted.failed])
            outcome = make(opened, wanted, config, report)
    except MediaAssetsError as error:
        raise as_failure(error) from error
    outcome.require_all(outcome.summary.failed, len(keys))
    yield dg.Output(None, metadata=summary_metadata(outcome.summary))


def _require_keys_of(config: BatchConfig) -> None:
    """Refuse digests of prompts that are not named: without keys the batch would make, and pay for, all that wait."""
    if stray := sorted(config.digests.keys() - {*config.keys}):
        fault = f"{', '.join(stray)}: not in `keys`; name the prompts there, and their digests here"
        headline = "the run's configuration cannot be used:"
        raise PlanError.of(headline, [Problem("", "digests", fault)])


@dg.job(name="batch", description="Many prompts in one run: those that are named, or all that are still to be made.")
def batch() -> None:
    """Make a batch."""
    make_batch_op()


class SubmitConfig(dg.Config):
    """A prompt, as one would write it into a file."""

    prompt: str = Field(description="What the picture shows")
    script: str = Field(default="", description="What the voice says; empty: a silent film")
    key: str = Field(default="", description="Names the film; empty: made from the prompt")
    motion: str = Field(default="", description="How the picture moves; empty: as the prompt suggests")
    voice: str = Field(default="", description="The speaker; empty: the model's own")
    size: str = Field(default="", description="WIDTHxHEIGHT in pixels; empty: 1024x576")
    max_cost_usd: str = Field(default="", description="Cap on what the film may cost, in USD; empty: the setting's")
    priority: int = Field(default=0, description="The higher, the sooner in a batch; without `make` alone")
    make: bool = Field(default=True, description="Make the film now; if not, new_prompts or the next batch does")


@dg.op(name="submit")
def submit_one(
    context: dg.OpExecutionContext,
    config: SubmitConfig,
    studio: StudioResource,
) -> Iterator[dg.Output[None]]:
    """Pin the prompt, make it a partition, and make its film."""
    given = config.model_dump(include={"prompt", "script", "key", "motion", "voice", "max_cost_usd"})
    fields = {name: value for name, value in {**given, "size_px": config.size}.items() if value}
    try:
        prompt = validate_prompt("the form", fields)
        with opened_studio(studio) as opened:
            arrival = None if config.make else Arrival(priority=config.priority)
            (prompt,) = opened.ledger.prompts.pin([prompt], source="submit_prompt", arrival=arrival)
            add_partitions(context.instance, [prompt.key])
            context.log.info("the prompt is the partition %s", prompt.key)
            report = Report(context, origin=origin_of(context.run), keys=[prompt.key], wanted=list(Step), yields=False)
            wanted = Wanted(opened, MakeConfig(), origin=report.origin)
            wanted.find([prompt.key] if config.make else [], {})
            outcome = make(opened, wanted, MakeConfig(), report)
    except MediaAssetsError as error:
        raise as_failure(error) from error
    outcome.require_one()
    yield dg.Output(None, metadata={"key": prompt.key, **summary_metadata(outcome.summary)})


@dg.job(name="submit_prompt", description="Takes a prompt and a script, and makes their film.")
def submit_prompt() -> None:
    """Take a prompt."""
    submit_one()


nightly_batch = dg.ScheduleDefinition(
    name="nightly_batch",
    job=batch,
    cron_schedule="0 1 * * *",
    execution_timezone="UTC",
    description="Makes every prompt that is still to be made. Spends money, so it is off at first.",
)
