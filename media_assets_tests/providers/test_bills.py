"""What a provider says it bills: counted where its unit is known, and told where it is more than was reserved."""

import logging
from decimal import Decimal
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.ledger.rows import PurchaseState
from media_assets.pricing import cost, to_micro_usd
from media_assets.simulator.media import picture
from media_assets_tests.conformance.our_requests import PICTURE_PX, drafted, paid_models
from media_assets_tests.making import TODAY
from media_assets_tests.providers.buying import buy
from media_assets_tests.providers.scripted import Answer, answer_json, fal_queue, scripted
from media_assets_tests.providers.transport.raw_server import Connection, Received
from media_assets_tests.simulated import open_market
from media_assets_tests.web_shop import open_web_shop

_CATALOG = load_catalog()


def _bills(units: str) -> Answer:
    """Answer with a picture, and with this header of the bill."""

    def result(connection: Connection, request: Received) -> None:
        url = f"http://{request.headers['host']}/picture"
        answer_json(connection, {"images": [{"url": url}]}, X_Fal_Billable_Units=units)

    return fal_queue(result, files={"/picture": picture(PICTURE_PX, seed=1)})


def test_a_bill_above_the_worst_case_is_recorded_in_full_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The provider broke the maximum that it documents: whoever pays must see it, and the ledger have it all."""
    caplog.set_level(logging.WARNING)
    with scripted(tmp_path, _bills("4")) as provider:
        one = provider.buy(_CATALOG.get("fal:flux-schnell"))

    assert one.row.state is PurchaseState.SUCCEEDED
    assert (one.row.cost_micro_usd, one.row.estimate_micro_usd) == (12_000, 3_000)
    assert one.row.reported == {"billable_units": "4"}
    told = [note for note in one.row.notes if "0.012 USD" in note and "0.003 USD" in note]
    assert len(told) == 1
    assert told[0] in caplog.text


def test_units_of_an_unknown_kind_are_only_recorded(tmp_path: Path) -> None:
    """They may be seconds of compute; counted as pictures, they would be a guess."""
    with scripted(tmp_path, _bills("3.2")) as provider:
        one = provider.buy(_CATALOG.get("fal:fast-sdxl"))

    assert one.row.cost_micro_usd == one.row.estimate_micro_usd == 2_500
    assert one.row.reported == {"billable_units": "3.2"}
    assert one.row.notes == ()


def test_a_cost_above_the_estimate_is_told_whatever_it_comes_of(tmp_path: Path) -> None:
    with open_web_shop(tmp_path) as shop:
        bought = shop.buy(estimate_usd="0.10")

    assert ["0.5 USD" in note and "0.1 USD" in note for note in bought.notes] == [True]


def test_the_simulator_reports_units_that_come_to_its_bill(tmp_path: Path) -> None:
    """For every model whose unit is known; its prices are its own."""
    by_text = [spec for spec in paid_models("fal") if not drafted(spec).request.inputs]
    known = [spec for spec in by_text if spec.price[0].unit_usd is not None]
    with open_market(tmp_path) as market:
        for spec in known:
            before = market.bill_usd()
            row = buy(market, spec, take=0).row
            billed = market.bill_usd() - before
            units, unit_usd = Decimal(row.reported["billable_units"]), spec.price[0].unit_usd
            assert unit_usd is not None
            assert units * unit_usd == billed == Decimal(row.cost_micro_usd or 0) / 1_000_000
            assert to_micro_usd(cost(spec, row.request(), reported={}, today=TODAY).usd) == row.cost_micro_usd

    assert {spec.id for spec in known} == {"fal:flux-schnell", "fal:flux-dev"}
