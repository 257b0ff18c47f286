"""The second half of the schedules of this commit."""

from collections.abc import Callable

import pytest

from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.sampling import play_half


@pytest.mark.timeout(7200)
def test_no_schedule_of_the_second_half_breaks_the_protocol(
    desk: Desk, record_property: Callable[[str, object], None]
) -> None:
    """Killed, paused and lied to at every point, nobody pays twice, forgets, or passes a cap."""
    play_half(desk, 1, record_property)
