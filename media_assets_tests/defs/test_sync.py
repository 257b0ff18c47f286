"""Dagster's event log is a report: wiped, it is written again from the ledger, and nothing is bought."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from media_assets.defs.metadata import as_materialization
from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.defs.sync import Synced, sync
from media_assets.ledger import open_ledger
from media_assets.prompt import Step
from media_assets_tests.defs.materializing import FOUR, Stage, newest_checks, pin
from media_assets_tests.making import cheap_prompt
from media_assets_tests.simulated import FAST, Market, open_market, paid_prompt

CHECKS = [(asset, check) for asset in FOUR for check in ("conforms", "not_degraded")]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with _instance(tmp_path, "dagster") as one:
        yield one


@pytest.fixture
def stage(instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(tmp_path / "home"))
    return Stage(instance, tmp_path / "home")


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


def _statuses(instance: dg.DagsterInstance) -> dict[tuple[str, str], dict[str, str]]:
    """Return how the checks stand, by partition, as the UI has it."""
    return {which: newest_checks(instance, *which) for which in CHECKS}


def _told(instance: dg.DagsterInstance) -> dict[tuple[str, str, str | None], Any]:
    """Return the newest that each check has told of each partition: the verdict, its words and its numbers."""
    found = {}
    for asset, check in CHECKS:
        which = dg.AssetCheckKey(dg.AssetKey(asset), check)
        # Newest first.
        for record in reversed(instance.event_log_storage.get_asset_check_execution_history(which, limit=99)):
            event = record.event.get_dagster_event() if record.event is not None else None
            if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                continue
            one = event.asset_check_evaluation_data
            numbers = {name: value.value for name, value in one.metadata.items()}
            found[asset, check, one.partition] = (one.passed, one.severity, one.description, numbers)
    return found


def _events(instance: dg.DagsterInstance) -> int:
    """Return how many events Dagster has of the assets and their checks."""
    materialized = sum(len(instance.fetch_materializations(dg.AssetKey(asset), limit=999).records) for asset in FOUR)
    checked = sum(
        len(
            instance.event_log_storage.get_asset_check_execution_history(
                dg.AssetCheckKey(dg.AssetKey(asset), check), limit=999
            )
        )
        for asset, check in CHECKS
    )
    return materialized + checked


@pytest.fixture
def full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    """Materialize a paid film, one with a stand-in, and a voice that a person took though the judge had refused it."""
    faults = [{"provider": "elevenlabs", "fault": "silent_output", "times": 1}]
    with open_market(stage.home, faults=faults) as market:
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        stage.add("hushed", script="Look up.", routes={"audio": ["elevenlabs:multilingual-v2"]})
        stage.materialize(["audio"], "hushed", succeeds=False)
        with open_ledger(stage.home) as ledger:
            ledger.decisions.accept(stage.purchases("hushed")["audio"], who="ada")
        stage.materialize(["audio"], "hushed")
        stage.add("mute", script="Look up.", routes={"audio": ["local:silence"]})
        pin(stage.home, paid_prompt().model_dump(mode="json"))
        stage.add_partition("paid")
        stage.materialize_range(FOUR, "mute", "paid")
        yield market


def test_a_wiped_event_log_stands_as_before_and_nothing_is_bought(
    stage: Stage, instance: dg.DagsterInstance, full: Market
) -> None:
    """The log alone is lost, with the partitions, which are in it; the runs, and the ledger, are not."""
    runs, films = len(instance.get_runs()), {key: _shown(instance, key) for key in ("paid", "mute", "hushed")}
    statuses, told = _statuses(instance), _told(instance)
    asked, bill = full.requests(), full.bill_usd()
    assert statuses["audio", "conforms"] == {"hushed": "FAILED", "mute": "SUCCEEDED", "paid": "SUCCEEDED"}
    assert statuses["merged", "not_degraded"] == {"mute": "FAILED", "paid": "SUCCEEDED"}

    instance.event_log_storage.wipe()
    assert not any(_statuses(instance).values())
    assert not instance.get_materialized_partitions(dg.AssetKey("audio"))
    with full.studio() as studio:
        first = sync(studio, instance)
        events = _events(instance)
        again = sync(studio, instance)

    assert (first.partitions, first.known, first.reported, first.checked) == (3, 0, 9, 9)
    assert (again.partitions, again.known, again.reported, again.checked) == (0, 9, 0, 0)
    assert _events(instance) == events, "a second one adds nothing"
    assert (_statuses(instance), _told(instance)) == (statuses, told)
    assert {key: _shown(instance, key) for key in films} == films
    assert len(instance.get_runs()) == runs

    rerun = stage.materialize(FOUR, "paid")
    assert {one["cached"] for one in stage.reported(rerun).values()} == {True}
    assert _statuses(instance) == statuses
    assert (full.requests(), full.bill_usd()) == (asked, bill)


def test_checks_that_were_lost_alone_are_reported_again(market: Market, tmp_path: Path) -> None:
    """A log that an earlier version reported has the films, and none of their checks."""
    film = market.make(paid_prompt())
    with _instance(tmp_path, "one") as instance, market.studio() as studio:
        for result in film.steps.values():
            instance.report_runless_asset_event(as_materialization("paid", result, {}, "1"))
        done = sync(studio, instance, with_pictures=False)
        statuses = _statuses(instance)

    assert (done.known, done.reported, done.checked) == (4, 0, 4)
    assert statuses == {which: {"paid": "SUCCEEDED"} for which in CHECKS}


def test_a_new_log_is_told_everything_and_nothing_is_bought(market: Market, tmp_path: Path) -> None:
    """As on another machine: no runs either."""
    film = market.make(paid_prompt())
    half = cheap_prompt(key="half", script=None)
    with market.studio() as studio:
        studio.ledger.prompts.pin([half], source="test")
        asked, bill = market.requests(), market.bill_usd()
        with _instance(tmp_path, "new") as instance:
            first, again = sync(studio, instance), sync(studio, instance)
            shown = _shown(instance, "paid")
            assert set(instance.get_dynamic_partitions(PARTITIONS_NAME)) == {"paid", "half"}
            merged = instance.get_materialized_partitions(dg.AssetKey("merged"))

    assert first == Synced(prompts=2, partitions=2, known=0, reported=4, checked=4)
    assert again == Synced(prompts=2, partitions=0, known=4, reported=0, checked=0)
    assert shown == {str(step): result.artifact.sha256 for step, result in film.steps.items() if result.artifact}
    assert merged == {"paid"}
    assert (market.requests(), market.bill_usd()) == (asked, bill)


def test_what_was_made_again_elsewhere_is_reported_anew(market: Market, tmp_path: Path) -> None:
    """Films that the command line makes are in Dagster after it."""
    with _instance(tmp_path, "one") as instance:
        for script in ("One barn.", "Another barn."):
            market.make(paid_prompt(script=script))
            with market.studio() as studio:
                done = sync(studio, instance, with_pictures=False)
        statuses = _statuses(instance)

    assert (done.known, done.reported) == (2, 2), "a new voice, and so a new film"
    assert done.checked == 2
    assert statuses == {which: {"paid": "SUCCEEDED"} for which in CHECKS}, "none is of the film before"
