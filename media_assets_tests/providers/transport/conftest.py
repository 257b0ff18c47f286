"""For the files that buy from a simulator: one for all tests of a file, and what the ledger says is what it bills."""

from collections.abc import Iterator

import pytest

from media_assets_tests.providers.buying import assert_books_balance
from media_assets_tests.simulated import Market, open_market


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """Start a simulator."""
    with open_market(tmp_path_factory.mktemp("market")) as market:
        yield market


@pytest.fixture
def books_balance(market: Market) -> Iterator[None]:
    """Hold after a test that nothing was paid that the ledger does not know."""
    yield
    assert_books_balance(market)
