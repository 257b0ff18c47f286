"""Shared by the tests that run the project's definitions in this process, and by those that want a Postgres."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from media_assets_tests.defs.deployment import Deployment, deploy
from media_assets_tests.defs.materializing import Stage
from media_assets_tests.postgres_server import Server, running_server


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    home, storage = tmp_path / "state", tmp_path / "dagster"
    storage.mkdir()
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(home))
    with dg.DagsterInstance.local_temp(str(storage)) as instance:
        yield Stage(instance, home)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a Postgres on loopback."""
    with running_server(tmp_path_factory.mktemp("postgres")) as one:
        yield one


@pytest.fixture
def on_postgres(server: Server, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Make a database as ``deploy/README.md`` says, and set what it says for this process too."""
    one = deploy(server)
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    return one
