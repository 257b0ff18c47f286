"""What the tests of schedules share: many are played, what happened is counted, and a violation says how to see it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.schedule import play
from media_assets_tests.simulation.world import Counts, World

_LAST_LINES = 60


@dataclass
class Played:
    """What came of some schedules."""

    counts: Counts = field(default_factory=Counts)
    broken: list[str] = field(default_factory=list)
    """How each violation came about."""


def told(seed: int, world: World) -> str:
    """Return how a violation came about, and how to see it again."""
    lines = "\n".join(world.trace[-_LAST_LINES:])
    again = f".venv/bin/python -m media_assets_tests.simulation {seed}"
    return f"seed {seed}: {world.violation}\n{lines}\nAgain: {again}\nAdd the seed to seeds.txt."


def play_all(desk: Desk, seeds: Iterable[int]) -> Played:
    """Play the schedules of some seeds."""
    played = Played()
    for seed in seeds:
        world = play(desk, seed)
        played.counts.add(world.counts)
        if world.violation is not None:
            played.broken.append(told(seed, world))
    return played


def check(played: Played) -> None:
    """Fail with the first violations."""
    if played.broken:
        pytest.fail(f"{len(played.broken)} schedules break the protocol.\n" + "\n\n".join(played.broken[:3]))
