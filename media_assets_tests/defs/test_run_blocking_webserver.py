"""What the UI's Terminate button does to a step that waits in ``run_blocking``: decision 9, through all processes."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets_tests.defs.blocking_definitions import EVENTS_PER_TICK, WORKERS
from media_assets_tests.defs.webserver import Webserver, webserver

pytestmark = pytest.mark.webserver

_CANCELED_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webserver]:
    """Serve the toy definitions; all tests here share one server, as all runs of a user do."""
    home = tmp_path_factory.mktemp("dagster")
    with webserver(("-m", "media_assets_tests.defs.blocking_definitions"), home=home) as server:
        server.add_partition("toys", "lighthouse")
        yield server


@pytest.fixture
def launch(server: Webserver, tmp_path: Path) -> Callable[..., str]:
    """Launch a run whose workers leave their marks in ``tmp_path``."""

    def launch(**config: Any) -> str:
        return server.launch(
            ["first", "second"],
            partition_key="lighthouse",
            run_config={"ops": {"toys": {"config": {"marks": str(tmp_path), **config}}}},
        )

    return launch


def _wait_for_marks(folder: Path, name: str, *, count: int = 1) -> None:
    ends_at_s = time.monotonic() + 60
    while len(list(folder.glob(name))) < count:
        assert time.monotonic() < ends_at_s, f"no {count} x {name} in {folder}"
        time.sleep(0.02)


def _assert_canceled(server: Webserver, run_id: str, folder: Path, *, since_s: float) -> None:
    server.wait_for(run_id, {"CANCELED"}, deadline_s=_CANCELED_WITHIN_S)
    assert time.monotonic() - since_s < _CANCELED_WITHIN_S
    assert len(list(folder.glob("started-*"))) == WORKERS
    assert len(list(folder.glob("cleaned-*"))) == WORKERS
    reported = [(it.asset, it.partition, it.metadata) for it in server.materializations(run_id)]
    assert reported == [("first", "lighthouse", {"late": True})]


def _assert_completes(server: Webserver, run_id: str) -> None:
    server.wait_for(run_id, {"SUCCESS"}, deadline_s=60)
    assert [it.asset for it in server.materializations(run_id)] == ["first", "second"]


def test_terminate_cleans_up_and_reports_what_had_finished(
    server: Webserver, launch: Callable[..., str], tmp_path: Path
) -> None:
    """With async assets Terminate never reached the coroutines, and the provider went on billing."""
    run_id = launch(work_s=60)
    _wait_for_marks(tmp_path, "started-*", count=WORKERS)

    since_s = time.monotonic()
    assert server.terminate(run_id) == "TerminateRunSuccess"

    _assert_canceled(server, run_id, tmp_path, since_s=since_s)
    _assert_completes(server, launch())


def test_signals_during_the_clean_up_do_not_break_it_off(
    server: Webserver, launch: Callable[..., str], tmp_path: Path
) -> None:
    """A second click, or a container that is being stopped, killed the clean-up and the report."""
    run_id = launch(work_s=60, clean_s=1.5)
    _wait_for_marks(tmp_path, "started-*", count=WORKERS)
    run_process_id = int((tmp_path / "started-0").read_text())

    since_s = time.monotonic()
    server.terminate(run_id)
    _wait_for_marks(tmp_path, "cleaning-*", count=WORKERS)
    server.terminate(run_id)
    os.kill(run_process_id, signal.SIGTERM)
    os.kill(run_process_id, signal.SIGINT)
    assert not list(tmp_path.glob("cleaned-*")), "the signals came too late to prove anything"

    _assert_canceled(server, run_id, tmp_path, since_s=since_s)
    _assert_completes(server, launch())


def test_terminate_while_an_event_is_stored_loses_neither(
    server: Webserver, launch: Callable[..., str], tmp_path: Path
) -> None:
    """An interrupt from within Dagster's storage left events half told and coroutines running."""
    run_id = launch(work_s=60, events=True)
    _wait_for_marks(tmp_path, "started-*", count=WORKERS)

    (tmp_path / "storing").unlink(missing_ok=True)
    _wait_for_marks(tmp_path, "storing")
    since_s = time.monotonic()
    assert server.terminate(run_id) == "TerminateRunSuccess"

    _assert_canceled(server, run_id, tmp_path, since_s=since_s)
    stored = [it for it in server.events(run_id) if it["__typename"] == "ObservationEvent"]
    assert stored
    assert len(stored) % EVENTS_PER_TICK == 0, "a tick was broken off"
    cleaned_at_s = (tmp_path / "cleaned-0").stat().st_mtime
    assert cleaned_at_s < (tmp_path / "stored").stat().st_mtime, "the signal did not meet a tick"
    _assert_completes(server, launch())
