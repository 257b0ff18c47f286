"""How a run makes prompts, and what it tells Dagster of them: shared by the assets' step and by the batch.

The core decides what is made and bought; this hands it the prompts, waits, and reports.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import dagster as dg
from pydantic import Field

from media_assets.batch import Quote, Summary, make_batch, quoted
from media_assets.conformity import conformity_of
from media_assets.defs.failures import as_batch_failure, as_failure
from media_assets.defs.metadata import summary_metadata
from media_assets.defs.reporting import Report
from media_assets.defs.run_blocking import ParentGoneError, parent_watch, run_blocking
from media_assets.errors import MediaAssetsError, PlanError, Problem
from media_assets.found import found_result
from media_assets.left_open import left_open
from media_assets.prompt import Prompt, Step
from media_assets.prompt_file import validate_prompt
from media_assets.routes import UnknownPolicy
from media_assets.spent_so_far import SpentSoFar
from media_assets.standing import Standings
from media_assets.studio import MakeOptions, Studio
from media_assets.unmade import Unmade, look_at_unmade

_BESIDES_S = 5.0
"""How much longer a terminated run may clean up than it waits for what is at the providers."""

_POLL_S = 0.25
_ROOT_RUN_TAG = "dagster/root_run_id"


class MakeConfig(dg.Config):
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


def origin_of(run: dg.DagsterRun) -> str:
    """Return the run that a chain of retries began with: they share its new takes, and what one run may cost."""
    return run.tags.get(_ROOT_RUN_TAG, run.run_id)


class Wanted:
    """The prompts of a run, as they are pinned, and what keeps others from being made."""

    def __init__(self, studio: Studio, config: MakeConfig, *, origin: str) -> None:
        self.prompts: list[Prompt] = []
        self.failed: dict[str, MediaAssetsError] = {}
        self.superseded: list[str] = []
        """Another prompt is pinned under the key than the run was started for."""
        self.seen: dict[str, str] = {}
        """Digests of what was pinned when the prompts were looked up, by key."""
        self._studio = studio
        self._config = config
        self._origin = origin

    def find(self, keys: Iterable[str], digests: Mapping[str, str]) -> None:
        """Look up prompts: one bad key never sinks a batch.

        Args:
            keys: Whose.
            digests: Of the prompt that the run was started for, by key, where it matters.
        """
        takes = [_step(name) for name in self._config.new_take]
        for key in keys:
            try:
                self._find_one(key, takes, digests.get(key))
            except MediaAssetsError as error:
                self.failed[key] = error

    def _find_one(self, key: str, takes: list[Step], digest: str | None) -> None:
        pinned = self._studio.ledger.prompts
        found = pinned.get(key)
        if found is None:
            headline = f"no prompt is known under {key!r}"
            where = self._studio.ledger.database.where
            fault = f"not in the ledger {where}; pin it with `media-assets generate FILE` or `ui`"
            raise PlanError.of(headline, [Problem("", "key", fault)])
        if digest is not None and found.prompt.digest != digest:
            self.superseded.append(key)
            return
        prompt, seen = found.prompt, found.prompt.digest
        if takes and (raised := pinned.raise_takes(key, takes, origin=self._origin)):
            prompt, seen = raised
        if cap := self._config.max_cost_usd:
            fields = {**prompt.model_dump(mode="json"), "max_cost_usd": cap}
            prompt = validate_prompt("the run's configuration", fields)
        self.seen[key] = seen
        self.prompts.append(prompt)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run."""

    summary: Summary
    unmade: Mapping[str, Unmade]
    """The money of the prompts that were begun and not made."""

    def require_one(self) -> None:
        """Raise where a run over one prompt has not made it.

        Raises:
            dg.Failure: With its money.
        """
        for key, error in (self.summary.failed | self.summary.deferred).items():
            raise as_failure(error, self.unmade.get(key)) from error

    def require_all(self, errors: Mapping[str, MediaAssetsError], total: int) -> None:
        """Raise where some of several prompts were not made.

        Args:
            errors: Those that count.
            total: How many prompts the run has.

        Raises:
            dg.Failure: With the money of all of them.
        """
        if errors:
            told = summary_metadata(self.summary)
            raise as_batch_failure(errors, total, unmade=self.unmade, metadata=told)


