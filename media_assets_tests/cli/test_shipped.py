"""Files that ship with the package: found in a checkout and in an installed wheel alike, from one source."""

import tomllib
from pathlib import Path

import pytest

from media_assets.cli.shipped import SHIPPED, shipped
from media_assets_tests.cli.running import call

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", list(SHIPPED))
def test_a_checkout_has_every_shipped_file(name: str) -> None:
    """A checkout is installed editable: nothing is put beside the module there."""
    assert shipped(name).read_bytes() == (ROOT / SHIPPED[name]).read_bytes()


def test_the_wheel_is_told_to_hold_them() -> None:
    """Each is kept once in the repository; the wheel's copy is made when it is built."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]

    assert included == {path: f"media_assets/cli/{name}" for name, path in SHIPPED.items()}


@pytest.mark.webserver
def test_the_ui_starts_on_a_home_elsewhere(tmp_path: Path) -> None:
    """A home that is no project has no dagster.yaml; `--version` lets the webserver start and end at once."""
    home = tmp_path / "home"

    ended = call("ui", "--port", "0", "--version", cwd=ROOT, MEDIA_ASSETS_HOME=home, PYTHONWARNINGS="ignore")

    assert ended.code == 0, ended.err
    assert "dagster-webserver, version" in ended.out
    assert "1 prompts are partitions" in ended.err, "the project's own prompts, whatever the home"
    assert (home / ".dagster" / "dagster.yaml").read_bytes() == (ROOT / "dagster.yaml").read_bytes()
