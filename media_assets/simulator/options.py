"""What one simulator is started with. Times are virtual seconds throughout: ``clock.py`` says how they pass."""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from media_assets.errors import ConfigurationError

PROVIDERS: Final = ("replicate", "fal", "openai", "elevenlabs")
"""Whose APIs are spoken."""

DEFAULT_RUN_S: Final[Mapping[str, tuple[float, float]]] = {
    "picture": (0.2, 0.6),
    "voice": (0.2, 0.6),
    "clip": (0.5, 1.5),
}
"""From and to, virtual seconds a run takes, by what is made; far shorter than real models, so that tests are quick."""

DEFAULT_AT_ONCE: Final[Mapping[str, int]] = {"replicate": 100, "fal": 10, "openai": 5, "elevenlabs": 5}
"""How many predictions of one provider run at the same time. Replicate states no such limit: 100 is our choice."""

_MOST_PORTS: Final = 65_535


@dataclass(frozen=True, kw_only=True)
class SimulatorOptions:
    """How one simulator behaves.

    Raises:
        ConfigurationError: A value cannot be used; the message names the option.
    """

    host: str = "127.0.0.1"
    """Only this machine: an address on a network would let others run up a bill, if only a simulated one."""
    port: int = 0
    """0 lets the system choose a free one."""
    seed: int = 0
    """Decides latencies, chance faults and what the media look like."""
    time_scale: float = 1.0
    """Virtual seconds that pass in one real second."""
    latency_s: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By provider, from and to: how long its runs take. Others take ``DEFAULT_RUN_S``."""
    at_once: Mapping[str, int] = field(default_factory=dict)
    """By provider: how many predictions run at the same time. Others take ``DEFAULT_AT_ONCE``."""
    replicate_creates_per_min: int = 600
    """Replicate refuses more with 429. Source: Replicate's documentation of rate limits, read 2026-11-22."""
    faults: Sequence[Mapping[str, Any]] = ()
    """Rules of ``faults.py`` that hold from the start."""
    state_dir: Path | None = None
    """Where the log of submissions goes; a folder that is removed at the end when not given."""

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ConfigurationError("\n".join(f"simulator option {problem}." for problem in problems))

    def _problems(self) -> Iterator[str]:
        if not _is_loopback(self.host):
            yield f"host: {self.host!r} is not an address of this machine alone, such as 127.0.0.1"
        if not 0 <= self.port <= _MOST_PORTS:
            yield f"port: {self.port} is not between 0 and {_MOST_PORTS}"
        if not 0 < self.time_scale < float("inf"):
            yield f"time_scale: {self.time_scale} is not above 0"
        if self.replicate_creates_per_min < 1:
            yield f"replicate_creates_per_min: {self.replicate_creates_per_min} is not above 0"
        yield from self._table_problems()

    def _table_problems(self) -> Iterator[str]:
        for name, table in (("latency_s", self.latency_s), ("at_once", self.at_once)):
            for provider in sorted(set(table) - set(PROVIDERS)):
                yield f"{name}: {provider!r} is none of {', '.join(PROVIDERS)}"
        for provider, (low_s, high_s) in self.latency_s.items():
            if not 0 <= low_s <= high_s < float("inf"):
                yield f"latency_s: {provider}={low_s:g}..{high_s:g} is no range of seconds"
        for provider, count in self.at_once.items():
            if count < 1:
                yield f"at_once: {provider}={count} is not above 0"

    def run_range_s(self, provider: str, kind: str) -> tuple[float, float]:
        """Return from and to, virtual seconds, for a run of ``picture``, ``clip`` or ``voice``."""
        return self.latency_s.get(provider, DEFAULT_RUN_S[kind])

    def limit_at_once(self, provider: str) -> int:
        """Return how many predictions of a provider run at the same time."""
        return self.at_once.get(provider, DEFAULT_AT_ONCE[provider])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
