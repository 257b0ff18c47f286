"""The simulation itself: the same seed is the same schedule, and what it does to a process is what a kernel does."""

import random
import time
from itertools import count

import pytest

from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.loop import Killed
from media_assets_tests.simulation.process import Item, Wish
from media_assets_tests.simulation.provider import Weather
from media_assets_tests.simulation.schedule import play
from media_assets_tests.simulation.seeds import _read
from media_assets_tests.simulation.world import Temper, World

SHOWN = Item("shows", 0, 0)


def test_the_same_seed_is_the_same_schedule(desk: Desk) -> None:
    """A seed that found something has to find it again."""
    traces = [[play(desk, seed).trace for seed in range(20)] for _ in range(2)]

    assert traces[0] == traces[1]
    assert len({tuple(trace) for trace in traces[0]}) == 20


def _world(desk: Desk, **temper: float | str) -> World:
    return World(desk, 7, [SHOWN], temper=Temper(**temper), weather=Weather())  # type: ignore[arg-type]


def test_a_killed_process_does_nothing_more(desk: Desk) -> None:
    """It leaves its lock free, its transaction undone, and its row as it was committed last."""
    world = _world(desk, kill_at="intent.before", kill_there=1.0)
    world.set_cap(1)
    process = world.start("a", [Wish(item=SHOWN)])

    while world.turn() or world.advance():
        pass

    assert process.is_dead
    assert world.provider.posts == 0
    (row,) = world.order.rows.values()
    assert (row.state, row.owner) == ("RESERVED", process.owner.id if process.owner else "")
    assert world.counts.kills == {"intent.before": 1}
    assert desk.checks.execute("SELECT count(*) FROM attempt").fetchone() == (0,)
    world.close()


def test_a_paused_process_keeps_what_it_has(desk: Desk) -> None:
    """However long it is silent, its lock says that it lives."""
    world = _world(desk)
    world.set_cap(1)
    first = world.start("a", [Wish(item=SHOWN)])
    while not world.provider.posts:
        assert world.turn() or world.advance()
    world.pause(first)
    world.start("b", [Wish(item=SHOWN)])

    until = world.now + 7200
    for _ in count():
        if world.now > until or not (world.turn() or world.advance()):
            break

    assert (world.provider.posts, len(world.alive())) == (1, 2)
    world.resume(first)
    world.settle()
    assert world.provider.posts == 1
    world.close()


def test_twins_that_take_each_others_prediction_both_get_one(desk: Desk) -> None:
    """A spooled reply may name what a lookalike has found in the list meanwhile: and both are had."""
    twin = Item("shows", 0, 1)
    world = World(desk, 7, [SHOWN, twin], temper=Temper(kill_at="id_save.before", kill_there=1.0), weather=Weather())
    world.set_cap(4)
    world.start("a", [Wish(item=SHOWN)])
    _to_the_end(world)
    world.temper = Temper(kill_at="intent.after", kill_there=1.0)
    world.start("b", [Wish(item=twin)])
    _to_the_end(world)
    world.temper = Temper()
    world.order.committed()
    assert [row.state for row in world.order.rows.values()] == ["SUBMITTING", "SUBMITTING"]

    for item in (twin, SHOWN):
        world.start("c", [Wish(item=item)])
        world.settle()

    world.order.at_rest()
    world.hold()
    assert [row.state for row in world.order.rows.values()] == ["SUCCEEDED", "SUCCEEDED"]
    assert len(world.provider.jobs) == 2
    world.close()


def _to_the_end(world: World) -> None:
    while world.turn() or world.advance():
        pass


def test_no_real_time_passes(desk: Desk) -> None:
    """A day of schedules takes seconds; and the machine's clock is the machine's again once nobody plays."""
    before = time.monotonic()
    world = _world(desk)
    began = time.monotonic()
    world.sleep(86_400)
    assert time.monotonic() - began == pytest.approx(86_400)
    world.close()
    assert time.monotonic() - before < 60


def test_chance_is_given_back() -> None:
    """What else draws from it in this process is not to see that schedules were played."""
    random.seed(3)
    wanted = random.random()  # noqa: S311 - not a secret
    random.seed(3)
    from media_assets_tests.simulation.desk import open_desk  # noqa: PLC0415 - opened within the test

    with open_desk() as desk:
        play(desk, 1)

    assert random.random() == wanted  # noqa: S311 - as above


def test_a_kill_is_no_error_that_anybody_handles() -> None:
    """``except Exception`` is in the product, and nothing of it runs when a process is killed."""
    assert not issubclass(Killed, Exception)


def test_seeds_are_read_with_their_notes() -> None:
    """Whoever adds a seed says what it found."""
    assert list(_read("# told\n\n12  # found\n7\n")) == [12, 7]
