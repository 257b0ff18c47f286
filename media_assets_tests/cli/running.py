"""Calling the command line: in this process where that is enough, as a program where signals and streams matter."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from media_assets.cli import run

PROGRAM = (sys.executable, "-c", "from media_assets.cli import main; main()")

CHEAP = {"size_px": "512x512", "clip_s": 1, "params": {"video": {"fps": 2}}}
"""Fields of a prompt whose film is made in a moment: one frame, no voice."""

CHEAP_OPTIONS = ("--size", "512x512", "--clip-s", "1", "--set", "video.fps=2")


@dataclass(frozen=True)
class Ended:
    """What a call brought."""

    code: int
    out: str
    err: str

    def objects(self) -> list[dict[str, Any]]:
        """Return standard output as the objects it must consist of, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def only(self) -> dict[str, Any]:
        """Return the one object on standard output."""
        (found,) = self.objects()
        return found


@contextmanager
def _undisturbed(environment: Mapping[str, str]) -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("MEDIA_ASSETS_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Cli:
    """The command line on one home."""

    def __init__(self, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capture = capture

    def __call__(self, *arguments: str | Path, **environment: str) -> Ended:
        """Run a command in this process."""
        self._capture.readouterr()
        with _undisturbed({"MEDIA_ASSETS_HOME": str(self.home), **environment}):
            code = run([str(argument) for argument in arguments])
        captured = self._capture.readouterr()
        return Ended(code, captured.out, captured.err)


def environment(**changes: str | Path) -> dict[str, str]:
    """Return this process's environment without any setting of ours, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEDIA_ASSETS_")}
    return kept | {name: str(value) for name, value in changes.items()}


def start(*arguments: str | Path, cwd: Path | None = None, **changes: str | Path) -> "subprocess.Popen[str]":
    """Start a command as a program, its streams in pipes."""
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(**changes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(*arguments: str | Path, cwd: Path | None = None, **changes: str | Path) -> Ended:
    """Run a command as a program, to its end."""
    with start(*arguments, cwd=cwd, **changes) as process:
        out, err = process.communicate(timeout=120)
        return Ended(process.returncode, out, err)


def call_on_terminal(*arguments: str | Path, streams: tuple[str, ...], **changes: str | Path) -> tuple[Ended, str]:
    """Run a command with some of its streams (stdout, stderr) on a terminal; return the rest, and what that showed."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        # Linux ends a terminal nobody holds any more with an error.
        with contextlib.suppress(OSError):
            while block := os.read(ours, 1 << 16):
                shown.append(block)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **dict.fromkeys(streams, theirs)}
    ended = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        env=environment(TERM="xterm", COLUMNS="120", **changes),
        stdin=subprocess.DEVNULL,
        stdout=pipes["stdout"],
        stderr=pipes["stderr"],
        text=True,
        timeout=120,
        check=False,
    )
    os.close(theirs)
    reader.join()
    os.close(ours)
    return Ended(ended.returncode, ended.stdout or "", ended.stderr or ""), b"".join(shown).decode()


def write_prompts(path: Path, *prompts: Mapping[str, Any]) -> Path:
    """Write a file of prompts whose films are cheap."""
    path.write_text("".join(json.dumps({**CHEAP, **prompt}) + "\n" for prompt in prompts), encoding="utf-8")
    return path
