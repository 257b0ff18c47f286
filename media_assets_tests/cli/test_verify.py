"""``ledger verify`` and ``gc`` as they are typed: what they print, and with which code they end."""

from pathlib import Path

import pytest

from media_assets.ledger import open_ledger
from media_assets_tests.cli.running import CHEAP_OPTIONS, Cli, call_on_terminal
from media_assets_tests.making import Shop
from media_assets_tests.recovery.keeping import leave_unused


@pytest.fixture
def boat(cli: Cli) -> Cli:
    cli("generate", "--prompt", "a boat", "--key", "boat", "--only", "image", *CHEAP_OPTIONS)
    return cli


def _image(cli: Cli) -> Path:
    (path,) = (cli.home / "artifacts").glob("??/*")
    return path


def test_a_healthy_home_ends_with_0_and_damage_with_6(boat: Cli) -> None:
    """A nightly job looks at the code alone."""
    assert boat("ledger", "verify").code == 0
    assert boat("ledger", "verify", "--json").only() == {"home": str(boat.home), "ok": True, "findings": []}
    _image(boat).write_bytes(b"x" * _image(boat).stat().st_size)

    told, said = boat("ledger", "verify", "--json"), boat("ledger", "verify")

    assert (told.code, said.code, boat("ledger", "verify", "--no-hash").code) == (6, 6, 0)
    (finding,) = told.only()["findings"]
    assert set(finding) == {"kind", "about", "what", "do"}
    assert f"altered-file: {_image(boat)}: its bytes are not those that were stored" in said.out
    assert "made again, free" in said.out
    assert "1 findings" in said.err


def test_a_bar_shows_how_far_the_reading_is(boat: Cli) -> None:
    """Hashing a large store takes minutes."""
    ended, shown = call_on_terminal("ledger", "verify", streams=("stderr",), MEDIA_ASSETS_HOME=boat.home)

    assert ended.code == 0
    assert "reading files" in shown


def test_gc_tells_what_it_removed(cli: Cli) -> None:
    """And, asked first, what it would."""
    with open_ledger(cli.home) as ledger:
        name = leave_unused(Shop(cli.home, ledger)).sha256
    waits = cli("gc", "--json").only()

    told = cli("gc", "--dry-run", MEDIA_ASSETS_UNUSED_DAYS="0")
    done = cli("gc", "--json", MEDIA_ASSETS_UNUSED_DAYS="0").only()

    assert [one["name"] for one in waits["waiting"]] == [f"{name}.wav"]
    assert "1 files would be removed" in told.out
    assert [one["name"] for one in done["removed"]] == [f"{name}.wav"]
    assert done["freed_bytes"] == done["removed"][0]["size_bytes"] > 0
    assert "0 files removed" in cli("gc").out


@pytest.mark.parametrize("days", ["0", "-1", "soon", "nan", "inf"])
def test_a_rule_that_would_delete_what_was_just_bought_is_refused(boat: Cli, days: str) -> None:
    """A slip of the finger must not cost a year of films."""
    ended = boat("gc", "--delete-paid-older-than", days)

    assert ended.code == 2
    assert "Nothing was deleted" in ended.err


@pytest.mark.parametrize("command", [("gc",), ("ledger", "verify")])
def test_nothing_made_yet_is_fine(cli: Cli, command: tuple[str, ...]) -> None:
    """A question leaves no trace."""
    assert cli(*command).code == 0
    assert not cli.home.exists()
