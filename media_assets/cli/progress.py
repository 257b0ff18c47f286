"""Progress on standard error: bars that move on a terminal, a line for each change anywhere else.

Events come from any thread. With one prompt every step has a bar; with many, every prompt at work has one.
"""

import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from media_assets.cli.output import clean, say, shorten
from media_assets.prompt import Step
from media_assets.studio import Event


class Lines:
    """A plain line whenever a step begins or ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def event(self, event: Event) -> None:
        """Tell of a change; fractions are left out."""
        told = _words(event)
        if told:
            say(f"{event.key}: {event.step}: {told}")

    def film_done(self, key: str) -> None:
        """Nothing is left to take away."""


class Bars:
    """Moving bars."""

    def __init__(self, keys: Sequence[str], console: Console) -> None:
        self._many = len(keys) > 1
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            # Lines for a terminal go above the bars; what is piped elsewhere must not end up on this console.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._guard = threading.Lock()
        self._bars: dict[tuple[str, Step | None], TaskID] = {}
        self._fractions: dict[str, dict[Step, float]] = {}
        self._films: TaskID | None = None
        if self._many:
            self._films = self._progress.add_task("films", total=len(keys), note=f"of {len(keys)}")
            return
        for step in Step:
            self._bars[keys[0], step] = self._progress.add_task(str(step), total=1.0, start=False, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def event(self, event: Event) -> None:
        """Move a bar."""
        with self._guard:
            if self._many:
                self._move_film(event)
            else:
                self._move_step(event)

    def film_done(self, key: str) -> None:
        """Count a film, and take away its bar."""
        with self._guard:
            if self._films is not None:
                self._progress.advance(self._films)
            self._fractions.pop(key, None)
            bar = self._bars.pop((key, None), None)
            if bar is not None:
                self._progress.remove_task(bar)

    def _move_step(self, event: Event) -> None:
        bar = self._bars[event.key, event.step]
        self._progress.start_task(bar)
        self._progress.update(bar, completed=event.fraction, note=clean(_words(event)))
        if event.what in {"finished", "failed"}:
            self._progress.stop_task(bar)

    def _move_film(self, event: Event) -> None:
        where = (event.key, None)
        if where not in self._bars:
            self._bars[where] = self._progress.add_task(shorten(event.key, 40), total=float(len(Step)), note="")
        fractions = self._fractions.setdefault(event.key, {})
        fractions[event.step] = event.fraction or 0.0
        note = ", ".join(str(step) for step, fraction in fractions.items() if fraction < 1)
        if event.what == "waiting":
            note = clean(event.note)
        self._progress.update(self._bars[where], completed=sum(fractions.values()), note=note)


def progress_for(keys: Sequence[str], console: Console, *, json: bool) -> Bars | Lines:
    """Return what shows the progress of these prompts where ``console`` writes.

    Args:
        keys: Of the prompts.
        console: On standard error.
        json: Whether JSON is printed; on a terminal, bars would break its lines.
    """
    bars = console.is_terminal and keys and not (json and sys.stdout.isatty())
    return Bars(keys, console) if bars else Lines()


def _words(event: Event) -> str:
    if event.what == "finished" and event.result is not None:
        model = event.result.model
        return f"{model}, taken as it is" if event.result.cached else f"{model}, {event.result.duration_s:.1f} s"
    if event.what == "waiting":
        return event.note
    return {"started": "started", "failed": "failed"}.get(event.what, "")
