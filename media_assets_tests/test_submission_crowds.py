"""Many purchases at one provider: no more at once than it takes, however many coroutines and processes there are."""

import asyncio
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from media_assets.errors import RequestRejectedError
from media_assets.ledger.admission import Limits
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.canceling import until
from media_assets_tests.children import race
from media_assets_tests.making import leftovers, reserved_micro_usd
from media_assets_tests.market_child import BUY
from media_assets_tests.simulated import open_market
from media_assets_tests.web_shop import FAST, PRICE_USD, Service, open_web_shop


def test_a_place_is_given_back_whatever_happens(tmp_path: Path) -> None:
    """A failure or a Ctrl-C that kept its place would stop a provider for good."""
    is_over = threading.Event()
    service = Service(
        submit=lambda nth, name: (422, {}) if nth == 1 else (201, {"id": name, "state": "queued"}),
        status=lambda _nth, name: (200, {"id": name, "state": "succeeded" if is_over.is_set() else "running"}),
    )
    options = replace(FAST, limits={"testing": Limits(concurrency=1)})
    with open_web_shop(tmp_path, service, options=options) as shop:

        async def crowd() -> list[Any]:
            buying = [asyncio.ensure_future(shop.buying(take=take)) for take in range(6)]
            await until(lambda: len(shop.ledger.purchases.search()) == 6 and service.asked["status"] > 0)
            waiting = [take for take in range(6) if shop.row(take).state is PurchaseState.RESERVED]
            assert len(waiting) == 5
            for take in waiting[::2]:
                buying[take].cancel()
            is_over.set()
            return await asyncio.wait_for(asyncio.gather(*buying, return_exceptions=True), 60)

        results = asyncio.run(crowd())

        assert sum(isinstance(result, asyncio.CancelledError) for result in results) == 3
        assert sum(isinstance(result, RequestRejectedError) for result in results) == 1
        assert service.submits == 3, "one at work, one refused, one that waited"
        for take in range(6):
            asyncio.run(asyncio.wait_for(shop.buying(take=take, retry_failed=True), 30))
        assert shop.shop.spent_usd() == 6 * PRICE_USD
        assert leftovers(tmp_path) == [f"owners/{shop.ledger.owner.id}.lock", f"scratch/{shop.ledger.owner.id}"]


_CROWD = 8


def test_many_processes_never_have_more_open_than_the_limit(tmp_path: Path) -> None:
    """A provider counts an account's predictions, wherever they come from."""
    with open_market(tmp_path, latency_s={"fal": (0.3, 0.4)}) as market:
        environment = {**market.simulator.environment(), "MEDIA_ASSETS_FAL_CONCURRENCY": "2"}
        arguments = {"home": str(tmp_path), "environment": environment, "model": "fal:flux-schnell"}
        each = [{**arguments, "take": take} for take in range(_CROWD)]

        bought = race(BUY, each)

        accepted = market.accepted()
        assert len(accepted) == market.posts() == _CROWD
        moments = [(one["started_s"], one["finished_s"]) for one in accepted]
        assert max(sum(begun <= moment < ended for begun, ended in moments) for moment, _ in moments) == 2
        assert sum(Decimal(one["cost"]) for (one,) in bought) == market.bill_usd()
        assert reserved_micro_usd(tmp_path) == 0
