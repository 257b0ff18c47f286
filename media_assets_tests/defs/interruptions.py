"""Work that can be interrupted, and what interrupts it: for the tests of ``run_blocking``."""

import asyncio
import signal
import threading
import time
from typing import Any


class Interrupted(BaseException):
    """What a host's signal handler raises: like Dagster's own, not an Exception."""


class Busy:
    """Coroutines that work until they are cancelled and take their time to clean up."""

    def __init__(self, count: int, *, clean_s: float = 0.05) -> None:
        self.count = count
        self.clean_s = clean_s
        self.started = threading.Event()
        self.cleaning = threading.Event()
        self.cleaned: list[int] = []

    async def main(self) -> None:
        async with asyncio.TaskGroup() as group:
            for index in range(self.count):
                group.create_task(self._work(index))
            self.started.set()

    async def _work(self, index: int) -> None:
        try:
            while True:
                # Python code nearly all the time, and no longer at a stretch than other threads can bear.
                ends_at_s = time.monotonic() + 0.006
                while time.monotonic() < ends_at_s:
                    pass
                await asyncio.sleep(0)
        finally:
            self.cleaning.set()
            await asyncio.sleep(self.clean_s)
            self.cleaned.append(index)


def send_signal(number: int, *, after: threading.Event, times: int = 1) -> None:
    """Send a signal to this process's main thread, from another one.

    The kernel may give a signal for the process to any thread, and then the main one hears of it when it next runs:
    nothing that a test of what happens then should depend on.
    """
    main = threading.main_thread().ident or 0

    def send() -> None:
        assert after.wait(10)
        for _ in range(times):
            signal.pthread_kill(main, number)
            time.sleep(0.05)

    threading.Thread(target=send, daemon=True).start()


def installed_handlers() -> list[Any]:
    """Return what SIGINT and SIGTERM do now."""
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
