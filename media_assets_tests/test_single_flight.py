"""Sixteen processes want the same film at the same moment: each step is made once, and everybody gets the film."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest

from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Step
from media_assets_tests.children import race
from media_assets_tests.making import OWN_ROUTES, cheap_prompt, leftovers, purchases, reserved_micro_usd

_PROCESSES = 16
_DEADLINE_S = 150
_COMMAND = [sys.executable, "-c", "from media_assets.cli import main; main()", "generate"]


def _generate(file: Path, folders: Sequence[Path], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Run ``media-assets generate FILE --json`` in every folder at once; return what each printed."""
    variables = {**os.environ, "MEDIA_ASSETS_MIN_IMAGE_SIDE_PX": "64", **environment}
    running = [
        Popen([*_COMMAND, str(file), "--json"], cwd=folder, env=variables, stdout=PIPE, stderr=PIPE, text=True)
        for folder in folders
    ]
    printed = []
    for process in running:
        output, errors = process.communicate(timeout=_DEADLINE_S)
        assert process.returncode == 0, errors
        printed.append(json.loads(output))
    return printed


def _assert_made_once(home: Path, films: Sequence[Mapping[str, Any]]) -> None:
    rows = purchases(home)
    assert {step: (row.state, row.attempts) for step, row in rows.items()} == dict.fromkeys(
        Step, (PurchaseState.SUCCEEDED, 1)
    )
    assert all("error" not in film for film in films)
    for number, step in enumerate(Step):
        assert [film["steps"][number]["cached"] for film in films].count(False) == 1, f"{step} made once, by one"
    digests = {film["film"]["sha256"] for film in films}
    assert digests == {hashlib.sha256(Path(films[0]["film"]["path"]).read_bytes()).hexdigest()}
    assert leftovers(home) == []
    assert reserved_micro_usd(home) == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with one cheap prompt."""
    path = tmp_path / "film.json"
    path.write_text(cheap_prompt().model_dump_json())
    return path


def test_sixteen_commands_at_once_make_one_film(tmp_path: Path, file: Path) -> None:
    """A schedule, a sensor, a colleague and a script all start at nine; the bill is for one."""
    home = tmp_path / "home"

    films = _generate(file, [tmp_path] * _PROCESSES, {"MEDIA_ASSETS_HOME": str(home)})

    assert {film["home"] for film in films} == {str(home)}
    _assert_made_once(home, films)


def test_sixteen_forked_processes_at_once_make_one_film(tmp_path: Path) -> None:
    """The same without the time that starting Python takes, so that they really meet; and with prices and a cap."""
    prompt = cheap_prompt(routes=OWN_ROUTES, max_cost_usd="0.48").model_dump(mode="json")
    arguments = {"home": str(tmp_path), "prompt": prompt}

    films = race("media_assets_tests.making:make_film", [arguments] * _PROCESSES)

    _assert_made_once(tmp_path, films)
    assert sorted(film["spent_usd"] for film in films)[-1] != "0"
    assert {film["cost_usd"] for film in films} == {"0.03"}


@pytest.mark.parametrize("setting", ["MEDIA_ASSETS_MAX_DAY_USD", "MEDIA_ASSETS_TESTING_MAX_DAY_USD"])
def test_eight_processes_make_as_many_films_as_the_day_pays_for(tmp_path: Path, setting: str) -> None:
    """Eight schedules, each with a film of its own, and money for three: three films whole, and none begun in vain."""
    prompts = [
        cheap_prompt(key=f"film-{take}", routes=OWN_ROUTES, take=take).model_dump(mode="json") for take in range(8)
    ]
    caps = {"max_day_usd": "0.11"} if setting == "MEDIA_ASSETS_MAX_DAY_USD" else {"providers": {"testing": "0.11"}}

    films = race(
        "media_assets_tests.making:make_film", [{"home": str(tmp_path), "prompt": one, **caps} for one in prompts]
    )

    deferred = [film for film in films if film["deferred"]]
    assert (len(films), len(deferred)) == (8, 5)
    assert all(setting in film["error"]["message"] for film in deferred)
    assert all(step["artifact"] is None for film in deferred for step in film["steps"])
    assert sum(Decimal(film["spent_usd"]) for film in films) == Decimal("0.09")
    assert reserved_micro_usd(tmp_path) == 0
    assert leftovers(tmp_path) == []


def test_two_working_directories_of_one_project_share_one_ledger(tmp_path: Path, file: Path) -> None:
    """Whoever runs the command in a subfolder must not buy everything a second time."""
    project = tmp_path / "project"
    inner = project / "prompts" / "spring"
    inner.mkdir(parents=True)
    (project / "workspace.yaml").touch()

    films = _generate(file, [project, inner], {})

    assert {film["home"] for film in films} == {str(project / ".media_assets")}
    assert [path.name for path in tmp_path.rglob("ledger.db")] == ["ledger.db"]
    _assert_made_once(project / ".media_assets", films)


def test_two_projects_have_two_ledgers(tmp_path: Path, file: Path) -> None:
    """The other way round: a neighbour's state is not ours."""
    projects = [tmp_path / name for name in ("one", "two")]
    for project in projects:
        project.mkdir()
        (project / "workspace.yaml").touch()

    films = _generate(file, projects, {})

    for project, film in zip(projects, films, strict=True):
        assert film["home"] == str(project / ".media_assets")
        _assert_made_once(project / ".media_assets", [film])
