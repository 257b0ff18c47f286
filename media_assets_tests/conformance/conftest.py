"""One simulator for each file, quick and without faults unless a test asks for some."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from media_assets.simulator.options import SimulatorOptions
from media_assets.simulator.server import Simulator, running_simulator

TIME_SCALE = 20.0
"""Virtual seconds that pass in one real second: runs keep their usual length and take no time."""

Fail = Callable[..., None]
Record = Callable[[str, object], None]
"""What ``record_property`` is."""


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Return a running simulator that the tests of one file share."""
    with running_simulator(SimulatorOptions(seed=7, time_scale=TIME_SCALE)) as one:
        yield one


@pytest.fixture
def standing() -> Iterator[Simulator]:
    """Return a simulator of the test's own, whose clock all but stands: runs end when the test advances it."""
    options = SimulatorOptions(time_scale=0.001, at_once={"fal": 1, "openai": 1})
    with running_simulator(options) as one:
        yield one


@pytest.fixture
def fail(simulator: Simulator) -> Iterator[Fail]:
    """Return what makes a fault fire; the rules end with the test."""
    rules: list[dict[str, Any]] = []

    def add(fault: str, call: str = "submit", **more: Any) -> None:
        rules.append({"fault": fault, "call": call, **more})
        simulator.world.faults.replace(rules)

    yield add
    simulator.world.faults.replace([])


@pytest.fixture
def posts(simulator: Simulator) -> Callable[[], int]:
    """Return what counts the submissions that were asked for since the test began, refused ones too."""

    def count() -> int:
        return sum(times for kind, times in simulator.world.received().items() if kind.call == "submit")

    before = count()
    return lambda: count() - before
