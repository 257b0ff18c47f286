"""The physics of a provider's queue: who waits, who runs, and how it ends, worked out from the clock.

Nothing runs in the background. ``settle`` replays, in order, whatever has become due since it was last called.
"""

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from media_assets.simulator.clock import Clock

NEVER = float("inf")


class JobState(StrEnum):
    """How a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    """Ended while it ran, or by a cancel before."""
    ABORTED = "aborted"
    """Its time was up before it started."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


@dataclass(kw_only=True)
class Job:
    """One prediction in the queue. Times are virtual seconds since the simulator's start."""

    id: str
    model: str
    number: int
    """Of its submission in the log."""
    data: Any
    """What the provider's own module keeps about it."""
    created_s: float
    run_s: float
    """How long it runs; ``NEVER`` for one that is stuck."""
    ending: JobState = JobState.SUCCEEDED
    """How it ends when its run is over."""
    never_starts: bool = False
    start_by_s: float = NEVER
    """Aborted when it has not started by then."""
    end_by_s: float = NEVER
    """Canceled, or aborted where it has not started, when it has not ended by then."""
    state: JobState = JobState.QUEUED
    started_s: float | None = None
    finished_s: float | None = None
    by_user: bool = False
    """Whether a cancel ended it, not a deadline."""

    @property
    def compute_s(self) -> float:
        """Virtual seconds that it ran."""
        if self.started_s is None or self.finished_s is None:
            return 0.0
        return self.finished_s - self.started_s


class JobQueue:
    """The jobs of one provider: first come, first served, so many at once; safe to use from any thread."""

    def __init__(self, clock: Clock, at_once: int, on_end: Callable[[Job], None]) -> None:
        """Start empty.

        Args:
            clock: The simulator's.
            at_once: How many jobs run at the same time.
            on_end: Called once with each job that has ended.
        """
        self._clock = clock
        self._at_once = at_once
        self._on_end = on_end
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, Job] = {}
        self._running = 0
        self._due: list[tuple[float, int, Job]] = []
        self._order = itertools.count()

    def submit(self, job: Job) -> None:
        """Take a job in; it starts at once where there is room."""
        with self._lock:
            self.settle()
            self._jobs[job.id] = job
            self._expect(job, min(job.start_by_s, job.end_by_s))
            if not job.never_starts:
                self._waiting[job.id] = job
                self._fill(job.created_s)

    def get(self, job_id: str) -> Job | None:
        """Return a job as it stands now."""
        with self._lock:
            self.settle()
            return self._jobs.get(job_id)

    def all(self) -> tuple[Job, ...]:
        """Return every job as it stands now, oldest first."""
        with self._lock:
            self.settle()
            return tuple(self._jobs.values())

    def waiting_before(self, job: Job) -> int:
        """Return how many jobs start before this one; for one that never starts, all of them."""
        with self._lock:
            return next((n for n, one in enumerate(self._waiting.values()) if one is job), len(self._waiting))

    def waiting(self) -> int:
        """Return how many jobs wait for room."""
        with self._lock:
            self.settle()
            return len(self._waiting)

    def has_room(self) -> bool:
        """Whether a job that came now would start at once."""
        with self._lock:
            self.settle()
            return self._running < self._at_once

    def cancel(self, job: Job) -> None:
        """End a job that has not ended, now."""
        with self._lock:
            self.settle()
            if not job.state.is_final:
                job.by_user = True
                self._end(job, JobState.CANCELED, self._clock.now_s())

    def finish(self, job: Job) -> None:
        """Let a job's run be over now, whatever was left of it; one that waits runs for no time."""
        with self._lock:
            self.settle()
            if job.state.is_final:
                return
            now_s = self._clock.now_s()
            if job.state is JobState.QUEUED:
                self._start(job, now_s)
            self._end(job, job.ending, now_s)

    def settle(self) -> None:
        """Bring every job up to now."""
        with self._lock:
            now_s = self._clock.now_s()
            while self._due and self._due[0][0] <= now_s:
                at_s, _, job = heapq.heappop(self._due)
                if job.state is JobState.QUEUED:
                    self._end(job, JobState.ABORTED, at_s)
                elif job.state is JobState.RUNNING and at_s >= self._end_s(job):
                    over = job.started_s is not None and job.started_s + job.run_s <= job.end_by_s
                    self._end(job, job.ending if over else JobState.CANCELED, at_s)

    def _expect(self, job: Job, at_s: float) -> None:
        if at_s < NEVER:
            heapq.heappush(self._due, (at_s, next(self._order), job))

    @staticmethod
    def _end_s(job: Job) -> float:
        return min((job.started_s or 0.0) + job.run_s, job.end_by_s)

    def _start(self, job: Job, at_s: float) -> None:
        self._waiting.pop(job.id, None)
        self._running += 1
        job.state, job.started_s = JobState.RUNNING, at_s
        self._expect(job, self._end_s(job))

    def _end(self, job: Job, state: JobState, at_s: float) -> None:
        if job.state is JobState.RUNNING:
            self._running -= 1
        self._waiting.pop(job.id, None)
        job.state, job.finished_s = state, at_s
        self._on_end(job)
        self._fill(at_s)

    def _fill(self, at_s: float) -> None:
        while self._waiting and self._running < self._at_once:
            self._start(next(iter(self._waiting.values())), at_s)
