"""The fake provider's side: what it accepted, how that goes on as time passes, what it bills, what its lists show.

It is the ground truth. Nothing that happens to our processes changes what it has accepted.
"""

import json
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from media_assets.prediction import State
from media_assets_tests.simulation.adapters import PRICE_MICRO_USD, QUEUE_S, RUN_S

LONGEST_ARRIVAL_S = 20.0
"""How long a submission is on its way at most."""
LONGEST_LAG_S = 60.0
"""How late a list shows what it is to show at most; with the way, less than ``settle_lag_s``."""
INPUT_KEPT_S = 3600.0
"""How long after its end a list shows what a prediction was asked for, as Replicate's."""


@dataclass(kw_only=True)
class Weather:
    """What goes wrong, as probabilities; drawn anew for each schedule, so that each is bad in its own way."""

    submit: Mapping[str, float] = field(default_factory=dict)
    """Faults of a submission, by name; the rest goes well."""
    ask: float = 0.0
    """That a question is not answered."""
    listing: float = 0.0
    """That a list cannot be read to its end."""
    download: float = 0.0
    lag: float = 0.0
    """That a list is late."""
    slow: float = 0.0
    """That a prediction waits longer than its deadline, where the provider lists what waits."""
    fails_billed: float = 0.0
    fails_free: float = 0.0
    bad: float = 0.0
    """That what was made is not good enough."""
    expires: float = 0.0
    """That an output is gone soon after its end."""
    forgets: float = 0.0
    """That a prediction is not known any more soon after its end."""
    hidden: float = 0.0
    """That a prediction is not known for a moment after its submission."""


SUBMIT_FAULTS = (
    "unreachable",
    "never arrives",
    "reply lost",
    "no reply",
    "429",
    "422",
    "500 unaccepted",
    "500 accepted",
    "garbage",
)
LOST = frozenset({"never arrives", "reply lost", "no reply", "500 unaccepted", "500 accepted", "garbage"})
"""Those after which nobody here knows what came of it."""

_WORST = ("reply lost", "no reply", "500 accepted", "garbage")
"""Those of them that cost money."""


def draw_weather(rng: random.Random) -> Weather:
    """Return the weather of one schedule: often fair, often foul in few ways."""

    def some(most: float, often: float = 0.4) -> float:
        return rng.uniform(0, most) if rng.random() < often else 0.0

    faults = (
        rng.sample(_WORST, rng.randint(1, 2)) if rng.random() < 0.3 else rng.sample(SUBMIT_FAULTS, rng.randint(0, 4))
    )
    share = rng.uniform(0.2, 0.9) / max(len(faults), 1)
    return Weather(
        submit=dict.fromkeys(faults, share),
        ask=some(0.4),
        listing=some(0.5, 0.2),
        download=some(0.4),
        lag=some(1.0, 0.6),
        slow=some(0.6, 0.2),
        fails_billed=some(0.6, 0.25),
        fails_free=some(0.5, 0.2),
        bad=some(0.5, 0.15),
        expires=some(0.6, 0.25),
        forgets=some(0.8, 0.3),
        hidden=some(0.8, 0.3),
    )


@dataclass(kw_only=True)
class Job:
    """One submission that was accepted."""

    id: str
    provider: str
    key: str
    """The request key that it was sent for."""
    params: Mapping[str, Any]
    accepted_s: float
    queue_s: float
    run_s: float
    ending: State
    billed: bool
    """Whether it is billed if it is left alone."""
    is_bad: bool
    lag_s: float
    hidden_s: float
    expires_s: float
    forgotten_s: float
    canceled: State | None = None
    canceled_s: float = 0.0

    @property
    def ends_s(self) -> float:
        """When it ends."""
        return self.canceled_s if self.canceled is not None else self.accepted_s + self.queue_s + self.run_s

    def state(self, now: float) -> State:
        """Return how it stands."""
        if now >= self.ends_s:
            return self.canceled or self.ending
        return State.QUEUED if now < self.accepted_s + self.queue_s else State.RUNNING

    @property
    def cost_micro_usd(self) -> int:
        """What is billed for it in the end."""
        return PRICE_MICRO_USD if self.billed else 0

    @property
    def content(self) -> bytes:
        """The bytes of its output."""
        return f"{'bad' if self.is_bad else 'good'} {self.params['number']} {self.id}".encode()

    def as_json(self, now: float, *, inline: bool) -> dict[str, Any]:
        """Return it as the provider tells of it."""
        state = self.state(now)
        told: dict[str, Any] = {"id": self.id, "state": str(state), "billed": self.billed}
        if state is State.SUCCEEDED:
            output = {"data": self.content.decode()} if inline else {"output": f"https://{self.provider}/{self.id}"}
            told |= output
        return told


