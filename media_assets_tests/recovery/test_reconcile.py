"""Comparing a bill with the ledger: what counts, what cannot be compared, and what a use comes to at our prices."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.catalog import load_catalog
from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.ledger.schema import purchase
from media_assets.prediction import State
from media_assets.recovery.reconcile import Charge, Reconciled, Reconciling, at_our_price
from media_assets_tests.making import TODAY
from media_assets_tests.providers.buying import buy
from media_assets_tests.simulated import Market, open_market

_CATALOG = load_catalog()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as market:
        yield market


@pytest.fixture(scope="module")
def rows(market: Market) -> dict[str, PurchaseRow]:
    """Buy one of each kind of price."""
    models = ("fal:flux-schnell", "replicate:sdxl", "replicate:flux-schnell", "elevenlabs:flash-v2.5")
    return {model: buy(market, _CATALOG.get(model), take=0).row for model in models}


def _compared(market: Market, provider: str, *, since_min: float, now_min: float = 0.0) -> Reconciled:
    """Compare, seen from so many minutes from now."""
    now = datetime.now(UTC) + timedelta(minutes=now_min)
    with market.studio() as studio:
        reconciling = Reconciling(ledger=studio.ledger, catalog=_CATALOG, transport=studio.transport, now=now)
        since = datetime.now(UTC) + timedelta(minutes=since_min)
        return asyncio.run(reconciling.reconcile(provider, since=since))


def _change(home: Path, row: PurchaseRow, **values: Any) -> None:
    with open_ledger(home) as ledger, ledger.database.write() as connection:
        connection.execute(sa.update(purchase).filter_by(request_key=row.request_key).values(**values))


def test_what_was_begun_before_is_not_compared(market: Market, rows: dict[str, PurchaseRow]) -> None:
    """A purchase is one amount, and a part of it may lie on an older bill."""
    found = _compared(market, "fal", since_min=5, now_min=30)

    assert [one.why_not for one in found.claimed] == ["it was begun before the time that is compared"]
    assert found.agrees
    assert found.ledger_usd == found.billed_usd == 0
    assert rows["fal:flux-schnell"].request_key == found.claimed[0].row.request_key


def test_strangers_of_another_time_are_not_counted(tmp_path: Path) -> None:
    """The bill is asked for a little more than the time, because clocks differ."""
    with open_market(tmp_path / "ours") as market:
        buy(market, _CATALOG.get("fal:flux-schnell"), take=0)
        buy(Market(tmp_path / "theirs", market.simulator, market.settings), _CATALOG.get("fal:flux-schnell"), take=1)

        assert len(_compared(market, "fal", since_min=-5).unclaimed) == 1
        assert _compared(market, "fal", since_min=5, now_min=30).unclaimed == []


def test_what_is_not_settled_and_what_was_refused_is_not_compared(tmp_path: Path) -> None:
    """The first will be; the second cost nothing."""
    with open_market(tmp_path) as market:
        row = buy(market, _CATALOG.get("fal:flux-schnell"), take=0).row
        _change(tmp_path, row, state=PurchaseState.SUBMITTED)
        market.set_faults({"call": "submit", "fault": "400"})
        buy(market, _CATALOG.get("fal:flux-schnell"), take=1)
        market.set_faults()

        found = _compared(market, "fal", since_min=-5)

    assert [one.why_not for one in found.claimed] == ["it is not settled yet"]
    assert not found.unbilled
    assert not found.unclaimed


def test_what_a_provider_does_not_list_is_not_missed(tmp_path: Path) -> None:
    """Speech with its log turned off is in no history."""
    with open_market(tmp_path) as market:
        row = buy(market, _CATALOG.get("elevenlabs:flash-v2.5"), take=0).row
        unlogged = row.canon_json.replace("output_format={output_format}", "enable_logging=false", 1)
        _change(tmp_path, row, canon_json=unlogged, prediction_id="gone")
        with open_ledger(tmp_path) as ledger, ledger.database.write() as connection:
            connection.exec_driver_sql("UPDATE attempt SET prediction_id = 'gone'")

        found = _compared(market, "elevenlabs", since_min=-5)

    assert unlogged != row.canon_json
    assert [one.why_not for one in found.unbilled] == ["the provider keeps no list of such work"]


def test_a_model_that_the_catalog_has_lost_cannot_be_reckoned(tmp_path: Path) -> None:
    """Nor is what somebody else buys of it called a stranger's."""
    with open_market(tmp_path) as market:
        row = buy(market, _CATALOG.get("replicate:sdxl"), take=0).row
        _change(tmp_path, row, model="replicate:gone")

        found = _compared(market, "replicate", since_min=-5)

    assert [one.why_not for one in found.claimed] == ["the bill does not say how much was used"]


@pytest.mark.parametrize(
    ("model", "charge", "usd"),
    [
        ("fal:flux-schnell", {"usd": Decimal("0.25")}, "0.25"),
        ("replicate:sdxl", {"used": {"compute_s": Decimal(2)}}, "0.0028"),
        ("replicate:sdxl", {"used": {"compute_s": Decimal(2)}, "state": State.FAILED}, "0.0028"),
        ("replicate:sdxl", {"used": {"total_s": Decimal(2)}}, None),
        ("replicate:flux-schnell", {"used": {"compute_s": Decimal(2)}}, "0.003"),
        ("replicate:flux-schnell", {"state": State.FAILED}, "0"),
        ("replicate:flux-schnell", {"state": State.CANCELED}, None),
    ],
)
def test_what_is_used_is_reckoned_at_our_price(
    rows: dict[str, PurchaseRow], model: str, charge: dict[str, Any], usd: str | None
) -> None:
    """The use is the provider's word; the price is not, so it is the same on both sides."""
    one = Charge(prediction_id="p", endpoint="e", at=None, **charge)

    assert at_our_price(_CATALOG, rows[model], one, today=TODAY) == (None if usd is None else Decimal(usd))


def test_twice_the_characters_are_twice_the_cost(rows: dict[str, PurchaseRow]) -> None:
    """However many of its units a provider counts for a character."""
    row = rows["elevenlabs:flash-v2.5"]
    own = Decimal(row.reported["character_cost"])
    cost = Decimal(row.cost_micro_usd or 0) / 1_000_000

    for factor in (1, 2):
        charge = Charge(prediction_id="p", endpoint="e", at=None, used={"character_cost": own * factor})
        assert at_our_price(_CATALOG, row, charge, today=TODAY) == cost * factor
