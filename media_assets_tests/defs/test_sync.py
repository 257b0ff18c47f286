"""Dagster's event log is a report: wiped, it is written again from the ledger, and nothing is bought."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.defs.sync import Synced, sync
from media_assets.prompt import Step
from media_assets_tests.making import cheap_prompt
from media_assets_tests.simulated import Market, open_market, paid_prompt


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _instance(tmp_path: Path, name: str) -> dg.DagsterInstance:
    folder = tmp_path / name
    folder.mkdir()
    return dg.DagsterInstance.local_temp(str(folder))


def _shown(instance: dg.DagsterInstance, key: str) -> dict[str, str]:
    """Return the data version that Dagster shows of each asset of a partition."""
    found = {}
    for step in Step:
        which = dg.AssetRecordsFilter(asset_key=dg.AssetKey(str(step)), asset_partitions=[key])
        for record in instance.fetch_materializations(which, limit=1).records:
            event = record.asset_materialization
            assert event is not None
            found[str(step)] = dict(event.tags or {})["dagster/data_version"]
    return found


def test_a_wiped_event_log_is_written_again_and_nothing_is_bought(market: Market, tmp_path: Path) -> None:
    film = market.make(paid_prompt())
    half = cheap_prompt(key="half", script=None)
    with market.studio() as studio:
        studio.ledger.prompts.pin([half], source="test")
        asked, bill = market.requests(), market.bill_usd()
        with _instance(tmp_path, "new") as instance:
            first, again = sync(studio, instance), sync(studio, instance)
            shown = _shown(instance, "paid")
            assert set(instance.get_dynamic_partitions(PARTITIONS_NAME)) == {"paid", "half"}
            checks = instance.get_materialized_partitions(dg.AssetKey("merged"))

    assert first == Synced(prompts=2, partitions=2, known=0, reported=4)
    assert again == Synced(prompts=2, partitions=0, known=4, reported=0)
    assert shown == {str(step): result.artifact.sha256 for step, result in film.steps.items() if result.artifact}
    assert checks == {"paid"}
    assert (market.requests(), market.bill_usd()) == (asked, bill)


def test_what_was_made_again_elsewhere_is_reported_anew(market: Market, tmp_path: Path) -> None:
    """Films that the command line makes are in Dagster after it."""
    with _instance(tmp_path, "one") as instance:
        for script in ("One barn.", "Another barn."):
            market.make(paid_prompt(script=script))
            with market.studio() as studio:
                done = sync(studio, instance, with_pictures=False)

    assert (done.known, done.reported) == (2, 2), "a new voice, and so a new film"
