"""``doctor``: everything a film needs on this machine, each with what to do when it is not there.

Nothing is made: a home or ledger that is not there yet is not a fault.
"""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs
from rich.text import Text

from media_assets.alerts import webhook_problem
from media_assets.caps import is_lifted
from media_assets.catalog import load_catalog
from media_assets.catalog.reading import read_folder
from media_assets.cli.exit_codes import BAD_INPUT, DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import clean, complain, print_json, print_text
from media_assets.errors import ConfigurationError, MediaAssetsError
from media_assets.ledger import Ledger
from media_assets.ledger.database import file_system_of
from media_assets.media.ffmpeg_features import ffmpeg_features
from media_assets.media.speak import voice_details
from media_assets.pricing import from_micro_usd
from media_assets.providers.keys import key_problem

KEYS = ("REPLICATE_API_TOKEN", "FAL_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY")
"""Names of the providers' keys; of their values is told whether there is one and whether it can be sent, never more."""

_PYTHON_OLDEST, _PYTHON_NEWEST = (3, 11), (3, 13)


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_STYLES = {Level.OK: "green", Level.WARN: "bold yellow", Level.FAIL: "bold red"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    name: str
    level: Level
    message: str


def run_doctor(*, json: bool) -> int:
    """Check everything and print it; return the exit code."""
    try:
        place = find_place()
    except ConfigurationError as error:
        complain(error)
        if json:
            print_json({"ok": False, "home": None, "keys": _keys(), "checks": [_failed("settings", error)]})
        return BAD_INPUT
    findings = [*_program(), *_media(), *_state(place), _keys_finding(), _alerts(place)]
    ok = not any(finding.level is Level.FAIL for finding in findings)
    if json:
        checks = [asdict(finding) for finding in findings]
        print_json({"ok": ok, "home": str(place.home), "keys": _keys(), "checks": checks})
    else:
        print_text(*map(_line, findings))
    return DONE if ok else BAD_INPUT


def _line(finding: Finding) -> Text:
    line = Text(f"{finding.level:<5}", style=_STYLES[finding.level])
    return line.append(clean(f"{finding.name:<13} {finding.message}"), style="not bold default")


def _ok(name: str, message: str) -> Finding:
    return Finding(name=name, level=Level.OK, message=message)


def _warn(name: str, message: str) -> Finding:
    return Finding(name=name, level=Level.WARN, message=message)


def _fail(name: str, message: str) -> Finding:
    return Finding(name=name, level=Level.FAIL, message=message)


def _failed(name: str, error: MediaAssetsError) -> dict[str, Any]:
    return asdict(_fail(name, error.message))


def _guarded(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (MediaAssetsError, OSError, RuntimeError) as error:
        return _fail(name, str(error))


def _program() -> Iterator[Finding]:
    yield _package("media_assets")
    version = platform.python_version()
    if _PYTHON_OLDEST <= sys.version_info[:2] <= _PYTHON_NEWEST:
        yield _ok("python", f"{version} at {sys.executable}")
    else:
        yield _fail("python", f"{version} at {sys.executable}; 3.11, 3.12 or 3.13 is needed")
    yield _package("dagster")


def _package(name: str) -> Finding:
    try:
        return _ok(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return _fail(name, "is not installed; install media_assets again")


def _media() -> Iterator[Finding]:
    yield _guarded("ffmpeg", _ffmpeg)
    yield _guarded("voice", _voice)


def _ffmpeg() -> Finding:
    found = ffmpeg_features()
    what = f"{found.version} at {found.path}"
    lacks = [f"the encoder {name}" for name in found.missing_encoders]
    lacks += [f"the filter {name}" for name in found.missing_filters]
    if lacks:
        advice = "install another, or unset MEDIA_ASSETS_FFMPEG to use the one that comes with the package"
        return _fail("ffmpeg", f"{what} lacks {', '.join(lacks)}; {advice}")
    return _ok("ffmpeg", f"{what}, with every encoder (libx264, aac) and filter that is used")


def _voice() -> Finding:
    return _ok("voice", ", ".join(f"{name} {value}" for name, value in voice_details().items()))


def _state(place: Place) -> Iterator[Finding]:
    yield _home(place)
    yield _guarded("disk", lambda: _disk(place))
    yield _guarded("ledger", lambda: _ledger(place))
    yield _guarded("budget", lambda: _budget(place))
    yield _guarded("store", lambda: _store(place))
    yield _guarded("catalog", lambda: _catalog(place.settings.catalog_folder))


def _home(place: Place) -> Finding:
    home, source = place.home, f"the nearest project folder, {place.home.parent}"
    if place.settings.home is not None:
        source = "MEDIA_ASSETS_HOME"
    elif home == platformdirs.user_data_path("media_assets").absolute():
        source = "the platform's folder for user data"
    parent = _nearest(home)
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return _fail("home", f"{home}: {parent} cannot be written; set MEDIA_ASSETS_HOME to a folder of yours")
    return _ok("home", f"{home} (from {source}{'' if home.is_dir() else '; not made yet'})")


def _nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _disk(place: Place) -> Finding:
    free, needed = place.store.free_bytes(), place.settings.min_free_mb * 10**6
    told = f"{free / 1e9:.1f} GB free at {_nearest(place.home)}"
    if free < needed:
        return _fail("disk", f"{told}; {needed / 1e9:.1f} GB are needed (MEDIA_ASSETS_MIN_FREE_MB)")
    return _ok("disk", told)


def _ledger(place: Place) -> Finding:
    if not place.has_ledger():
        kind = file_system_of(_nearest(place.home))
        return _ok("ledger", f"none yet; the first film makes it{f' on {kind}' if kind else ''}")
    with ledger_of(place) as ledger:
        return _ok("ledger", ", ".join([ledger.database.where, *_database_facts(ledger)]))


def _database_facts(ledger: Ledger) -> Iterator[str]:
    database = ledger.database
    with database.read() as connection:
        if database.is_sqlite:
            version = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()
            yield f"SQLite {version}"
            yield f"journal {connection.exec_driver_sql('PRAGMA journal_mode').scalar_one()}"
        else:
            yield f"Postgres {connection.exec_driver_sql('SHOW server_version').scalar_one()}"
    yield f"migration {database.revision()}"
    if database.is_sqlite:
        yield f"file system {file_system_of(Path(str(database.url.database))) or 'unknown'}"


def _budget(place: Place) -> Finding:
    today = datetime.now(UTC).date()
    cap = place.settings.caps().of_day(today)
    limit = "no cap" if is_lifted(cap) else f"the cap is {usd(from_micro_usd(cap.micro_usd))} USD"
    if not place.has_ledger():
        return _ok("budget", f"nothing spent today (UTC); {limit} (MEDIA_ASSETS_MAX_DAY_USD)")
    with ledger_of(place) as ledger:
        now = next((one for one in ledger.spending.scopes(today) if one.scope == cap.scope), None)
        overruns = ledger.spending.overruns()
    if overruns:
        accept = f"`media-assets budget accept {' '.join(one.scope for one in overruns)}`"
        return _warn("budget", f"{'; '.join(map(str, overruns))}. Look at the provider's bill, then {accept}")
    spent, reserved = (now.spent_micro_usd, now.reserved_micro_usd) if now else (0, 0)
    told = f"{usd(from_micro_usd(spent))} USD spent and {usd(from_micro_usd(reserved))} USD reserved today (UTC)"
    return _ok("budget", f"{told}; {limit} (MEDIA_ASSETS_MAX_DAY_USD)")


def _store(place: Place) -> Finding:
    root = place.store.root
    if not root.is_dir():
        return _ok("store", f"{root}: nothing yet")
    sizes = [path.stat().st_size for path in root.glob("??/*") if path.is_file()]
    return _ok("store", f"{root}: {len(sizes)} artifacts, {sum(sizes) / 1e6:.1f} MB")


def _catalog(folder: Path | None) -> Finding:
    models = f"{len(list(load_catalog(folder)))} models"
    if folder is None:
        return _ok("catalog", f"{models}; MEDIA_ASSETS_CATALOG_FOLDER, for your own, is not set")
    return _ok("catalog", f"{models}, {len(read_folder(folder))} of them yours, in {folder.absolute()}")


def _alerts(place: Place) -> Finding:
    url = place.settings.alert_url
    if url is None:
        return _ok("alerts", "none are sent; MEDIA_ASSETS_ALERT_URL, the address of a webhook, is not set")
    problem = webhook_problem(url.get_secret_value())
    if problem is not None:
        return _fail("alerts", f"MEDIA_ASSETS_ALERT_URL cannot be used: {problem}. No alert is sent")
    return _ok("alerts", f"MEDIA_ASSETS_ALERT_URL is set; sent as {place.settings.alert_form}")


def _key(name: str) -> str:
    return os.environ.get(name, "").strip()


def _keys() -> dict[str, bool]:
    return {name: bool(_key(name)) for name in KEYS}


def _keys_finding() -> Finding:
    problems = {name: key_problem(name, _key(name)) for name in KEYS}
    usable = [name for name, problem in problems.items() if problem is None]
    absent = [name for name in KEYS if not _key(name)]
    unusable = [problem for name, problem in problems.items() if problem is not None and name not in absent]
    parts = [f"set: {', '.join(usable)}"] if usable else []
    parts += unusable
    parts += [f"not set: {', '.join(absent)}"] if absent else []
    told = "; ".join(parts) + (". The local models need none" if absent else "")
    return _fail("keys", told) if unusable else _ok("keys", told)
