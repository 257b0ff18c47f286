"""Named points at which a test may kill the process: how "crash it anywhere" is enumerated instead of hoped for.

A point does nothing unless ``MEDIA_ASSETS_CRASH_AT`` names it, as ``NAME`` or ``NAME:N`` for the N-th time it is
passed. The process is then sent SIGKILL, or another signal: ``NAME=SIGTERM``. Several are separated by commas. What
has no ``before`` in its name sits after the effect it is named for, so that what it leaves behind is a committed state
whose acknowledgement was lost.
"""

import os
import signal
from itertools import count

_COMMITS = ("claim", "reserve", "intent", "id_save", "done", "art")
"""Transactions of the protocol: each can be cut off right before its commit and right after it."""

POINTS = (
    *(f"{name}.{moment}" for name in _COMMITS for moment in ("before", "after")),
    "settle.before",
    "settle.after",
    "post.before_connect",
    "post.after_headers_sent",
    "post.after_body_sent",
    "post.first_byte",
    "spool.before_fsync",
    "spool.after_fsync",
    "poll.each",
    "dl.first_byte",
    "dl.mid",
    "dl.before_fsync",
    "dl.before_rename",
    "dl.after_rename",
    "dl.before_dirsync",
    "cancel.before_send",
    "cancel.after_send",
    "adopted",
    "cleared",
    "pinned",
    "step_recorded",
    "merged",
    "gc.mark",
    "gc.delete",
)

_passed = {name: count(1) for name in POINTS}


def crash_point(name: str) -> None:
    """Send this process the signal that ``MEDIA_ASSETS_CRASH_AT`` names for this point; otherwise do nothing."""
    counter = _passed[name]
    wanted = os.environ.get("MEDIA_ASSETS_CRASH_AT")
    if not wanted:
        return
    times = next(counter)
    for one in wanted.split(","):
        place, _, sent = one.partition("=")
        point, _, nth = place.partition(":")
        if point == name and times == int(nth or 1):
            _send(signal.Signals[sent or "SIGKILL"])


def _send(number: signal.Signals) -> None:
    if number is signal.SIGSTOP:
        # To this very thread, which then does nothing more: the others are stopped a moment later.
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)
