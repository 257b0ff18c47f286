"""Examine bytes that a stranger sent: probe and judge them in a child process with limits on memory and time.

Image and video decoders are large C programs that read what an attacker may have written. So each file gets a
process of its own, which is killed with its group whatever happens:

- a fresh interpreter that inherits no environment (no provider keys), no open files and no working folder;
- limits on memory (address space), processor time and open files; it can write nothing and leave no core dump;
- a wall-clock deadline here, and a timer there for the case that this process dies first;
- its answer is believed only after it was checked: it may come from whoever wrote the file.

This module may start a process, beside ``_ffmpeg``, because this process has to be given a question and has to
be measured; there is nothing about ffmpeg in it.

What is not done, on purpose: system-call filters, name spaces and ``no_new_privs`` through ctypes. They cost more
to start than they add to a process that holds no secret and starts nothing, and what they allow differs between
kernels and containers. The process could open a socket if a decoder were taken over; the decoders themselves
may open files only (``probe.opened_streams``). macOS does not enforce the memory limit.

A start costs 0.12 to 0.14 s of processor time, nearly all of it numpy and PyAV or Pillow; a whole examination 0.17 s
for a picture, 0.2 s for a voice of 10 s and 0.4 s for a clip of 5 s in 1024 x 576 (measured 2026-11-24 on one core).
That is too little to keep processes waiting for files.
"""

import contextlib
import json
import logging
import math
import os
import selectors
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from media_assets.artifact import MediaInfo
from media_assets.errors import DefectError, ProbeError, Rerun, StoppedError
from media_assets.media import examine_child
from media_assets.media.judge import Verdict
from media_assets.media.questions import Question, question_as_dict
from media_assets.media.sniff import EXTENSIONS

_log = logging.getLogger(__name__)

DEADLINE_S = 10.0
"""For the whole examination, start included; and as much processor time, rounded up."""
MEMORY_BYTES = 512 << 20
"""Of address space. The libraries reserve 100 to 200 MB of it, most of which is never touched; a clip in 1920 x 1080
needs 280 MB in all, one in 3840 x 2160 380 MB (measured 2026-11-24)."""

_POLL_S = 0.02
_GRACE_S = 2.0
"""How long after its deadline a child ends by itself: whoever should have killed it may be dead or stopped."""
_REPLY_BYTES = 1 << 16
_MESSAGES_BYTES = 1 << 14
_BUSY_SHARE = 0.5
"""A process that had less than this share of a processor until its deadline is no proof against its file."""
_MB = 1 << 20
# ru_maxrss is in bytes on macOS and in KiB elsewhere (getrusage(2)).
_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an examination took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    """Of resident memory. Linux counts this process's own peak too, when that is higher."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What a file is, and whether it is good enough."""

    info: MediaInfo
    verdict: Verdict
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child process ended."""

    exit_code: int
    """Negative: the signal that ended it."""
    was_late: bool
    """Whether it was killed at its deadline."""
    reply: bytes
    messages: str
    """What it wrote to standard error; cut after 16 KB."""
    usage: Usage


_Words = Annotated[str, Field(max_length=4000)]


class _Reply(BaseModel):
    """What a child may say; nothing else is believed."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    info: MediaInfo | None = None
    problems: tuple[_Words, ...] = ()
    numbers: dict[_Words, float] = Field(default_factory=dict)
    refused: _Words = ""


