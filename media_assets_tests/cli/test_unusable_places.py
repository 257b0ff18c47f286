"""A ledger or a catalog that cannot be used: the exit code, the words, and one object under ``--json``."""

from pathlib import Path

import pytest

from media_assets_tests.cli.running import CHEAP_OPTIONS, Cli

_LEDGER_COMMANDS = (
    ("generate", "--prompt", "a", "--key", "a"),
    ("plan", "--prompt", "a", "--key", "a"),
    ("status",),
    ("status", "a"),
    ("ledger", "list"),
    ("ledger", "show", "ab"),
    ("doctor",),
    ("upgrade", "a"),
)
_CATALOG_COMMANDS = (
    ("generate", "--prompt", "b", "--key", "b"),
    ("plan", "--prompt", "b", "--key", "b"),
    ("status", "a"),
    ("models",),
    ("doctor",),
    ("upgrade", "a"),
)
_KINDS = ("postgresql://USER:PASSWORD@HOST/NAME", "sqlite:////FULL/PATH/ledger.db", "MEDIA_ASSETS_LEDGER_URL")


def _told(ended_object: dict[str, object]) -> str:
    """Return the message of a command's only object, wherever its form has it."""
    error = ended_object.get("error")
    if isinstance(error, dict):
        return str(error["message"])
    return str(ended_object.get("problems") or ended_object["checks"])


def _called(command: tuple[str, ...]) -> str:
    return " ".join(command)


@pytest.mark.parametrize("command", _LEDGER_COMMANDS, ids=_called)
@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:geheim@db.example/films",
        "ann:geheim@db.example/films",
    ],
    ids=["another database", "no URL"],
)
def test_a_ledger_url_that_cannot_be_used_is_bad_configuration(cli: Cli, command: tuple[str, ...], url: str) -> None:
    """Running again would change nothing, so it is code 2, with what can be written in its place and no password."""
    told = cli(*command, "--json", MEDIA_ASSETS_LEDGER_URL=url)
    shown = cli(*command, MEDIA_ASSETS_LEDGER_URL=url)

    assert (told.code, shown.code) == (2, 2)
    for text in (_told(told.only()), shown.out + shown.err):
        assert all(kind in text for kind in _KINDS)
    assert "geheim" not in told.out + told.err + shown.out + shown.err
    assert "Run again" not in shown.err
    assert not cli.home.exists()


@pytest.mark.parametrize("command", _LEDGER_COMMANDS, ids=_called)
def test_a_ledger_that_does_not_answer_is_another_failure(cli: Cli, command: tuple[str, ...]) -> None:
    """A server that is down comes back: code 4, but for doctor, whose code says that something is missing."""
    url = "postgresql://ann:geheim@127.0.0.1:1/films"

    ended = cli(*command, "--json", MEDIA_ASSETS_LEDGER_URL=url)

    assert ended.code == (2 if command == ("doctor",) else 4)
    assert "ann:***@127.0.0.1:1/films" in _told(ended.only())
    assert "geheim" not in ended.out + ended.err


@pytest.mark.parametrize("command", _CATALOG_COMMANDS, ids=_called)
def test_a_catalog_that_cannot_be_read_is_bad_configuration(cli: Cli, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A machine reads the reason where it reads everything else."""
    cli("generate", "--prompt", "a", "--key", "a", "--only", "image", *CHEAP_OPTIONS)
    (tmp_path / "mine.toml").write_text('provider = "fal"\npricing_url = 7\nmodel = []\n', encoding="utf-8")

    ended = cli(*command, "--json", MEDIA_ASSETS_CATALOG_FOLDER=str(tmp_path))

    assert ended.code == 2
    assert "mine.toml, line 2: pricing_url: " in _told(ended.only())


@pytest.mark.parametrize("command", [*_LEDGER_COMMANDS, ("models",)], ids=_called)
def test_settings_that_cannot_be_read_are_one_object_too(cli: Cli, command: tuple[str, ...]) -> None:
    """The commonest slip of all: a machine must not get nothing for it."""
    ended = cli(*command, "--json", MEDIA_ASSETS_MAX_IN_FLIGHT="many")

    assert ended.code == 2
    assert "MEDIA_ASSETS_MAX_IN_FLIGHT" in _told(ended.only())


def test_white_space_around_the_ledger_url_is_not_of_it(cli: Cli, tmp_path: Path) -> None:
    """A line break at its end would name another database."""
    ended = cli("doctor", "--json", MEDIA_ASSETS_LEDGER_URL=f" sqlite:///{tmp_path}/films.db\n")
    cli("plan", "--prompt", "a", MEDIA_ASSETS_LEDGER_URL=f" sqlite:///{tmp_path}/films.db\n")

    assert ended.code == 0
    assert (tmp_path / "films.db").is_file()
