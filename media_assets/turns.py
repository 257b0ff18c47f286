"""Whose turn it is to ask for money among the chains of one stream: they are asked in its order, each time anew."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence

from media_assets.errors import BudgetExceededError
from media_assets.threads import in_thread


class Ask:
    """What one chain asks for, until it has it or gives up. Those behind it ask on its behalf before they ask."""

    def __init__(
        self, number: int, *, refusal: Callable[[], BudgetExceededError | None], reserve: Callable[[], None]
    ) -> None:
        self.number = number
        """The chain's place in its stream's order; 0: it is at work already, and goes before those that are not."""
        self.refusal = refusal
        """Tells why it would be refused just now, or None; blocking."""
        self.granted = False
        self._reserve = reserve
        self._error: Exception | None = None
        self._answered = asyncio.Event()
        self._guard = threading.Lock()
        self._has_left = False

    def try_now(self) -> None:
        """Reserve; blocking.

        Raises:
            BudgetExceededError: It does not fit just now.
        """
        self._reserve()
        self.granted = True

    def try_for_it(self) -> None:
        """Do so on behalf of a chain that waits; what comes of it is the chain's alone; blocking."""
        with self._guard:
            if self._has_left or self._is_answered():
                return
            try:
                if self.refusal() is None:
                    self.try_now()
            except BudgetExceededError:
                return  # somebody else was quicker
            except Exception as error:  # noqa: BLE001 - it is raised where the chain waits
                self._error = error

    def _is_answered(self) -> bool:
        return self.granted or self._error is not None

    def has_it(self) -> bool:
        """Whether it was granted, whoever asked.

        Raises:
            Exception: What was raised when others asked.
        """
        if self._error is not None:
            raise self._error
        return self.granted

    def tell(self) -> None:
        """Wake the chain, if there is an answer for it."""
        if self._is_answered():
            self._answered.set()

    async def answer(self, timeout_s: float) -> bool:
        """Wait so long for others to get it; whether they have.

        Raises:
            Exception: What was raised when they asked.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), timeout_s)
        return self.has_it()

    def leave(self) -> None:
        """See to it that nobody asks for it any more; blocking while somebody just does."""
        with self._guard:
            self._has_left = True


class Turns:
    """The order in which the chains of one stream ask.

    Each asks for the first time when all before it have done so, or have said that they need nothing. Who might be
    given something has those before it that wait asked first: nobody is passed but by what is not enough for it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._ahead: dict[int, asyncio.Event] = {}
        """Those that have not asked yet, in order; the first one's event is set."""
        self._waiting: list[Ask] = []
        self._one_by_one = asyncio.Lock()

    def draw(self) -> int:
        """Return the next number. Its holder has to ask or to pass, lest those behind it wait for ever."""
        self._count += 1
        self._ahead[self._count] = asyncio.Event()
        self._call()
        return self._count

    def pass_on(self, number: int) -> None:
        """Let the next one ask."""
        self._ahead.pop(number, None)
        self._call()

    def _call(self) -> None:
        for first in self._ahead.values():
            first.set()
            return

    @contextlib.asynccontextmanager
    async def asking(self, ask: Ask) -> AsyncIterator[None]:
        """Have a chain ask, and be asked for, until the end of the block."""
        try:
            yield
        finally:
            await self.leave(ask)

    async def leave(self, ask: Ask) -> None:
        """Ask no more; what it was granted by then it has."""
        if ask in self._waiting:
            self._waiting.remove(ask)
            await in_thread(ask.leave)

    async def give_up(self, ask: Ask, error: BudgetExceededError) -> None:
        """Leave with an error, unless somebody got it in that very moment.

        Raises:
            BudgetExceededError: The one that is given.
        """
        await self.leave(ask)
        if not ask.granted:
            raise error

    async def ask(self, ask: Ask) -> BudgetExceededError | None:
        """Ask in turn; return why it was refused, or None. A refused one is asked for until it leaves."""
        try:
            if ask.number in self._ahead:
                await self._ahead[ask.number].wait()
            async with self._one_by_one:
                return await self._ask(ask)
        finally:
            self.pass_on(ask.number)

    async def _ask(self, ask: Ask) -> BudgetExceededError | None:
        if ask.has_it():
            return None
        before = sorted((one for one in self._waiting if one.number < ask.number), key=lambda one: one.number)
        try:
            await in_thread(_try_in_order, before, ask)
        except BudgetExceededError as error:
            if ask not in self._waiting:
                self._waiting.append(ask)
            return error
        finally:
            for one in before:
                one.tell()
        return None


def _try_in_order(before: Sequence[Ask], ask: Ask) -> None:
    # Looked at before the others are: what is settled after they were asked is not for one that is behind them.
    if before and (refusal := ask.refusal()) is not None:
        raise refusal
    for one in before:
        one.try_for_it()
    ask.try_now()
