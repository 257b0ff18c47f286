"""The architecture as a test: who may import what (DESIGN §3 and §4), read from the source of every module.

Imports inside functions count: they only move the day on which they hurt.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "media_assets"

MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "__future__": (),  # Dagster reads annotations at run time
    "alembic": ("ledger/*",),
    "dagster": ("defs/*", "definitions.py"),
    "ffmpeg": ("media/_ffmpeg.py",),
    "fal_client": (),  # no vendor's SDK: one lost reply makes them submit 3 to 10 times
    "elevenlabs": (),
    "httpx": ("providers/transport/*",),
    "imageio_ffmpeg": ("media/_ffmpeg.py",),
    "jinja2": ("gallery/page.py",),
    "markupsafe": ("gallery/page.py",),  # one place decides what is markup
    "matplotlib": ("report/charts.py",),  # 0.7 s of CPU and 40 MB to import
    "multiprocessing": (),
    "obstore": ("artifact.py", "artifact/*"),
    "openai": (),
    "psycopg2": ("ledger/*",),
    "pydantic_settings": ("settings.py",),
    "replicate": (),
    "requests": (),
    "rich": ("cli/*",),
    "socket": ("simulator/*", "testing.py", "cli/ui.py"),  # ui asks whether its port is free
    "sqlalchemy": ("ledger/*",),
    "sqlite3": ("ledger/*",),
    "starlette": ("simulator/*",),
    "subprocess": ("media/_ffmpeg.py", "media/examine.py", "cli/ui.py"),  # ui starts Dagster's own programs
    "tenacity": ("providers/transport/*",),
    "typer": ("cli/*",),
    "urllib.request": (),
    "uvicorn": ("simulator/*", "testing.py"),
}
"""Which files may import a library; every one not named here is free."""

MAY_READ_ENVIRONMENT: Mapping[str, str] = {
    "cli/doctor.py": "says which providers' keys are set and can be sent, by name only",
    "cli/ui.py": "hands its environment on to Dagster's processes, and honours DAGSTER_HOME",
    "crash_points.py": "MEDIA_ASSETS_CRASH_AT is for tests, and must work where no settings are read",
    "ledger/database.py": "MEDIA_ASSETS_ALLOW_NETWORK_FS overrides a refusal that is met where files are opened",
    "media/_ffmpeg.py": "MEDIA_ASSETS_FFMPEG is wanted wherever a process is started, in children too",
}
"""Files that read environment variables by themselves; every other option comes from ``settings.py``."""

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "crash_points", "durable", "threads", "canonical", "redact", "letters", "spreadsheet"),
    ("prompt", "recall", "turns"),
    ("prompt_file",),
    ("growing_file",),
    ("catalog",),
    ("request",),
    ("prediction",),
    ("pricing",),
    ("artifact",),
    ("ledger",),
    ("caps", "inbox"),
    ("media",),
    ("providers",),
    ("alerts", "orders"),
    ("submission", "receiving", "undecided", "stopping"),
    ("finishing",),
    ("purchase",),
    ("left_open", "outlays", "routes", "siblings", "standing", "steps"),
    ("film", "judging"),
    ("drafting", "exporting", "found", "made"),
    ("plan",),
    ("reserving",),
    ("chain",),
    ("studio",),
    ("batch", "conformity", "recovery", "spent_so_far", "status", "unmade"),
    ("report", "gallery"),
    ("settings",),
    ("simulator",),
    ("testing",),
    ("cli", "defs"),
    ("definitions",),
)
"""The house from top to bottom: a room may import from those above it only, not from its neighbours in a line."""

MAY_IMPORT_SETTINGS = ("cli/*", "defs/*", "testing.py")
"""``cli/`` and ``defs/`` read settings and pass plain values down."""

PRIVATE_BORROWED: frozenset[tuple[str, str]] = frozenset()
"""Underscored modules used outside their own room: none."""

SIMULATOR_KNOWS_NOTHING_OF = frozenset({"catalog", "letters", "pricing", "request", "providers"})
"""Its bill must be able to disagree with ours."""


@dataclass(frozen=True)
class Import:
    """One imported module, and the file that imports it."""

    file: str
    """Relative to the package, with slashes."""
    module: str
    line: int

    @property
    def room(self) -> str:
        """The top-level name in the package that the importing file belongs to."""
        return self.file.partition("/")[0].removesuffix(".py")

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports_of(file: str, source: str) -> list[Import]:
    """Return every module that a source names in an import, wherever the import stands."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [Import(file, alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.append(Import(file, "." * node.level + (node.module or ""), node.lineno))
                continue
            found += [Import(file, f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
        elif isinstance(node, ast.Call) and _called(node) in {"__import__", "import_module"}:
            name = node.args[0] if node.args else None
            known = name.value if isinstance(name, ast.Constant) else "?"
            found.append(Import(file, str(known), node.lineno))
    return found


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _names(module: str, library: str) -> bool:
    return module == library or module.startswith(f"{library}.")


def _allowed(file: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(file, pattern) for pattern in patterns)


def misplaced_libraries(imports: Iterable[Import]) -> list[str]:
    """Return the imports of libraries outside the place they have."""
    return [
        str(one)
        for one in imports
        for library, places in MAY_IMPORT.items()
        if _names(one.module, library) and not _allowed(one.file, places)
    ]


def _room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "media_assets" and len(parts) > 1 else None


def _level(room: str) -> int:
    return next((number for number, rooms in enumerate(LAYERS) if room in rooms), -1)


def imports_against_the_order(imports: Iterable[Import]) -> list[str]:
    """Return the imports that do not go upwards in the table of layers, and rooms that the table does not know."""
    faults = []
    for one in imports:
        room = _room_of(one.module)
        if room is None or room == one.room:
            continue
        if _level(room) < 0 or _level(one.room) < 0:
            faults.append(f"{one}: a room that the table of layers does not know")
        elif _level(room) >= _level(one.room):
            faults.append(f"{one}, which is not above it")
    return faults


def environment_readers(file: str, source: str) -> list[str]:
    """Return the lines on which a source reads environment variables by itself."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute | ast.Name | ast.alias)]
    words = {"environ", "environb", "getenv", "getenvb"}
    return [
        f"{file}:{node.lineno} reads the environment"
        for node in nodes
        if (node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else node.name)
        in words
    ]


def _sources() -> dict[str, str]:
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))
    }


SOURCES = _sources()
IMPORTS = [one for file, source in SOURCES.items() for one in imports_of(file, source)]


def test_each_library_stays_in_its_place() -> None:
    """The core runs without Dagster; HTTP, processes, SQL and the terminal have one door each."""
    assert misplaced_libraries(IMPORTS) == []


def test_imports_go_upwards_only() -> None:
    """A module that calls up makes a ring, and a ring can be tested, understood and replaced only as a whole."""
    assert imports_against_the_order(IMPORTS) == []


def test_every_module_has_a_place_in_the_order() -> None:
    """A new room is placed on purpose, not where its imports happen to work."""
    rooms = {file.partition("/")[0].removesuffix(".py") for file in SOURCES} - {"__init__"}

    assert {room for room in rooms if _level(room) < 0} == set()


def test_no_relative_imports() -> None:
    """A whole path can be searched for."""
    assert [str(one) for one in IMPORTS if one.module.startswith(".")] == []


def test_no_import_is_computed() -> None:
    """A name made at run time would pass every rule here unseen."""
    assert [str(one) for one in IMPORTS if one.module == "?"] == []


def test_the_package_itself_imports_nothing() -> None:
    """``import media_assets`` must cost nothing and start nothing."""
    assert [one for one in IMPORTS if one.file == "__init__.py"] == []


def test_only_the_front_rooms_know_the_settings() -> None:
    """Plain values go down, so that the core behaves alike in the CLI, in Dagster and in a test."""
    users = [one for one in IMPORTS if _names(one.module, "media_assets.settings")]

    assert [str(one) for one in users if not _allowed(one.file, MAY_IMPORT_SETTINGS)] == []


@pytest.mark.parametrize("room", ["purchase", "chain", "plan", "steps", "studio"])
def test_only_cli_and_defs_read_the_settings(room: str) -> None:
    """``open_studio`` without settings means the defaults, never whatever the environment happens to hold."""
    assert "load_settings" not in SOURCES[f"{room}.py"]


def test_private_modules_are_used_in_their_own_room() -> None:
    """An underscore is a promise to the reader that nobody else depends on it."""
    borrowed = {
        (one.file, ".".join(parts[: number + 1]))
        for one in IMPORTS
        if (room := _room_of(one.module)) is not None and room != one.room
        for parts in [one.module.split(".")]
        for number, part in enumerate(parts[:-1] or parts)
        if part.startswith("_")
    }

    assert borrowed == PRIVATE_BORROWED


def test_environment_variables_are_read_by_settings_and_few_known_others() -> None:
    """An option that is read where it is used is in no list of options, and has no error message."""
    readers = {file for file, source in SOURCES.items() if environment_readers(file, source)}

    assert readers == set(MAY_READ_ENVIRONMENT)


def test_simulator_knows_nothing_of_our_side() -> None:
    """A simulator that shared our prices could never prove them wrong."""
    known = [one for one in IMPORTS if one.room == "simulator" and _room_of(one.module) in SIMULATOR_KNOWS_NOTHING_OF]

    assert known == []


def test_no_two_modules_import_each_other() -> None:
    """Within a room the order is free, but a ring would make the first import decide what works."""
    modules = {
        "media_assets." + file.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for file in SOURCES
    }
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for one in IMPORTS:
        importer = "media_assets." + one.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        named = one.module if one.module in modules else one.module.rpartition(".")[0]
        if named in modules and named != importer:
            graph[importer].add(named)

    assert _rings(graph) == []


def _rings(graph: Mapping[str, set[str]]) -> list[str]:
    """Return what is left when modules whose imports are all settled have been taken out, again and again."""
    left = {module: set(named) for module, named in graph.items()}
    while settled := [module for module, named in left.items() if not named & left.keys()]:
        for module in settled:
            del left[module]
    return sorted(left)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("studio.py", "import dagster as dg"),
        ("media/draw.py", "import subprocess"),
        ("media/draw.py", "def draw():\n    from subprocess import run"),
        ("purchase.py", "import httpx"),
        ("purchase.py", "from urllib.request import urlopen"),
        ("purchase.py", "from urllib import request"),
        ("plan.py", "import sqlalchemy as sa"),
        ("plan.py", "from sqlalchemy.engine import URL"),
        ("providers/fal.py", "import fal_client"),
        ("providers/local.py", "from tenacity import retry"),
        ("defs/assets.py", "import sqlite3"),
        ("chain.py", "from __future__ import annotations"),
        ("chain.py", "import importlib\nimportlib.import_module('dagster')"),
        ("chain.py", "if True:\n    try:\n        __import__('rich.console')\n    except ImportError:\n        pass"),
    ],
)
def test_a_misplaced_library_is_noticed(file: str, source: str) -> None:
    """A rule that cannot fail holds nothing."""
    assert misplaced_libraries(imports_of(file, source))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("prompt.py", "from media_assets.catalog import load_catalog"),
        ("prompt.py", "def late():\n    from media_assets import studio"),
        ("ledger/prompts.py", "import media_assets.purchase"),
        ("media/merge.py", "from media_assets.ledger import Ledger\nfrom media_assets.plan import Plan"),
        ("steps.py", "from media_assets.standing import Standing"),
        ("studio.py", "from media_assets.cli import main"),
        ("cli/app.py", "from media_assets.defs.assets import media"),
        ("studio.py", "from media_assets.helpers import anything"),
        ("helpers.py", "from media_assets.prompt import Step"),
    ],
)
def test_an_import_against_the_order_is_noticed(file: str, source: str) -> None:
    """A rule that cannot fail holds nothing."""
    assert imports_against_the_order(imports_of(file, source))


@pytest.mark.parametrize(
    "source",
    ["import os\nx = os.environ['A']", "from os import environ as e", "import os\nos.getenv('A')"],
)
def test_a_hidden_look_at_the_environment_is_noticed(source: str) -> None:
    """A rule that cannot fail holds nothing."""
    assert environment_readers("chain.py", source)


def test_a_ring_is_noticed() -> None:
    """A rule that cannot fail holds nothing."""
    assert _rings({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == ["a", "b", "c", "d"]
