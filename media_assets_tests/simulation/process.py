"""One simulated process: it opens the ledger, cleans up, and buys, as a run of the program does."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from media_assets.artifact import ArtifactStore
from media_assets.caps import Caps
from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger, clock, open_ledger
from media_assets.ledger.admission import Limits
from media_assets.ledger.budgets import Cap, Need
from media_assets.ledger.ownership import Owner
from media_assets.media.questions import AskImage
from media_assets.orders import Order, Purchased
from media_assets.plan import _HOLDS_ITS_MONEY
from media_assets.prompt import Prompt, Step
from media_assets.providers.transport import Transport, TransportOptions
from media_assets.providers.transport.spool import Spool
from media_assets.purchase import Purchasing
from media_assets.recall import OnCancel
from media_assets.recovery.garbage import Garbage, Rules
from media_assets.request import GenerationRequest
from media_assets.reserving import Place, Places, Reservations, Reserving
from media_assets.studio import _sweep_replies
from media_assets.threads import in_thread
from media_assets_tests.making import cheap_prompt
from media_assets_tests.simulation.adapters import ADAPTERS, PRICE_MICRO_USD, PRICE_USD, QUEUE_S, RUN_S, SPECS
from media_assets_tests.simulation.loop import ProcessLoop

if TYPE_CHECKING:
    from media_assets_tests.simulation.world import World

TODAY = date(2026, 11, 23)

OPTIONS = TransportOptions(
    keys=dict.fromkeys(SPECS, "key"),
    limits=dict.fromkeys(SPECS, Limits()),
    poll_first_s=5.0,
    poll_longest_s=60.0,
    refusals_deadline_s=120.0,
)

LONGEST_WAIT_S = 1.1 * (QUEUE_S + RUN_S + OPTIONS.settle_lag_s + OPTIONS.post_deadline_s)
"""No single wait is longer: I8."""
LONGEST_HOLD_S = 1.1 * (
    3 * (OPTIONS.refusals_deadline_s + OPTIONS.post_deadline_s + OPTIONS.settle_lag_s + OPTIONS.list_budget_s)
    + 4 * (QUEUE_S + RUN_S)
    + 2 * (SPECS["shows"].poll_error_budget_s + SPECS["shows"].download_deadline_s)
)
"""Nobody works on one purchase for longer, whatever its provider does: I8."""


@dataclass(frozen=True, kw_only=True)
class DayCaps(Caps):
    """Caps of which few are in force: each costs statements in every plan, and they are alike."""

    by_provider: bool = False

    def of(self, prompt: Prompt, *, run_id: str, today: date, providers: Collection[str]) -> list[Cap]:
        more = [self.of_provider(provider, today) for provider in sorted(set(providers))] if self.by_provider else []
        return [self.of_day(today), *more]


_PROMPTS: dict[int, Prompt] = {}


@dataclass(frozen=True)
class Item:
    """Something that can be bought."""

    provider: str
    number: int
    take: int

    @cached_property
    def request(self) -> GenerationRequest:
        """What is asked for; nothing of the run is in it."""
        spec = SPECS[self.provider]
        return GenerationRequest(
            step=Step.IMAGE,
            provider=self.provider,
            model=spec.id,
            endpoint=spec.endpoint,
            version=spec.version,
            params={"number": self.number},
            take=self.take,
        )

    @property
    def prompt(self) -> Prompt:
        """Who asks for it."""
        if self.number not in _PROMPTS:
            _PROMPTS[self.number] = cheap_prompt(key=f"p{self.number}")
        return _PROMPTS[self.number]

    def __str__(self) -> str:
        return f"{self.provider}/{self.number}/{self.take}"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One item that a process is to buy, and on what terms."""

    item: Item
    retry_failed: bool = False
    waits: bool = True
    resubmit_max_usd: Decimal = Decimal(0)


