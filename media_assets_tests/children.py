"""Child processes for tests that kill and race: forked by a helper that has imported everything and opened nothing.

So a crash costs half a second instead of three, and a race is one. Run as a module, this file is that helper.
"""

import gc
import importlib
import json
import os
import secrets
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
    """One process: a function by name, its arguments (JSON), and what is set in its environment."""

    call: str
    """``module:function``; what it returns must be JSON."""
    arguments: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal that killed it), and what it returned."""

    exit_code: int
    value: Any

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.exit_code == -9


def run_children(chains: Sequence[Sequence[Child]], *, at_once: int, deadline_s: float = 120) -> list[list[Ended]]:
    """Run chains of children, the children of one chain one after the other.

    Args:
        chains: Which children.
        at_once: How many chains run at the same time; as many as there are chains makes a race of them.
        deadline_s: Seconds for everything.
    """
    plan = {
        "chains": [[[child.call, dict(child.arguments), dict(child.environment)] for child in one] for one in chains],
        "at_once": at_once,
    }
    helper = run(
        [sys.executable, "-m", __name__],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
        # One thread, so that forking is safe.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert helper.returncode == 0, helper.stderr
    sys.stderr.write(helper.stderr)
    return [[Ended(*ended) for ended in chain] for chain in json.loads(helper.stdout)]


def race(call: str, each: Sequence[Mapping[str, Any]], *, deadline_s: float = 120) -> list[Any]:
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


class _Helper:
    """Forks the children of a plan, at most so many at the same time; the first ones start at the same moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gate, self._gatekeeper = os.pipe()
        self._running: dict[int, tuple[int, Path]] = {}

    def run(self, chains: list[list[list[Any]]], at_once: int) -> list[list[tuple[int, Any]]]:
        """Return how every child of every chain ended."""
        ended: list[list[tuple[int, Any]]] = [[] for _ in chains]
        waiting = list(range(len(chains)))
        for number in waiting[:at_once]:
            self._start(number, chains[number][0])
        del waiting[:at_once]
        os.close(self._gatekeeper)
        self._gatekeeper = -1
        while self._running:
            pid, status = os.wait()
            number, reply = self._running.pop(pid)
            value = json.loads(reply.read_text()) if reply.exists() else None
            ended[number].append((os.waitstatus_to_exitcode(status), value))
            if len(ended[number]) < len(chains[number]):
                self._start(number, chains[number][len(ended[number])])
            elif waiting:
                following = waiting.pop(0)
                self._start(following, chains[following][0])
        return ended

    def _start(self, number: int, child: list[Any]) -> None:
        reply = self._folder / secrets.token_hex(8)
        pid = os.fork()
        if pid == 0:
            if self._gatekeeper >= 0:
                os.close(self._gatekeeper)
            os.read(self._gate, 1)  # returns when the helper has forked everybody and closed its end
            _be(*child, reply=reply)
        self._running[pid] = (number, reply)


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
        print(json.dumps(_Helper(Path(folder)).run(plan["chains"], plan["at_once"])))


if __name__ == "__main__":
    _help()