def examine(
    path: Path,
    question: Question,
    *,
    deadline_s: float = DEADLINE_S,
    memory_bytes: int = MEMORY_BYTES,
    stop: threading.Event | None = None,
) -> Examined:
    """Probe and judge a file in a child process. Blocks; call it in a thread. Costs no money.

    Args:
        path: The file; it must not change meanwhile.
        question: What it should be.
        deadline_s: Seconds of wall-clock time, and of processor time, that it may take.
        memory_bytes: What the process may take of address space.
        stop: Ends the examination within a moment when it is set.

    Raises:
        ProbeError: The file is damaged, no medium that is handled, or needs more than the limits to be decoded.
            With ``rerun`` RESUME nothing is said about the file: the machine was too busy, or somebody else ended
            the process.
        DefectError: Our own code failed in the child; its traceback is in the log.
        StoppedError: ``stop`` was set.
    """
    job = job_for(path, question, memory_bytes=memory_bytes, cpu_s=math.ceil(deadline_s), wall_s=deadline_s)
    ended = run_limited(COMMAND, job, deadline_s=deadline_s, stop=stop)
    if ended.messages:
        # A library's doubts about an odd file are no news; the last words of a child that failed are.
        level = logging.DEBUG if ended.exit_code == 0 else logging.WARNING
        _log.log(level, "while %s was examined: %s", path.name, ended.messages)
    reply = understand(ended, path, deadline_s=deadline_s)
    if reply.refused or reply.info is None:
        raise ProbeError(reply.refused)
    _log.debug("examined %s: %s", path.name, ended.usage)
    return Examined(info=reply.info, verdict=Verdict(reply.problems, reply.numbers), usage=ended.usage)


def job_for(path: Path, question: Question, *, memory_bytes: int, cpu_s: int, wall_s: float) -> bytes:
    """Return what a child reads from its standard input.

    Args:
        path: The file.
        question: What it should be.
        memory_bytes: The limit of address space.
        cpu_s: The limit of processor time, in whole seconds.
        wall_s: When the child is killed from here; a little later it ends by itself.
    """
    job = {
        "packages": _packages(),
        "path": str(path.absolute()),
        "question": question_as_dict(question),
        "memory_bytes": memory_bytes,
        "cpu_s": cpu_s,
        "wall_s": wall_s + _GRACE_S,
    }
    return json.dumps(job).encode()


def understand(ended: Ended, path: Path, *, deadline_s: float) -> _Reply:
    """Return what a child said, if it can be believed.

    Raises:
        ProbeError: It was ended by a limit, by a fault of its decoder, or from outside.
        DefectError: It ended in a way that nobody meant.
    """
    was_late = ended.was_late or ended.exit_code == -signal.SIGALRM
    if was_late and ended.usage.cpu_s < _BUSY_SHARE * deadline_s:
        message = (
            f"{path.name} could not be examined within {deadline_s:g} s, of which its process worked "
            f"{ended.usage.cpu_s:.1f} s: the machine or its disk is too busy. Run again."
        )
        raise ProbeError(message, rerun=Rerun.RESUME)
    if was_late or ended.exit_code == -signal.SIGXCPU:
        message = f"{path.name} needed more than {deadline_s:g} s to be decoded: it is not built on."
        raise ProbeError(message)
    if ended.exit_code in {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}:
        name = signal.Signals(-ended.exit_code).name
        message = f"{path.name} could not be examined: its process was ended from outside ({name}). Run again."
        raise ProbeError(message, rerun=Rerun.RESUME)
    if ended.exit_code < 0:
        message = f"{path.name} makes its decoder crash ({_signal_name(-ended.exit_code)}): it is not built on."
        raise ProbeError(message)
    return _checked(ended, path)


