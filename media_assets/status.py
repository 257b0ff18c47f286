"""How prompts stand, from the ledger and the store alone: nothing is written, nothing is sent.

What a step is made by is found as a plan would find it; what is at work, or ended badly, is read from its purchase.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from media_assets.artifact import ArtifactStore
from media_assets.ledger import Ledger
from media_assets.ledger.pins import PinnedPrompt
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.ledger.schema import plan as plan_table
from media_assets.plan import PlannedStep, Planner
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step
from media_assets.standing import Standing, Standings


class StepState(StrEnum):
    """How a step stands."""

    FINISHED = "finished"
    AVAILABLE = "available"
    """Bought already, for an equal request; a run takes it."""
    IN_PROGRESS = "in progress"
    INTERRUPTED = "interrupted"
    """Begun by a process that stopped; a run goes on with it."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """Sent, without an answer: a person decides."""
    LOST = "lost"
    """Made, but its file is gone."""
    MISSING = "missing"


_ENDED = {
    PurchaseState.FAILED_FREE: StepState.FAILED,
    PurchaseState.FAILED_PAID: StepState.FAILED,
    PurchaseState.CANCELED: StepState.INTERRUPTED,
    PurchaseState.UNKNOWN: StepState.UNKNOWN,
    PurchaseState.LOST_OUTPUT: StepState.LOST,
    PurchaseState.SUCCEEDED: StepState.AVAILABLE,
}


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """One step of a prompt."""

    step: Step
    state: StepState
    model: str
    fraction: float | None
    """Of the work done, 0..1; None when nothing is at work or it does not say."""
    owner_alive: bool | None
    """Whether the process at work still runs; None when nothing was begun."""
    cost_usd: Decimal | None
    degraded: bool
    reason: str | None
    error: Mapping[str, str] | None
    request_key: str

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``status --json``; money as strings."""
        return {
            "step": str(self.step),
            "state": str(self.state),
            "model": self.model,
            "fraction": self.fraction,
            "owner_alive": self.owner_alive,
            "cost_usd": None if self.cost_usd is None else str(self.cost_usd),
            "degraded": self.degraded,
            "reason": self.reason,
            "error": None if self.error is None else dict(self.error),
            "request_key": self.request_key,
        }


@dataclass(frozen=True, kw_only=True)
class PromptStatus:
    """One prompt and its four steps."""

    key: str
    prompt: str
    state: str
    """pending, running, interrupted, done, degraded or failed."""
    deferred: bool
    """Whether it is pending because a cap would have been passed; ``error`` says which."""
    source: str
    updated_at: str
    error: Mapping[str, str] | None
    steps: tuple[StepStatus, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``status --json``."""
        return {
            "key": self.key,
            "prompt": self.prompt,
            "state": self.state,
            "deferred": self.deferred,
            "source": self.source,
            "updated_at": self.updated_at,
            "error": None if self.error is None else dict(self.error),
            "steps": [step.as_dict() for step in self.steps],
        }


def is_at_work(ledger: Ledger, key: str) -> bool:
    """Whether a living process has a plan for a prompt; blocking."""
    with ledger.database.read() as connection:
        plans = connection.execute(plan_table.select().where(plan_table.c.prompt_key == key)).all()
    return any(ledger.owner.is_alive(owner) for owner in {plan.owner for plan in plans})


class Statuses:
    """Looks prompts up; blocking."""

    def __init__(self, ledger: Ledger, store: ArtifactStore, planner: Planner) -> None:
        self._ledger = ledger
        self._standings = Standings(ledger, store)
        self._planner = planner

    def of(self, pinned: PinnedPrompt, *, today: date) -> PromptStatus:
        """Return how one prompt stands.

        Args:
            pinned: Which one.
            today: Decides which prices are in force.
        """
        prompt = pinned.prompt
        standings = self._standings.of(prompt)
        planned = {step.step: step for step in self._planner.plan(prompt, today=today, standings=standings).steps}
        bought = self._ledger.purchases.search(prompt_key=prompt.key)
        steps = tuple(
            self._finished(step, standing, standing.row)
            if (standing := standings[step]).row is not None
            else self._unfinished(step, pinned, planned.get(step), [row for row in bought if row.step == step])
            for step in Step
        )
        state = pinned.status
        if state == "running" and not is_at_work(self._ledger, prompt.key):
            state = "interrupted"
        return PromptStatus(
            key=prompt.key,
            prompt=prompt.prompt,
            state=state,
            deferred=state == "pending" and pinned.error is not None,
            source=pinned.source,
            updated_at=pinned.updated_at,
            error=pinned.error,
            steps=steps,
        )

    def _finished(self, step: Step, standing: Standing, row: PurchaseRow | None) -> StepStatus:
        finished = standing.finished
        if row is None or finished is None:
            return _missing(step, "", "")
        if standing.artifact is None:
            state, alive = (self._open_state(row), self._alive(row)) if row.state.is_open else (StepState.LOST, None)
        else:
            state, alive = StepState.FINISHED, None
        return _from_row(step, state, row, alive=alive, degraded=finished.degraded, reason=finished.reason)

    def _unfinished(
        self, step: Step, pinned: PinnedPrompt, planned: PlannedStep | None, bought: Sequence[PurchaseRow]
    ) -> StepStatus:
        row = self._ledger.purchases.get(planned.request_key) if planned is not None else None
        if row is None:
            # A later model of the route, or a voice timed by the clip, has a request that no plan foresees.
            route = self._planner.route(pinned.prompt, step)
            take = pinned.prompt.take_of(step)
            likely = [one for one in bought if one.model in route and one.take == take]
            counts = [one for one in likely if one.state.is_open or pinned.status == "failed"]
            row = max(counts, key=lambda one: one.updated_at, default=None)
        if row is None:
            return _missing(step, *((planned.model, planned.request_key) if planned is not None else ("", "")))
        if row.state.is_open:
            return _from_row(step, self._open_state(row), row, alive=self._alive(row))
        if row.state is PurchaseState.SUCCEEDED and (planned is None or not planned.cached):
            return _from_row(step, StepState.LOST, row)
        return _from_row(step, _ENDED[row.state], row)

    def _alive(self, row: PurchaseRow) -> bool:
        return self._ledger.owner.is_alive(row.owner)

    def _open_state(self, row: PurchaseRow) -> StepState:
        return StepState.IN_PROGRESS if self._alive(row) else StepState.INTERRUPTED


def _from_row(
    step: Step,
    state: StepState,
    row: PurchaseRow,
    *,
    alive: bool | None = None,
    degraded: bool = False,
    reason: str | None = None,
) -> StepStatus:
    return StepStatus(
        step=step,
        state=state,
        model=row.model,
        fraction=row.progress if row.state.is_open else None,
        owner_alive=alive,
        cost_usd=None if row.cost_micro_usd is None else from_micro_usd(row.cost_micro_usd),
        degraded=degraded,
        reason=reason,
        error=row.error,
        request_key=row.request_key,
    )


def _missing(step: Step, model: str, request_key: str) -> StepStatus:
    return StepStatus(
        step=step,
        state=StepState.MISSING,
        model=model,
        fraction=None,
        owner_alive=None,
        cost_usd=None,
        degraded=False,
        reason=None,
        error=None,
        request_key=request_key,
    )
