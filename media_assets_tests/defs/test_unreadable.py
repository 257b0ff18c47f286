"""Prompts that cannot be read, in Dagster: each is told with its reason, and the others are made and reported."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from media_assets.definitions import build_defs
from media_assets.defs.new_prompts import new_prompts
from media_assets.defs.resources import LedgerResource, StoreResource
from media_assets.defs.sync import main, sync
from media_assets.ledger import open_ledger
from media_assets.ledger.pins import Arrival
from media_assets.prompt import Prompt
from media_assets.settings import load_settings
from media_assets.studio import open_studio
from media_assets_tests.defs.materializing import pin, quick
from media_assets_tests.ledger.damage import damage_prompt

_TINY = {"routes": {"audio": ["local:silence"]}}


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(tmp_path / "home"))
    with dg.DagsterInstance.get() as one:
        yield one


def _description(instance: dg.DagsterInstance, run: str) -> str:
    (entry,) = instance.all_logs(run, of_type=dg.DagsterEventType.STEP_FAILURE)
    failure = entry.get_dagster_event().step_failure_data.user_failure_data
    assert failure is not None
    return str(failure.description)


def test_a_batch_of_what_waits_makes_the_others(instance: dg.DagsterInstance, home: Path) -> None:
    """And names the one that it cannot read; a rerun alone would change nothing."""
    pin(home, quick("new", **_TINY), quick("old"))
    damage_prompt(home, "old")

    run = build_defs().resolve_job_def("batch").execute_in_process(instance=instance, raise_on_error=False)

    assert not run.success
    told = _description(instance, run.run_id)
    assert "1 of 2 prompts" in told
    assert "pin its file again" in told
    assert (home / "films" / "new.mp4").is_file()


def test_a_sync_reports_what_it_can_read_and_says_what_not(
    instance: dg.DagsterInstance, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one that cannot be read comes first, and last."""
    pin(home, quick("film", **_TINY))
    build_defs().resolve_job_def("batch").execute_in_process(instance=instance)
    pin(home, quick("a"), quick("z"))
    damage_prompt(home, "a")
    damage_prompt(home, "z")

    with open_studio(home, load_settings().studio_options()) as studio:
        done = sync(studio, instance)
    with pytest.raises(SystemExit, match="1"):
        main(["--json"])

    assert (done.prompts, done.known, sorted(done.unreadable)) == (3, 4, ["a", "z"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["unreadable"] == done.unreadable
    assert all(f"error: {message}" in printed.err for message in done.unreadable.values())


def test_one_that_arrived_starts_no_run_and_is_told_once(instance: dg.DagsterInstance, home: Path) -> None:
    with open_ledger(home) as ledger:
        prompts = [Prompt.model_validate(quick(key)) for key in ("old", "new")]
        ledger.prompts.pin(prompts, source="test", arrival=Arrival())
    damage_prompt(home, "old")

    first = _tick(instance, None)
    second = _tick(instance, first.cursor)

    assert [one.partition_key for one in first.run_requests or []] == ["new"]
    (observation,) = first.asset_events
    table = observation.metadata["cannot_be_used"]
    assert isinstance(table, dg.TableMetadataValue)
    (record,) = table.records
    assert (record.data["what"], record.data["is now"]) == ("old", "")
    assert "pin its file again" in str(record.data["why"])
    assert (second.run_requests, second.asset_events) == ([], [])


def _tick(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    resources = {"store": StoreResource(), "ledger": LedgerResource()}
    result = new_prompts(
        dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources, definitions=build_defs())
    )
    assert isinstance(result, dg.SensorResult)
    return result
