"""Prompts that arrive start runs, each once: what the sensor asks for, tick after tick, whatever dies in between."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from media_assets.definitions import build_defs
from media_assets.defs.new_prompts import new_prompts
from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.defs.resources import LedgerResource, StoreResource
from media_assets.errors import StorageError
from media_assets.ledger import open_ledger
from media_assets.prompt import Prompt
from media_assets_tests.defs.materializing import quick


class Daemon:
    """Evaluates the sensor as Dagster's daemon does, and keeps its cursor."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self.instance = instance
        self.home = home
        self.inbox = home / "inbox"
        self.cursor: str | None = None

    def put(self, key: str, **fields: Any) -> None:
        """Drop a prompt into the inbox."""
        self.inbox.mkdir(parents=True, exist_ok=True)
        (self.inbox / f"{key}.json").write_text(json.dumps(quick(key, **fields)))

    def evaluate(self) -> dg.SensorResult:
        """Run the sensor once; what it returns is not acted on."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={"store": StoreResource(), "ledger": LedgerResource()},
            definitions=build_defs(),
        )
        result = new_prompts(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def tick(self) -> dg.SensorResult:
        """Run the sensor once, and act on what it returns."""
        result = self.evaluate()
        for request in result.dynamic_partitions_requests or ():
            assert request.partitions_def_name == PARTITIONS_NAME
            self.instance.add_dynamic_partitions(PARTITIONS_NAME, list(request.partition_keys))
        self.cursor = result.cursor
        return result

    def settle(self) -> dg.SensorResult:
        """Tick until the inbox has been read."""
        self.tick()
        return self.tick()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    home, storage = tmp_path / "state", tmp_path / "dagster"
    storage.mkdir()
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(home))
    with dg.DagsterInstance.local_temp(str(storage)) as instance:
        yield Daemon(instance, home)


def _digest(key: str, **fields: Any) -> str:
    return Prompt.model_validate(quick(key, **fields)).digest


def _keys_of(request: dg.RunRequest) -> Mapping[str, str]:
    digests = request.run_config["ops"]["make_batch"]["config"]["digests"]
    assert isinstance(digests, dict)
    return digests


def test_a_few_prompts_start_a_run_each(daemon: Daemon) -> None:
    for key in ("a", "b"):
        daemon.put(key)
    first = daemon.tick()
    second = daemon.tick()

    assert (first.run_requests, first.skip_reason is not None) == ([], True)
    requests = second.run_requests or []
    assert [(one.job_name, one.partition_key) for one in requests] == [("films", "a"), ("films", "b")]
    assert [one.tags["prompt_digest"] for one in requests] == [_digest("a"), _digest("b")]
    assert set(daemon.instance.get_dynamic_partitions(PARTITIONS_NAME)) == {"a", "b"}
    assert not daemon.tick().run_requests


def test_many_prompts_are_one_batch(daemon: Daemon) -> None:
    """A process each would take longer to start than most films take to make."""
    for number in range(6):
        daemon.put(f"p{number}")

    (request,) = daemon.settle().run_requests or []

    assert request.job_name == "batch"
    assert _keys_of(request) == {f"p{number}": _digest(f"p{number}") for number in range(6)}
    assert len(daemon.instance.get_dynamic_partitions(PARTITIONS_NAME)) == 6


def test_each_form_of_a_prompt_is_asked_for_once(daemon: Daemon) -> None:
    """A, B, A are three runs; the same file once more is none."""
    keys = []
    for words in ("A.", "B.", "A.", "A."):
        daemon.put("one", script=words)
        keys += [request.run_key for request in daemon.settle().run_requests or []]

    a, b = _digest("one", script="A."), _digest("one", script="B.")
    assert keys == [f"one:{a}:1", f"one:{b}:2", f"one:{a}:3"]


def test_a_daemon_that_dies_loses_nothing_and_starts_nothing_twice(daemon: Daemon) -> None:
    """What was read is pinned; the runs are asked for again under the same keys, which Dagster knows."""
    daemon.put("one")
    daemon.tick()
    lost = daemon.evaluate()

    again = daemon.tick()

    assert [one.run_key for one in again.run_requests or []] == [one.run_key for one in lost.run_requests or []]
    assert len(again.run_requests or []) == 1
    daemon.cursor = None
    assert [one.run_key for one in daemon.settle().run_requests or []] == [], "known from the first tick on"


def test_a_cursor_that_is_gone_starts_the_same_runs(daemon: Daemon) -> None:
    daemon.put("one")
    keys = [one.run_key for one in daemon.settle().run_requests or []]
    daemon.cursor = None

    assert [one.run_key for one in daemon.tick().run_requests or []] == keys


def test_what_cannot_be_used_shows_up_and_holds_up_nobody(daemon: Daemon) -> None:
    daemon.put("good")
    daemon.put("bad", size_px="huge")

    result = daemon.settle()

    assert [one.partition_key for one in result.run_requests or []] == ["good"]
    (observation,) = result.asset_events
    assert observation.asset_key == dg.AssetKey("inbox")
    assert observation.metadata["refused"].value == 1
    table = observation.metadata["cannot_be_used"]
    assert isinstance(table, dg.TableMetadataValue)
    (record,) = table.records
    assert record.data["is now"] == "bad/bad.json"
    assert "size_px" in str(record.data["why"])
    assert (daemon.inbox / "bad" / "bad.json.error.txt").is_file()


def test_what_cannot_be_set_aside_is_observed_once(daemon: Daemon) -> None:
    """It counts as read, so that nobody is told of it every ten seconds; but they are told."""
    daemon.put("bad", size_px="huge")
    (daemon.inbox / "bad").write_text("in the way")
    (daemon.inbox / "some.jsonl").write_text(json.dumps(quick("good")) + "\nnonsense\n")

    result = daemon.settle()

    assert [one.partition_key for one in result.run_requests or []] == ["good"]
    (observation,) = result.asset_events
    assert observation.metadata["refused"].value == 2
    table = observation.metadata["cannot_be_used"]
    assert isinstance(table, dg.TableMetadataValue)
    told = {str(record.data["what"]): record.data for record in table.records}
    assert set(told) == {"bad.json", "some.jsonl, line 2"}
    assert all(record["is now"] == "" and "it stays where it is" in str(record["why"]) for record in told.values())
    assert "size_px" in str(told["bad.json"]["why"])
    assert daemon.tick().asset_events == []


@pytest.mark.parametrize("where", ["file", "below a file"])
def test_an_inbox_that_cannot_be_is_told_with_its_setting(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Every ten seconds: so it has to say what to do."""
    inbox = tmp_path / "inbox"
    inbox.touch()
    monkeypatch.setenv("MEDIA_ASSETS_INBOX", str(inbox if where == "file" else inbox / "deeper"))

    with pytest.raises(StorageError, match="Set MEDIA_ASSETS_INBOX to a folder"):
        daemon.tick()


