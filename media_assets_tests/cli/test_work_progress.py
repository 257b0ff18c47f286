"""Progress of many things at work: bars that move on a terminal, lines anywhere else."""

import io

import pytest
from rich.console import Console

from media_assets.cli.work_progress import WorkBars, WorkLines, work_progress


def _console(*, is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=100)


def test_on_a_terminal_each_thing_has_a_bar() -> None:
    """What it says of itself stays beside it, and control characters do nothing."""
    console = _console(is_terminal=True)
    with work_progress(console, json=False) as progress:
        assert isinstance(progress, WorkBars)
        progress.move("p1", None, "waits\x1b[2J")
        progress.move("p1", 0.5, "")
        progress.move("p2", None, "fetches")
        progress.end("p1")
        progress.end("never begun")

    shown = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert "fetches" in shown
    assert "waits\x1b[2J" not in shown


@pytest.mark.parametrize("json", [True, False])
def test_anywhere_else_a_line_says_what_is_new(capsys: pytest.CaptureFixture[str], *, json: bool) -> None:
    """Not the same again, and no fractions."""
    with work_progress(_console(is_terminal=False), json=json) as progress:
        assert isinstance(progress, WorkLines)
        for note in ("waits", "waits", "", "fetches"):
            progress.move("p1", 0.5, note)
        progress.end("p1")
        progress.move("p1", None, "waits")

    assert capsys.readouterr().err.splitlines() == ["p1: waits", "p1: fetches", "p1: waits"]
