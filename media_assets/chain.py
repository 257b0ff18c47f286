"""One prompt's chain at work: image → video ∥ audio → merged, each step found or bought, judged and recorded.

What each step asks for is in ``steps.py``, what is already there in ``standing.py``, how one thing is bought in
``purchase.py``. ``studio.py`` runs chains.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol

from media_assets.artifact import ArtifactStore
from media_assets.catalog import ModelSpec, Recovery
from media_assets.crash_points import crash_point
from media_assets.drafting import draft_step
from media_assets.errors import (
    BudgetExceededError,
    DefectError,
    MediaAssetsError,
    OutputLostError,
    PlanError,
    PurchaseError,
    StoppedError,
)
from media_assets.film import StepResult
from media_assets.found import found_result, made_result
from media_assets.ledger import Ledger
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.rows import PurchaseState, has_failed_for_good
from media_assets.made import Made
from media_assets.orders import Order, Purchased
from media_assets.outlays import Outlay, Outlays
from media_assets.plan import Planner
from media_assets.pricing import to_micro_usd
from media_assets.prompt import Prompt, Step
from media_assets.purchase import Purchasing
from media_assets.request import GenerationRequest
from media_assets.reserving import Reserving
from media_assets.routes import UnknownTerms, moves_on, reason_for, to_tell
from media_assets.siblings import Siblings
from media_assets.standing import Standing, needs
from media_assets.steps import AFTER_VIDEO_TOLERANCE, Draft
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)


class Tell(Protocol):
    """Told what happened to a step: started, progress, finished or failed, and of a failure in a few words why."""

    def __call__(
        self, step: Step, what: str, fraction: float | None, result: StepResult | None, note: str = "", /
    ) -> None: ...


Say = Callable[[Step, str], None]
"""Called with the step and what is waited for, for people."""


@dataclass(frozen=True, kw_only=True)
class ChainContext:
    """What every step of one prompt's chain works with."""

    prompt: Prompt
    reserving: Reserving
    standings: Mapping[Step, Standing]
    planner: Planner
    ledger: Ledger
    store: ArtifactStore
    purchasing: Purchasing
    today: date
    retry_failed: bool
    waits: bool
    """Whether it is waited until a provider can say what came of a submission without a reply."""
    unknown: UnknownTerms
    tell: Tell
    say: Say


