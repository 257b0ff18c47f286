"""What a run tells Dagster, and when: materializations, log lines and the run's tags."""

import logging
import queue
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

import dagster as dg

from media_assets.batch import Quote, Summary
from media_assets.conformity import Conformity, conformity_of
from media_assets.defs.checks import evaluations, newest_materialization
from media_assets.defs.metadata import as_materialization, step_metadata
from media_assets.film import Film, StepResult
from media_assets.left_open import LeftOpen
from media_assets.prompt import Step
from media_assets.request import SCHEMA_VERSION
from media_assets.spent_so_far import SpentSoFar
from media_assets.studio import Event, Studio

_log = logging.getLogger(__name__)

CODE_VERSION = str(SCHEMA_VERSION)
"""Of the request's form, not of our code: a deploy must make nothing look stale."""

_OWNER_TAG = "ledger_owner"
_COST_TAG = "cost_usd"

_MOST_IN_FULL = 100
"""Prompts of a run that are reported with pictures, and with checks that say only that nothing is wrong."""


def own(context: dg.OpExecutionContext | dg.AssetExecutionContext, owner: str, **tags: str) -> None:
    """Tag a run with the name in the ledger of the process that works on it, and more."""
    # With the run's own name: a retry inherits the tags of the run that it retries.
    run_id = context.run.run_id
    context.instance.add_run_tags(run_id, {_OWNER_TAG: f"{run_id}:{owner}", **tags})


def owner_of(run: dg.DagsterRun) -> str | None:
    """Return the name in the ledger of the process that works on a run; None where it has not said so (yet)."""
    run_id, _, owner = run.tags.get(_OWNER_TAG, "").partition(":")
    return owner if run_id == run.run_id else None


def _told(counts: Mapping[str, int], spent_usd: Decimal, quote: Quote) -> str:
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing to do"
    return f"{told}; {spent_usd} USD spent of at most {quote.estimate_usd} USD quoted"


