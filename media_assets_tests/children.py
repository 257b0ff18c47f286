"""Child processes for tests that kill and race: forked by a helper that has imported everything and opened nothing.

So a crash costs a tenth of a second instead of three, and a race is one. Run as a module, this file is that helper.
"""

import contextlib
import gc
import importlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run
from typing import Any, NoReturn

from media_assets.providers.transport.wire import make_client

_MEETING_DEADLINE_S = 20
_LOOK_AGAIN_S = 0.01
_IMPORTED_BEFORE_FORKING = (
    "alembic.command",
    "alembic.autogenerate",
    "anyio._backends._asyncio",
    "encodings.idna",
    "httpcore",
    "media_assets_tests.making",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlalchemy.dialects.sqlite",
)
"""What every child would otherwise import by itself, when it opens a ledger or sends something."""


@dataclass(frozen=True)
class Child:
    """One process: a function by name, its arguments (JSON), and what is set in its environment.

    If it stops (SIGSTOP), the next one of its chain begins; it goes on when that one has ended.
    """

    call: str
    """``module:function``; what it returns must be JSON."""
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    longest_stop_s: float = 60
    """It goes on after so many seconds at the latest."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal that killed it), and what it returned."""

    exit_code: int
    value: Any
    was_stopped: bool
    was_overtaken: bool
    """Whether the next one of its chain began and ended while it was stopped."""

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.exit_code == -signal.SIGKILL


