"""What every piece of long media work is handed: where to write, when to stop, whom to tell."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from media_assets.errors import StoppedError


def _tell_nobody(fraction: float) -> None:
    del fraction


@dataclass(frozen=True)
class Work:
    """The surroundings of one piece of work.

    A thread cannot be cancelled from outside, so long loops call :meth:`check` often (every frame, every
    sentence) and the process runner watches ``stop`` too.
    """

    scratch: Path
    """An existing folder of this piece of work alone; whoever made it removes it."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the work should end as soon as it can."""
    tell: Callable[[float], None] = _tell_nobody
    """Called with the fraction done, 0..1, from the working thread."""

    def check(self) -> None:
        """Raise ``StoppedError`` if the work was told to stop."""
        if self.stop.is_set():
            message = "the work was stopped before it was done; run it again to go on"
            raise StoppedError(message)
