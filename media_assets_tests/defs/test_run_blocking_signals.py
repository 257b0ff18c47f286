"""What signals do to a wait in ``run_blocking``: they are real ones, sent to the test's own process."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import pytest

from media_assets.defs.run_blocking import run_blocking
from media_assets_tests.defs.interruptions import (
    Busy,
    Interrupted,
    installed_handlers,
    send_signal,
)


@pytest.fixture
def host_handlers() -> Iterator[None]:
    """Do as Dagster does around a step: both signals raise in the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_twenty_busy_tasks(number: int, host_handlers: None) -> None:
    """With the loop on the main thread the interrupt was swallowed by the task it hit, and the batch went on."""
    busy = Busy(20)
    send_signal(number, after=busy.started)
    began_s = time.monotonic()

    with pytest.raises(Interrupted, match=signal.Signals(number).name):
        run_blocking(busy.main, grace_s=10, poll_s=5)

    assert sorted(busy.cleaned) == list(range(20))
    assert time.monotonic() - began_s < 3, "the interrupt waited for a tick"


def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    """Outside Dagster nobody replaces Python's own handler, and its meaning stays."""
    busy = Busy(2)
    send_signal(signal.SIGINT, after=busy.started)

    with pytest.raises(KeyboardInterrupt):
        run_blocking(busy.main, grace_s=10, poll_s=5)

    assert len(busy.cleaned) == 2


def test_sigterm_without_a_handler_still_cleans_up() -> None:
    """The system's default would kill the process with its predictions still open."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    busy = Busy(2)
    send_signal(signal.SIGTERM, after=busy.started)

    with pytest.raises(SystemExit) as caught:
        run_blocking(busy.main, grace_s=10, poll_s=5)

    assert caught.value.code == 143
    assert len(busy.cleaned) == 2


def test_handler_that_does_not_raise_leaves_the_work_alone() -> None:
    """A host that only takes note of a signal has not asked for an interrupt."""
    noted: list[int] = []
    started = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    async def main() -> str:
        started.set()
        await asyncio.sleep(0.3)
        return "done"

    before = signal.signal(signal.SIGTERM, note)
    try:
        send_signal(signal.SIGTERM, after=started)
        assert run_blocking(main, grace_s=5, poll_s=5) == "done"
    finally:
        signal.signal(signal.SIGTERM, before)

    assert noted == [signal.SIGTERM]


def test_further_signals_during_the_clean_up_are_only_noted(host_handlers: None) -> None:
    """An impatient second Ctrl-C left predictions running that the clean-up was about to cancel."""
    busy = Busy(20, clean_s=0.5)
    reports: list[int] = []
    send_signal(signal.SIGINT, after=busy.started)
    send_signal(signal.SIGTERM, after=busy.cleaning, times=3)

    with pytest.raises(Interrupted, match="SIGINT"):
        run_blocking(busy.main, on_interrupt=lambda: reports.append(len(busy.cleaned)), grace_s=10, poll_s=0.02)

    assert reports == [20]


def test_clean_up_is_not_cancelled_in_its_turn(host_handlers: None) -> None:
    """The handler and the wait both cancel; a second cancel would hit the call that cancels a prediction."""
    started = threading.Event()
    cleaned: list[int] = []

    async def main() -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.3)
            cleaned.append(1)

    send_signal(signal.SIGINT, after=started)

    with pytest.raises(Interrupted):
        run_blocking(main, grace_s=10, poll_s=0.02)

    assert cleaned == [1]


def test_signal_during_a_tick_cancels_at_once_and_lets_the_tick_finish(host_handlers: None) -> None:
    """An event that is being stored is stored whole, and the coroutines do not wait for the database."""
    busy = Busy(3)
    ticking = threading.Event()
    ticks: list[int] = []

    def tick() -> None:
        if not busy.started.is_set():
            return
        ticking.set()
        assert busy.cleaning.wait(10), "the coroutines waited for the tick"
        ticks.append(1)

    send_signal(signal.SIGINT, after=ticking)

    with pytest.raises(Interrupted):
        run_blocking(busy.main, tick=tick, grace_s=10, poll_s=0.02)

    assert ticks == [1]
    assert len(busy.cleaned) == 3


def test_signal_during_the_clean_up_after_an_error_wins(host_handlers: None) -> None:
    """A run that was told to terminate ends as canceled, whatever else went wrong."""
    busy = Busy(2, clean_s=0.3)
    send_signal(signal.SIGTERM, after=busy.cleaning)

    def tick() -> None:
        if busy.started.is_set():
            message = "disk full"
            raise OSError(message)

    with pytest.raises(Interrupted) as caught:
        run_blocking(busy.main, tick=tick, grace_s=10, poll_s=0.02)

    assert isinstance(caught.value.__context__, OSError)
    assert len(busy.cleaned) == 2


def test_failed_report_does_not_hide_the_interrupt(host_handlers: None, caplog: pytest.LogCaptureFixture) -> None:
    """With the report's error in its place, Dagster would call the run failed and perhaps retry it."""
    busy = Busy(1)
    send_signal(signal.SIGINT, after=busy.started)

    def report() -> None:
        message = "database is locked"
        raise OSError(message)

    with pytest.raises(Interrupted):
        run_blocking(busy.main, on_interrupt=report, grace_s=10, poll_s=5)

    assert "could not be reported" in caplog.text


def test_failed_clean_up_is_logged(host_handlers: None, caplog: pytest.LogCaptureFixture) -> None:
    """A prediction that could not be cancelled goes on billing; the interrupt alone would not say so."""
    started = threading.Event()

    async def main() -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            message = "the provider refused to cancel"
            raise OSError(message)

    send_signal(signal.SIGINT, after=started)

    with pytest.raises(Interrupted):
        run_blocking(main, grace_s=10, poll_s=5)

    assert "the provider refused to cancel" in caplog.text


def test_work_that_ignores_its_cancellation_is_halted_after_the_grace(
    host_handlers: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A step that has been reported as canceled must not send anything more."""
    started = threading.Event()
    sent: list[int] = []

    async def main() -> None:
        while True:
            started.set()
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
            sent.append(1)

    send_signal(signal.SIGINT, after=started)
    began_s = time.monotonic()

    with pytest.raises(Interrupted):
        run_blocking(main, grace_s=0.3, poll_s=5)

    assert time.monotonic() - began_s < 3
    assert "halted" in caplog.text
    count = len(sent)
    time.sleep(0.2)
    assert len(sent) == count


async def _succeed() -> None:
    pass


async def _fail() -> None:
    raise ValueError


def _interrupt() -> None:
    raise Interrupted


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda: run_blocking(_succeed, grace_s=5, poll_s=5), None),
        (lambda: run_blocking(_fail, grace_s=5, poll_s=5), ValueError),
        (lambda: run_blocking(Busy(1).main, tick=_interrupt, grace_s=5, poll_s=0.01), Interrupted),
    ],
)
def test_handlers_are_put_back(
    run: Callable[[], None], expected: type[BaseException] | None, host_handlers: None
) -> None:
    """Dagster's handlers decide what the next signal does; ours would swallow it."""
    before = installed_handlers()

    if expected is None:
        run()
    else:
        with pytest.raises(expected):
            run()

    assert installed_handlers() == before


def test_ignored_signal_stays_ignored() -> None:
    """Under nohup and in a shell's background, SIGINT is ignored on purpose."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def main() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.05)
        return "done"

    try:
        assert run_blocking(main, grace_s=5, poll_s=0.01) == "done"
    finally:
        signal.signal(signal.SIGINT, before)
