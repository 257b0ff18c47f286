"""How a synchronous Dagster step runs the async core and can still be terminated.

The event loop runs in a thread of its own while the calling thread waits, and a signal never raises where it lands:
it cancels the coroutines at once, and the exception it stands for (Dagster's, Ctrl-C's) leaves the wait once they have
cleaned up. So no coroutine is torn, and no event that Dagster is storing either.

A step must not yield while its coroutines run: a signal that Dagster receives between two yields is raised outside the
step, and nothing would be cancelled. Report from ``tick`` meanwhile, and yield after the wait.

Does not belong here: what is run and what is reported. This module knows neither the core nor Dagster.
"""

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import FrameType, TracebackType
from typing import Any, Generic, Self, TypeVar

_T = TypeVar("_T")

_HANDLED = (signal.SIGINT, signal.SIGTERM)
_SLICE_S = 0.1
"""The longest wait in one piece. A signal that lands just before a wait blocks is seen only when it ends: of 80
interrupts of a busy loop one waited for all of a 5 s wait (measured 2026-11-22, Python 3.11)."""

_HALT_S = 1.0
_left_behind: list[object] = []
"""Halted loops and their tasks: collecting them would run their clean-up code without a loop."""

_log = logging.getLogger(__name__)


def _nothing() -> None:
    pass


class ParentGoneError(BaseException):
    """The process that started this one is gone."""


def parent_watch() -> Callable[[], None]:
    """Return a check to call from ``tick`` that notices when this process has lost its parent.

    Killing a code server leaves its runs alive (measured with Dagster 1.13.27), with nobody to terminate them.

    Raises:
        ParentGoneError: From the check, when the parent at the time of this call is gone. Nobody has asked for the
            work to stop, so it is not to be taken for an interrupt.
    """
    parent_id = os.getppid()

    def check() -> None:
        if os.getppid() != parent_id:
            message = "the process that started this one is gone"
            raise ParentGoneError(message)

    return check


def run_blocking(
    main: Callable[[], Coroutine[Any, Any, _T]],
    *,
    tick: Callable[[], None] = _nothing,
    on_interrupt: Callable[[], None] = _nothing,
    grace_s: float,
    poll_s: float,
) -> _T:
    """Run ``main`` to its end in a background event loop, and stop it when this thread is interrupted.

    Off the main thread there are no signals to handle, and only ``tick`` can interrupt.

    Args:
        main: Makes the root coroutine, which sees the caller's context variables. It holds its children in a
            task group, or they outlive its cancellation.
        tick: Called from this thread between polls, never during clean-up; whatever it raises interrupts. A signal
            does not break it off, so it should return soon. It is not called once more at the end.
        on_interrupt: Called from this thread after the clean-up, to report what had finished.
        grace_s: Seconds the coroutines have for their clean-up. Then they stand still for good: a step that is
            reported as over sends nothing more. Also the seconds for which a result waits for worker threads.
        poll_s: Seconds between ticks; neither the result nor a signal waits for the next.

    Returns:
        What ``main`` returned, as soon as the loop is closed.

    Raises:
        BaseException: What ``main`` raised, with its traceback; or what interrupted, whatever ``main`` made of it.
            A signal's is what the handler found in place raises (``SystemExit`` where that is the system's
            default); a handler that does not raise is heard and the work goes on.
        RuntimeError: ``main`` was cancelled from inside.
    """
    background = _Background(main)
    with _Signals(background.cancel) as signals:
        try:
            background.start()
            tick_at_s = time.monotonic() + poll_s
            while not background.closed.wait(min(poll_s, _SLICE_S)):
                signals.raise_noted()
                if time.monotonic() >= tick_at_s:
                    tick()
                    tick_at_s = time.monotonic() + poll_s
                if background.answered_for_s() > grace_s:
                    _log.warning("the work is done but its worker threads are not; leaving them")
                    break
            signals.raise_noted()
        except BaseException:
            background.cancel()
            if not background.closed.wait(grace_s):
                background.halt()
            background.log_error()
            _report(on_interrupt)
            # A signal during the clean-up after an ordinary error says more than the error does.
            signals.raise_noted()
            raise
    # For a signal that came after the last look and before the handlers were put back.
    signals.raise_noted()
    return background.result()


def _report(on_interrupt: Callable[[], None]) -> None:
    try:
        on_interrupt()
    except Exception:  # noqa: BLE001 - a failed report must not hide the interrupt
        _log.exception("what had finished before the interrupt could not be reported")