class Provider:
    """All simulated providers, and what they accepted."""

    def __init__(self, rng: random.Random, weather: Weather, now: Callable[[], float]) -> None:
        self.rng = rng
        self.weather = weather
        self._now = now
        self.jobs: dict[str, Job] = {}
        self.under_way: list[str] = []
        """Keys of submissions that left a process and have not arrived."""
        self.posts = 0
        self.downloads = 0
        self.questions = 0

    def chance(self, probability: float) -> bool:
        """Whether something happens now."""
        return probability > 0 and self.rng.random() < probability

    def submit_fault(self) -> str:
        """Return what goes wrong with a submission; empty: nothing."""
        drawn = self.rng.random()
        for name, probability in self.weather.submit.items():
            if drawn < probability:
                return name
            drawn -= probability
        return ""

    def accept(self, provider: str, key: str, params: Mapping[str, Any]) -> Job:
        """Take a submission in; from here on it may cost money."""
        rng, weather = self.rng, self.weather
        is_slow = provider in {"shows", "hides"} and self.chance(weather.slow)
        queue_s = rng.uniform(QUEUE_S, 5 * QUEUE_S) if is_slow else rng.choice((0.0, rng.uniform(0, 0.9 * QUEUE_S)))
        ending, billed = State.SUCCEEDED, True
        if self.chance(weather.fails_billed):
            ending = State.FAILED
        elif self.chance(weather.fails_free):
            ending, billed = State.FAILED, False
        job = Job(
            id=f"j{len(self.jobs) + 1}",
            provider=provider,
            key=key,
            params=params,
            accepted_s=self._now(),
            queue_s=0.0 if provider == "once" else queue_s,
            run_s=rng.uniform(0, 0.8 * (QUEUE_S if is_slow else RUN_S)) if provider == "hides" else rng.uniform(0, 50),
            ending=ending,
            billed=billed,
            is_bad=self.chance(weather.bad),
            lag_s=rng.uniform(0, LONGEST_LAG_S) if self.chance(weather.lag) else 0.0,
            hidden_s=rng.choice((rng.uniform(0, 40), rng.uniform(40, 200))) if self.chance(weather.hidden) else 0.0,
            expires_s=rng.uniform(0, 600) if self.chance(weather.expires) else 1e12,
            forgotten_s=rng.uniform(0, 600) if self.chance(weather.forgets) else 1e12,
        )
        self.jobs[job.id] = job
        return job

    def of(self, keys: Collection[str]) -> list[Job]:
        """Return what was accepted for some requests."""
        return [job for job in self.jobs.values() if job.key in keys]

    def knows(self, job: Job) -> bool:
        """Whether a question about it is answered."""
        now = self._now()
        return job.accepted_s + job.hidden_s <= now < job.ends_s + job.forgotten_s

    def cancel(self, job: Job) -> None:
        """Take note of a request to cancel, which may come too late: free before it runs, billed while it does."""
        now = self._now()
        state = job.state(now)
        if not state.is_final and self.chance(0.6):
            job.billed = state is State.RUNNING
            job.canceled, job.canceled_s = State.CANCELED, now

    def listed(self, provider: str) -> Iterator[dict[str, Any]]:
        """Yield what its list shows now."""
        now = self._now()
        for job in self.jobs.values():
            since = job.accepted_s if provider == "shows" else job.ends_s
            if job.provider == provider and since + job.lag_s <= now:
                is_shown = now < job.ends_s + INPUT_KEPT_S
                yield {"id": job.id, "input": dict(job.params) if is_shown else None, "ended": now >= job.ends_s}

    def rest(self) -> None:
        """Let nothing go wrong any more."""
        self.weather = Weather()


def body_of(told: Any) -> bytes:
    """Return a reply's body."""
    return json.dumps(told).encode()