class Chain:
    """Makes the wanted steps of one prompt, and what they need."""

    def __init__(self, context: ChainContext) -> None:
        self._at = context
        self._began = time.monotonic()
        self._running: dict[Step, asyncio.Task[StepResult | MediaAssetsError]] = {}
        self._told: list[MediaAssetsError] = []
        self._siblings = Siblings((), self._needs)
        self.outlays = Outlays(context.ledger)
        """What went to purchases that failed."""

    async def run(self, wanted: Iterable[Step]) -> dict[Step, StepResult | MediaAssetsError]:
        """Make the wanted steps. A step that fails leaves its error here; which others go on is in ``siblings.py``.

        What is there already of other steps is reported too. When canceled, waits until every step has stopped.
        """
        chosen = set(wanted)
        self._siblings = Siblings(chosen, self._needs)
        try:
            await self._fail_first(chosen)
            await asyncio.gather(*(self._have(step) for step in Step if step in chosen))
        except BaseException:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            raise
        results = {step: task.result() for step, task in self._running.items()}
        for step in Step:
            if step not in results and self._at.standings[step].artifact is not None:
                results[step] = self._found(step)
        return {step: results[step] for step in Step if step in results}

    @property
    def failure(self) -> MediaAssetsError | None:
        """The error of the step that failed first."""
        return next(iter(self._told), None)

    def _needs(self, step: Step) -> tuple[Step, ...]:
        standing = self._at.standings[step]
        if standing.artifact is not None:
            return ()
        spoken, match_clip = self._at.prompt.script is not None, self._at.planner.settings.match_clip
        return needs(step, standing, spoken=spoken, match_clip=match_clip)

    async def _fail_first(self, chosen: Iterable[Step]) -> None:
        """Let a step fail that has failed for good before, so that nothing is bought for what cannot be made."""
        if self._at.retry_failed:
            return
        needed = set[Step]().union(*map(self._siblings.with_needs, chosen))
        unmade = [step for step in Step if step in needed and self._at.standings[step].row is None]
        if unmade:
            for step in await in_thread(lambda: list(filter(self._has_failed, unmade))):
                await self._have(step)

    def _has_failed(self, step: Step) -> bool:
        """Whether every model of an unmade step's route has failed at it for good, as far as that can be told yet."""
        upstream = {one: self._at.standings[one] for one in self._needs(step)}
        if any(one.artifact is None for one in upstream.values()):
            return False
        made = {one: self._found(one) for one in upstream}
        route = self._at.planner.models(self._at.prompt, step)
        asked = route[:1] if self._at.planner.settings.strict else route
        try:
            keys = [self._draft(step, spec, made).request.key for spec in asked]
        except PlanError:
            return False
        rows = self._at.ledger.purchases.get_many(keys)
        return all(key in rows and has_failed_for_good(rows[key]) for key in keys)

    async def _have(self, step: Step) -> StepResult | MediaAssetsError:
        """Return a step's result, making it once however many ask."""
        if step not in self._running:
            self._running[step] = asyncio.ensure_future(self._make_or_fail(step))
        return await asyncio.shield(self._running[step])

    async def _make_or_fail(self, step: Step) -> StepResult | MediaAssetsError:
        # Errors are returned, so that one step's failure never cancels a sibling that is being paid for.
        try:
            return await self._make(step)
        except Exception as caught:  # noqa: BLE001 - a defect in one step must not cancel a paid sibling
            error = caught if isinstance(caught, MediaAssetsError) else _as_defect(step, caught)
            if isinstance(error, PurchaseError) and not error.step:
                error.step = str(step)
            # A step that never began because of another one's error is not told as failed.
            if error not in self._told:
                self._told.append(error)
                self._at.tell(step, "failed", None, None, f"{type(error).__name__}: {error.headline}")
                self._note_failed(step, error)
            return error

    def _note_failed(self, step: Step, error: MediaAssetsError) -> None:
        if isinstance(error, StoppedError):
            self._at.say(step, error.message)
        elif not isinstance(error, BudgetExceededError):  # what a cap stops has not failed: it is only put off
            self._siblings.failed(step)

    async def _make(self, step: Step) -> StepResult:
        standing = self._at.standings[step]
        if standing.artifact is not None:
            found = self._found(step)
            self._at.tell(step, "finished", 1.0, found)
            return found
        needed = self._needs(step)
        upstream = dict(zip(needed, await asyncio.gather(*(self._have(one) for one in needed)), strict=True))
        errors = [result for result in upstream.values() if isinstance(result, MediaAssetsError)]
        if errors:
            raise min(errors, key=self._told.index)
        self._siblings.recalls[step].check()
        made = {one: result for one, result in upstream.items() if isinstance(result, StepResult)}
        started = time.monotonic()
        self._at.tell(step, "started", 0.0, None)
        result = await self._remake(standing, made) if standing.row is not None else await self._route(step, made)
        result = replace(
            result,
            started_s=started - self._began,
            duration_s=0.0 if result.cached else time.monotonic() - started,
        )
        self._at.tell(step, "finished", 1.0, result)
        return result

    def _found(self, step: Step) -> StepResult:
        return found_result(step, self._at.standings[step], self._at.store, started_s=time.monotonic() - self._began)

    async def _remake(self, standing: Standing, made: Mapping[Step, StepResult]) -> StepResult:
        """Bring back a finished step whose file is lost, under its own request; what was made from it stays valid."""
        row, finished = standing.row, standing.finished
        if row is None or finished is None:
            message = "there is no finished step to make again"
            raise OutputLostError(message)
        request = row.request()
        # The file it was has its size and length; a free one that is made again has to be like it.
        info = row.artifact.info if row.artifact else None
        size_px = (info.width_px, info.height_px) if info and info.width_px and info.height_px else None
        spec = self._at.planner.catalog.get(row.model)
        length_s = info.duration_s if info else None
        draft = Draft(spec=spec, request=request, length_s=length_s, size_px=size_px, problems=())
        purchased = await self._buy(draft, made)
        return self._result(finished, request, purchased, failed=Outlay.before(standing.failed_micro_usd))

    async def _route(self, step: Step, made: Mapping[Step, StepResult]) -> StepResult:
        """Try the route's models in order; what moves on to the next is in ``routes.py``."""
        route = self._at.planner.models(self._at.prompt, step)
        failure: MediaAssetsError | None = None
        for position, spec in enumerate(route):
            rest = route[position + 1 :]
            try:
                # A free model follows a lost reply at once; what came of it is found out by a later run.
                waits = self._at.waits and not (rest and rest[0].recovery is Recovery.FREE)
                draft, purchased = await self._ask(step, spec, made, is_fallback=position > 0, waits=waits)
            except MediaAssetsError as error:
                failure, unknown = to_tell(failure, error), self._at.unknown.policy
                if self._at.planner.settings.strict or not rest or not moves_on(error, rest[0], unknown):
                    raise failure from error.__cause__
                continue
            inputs = draft.request.input_keys()
            if step is Step.AUDIO and Step.VIDEO in made:
                # Not an input of the request, but the speed was chosen for this clip.
                inputs[str(Step.VIDEO)] = made[Step.VIDEO].request_key
            return await self._record(step, draft, purchased, inputs, stood_in=position > 0, reason=reason_for(failure))
        message = f"the route of the step {step} is empty"
        raise PlanError.of(message, [])

    async def _ask(
        self, step: Step, spec: ModelSpec, made: Mapping[Step, StepResult], *, is_fallback: bool, waits: bool
    ) -> tuple[Draft, Purchased]:
        draft = self._draft(step, spec, made)
        problems = list(draft.problems)
        bought = await in_thread(self._at.ledger.purchases.get, draft.request.key)
        if bought is None or bought.state is not PurchaseState.SUCCEEDED:
            problems += self._at.planner.model_problems(step, spec, self._at.today)
        if problems:
            headline = f"{spec.id} cannot make this {step}:"
            raise PlanError.of(headline, problems)
        amount = to_micro_usd(self._at.planner.quote(draft.request, self._at.today).max_usd)
        if is_fallback and amount:
            # The plan reserved the first model's worst case only.
            await self._at.reserving.swap(step, spec.provider, amount)
        try:
            purchased = await self._buy(draft, made, waits=waits)
        except MediaAssetsError:
            before = (bought.cost_micro_usd if bought else None) or 0
            await in_thread(self.outlays.note, step, draft.request.key, before_micro_usd=before)
            raise
        if step is Step.AUDIO and Step.VIDEO in made and spec.recovery is Recovery.FREE:
            return await self._match_again(spec, draft, purchased, made)
        return draft, purchased

    async def _match_again(
        self, spec: ModelSpec, draft: Draft, purchased: Purchased, made: Mapping[Step, StepResult]
    ) -> tuple[Draft, Purchased]:
        """Speak once more at the right speed, when a free voice missed the clip's length because of the estimate."""
        name = spec.roles.get("speed", "")
        clip_s, voice_s = self._upstream(made).clip_s(), purchased.artifact.info.duration_s or 0.0
        if name not in spec.params or abs(voice_s - clip_s) <= AFTER_VIDEO_TOLERANCE * clip_s:
            return draft, purchased
        limits = spec.params[name]
        speed = float(draft.request.params[name]) * voice_s / clip_s
        speed = round(min(max(speed, limits.min or speed), limits.max or speed), 3)
        request = replace(draft.request, params={**draft.request.params, name: speed})
        again = replace(draft, request=request)
        return again, await self._buy(again, made)

    def _upstream(self, made: Mapping[Step, StepResult]) -> Made:
        planner, prompt = self._at.planner, self._at.prompt
        return Made(
            prompt=prompt,
            steps=made,
            routes={step: planner.models(prompt, step) for step in Step},
            bounds=planner.settings.bounds,
            min_image_side_px=planner.settings.min_image_side_px,
        )

    def _draft(self, step: Step, spec: ModelSpec, made: Mapping[Step, StepResult]) -> Draft:
        upstream = self._upstream(made)
        return draft_step(
            self._at.prompt, step, spec, routes=upstream.routes, bounds=upstream.bounds, upstream=upstream
        )

    async def _buy(self, draft: Draft, made: Mapping[Step, StepResult], *, waits: bool = True) -> Purchased:
        request = draft.request
        inputs = {
            role: self._at.store.local_path(artifact)
            for role in request.input_keys()
            if (artifact := made[Step(role)].artifact) is not None
        }
        worst_usd = self._at.planner.quote(request, self._at.today).max_usd
        order = Order(
            request=request,
            spec=draft.spec,
            prompt_key=self._at.prompt.key,
            plan_id=self._at.reserving.plan_id,
            estimate_usd=worst_usd,
            today=self._at.today,
            assume_usd=self._at.planner.settings.assume_usd,
            inputs=inputs,
            question=self._upstream(made).question(draft),
            retry_failed=self._at.retry_failed,
            reserve=lambda: self._at.reserving.swap(request.step, draft.spec.provider, to_micro_usd(worst_usd)),
            waits=waits,
            resubmit_max_usd=self._at.unknown.resubmit_max_usd,
            aside=self._at.reserving.aside,
            say=lambda message: self._at.say(request.step, message),
            tell=lambda fraction: self._at.tell(request.step, "progress", fraction, None),
            recall=self._siblings.recalls[request.step],
        )
        return await self._at.purchasing.buy(order)

    async def _record(
        self,
        step: Step,
        draft: Draft,
        purchased: Purchased,
        inputs: Mapping[str, str],
        *,
        stood_in: bool,
        reason: str | None,
    ) -> StepResult:
        spec, prompt = draft.spec, self._at.prompt
        unspoken = spec.silent and prompt.script is not None
        degraded = (stood_in and spec.stand_in) or unspoken
        if unspoken and reason is None:
            reason = "the script is not spoken: a silent track was chosen"
        digest = prompt.step_digest(step, stand_in_fields=spec.reads_stand_in_fields or step is Step.MERGED)
        done = FinishedStep(
            step=step,
            request_key=draft.request.key,
            model=spec.id,
            inputs=inputs,
            degraded=degraded,
            reason=reason,
            gone_past=self.outlays.request_keys(step),
            notes=tuple(f"{note.field}: {note.message}" for note in draft.notes),
        )
        await in_thread(
            self._at.ledger.prompts.finish,
            prompt.key,
            digest,
            done,
            sha256=purchased.artifact.sha256,
            params=draft.request.params,
        )
        crash_point("step_recorded")
        return self._result(done, draft.request, purchased, failed=self.outlays.of(step))

    def _result(
        self, done: FinishedStep, request: GenerationRequest, purchased: Purchased, *, failed: Outlay
    ) -> StepResult:
        return made_result(
            done, request, purchased, self._at.store, failed=failed, started_s=time.monotonic() - self._began
        )


def _as_defect(step: Step, error: Exception) -> DefectError:
    _log.error("the step %s met a defect", step, exc_info=error)
    return DefectError.of(error)
