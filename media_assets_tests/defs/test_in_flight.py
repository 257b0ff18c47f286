"""What runs leave behind is noticed and brought to its end, and Dagster learns of runs whose process is gone."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from media_assets.catalog import Recovery
from media_assets.definitions import build_defs
from media_assets.defs.in_flight import in_flight, janitor
from media_assets.defs.jobs import batch
from media_assets.defs.resources import LedgerResource, StoreResource
from media_assets.ledger import open_ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.children import Child, run_children
from media_assets_tests.making import some_request
from media_assets_tests.market_child import BUY
from media_assets_tests.simulated import FAST, Market, open_market


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

    def clear(self) -> dg.ExecuteInProcessResult:
        """Run the janitor."""
        return build_defs().resolve_job_def("janitor").execute_in_process(instance=self.instance)

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
