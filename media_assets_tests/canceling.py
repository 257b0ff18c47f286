"""Cancelling a coroutine at its n-th await: every moment at which a cancellation can reach it, one after the other."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class CanceledAt:
    """A coroutine whose task is cancelled as it, or a task it began, is about to wait for the ``nth`` time, from 1.

    0 only counts. A wait for a thread counts once, where it is waited for.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], nth: int) -> None:
        self._work = work
        self._nth = nth
        self.awaits = 0
        """How often it has waited."""

    def __await__(self) -> Generator[Any, Any, Any]:
        loop, root = asyncio.get_running_loop(), asyncio.current_task()
        assert root is not None

        def begin(loop: asyncio.AbstractEventLoop, work: Any, **how: Any) -> "asyncio.Task[Any]":
            is_thread = getattr(work, "__name__", "") == "to_thread"
            return asyncio.Task(work if is_thread else self._began(work, root), loop=loop, **how)

        loop.set_task_factory(begin)
        try:
            return (yield from self._counted(self._work, root))
        finally:
            loop.set_task_factory(None)

    async def _began(self, work: Coroutine[Any, Any, Any], root: "asyncio.Task[Any]") -> Any:
        return await _Awaited(self._counted(work, root))

    def _counted(self, work: Coroutine[Any, Any, Any], root: "asyncio.Task[Any]") -> Generator[Any, Any, Any]:
        steps = work.__await__()
        try:
            waited = next(steps)
            while True:
                self.awaits += 1
                if self.awaits == self._nth:
                    root.cancel()
                try:
                    given = yield waited
                except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, as await does
                    waited = steps.throw(error)
                else:
                    waited = steps.send(given)
        except StopIteration as end:
            return end.value


class _Awaited:
    """A generator's steps, to be awaited."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps


async def until(moment: Callable[[], bool]) -> None:
    """Wait for what happens in threads and in other programs."""
    async with asyncio.timeout(20):
        while not moment():  # noqa: ASYNC110 - nobody is there to set an event
            await asyncio.sleep(0.002)


async def cancel_after(work: Coroutine[Any, Any, Any], moment: Callable[[], bool]) -> None:
    """Run a coroutine, and cancel it as soon as ``moment`` says so."""
    running = asyncio.ensure_future(work)
    await until(moment)
    assert not running.done()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
