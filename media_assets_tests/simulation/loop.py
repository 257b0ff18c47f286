"""The event loop of one simulated process: it runs one callback when it is told to, at a time that is told to it.

Threads are callbacks too: what the code hands to one waits here for its turn, so that whoever chooses the turns chooses
every interleaving. Tasks and futures are asyncio's own.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any, Protocol


class Killed(BaseException):
    """The process is dead: raised wherever its code would go on."""


class Host(Protocol):
    """Who owns a loop."""

    is_dead: bool

    def now(self) -> float:
        """Return the virtual time, in seconds."""

    def waits(self, seconds: float) -> None:
        """Take note of a wait that is begun."""


class ProcessLoop(asyncio.AbstractEventLoop):
    """Callbacks and timers of one process."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.tasks: list[asyncio.Task[Any]] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    def time(self) -> float:
        return self.host.now()

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Any:
        self.host.waits(delay)
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it where it is: it is passed over when its time comes."""

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **_: Any) -> Any:
        if self.host.is_dead:
            coro.close()
            raise Killed
        task = asyncio.Task(coro, loop=self)
        self.tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Let ``func`` run in its turn, in this very thread."""
        if self.host.is_dead:
            raise Killed
        future = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Killed:
                return
            except BaseException as error:  # noqa: BLE001 - handed on, as an executor does
                self.call_soon(_give_error, future, error)
            else:
                self.call_soon(_give, future, result)

        self._jobs.append(run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing: every task of a simulated process is looked at by the one that began it."""

    def next_timer(self) -> float | None:
        """Return when the next timer is due; None where there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _ring(self) -> None:
        while (due := self.next_timer()) is not None and due <= self.time():
            self._ready.append(heapq.heappop(self._timers)[2])

    def turns(self, *, in_callback: bool) -> int:
        """Return how many things could be run next: each job of a thread, and the first callback.

        Args:
            in_callback: Whether one of this loop's callbacks is at work further up, so that only threads can go on.
        """
        self._ring()
        while self._ready and self._ready[0].cancelled():
            self._ready.popleft()
        return len(self._jobs) + (bool(self._ready) and not in_callback)

    def take(self, number: int) -> tuple[bool, Callable[[], None]]:
        """Return one of the ``turns`` to be run, and whether it is a callback of the loop."""
        if number < len(self._jobs):
            job = self._jobs[number]
            del self._jobs[number]
            return False, job
        return True, self._ready.popleft()._run

    def abandon(self) -> None:
        """Let every task end where it is, as a kill does: nothing is run any more."""
        self._ready.clear()
        self._jobs.clear()
        self._timers.clear()
        with self.running():  # so that whatever they begin on their way out is begun here, where all is dead
            for task in self.tasks:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                if not task.done():
                    _unwind(task.get_coro())
        self.tasks.clear()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Be the loop that asyncio finds, within another one or not."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(outer)


def _unwind(coro: Coroutine[Any, Any, Any] | Any) -> None:
    """Raise ``Killed`` where a coroutine waits, until it has ended; it cannot do anything on its way out."""
    for _ in range(50):
        try:
            coro.throw(Killed())
        except ValueError:  # it is running: it meets its end where it is
            return
        except BaseException:  # noqa: BLE001 - however it ends, it has ended
            return


def _give(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _give_error(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
