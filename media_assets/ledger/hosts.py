"""Which machine this is, and whether one of its processes still runs; asked of the kernel, never of a clock."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_ENDED = frozenset({"Z", "X", "x"})
"""States of a process that is dead and only not yet waited for."""


@dataclass(frozen=True)
class Host:
    """A machine since it was started: what says "gone" of a process here is certain for this host and no other."""

    name: str
    boot: str
    """The kernel's boot and the namespaces of this process: containers of one machine number processes on their own.
    Empty where the kernel does not tell."""


def this_host() -> Host:
    """Return the host that this process runs on."""
    return Host(platform.node()[:120], _boot())


def _boot() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        spaces = (os.readlink(_PROC / "self/ns" / kind) for kind in ("pid", "time"))  # noqa: PTH115 - no real path
        return " ".join((boot, *spaces))
    except OSError:
        return ""


def started(pid: int) -> str:
    """Return when a process was started, in the kernel's own count; empty where that cannot be read."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in _ENDED else fields[18]


def is_gone(pid: int, start: str) -> bool:
    """Whether the process of this host that had this number and start has ended, for certain."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # Somebody else's; there is one, and whether it is the same one can be hidden from us.
        return bool(now := started(pid)) and now != start
    return bool(start) and started(pid) != start


def clock() -> float:
    """Return seconds since some moment: no setting of the time moves it, and no sleep of the machine stops it."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
