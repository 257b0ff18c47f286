"""The simulator's own time: real time, faster or slower, plus whatever it was told to skip.

Everything in the simulator that waits or expires goes by this clock, so that an hour's retention can be tested in a
moment. Days of the calendar are virtual too: ``utc()`` starts at the real time and runs ahead of it.
"""

import asyncio
import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta

from media_assets.errors import ConfigurationError


class Clock:
    """Virtual seconds since the simulator's start; safe to use from any thread."""

    def __init__(self, time_scale: float = 1.0) -> None:
        """Start at 0.

        Args:
            time_scale: Virtual seconds in one real second, above 0.
        """
        self._time_scale = time_scale
        self._skipped_s = 0.0
        self._started = time.monotonic()
        self._started_at = datetime.now(UTC)
        self._lock = threading.Lock()
        self._sleepers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether the simulator is shutting down; nobody sleeps any more."""
        return self._stopped

    def now_s(self) -> float:
        """Return virtual seconds since the start."""
        return (time.monotonic() - self._started) * self._time_scale + self._skipped_s

    def utc(self, at_s: float | None = None) -> datetime:
        """Return the virtual date and time, now or ``at_s`` virtual seconds after the start."""
        return self._started_at + timedelta(seconds=self.now_s() if at_s is None else at_s)

    def stamp(self, at_s: float | None = None) -> str:
        """Return the virtual time as RFC 3339 with milliseconds and ``Z``, as the providers write it."""
        return self.utc(at_s).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"

    def since_start_s(self, moment: datetime) -> float:
        """Return the virtual seconds from the start to a date and time; negative before it."""
        return (moment - self._started_at).total_seconds()

    def advance(self, skip_s: float) -> None:
        """Skip virtual time; whoever sleeps and is due wakes.

        Raises:
            ConfigurationError: Time does not run backwards.
        """
        if not 0 <= skip_s < float("inf"):
            message = f"the clock cannot be advanced by {skip_s} seconds; only by 0 or more."
            raise ConfigurationError(message)
        with self._lock:
            self._skipped_s += skip_s
        self._wake_all()

    def stop(self) -> None:
        """End every sleep, now and from now on: for the shutdown."""
        self._stopped = True
        self._wake_all()

    async def sleep(self, virtual_s: float) -> None:
        """Wait until this much virtual time has passed, by waiting or by ``advance``; infinity waits for ``stop``."""
        due_s = self.now_s() + virtual_s
        sleeper = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._sleepers.add(sleeper)
        try:
            while not self._stopped and (left_s := due_s - self.now_s()) > 0:
                sleeper[1].clear()
                await _wait(sleeper[1], None if left_s == float("inf") else left_s / self._time_scale)
        finally:
            with self._lock:
                self._sleepers.discard(sleeper)

    def _wake_all(self) -> None:
        with self._lock:
            sleepers = list(self._sleepers)
        for loop, event in sleepers:
            # A loop that was closed in this moment has no sleeper left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)


async def _wait(event: asyncio.Event, timeout_s: float | None) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