def _checked(ended: Ended, path: Path) -> _Reply:
    try:
        reply = _Reply.model_validate_json(ended.reply) if ended.exit_code == 0 else _Reply()
    except ValidationError:
        reply = _Reply()
    info = reply.info
    # The extension becomes part of a file's name: it is ours, never what a child made up.
    is_known = info is not None and EXTENSIONS.get(info.mime) == info.extension
    if reply.refused or (is_known and info is not None and info.size_bytes == path.stat().st_size):
        return reply
    message = (
        f"{path.name} could not be examined: the process for it ended with exit code {ended.exit_code} and no usable "
        "answer. This is a defect; please report it with the log."
    )
    raise DefectError(message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


COMMAND = (
    sys.executable,
    "-I",  # no user's site folder, no PYTHON* variables, no current folder
    "-S",  # no site: it costs 20 ms, runs every .pth file, and the packages are handed over
    "-B",  # nothing may be written
    "-X",
    "utf8",  # without an environment there is no locale that tells
    examine_child.__file__,
)
"""What starts a child."""


def _packages() -> list[str]:
    """Return where this process finds its packages, however they were installed; never the current folder."""
    own = str(Path(examine_child.__file__).parents[2])
    return [*(entry for entry in sys.path if Path(entry).is_absolute()), own]


def _environment() -> dict[str, str]:
    """Return the whole environment of a child: nothing of ours but where Python's own library is."""
    # One thread and one arena: each more would reserve 64 MB of the address space that is allowed.
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    folder = sysconfig.get_config_var("LIBDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and folder:
        environment["LD_LIBRARY_PATH"] = str(folder)
    return environment


@dataclass
class _Pipes:
    """The three pipes of a child, served without ever blocking; what exceeds a bound is read and dropped."""

    process: "subprocess.Popen[bytes]"
    left: memoryview
    """What is still to be written to standard input."""
    taken: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def __post_init__(self) -> None:
        for name, events in (
            ("stdin", selectors.EVENT_WRITE),
            ("stdout", selectors.EVENT_READ),
            ("stderr", selectors.EVENT_READ),
        ):
            pipe: IO[bytes] = getattr(self.process, name)
            os.set_blocking(pipe.fileno(), False)
            self.selector.register(pipe, events, name)

    @property
    def are_open(self) -> bool:
        """Whether the child holds any of its outputs: when it does not, it has ended."""
        return any(key.data != "stdin" for key in self.selector.get_map().values())

    def serve(self) -> None:
        """Move what can be moved within one poll interval."""
        for key, _ in self.selector.select(_POLL_S):
            pipe: IO[bytes] = getattr(self.process, key.data)
            is_done = self._write(pipe) if key.data == "stdin" else self._read(pipe, key.data)
            if is_done:
                self.selector.unregister(pipe)
                pipe.close()

    def close(self) -> None:
        """Close what is still open."""
        self.selector.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _write(self, pipe: IO[bytes]) -> bool:
        try:
            self.left = self.left[os.write(pipe.fileno(), self.left) :]
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return not self.left

    def _read(self, pipe: IO[bytes], name: str) -> bool:
        try:
            block = os.read(pipe.fileno(), _REPLY_BYTES)
        except BlockingIOError:
            return False
        bound = _REPLY_BYTES if name == "stdout" else _MESSAGES_BYTES
        self.taken[name] += block[: bound - len(self.taken[name])]
        return not block


def run_limited(
    command: tuple[str, ...], given: bytes, *, deadline_s: float, stop: threading.Event | None = None
) -> Ended:
    """Run one program in a session of its own, with an empty environment, and kill the whole group at the end.

    Args:
        command: The program and its arguments; it sets its own limits.
        given: For its standard input.
        deadline_s: Seconds of wall-clock time after which it is killed.
        stop: Kills it when set.

    Raises:
        ProbeError: The program cannot be started; nothing is said about any file.
        StoppedError: ``stop`` was set.
    """
    begun = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - an argument tuple, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        message = f"{command[0]} cannot be started to examine a file: {error.strerror}."
        raise ProbeError(message, rerun=Rerun.RESUME) from error
    pipes = _Pipes(process, memoryview(given))
    was_late = was_stopped = False
    try:
        while pipes.are_open and not was_late and not was_stopped:
            pipes.serve()
            was_late = time.monotonic() - begun >= deadline_s
            was_stopped = stop is not None and stop.is_set()
    finally:
        pipes.close()
        cpu_s, peak_bytes = _end(process)
    if was_stopped:
        message = "the examination was stopped before it was done; run it again to go on"
        raise StoppedError(message)
    return Ended(
        exit_code=process.returncode,
        was_late=was_late and process.returncode == -signal.SIGKILL,
        reply=bytes(pipes.taken["stdout"]),
        messages=pipes.taken["stderr"].decode(errors="replace").strip(),
        usage=Usage(wall_s=time.monotonic() - begun, cpu_s=cpu_s, peak_bytes=peak_bytes),
    )


def _end(process: "subprocess.Popen[bytes]") -> tuple[float, int]:
    """Kill and reap; return the seconds of processor time and the peak of memory in bytes.

    A process that closed its pipes by ending keeps its exit code. It is killed all the same, with whatever it has
    started: before it is reaped, its number cannot be another's.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * _MAXRSS_UNIT_BYTES