def test_what_other_programs_hand_in_is_made_in_the_order_of_priority(daemon: Daemon) -> None:
    with open_ledger(daemon.home) as ledger:
        for number in range(6):
            ledger.inbox.hand_in(json.dumps(quick(f"p{number}")), priority=number)

    (request,) = daemon.tick().run_requests or []

    assert list(_keys_of(request)) == [f"p{number}" for number in (5, 4, 3, 2, 1, 0)]


def test_a_large_file_is_taken_in_over_several_ticks_and_its_cursor_stays_small(daemon: Daemon) -> None:
    """Each tick asks for what it took in; what is added later is asked for alone."""
    daemon.inbox.mkdir(parents=True)
    rows = [json.dumps(quick(f"p{number}")) + "\n" for number in range(250)]
    (daemon.inbox / "many.jsonl").write_text("".join(rows))
    asked: list[str] = []
    for _ in range(4):
        for request in daemon.tick().run_requests or []:
            asked += _keys_of(request)

    with (daemon.inbox / "many.jsonl").open("a") as file:
        file.write(json.dumps(quick("more")) + "\n")
    (request,) = daemon.settle().run_requests or []

    assert asked == [f"p{number}" for number in range(250)]
    assert request.partition_key == "more"
    assert len(daemon.cursor or "") < 200
