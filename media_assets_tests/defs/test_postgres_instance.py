"""Dagster on Postgres as ``deploy/`` says: what it keeps there, its queue, and the ledger beside it.

The whole, with processes that are killed, is in ``test_arrivals.py``: ``./dev check-long arrivals``.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.test_utils import freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

from media_assets.defs.jobs import batch
from media_assets.defs.sync import Synced, sync
from media_assets.errors import LedgerError
from media_assets.ledger import open_ledger
from media_assets.ledger.database import HEAD, ledger_url
from media_assets.prompt import Prompt
from media_assets.studio import StudioOptions, open_studio
from media_assets_tests.cli.running import PROGRAM, environment
from media_assets_tests.defs.deployment import SHIPPED, Deployment, deploy
from media_assets_tests.defs.materializing import newest_checks, quick
from media_assets_tests.ledger.money import DAY, buy, day_cap, standing
from media_assets_tests.postgres_server import Server

# Of Dagster (1.13.27) about itself, as it reads schedules.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars` is deprecated")

_LOG = logging.getLogger("daemon")
_LIMIT = 10
_NOWHERE = "\nrun_launcher: {module: dagster._core.test_utils, class: MockedRunLauncher}\n"
"""A launcher of Dagster's own that starts no process."""

Opener = Callable[[], dg.DagsterInstance]


@pytest.fixture
def opened(on_postgres: Deployment, tmp_path: Path) -> Iterator[Opener]:
    """Open the instance of the shipped file; each time anew, as another process does."""
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(SHIPPED, home)
    with contextlib.ExitStack() as all_of_them:
        yield lambda: all_of_them.enter_context(dg.DagsterInstance.from_config(str(home)))


@contextlib.contextmanager
def _workspace(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    target = LoadableTargetOrigin(module_name="media_assets.definitions", executable_path=sys.executable)
    origin = InProcessCodeLocationOrigin(target, location_name="media_assets")
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as workspace:
        yield workspace


def _repository(workspace: WorkspaceProcessContext) -> Any:
    (entry,) = workspace.create_request_context().get_code_location_entries().values()
    assert entry.code_location is not None, entry.load_error
    (repository,) = entry.code_location.get_repositories().values()
    return repository


def _queue(instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, count: int) -> None:
    job = _repository(workspace).get_full_job("batch")
    for _ in range(count):
        run = instance.create_run_for_job(
            batch, remote_job_origin=job.get_remote_origin(), job_code_origin=job.get_python_origin()
        )
        instance.submit_run(run.run_id, workspace.create_request_context())


def _statuses(instance: dg.DagsterInstance) -> Counter[str]:
    return Counter(run.status.value for run in instance.get_runs())


def test_the_instance_is_what_the_shipped_file_says(opened: Opener) -> None:
    """A key that Dagster does not know is refused by it; one that it reads otherwise is seen here."""
    instance = opened()

    for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        assert "Postgres" in type(storage).__name__
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert instance.run_coordinator.dequeue_interval_seconds == 1
    concurrency = instance.get_concurrency_config()
    assert concurrency.run_queue_config is not None
    assert concurrency.run_queue_config.max_concurrent_runs == _LIMIT
    assert concurrency.pool_config.default_pool_limit == 4
    assert instance.run_monitoring_enabled
    assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 1)
    assert not instance.run_retries_retry_on_asset_or_op_failure
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled


def test_an_event_wakes_listeners_and_reaches_a_watcher(opened: Opener, on_postgres: Deployment) -> None:
    """The UI watches a run so. Dagster 1.13.27 still sends NOTIFY for every event, and itself polls."""
    watching, writing = opened(), opened()
    run = writing.create_run_for_job(batch)
    seen: list[str] = []
    arrived = threading.Event()

    def notice(entry: dg.EventLogEntry, _cursor: str) -> None:
        seen.append(entry.message)
        arrived.set()

    engine = sa.create_engine(
        ledger_url(on_postgres.ledger_url, Path()), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with engine.connect() as line:
        line.exec_driver_sql("LISTEN run_events")
        watching.watch_event_logs(run.run_id, None, notice)
        writing.report_engine_event("something happened", run)

        assert arrived.wait(30)
        watching.end_watch_event_logs(run.run_id, notice)
        driver: Any = line.connection.driver_connection
        driver.poll()
        assert [one.payload.rpartition("_")[0] for one in driver.notifies] == [run.run_id]
    assert seen == ["something happened"]


def test_no_more_runs_are_started_than_the_file_allows(opened: Opener, tmp_path: Path) -> None:
    """The others stay in the queue, in their order, and start as runs end."""
    (tmp_path / "dagster" / "dagster.yaml").write_text(SHIPPED.read_text() + _NOWHERE)
    instance = opened()

    with _workspace(instance) as workspace, QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
        _queue(instance, workspace, _LIMIT + 2)
        waiting = _statuses(opened())
        list(daemon.run_iteration(workspace))
        full = _statuses(opened())
        first, second = (run.run_id for run in reversed(list(instance.get_runs())[:2]))
        (ended, *_) = instance.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
        instance.report_run_canceled(ended)
        list(daemon.run_iteration(workspace))

    assert waiting == {"QUEUED": _LIMIT + 2}
    assert full == {"STARTING": _LIMIT, "QUEUED": 2}
    assert _statuses(opened()) == {"STARTING": _LIMIT, "QUEUED": 1, "CANCELED": 1}
    status = {run.run_id: run.status for run in instance.get_runs()}
    assert (status[first], status[second]) == (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.QUEUED)


def test_sensors_and_schedules_start_runs_and_are_remembered(
    opened: Opener, on_postgres: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's own loops, over what people switch on: a file becomes a partition and a run, 01:00 a batch."""
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(tmp_path / "home"))
    inbox = tmp_path / "home" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "barn.yaml").write_text("{key: barn, prompt: a red barn, script: This is a barn.}")
    instance, now = opened(), datetime.now(UTC)

    with _workspace(instance) as workspace:
        repository = _repository(workspace)
        instance.start_sensor(repository.get_sensor("new_prompts"))
        instance.start_schedule(repository.get_schedule("nightly_batch"))
        for minutes in (1, 2, 3):
            with freeze_time(now + timedelta(minutes=minutes)):
                list(execute_sensor_iteration(workspace, _LOG, None, None))
        tomorrow = now + timedelta(days=1)
        with freeze_time(tomorrow):
            list(launch_scheduled_runs(workspace, _LOG, tomorrow, {}))

    later = opened()
    assert later.get_dynamic_partitions("prompts") == ["barn"]
    runs = {run.job_name: run for run in later.get_runs()}
    assert _statuses(later) == {"QUEUED": 2}
    assert runs["films"].tags["dagster/sensor_name"] == "new_prompts"
    assert runs["films"].tags["dagster/partition"] == "barn"
    assert runs["batch"].tags["dagster/schedule_name"] == "nightly_batch"
    states = {state.name: state for state in later.all_instigator_state()}
    assert {state.status.value for name, state in states.items() if name in {"new_prompts", "nightly_batch"}} == {
        "RUNNING"
    }
    remembered = states["new_prompts"].instigator_data
    assert isinstance(remembered, SensorInstigatorData)
    assert remembered.cursor
    with open_ledger(tmp_path / "home", on_postgres.ledger_url) as ledger:
        assert [pinned.key for pinned in ledger.prompts.every()] == ["barn"]


