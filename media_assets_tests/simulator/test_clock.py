"""Virtual time: it passes at its own pace, can be skipped, and wakes whoever was due."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import pytest

from media_assets.errors import ConfigurationError
from media_assets.simulator.clock import Clock


def test_virtual_time_passes_at_its_scale() -> None:
    clock = Clock(time_scale=1000)
    before = time.monotonic()

    begun_s = clock.now_s()
    time.sleep(0.02)
    passed_s = clock.now_s() - begun_s

    assert 20 <= passed_s <= 1000 * (time.monotonic() - before)


def test_dates_begin_today_and_run_with_the_clock() -> None:
    clock = Clock()

    clock.advance(86_400)

    assert abs((clock.utc() - datetime.now(UTC)).total_seconds() - 86_400) < 5
    assert clock.since_start_s(clock.utc(12.5)) == pytest.approx(12.5)


def test_stamps_have_milliseconds_and_zulu() -> None:
    stamp = Clock().stamp(0)

    assert stamp.endswith("Z")
    assert len(stamp) == len("2026-01-01T00:00:00.000Z")
    assert datetime.fromisoformat(stamp).tzinfo == UTC


def test_sleepers_wake_when_time_is_skipped_and_not_before() -> None:
    """A test skips an hour from its own thread, while requests sleep in the server's."""
    clock = Clock()

    async def scenario() -> tuple[bool, bool]:
        short, long = (asyncio.ensure_future(clock.sleep(seconds)) for seconds in (3600, 7200))
        await asyncio.sleep(0.01)
        threading.Thread(target=clock.advance, args=(3600,)).start()
        await asyncio.wait_for(short, 5)
        ended = long.done()
        clock.advance(3600)
        await asyncio.wait_for(long, 5)
        return ended, long.done()

    assert asyncio.run(scenario()) == (False, True)


def test_a_sleep_ends_by_itself_after_its_scaled_time() -> None:
    clock = Clock(time_scale=100)
    before_s = clock.now_s()

    asyncio.run(asyncio.wait_for(clock.sleep(2), 5))

    assert clock.now_s() - before_s >= 2


def test_stopping_ends_every_sleep_for_good() -> None:
    """A simulator that ends must not wait for replies that were made slow on purpose."""
    clock = Clock()

    async def scenario() -> None:
        endless = asyncio.ensure_future(clock.sleep(float("inf")))
        await asyncio.sleep(0.01)
        clock.stop()
        await asyncio.wait_for(endless, 5)
        await asyncio.wait_for(clock.sleep(3600), 5)

    asyncio.run(scenario())

    assert clock.stopped


@pytest.mark.parametrize("skip_s", [-1, float("nan"), float("inf")])
def test_time_does_not_run_backwards(skip_s: float) -> None:
    clock = Clock()

    with pytest.raises(ConfigurationError, match="cannot be advanced"):
        clock.advance(skip_s)

    assert clock.now_s() < 5
