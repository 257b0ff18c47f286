"""Cancelling a coroutine at its n-th await: every moment at which a cancellation can reach it, one after the other."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class CanceledAt:
    """A coroutine whose task is cancelled as it is about to wait for the ``nth`` time, from 1; 0 only counts."""

    def __init__(self, work: Coroutine[Any, Any, Any], nth: int) -> None:
        self._work = work
        self._nth = nth
        self.awaits = 0
        """How often it has waited."""

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        try:
            waited = next(steps)
            while True:
                self.awaits += 1
                task = asyncio.current_task()
                if self.awaits == self._nth and task is not None:
                    task.cancel()
                try:
                    given = yield waited
                except BaseException as error:  # noqa: BLE001 - handed on to the coroutine, as await does
                    waited = steps.throw(error)
                else:
                    waited = steps.send(given)
        except StopIteration as end:
            return end.value


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
