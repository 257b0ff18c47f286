"""Money for a chain: reserved before anything is sent; waited for where only what others have reserved is in the way.

Who waits holds no place at work, so that other prompts go on. Nobody waits for what no living process will settle.
"""

import asyncio
import contextlib
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import date

from media_assets.caps import Caps
from media_assets.errors import BudgetExceededError
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap, Need, Shortfall, exceeded
from media_assets.prompt import Prompt, Step
from media_assets.threads import in_thread
from media_assets.turns import Ask, Turns

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0


class Places:
    """How many chains may be at work at once, and the order in which they ask for money."""

    def __init__(self, count: int) -> None:
        self.turns = Turns()
        self._semaphore = asyncio.Semaphore(count)
        self._freed = asyncio.Event()

    def are_taken(self) -> bool:
        """Whether whoever comes now would have to wait."""
        return self._semaphore.locked()

    async def freed(self) -> None:
        """Wait until a place has been given back since this was asked last."""
        await self._freed.wait()
        self._freed.clear()

    async def _take(self) -> None:
        await self._semaphore.acquire()

    def _give_back(self) -> None:
        self._semaphore.release()
        self._freed.set()


class Place:
    """One chain's place, while it has one."""

    def __init__(self, places: Places) -> None:
        self.turns = places.turns
        self.number = 0
        """Which of them it was to come; 0 until it has."""
        self._places = places
        self._is_mine = False
        self._taking = asyncio.Lock()

    async def take(self) -> None:
        """Wait for a place, and take it; nothing to do when the chain has one, for another of its steps."""
        self.number = self.number or self.turns.draw()
        async with self._taking:
            if not self._is_mine:
                await self._places._take()  # noqa: SLF001 - the two are one
                self._is_mine = True

    @contextlib.asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Let another chain have the place while this one waits for what takes long."""
        self.leave()
        yield
        await self.take()

    def leave(self) -> None:
        """Let another chain have it; nothing to do when there is none."""
        if self._is_mine:
            self._is_mine = False
            self._places._give_back()  # noqa: SLF001 - as above

    def pass_on(self) -> None:
        """Let those behind it ask for money: this chain needs none, or has asked."""
        self.turns.pass_on(self.number)

    def end(self) -> None:
        """Stand in nobody's way any more."""
        self.pass_on()
        self.leave()


Tell = Callable[[Step, str], None]
"""Called with the step that waits, and why, whenever the reason changes."""


@dataclass(frozen=True, kw_only=True)
class Reservations:
    """Reserves for the chains of one studio."""

    ledger: Ledger
    caps: Caps
    wait_s: float
    """Seconds that a chain waits while nothing is settled; 0: it does not wait."""
    today: Callable[[], date]
    _waiting: set[str] = field(default_factory=set)
    """Plans that wait for more: what they hold is settled by nobody meanwhile."""
    _one_by_one: threading.Lock = field(default_factory=threading.Lock)
    """Of two that wait for each other one steps back, and not both."""

    def caps_of(self, prompt: Prompt, *, run_id: str, providers: Collection[str]) -> list[Cap]:
        """Return the caps that would hold for a reservation made now."""
        return self.caps.of(prompt, run_id=run_id, today=self.today(), providers=providers)

    @contextlib.contextmanager
    def waiting(self, plan_id: str) -> Iterator[None]:
        """Note that a plan waits for more money."""
        self._waiting.add(plan_id)
        try:
            yield
        finally:
            self._waiting.discard(plan_id)

    @contextlib.contextmanager
    def trying(self, plan_id: str) -> Iterator[None]:
        """Count a plan that waits as one that will settle something while it reserves, and after it has.

        The others would lose hope else, in the moment before the plan's chain goes on. Blocking.
        """
        with self._one_by_one:
            was_waiting = plan_id in self._waiting
            self._waiting.discard(plan_id)
            try:
                yield
            except BaseException:
                if was_waiting:
                    self._waiting.add(plan_id)
                raise

    def settling(self, scopes: Collection[str], plan_id: str) -> set[str]:
        """Return those of the scopes under which something will be settled that a plan can wait for; blocking.

        Where that is not so, what dead processes hold is given back.
        """
        found = self.ledger.spending.settling(scopes, besides={*self._waiting, plan_id})
        if not found.issuperset(scopes):
            self.ledger.release_dead()
        return found

    def steps_back(self, plan_id: str, scopes: Collection[str]) -> bool:
        """Whether a plan gives up what it holds because all wait for each other: one of them does; blocking.

        It counts as waiting no more, so the others see that something will be given back.
        """
        with self._one_by_one:
            gives_up = not self.settling(scopes, plan_id).issuperset(scopes)
            if gives_up:
                self._waiting.discard(plan_id)
            return gives_up

    def shortfalls(self, prompt: Prompt, need: Need) -> list[Shortfall]:
        """Return which caps a plan in a run of its own would pass now; blocking, and writes nothing."""
        caps = self.caps_of(prompt, run_id="planned", providers=need.billed_by())
        return self.ledger.spending.shortfalls(need, caps)


