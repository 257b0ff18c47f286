"""The sensors that call a webhook: each thing once, and nothing while they have no address."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from media_assets.definitions import build_defs
from media_assets.defs.alerts import budget_alert, run_failure_alert
from media_assets.defs.resources import LedgerResource, StoreResource
from media_assets.errors import ConfigurationError
from media_assets.ledger import open_ledger
from media_assets.ledger.budgets import Cap
from media_assets_tests.defs.materializing import pin, quick
from media_assets_tests.ledger.money import buy
from media_assets_tests.providers.transport.raw_server import Connection, RawServer

_DAY = f"day:{datetime.now(UTC).date()}"
"""The sensor looks at the budgets of today."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as one:
        yield one


def _ok(connection: Connection) -> None:
    connection.read_request()
    connection.reply(b"ok")


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    with RawServer(_ok) as server:
        monkeypatch.setenv("MEDIA_ASSETS_ALERT_URL", f"{server.url}/hook")
        yield server


def _told(webhook: RawServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in webhook.requests]


def _look(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    resources = {"store": StoreResource(), "ledger": LedgerResource()}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources, definitions=build_defs())
    result = budget_alert(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def test_a_budget_that_is_almost_used_up_is_told_once(
    home: Path, instance: dg.DagsterInstance, webhook: RawServer
) -> None:
    """Not every minute until midnight."""
    with open_ledger(home) as ledger:
        buy(ledger, "0.79", [Cap(_DAY, 1_000_000, "cap")], take=1)
        first = _look(instance)
        assert isinstance(first, dg.SensorResult)
        assert _told(webhook) == []
        buy(ledger, "0.02", [Cap(_DAY, 1_000_000, "cap")], take=2)
    second = _look(instance, first.cursor)
    assert isinstance(second, dg.SensorResult)
    _look(instance, second.cursor)

    (alert,) = _told(webhook)
    assert (alert["kind"], alert["title"]) == ("budget", f"the budget {_DAY} is almost used up")
    assert alert["fields"] == {"spent_usd": "0.81", "reserved_usd": "0", "cap_usd": "1"}


def test_an_overrun_is_told_as_what_it_is(home: Path, instance: dg.DagsterInstance, webhook: RawServer) -> None:
    with open_ledger(home) as ledger:
        buy(ledger, "0.10", [Cap(_DAY, 1_000_000, "cap")], billed_usd="0.20")

    _look(instance)

    (alert,) = _told(webhook)
    assert "is overrun, and blocked" in alert["title"]
    assert "budget accept" in alert["text"]


def test_without_an_address_nothing_is_told(home: Path, instance: dg.DagsterInstance) -> None:
    result = _look(instance)

    assert isinstance(result, dg.SkipReason)
    assert "MEDIA_ASSETS_ALERT_URL is not set" in str(result.skip_message)


def test_what_was_sent_is_not_sent_again_because_another_could_not_be(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next tick tries what is left, and says meanwhile what is wrong."""

    def refuse_second(connection: Connection) -> None:
        connection.read_request()
        connection.reply(b"", status="500 Down" if len(server.requests) == 2 else "200 OK")

    _spend_most_of_two_budgets(home)
    with RawServer(refuse_second) as server:
        monkeypatch.setenv("MEDIA_ASSETS_ALERT_URL", f"{server.url}/hook")
        first = _look(instance)
        assert isinstance(first, dg.SensorResult)
        second = _look(instance, first.cursor)
        assert isinstance(second, dg.SensorResult)
        third = _look(instance, second.cursor)

        titles = [alert["title"] for alert in _told(server)]
    assert "status 500; see MEDIA_ASSETS_ALERT_URL" in str(first.skip_reason)
    assert second.skip_reason is None
    assert isinstance(third, dg.SensorResult)
    assert "no budget is newly" in str(third.skip_reason)
    assert len(titles) == 3
    assert titles[1] == titles[2] != titles[0], "the one that was refused, once more"


def test_what_may_have_arrived_is_not_told_every_minute(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drop(connection: Connection) -> None:
        connection.read_request()

    _spend_most_of_two_budgets(home)
    with RawServer(drop) as server:
        monkeypatch.setenv("MEDIA_ASSETS_ALERT_URL", f"{server.url}/hook")
        first = _look(instance)
        assert isinstance(first, dg.SensorResult)
        _look(instance, first.cursor)

        assert len(server.requests) == 2
    assert str(first.skip_reason).count("may have arrived") == 2


def _spend_most_of_two_budgets(home: Path) -> None:
    with open_ledger(home) as ledger:
        scopes = (_DAY, f"provider:testing:{datetime.now(UTC).date()}")
        buy(ledger, "0.9", [Cap(scope, 1_000_000, "cap") for scope in scopes])


@pytest.mark.parametrize("url", ["nonsense", "https://ho st/CANARY"])
def test_an_address_that_is_none_is_told_before_anything_is_due(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("MEDIA_ASSETS_ALERT_URL", url)

    with pytest.raises(ConfigurationError, match="MEDIA_ASSETS_ALERT_URL cannot be used") as caught:
        _look(instance)

    assert url not in str(caught.value)


def test_a_failed_run_is_told_in_the_words_of_its_failure(
    home: Path, instance: dg.DagsterInstance, webhook: RawServer
) -> None:
    pin(home, quick("bad", routes={"image": ["no:such"]}))
    defs = build_defs()
    run = defs.resolve_job_def("batch").execute_in_process(instance=instance, raise_on_error=False)
    failed = run.get_run_failure_event()
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure_alert", dagster_event=failed, dagster_instance=instance, dagster_run=run.dagster_run
    ).for_run_failure()

    run_failure_alert(context)

    (alert,) = _told(webhook)
    assert (alert["kind"], alert["title"]) == ("run_failed", "the run of batch has failed")
    assert "no model is called 'no:such'" in alert["text"]
    assert alert["fields"]["run"] == f"http://127.0.0.1:3000/runs/{run.run_id}"
