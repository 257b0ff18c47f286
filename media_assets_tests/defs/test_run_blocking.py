"""What a wait in ``run_blocking`` owes to its coroutines, signals aside."""

import asyncio
import contextvars
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from media_assets.defs.run_blocking import run_blocking
from media_assets_tests.defs.interruptions import Busy, Interrupted, installed_handlers


def test_result_is_returned_as_soon_as_it_is_there() -> None:
    """A film's last step must not wait for the next tick: that would be added to every run."""
    began_s = time.monotonic()

    async def main() -> str:
        await asyncio.sleep(0.05)
        return "film"

    assert run_blocking(main, grace_s=5, poll_s=5) == "film"
    assert time.monotonic() - began_s < 0.5


def test_error_of_the_work_keeps_its_traceback() -> None:
    """Without the frames of the work, a failed run names no cause."""

    async def the_culprit() -> None:
        message = "no such model"
        raise ValueError(message)

    with pytest.raises(ValueError, match="no such model") as caught:
        run_blocking(the_culprit, grace_s=5, poll_s=5)

    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "the_culprit"


def test_work_sees_the_callers_context_variables() -> None:
    """What the host set for this run (log context, for one) would be lost in a new thread."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("from the step")

    async def main() -> str:
        return variable.get()

    assert run_blocking(main, grace_s=5, poll_s=5) == "from the step"


def test_generators_threads_and_stray_tasks_end_before_the_result() -> None:
    """What outlives the step would go on after Dagster has reported it as over."""
    ended: list[str] = []
    open_generators = []

    async def numbers() -> Any:
        try:
            while True:
                yield 1
        finally:
            ended.append("generator")

    async def stray() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    def thread() -> None:
        time.sleep(0.1)
        ended.append("thread")

    async def main() -> None:
        open_generators.append(numbers())
        await anext(open_generators[0])
        open_generators.append(asyncio.create_task(stray()))
        open_generators.append(asyncio.get_running_loop().run_in_executor(None, thread))
        await asyncio.sleep(0)

    run_blocking(main, grace_s=5, poll_s=5)

    assert sorted(ended) == ["generator", "task", "thread"]


def test_work_that_cancels_itself_is_an_ordinary_error() -> None:
    """A CancelledError is no Exception: it would pass by every handler up to the end of the run process."""

    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled from inside"):
        run_blocking(main, grace_s=5, poll_s=5)


@pytest.mark.parametrize("error", [OSError("disk full"), Interrupted("from the tick")])
def test_error_of_the_tick_cancels_the_work(error: BaseException) -> None:
    """A full event log must not leave coroutines behind that nobody waits for."""
    busy = Busy(20)
    reports: list[int] = []

    def tick() -> None:
        if busy.started.is_set():
            raise error

    with pytest.raises(type(error)) as caught:
        run_blocking(
            busy.main,
            tick=tick,
            on_interrupt=lambda: reports.append(len(busy.cleaned)),
            grace_s=10,
            poll_s=0.02,
        )

    assert caught.value is error
    assert reports == [20]


def test_busy_worker_thread_keeps_a_result_only_for_the_grace(caplog: pytest.LogCaptureFixture) -> None:
    """A hung thread must not hold a film back that is finished and paid for."""
    release = threading.Event()

    async def main() -> str:
        asyncio.get_running_loop().run_in_executor(None, release.wait, 30)
        return "film"

    began_s = time.monotonic()
    try:
        assert run_blocking(main, grace_s=0.2, poll_s=0.05) == "film"
        assert time.monotonic() - began_s < 3
        assert "worker threads" in caplog.text
    finally:
        release.set()


def test_another_thread_can_wait_too() -> None:
    """Only the main thread may set signal handlers; a resident process runs steps in others."""
    before = installed_handlers()
    busy = Busy(3)
    results: list[Any] = []

    async def main() -> str:
        return "film"

    def tick() -> None:
        if busy.started.is_set():
            raise Interrupted

    def step() -> None:
        results.append(run_blocking(main, grace_s=5, poll_s=5))
        try:
            run_blocking(busy.main, tick=tick, grace_s=5, poll_s=0.02)
        except Interrupted as error:
            results.append(type(error))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join(10)

    assert results == ["film", Interrupted]
    assert len(busy.cleaned) == 3
    assert installed_handlers() == before


_CHILD = """
    import asyncio, sys
    from pathlib import Path
    from media_assets.defs.run_blocking import ParentGoneError, parent_watch, run_blocking

    async def main():
        Path(sys.argv[1], "started").touch()
        try:
            await asyncio.sleep(60)
        finally:
            Path(sys.argv[1], "cleaned").touch()

    try:
        run_blocking(main, tick=parent_watch(), grace_s=5, poll_s=0.02)
    except ParentGoneError:
        Path(sys.argv[1], "interrupted").touch()
"""

_PARENT = """
    import subprocess, sys, time
    from pathlib import Path

    subprocess.Popen([sys.executable, "-c", sys.argv[2], sys.argv[1]])
    while not Path(sys.argv[1], "started").exists():
        time.sleep(0.01)
"""


def test_work_ends_when_the_parent_process_is_gone(tmp_path: Path) -> None:
    """After its code server was killed, a run went on buying with nobody able to terminate it."""
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PARENT), tmp_path, textwrap.dedent(_CHILD)],
        check=True,
        timeout=30,
    )

    _wait_until((tmp_path / "interrupted").exists, deadline_s=10)
    assert (tmp_path / "cleaned").exists()


def _wait_until(condition: Callable[[], bool], *, deadline_s: float) -> None:
    ends_at_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends_at_s, f"not within {deadline_s:g} s"
        time.sleep(0.02)
