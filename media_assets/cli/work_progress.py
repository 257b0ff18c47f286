"""Progress of many small things at work, each with a name: a bar that moves for each on a terminal, else lines."""

import sys
import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from media_assets.cli.output import clean, say, shorten


class WorkLines:
    """A plain line whenever something new is to be said of a thing."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def move(self, name: str, fraction: float | None, note: str) -> None:
        """Tell what is waited for; fractions are left out. Called from any thread."""
        del fraction
        if note and self._said.get(name) != note:
            self._said[name] = note
            say(f"{name}: {note}")

    def end(self, name: str) -> None:
        """Forget a thing that is done with."""
        self._said.pop(name, None)


class WorkBars:
    """Moving bars, one for each thing at work."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._guard = threading.Lock()
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def move(self, name: str, fraction: float | None, note: str) -> None:
        """Move a thing's bar, which appears with its first move. Called from any thread."""
        with self._guard:
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(shorten(name, 40), total=None, note="")
            if note:
                self._progress.update(self._bars[name], note=clean(note))
            if fraction is not None:
                self._progress.update(self._bars[name], total=1.0, completed=fraction)

    def end(self, name: str) -> None:
        """Take a thing's bar away."""
        with self._guard:
            bar = self._bars.pop(name, None)
            if bar is not None:
                self._progress.remove_task(bar)


def work_progress(console: Console, *, json: bool) -> WorkBars | WorkLines:
    """Return what shows progress where ``console`` writes.

    Args:
        console: On standard error.
        json: Whether JSON is printed; on a terminal, bars would break its lines.
    """
    return WorkBars(console) if console.is_terminal and not (json and sys.stdout.isatty()) else WorkLines()
