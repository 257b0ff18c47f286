"""Talking to a running simulator as any HTTP client would, for the tests of the synchronous providers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from media_assets.simulator.options import SimulatorOptions
from media_assets.simulator.server import Simulator, running_simulator

QUICK = 200.0
"""Virtual seconds in a real one: runs take a few milliseconds."""


@dataclass
class Asking:
    """A simulator, and a client that begins every path with a prefix; counts begin at the last ``begin``."""

    simulator: Simulator
    client: httpx.Client
    _submissions_before: int = 0
    _posts_before: int = 0

    def begin(self) -> None:
        """Forget the faults and the counts of the test before: a simulator is shared, because its end takes 0.2 s."""
        self.client.put(f"{self.simulator.url}/_sim/faults", json=[]).raise_for_status()
        self._submissions_before += len(self.submissions())
        self._posts_before += self.posts()

    def fault(self, name: str, **more: Any) -> None:
        """Put one fault rule in force, instead of all others."""
        reply = self.client.put(f"{self.simulator.url}/_sim/faults", json=[{"fault": name, **more}])
        assert reply.status_code == 200, reply.text

    def advance(self, skip_s: float) -> None:
        """Let virtual time pass."""
        self.client.post(f"{self.simulator.url}/_sim/clock", json={"advance_s": skip_s}).raise_for_status()

    def submissions(self) -> list[dict[str, Any]]:
        """Return what has been accepted."""
        found: list[dict[str, Any]] = self._control("submissions")["submissions"]
        return found[self._submissions_before :]

    def billed(self) -> list[dict[str, str]]:
        """Return the lines of the bill."""
        lines: list[dict[str, str]] = self._control("bill")["lines"]
        return lines[self._submissions_before :]

    def owed_usd(self) -> Decimal:
        """Return the sum of the lines."""
        return sum((Decimal(line["usd"]) for line in self.billed()), Decimal(0))

    def posts(self) -> int:
        """Return how many POSTs have come to the providers, refused ones too."""
        kinds: list[dict[str, Any]] = self._control("requests")["requests"]
        count: int = sum(kind["count"] for kind in kinds if kind["method"] == "POST")
        return count - self._posts_before

    def _control(self, what: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get(f"{self.simulator.url}/_sim/{what}").raise_for_status().json()
        return answer


@contextmanager
def asking(prefix: str, headers: Mapping[str, str], **options: Any) -> Iterator[Asking]:
    """Run a simulator and open a client for one provider's API."""
    given = SimulatorOptions(**{"time_scale": QUICK, "seed": 7, **options})
    with (
        running_simulator(given) as simulator,
        httpx.Client(base_url=simulator.url + prefix, headers=dict(headers), timeout=20) as client,
    ):
        yield Asking(simulator, client)