class _Background(Generic[_T]):
    """One root coroutine in an event loop in a thread."""

    def __init__(self, main: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        self.closed = threading.Event()
        """Set when the coroutines, their generators and their worker threads have ended."""
        self._main = main
        self._outcome: Future[_T] = Future()
        self._answered_at_s: float | None = None
        self._root: asyncio.Task[_T] | None = None
        self._cancelled = False
        self._halted = False
        # The factory keeps the runner from making this loop the calling thread's own. Asking for the loop here
        # rather than in the thread makes the runner copy the caller's context variables.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()

    def start(self) -> None:
        # A daemon: coroutines that ignore their cancellation must not keep the process alive.
        threading.Thread(target=self._run, name="run_blocking", daemon=True).start()

    def answered_for_s(self) -> float:
        """Return the seconds since the root coroutine ended; 0 while it runs."""
        return 0.0 if self._answered_at_s is None else time.monotonic() - self._answered_at_s

    def cancel(self) -> None:
        """Cancel the root coroutine, once, from any thread or signal handler."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing left to cancel
            self._loop.call_soon_threadsafe(self._cancel_root)

    def halt(self) -> None:
        """Give up on coroutines that are still running: not one more line of them is run.

        One that blocks the loop cannot be reached, only left.
        """
        if self._answered_at_s is None:
            _log.error("the work did not end within its grace after it was cancelled; it is halted")
            self._halted = True
            with contextlib.suppress(RuntimeError):  # it has ended after all
                self._loop.call_soon_threadsafe(self._loop.stop)
            self.closed.wait(_HALT_S)
        else:
            _log.warning("the work was cancelled but its worker threads are not done; leaving them")

    def result(self) -> _T:
        try:
            return self._outcome.result()
        except asyncio.CancelledError as error:
            # Not an Exception, so it would pass by everything that expects one.
            message = "the work was cancelled from inside; nobody had asked for that"
            raise RuntimeError(message) from error

    def log_error(self) -> None:
        """Log what the work made of its cancellation, if that was an error: it is not raised."""
        error = self._outcome.exception() if self._outcome.done() else None
        if error is not None and not self._halted and not isinstance(error, asyncio.CancelledError):
            _log.warning("the work ended with an error while it was being stopped", exc_info=error)

    def _cancel_root(self) -> None:
        # In the loop's thread, so that two callers cannot both pass: a second cancel would break off the clean-up.
        if not self._cancelled:
            self._cancelled = True
            if self._root is not None:
                self._root.cancel()

    async def _guarded(self) -> _T:
        self._root = asyncio.current_task()
        if self._cancelled:
            raise asyncio.CancelledError
        return await self._main()

    def _run(self) -> None:
        try:
            try:
                self._outcome.set_result(self._runner.run(self._guarded()))
            except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
                self._outcome.set_exception(error)
            if self._halted:
                _left_behind.append((self, asyncio.all_tasks(self._loop)))
            else:
                self._answered_at_s = time.monotonic()
                self._runner.close()
        finally:
            self.closed.set()


class _Signals:
    """Notes SIGINT and SIGTERM instead of letting them raise in the main thread.

    A handler runs between any two byte codes. If it raised there, the exception could be lost in a ``__del__``, or
    break off the storing of an event.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._previous: dict[int, Any] = {}
        self._noted: BaseException | None = None
        self._over = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            try:
                for number in _HANDLED:
                    previous = signal.getsignal(number)
                    # An ignored signal stays ignored; None is a handler that Python could not put back.
                    if callable(previous) or previous is signal.SIG_DFL:
                        self._previous[number] = previous
                        signal.signal(number, self._note)
            except BaseException:  # a signal whose handler was not yet replaced
                self._restore()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def raise_noted(self) -> None:
        """Raise what the first signal stands for, if there was one."""
        if self._noted is not None:
            raise self._noted

    def _restore(self) -> None:
        # From here on `_note` hands a signal on: the first handler put back may raise before the second is.
        self._over = True
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            self._deliver(number, frame)
        elif self._noted is None:
            try:
                self._deliver(number, frame)
            except BaseException as interrupt:  # noqa: BLE001 - raised again by `raise_noted`
                self._noted = interrupt.with_traceback(None)
                self._on_first()

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[number]
        if not callable(previous):
            raise SystemExit(128 + number)
        previous(number, frame)
