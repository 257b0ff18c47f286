"""What objects, settings and bad values show of secrets: nothing; and that the search for secrets finds them."""

import asyncio
import logging
import pickle
import sqlite3
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from media_assets.definitions import build_defs
from media_assets.defs.resources import FalResource, LedgerResource, ReplicateResource
from media_assets.errors import ConfigurationError, PurchaseError
from media_assets.prompt import Step
from media_assets.providers.base import HttpCall, HttpReply
from media_assets.providers.registry import build_adapters
from media_assets.providers.transport import open_transport
from media_assets.providers.transport.quiet import _LOGGERS, _NOT_OURS
from media_assets.settings import load_settings
from media_assets_tests.canaries import (
    KEYS,
    MARK,
    find,
    find_in_error,
    find_in_folder,
    lines,
    marked_simulators,
)
from media_assets_tests.cli.running import Cli
from media_assets_tests.simulated import open_market, paid_prompt

_LEDGER = f"postgresql://user:{MARK}word@127.0.0.1:9/films"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment have every key, and a database with a password."""
    for name, value in {**KEYS, "MEDIA_ASSETS_LEDGER_URL": _LEDGER}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize(
    "made",
    [
        load_settings,
        lambda: load_settings().studio_options(),
        lambda: load_settings().transport_options(),
        lambda: load_settings().plan_settings(),
        lambda: list(build_adapters(load_settings().endpoints()).values()),
        lambda: open_transport(load_settings().endpoints(), load_settings().transport_options()),
        lambda: ReplicateResource(api_key=KEYS["REPLICATE_API_TOKEN"]),
        lambda: FalResource(api_key=KEYS["FAL_KEY"]),
        lambda: LedgerResource(url=_LEDGER),
        build_defs,
        lambda: HttpCall(method="POST", url="https://h.test/", headers={"Authorization": MARK}, content=MARK.encode()),
        lambda: HttpCall(method="POST", url="https://h.test/", json_body={"image": MARK}),
        lambda: HttpReply(status=200, headers={"set-cookie": MARK}, body=MARK.encode()),
    ],
    ids=[
        "settings",
        "studio_options",
        "transport_options",
        "plan_settings",
        "adapters",
        "transport",
        "replicate_resource",
        "fal_resource",
        "ledger_resource",
        "definitions",
        "call",
        "call_with_json",
        "reply",
    ],
)
def test_no_object_shows_a_secret(made: Callable[[], Any]) -> None:
    """Whoever prints one while looking for a fault pastes it into a ticket next."""
    one = made()

    shown = [*find("repr", repr(one)), *find("str", str(one)), *find("in a record", f"{SimpleNamespace(one=one)}")]

    assert not shown, lines(shown)


@pytest.mark.usefixtures("exported")
def test_the_keys_are_in_the_settings_all_the_same() -> None:
    """The test above would pass if nothing had been read."""
    options = load_settings().transport_options()

    assert sorted(options.keys.values()) == sorted(KEYS.values())
    assert load_settings().studio_options().ledger_url == _LEDGER


@pytest.mark.usefixtures("exported")
def test_settings_that_cannot_be_used_are_refused_without_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What checks them quotes what it was given."""
    monkeypatch.setenv("MEDIA_ASSETS_MAX_IN_FLIGHT", "many")
    monkeypatch.setenv("MEDIA_ASSETS_MAX_COST_USD", "-1")

    with pytest.raises(ConfigurationError, match="MAX_IN_FLIGHT") as caught:
        load_settings()

    found = find_in_error(caught.value)
    assert not found, lines(found)


@pytest.mark.parametrize(
    "url",
    [
        _LEDGER,
        f"postgresql://user@127.0.0.1:9/films?password={MARK}",
        f"postgresql://user:{MARK}@word@127.0.0.1:port/films",
        f"postgres//user:{MARK}@host/films",
        f"mysql://user:{MARK}@host/films",
        f"postgresql://user:{MARK}@[::1/films",
    ],
    ids=["password", "in_the_query", "bad_port", "no_url", "other_database", "bad_host"],
)
@pytest.mark.parametrize("command", [["doctor", "--json"], ["status"], ["generate", "--prompt", "a boat", "--json"]])
def test_a_ledger_that_cannot_be_reached_keeps_its_password(
    home: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, url: str, command: list[str]
) -> None:
    """A database that is down is when its address is printed."""
    caplog.set_level(logging.DEBUG)

    ended = Cli(home, capsys)(*command, MEDIA_ASSETS_LEDGER_URL=url)

    assert ended.code != 0
    found = find("printed", ended.out + ended.err) + find("logged", caplog.text)
    assert not found, lines(found)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("spoilt", ["{}\nmore", "{}\u2019", "more\u202f{}"], ids=["line_break", "apostrophe", "space"])
