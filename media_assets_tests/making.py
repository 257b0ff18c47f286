"""Shared by the tests that make films: cheap prompts, models of a provider of our own, and a shop that buys."""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from media_assets.artifact import ArtifactStore
from media_assets.catalog import Catalog, Meter, ModelSpec, PriceRow, Recovery, load_catalog
from media_assets.film import Film
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.rows import PurchaseRow
from media_assets.ledger.schema import budget, reservation
from media_assets.media.questions import AskAudio, Question
from media_assets.orders import Order, Purchased
from media_assets.plan import Planner
from media_assets.prediction import Prediction
from media_assets.prompt import Prompt, Step
from media_assets.providers.base import Adapter, Asked, Deadlines, LocalArguments, LocalCall, LocalReply
from media_assets.providers.local import LocalAdapter
from media_assets.providers.registry import build_adapters
from media_assets.providers.transport import Transport
from media_assets.purchase import Purchasing
from media_assets.request import GenerationRequest
from media_assets.settings import Settings
from media_assets.studio import MakeOptions, Studio, open_studio

CHEAP = Settings.model_construct(min_image_side_px=64, min_free_mb=0)
"""Settings under which a film is small enough to be made in a quarter of a second."""

TODAY = date(2026, 11, 23)
"""The day on which every test buys."""


def cheap_prompt(**changes: Any) -> Prompt:
    """Return a prompt whose film is 64 pixels a side and one second long, with a silent track for its voice."""
    row = {
        "key": "cheap",
        "prompt": "a red barn at dawn",
        "script": "Hello there.",
        "size_px": (64, 64),
        "clip_s": 1.0,
        "routes": {"audio": ["local:silence"]},
        "params": {"video": {"fps": 2}},
    }
    return Prompt.model_validate({**row, **changes})


def some_request(*, step: Step = Step.IMAGE, take: int = 0) -> GenerationRequest:
    """Return a request of nobody's, for tests of the ledger alone."""
    return GenerationRequest(
        step=step, provider="testing", model="testing:any", endpoint="any", version="1", params={"seed": 7}, take=take
    )


@dataclass
class OwnProvider(Adapter):
    """A provider of the tests' own, whose models make what the built-in models of the same name make.

    ``before`` is called in the working thread before a model runs, and may raise or block; ``after`` may change what
    it wrote.
    """

    name: ClassVar[str] = "testing"
    before: Callable[[str, LocalArguments], None] = lambda _endpoint, _arguments: None
    after: Callable[[str, LocalReply], None] = lambda _endpoint, _reply: None
    submits: Counter[str] = field(default_factory=Counter)
    """How often each endpoint was called."""

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> LocalCall:
        made_by = LocalAdapter().submit_call(request, inputs=inputs, deadlines=deadlines).function

        def call(arguments: LocalArguments) -> LocalReply:
            self.submits[request.endpoint] += 1
            self.before(request.endpoint, arguments)
            reply = made_by(arguments)
            self.after(request.endpoint, reply)
            return reply

        return LocalCall(function=call, params=request.params)

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        return LocalAdapter().parse(reply, asked, prediction)


def own_model(like: str, *, recovery: Recovery = Recovery.FREE, usd: str = "0", **changes: Any) -> ModelSpec:
    """Return ``testing:NAME``, a model like ``local:NAME`` on other terms."""
    price = PriceRow.model_validate(
        {"from": date(2026, 1, 1), "usd": usd, "per": Meter.REQUEST, "source": "invented", "own_word": True}
    )
    terms = {"id": f"testing:{like}", "recovery": recovery, "price": (price,), "stand_in": False}
    return load_catalog().get(f"local:{like}").model_copy(update=terms | changes)


PRICED = tuple(own_model(name, usd="0.01") for name in ("landscape", "ken-burns", "silence"))
"""Models that are done again when interrupted, as free ones are, and yet cost something: budgets show at work."""

OWN = tuple(own_model(name) for name in ("landscape", "ken-burns", "silence"))
"""Free models of our own provider."""

OWN_ROUTES = {"image": ["testing:landscape"], "video": ["testing:ken-burns"], "audio": ["testing:silence"]}


@contextlib.contextmanager
def studio_on(
    home: Path,
    *,
    models: Iterable[ModelSpec] = (),
    provider: OwnProvider | None = None,
    settings: Settings = CHEAP,
) -> Iterator[Studio]:
    """Open a studio whose catalog also has ``models``; one with a known id takes the built-in's place."""
    with open_studio(home, settings.studio_options(), today=lambda: TODAY) as studio:
        planner = Planner(
            catalog=Catalog([*load_catalog(), *models]),
            ledger=studio.ledger,
            store=studio.store,
            settings=studio.planner.settings,
        )
        adapters = {**build_adapters(), OwnProvider.name: provider or OwnProvider()}
        with contextlib.closing(Transport(adapters)) as transport:
            yield replace(studio, planner=planner, transport=transport)


def make(home: Path, prompt: Prompt, *, options: MakeOptions | None = None, **studio: Any) -> Film:
    """Make one film in a studio of its own, as a run of the command does."""
    with studio_on(home, **studio) as one:
        return asyncio.run(one.make(prompt, options=options))


def attempt(home: Path, prompt: Prompt, **studio: Any) -> Film:
    """Do as :func:`make`, with the error in the film."""
    with studio_on(home, **studio) as one:
        return asyncio.run(one.attempt(prompt))


