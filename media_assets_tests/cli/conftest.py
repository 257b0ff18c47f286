"""The command line on a home of the test's own."""

from pathlib import Path

import pytest

from media_assets_tests.cli.running import Cli


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call it like the program: ``cli("ledger", "list")``."""
    return Cli(tmp_path / "home", capsys)
