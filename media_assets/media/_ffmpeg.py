"""The only place that starts a process: one ffmpeg call, with a deadline and nothing left behind.

Does not belong here: what to ask ffmpeg for. Callers pass an argument list (graphs are built with ffmpeg-python)
whose file names are absolute; user text never enters it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import imageio_ffmpeg

from media_assets.errors import FfmpegError
from media_assets.media.work import Work

THREADS = 2
"""Fixed, because x264's output bytes depend on the number of threads (measured 2026-11-22)."""

INPUT_OPTIONS = {"protocol_whitelist": "file,pipe", "threads": THREADS}
"""For every input: no network protocol may be opened, whatever the file says it is."""

_POLL_S = 0.02
_TAIL_CHARACTERS = 2000


@lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """Return the ffmpeg to run: ``MEDIA_ASSETS_FFMPEG``, else PATH's, else the one in the imageio-ffmpeg wheel."""
    named = os.environ.get("MEDIA_ASSETS_FFMPEG")
    if named:
        found = shutil.which(named)
        if found is None:
            message = f"MEDIA_ASSETS_FFMPEG is {named!r}: no such program. Correct it or unset it."
            raise FfmpegError(message)
        # Not resolved: programs such as a snap's are links that act by the name they are called by.
        return str(Path(found).absolute())
    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()


def graph_input(path: Path, *, demuxer: str, **options: str | int) -> Any:
    """Return ffmpeg-python's node for a file, whose type is forced and which can open no other file.

    Args:
        path: Made absolute, so that no name can be taken for an option or a protocol.
        demuxer: libav's name for the file's sniffed type.
        **options: More input options.
    """
    import ffmpeg  # noqa: PLC0415 - ffmpeg-python costs 40 ms to import

    return ffmpeg.input(str(path.absolute()), format=demuxer, **INPUT_OPTIONS, **options)


def graph_silence(sample_rate_hz: int) -> Any:
    """Return ffmpeg-python's node for endless stereo silence."""
    import ffmpeg  # noqa: PLC0415 - ffmpeg-python costs 40 ms to import

    source = f"anullsrc=channel_layout=stereo:sample_rate={sample_rate_hz}"
    return ffmpeg.input(source, format="lavfi")


def graph_arguments(streams: Sequence[Any], target: Path | None, options: Mapping[str, str | int | None]) -> list[str]:
    """Compile a graph for :func:`run_ffmpeg`.

    Args:
        streams: What ends up in the file, in this order.
        target: The file, whatever its name; None to run the graph only for what it reports.
        options: Output options without their dash; None as a value makes a flag.
    """
    import ffmpeg  # noqa: PLC0415 - ffmpeg-python costs 40 ms to import

    name = "pipe:" if target is None else str(target.absolute())
    arguments: list[str] = ffmpeg.get_args(ffmpeg.output(*streams, name, **options))
    return arguments


def run_ffmpeg(
    arguments: Sequence[str],
    *,
    deadline_s: float,
    work: Work,
    feed: Iterable[bytes | memoryview] | None = None,
) -> str:
    """Run one ffmpeg call to its end.

    Args:
        arguments: Everything after the global options; the inputs carry ``INPUT_OPTIONS``.
        deadline_s: Seconds of wall time after which the whole process group is killed.
        work: ffmpeg's messages go to a file in ``work.scratch``; ``work.stop`` ends the call.
        feed: Blocks for ffmpeg's standard input, which is closed when there are none.

    Returns:
        What ffmpeg wrote to standard error (at the ``error`` level, or at what ``-loglevel`` asks for).

    Raises:
        FfmpegError: The exit code was not 0, or the deadline passed.
        StoppedError: ``work.stop`` was set.
    """
    command = [
        ffmpeg_path(),
        "-nostdin",
        "-hide_banner",
        "-loglevel",
        "error",
        "-y",
        "-filter_threads",
        str(THREADS),
        "-filter_complex_threads",
        str(THREADS),
        *arguments,
    ]
    log_path = work.scratch / f"ffmpeg-{time.monotonic_ns()}.log"
    ends_at = time.monotonic() + deadline_s
    with log_path.open("wb") as log:
        # A session of its own, so that ffmpeg and whatever it starts can be killed together.
        try:
            process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
                command,
                stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            message = f"{command[0]} cannot be started: {error.strerror}. Is it an ffmpeg program?"
            raise FfmpegError(message, command=command) from error
        try:
            if feed is not None:
                _pour(process, feed, work, ends_at)
            exit_code = _wait(process, work, ends_at)
        finally:
            _end(process)
    messages = log_path.read_text(errors="replace")
    log_path.unlink()
    if exit_code is None:
        message = f"ffmpeg was killed after its deadline of {deadline_s:g} s. Is the machine overloaded?"
        raise FfmpegError(message, command=command, stderr_tail=messages[-_TAIL_CHARACTERS:])
    if exit_code != 0:
        message = f"ffmpeg failed with exit code {exit_code}: {messages[-_TAIL_CHARACTERS:].strip() or 'no message'}"
        raise FfmpegError(message, command=command, exit_code=exit_code, stderr_tail=messages[-_TAIL_CHARACTERS:])
    return messages


def ffmpeg_says(arguments: Sequence[str], *, deadline_s: float) -> str:
    """Return what ffmpeg prints about itself, for example with ``-version``.

    Raises:
        FfmpegError: It cannot be started, failed, or passed its deadline.
    """
    command = [ffmpeg_path(), "-nostdin", "-hide_banner", *arguments]
    try:
        ended = subprocess.run(  # noqa: S603 - an argument list, no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=deadline_s, check=False
        )
    except OSError as error:
        message = f"{command[0]} cannot be started: {error.strerror}. Is it an ffmpeg program?"
        raise FfmpegError(message, command=command) from error
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} said nothing within {deadline_s:g} s. Is it an ffmpeg program?"
        raise FfmpegError(message, command=command) from error
    if ended.returncode != 0:
        tail = ended.stderr.decode(errors="replace")[-_TAIL_CHARACTERS:]
        message = f"{command[0]} failed with exit code {ended.returncode}: {tail.strip() or 'no message'}"
        raise FfmpegError(message, command=command, exit_code=ended.returncode, stderr_tail=tail)
    return ended.stdout.decode(errors="replace")


def _pour(
    process: subprocess.Popen[bytes],
    feed: Iterable[bytes | memoryview],
    work: Work,
    ends_at: float,
) -> None:
    stream: IO[bytes] | None = process.stdin
    if stream is None:  # pragma: no cover - Popen was asked for a pipe
        return
    # Without blocking, a stuck ffmpeg cannot hold the writer past the deadline.
    os.set_blocking(stream.fileno(), False)
    # ffmpeg may stop reading early (an error, or enough frames); its exit code tells which.
    with contextlib.suppress(BrokenPipeError):
        for block in feed:
            left = memoryview(block).cast("B")
            while left:
                work.check()
                if time.monotonic() > ends_at or process.poll() is not None:
                    return
                try:
                    left = left[os.write(stream.fileno(), left) :]
                except BlockingIOError:
                    time.sleep(_POLL_S / 10)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def _wait(process: subprocess.Popen[bytes], work: Work, ends_at: float) -> int | None:
    """Return the exit code, or None when the deadline passed."""
    while time.monotonic() < ends_at:
        try:
            return process.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            work.check()
    return process.poll()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    process.wait()