def made(film: Film) -> set[Step]:
    """Return the steps that the call which returned this film made."""
    return {step for step, result in film.steps.items() if not result.cached}


def failing(endpoint: str, error: Exception) -> Callable[[str, LocalArguments], None]:
    """Return an ``OwnProvider.before`` that fails one model."""

    def before(which: str, _arguments: LocalArguments) -> None:
        if which == endpoint:
            raise error

    return before


SHOP_PRICE_USD = "0.50"
"""What everything paid costs in the shop."""

SHOP_REQUEST = GenerationRequest(
    step=Step.AUDIO,
    provider="testing",
    model="testing:silence",
    endpoint="silence",
    version="1",
    params={"duration_s": 1.0},
)
"""What is bought in the shop: a second of silence."""


SILENCE_IS_GOOD = AskAudio(text=None, silent_ok=True)
SILENCE_IS_BAD = AskAudio(text=None, silent_ok=False)


@dataclass
class Shop:
    """A ledger, a store and a provider of our own: what a process has to buy with."""

    home: Path
    ledger: Ledger
    provider: OwnProvider = field(default_factory=OwnProvider)
    caps: Sequence[Cap] = (Cap("prompt:cheap", 100_000_000, "cap"),)

    @property
    def store(self) -> ArtifactStore:
        """The store of this home."""
        return ArtifactStore(self.home / "artifacts")

    @property
    def row(self) -> PurchaseRow:
        """The one purchase."""
        (row,) = self.ledger.purchases.search()
        return row

    async def buying(
        self, *, paid: bool = False, take: int = 0, question: Question = SILENCE_IS_GOOD, **more: Any
    ) -> Purchased:
        """Buy; a paid purchase is of class D and costs half a dollar, under a cap of a hundred."""
        usd = SHOP_PRICE_USD if paid else "0"
        order = Order(
            request=replace(SHOP_REQUEST, take=take),
            spec=own_model("silence", recovery=Recovery.NONE if paid else Recovery.FREE, usd=usd),
            prompt_key="cheap",
            plan_id=self.plan(usd),
            estimate_usd=Decimal(usd),
            inputs={},
            question=question,
            today=TODAY,
            **more,
        )
        purchasing = Purchasing(self.ledger, self.store, Transport({"testing": self.provider}))
        try:
            return await purchasing.buy(order)
        finally:
            self.ledger.prompts.close_plan(order.plan_id)

    def buy(self, **how: Any) -> Purchased:
        """Buy and wait for it."""
        return asyncio.run(self.buying(**how))

    def plan(self, usd: str) -> str:
        """Open a plan that reserves what the purchase may cost."""
        plan_id = secrets.token_hex(8)
        amounts = {Step.AUDIO: int(Decimal(usd) * 1_000_000)}
        self.ledger.prompts.open_plan(plan_id, "cheap", amounts=amounts, caps=self.caps)
        return plan_id

    def spent_usd(self) -> Decimal:
        """Return what the budget says was spent."""
        with self.ledger.database.read() as connection:
            spent = connection.exec_driver_sql("SELECT COALESCE(SUM(spent_micro_usd), 0) FROM budget").scalar_one()
        return Decimal(spent) / 1_000_000


def purchases(home: Path) -> dict[Step, PurchaseRow]:
    """Return the purchases of a home with one prompt, by step."""
    with open_ledger(home) as ledger:
        rows = ledger.purchases.search()
    assert len({row.step for row in rows}) == len(rows), "more than one purchase for a step"
    return {Step(row.step): row for row in rows}


def leftovers(home: Path) -> list[str]:
    """Return what work leaves behind only when it died: temporary files, scratch folders, owners' files."""
    parts = list(home.rglob("*.part"))
    scratch = list((home / "scratch").iterdir()) if (home / "scratch").is_dir() else []
    return sorted(str(path.relative_to(home)) for path in [*parts, *scratch, *(home / "owners").iterdir()])


def reserved_micro_usd(home: Path) -> int:
    """Return what plans and purchases of a home still hold back, once for all the budgets each counts under."""
    with open_ledger(home) as ledger:
        return reserved_of(ledger)


def reserved_of(ledger: Ledger) -> int:
    """Return what plans and purchases of an open ledger still hold back."""
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(reservation)).all()
        reserved = connection.execute(sa.select(budget.c.scope, budget.c.reserved_micro_usd)).all()
    of_scope = Counter({scope: 0 for scope, _ in reserved})
    for row in rows:
        of_scope[row.scope] += row.amount_micro_usd
    assert dict(of_scope) == dict(map(tuple, reserved)), "budget and reservations disagree"
    return sum({(row.plan_id, row.step): int(row.amount_micro_usd) for row in rows}.values())


def make_film(
    home: str,
    prompt: Mapping[str, Any],
    ledger_url: str | None = None,
    max_day_usd: str = "5",
    providers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """In a child: make one prompt's film; ``PRICED`` models can be used, under caps on the day and on providers."""
    settings = CHEAP.model_copy(update={"ledger_url": ledger_url, "max_day_usd": max_day_usd})
    with studio_on(Path(home), settings=settings, models=PRICED) as one:
        of_providers = {name: Decimal(usd) for name, usd in (providers or {}).items()}
        caps = replace(one.reservations.caps, provider_day_usd=of_providers)
        studio = replace(one, reservations=replace(one.reservations, caps=caps))
        film = asyncio.run(studio.attempt(Prompt.model_validate(dict(prompt))))
        return film.as_dict(home=Path(home))
