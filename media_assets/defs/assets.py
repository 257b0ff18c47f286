"""The four assets of a prompt, made by one step, so that video and audio run side by side and a batch is one process.

The step runs the core and reports what it made; nothing here decides what is made or bought.
"""

import logging
import queue
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from media_assets.defs.failures import as_batch_failure, as_failure
from media_assets.defs.metadata import as_materialization, step_metadata
from media_assets.defs.partitions import prompts_partitions
from media_assets.defs.resources import (
    ElevenLabsResource,
    FalResource,
    LedgerResource,
    LocalResource,
    OpenAIResource,
    ReplicateResource,
    Resources,
    StoreResource,
    opened_studio,
)
from media_assets.defs.run_blocking import parent_watch, run_blocking
from media_assets.errors import MediaAssetsError, PlanError, Problem
from media_assets.film import Film, StepResult
from media_assets.left_open import LeftOpen, left_open
from media_assets.prompt import Prompt, Step
from media_assets.prompt_file import validate_prompt
from media_assets.request import SCHEMA_VERSION
from media_assets.routes import UnknownPolicy
from media_assets.standing import MADE_FROM
from media_assets.studio import Event, MakeOptions, Studio

_log = logging.getLogger(__name__)

CODE_VERSION = str(SCHEMA_VERSION)
"""Of the request's form, not of our code: a deploy must make nothing look stale."""

_BESIDES_S = 5.0
"""How much longer a terminated run may clean up than it waits for what is at the providers."""

_POLL_S = 0.25
_MOST_WITH_PICTURES = 100
_MOST_PARTITIONS_A_RUN = 100
_ROOT_RUN_TAG = "dagster/root_run_id"

_ABOUT: Mapping[Step, tuple[str, set[str]]] = {
    Step.IMAGE: ("The picture the prompt describes.", {"png"}),
    Step.VIDEO: ("The picture in motion.", {"mp4"}),
    Step.AUDIO: ("The script, spoken; a silent track when there is none.", {"wav"}),
    Step.MERGED: ("The film: clip and voice as one file, at -16 LUFS.", {"mp4", "ffmpeg"}),
}

SPECS = [
    dg.AssetSpec(
        key=str(step),
        deps=[str(upstream) for upstream in MADE_FROM[step]],
        description=about,
        kinds=kinds,
        group_name="film",
        # Without an output Dagster marks only the partitions whose materialization was logged.
        skippable=True,
        code_version=CODE_VERSION,
    )
    for step, (about, kinds) in _ABOUT.items()
]


class MediaConfig(dg.Config):
    """What a run may change about how finished steps are treated; the defaults make only what is missing."""

    new_take: list[str] = Field(
        default=[], description="Steps to make anew as the next take (image, video, audio, merged)"
    )
    upgrade: bool = Field(default=False, description="Make degraded steps again")
    retry_failed: bool = Field(default=False, description="Try again what failed for good; may cost money again")
    max_cost_usd: str = Field(
        default="", description="Cap on what each prompt may cost, in USD; empty: its own, or the setting's"
    )
    max_run_usd: str = Field(
        default="", description="Cap on what this run and its retries may cost, in USD, or none; empty: the setting's"
    )
    unknown: str = Field(
        default="",
        description=(
            "Where nobody can know whether a submission was billed: hold, resubmit_if_cheap or fallback; empty: the "
            "setting's"
        ),
    )