def test_dagster_and_the_ledger_leave_each_other_alone(opened: Opener, on_postgres: Deployment, tmp_path: Path) -> None:
    """Both upgrade by Alembic in one database. Whatever becomes of Dagster's log, what was paid stays known."""
    version = "SELECT version_num FROM {}.alembic_version"
    with open_ledger(tmp_path, on_postgres.ledger_url) as ledger:
        buy(ledger, "0.90", [day_cap()])
    opened()
    ((newest,),) = on_postgres.run(version.format("public"))
    on_postgres.run("UPDATE public.alembic_version SET version_num = 'f495c27d5019'")
    opened().upgrade()

    assert on_postgres.run(version.format("public")) == [(newest,)]
    assert on_postgres.run(version.format("media_assets")) == [(HEAD,)]
    on_postgres.run("DROP SCHEMA public CASCADE")
    on_postgres.run("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
    assert opened().get_runs() == []
    with open_ledger(tmp_path, on_postgres.ledger_url) as ledger:
        assert standing(ledger) == {DAY: ("0.90", "0.00", False)}


def test_a_wiped_log_is_written_again_by_the_command(opened: Opener, on_postgres: Deployment, tmp_path: Path) -> None:
    """From the ledger in the same database, with partitions and checks; a second time there is nothing to do."""
    home = tmp_path / "home"
    given = environment(MEDIA_ASSETS_HOME=home, DAGSTER_HOME=tmp_path / "dagster", **on_postgres.environment)
    with open_studio(home, StudioOptions(ledger_url=on_postgres.ledger_url)) as studio:
        asyncio.run(studio.make(Prompt.model_validate(quick("barn"))))
        assert _told(sync(studio, opened())) == (1, 4, 4, 0)
        opened().event_log_storage.wipe()
        assert opened().get_dynamic_partitions("prompts") == []

        command = [*PROGRAM, "dagster-sync", "--json"]
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["partitions"], told["reported"], told["checked"], told["known"]) == (1, 4, 4, 0)
        assert _told(sync(studio, opened())) == (0, 0, 0, 4)
        assert len(studio.ledger.purchases.search()) == 4
    assert opened().get_dynamic_partitions("prompts") == ["barn"]
    assert newest_checks(opened(), "merged", "conforms") == {"barn": "SUCCEEDED"}


def _told(done: Synced) -> tuple[int, int, int, int]:
    return done.partitions, done.reported, done.checked, done.known


def test_a_ledger_is_not_begun_among_dagsters_tables(opened: Opener, on_postgres: Deployment, tmp_path: Path) -> None:
    """The most likely mistake: the same URL for both."""
    opened()
    shared = on_postgres.ledger_url.partition("?")[0]

    with pytest.raises(LedgerError, match="another program's tables"):
        open_ledger(tmp_path, shared).__enter__()

    assert on_postgres.run("SELECT to_regclass('public.purchase')") == [(None,)]


def test_dagster_does_not_begin_among_the_ledgers_tables(
    opened: Opener, on_postgres: Deployment, tmp_path: Path
) -> None:
    """The other way round Dagster refuses, with a message of its own; what was paid stays known."""
    shared = on_postgres.ledger_url.partition("?")[0]
    with open_ledger(tmp_path, shared) as ledger:
        buy(ledger, "0.90", [day_cap()])

    with pytest.raises(CommandError, match=f"Can't locate revision identified by '{HEAD}'"):
        opened()

    with open_ledger(tmp_path, shared) as ledger:
        assert standing(ledger) == {DAY: ("0.90", "0.00", False)}


def test_two_deployments_on_a_server_share_nothing(server: Server, on_postgres: Deployment, tmp_path: Path) -> None:
    """The page is followed once for each; guards the helper, too: it must not find the other one's database."""
    other = deploy(server)

    assert other.database != on_postgres.database
    assert other.environment["DAGSTER_PG_DB"] == other.database
    with open_ledger(tmp_path, on_postgres.ledger_url) as ledger:
        buy(ledger, "0.90", [day_cap()])
    with open_ledger(tmp_path, other.ledger_url) as ledger:
        assert standing(ledger) == {}
