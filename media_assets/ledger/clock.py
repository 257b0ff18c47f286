"""How much time has passed since something was written down: by a clock that nobody can set.

The wall clock may jump by an hour or by ten years, and "long enough ago" decides whether money is spent again. The
time since the machine started cannot be set, goes on while the machine sleeps, and is the same in every process.
"""

import functools
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@functools.cache
def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")
    except OSError:  # not Linux: the moment of the start, which is good enough to tell two starts apart
        return f"{sys.platform}-{round((time.time() - _since_start_s()) / 60)}"


def _since_start_s() -> float:
    """Return the seconds since this machine started, sleep included where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def mark(ago_s: float = 0.0) -> str:
    """Return this moment, or one ``ago_s`` seconds before, for :func:`elapsed_s` in any process of this machine."""
    return f"{_boot_id()}:{_since_start_s() - ago_s:.3f}"


def elapsed_s(since: str) -> float:
    """Return the seconds since a mark; of one from before the last start, those since the start, which are fewer."""
    boot_id, _, then = since.partition(":")
    return _since_start_s() - float(then) if boot_id == _boot_id() else _since_start_s()


def utc_now() -> str:
    """Return the time as the ledger writes it, for display and order; no protocol decision rests on it."""
    return as_written(datetime.now(UTC))


def as_written(moment: datetime) -> str:
    """Return an aware moment in UTC as the ledger writes it, so that moments sort as text."""
    return moment.isoformat(timespec="microseconds")