@dg.multi_asset(
    name="media",
    specs=SPECS,
    can_subset=True,
    partitions_def=prompts_partitions,
    backfill_policy=dg.BackfillPolicy.multi_run(_MOST_PARTITIONS_A_RUN),
)
def media(  # noqa: PLR0917 - Dagster takes no keyword-only arguments
    context: dg.AssetExecutionContext,
    config: MediaConfig,
    store: StoreResource,
    ledger: LedgerResource,
    local: LocalResource,
    replicate: ReplicateResource,
    fal: FalResource,
    openai: OpenAIResource,
    elevenlabs: ElevenLabsResource,
) -> Iterator[dg.MaterializeResult[None]]:
    """Make the selected assets of the run's prompts, and what they need."""
    keys = list(context.partition_keys)
    resources = Resources(
        store=store, ledger=ledger, local=local, replicate=replicate, fal=fal, openai=openai, elevenlabs=elevenlabs
    )
    try:
        with opened_studio(resources, max_run_usd=config.max_run_usd) as studio:
            prompts, failed = _prompts(studio, keys, config, _origin(context))
            report = _Report(context, single=len(keys) == 1, with_pictures=len(keys) <= _MOST_WITH_PICTURES)
            films = _make(studio, prompts, config, report, run_id=_origin(context))
    except MediaAssetsError as error:
        raise as_failure(error) from error
    yield from report.results()
    failed |= {film.key: film.error for film in films if film.error is not None}
    if failed and len(keys) == 1:
        (reason,) = failed.values()
        raise as_failure(reason) from reason
    if failed:
        raise as_batch_failure(failed, len(keys))


def _make(studio: Studio, prompts: list[Prompt], config: MediaConfig, report: "_Report", *, run_id: str) -> list[Film]:
    options = MakeOptions(
        upgrade=config.upgrade,
        retry_failed=config.retry_failed,
        unknown=_policy(config.unknown),
        pinned=True,
        run_id=run_id,
    )
    watch = parent_watch()

    async def make_all() -> list[Film]:
        stream = studio.stream(prompts, wanted=report.wanted, options=options, on_event=report.on_event)
        return [film async for film in stream]

    def tick() -> None:
        watch()
        report.tick()

    def on_interrupt() -> None:
        report.flush()
        keys = [prompt.key for prompt in prompts]
        report.tell_open(left_open(studio.ledger, studio.transport.adapter, keys, now=datetime.now(UTC)))

    grace_s = studio.transport.options.cancel_grace_s + _BESIDES_S
    films = run_blocking(make_all, tick=tick, on_interrupt=on_interrupt, grace_s=grace_s, poll_s=_POLL_S)
    report.add_found(films)
    report.tick()
    if report.problem is not None:
        raise report.problem
    return films


def _origin(context: dg.AssetExecutionContext) -> str:
    """Return the run that a chain of retries began with: they share its new takes, and what one run may cost."""
    return context.run.tags.get(_ROOT_RUN_TAG, context.run.run_id)


def _prompts(
    studio: Studio, keys: list[str], config: MediaConfig, origin: str
) -> tuple[list[Prompt], dict[str, MediaAssetsError]]:
    """Return the pinned prompts, and why others cannot be made: one bad key never sinks a batch."""
    takes = [_step(name) for name in config.new_take]
    prompts, failed = [], {}
    for key in keys:
        try:
            prompts.append(_pinned(studio, key, takes, config.max_cost_usd, origin))
        except MediaAssetsError as error:
            failed[key] = error
    return prompts, failed


def _pinned(studio: Studio, key: str, takes: list[Step], max_cost_usd: str, origin: str) -> Prompt:
    pinned = studio.ledger.prompts
    if takes:
        prompt = pinned.raise_takes(key, takes, origin=origin)
    else:
        found = pinned.get(key)
        prompt = found.prompt if found is not None else None
    if prompt is None:
        headline = f"no prompt is known under {key!r}"
        fault = f"not in the ledger {studio.ledger.database.where}; pin it with `media-assets generate FILE` or `ui`"
        raise PlanError.of(headline, [Problem("", "key", fault)])
    if not max_cost_usd:
        return prompt
    return validate_prompt("the run's configuration", {**prompt.model_dump(mode="json"), "max_cost_usd": max_cost_usd})


def _step(name: str) -> Step:
    try:
        return Step(name)
    except ValueError:
        headline = "the run's configuration cannot be used:"
        fault = f"{name!r} is not a step; the steps are {', '.join(Step)}"
        raise PlanError.of(headline, [Problem("", "new_take", fault)]) from None


