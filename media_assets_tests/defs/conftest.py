"""Shared by the tests that run the project's definitions in this process."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from media_assets_tests.defs.materializing import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    home, storage = tmp_path / "state", tmp_path / "dagster"
    storage.mkdir()
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(home))
    with dg.DagsterInstance.local_temp(str(storage)) as instance:
        yield Stage(instance, home)