def make(studio: Studio, wanted: Wanted, config: MakeConfig, report: Report) -> Outcome:
    """Make the prompts of a run and report each as it ends. **Costs money**, at most the quote.

    Raises:
        MediaAssetsError: The run's configuration cannot be used.
        BaseException: What interrupted the run; what had finished by then is reported.
    """
    report.forget_parent()
    options = _options(config, run_id=report.origin, seen=wanted.seen)
    keys = [prompt.key for prompt in wanted.prompts]
    watch = parent_watch()

    async def quote_all() -> Quote:
        return await quoted(studio, wanted.prompts, wanted=report.wanted, upgrade=options.upgrade)

    async def make_all() -> None:
        await make_batch(
            studio,
            wanted.prompts,
            summary=summary,
            options=options,
            wanted=report.wanted,
            on_event=report.on_event,
            on_film=report.on_film,
        )

    def tick() -> None:
        watch()
        report.tick()

    def on_interrupt() -> None:
        report.flush()
        report.tell_open(left_open(studio.ledger, studio.transport.adapter, keys, now=datetime.now(UTC)))
        report.stop(summary, spent, keys)

    grace_s = studio.transport.options.cancel_grace_s + _BESIDES_S
    quote = run_blocking(quote_all, grace_s=grace_s, poll_s=_POLL_S)
    report.begin(quote, studio, seen=wanted.seen)
    summary = Summary(quote=quote, failed=dict(wanted.failed), superseded=list(wanted.superseded))
    spent = SpentSoFar.since_now(studio.ledger, keys)
    try:
        run_blocking(make_all, tick=tick, on_interrupt=on_interrupt, grace_s=grace_s, poll_s=_POLL_S)
    except ParentGoneError:
        # To Dagster a crash, and no cancellation: then it starts the run again, which goes on where this one stopped.
        report.crash("the code server that had started this run is gone")
        studio.ledger.close()
        os._exit(1)
    look = partial(_look_at_unmade, studio, wanted.prompts, summary, wanted=report.wanted, upgrade=options.upgrade)
    unmade = (
        run_blocking(look, on_interrupt=on_interrupt, grace_s=grace_s, poll_s=_POLL_S) if summary.failed_usd else {}
    )
    report.end(summary)
    return Outcome(summary=summary, unmade=unmade)


def _options(config: MakeConfig, *, run_id: str, seen: Mapping[str, str]) -> MakeOptions:
    return MakeOptions(
        upgrade=config.upgrade,
        retry_failed=config.retry_failed,
        unknown=_policy(config.unknown),
        pinned=True,
        seen=seen,
        run_id=run_id,
    )


async def _look_at_unmade(
    studio: Studio, prompts: Iterable[Prompt], summary: Summary, *, wanted: frozenset[Step], upgrade: bool
) -> dict[str, Unmade]:
    found = {}
    for prompt in prompts:
        failed_usd = summary.failed_usd.get(prompt.key)
        if failed_usd is not None:
            found[prompt.key] = await look_at_unmade(
                studio, prompt, wanted=wanted, failed_usd=failed_usd, upgrade=upgrade
            )
    return found


def check(studio: Studio, wanted: Wanted, steps: Collection[Step], report: Report) -> None:
    """Tell the checks of what is there of some steps. Free: nothing is made, whatever is not there."""
    for prompt in wanted.prompts:
        standings = Standings(studio.ledger, studio.store).of(prompt)
        for step in steps:
            if standings[step].artifact is None:
                report.warn(f"{prompt.key}: there is no {step} to check yet; materialize it first.")
            else:
                result = found_result(step, standings[step], studio.store)
                report.check(prompt.key, result, conformity_of(studio, prompt.key, result))
    for error in wanted.failed.values():
        report.warn(error.message)


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
