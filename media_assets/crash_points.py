"""Named points at which a test may kill the process: how "crash it anywhere" is enumerated instead of hoped for.

A point does nothing unless ``MEDIA_ASSETS_CRASH_AT`` names it, as ``NAME`` or ``NAME:N`` for the N-th time it is
passed. Points sit after the effect they are named for, so that what they leave behind is a committed state whose
acknowledgement was lost.
"""

import os
import signal
from itertools import count

POINTS = (
    "pinned",
    "reserved",
    "claimed",
    "intent_written",
    "submitted",
    "settled",
    "stored_half",
    "fsynced",
    "renamed",
    "artifact_recorded",
    "step_recorded",
    "merged",
)

_passed = {name: count(1) for name in POINTS}


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if ``MEDIA_ASSETS_CRASH_AT`` says so; otherwise do nothing."""
    counter = _passed[name]
    wanted = os.environ.get("MEDIA_ASSETS_CRASH_AT")
    if not wanted:
        return
    point, _, nth = wanted.partition(":")
    if point == name and next(counter) == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
