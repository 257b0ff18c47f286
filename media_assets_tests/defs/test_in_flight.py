"""What runs leave behind is noticed and brought to its end, and Dagster learns of runs whose process is gone."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from media_assets.catalog import Recovery
from media_assets.definitions import build_defs
from media_assets.defs.in_flight import in_flight, janitor
from media_assets.defs.jobs import batch
from media_assets.defs.resources import LedgerResource, StoreResource
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prediction import Prediction, State
from media_assets.recovery.shelf import Shelf
from media_assets_tests.children import Child, run_children
from media_assets_tests.making import some_request
from media_assets_tests.market_child import BUY
from media_assets_tests.simulated import FAST, SMALL, Market, open_market, paid_prompt


class Watch:
    """The sensor and the job, on an instance of Dagster."""

    def __init__(self, instance: dg.DagsterInstance, market: Market) -> None:
        self.instance = instance
        self.market = market

    def look(self) -> dg.SensorResult:
        """Evaluate the sensor."""
        resources = {"store": StoreResource(), "ledger": LedgerResource()}
        context = dg.build_sensor_context(instance=self.instance, resources=resources, definitions=build_defs())
        result = in_flight(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def clear(self, **config: bool) -> dg.ExecuteInProcessResult:
        """Run the janitor."""
        job = build_defs().resolve_job_def("janitor")
        return job.execute_in_process(instance=self.instance, run_config={"ops": {"clear_up": {"config": config}}})

    def told(self, run: dg.ExecuteInProcessResult) -> tuple[dict[str, Any], str]:
        """Return what a janitor's run has as metadata, and all that it said."""
        (done,) = (event for event in run.all_events if event.event_type_value == "STEP_OUTPUT")
        metadata = {name: value.value for name, value in done.step_output_data.metadata.items()}
        return metadata, " ".join(str(event) for event in self.instance.all_logs(run.run_id))

    def run_of(self, owner: str, *, retry: bool = False) -> str:
        """Make a run that Dagster takes to be at work; return its id."""
        run = self.instance.create_run_for_job(batch, status=dg.DagsterRunStatus.STARTED)
        its = "another-run" if retry else run.run_id
        self.instance.add_run_tags(run.run_id, {"ledger_owner": f"{its}:{owner}"})
        return run.run_id

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        """Return how Dagster takes a run to stand."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    storage = tmp_path / "dagster"
    storage.mkdir()
    with open_market(tmp_path / "state") as market, dg.DagsterInstance.local_temp(str(storage)) as instance:
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MEDIA_ASSETS_HOME", str(market.home))
        yield Watch(instance, market)


def _kill_a_buyer(market: Market) -> None:
    arguments = {
        "home": str(market.home),
        "environment": market.simulator.environment(),
        "model": "replicate:flux-schnell",
    }
    child = Child(BUY, arguments, {"MEDIA_ASSETS_CRASH_AT": "id_save.after"})
    ((ended,),) = run_children([[child]], at_once=1, deadline_s=60)
    assert ended.was_killed


def test_what_a_killed_run_had_submitted_is_fetched_and_not_bought_again(watch: Watch) -> None:
    assert watch.look().run_requests == []
    _kill_a_buyer(watch.market)

    (request,) = watch.look().run_requests or []
    (again,) = watch.look().run_requests or []
    assert request.run_key == again.run_key, "asked for once, however often it is noticed"
    run = watch.clear()

    assert run.success
    with open_ledger(watch.market.home) as ledger:
        (row,) = ledger.purchases.search()
    assert (row.state, watch.market.posts()) == (PurchaseState.SUCCEEDED, 1)
    told = " ".join(str(event) for event in watch.instance.all_logs(run.run_id))
    assert "image of child: finished" in told
    assert watch.look().skip_reason is not None
    assert not watch.look().run_requests


@pytest.fixture
def unclear(watch: Watch, tmp_path: Path) -> PurchaseRow:
    """A purchase whose reply was lost while another home of the same account bought the very same."""
    routes = {"image": ["replicate:flux-schnell"], "video": ["local:ken-burns"]}
    prompt = paid_prompt(script=None, routes=routes, **SMALL)
    replace(watch.market, home=tmp_path / "other").make(prompt)
    watch.market.set_faults({"call": "submit", "fault": "exec_and_drop"})
    assert watch.market.attempt(prompt, unknown_policy="hold").error is not None
    watch.market.set_faults()
    with open_ledger(watch.market.home) as ledger:
        return _picture(ledger, PurchaseState.UNKNOWN)


def _picture(ledger: Ledger, state: PurchaseState) -> PurchaseRow:
    (row,) = (row for row in ledger.purchases.search() if row.step == "image")
    assert row.state is state
    return row


def test_what_an_unclear_purchase_may_have_become_is_pulled_while_it_is_there(
    watch: Watch, unclear: PurchaseRow
) -> None:
    """And which is which, a person says; the next run goes on with it, and nothing is bought again."""
    assert len(watch.look().run_requests or []) == 1
    posts = watch.market.posts()

    metadata, said = watch.told(watch.clear())

    assert (metadata["held"], metadata["rescued"]) == (1, 2)
    found = [record.data for record in metadata["may_be_adopted"].records]
    assert {one["may be"] for one in found} == {unclear.request_key[:12]}
    assert all(Path(one["files"]).stat().st_size > 1000 for one in found)
    commands = {one: f"ledger adopt {unclear.request_key[:12]} {one}" for one in (row["prediction"] for row in found)}
    assert len(commands) == 2
    assert all(command in said for command in commands.values())

    (ours,) = {one["id"] for one in watch.market.accepted() if one["id"] in commands} - _known(watch)
    with open_ledger(watch.market.home) as ledger:
        ledger.decisions.adopt(unclear, Prediction(id=ours, state=State.QUEUED), who="a person")
    watch.clear()
    with open_ledger(watch.market.home) as ledger:
        assert _picture(ledger, PurchaseState.SUCCEEDED).prediction_id == ours
    assert watch.market.posts() == posts


def _known(watch: Watch) -> set[str]:
    with open_ledger(watch.market.home.parent / "other") as ledger:
        return {row.prediction_id or "" for row in ledger.purchases.search()}


def test_a_janitor_may_be_told_to_rescue_nothing(watch: Watch, unclear: PurchaseRow) -> None:
    metadata, _ = watch.told(watch.clear(rescues=False))

    assert (metadata["held"], "rescued" in metadata) == (1, False)
    assert not (watch.market.home / "rescued").exists()


def test_a_list_that_cannot_be_had_spoils_nothing_of_the_rest(
    watch: Watch, unclear: PurchaseRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "invalid")

    metadata, said = watch.told(watch.clear())

    assert (metadata["held"], "rescued" in metadata) == (1, False)
    assert "nothing was rescued: replicate" in said
    assert "check the key" in said


def test_one_rescue_at_a_time(watch: Watch, unclear: PurchaseRow) -> None:
    with Shelf(watch.market.home / "rescued").held():
        metadata, said = watch.told(watch.clear())

    assert metadata["held"] == 1
    assert "nothing was rescued: another rescue is at work" in said


def test_what_has_been_unclear_for_long_is_looked_at_seldom(watch: Watch, unclear: PurchaseRow) -> None:
    """And what no list can clear up is for a person alone: no janitor is started for it."""
    first = _run_key(watch)
    _change(watch.market.home, "UPDATE purchase SET created_at = '2026-01-01T00:00:00+00:00'")

    assert len({_run_key(watch), _run_key(watch)}) == 1
    assert _run_key(watch) != first
    assert int(_run_key(watch).split(":")[0]) == int(time.time() // 86_400)
    _change(watch.market.home, "UPDATE purchase SET recovery = 'D'")
    assert watch.look().run_requests == []


def _run_key(watch: Watch) -> str:
    (request,) = watch.look().run_requests or []
    assert request.run_key is not None
    return request.run_key


def _change(home: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as connection, connection:
        connection.execute(statement)


def test_runs_whose_process_is_gone_are_told_to_dagster(watch: Watch) -> None:
    """A retry has inherited its parent's tag, and says nothing of its own process yet."""
    with open_ledger(watch.market.home) as gone:
        dead = gone.owner.id
    with open_ledger(watch.market.home) as alive:
        runs = {
            "dead": watch.run_of(dead),
            "alive": watch.run_of(alive.owner.id),
            "retry": watch.run_of(dead, retry=True),
        }
        assert len(watch.look().run_requests or []) == 1
        watch.clear()
        assert {name: watch.status(run_id) for name, run_id in runs.items()} == {
            "dead": dg.DagsterRunStatus.FAILURE,
            "alive": dg.DagsterRunStatus.STARTED,
            "retry": dg.DagsterRunStatus.STARTED,
        }


def test_one_janitor_is_enough(watch: Watch) -> None:
    _kill_a_buyer(watch.market)
    run = watch.instance.create_run_for_job(janitor, status=dg.DagsterRunStatus.STARTED)

    result = watch.look()

    assert (result.run_requests, str(result.skip_reason)) == ([], str(dg.SkipReason("a janitor is at work")))
    with open_ledger(watch.market.home) as ledger:
        gone = ledger.owner.id
    watch.instance.add_run_tags(run.run_id, {"ledger_owner": f"{run.run_id}:{gone}"})
    assert len(watch.look().run_requests or []) == 1, "its process was killed as well"


def test_what_somebody_works_on_is_left_alone(watch: Watch) -> None:
    with open_ledger(watch.market.home) as ledger:
        claim = ledger.purchases.claim(
            some_request(), recovery=Recovery.LISTED, prompt_key="a", plan_id="plan", estimate_micro_usd=1
        )
        assert isinstance(claim, Claim)
        ledger.purchases.write_intent(claim)

        assert watch.look().run_requests == []
