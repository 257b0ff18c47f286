"""The state machine beside the schedules: Hypothesis chooses the moves, and makes what fails small."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.process import Process
from media_assets_tests.simulation.provider import SUBMIT_FAULTS, Weather
from media_assets_tests.simulation.schedule import Schedule
from media_assets_tests.simulation.world import Counts, Temper

EXAMPLES, STEPS = (2_000, 60) if LONG else (50, 40)
_ANY = st.integers(min_value=0, max_value=1_000)
"""Stands for one of whatever there is."""


class Machine(RuleBasedStateMachine):
    """One world, moved from outside."""

    def __init__(self, desk: Desk, counts: Counts) -> None:
        super().__init__()
        self._desk = desk
        self._counts = counts
        self._schedule: Schedule | None = None

    @property
    def _at(self) -> Schedule:
        assert self._schedule is not None
        return self._schedule

    def _one(self, number: int) -> Process | None:
        alive = self._at.world.alive()
        return alive[number % len(alive)] if alive else None

    @initialize(seed=_ANY)
    def begin(self, seed: int) -> None:
        self._schedule = Schedule(self._desk, seed)
        self._at.allow_starts()
        self._at.world.temper, self._at.world.provider.weather = Temper(), Weather()
        self._at.world.set_cap(3)
        self._at.start()
        self._at.start()

    @rule()
    def start(self) -> None:
        self._at.start()

    @rule(turns=st.sampled_from((1, 10, 100)))
    def step(self, turns: int) -> None:
        self._step(turns)

    @rule(turns=st.sampled_from((100, 300, 1000)))
    def go_far(self, turns: int) -> None:
        self._step(turns)

    def _step(self, turns: int) -> None:
        for _ in range(turns):
            if not self._at.world.turn() and not self._at.world.advance():
                break

    @rule(number=_ANY)
    def kill(self, number: int) -> None:
        if (process := self._one(number)) and number % 2:
            self._at.world.kill(process, "any")

    @rule(number=_ANY)
    def pause_or_resume(self, number: int) -> None:
        if process := self._one(number):
            world = self._at.world
            (world.pause if process.paused_at is None else world.resume)(process)

    @rule(number=_ANY)
    def interrupt(self, number: int) -> None:
        if process := self._one(number):
            process.interrupt()

    @rule(seconds=st.sampled_from((1.0, 30.0, 130.0, 600.0, 7200.0)))
    def sleep(self, seconds: float) -> None:
        self._at.world.sleep(seconds)

    @rule(seconds=st.sampled_from((0.0, 3600.0, -3600.0, 3e8, -3e8)))
    def set_the_clock(self, seconds: float) -> None:
        self._at.world.wall_s = seconds

    @rule(fault=st.sampled_from(("", *SUBMIT_FAULTS)), share=st.sampled_from((0.0, 0.3)))
    def change_the_weather(self, fault: str, share: float) -> None:
        submit = {fault: 1.0} if fault else {}
        self._at.world.provider.weather = Weather(
            submit=submit, ask=share, download=share, lag=2 * share, hidden=share, fails_free=share, fails_billed=share
        )

    @rule(purchases=st.sampled_from((1, 2, 3, 10)))
    def change_the_cap(self, purchases: int) -> None:
        self._at.world.set_cap(purchases)

    @rule()
    def decide(self) -> None:
        self._at.decide()

    @rule()
    def collect_garbage(self) -> None:
        self._at.collect()

    @rule(kill=st.sampled_from((0.0, 0.05)), switch=st.sampled_from((0.0, 0.2)))
    def change_the_temper(self, kill: float, switch: float) -> None:
        self._at.world.temper = Temper(kill=kill, kill_there=kill, switch=switch, switch_there=switch)

    @invariant()
    def holds(self) -> None:
        if self._schedule is not None:
            self._schedule.world.hold()

    def teardown(self) -> None:
        if self._schedule is not None:
            try:
                if self._schedule.world.violation is None:
                    self._schedule.rest()
            finally:
                self._schedule.world.close()
                self._counts.add(self._schedule.world.counts)


@pytest.mark.timeout(7200)
def test_no_moves_break_the_protocol(desk: Desk, record_property: Callable[[str, object], None]) -> None:
    """Whatever is done in whatever order, what was accepted is paid once, and known."""
    counts = Counts()

    run_state_machine_as_test(
        lambda: Machine(desk, counts),  # type: ignore[arg-type]
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )

    told = f"{counts.accepted} submissions accepted, {counts.kills.total()} kills, {counts.takeovers} takeovers"
    record_property(SAMPLE, f"{counts.schedules} runs of up to {STEPS} moves: {told}")
    assert counts.accepted >= EXAMPLES // 2
    assert counts.kills.total() >= EXAMPLES // 2
