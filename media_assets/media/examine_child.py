"""What runs in the child process of ``examine``: limits first, then one file, one answer, and the end.

Started by its path, not as a module, so that nothing but the standard library is loaded before the limits hold;
``examine`` hands over where the parent finds its packages. One JSON object comes in, one goes out:

    in   {"packages": [...], "path": "...", "question": {...}, "memory_bytes": n, "cpu_s": n, "wall_s": n}
    out  {"info": {...}, "problems": [...], "numbers": {...}}  or  {"refused": "why"}

Anything that is not foreseen ends the process with a traceback on standard error, which the parent logs.
"""

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_OPEN_FILES = 32


def set_limits(*, memory_bytes: int, cpu_s: int, wall_s: float) -> None:
    """Limit this process for good: memory, processor time, open files; no writing, no core dump.

    macOS knows RLIMIT_AS but does not enforce it, and may refuse to set it: there only time is limited.
    """
    with contextlib.suppress(OSError, ValueError) if sys.platform == "darwin" else contextlib.nullcontext():
        _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    # A second between the two limits tells by the signal that it was the time.
    _limit(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
    # Only for the case that nobody is there to keep the deadline.
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    present = resource.getrlimit(which)[1]
    ceiling = sys.maxsize if present == resource.RLIM_INFINITY else present
    wanted = soft if hard is None else hard
    resource.setrlimit(which, (min(soft, ceiling), min(wanted, ceiling)))


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Probe and judge one file."""
    from media_assets.errors import ProbeError  # noqa: PLC0415 - only now is it known where the package is
    from media_assets.media.probe import needs_too_much, probe  # noqa: PLC0415
    from media_assets.media.questions import question_from_dict  # noqa: PLC0415

    path = Path(job["path"])
    try:
        info = probe(path)
        verdict = question_from_dict(job["question"]).answer(path, info)
    except ProbeError as error:
        return {"refused": error.message}
    except MemoryError:
        return {"refused": needs_too_much(path)}
    return {"info": info.as_dict(), "problems": verdict.problems, "numbers": verdict.numbers}


def main() -> None:
    """Read the job from standard input, write the answer to standard output."""
    job = json.load(sys.stdin)
    set_limits(memory_bytes=job["memory_bytes"], cpu_s=job["cpu_s"], wall_s=job["wall_s"])
    # Whatever a library prints goes to standard error; the answer has a way of its own.
    reply = os.dup(1)
    os.dup2(2, 1)
    sys.path[:] = job["packages"]
    os.write(reply, json.dumps(answer(job), allow_nan=False).encode())
    sys.stderr.flush()
    # Tearing down the libraries would take longer than many a file.
    os._exit(0)


if __name__ == "__main__":
    main()