def run_children(chains: Sequence[Sequence[Child]], *, at_once: int, deadline_s: float = 500) -> list[list[Ended]]:
    """Run chains of children, the children of one chain one after the other.

    Args:
        chains: Which children.
        at_once: How many chains run at the same time; as many as there are chains makes a race of them.
        deadline_s: Seconds for everything; then all are killed, and it fails.
    """
    plan = {
        "chains": [
            [[child.call, dict(child.arguments), dict(child.environment), child.longest_stop_s] for child in one]
            for one in chains
        ],
        "at_once": at_once,
        "deadline_s": deadline_s,
    }
    helper = run(
        [sys.executable, "-m", __name__],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=deadline_s + 30,
        check=False,
        # One thread, so that forking is safe.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert helper.returncode == 0, helper.stderr
    sys.stderr.write(helper.stderr)
    return [[Ended(*ended) for ended in chain] for chain in json.loads(helper.stdout)]


def race(call: str, each: Sequence[Mapping[str, Any]], *, deadline_s: float = 500) -> list[Any]:
    """Run one child for each set of arguments, all at the same time; return what they returned."""
    ended = run_children([[Child(call, arguments)] for arguments in each], at_once=len(each), deadline_s=deadline_s)
    assert [one.exit_code for (one,) in ended] == [0] * len(each)
    return [one.value for (one,) in ended]


def meet(folder: Path, name: str, together: int) -> None:
    """In a child: wait until as many as ``together`` have come to this meeting."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    give_up = time.monotonic() + _MEETING_DEADLINE_S
    while len(list(folder.iterdir())) < together and time.monotonic() < give_up:
        time.sleep(0.002)


@dataclass
class _Running:
    """A child that has not ended."""

    chain: int
    nth: int
    reply: Path
    longest_stop_s: float
    goes_on_at: float | None = None
    """When a stopped one goes on at the latest; None: it is not stopped."""
    was_stopped: bool = False
    was_overtaken: bool = False


class _Helper:
    """Forks the children of a plan, at most so many chains at the same time; the first ones start at once."""

    def __init__(self, folder: Path, chains: list[list[list[Any]]]) -> None:
        self._folder = folder
        self._chains = chains
        self._ended: list[dict[int, tuple[Any, ...]]] = [{} for _ in chains]
        self._gate, self._gatekeeper = os.pipe()
        self._running: dict[int, _Running] = {}
        self._is_late = False

    def run(self, at_once: int, deadline_s: float) -> list[list[tuple[Any, ...]]]:
        """Return how every child of every chain ended."""
        signal.signal(signal.SIGALRM, self._end_all)
        signal.setitimer(signal.ITIMER_REAL, deadline_s)
        waiting = list(range(len(self._chains)))
        for first in waiting[:at_once]:
            self._start(first)
        del waiting[:at_once]
        os.close(self._gatekeeper)
        self._gatekeeper = -1
        while self._running:
            number = self._next_event()
            if number is None or self._is_late or any(self._at_work(number)):
                continue
            if self._count_started(number) < len(self._chains[number]):
                self._start(number)
            elif waiting and not any(one.chain == number for one in self._running.values()):
                self._start(waiting.pop(0))
        assert not self._is_late, f"not everything had ended after {deadline_s:g} s"
        return [[ended[nth] for nth in sorted(ended)] for ended in self._ended]

    def _next_event(self) -> int | None:
        """Wait until a child stops or ends, and return its chain; None: nothing happened for a moment."""
        stopped = {pid: one for pid, one in self._running.items() if one.goes_on_at is not None}
        pid, status = os.waitpid(-1, os.WUNTRACED | (os.WNOHANG if stopped else 0))
        for other, one in stopped.items():
            if one.goes_on_at is not None and time.monotonic() >= one.goes_on_at:
                self._let_go_on(other)
        if pid == 0:
            time.sleep(_LOOK_AGAIN_S)
            return None
        if os.WIFSTOPPED(status):
            one = self._running[pid]
            one.was_stopped, one.goes_on_at = True, time.monotonic() + one.longest_stop_s
            return one.chain
        one = self._running.pop(pid)
        value = json.loads(one.reply.read_text()) if one.reply.exists() else None
        ended = (os.waitstatus_to_exitcode(status), value, one.was_stopped, one.was_overtaken)
        self._ended[one.chain][one.nth] = ended
        for other, before in stopped.items():
            if before.chain == one.chain and before.goes_on_at is not None:
                before.was_overtaken = True
                self._let_go_on(other)
        return one.chain

    def _let_go_on(self, pid: int) -> None:
        self._running[pid].goes_on_at = None
        os.kill(pid, signal.SIGCONT)

    def _at_work(self, number: int) -> list[_Running]:
        return [one for one in self._running.values() if one.chain == number and one.goes_on_at is None]

    def _count_started(self, number: int) -> int:
        return len(self._ended[number]) + sum(one.chain == number for one in self._running.values())

    def _end_all(self, *_: object) -> None:
        self._is_late = True
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _start(self, number: int) -> None:
        nth = self._count_started(number)
        *child, longest_stop_s = self._chains[number][nth]
        reply = self._folder / secrets.token_hex(8)
        pid = os.fork()
        if pid == 0:
            if self._gatekeeper >= 0:
                os.close(self._gatekeeper)
            os.read(self._gate, 1)  # returns when the helper has forked everybody and closed its end
            _be(*child, reply=reply)
        self._running[pid] = _Running(number, nth, reply, longest_stop_s)


def _be(call: str, arguments: Mapping[str, Any], environment: Mapping[str, str], *, reply: Path) -> NoReturn:
    exit_code = 1
    try:
        os.environ.update(environment)
        module, _, name = call.partition(":")
        value = getattr(importlib.import_module(module), name)(**arguments)
        reply.write_text(json.dumps(value))
        exit_code = 0
    except BaseException:  # noqa: BLE001 - the child ends here whatever happened, and its code says so
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(exit_code)


def _help() -> None:
    plan = json.load(sys.stdin)
    called = {call.partition(":")[0] for chain in plan["chains"] for call, *_ in chain}
    for module in (*_IMPORTED_BEFORE_FORKING, *called):
        importlib.import_module(module)
    make_client()  # reads the certificates, once
    gc.freeze()  # a collection in a child would copy all that was imported
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_Helper(Path(folder), plan["chains"]).run(plan["at_once"], plan["deadline_s"])))


if __name__ == "__main__":
    _help()