def _policy(name: str) -> UnknownPolicy | None:
    try:
        return UnknownPolicy(name) if name else None
    except ValueError:
        headline = "the run's configuration cannot be used:"
        fault = f"{name!r} is not a policy; they are {', '.join(UnknownPolicy)}"
        raise PlanError.of(headline, [Problem("", "unknown", fault)]) from None


class _Report:
    """What is told to Dagster, and when.

    One prompt: results are yielded at the end, so that a user's own downstream assets run. Several: each success is
    logged from inside the wait, because a yielded output would mark every partition of the run.
    """

    def __init__(self, context: dg.AssetExecutionContext, *, single: bool, with_pictures: bool) -> None:
        self.wanted = frozenset(Step(key.to_user_string()) for key in context.selected_asset_keys)
        self._context = context
        self._single = single
        self._with_pictures = with_pictures
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._chains: dict[str, dict[Step, StepResult]] = {}
        self._waiting: dict[Step, StepResult] = {}
        self.problem: Exception | None = None
        """The first thing that could not be reported."""

    def on_event(self, event: Event) -> None:
        """Take note of an event, from whatever thread."""
        if event.what != "progress":
            self._events.put(event)

    def tick(self) -> None:
        """Log what has happened since; called from the step's own thread.

        An event that cannot be logged must not cancel work that may be paid for: it is raised when all is done.
        """
        while not self._events.empty():
            event = self._events.get()
            try:
                if event.result is None:
                    self._context.log.info("%s: %s %s %s", event.key, event.step, event.what, event.note)
                else:
                    self._note(event.key, event.result)
            except Exception as error:  # noqa: BLE001 - kept, and raised at the end
                _log.exception("%s: %s could not be reported", event.key, event.step)
                self.problem = self.problem or error

    def _note(self, key: str, result: StepResult) -> None:
        self._context.log.info("%s: %s %s by %s", key, result.step, "found" if result.cached else "made", result.model)
        self._chains.setdefault(key, {})[result.step] = result
        if result.step not in self.wanted and result.cached:
            return
        if self._single and result.step in self.wanted:
            self._waiting[result.step] = result
        else:
            self._log(key, result)

    def add_found(self, films: list[Film]) -> None:
        """Take in steps that were there already and not asked for: the timeline shows them."""
        for film in films:
            for step, result in film.steps.items():
                self._chains.setdefault(film.key, {}).setdefault(step, result)

    def flush(self) -> None:
        """Log everything that had finished, when the run is interrupted."""
        self.tick()
        for key in self._chains if self._single else ():
            for result in self._waiting.values():
                self._log(key, result)
        self._waiting.clear()

    def tell_open(self, left: list[LeftOpen]) -> None:
        """Log what a run that was interrupted leaves open at the providers."""
        for one in left:
            self._context.log.warning("%s: %s", one.prompt_key, one)

    def results(self) -> Iterator[dg.MaterializeResult[None]]:
        """Yield one prompt's results, in the order of the chain."""
        for step in Step:
            if step in self._waiting:
                yield self._as_result(self._waiting[step])

    def _as_result(self, result: StepResult) -> dg.MaterializeResult[None]:
        (chain,) = self._chains.values()
        digest = result.artifact.sha256 if result.artifact is not None else ""
        return dg.MaterializeResult(
            asset_key=str(result.step),
            metadata=self._metadata(result, chain),
            data_version=dg.DataVersion(digest),
        )

    def _log(self, key: str, result: StepResult) -> None:
        metadata = self._metadata(result, self._chains[key])
        self._context.log_event(as_materialization(key, result, metadata, CODE_VERSION))

    def _metadata(self, result: StepResult, chain: Mapping[Step, StepResult]) -> dict[str, dg.MetadataValue[Any]]:
        ordered = {step: chain[step] for step in Step if step in chain}
        return step_metadata(result, chain=ordered, with_pictures=self._with_pictures)
