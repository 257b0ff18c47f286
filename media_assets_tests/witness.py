"""A witness of what this process does to the world: where it connects, what it changes on disk, what it starts.

It hears Python's audit events (PEP 578), which come from below all code under test and from every thread. A hook cannot
be taken out again: one stays, and notes things down only while somebody watches. C libraries that open files or sockets
by themselves are not heard.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
_CHANGES: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
}
"""Events that change the disk: which of their arguments are paths, and which the open folders these start from."""

_OF_PYTHON: Final = "__pycache__"
"""Modules that are imported late are compiled there: no doing of ours."""


@dataclass(frozen=True)
class Started:
    """A process that was started."""

    command: tuple[str, ...]
    environment: Mapping[str, str] | None
    """None: that of this process."""


@dataclass
class Witness:
    """What was seen."""

    connected: set[tuple[str, int]] = field(default_factory=set)
    """Host and port of every connection that was tried."""
    changed: set[Path] = field(default_factory=set)
    """Every file or folder that was made, opened for writing, renamed or removed."""
    started: list[Started] = field(default_factory=list)

    def changed_outside(self, *folders: Path) -> list[Path]:
        """Return what was changed in none of these folders."""
        outside = (path for path in self.changed if not any(path.is_relative_to(folder) for folder in folders))
        return sorted(path for path in outside if _OF_PYTHON not in path.parts and path != Path(os.devnull))

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event."""
        if event == "socket.connect":
            self._connect(arguments[1])
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING:
                self._change(path)
        elif event in _CHANGES:
            for path, folder in _CHANGES[event]:
                self._change(arguments[path], folder=arguments[folder])
        elif event == "sqlite3.connect":
            self._change(arguments[0])
        elif event == "subprocess.Popen":
            _, command, _, environment = arguments
            words = [command] if isinstance(command, str | bytes) else command
            self.started.append(Started(tuple(map(os.fsdecode, words)), environment and dict(environment)))

    def _connect(self, address: Any) -> None:
        if isinstance(address, tuple):
            self.connected.add((str(address[0]), int(address[1])))

    def _change(self, path: Any, *, folder: int = -1) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            # macOS has no such list of open files; there a path in an open folder counts from the current one.
            opened = Path(f"/proc/self/fd/{folder}")
            start = opened.readlink() if folder >= 0 and opened.is_symlink() else Path.cwd()
            self.changed.add(Path(os.path.normpath(start / os.fsdecode(path))))


_watching: Final[list[Witness]] = []


@functools.cache
def _listen() -> None:
    def heard(event: str, arguments: tuple[Any, ...], watching: list[Witness] = _watching) -> None:
        for witness in tuple(watching):
            witness.hear(event, arguments)

    sys.addaudithook(heard)


@contextlib.contextmanager
def watched() -> Iterator[Witness]:
    """Watch what this process does while inside."""
    _listen()
    witness = Witness()
    _watching.append(witness)
    try:
        yield witness
    finally:
        _watching.remove(witness)