def test_a_key_that_cannot_be_sent_is_refused_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, spoilt: str
) -> None:
    """Keys are pasted, with what stood around them."""
    models = {
        "REPLICATE_API_TOKEN": ("image", "replicate:sdxl"),
        "FAL_KEY": ("image", "fal:flux-schnell"),
        "OPENAI_API_KEY": ("image", "openai:gpt-image-2"),
        "ELEVENLABS_API_KEY": ("audio", "elevenlabs:multilingual-v2"),
    }
    step, model = models[name]
    typed = ["generate", "--prompt", "a boat", "--script", "A boat.", "--route", f"{step}={model}", "--only", step]
    with open_market(tmp_path / "home") as market:
        environment = {**market.simulator.environment(), **KEYS, name: spoilt.format(KEYS[name])}

        ended = Cli(tmp_path / "home", capsys)(*typed, "--json", **environment)

        assert ended.code == 2
        assert f"{name} holds " in ended.err
        assert market.requests() == 0
    found = find("printed", ended.out + ended.err) + find_in_folder(tmp_path / "home")
    assert not found, lines(found)


def _in_a_long_row(path: Path) -> None:
    with sqlite3.connect(path / "a.db") as connection:
        connection.execute("CREATE TABLE t (x)")
        # Long enough that its pages cut the mark in two somewhere.
        connection.execute("INSERT INTO t VALUES (?)", ((" " * 4089 + MARK) * 3,))
    connection.close()


def _in_a_packed_row(path: Path) -> None:
    with sqlite3.connect(path / "a.db") as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (?)", (zlib.compress(f"a snapshot with {KEYS['FAL_KEY']}".encode()),))
    connection.close()


_PLANTS: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: (path / "a").write_text(f"x{KEYS['OPENAI_API_KEY']}"),
    "other_case": lambda path: (path / "a").write_text(MARK.lower()),
    "end_of_a_key": lambda path: (path / "a").write_text(f"sk-***{KEYS['OPENAI_API_KEY'][-8:]}"),
    "fal_id": lambda path: (path / "a").write_text(KEYS["FAL_KEY"].partition(":")[0]),
    "bytes": lambda path: (path / "a").write_bytes(b"\0\xff" + MARK.encode() + b"\0"),
    "base64": lambda path: (path / "a").write_bytes(b64encode(f"{MARK}!".encode())),
    "base64_one_on": lambda path: (path / "a").write_bytes(b64encode(f":{MARK}!".encode())),
    "base64_two_on": lambda path: (path / "a").write_bytes(b64encode(f"::{MARK}!".encode())),
    "hex": lambda path: (path / "a").write_text(MARK.encode().hex()),
    "utf_16": lambda path: (path / "a").write_text(MARK, encoding="utf-16"),
    "name": lambda path: (path / f"a-{MARK}.png").touch(),
    "folder": lambda path: (path / MARK).mkdir(),
    "link": lambda path: (path / "a").symlink_to(f"/{MARK}"),
    "pickle": lambda path: (path / "a").write_bytes(pickle.dumps({"key": MARK})),
    "long_row": _in_a_long_row,
    "packed_row": _in_a_packed_row,
}


@pytest.mark.parametrize("plant", _PLANTS.values(), ids=_PLANTS)
def test_what_is_planted_in_a_folder_is_found(tmp_path: Path, plant: Callable[[Path], Any]) -> None:
    """A search that finds nothing proves nothing unless it can."""
    (tmp_path / "clean").write_text("r8_, sk- and a canar y")
    assert find_in_folder(tmp_path) == []

    plant(tmp_path)

    assert find_in_folder(tmp_path)


def _error(where: str) -> BaseException:
    error = PurchaseError("failed" if where != "message" else MARK, model=MARK if where == "field" else "")
    if where == "cause":
        error.__cause__ = ValueError(MARK)
    if where == "context":
        error.__context__ = ValueError(MARK)
    if where == "note":
        error.add_note(MARK)
    return error


@pytest.mark.parametrize("where", ["message", "field", "cause", "context", "note"])
def test_what_is_planted_in_an_error_is_found(where: str) -> None:
    assert find_in_error(_error("nowhere")) == []
    assert find_in_error(_error(where))


def test_without_our_filter_the_log_would_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The marks are in play: what the product keeps quiet is there to be told."""
    caplog.set_level(logging.DEBUG)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "filters", [one for one in logger.filters if one is not _NOT_OURS])
    with marked_simulators(), open_market(tmp_path) as market, market.studio() as studio:
        caplog.clear()
        asyncio.run(studio.attempt(paid_prompt(), wanted={Step.IMAGE}))

    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("http"))
    assert f"signature={MARK}" in logged
