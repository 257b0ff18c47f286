"""Postgres crashes and comes back while there is buying: what was begun goes on, and nothing is sent twice."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from media_assets.errors import LedgerError, PurchaseError
from media_assets.ledger import open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.ownership import Life
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.ledger.far_host import owned_by
from media_assets_tests.ledger.proxies import Line
from media_assets_tests.postgres_server import Server, running_server
from media_assets_tests.web_shop import Service, WebShop, open_web_shop

_DEADLINE_S = 60
_BUYERS = 4
_JOBS, _CRASHES = (2000, 10) if LONG else (5, 1)
"""At least; a fast machine buys more meanwhile."""
_BETWEEN_S, _DOWN_S = ((5.0, 40.0), (0.0, 2.0)) if LONG else ((1.0, 1.0), (0.0, 0.0))
"""Seconds that Postgres is up and down, between which each is drawn."""
_ENOUGH_S = 720
"""After which no further purchase is begun: a slow machine makes fewer of them."""


def test_a_server_that_was_down_has_cost_nobody_a_lease(tmp_path: Path) -> None:
    """Nobody could renew one meanwhile: who comes back first must not inherit from all who come back second."""
    (tmp_path / "server").mkdir()
    with (
        running_server(tmp_path / "server") as server,
        open_ledger(tmp_path / "there", server.url + "postgres", owned_by("there", lease_s=600)) as there,
        Line(server.url + "postgres") as line,
        open_ledger(tmp_path / "late", line.through, owned_by("late", lease_s=0.3)) as late,
    ):
        line.is_blocked = True
        server.stop("fast")
        time.sleep(0.4)
        server.start()

        standing = there.owner.standing(late.owner.id)

        assert standing.life is Life.SILENT
        assert 500 < (standing.wait_s or 0) <= 600
        line.is_blocked = False
        late.owner.renew()
        assert there.owner.standing(late.owner.id).life is Life.ALIVE


def _buy_until_decided(shop: WebShop, take: int) -> None:
    give_up = time.monotonic() + _DEADLINE_S
    while time.monotonic() < give_up:
        try:
            try:
                shop.buy(take=take)
            except LedgerError:
                time.sleep(0.05)
                continue
            except PurchaseError:
                if shop.row(take).state is not PurchaseState.UNKNOWN:
                    raise
        except LedgerError:
            continue  # it went down when it was asked how the purchase stands
        else:
            return
    pytest.fail(f"purchase {take} was not decided in {_DEADLINE_S} s")


@contextmanager
def _crashing(server: Server) -> Iterator[list[float]]:
    """Crash a server again and again, at least once; the list grows by the seconds for which it was down."""
    drawn = random.Random(20261130)  # noqa: S311 - not a secret
    down: list[float] = []
    over = threading.Event()

    def crash() -> None:
        while not over.wait(drawn.uniform(*_BETWEEN_S)) or not down:
            server.stop("immediate")
            down.append(drawn.uniform(*_DOWN_S))
            time.sleep(down[-1])
            server.start()

    crashes = threading.Thread(target=crash)
    crashes.start()
    try:
        yield down
    finally:
        over.set()
        crashes.join()


@pytest.mark.timeout(_ENOUGH_S + 600)
def test_purchases_outlive_a_database_that_crashes(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every lock is gone at once, for everybody, and nobody has died."""
    (tmp_path / "server").mkdir()
    service = Service()
    with (
        running_server(tmp_path / "server") as server,
        open_ledger(tmp_path / "there", server.url + "postgres", owned_by("there", lease_s=2)) as there,
        open_web_shop(
            tmp_path / "here", service, ledger_url=server.url + "postgres", ownership=owned_by("here", lease_s=2)
        ) as shop,
    ):
        give_up = time.monotonic() + _ENOUGH_S
        takes = itertools.count()

        def buy_on(_buyer: int) -> int:
            bought = 0
            while time.monotonic() < give_up and ((take := next(takes)) < _JOBS or len(down) < _CRASHES):
                _buy_until_decided(shop, take)
                bought += 1
            return bought

        shop.shop.caps = [Cap("prompt:cheap", 10**12, "cap")]
        with _crashing(server) as down, ThreadPoolExecutor(_BUYERS) as buyers:
            bought = sum(buyers.map(buy_on, range(_BUYERS)))

        assert bought >= min(_JOBS, 200)
        assert len(down) >= _CRASHES
        shop.ledger.owner.renew()
        # Of what was written down just before it went down nobody knows whether it left: that is not sent again.
        unknown = sum(row.state is PurchaseState.UNKNOWN for row in shop.ledger.purchases.search())
        assert bought - unknown <= service.submits <= bought
        assert unknown <= _BUYERS * len(down)
        assert there.owner.standing(shop.ledger.owner.id).life is Life.ALIVE
        there.owner.require_alive()
    record_property(
        SAMPLE,
        f"{bought} purchases (the long proof: 2000 at least) over {len(down)} crashes of Postgres, {unknown} UNKNOWN",
    )
