"""What is printed, and where: results to standard output, everything for people's eyes only to standard error.

Text from prompts and providers is shown as it is, never read as markup, with what could command a terminal taken out.
"""

import functools
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from media_assets.errors import Billed, BudgetExceededError, MediaAssetsError, Rerun
from media_assets.redact import harmless_text

_P = ParamSpec("_P")

_PLAIN_WIDTH = 200
"""Columns when nobody's terminal says how wide it is: wide enough that no table is cut."""

_ADVICE = {
    Rerun.NEVER: "",
    Rerun.RESUBMIT: "Run again to try again.",
    Rerun.RESUME: "Run again to go on; what is finished costs nothing.",
    Rerun.ASK: "Nothing is sent again by itself: `media-assets ledger show KEY` says how it stands.",
}


def prepare_output() -> None:
    """Make both streams take every text: what the terminal's encoding lacks is shown as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _write(text: str) -> None:
    """Write to standard output at once; when its reader is gone (`| head`), the rest goes nowhere, without fuss.

    What was begun goes on: films that are being paid for are not dropped for want of a reader.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@functools.lru_cache(maxsize=1)
def messages() -> Console:
    """Return the console on standard error; one for all, so that lines appear above a progress bar."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, markup=False, emoji=False, highlight=False)
    return (
        console
        if console.is_terminal
        else Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=_PLAIN_WIDTH)
    )


def say(text: str) -> None:
    """Tell people something, on standard error."""
    messages().print(Text(clean(text)), soft_wrap=True)


def say_stopping(again: bool) -> None:  # noqa: FBT001 - called by position
    """Say once that the command stops: ``on_stop`` of what has nothing more to say of it."""
    if not again:
        say("stopping...")


def complain(error: MediaAssetsError, *, about: str = "") -> None:
    """Tell people what went wrong, on standard error: what was tried, what happened, what to do."""
    named = not about or error.message.startswith(about)
    parts = [error.message if named else f"{about}: {error.message}", _ADVICE[error.rerun]]
    if error.billed is not Billed.NO:
        parts.append("It was billed." if error.billed is Billed.YES else "It may have been billed.")
    # A cap is no fault: what it keeps from being made is still to be made.
    is_deferred = isinstance(error, BudgetExceededError)
    text = Text("deferred: ", style="bold yellow") if is_deferred else Text("error: ", style="bold red")
    text.append(clean(" ".join(part for part in parts if part)), style="not bold default")
    messages().print(text, soft_wrap=True)


def print_json(data: Mapping[str, Any]) -> None:
    """Print one object on a line of standard output, at once; ASCII, so that no encoding can garble it."""
    _write(json.dumps(data) + "\n")


def print_raw(text: str) -> None:
    """Write lines of a file's to standard output, as they are: other programs read them."""
    _write(text)


def with_failure_object(command: Callable[_P, int]) -> Callable[_P, int]:
    """Let a command with ``--json`` print what ends it as an object too; people are told where the error is caught."""

    @functools.wraps(command)
    def run(*arguments: _P.args, **options: _P.kwargs) -> int:
        try:
            return command(*arguments, **options)
        except MediaAssetsError as error:
            if options.get("json"):
                print_json({"error": error.as_dict()})
            raise

    return run


def print_text(*lines: str | Text | Table) -> None:
    """Print lines and tables on standard output."""
    console = _console(stderr=False)
    for line in lines:
        with console.capture() as captured:
            if isinstance(line, Table):
                console.print(line)
            else:
                console.print(line if isinstance(line, Text) else Text(clean(line)), soft_wrap=True)
        # Not written by rich, which would end the whole command when its reader is gone.
        _write(captured.get())


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], *, right: frozenset[str] = frozenset()) -> Table:
    """Return a table of plain cells.

    Args:
        columns: The headings.
        rows: One text a column.
        right: The headings of columns of numbers.
    """
    # 80 columns take the seven of a film's steps only with one space between them.
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(clean(cell)) for cell in row))
    return made


def shorten(text: str, limit: int = 60) -> str:
    """Return the text on one line of at most ``limit`` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def clean(text: str) -> str:
    """Return the text without what could command a terminal: control characters and overrides of direction."""
    return harmless_text(text)
