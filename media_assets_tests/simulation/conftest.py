"""One desk for each file of schedules: opening it migrates a ledger."""

from collections.abc import Iterator

import pytest

from media_assets_tests.simulation.desk import Desk, open_desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Open a desk; while it is open, the time and the wire are simulated."""
    with open_desk() as one:
        yield one
