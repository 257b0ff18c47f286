"""The locked sets: whole, hashed, without an address, and in step with what pyproject.toml asks for."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("run", "dev", "uv")
PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Pin:
    """One line of a lock."""

    name: str
    version: Version
    marker: Marker | None
    hashes: tuple[str, ...]

    def holds_for(self, python: str) -> bool:
        """Whether it is installed on Linux with this Python."""
        return self.marker is None or self.marker.evaluate(_machine(python))


def _machine(python: str) -> dict[str, str]:
    return {
        "python_version": python,
        "python_full_version": f"{python}.4",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }


def _text(lock: str) -> str:
    return (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")


def _pins(text: str) -> Iterator[Pin]:
    joined = re.sub(r" *\\\n *", " ", text)
    for line in joined.splitlines():
        if not line or line.startswith("#"):
            continue
        wanted, *hashes = line.split(" --hash=")
        requirement = Requirement(wanted)
        (pinned,) = requirement.specifier
        assert pinned.operator == "=="
        yield Pin(canonicalize_name(requirement.name), Version(pinned.version), requirement.marker, tuple(hashes))


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _wanted() -> Mapping[str, list[Requirement]]:
    """Return what each lock has to satisfy."""
    project = _project()
    own = project["project"]["dependencies"]
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    dev = [line for line in extras["dev"] + extras["test"] if not line.startswith("media_assets")]
    return {
        "run": [Requirement(line) for line in own + groups["run"]],
        "dev": [Requirement(line) for line in own + dev + groups["run"]],
        "uv": [Requirement(line) for line in groups["uv"]],
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    """Without a hash an index decides what runs here."""
    pins = list(_pins(_text(lock)))

    assert pins
    assert [pin.name for pin in pins if not pin.hashes] == []
    assert [one for pin in pins for one in pin.hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", one)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_address(lock: str) -> None:
    """A lock that records hosts works only where they are reached, and tells where it was made."""
    for word in ("://", "--index-url", "--extra-index-url", "--find-links", "--trusted-host", "file:", "@ "):
        assert word not in _text(lock)


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_locked_to_a_version_that_satisfies_it(lock: str, python: str) -> None:
    """A forgotten ``./dev lock`` installs what was wanted last month."""
    pins = {pin.name: pin.version for pin in _pins(_text(lock)) if pin.holds_for(python)}
    wanted = {canonicalize_name(requirement.name): requirement for requirement in _wanted()[lock]}

    assert wanted.keys() - pins.keys() == set()
    assert {name: str(pins[name]) for name, one in wanted.items() if pins[name] not in one.specifier} == {}


@pytest.mark.parametrize("python", PYTHONS)
def test_each_package_has_one_version_a_python(python: str) -> None:
    """Two pins of one name whose markers overlap cannot be installed."""
    names = [pin.name for pin in _pins(_text("dev")) if pin.holds_for(python)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("python", PYTHONS)
def test_what_people_run_is_what_was_tested(python: str) -> None:
    """``./dev test`` installs the dev set, ``./dev demo`` the run set."""
    run, dev = (
        {pin.name: pin.version for pin in _pins(_text(lock)) if pin.holds_for(python)} for lock in ("run", "dev")
    )

    assert {name: str(version) for name, version in run.items() if dev.get(name) != version} == {}


def test_every_extra_and_group_is_looked_at() -> None:
    """A new group with a lock of its own, or none, would be checked by nobody."""
    project = _project()

    assert set(project["project"]["optional-dependencies"]) == {"dev", "test"}
    assert set(project["dependency-groups"]) == {"run", "uv"}
    assert {path.stem for path in (ROOT / "requirements").glob("*.lock")} == set(LOCKS)


def test_workspace_and_pyproject_name_the_same_module() -> None:
    """``dagster dev`` reads one and ``dagster definitions validate`` may read the other."""
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))
    dagster = _project()["tool"]["dagster"]

    (location,) = [one["python_module"] for one in workspace["load_from"]]

    assert location["module_name"] == dagster["module_name"] == "media_assets.definitions"
    assert location["location_name"] == dagster["code_location_name"] == "media_assets"


def test_dagster_and_its_libraries_are_exact_and_move_together() -> None:
    """Dagster 1.x.y and its libraries 0.(x+16).y are one release; a mixture fails at import or, worse, later."""
    exact = {
        requirement.name: Version(str(requirement.specifier).removeprefix("=="))
        for requirement in _wanted()["run"]
        if requirement.name.startswith("dagster") and str(requirement.specifier).startswith("==")
    }
    core = exact["dagster"]

    assert exact.keys() == {"dagster", "dagster-postgres", "dagster-webserver"}
    assert exact["dagster-webserver"] == core
    assert exact["dagster-postgres"] == Version(f"0.{core.minor + 16}.{core.micro}")
    locked = {pin.name: pin.version for pin in _pins(_text("run")) if pin.name.startswith("dagster")}
    release = {core, exact["dagster-postgres"]}
    assert {name: str(version) for name, version in locked.items() if version not in release} == {}


def test_setup_cfg_names_the_package() -> None:
    """The user asked for Dagster's own scaffold, whose two lines these are."""
    lines = (ROOT / "setup.cfg").read_text(encoding="utf-8").split("\n")

    assert lines == ["[metadata]", "name = media_assets", ""]


def test_a_pin_without_a_hash_is_noticed() -> None:
    """Guards the reader of locks: one that saw no pins would find no fault."""
    (whole, bare) = _pins("a==1 \\\n    --hash=sha256:00\nb==2 ; sys_platform == 'win32'\n")

    assert (whole.hashes, bare.hashes) == (("sha256:00",), ())
    assert not bare.holds_for("3.12")
