"""A janitor let loose on a home, for the tests of what it makes of it."""

import asyncio
from typing import Any

from media_assets.catalog import Catalog
from media_assets.ledger import open_ledger
from media_assets.recovery.janitor import Cleared, Janitor
from media_assets_tests.simulated import Market


def clean(market: Market, *, models: Catalog | None = None, waits: bool = True, **settings: Any) -> list[Cleared]:
    """Let a janitor loose, as the command does."""
    cleared: list[Cleared] = []
    with open_ledger(market.home) as ledger:
        rows = ledger.purchases.unfinished()
    with market.studio(**{"post_deadline_s": 1.0, **settings}) as studio:
        studio.planner.catalog = models or studio.planner.catalog
        asyncio.run(Janitor(studio, waits=waits).clear(rows, cleared.append))
    return cleared