class Reserving:
    """The reservations of one chain's plan."""

    def __init__(self, all_: Reservations, prompt: Prompt, *, run_id: str, place: Place, tell: Tell) -> None:
        self.plan_id = secrets.token_hex(8)
        self._all = all_
        self._prompt = prompt
        self._run_id = run_id
        self._place = place
        self.aside = place.aside
        self._tell = tell
        self._is_open = False

    async def open(self, need: Need, *, while_pinned: str = "") -> None:
        """Open the plan with the worst case of every step reserved, or with nothing. Waits where waiting helps.

        Args:
            need: What for.
            while_pinned: Digest of the prompt that has to be pinned in that moment; empty: whatever is.

        Raises:
            BudgetExceededError: Caps would be passed; nothing is opened.
            SupersededError: Another prompt is pinned; nothing is opened.
        """

        def write(caps: list[Cap]) -> None:
            prompt, prompts = self._prompt, self._all.ledger.prompts
            prompts.open_plan(
                self.plan_id,
                prompt.key,
                amounts=need.amounts,
                caps=caps,
                providers=need.providers,
                digest=prompt.digest,
                while_pinned=while_pinned,
            )
            self._is_open = True

        try:
            await self._reserve(need, write, number=self._place.number)
        except BudgetExceededError:
            if while_pinned:
                # Nobody wants the money for it any more.
                await in_thread(self._all.ledger.prompts.require_pinned, self._prompt.key, while_pinned)
            raise

    async def swap(self, step: Step, provider: str, micro_usd: int) -> None:
        """Reserve for another model of a step, in place of what no purchase took over. Waits where waiting helps.

        Raises:
            BudgetExceededError: Caps would be passed; the reservation stays as it was.
        """
        need = Need({step: micro_usd}, {step: provider})
        prompts = self._all.ledger.prompts
        # Before films that are not begun: this one is paid for in part.
        await self._reserve(need, lambda caps: prompts.reserve_again(self.plan_id, need, caps), number=0)

    async def close(self) -> None:
        """Give back what no purchase took over."""
        if self._is_open:
            await in_thread(self._all.ledger.prompts.close_plan, self.plan_id)

    def _caps(self, need: Need) -> list[Cap]:
        # Asked anew each time: the window is that of the reservation, and a wait may go past midnight.
        return self._all.caps_of(self._prompt, run_id=self._run_id, providers=need.billed_by())

    async def _reserve(self, need: Need, write: Callable[[list[Cap]], None], *, number: int) -> None:
        def refusal() -> BudgetExceededError | None:
            short = self._all.ledger.spending.shortfalls(need, self._caps(need))
            return exceeded(short) if short else None

        def reserve() -> None:
            with self._all.trying(self.plan_id):
                write(self._caps(need))

        ask = Ask(number, refusal=refusal, reserve=reserve)
        async with self._place.turns.asking(ask):
            error = await self._place.turns.ask(ask)
            if error is None:
                return
            if not error.may_pass or self._all.wait_s <= 0:
                raise error
            async with self.aside():
                with self._all.waiting(self.plan_id):
                    await self._wait_or_give_up(ask, need, error.scopes)

    async def _wait_or_give_up(self, ask: Ask, need: Need, scopes: Collection[str]) -> None:
        try:
            await self._wait(ask, need, scopes)
        except BudgetExceededError as error:
            await self._place.turns.give_up(ask, error)

    async def _wait(self, ask: Ask, need: Need, scopes: Collection[str]) -> None:
        """Wait until the money is there, or it is certain that it will not be.

        Raises:
            BudgetExceededError: No living process will settle what is in the way, or none has for too long.
        """
        step = next(step for step, amount in need.amounts.items() if amount)
        told, since, pause_s = "", time.monotonic(), _FIRST_PAUSE_S
        while True:
            # Asked before the amounts are, so that what is settled in between is seen in them.
            hopeful = await in_thread(self._all.settling, scopes, self.plan_id)
            error = await in_thread(ask.refusal) or await self._place.turns.ask(ask)
            if error is None:
                return
            hopeless, scopes = set(scopes) - hopeful, error.scopes
            if not error.may_pass:
                raise error
            is_new = error.message != told
            since = time.monotonic() if is_new else since
            if blocking := hopeless & set(scopes):
                gives_up = await in_thread(self._all.steps_back, self.plan_id, blocking)
                if gives_up:
                    raise error
            if time.monotonic() - since > self._all.wait_s:
                raise error
            if is_new:
                told = error.message
                self._tell(step, told)
            if await ask.answer(pause_s):
                return
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
