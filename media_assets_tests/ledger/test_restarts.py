"""Postgres crashes and comes back while there is buying: what was begun goes on, and nothing is sent twice."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from media_assets.errors import LedgerError, PurchaseError
from media_assets.ledger import open_ledger
from media_assets.ledger.ownership import Life
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.conftest import SAMPLE
from media_assets_tests.ledger.far_host import owned_by
from media_assets_tests.ledger.proxies import Line
from media_assets_tests.postgres_server import running_server
from media_assets_tests.web_shop import Service, WebShop, open_web_shop

_RESTARTS = 12 if os.environ.get("MEDIA_ASSETS_LONG") == "1" else 1
_DEADLINE_S = 60


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
            shop.buy(take=take)
        except LedgerError:
            time.sleep(0.05)
        except PurchaseError:
            if shop.row(take).state is not PurchaseState.UNKNOWN:
                raise
            return
        else:
            return
    pytest.fail(f"purchase {take} was not decided in {_DEADLINE_S} s")


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
        over = threading.Event()

        def crash() -> None:
            for _ in range(_RESTARTS):
                time.sleep(1)
                server.stop("immediate")
                server.start()
            over.set()

        crashes = threading.Thread(target=crash)
        crashes.start()
        take = 0
        while not over.is_set() or take < 5:
            _buy_until_decided(shop, take)
            take += 1
        crashes.join()

        assert service.submits == take
        shop.ledger.owner.renew()
        assert there.owner.standing(shop.ledger.owner.id).life is Life.ALIVE
        there.owner.require_alive()
    record_property(SAMPLE, f"{take} purchases over {_RESTARTS} crashes of Postgres")
