"""Progress of a batch on standard error: a table that lives on a terminal, a line a film anywhere else."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from media_assets.batch import Quote, Summary
from media_assets.cli.film_report import usd
from media_assets.cli.output import clean, say, shorten, table
from media_assets.film import Film
from media_assets.prompt import Step
from media_assets.studio import Event

_ROWS = 12
"""Prompts at work that are shown; the others are counted."""
_KEY_CHARACTERS = 40
_NOTE_CHARACTERS = 60
_BAR_CHARACTERS = 40
_REFRESHES_PER_S = 4


def counts_of(summary: Summary) -> str:
    """Return how many prompts have ended in each way, and what was spent, for people."""
    counts = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count) or "none ended"
    return f"{counts}; {usd(summary.spent_usd)} USD spent"


class BatchLines:
    """A plain line for each film that ends."""

    def __init__(self, summary: Callable[[], Summary | None]) -> None:
        self._summary = summary

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def event(self, event: Event) -> None:
        """Tell what is waited for; everything else is told with the film."""
        if event.what == "waiting":
            say(f"{event.key}: {event.step}: {event.note}")

    def film_done(self, film: Film) -> None:
        """Tell how many have ended."""
        summary = self._summary()
        if summary is not None:
            so_far = f"{summary.ended} of {summary.quote.prompts}; {usd(summary.spent_usd)} USD spent"
            say(f"{film.key}: {_outcome(film)} ({so_far})")


class BatchTable:
    """What has ended, what is spent against the quote, and every prompt that is at work."""

    def __init__(self, summary: Callable[[], Summary | None], console: Console) -> None:
        self._summary = summary
        self._guard = threading.Lock()
        self._fractions: dict[str, dict[Step, float]] = {}
        self._notes: dict[str, str] = {}
        self._live = Live(
            console=console, get_renderable=self._shown, refresh_per_second=_REFRESHES_PER_S, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def event(self, event: Event) -> None:
        """Take note of a change; called from any thread."""
        with self._guard:
            fractions = self._fractions.setdefault(event.key, {})
            fractions[event.step] = event.fraction or 0.0
            at_work = ", ".join(str(step) for step, fraction in fractions.items() if fraction < 1)
            self._notes[event.key] = event.note if event.what == "waiting" else at_work

    def film_done(self, film: Film) -> None:
        """Forget a prompt that has ended."""
        with self._guard:
            self._fractions.pop(film.key, None)
            self._notes.pop(film.key, None)

    def _shown(self) -> Group | Text:
        summary = self._summary()
        if summary is None:
            return Text("reckoning what it may cost...")
        with self._guard:
            at_work = [(key, sum(done.values()), self._notes.get(key, "")) for key, done in self._fractions.items()]
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(summary.quote.prompts, 1), completed=summary.ended, width=_BAR_CHARACTERS)
        head.add_row(f"{summary.ended} of {summary.quote.prompts}", bar, Text(_told(summary)))
        rows = [
            (shorten(key, _KEY_CHARACTERS), f"{done / len(Step):4.0%}", shorten(note, _NOTE_CHARACTERS))
            for key, done, note in at_work[:_ROWS]
        ]
        if len(at_work) > _ROWS:
            rows.append((f"and {len(at_work) - _ROWS} more", "", ""))
        return Group(head, table(("at work", "done", "now"), rows, right=frozenset({"done"})))


def _told(summary: Summary) -> str:
    return clean(f"{counts_of(summary)} of at most {usd(summary.quote.estimate_usd)}")


def _outcome(film: Film) -> str:
    if film.error is not None:
        return "deferred" if film.deferred else "failed"
    if film.superseded:
        return "superseded"
    if film.cached:
        return "there already"
    return "made, with a stand-in" if film.degraded else "made"


def batch_progress(summary: Callable[[], Summary | None], console: Console, *, json: bool) -> BatchTable | BatchLines:
    """Return what shows the progress of a batch where ``console`` writes.

    Args:
        summary: Returns what came of it so far; None before it is quoted.
        console: On standard error.
        json: Whether JSON is printed; on a terminal, a table that lives would break its lines.
    """
    return BatchTable(summary, console) if console.is_terminal and not json else BatchLines(summary)


def say_quote(quote: Quote) -> None:
    """Tell what a batch may cost, before anything is sent."""
    say(f"{quote.prompts} prompts: at most {usd(quote.estimate_usd)} USD, at least {usd(quote.least_usd)} USD.")
