"""Plan: what making a prompt would do, and every reason why it cannot, before anything is sent.

Planning reads the ledger and the disk, writes nothing and sends nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from media_assets.artifact import ArtifactStore
from media_assets.catalog import DEFAULT_ROUTES, Catalog, ModelSpec
from media_assets.drafting import Drafting
from media_assets.errors import BudgetExceededError, ConfigurationError, PlanError, Problem
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Need
from media_assets.ledger.rows import PurchaseState
from media_assets.media.ffmpeg_features import ffmpeg_problem
from media_assets.pricing import Estimate, estimate, price_on, stale, to_micro_usd
from media_assets.prompt import Prompt, Scalar, Step
from media_assets.request import GenerationRequest
from media_assets.standing import Standing
from media_assets.steps import Bounds, Draft

_HOLDS_ITS_MONEY = frozenset(
    {PurchaseState.SUBMITTING, PurchaseState.SUBMITTED, PurchaseState.DONE, PurchaseState.UNKNOWN}
)


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """What a plan is made under."""

    routes: Mapping[Step, Sequence[str]] = field(default_factory=lambda: DEFAULT_ROUTES)
    match_clip: bool = False
    """Whether the voice waits for the clip and is spoken as long as it (``audio_timing: after_video``)."""
    min_image_side_px: int = 512
    """A smaller picture is not built on."""
    min_free_bytes: int = 512 * 10**6
    """Disk that must be free before anything is made."""
    max_crop: float = 0.5
    """Share of a picture's area that may be cut off to fit the next model."""
    max_enlargement: float = 2.0
    """Factor by which a picture may be blown up to fit the next model."""
    strict: bool = False
    """Whether a step fails with its first model, in place of going on to the next of its route."""
    assume_usd: Decimal | None = None
    """What a model without a price is taken to cost a request; None: it is refused."""

    @property
    def bounds(self) -> Bounds:
        """Return how much a picture may lose."""
        return Bounds(max_crop=self.max_crop, max_enlargement=self.max_enlargement)


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One step of a plan."""

    step: Step
    model: str
    params: Mapping[str, Scalar]
    estimate_usd: Decimal
    """The worst case; 0 for what is there already."""
    least_usd: Decimal
    """The best case."""
    price_hearsay: str | None
    """Who said the price, if not the provider itself."""
    cached: bool
    in_flight: bool
    is_reserved: bool
    """Whether a purchase that was sent before holds the money for it already, or has spent it."""
    duration_s: float | None
    """Expected length of what is made; None for a picture."""
    size_px: tuple[int, int] | None
    """Expected width and height; None for a sound, and where the model decides."""
    request_key: str

    @property
    def provider(self) -> str:
        """Return who would bill it."""
        return self.model.partition(":")[0]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole chain of one prompt, as it would be made now."""

    key: str
    steps: tuple[PlannedStep, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    """What does not stop the chain, and should be known: a price that is not the provider's own word, a model that
    retires soon, a second model without a key."""

    @property
    def least_usd(self) -> Decimal:
        """Return the best case of everything that is not there yet."""
        return sum((step.least_usd for step in self.steps), Decimal(0))

    @property
    def estimate_usd(self) -> Decimal:
        """Return the worst case of everything that is not there yet."""
        return sum((step.estimate_usd for step in self.steps), Decimal(0))

    def need(self, steps: Collection[Step] = frozenset(Step)) -> Need:
        """Return what has to be reserved for these steps.

        What was sent before holds its reservation: its cap must not keep anybody from fetching what is paid for.
        """
        unreserved = [step for step in self.steps if step.step in steps and not step.is_reserved]
        return Need(
            {step.step: to_micro_usd(step.estimate_usd) for step in unreserved},
            {step.step: step.provider for step in unreserved},
        )

    def require(self) -> None:
        """Raise an error that lists every problem, if there is one.

        Raises:
            BudgetExceededError: A cap would be passed, and nothing else is wrong: more money would help.
            PlanError: Otherwise.
        """
        if self.problems and all(problem.field == "budget" for problem in self.problems):
            raise BudgetExceededError("; ".join(problem.message for problem in self.problems))
        if self.problems:
            headline = f"{self.key} cannot be made as asked; nothing was sent:"
            raise PlanError.of(headline, self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``plan --json``."""
        return {
            "key": self.key,
            "ok": not self.problems,
            "problems": [_as_dict(problem) for problem in self.problems],
            "warnings": [_as_dict(warning) for warning in self.warnings],
            "estimate_usd": {"min": format(self.least_usd, "f"), "max": format(self.estimate_usd, "f")},
            "steps": [
                {
                    "step": str(step.step),
                    "model": step.model,
                    "params": dict(step.params),
                    "estimate_usd": format(step.estimate_usd, "f"),
                    "cached": step.cached,
                    "in_flight": step.in_flight,
                    "duration_s": step.duration_s,
                }
                for step in self.steps
            ],
        }


_FREE = Estimate(min_usd=Decimal(0), max_usd=Decimal(0), price_from=None, own_word=True)
"""Of what is there already."""


def _as_dict(problem: Problem) -> dict[str, str]:
    return {"step": problem.where, "field": problem.field, "message": problem.message}


def _no_key_problem(provider: str) -> str | None:
    del provider
    return None


class Planner:
    """Makes plans, with one catalog, ledger and store."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        ledger: Ledger,
        store: ArtifactStore,
        settings: PlanSettings,
        key_problem: Callable[[str], str | None] = _no_key_problem,
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self._key_problem = key_problem
        self._ledger = ledger
        self._store = store

    def route(self, prompt: Prompt, step: Step) -> Sequence[str]:
        """Return the models of a step, in order: the prompt's own route, else the configured one."""
        if step is Step.AUDIO and prompt.script is None:
            # Nothing to say: whatever voice is configured, a silent track needs none.
            return [spec.id for spec in self.catalog if spec.silent][:1]
        return prompt.routes.get(step) or self.settings.routes[step]

    def models(self, prompt: Prompt, step: Step) -> list[ModelSpec]:
        """Return the entries of a step's models, in order.

        Raises:
            UnknownModelError: One of them is not in the catalog.
        """
        return [self.catalog.get(model, step=step) for model in self.route(prompt, step)]

    def plan(self, prompt: Prompt, *, today: date, standings: Mapping[Step, Standing]) -> Plan:
        """Return what making ``prompt`` now would do; blocking, and free.

        Args:
            prompt: What is asked for.
            today: Decides which prices are in force.
            standings: What is there of it already.
        """
        problems = self._machine_problems()
        routes, faults = self._routes(prompt)
        problems += faults
        drafting = self._drafting(prompt, routes, standings)
        drafts = drafting.firsts
        warnings: list[Problem] = []
        steps = []
        for step, draft in drafts.items():
            standing = standings[step]
            if standing.row is None:
                problems += draft.problems
            if len(drafts) < len(Step):
                continue
            try:
                planned = self._planned(step, draft, standing, today)
            except ConfigurationError as error:
                problems.append(Problem(step, "model", error.message))
                continue
            steps.append(planned)
            if not planned.cached:
                problems += self.model_problems(step, self.catalog.get(planned.model), today)
                warnings += self._warnings(routes[step][0], step, today, price_hearsay=planned.price_hearsay)
                warnings += draft.notes if standing.row is None else ()
                for spec in routes[step][1:]:
                    warnings += self._doubts(step, spec, drafting, today)
        if not (standings[Step.IMAGE].row and standings[Step.VIDEO].row):
            problems += self._size_problems(prompt)
        return Plan(
            key=prompt.key,
            steps=tuple(steps),
            problems=tuple(dict.fromkeys(problems)),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def model_problems(self, step: Step, spec: ModelSpec, today: date) -> list[Problem]:
        """Return why a model cannot be asked now: it is retired, or its provider's key cannot be used."""
        problems = []
        if spec.lifetime(today) == "retired":
            problems.append(Problem(step, "model", _retired(spec)))
        if reason := self._key_problem(spec.provider):
            fault = f"{spec.id} needs a key: {reason}"
            problems.append(Problem(step, "key", fault))
        return problems

    def _drafting(
        self, prompt: Prompt, routes: Mapping[Step, Sequence[ModelSpec]], standings: Mapping[Step, Standing]
    ) -> Drafting:
        return Drafting(
            prompt,
            routes=routes,
            standings=standings,
            bounds=self.settings.bounds,
            match_clip=self.settings.match_clip,
            find=self._ledger.purchases.get,
        )

    def _routes(self, prompt: Prompt) -> tuple[dict[Step, list[ModelSpec]], list[Problem]]:
        """Return the known models of every step, and what is wrong with the routes."""
        routes: dict[Step, list[ModelSpec]] = {}
        problems = []
        for step in Step:
            used = self.route(prompt, step)
            # A route that this prompt has no use for is checked too: it was meant.
            meant = prompt.routes.get(step, ())
            for model in dict.fromkeys([*used, *meant]):
                if max(list(used).count(model), list(meant).count(model)) > 1:
                    problems.append(Problem(step, "route", f"{model} is named more than once"))
                try:
                    spec = self.catalog.get(model, step=step)
                except ConfigurationError as error:
                    problems.append(Problem(step, "route", error.message))
                    continue
                if model in used:
                    routes.setdefault(step, []).append(spec)
        return routes, problems

    def _warnings(self, first: ModelSpec, step: Step, today: date, *, price_hearsay: str | None) -> list[Problem]:
        warnings = []
        if first.lifetime(today) == "retiring":
            warnings.append(Problem(step, "model", _retiring(first)))
        if price_hearsay is not None:
            fault = f"the price of {first.id} is not the provider's own word: {price_hearsay}"
            warnings.append(Problem(step, "price", fault))
        if stale(first, today):
            warnings.append(Problem(step, "price", f"the price of {first.id} was read more than 90 days ago"))
        return warnings

    def _doubts(self, step: Step, spec: ModelSpec, drafting: Drafting, today: date) -> list[Problem]:
        """Return why a later model of a route could not take over, or would do so with less than was asked for."""
        draft = drafting.draft(step, spec)
        faults = [problem.message for problem in self.model_problems(step, spec, today)]
        faults += [f"{problem.field}: {problem.message}" for problem in draft.problems]
        try:
            self.quote(draft.request, today)
        except ConfigurationError as error:
            faults.append(error.message)
        doubts = [Problem(step, "route", f"{spec.id} cannot take over: {fault}") for fault in faults]
        return doubts or list(draft.notes)

    def _planned(self, step: Step, draft: Draft, standing: Standing, today: date) -> PlannedStep:
        row = standing.row or self._ledger.purchases.get(draft.request.key)
        finished = row is not None and row.state is PurchaseState.SUCCEEDED
        cached = finished and row is not None and row.artifact is not None and self._store.has(row.artifact)
        request = row.request() if row is not None and finished else draft.request
        quote = _FREE if cached else self.quote(request, today)
        return PlannedStep(
            step=step,
            model=request.model,
            params=request.params,
            estimate_usd=quote.max_usd,
            least_usd=quote.min_usd,
            price_hearsay=self._hearsay(request.model, quote, today),
            cached=cached,
            in_flight=row is not None and row.state.is_open,
            is_reserved=row is not None and row.state in _HOLDS_ITS_MONEY,
            duration_s=draft.length_s,
            size_px=draft.size_px,
            request_key=request.key,
        )

    def _hearsay(self, model: str, quote: Estimate, today: date) -> str | None:
        if quote.own_word:
            return None
        return (
            "MEDIA_ASSETS_ASSUME_USD" if quote.price_from is None else price_on(self.catalog.get(model), today).source
        )

    def quote(self, request: GenerationRequest, today: date) -> Estimate:
        """Return what a request would cost, from the best to the worst case.

        Raises:
            ConfigurationError: Its model has no price, and none is assumed.
        """
        spec = self.catalog.get(request.model)
        return estimate(spec, request, today=today, assume_usd=self.settings.assume_usd)

    def _machine_problems(self) -> list[Problem]:
        problems = []
        free, needed = self._store.free_bytes(), self.settings.min_free_bytes
        if free < needed:
            fault = f"{free // 10**6} MB are free at {self._store.root}, {needed // 10**6} MB are needed (min_free_mb)"
            problems.append(Problem("", "disk", fault))
        if no_ffmpeg := ffmpeg_problem():
            problems.append(Problem("", "ffmpeg", no_ffmpeg))
        return problems

    def _size_problems(self, prompt: Prompt) -> list[Problem]:
        least = self.settings.min_image_side_px
        if min(prompt.size_px) >= least:
            return []
        width, height = prompt.size_px
        fault = f"{width}x{height} is smaller than {least} px a side, which is not built on (min_image_side_px)"
        return [Problem(Step.IMAGE, "size_px", fault)]


def _retired(spec: ModelSpec) -> str:
    return f"{spec.id} was retired on {spec.retires}. In its place: {', '.join(spec.successors) or 'none is known'}"


def _retiring(spec: ModelSpec) -> str:
    return f"{spec.id} retires on {spec.retires}. In its place: {', '.join(spec.successors) or 'none is known'}"
