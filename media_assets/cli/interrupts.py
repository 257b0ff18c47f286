"""Ctrl-C and SIGTERM: the first one cancels the work, which cleans up; another one never cuts that short."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_POLL_S = 0.5
"""Python runs a signal's handler when its main thread wakes; a signal may reach another thread first."""


class Interrupted(BaseException):
    """The command was told to stop. Not an Exception, so that no handler of errors takes it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as a shell reports them."""
        return 128 + self.number


class Interrupts:
    """What this process was told, and the work to cancel because of it."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._tell: Callable[[bool], object] | None = None

    def install(self) -> None:
        """Listen from now on; a signal the starter chose to ignore (``nohup``, ``&``) stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    @property
    def told(self) -> Interrupted | None:
        """What ends this process, if a signal has come: of what it raised, libraries make errors of their own."""
        return None if self._number is None else Interrupted(self._number)

    def finish(self) -> None:
        """Let the process exit with its code after an interrupt: Python gives up its handlers before it is gone."""
        if self._number is not None:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        again = self._number is not None
        if not again:
            self._number = number
        if self._tell is not None:
            self._tell(again)
        elif not again:
            raise Interrupted(number)

    def run(self, work: Coroutine[Any, Any, T], *, on_stop: Callable[[bool], None]) -> T:
        """Run a coroutine to its end, its clean-up included, however often a signal comes.

        Args:
            work: Canceled by the first signal.
            on_stop: Called at every signal, with whether it was not the first.

        Raises:
            Interrupted: A signal ended it, or came before it began, and something swallowed what that raised.
        """
        if self.told is not None:
            work.close()
            raise self.told
        with asyncio.Runner() as runner:
            return runner.run(self._watch(work, on_stop))

    async def _watch(self, work: Coroutine[Any, Any, T], on_stop: Callable[[bool], None]) -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)

        def stop(again: bool) -> None:  # noqa: FBT001 - called by the loop, by position
            on_stop(again)
            if not again:
                task.cancel()

        self._tell = lambda again: loop.call_soon_threadsafe(stop, again)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_POLL_S)
        finally:
            self._tell = None
        if task.cancelled() and self.told is not None:
            raise self.told
        return task.result()


INTERRUPTS = Interrupts()
"""Of this process: signals belong to a process as a whole."""