class Report:
    """Reports one run.

    One prompt: results are yielded at the end, so that a user's own downstream assets run. Several: each success is
    logged from inside the wait, because a yielded output would mark every partition of the run.
    """

    def __init__(
        self,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        *,
        origin: str,
        keys: Collection[str],
        wanted: Collection[Step],
        yields: bool,
    ) -> None:
        self.origin = origin
        """The run that a chain of retries began with."""
        self.wanted = frozenset(wanted)
        self._context = context
        self._single = yields and len(keys) == 1
        self._in_full = len(keys) <= _MOST_IN_FULL
        self._studio: Studio | None = None
        self._seen: Mapping[str, str] = {}
        self._tags = {"prompt": next(iter(keys))} if len(keys) == 1 else {"prompts": str(len(keys))}
        self._todo: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._chains: dict[str, dict[Step, StepResult]] = {}
        self._waiting: dict[Step, StepResult] = {}
        self._conformities: dict[tuple[str, Step], Conformity] = {}
        """Of what is still to be reported."""
        self._at_work: dict[str, Decimal] = {}
        """What was told to be spent on the prompts that were begun and have not ended."""
        self._ended_usd = Decimal(0)
        """What was spent on those that have."""
        self._total = len(keys)
        self._problem: Exception | None = None
        """The first thing that could not be reported."""

    def forget_parent(self) -> None:
        """Tag the run as one that has spent nothing yet, where it has the tag of the run that it retries."""
        if _COST_TAG in self._context.run.tags:
            self._tag_cost(Decimal(0))

    def begin(self, quote: Quote, studio: Studio, *, seen: Mapping[str, str]) -> None:
        """Log what the run may cost, before anything is sent, and tag it with that.

        Args:
            quote: What it may cost.
            studio: That makes it; open until :meth:`end`.
            seen: Digests of what was pinned when the prompts were looked up, by key.
        """
        self._studio, self._seen = studio, seen
        self._context.log.info("at most %s USD will be spent: %s", quote.estimate_usd, quote)
        own(self._context, studio.ledger.owner.id, **self._tags, quote_usd=str(quote.estimate_usd), **{_COST_TAG: "0"})

    def on_event(self, event: Event) -> None:
        """Take note of an event, from whatever thread."""
        if event.what != "progress":
            self._todo.put(lambda: self._tell_event(event))

    def on_film(self, film: Film) -> None:
        """Take note of a film that has ended, from whatever thread."""
        self._todo.put(lambda: self._tell_film(film))

    def tick(self) -> None:
        """Log what has happened since; called from the step's own thread.

        What cannot be logged must not cancel work that may be paid for: it is raised when all is done.
        """
        told_usd = self._told_usd
        self._tell_all()
        if self._told_usd != told_usd:
            # Who is killed cannot say it any more.
            self._todo.put(lambda: self._tag_cost(self._told_usd))
            self._tell_all()

    @property
    def _told_usd(self) -> Decimal:
        return sum(self._at_work.values(), self._ended_usd)

    def _tell_all(self) -> None:
        while not self._todo.empty():
            tell = self._todo.get()
            try:
                tell()
            except Exception as error:  # noqa: BLE001 - kept, and raised at the end
                _log.exception("something could not be reported to Dagster")
                self._problem = self._problem or error

    def _tag_cost(self, cost_usd: Decimal) -> None:
        self._context.instance.add_run_tags(self._context.run.run_id, {_COST_TAG: str(cost_usd)})

    def _tell_event(self, event: Event) -> None:
        spent_usd = event.result.spent_usd if event.result is not None else Decimal(0)
        self._at_work[event.key] = self._at_work.get(event.key, Decimal(0)) + spent_usd
        if event.result is None:
            told = f"{event.what}: {event.note}" if event.note else event.what
            self._context.log.info("%s: %s %s", event.key, event.step, told)
        else:
            self._note(event.key, event.result)

    def _tell_film(self, film: Film) -> None:
        self._at_work.pop(film.key, None)
        self._ended_usd += film.spent_usd
        # Steps that were there already and not asked for: the timeline shows them.
        for step, result in film.steps.items():
            self._chains.setdefault(film.key, {}).setdefault(step, result)
        if not self._single:
            # A chain's results are as large as its pictures' metadata; of a batch only the last ones are needed.
            self._chains.pop(film.key, None)

    def _note(self, key: str, result: StepResult) -> None:
        self._context.log.info("%s: %s %s by %s", key, result.step, "found" if result.cached else "made", result.model)
        self._chains.setdefault(key, {})[result.step] = result
        if result.step not in self.wanted and result.cached:
            return
        if self._studio is not None:
            # Of one that waits to be yielded too: by then the ledger is closed.
            self._conformities[key, result.step] = conformity_of(self._studio, key, result)
        if self._single and result.step in self.wanted:
            self._waiting[result.step] = result
        elif not self._is_late(key):
            self._log(key, result)

    def _is_late(self, key: str) -> bool:
        """Whether another prompt was pinned while this one was made: the newest materialization is to be that one's."""
        if self._studio is None or self._studio.ledger.prompts.is_pinned(key, self._seen[key]):
            return False
        self._context.log.warning(
            "%s: the prompt was changed while it was made; what was made is kept, and not reported as the newest.", key
        )
        return True

    def flush(self) -> None:
        """Log everything that had finished, when the run is interrupted."""
        self.tick()
        self._drop_late()
        for key in self._chains if self._single else ():
            for result in self._waiting.values():
                self._log(key, result)
        self._waiting.clear()

    def _drop_late(self) -> None:
        if self._waiting and any(map(self._is_late, self._chains)):
            self._waiting.clear()

    def tell_open(self, left: list[LeftOpen]) -> None:
        """Log what a run that was interrupted leaves open at the providers."""
        for one in left:
            self._context.log.warning("%s: %s", one.prompt_key, one)

    def stop(self, summary: Summary, spent: SpentSoFar, keys: Collection[str]) -> None:
        """Log how far an interrupted run has come, and tag it with what it has spent.

        Args:
            summary: Of the prompts that have ended.
            spent: What was spent on the others.
            keys: Of all prompts that the run was to make.
        """
        ended = {*summary.done, *summary.cached, *summary.failed, *summary.deferred, *summary.superseded}
        spent_usd = summary.spent_usd + spent.on([key for key in keys if key not in ended])
        self._tag_cost(spent_usd)
        stopped = len(self._at_work.keys() - ended)
        left = {"stopped": stopped, "not reached": self._total - len(ended) - stopped}
        told = _told({**summary.counts, **left}, spent_usd, summary.quote)
        self._context.log.warning("the run was stopped before its end: %s", told)

    def crash(self, why: str) -> None:
        """Report that the run's process ends without its work having ended."""
        self._context.instance.report_run_failed(self._context.run, why)

    def end(self, summary: Summary) -> None:
        """Log the rest and, of a run that is not one prompt's own, a summary; tag the run with what it cost.

        Raises:
            Exception: What could not be reported before.
        """
        self.tick()
        for key in summary.superseded:
            self._context.log.warning(
                "%s: the prompt was changed since this run was asked for; a run of its own makes it, and this one "
                "has bought nothing for it.",
                key,
            )
        if not self._single:
            self._context.log.info("%s", _told(summary.counts, summary.spent_usd, summary.quote))
        # What is yielded is logged in a moment; the run of a prompt that is pinned only now takes longer to begin.
        self._drop_late()
        self._todo.put(lambda: self._tag_cost(summary.spent_usd))
        self._tell_all()
        if self._problem is not None:
            raise self._problem

    def results(self) -> Iterator[dg.MaterializeResult[None]]:
        """Yield one prompt's results, in the order of the chain; then log their checks."""
        waiting = [self._waiting[step] for step in Step if step in self._waiting]
        for result in waiting:
            yield self._as_result(result)
        for key in self._chains:
            for result in waiting:
                self._check_noted(key, result)

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
        self._check_noted(key, result)

    def check(self, key: str, result: StepResult, conformity: Conformity) -> None:
        """Log the checks of a step that is there, once its materialization is in the event log."""
        target = newest_materialization(self._context.instance, key, result.step)
        for evaluation in evaluations(key, result, conformity, target=target, every=self._in_full):
            self._context.log_event(evaluation)  # type: ignore[arg-type]  # taken, though not in the annotation

    def _check_noted(self, key: str, result: StepResult) -> None:
        conformity = self._conformities.pop((key, result.step), None)
        if conformity is not None:
            self.check(key, result, conformity)

    def warn(self, what: str) -> None:
        """Log something that people should know."""
        self._context.log.warning(what)

    def _metadata(self, result: StepResult, chain: Mapping[Step, StepResult]) -> dict[str, dg.MetadataValue[Any]]:
        ordered = {step: chain[step] for step in Step if step in chain}
        return step_metadata(result, chain=ordered, with_pictures=self._in_full)
