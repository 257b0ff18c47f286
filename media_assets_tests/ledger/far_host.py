"""A process on another host, as far as the ledger can tell: it does one thing of the protocol at a time, when told.

Run as a module, this file is that process.
"""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, Self

from media_assets.catalog import Recovery
from media_assets.errors import MediaAssetsError, RateLimitedError
from media_assets.ledger import Ledger, clock, database_time, open_ledger
from media_assets.ledger.claims import Busy, Claim, Settlement
from media_assets.ledger.hosts import Host
from media_assets.ledger.ownership import OwnershipOptions
from media_assets.ledger.rows import PurchaseRow
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets.request import GenerationRequest

# Not from the rooms that make films: such a process is started for every test.
REQUEST = GenerationRequest(
    step=Step.IMAGE, provider="testing", model="testing:any", endpoint="any", version="1", params={"seed": 7}
)
"""A request of nobody's."""
PREDICTION = Prediction(id="p-1", state=State.SUCCEEDED)


def owned_by(host: str, *, lease_s: float = 0.9, quarantine_s: float = 0.5) -> OwnershipOptions:
    """Return the options of a process on a host of this name."""
    return OwnershipOptions(lease_s=lease_s, quarantine_s=quarantine_s, host=Host(host, host) if host else None)


def claim(ledger: Ledger, recovery: Recovery = Recovery.NONE, *, take: int = 0) -> Claim | Busy | PurchaseRow:
    """Claim a request of nobody's."""
    request = replace(REQUEST, take=take)
    return ledger.purchases.claim(request, recovery=recovery, prompt_key="a", plan_id="p", estimate_micro_usd=1_000_000)


class FarHost:
    """The process, seen from here."""

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.owner: str = self._answer()

    def tell(self, what: str, *arguments: Any) -> Any:
        """Have it do something; return what it says."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([what, *arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def pause(self) -> None:
        """Stop it where it stands."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def far_host(home: Path, url: str, options: OwnershipOptions, *, clock_off_days: int = 0) -> Iterator[FarHost]:
    """Start a process with a home of its own, and a clock that is off by so much."""
    host = options.host.name if options.host else ""
    arguments = [str(home), url, host, str(options.lease_s), str(options.quarantine_s), str(clock_off_days)]
    with Popen([sys.executable, "-m", __name__, *arguments], stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield FarHost(process)
        finally:
            process.kill()


class _Process:
    """What the process does, by the name of what it is told."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._claim: Claim | None = None
        self._token = ""

    @property
    def _held(self) -> Claim:
        assert self._claim is not None
        return self._claim

    def claim(self, recovery: str) -> str:
        found = claim(self._ledger, Recovery(recovery))
        if isinstance(found, Claim):
            self._claim = found
        return type(found).__name__

    def write_intent(self, within_s: float) -> None:
        self._token = self._ledger.purchases.write_intent(self._held, within_s=within_s)

    def write_submitted(self) -> None:
        self._ledger.purchases.write_submitted(self._held, self._token, PREDICTION)

    def write_done(self) -> None:
        self._ledger.purchases.write_done(self._held, PREDICTION, Settlement(cost_micro_usd=1_000_000))

    def require_alive(self) -> None:
        self._ledger.owner.require_alive()

    def fork(self) -> int:
        """Leave a child behind, which does nothing but live on."""
        child = os.fork()
        if child == 0:
            os.close(0)
            signal.pause()
        return child

    def fork_and_use(self) -> tuple[str, bool]:
        """Let a child use what its parent opened; return what it was told, and whether it was on its connection."""
        mine = self._backend()
        reading, writing = os.pipe()
        if os.fork() == 0:
            said, its = "nothing", 0
            try:
                its = self._backend()
                self._ledger.owner.require_alive()
            except BaseException as error:  # noqa: BLE001 - the child ends here, whatever it was
                said = f"{type(error).__name__}: {error}"
            finally:
                os.write(writing, json.dumps([said, its == mine]).encode())
                os._exit(0)
        os.wait()
        said, same = json.loads(os.read(reading, 1000))
        return said, same

    def _backend(self) -> int:
        with self._ledger.database.read() as connection:
            return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    def pause_submissions(self, seconds: float) -> None:
        """Let the provider have asked for a pause."""
        token = self._ledger.purchases.write_intent(self._held)
        self._ledger.purchases.write_put_back(self._held, token, RateLimitedError("slowly"), block_s=seconds)


def _as_if_it_were(days_off: float) -> None:
    """Let this process have another idea of the time than everybody else has."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            real = datetime.now(tz) + timedelta(days=days_off)
            return cls.fromtimestamp(real.timestamp(), tz)

    for module in (clock, database_time):
        vars(module)["datetime"] = Wrong


def _be(home: str, url: str, host: str, *numbers: str) -> None:
    lease_s, quarantine_s, clock_off_days = map(float, numbers)
    _as_if_it_were(clock_off_days)
    options = owned_by(host, lease_s=lease_s, quarantine_s=quarantine_s)
    with open_ledger(Path(home), url, options) as ledger:
        process = _Process(ledger)
        _say(ledger.owner.id)
        for line in sys.stdin:
            what, *arguments = json.loads(line)
            do: Callable[..., Any] = getattr(process, what)
            try:
                _say(do(*arguments))
            except MediaAssetsError as error:
                _say(type(error).__name__)


def _say(value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    _be(*sys.argv[1:])
