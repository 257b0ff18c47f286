"""Prompts dropped into the inbox become films, whatever is killed meanwhile: three processes, and one bill."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from media_assets.ledger import open_ledger
from media_assets.ledger.pins import readable
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.defs.dagster_processes import Processes, dagster_processes
from media_assets_tests.defs.deployment import Deployment
from media_assets_tests.simulated import FAST, Market, open_market

_FILES, _BAD = (50, 5) if LONG else (7, 1)
_GOOD = _FILES - _BAD
_DEADLINE_S = 500.0
_ROUTES = {"image": ["replicate:flux-schnell"], "video": ["fal:stable-video"], "audio": ["elevenlabs:flash-v2.5"]}
_SHIPPED = Path(__file__).resolve().parents[2] / "dagster.yaml"
_STORAGES = ("sqlite", "postgres") if LONG else ("sqlite",)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home", latency_s={"replicate": (0.5, 1.0), "fal": (0.5, 1.0)}) as market:
        yield market


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Return a folder with the catalog's voices, whose submissions may take a tenth of the time.

    So long is waited for one that a kill cut off, before ElevenLabs' list can be believed.
    """
    folder = tmp_path / "catalog"
    folder.mkdir()
    shipped = (resources.files("media_assets.catalog") / "data" / "elevenlabs.toml").read_text()
    assert "post_deadline_s = 300\n" in shipped
    (folder / "voices.toml").write_text(shipped.replace("post_deadline_s = 300\n", "post_deadline_s = 30\n"))
    return folder


@pytest.fixture(params=_STORAGES)
def deployment(request: pytest.FixtureRequest) -> Deployment | None:
    """Where Dagster's storage and the ledger are: on Postgres as ``deploy/`` says, or None for SQLite."""
    return request.getfixturevalue("on_postgres") if request.param == "postgres" else None


@pytest.fixture
def processes(market: Market, deployment: Deployment | None, catalog: Path, tmp_path: Path) -> Iterator[Processes]:
    settings = {**market.simulator.environment(), **FAST, "MEDIA_ASSETS_HOME": str(market.home)}
    settings["MEDIA_ASSETS_CATALOG_FOLDER"] = str(catalog)
    if deployment is None:
        instance = yaml.safe_load(_SHIPPED.read_text())
        folder = {"base_dir": str(tmp_path / "dagster" / "storage")}
        instance["storage"] = {"sqlite": folder}
        instance["local_artifact_storage"]["config"] = folder
    else:
        instance = deployment.instance
        settings |= deployment.environment
    with dagster_processes(tmp_path / "dagster", settings, instance) as processes:
        yield processes


def _drop(market: Market) -> None:
    inbox = market.home / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    for number in range(_FILES):
        prompt: dict[str, Any] = {"key": f"p{number}", "prompt": f"barn number {number}", "routes": _ROUTES}
        prompt["script"] = f"This is barn number {number}." if number < _GOOD else 7
        (inbox / f"p{number}.json").write_text(json.dumps(prompt))


def _films(market: Market) -> int:
    return len(list((market.home / "films").glob("*.mp4")))


def _runs(processes: Processes, *statuses: dg.DagsterRunStatus, job: str = "batch") -> list[dg.DagsterRun]:
    with processes.instance() as instance:
        return list(instance.get_runs(filters=dg.RunsFilter(job_name=job, statuses=list(statuses))))


def _assert_once(market: Market, deployment: Deployment | None) -> None:
    """Hold that everything was bought once, that the bill is the ledger's, and that the bad ones are explained."""
    bought = Counter(json.dumps([one["model"], one["input"]], sort_keys=True) for one in market.accepted())
    assert [what for what, times in bought.items() if times > 1] == []
    assert len(bought) == 3 * _GOOD
    assert (market.home / "ledger.db").exists() is (deployment is None)
    with open_ledger(market.home, deployment.ledger_url if deployment else None) as ledger:
        rows = ledger.purchases.search()
        assert sum(row.cost_micro_usd or 0 for row in rows) == market.bill_usd() * 1_000_000
        assert {row.state.name for row in rows} == {"SUCCEEDED"}
        assert {one.status for one in readable(ledger.prompts.every())} == {"done"}
    aside = sorted(path.name for path in (market.home / "inbox" / "bad").glob("*.json"))
    assert aside == sorted(f"p{number}.json" for number in range(_GOOD, _FILES))
    assert all((market.home / "inbox" / "bad" / f"{name}.error.txt").is_file() for name in aside)


@pytest.mark.webserver
def test_a_daemon_that_is_killed_half_way_starts_nothing_twice(
    market: Market,
    deployment: Deployment | None,
    processes: Processes,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(SAMPLE, f"{_FILES} prompts dropped, {_BAD} of them bad, of 50; the daemon killed and restarted")
    _drop(market)
    processes.wait_until(lambda: market.posts() > 0, deadline_s=_DEADLINE_S)
    processes.kill("daemon")
    processes.start("daemon")

    processes.wait_until(lambda: _films(market) == _GOOD, deadline_s=_DEADLINE_S)
    processes.wait_until(lambda: len(_runs(processes, dg.DagsterRunStatus.SUCCESS)) == 1, deadline_s=60)

    _assert_once(market, deployment)
    assert len(_runs(processes)) == 1
    with processes.instance() as instance:
        assert len(instance.get_dynamic_partitions("prompts")) == _GOOD
        records = instance.get_latest_materialization_events([dg.AssetKey("merged")])
        assert records[dg.AssetKey("merged")] is not None


@pytest.mark.webserver
def test_what_a_killed_code_server_leaves_is_finished_and_its_run_started_again(
    market: Market,
    deployment: Deployment | None,
    processes: Processes,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(SAMPLE, f"{_FILES} prompts dropped, {_BAD} of them bad, of 50; the code server killed with its run")
    _drop(market)
    processes.wait_until(lambda: market.posts() > _GOOD // 2, deadline_s=_DEADLINE_S)
    processes.kill("code")
    processes.start("code")

    processes.wait_until(lambda: _films(market) == _GOOD, deadline_s=_DEADLINE_S)
    processes.wait_until(lambda: len(_runs(processes, dg.DagsterRunStatus.SUCCESS)) == 1, deadline_s=60)

    _assert_once(market, deployment)
    assert len(_runs(processes, dg.DagsterRunStatus.FAILURE)) == 1
    assert _runs(processes, dg.DagsterRunStatus.SUCCESS, job="janitor")