class Process:
    """One process on one seat, from its start to its end."""

    def __init__(self, world: "World", seat: str, name: str) -> None:
        self.world = world
        self.seat = seat
        self.name = name
        self.loop = ProcessLoop(self)  # type: ignore[abstract]
        self.owner: Owner | None = None
        self.is_dead = False
        self.has_ended = False
        self.paused_at: float | None = None
        self.frozen_s = 0.0
        """How long it was paused, and the machine asleep, in its life."""
        self.callbacks = 0
        """How many of its callbacks are at work, one within the other."""
        self.may_retry: set[str] = set()
        """What it was told to try again, by request key, if that has failed."""
        self.runs: list[asyncio.Task[Any]] = []
        self._took: dict[str, float] = {}

    def __str__(self) -> str:
        return self.name

    def now(self) -> float:
        """Return the virtual time."""
        return self.world.now

    def _awake_s(self) -> float:
        paused_s = 0.0 if self.paused_at is None else self.world.now - self.paused_at
        return self.world.now - self.frozen_s - paused_s

    def waits(self, seconds: float) -> None:
        """Hold that no wait is longer than any deadline."""
        if seconds > LONGEST_WAIT_S:
            self.world.violates("I8", f"{self} waits {seconds:.0f} s at once")

    def took(self, request_key: str) -> None:
        """Take note that it begins to work on a purchase."""
        self._took[request_key] = self._awake_s()

    def left(self, request_key: str) -> None:
        """Hold that it did not work on it for too long."""
        held_s = self._awake_s() - self._took.pop(request_key, self._awake_s())
        if held_s > LONGEST_HOLD_S:
            self.world.violates("I8", f"{self} worked on {self.world.name_of(request_key)} for {held_s:.0f} s")

    def start(self, wishes: list[Wish], *, on_cancel: OnCancel = OnCancel.CANCEL_IF_QUEUED) -> None:
        """Begin; nothing is run yet."""
        with self.loop.running():
            self.loop.create_task(self._honest(partial(self._live, wishes, replace(OPTIONS, on_cancel=on_cancel))))

    def start_collecting(self) -> None:
        """Begin to collect garbage, and nothing else."""
        with self.loop.running():
            self.loop.create_task(self._honest(self._collect))

    def interrupt(self) -> None:
        """Ask all of its runs to stop, as Ctrl-C does."""
        with self.loop.running():
            for run in self.runs:
                run.cancel()

    async def _honest(self, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Live to the end; nothing that ends it before goes unnoticed."""
        try:
            await life()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect
            self.world.violates("defect", f"{self}: {type(error).__name__}: {error}")
        self.has_ended = True

    async def _collect(self) -> None:
        home = self.world.desk.home
        ledger = await in_thread(open_ledger, home)
        store, spool = ArtifactStore(home / "artifacts"), Spool(ledger.spool_root)
        moment = datetime.fromisoformat(clock.utc_now())
        rules = Rules(unused_days=0.0)
        garbage = Garbage(ledger=ledger, store=store, spool=spool, folders=(), rules=rules, now=moment)
        done = await in_thread(garbage.collect)
        self.world.note(f"{self} collected {len(done.removed)} files and {done.replies} replies")
        self.world.counts.collected += len(done.removed) + done.replies
        await in_thread(ledger.close)

    async def _live(self, wishes: list[Wish], options: TransportOptions) -> None:
        home = self.world.desk.home
        ledger = await in_thread(open_ledger, home)
        store, spool = ArtifactStore(home / "artifacts"), Spool(ledger.spool_root)
        await in_thread(ledger.sweep, store.root)
        await in_thread(_sweep_replies, spool, ledger)
        transport = Transport(ADAPTERS, options, spool)
        self.runs = [asyncio.ensure_future(self._run(wish, ledger, store, transport)) for wish in wishes]
        await asyncio.gather(*self.runs, return_exceptions=True)
        transport.close()
        await in_thread(ledger.close)

    async def _run(self, wish: Wish, ledger: Ledger, store: ArtifactStore, transport: Transport) -> None:
        try:
            bought = await self._bought(wish, ledger, store, transport)
        except asyncio.CancelledError:
            self.world.note(f"{self} {wish.item}: interrupted")
            raise
        except MediaAssetsError as error:
            self.world.note(f"{self} {wish.item}: {type(error).__name__}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect
            self.world.violates("defect", f"{self} {wish.item}: {type(error).__name__}: {error}")
        else:
            self.world.note(f"{self} {wish.item}: bought for {bought.spent_usd}")

    async def _bought(self, wish: Wish, ledger: Ledger, store: ArtifactStore, transport: Transport) -> Purchased:
        """Do as a chain does for one step."""
        item = wish.item
        place = Place(Places(1))
        await place.take()
        world = self.world
        reservations = Reservations(ledger=ledger, caps=world.caps, wait_s=0.0, today=lambda: TODAY)
        reserving = Reserving(reservations, item.prompt, run_id=self.name, place=place, tell=lambda *_: None)
        order = Order(
            request=item.request,
            spec=SPECS[item.provider],
            prompt_key=item.prompt.key,
            plan_id=reserving.plan_id,
            estimate_usd=PRICE_USD,
            today=TODAY,
            inputs={},
            question=AskImage(requested_size_px=None),
            reserve=lambda: reserving.swap(Step.IMAGE, item.provider, PRICE_MICRO_USD),
            retry_failed=wish.retry_failed,
            waits=wish.waits,
            resubmit_max_usd=wish.resubmit_max_usd,
            aside=reserving.aside,
        )
        try:
            row = await in_thread(ledger.purchases.get, item.request.key)
            # As a plan does: what is at work holds its own money.
            amounts = {} if row is not None and row.state in _HOLDS_ITS_MONEY else {Step.IMAGE: PRICE_MICRO_USD}
            await reserving.open(Need(amounts, {Step.IMAGE: item.provider}))
            return await Purchasing(ledger, store, transport).buy(order)
        finally:
            await reserving.close()
