"""Queue physics: who runs when does not depend on who looks when."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from media_assets.simulator.clock import Clock
from media_assets.simulator.jobs import NEVER, Job, JobQueue, JobState


class SteppedClock(Clock):
    """A clock that only ``advance`` moves, so that instants can be compared exactly."""

    def now_s(self) -> float:
        return self._skipped_s


@dataclass
class Bench:
    """A queue on a stepped clock, with what ended in it."""

    at_once: int = 2
    clock: SteppedClock = field(default_factory=SteppedClock)
    ended: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = JobQueue(self.clock, self.at_once, lambda job: self.ended.append(job.id))

    def submit(self, job_id: str, run_s: float = 10.0, **more: Any) -> Job:
        job = Job(id=job_id, model="m", number=1, data=None, created_s=self.clock.now_s(), run_s=run_s, **more)
        self.queue.submit(job)
        return job

    def at(self, moment_s: float) -> None:
        self.clock.advance(moment_s - self.clock.now_s())
        self.queue.settle()


def _told(job: Job) -> tuple[str, float | None, float | None]:
    return str(job.state), job.started_s, job.finished_s


def test_so_many_run_at_once_and_the_rest_wait_in_order() -> None:
    bench = Bench(at_once=2)
    jobs = [bench.submit(name) for name in "abcd"]

    states = [job.state for job in jobs]
    positions = [bench.queue.waiting_before(job) for job in jobs[2:]]
    bench.at(100)

    assert states == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED, JobState.QUEUED]
    assert positions == [0, 1]
    assert [_told(job) for job in jobs] == [
        ("succeeded", 0, 10),
        ("succeeded", 0, 10),
        ("succeeded", 10, 20),
        ("succeeded", 10, 20),
    ]
    assert bench.ended == ["a", "b", "c", "d"]


def test_looking_changes_nothing() -> None:
    """Two hundred random queues, one looked at all the time and one only at the end, tell the same story."""
    for seed in range(200):
        draw = random.Random(seed)  # noqa: S311 - no secret
        watched, unwatched = Bench(at_once=3), Bench(at_once=3)
        moment_s = 0.0
        for number in range(12):
            moment_s += draw.choice([0.0, 0.5, 2.0])
            given: dict[str, Any] = {
                "run_s": draw.uniform(0.1, 6),
                "start_by_s": moment_s + draw.choice([1.0, 4.0, NEVER]),
                "end_by_s": moment_s + draw.choice([2.0, 5.0, NEVER]),
                "ending": draw.choice([JobState.SUCCEEDED, JobState.FAILED]),
                "never_starts": draw.random() < 0.1,
            }
            for bench in (watched, unwatched):
                bench.clock.advance(moment_s - bench.clock.now_s())
                bench.submit(str(number), **given)
        for step in range(400):
            watched.at(moment_s + step / 10)
        unwatched.at(moment_s + 40)

        stories = [[_told(job) for job in bench.queue.all()] for bench in (watched, unwatched)]
        assert stories[0] == stories[1], seed
        assert watched.ended == unwatched.ended


def test_never_more_run_at_once_than_may() -> None:
    draw = random.Random(5)  # noqa: S311 - no secret
    bench = Bench(at_once=3)
    for number in range(60):
        bench.clock.advance(draw.uniform(0, 0.5))
        bench.submit(str(number), run_s=draw.uniform(0.1, 4))
    bench.at(1000)

    spans = [(job.started_s or 0, job.finished_s or 0) for job in bench.queue.all()]
    starts = sorted(start for start, _ in spans)
    busy = [sum(begun <= moment < over for begun, over in spans) for moment in starts]
    assert max(busy) == 3
    assert starts == [start for start, _ in spans], "first come, first served"


def test_a_failing_job_runs_first() -> None:
    bench = Bench()
    job = bench.submit("a", ending=JobState.FAILED)

    bench.at(10)

    assert _told(job) == ("failed", 0, 10)
    assert job.compute_s == 10


def test_a_deadline_aborts_who_waits_and_cancels_who_runs() -> None:
    """The difference is money: what never started is free."""
    bench = Bench(at_once=1)
    running = bench.submit("a", run_s=30, end_by_s=7)
    waiting = bench.submit("b", end_by_s=5)
    late = bench.submit("c", start_by_s=6)
    last = bench.submit("d")

    bench.at(100)

    assert [_told(job) for job in (running, waiting, late, last)] == [
        ("canceled", 0, 7),
        ("aborted", None, 5),
        ("aborted", None, 6),
        ("succeeded", 7, 17),
    ]
    assert (running.compute_s, waiting.compute_s) == (7, 0)
    assert not running.by_user


def test_a_run_that_ends_in_time_meets_no_deadline() -> None:
    bench = Bench()
    exact, early = bench.submit("a", run_s=10, end_by_s=10), bench.submit("b", run_s=9, end_by_s=10)

    bench.at(50)

    assert (exact.state, early.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)


def test_a_start_deadline_says_nothing_to_who_has_started() -> None:
    bench = Bench()
    job = bench.submit("a", run_s=10, start_by_s=1)

    bench.at(5)
    running = job.state
    bench.at(20)

    assert (running, job.state) == (JobState.RUNNING, JobState.SUCCEEDED)


def test_a_cancel_ends_at_once_and_makes_room() -> None:
    bench = Bench(at_once=1)
    running, waiting, next_one = (bench.submit(name) for name in "abc")
    bench.at(4)

    bench.queue.cancel(waiting)
    bench.queue.cancel(running)
    bench.at(100)

    assert [_told(job) for job in (running, waiting, next_one)] == [
        ("canceled", 0, 4),
        ("canceled", None, 4),
        ("succeeded", 4, 14),
    ]
    assert running.by_user
    assert bench.ended == ["b", "a", "c"]


def test_a_cancel_that_comes_too_late_changes_nothing() -> None:
    bench = Bench()
    job = bench.submit("a")
    bench.clock.advance(10)

    bench.queue.cancel(job)

    assert _told(job) == ("succeeded", 0, 10)
    assert bench.ended == ["a"]


@pytest.mark.parametrize("starts", [True, False])
def test_a_run_can_be_over_before_its_time(starts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    bench = Bench(at_once=1 if starts else 2)
    if not starts:
        bench.submit("x", run_s=50)
        bench.submit("y", run_s=50)
    job = bench.submit("a")
    bench.at(3)

    bench.queue.finish(job)
    bench.at(200)

    assert job.state is JobState.SUCCEEDED
    assert job.finished_s == 3
    assert bench.ended.count("a") == 1


def test_who_is_stuck_stays_so_and_lets_others_pass() -> None:
    bench = Bench(at_once=2)
    in_queue = bench.submit("a", never_starts=True)
    in_run = bench.submit("b", run_s=NEVER)
    other = bench.submit("c")

    bench.at(1e6)

    assert (in_queue.state, in_run.state, other.state) == (JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)
    assert not bench.queue.waiting()
    assert bench.queue.has_room()
    bench.queue.cancel(in_queue)
    bench.queue.cancel(in_run)
    assert {in_queue.state, in_run.state} == {JobState.CANCELED}
