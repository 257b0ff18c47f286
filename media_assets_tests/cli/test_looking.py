"""``status``, ``ledger`` and ``doctor``: they tell how things stand and leave no trace."""

from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.ledger.database import HEAD
from media_assets_tests.cli.running import CHEAP_OPTIONS, Cli, Ended, call
from media_assets_tests.own_model_file import OWN_MODEL, OWN_MODEL_FILE

_MARKUP = "a [bold]boat[/bold] :boat:\nof paper"


@pytest.mark.parametrize(
    "command", [["status"], ["status", "--json"], ["ledger", "list"], ["ledger", "list", "--json"]]
)
def test_nothing_made_yet_is_said_and_nothing_is_made(cli: Cli, command: list[str]) -> None:
    """A question must not leave a ledger behind in whatever folder it was asked."""
    ended = cli(*command)

    assert (ended.code, ended.out) == (0, "")
    assert f"nothing made yet in {cli.home}" in ended.err
    assert not cli.home.exists()


@pytest.mark.parametrize("command", [["status", "boat"], ["ledger", "show", "ab"]])
def test_something_named_that_is_not_there_is_bad_input(cli: Cli, command: list[str]) -> None:
    """A script that asks for one thing must not take silence for an answer."""
    assert cli(*command).code == 2
    assert not cli.home.exists()


def test_status_tells_of_each_step_and_offers_near_keys(cli: Cli) -> None:
    """Keys are long; a slip in one is answered with the keys it could have been."""
    cli("generate", "--prompt", _MARKUP, "--key", "paper-boat", "--only", "video", *CHEAP_OPTIONS)

    told = cli("status", "paper-boat", "--json").only()
    line = cli("status")
    shown = cli("status", "paper-boat")
    slip = cli("status", "paper-bost")

    assert [(step["step"], step["state"]) for step in told["steps"]] == [
        ("image", "finished"),
        ("video", "finished"),
        ("audio", "missing"),
        ("merged", "missing"),
    ]
    assert (told["home"], told["state"], told["prompt"]) == (str(cli.home), "pending", _MARKUP)
    assert "a [bold]boat[/bold] :boat: of paper" in line.out
    assert "a [bold]boat[/bold] :boat: of paper" in shown.out
    assert (slip.code, slip.out) == (2, "")
    assert "Did you mean paper-boat?" in slip.err


def test_status_sees_a_file_that_is_gone_and_a_purchase_it_can_share(cli: Cli) -> None:
    """Lost files and equal requests of other prompts decide what a rerun costs, so they are told."""
    cli("generate", "--prompt", "a boat", "--key", "one", *CHEAP_OPTIONS)
    cli("generate", "--prompt", "a boat", "--key", "two", "--only", "audio", *CHEAP_OPTIONS)
    (clip,) = [row for row in cli("ledger", "list", "--json").objects() if row["step"] == "video"]
    next((cli.home / "artifacts").rglob(f"{clip['sha256']}.*")).unlink()

    one = cli("status", "one", "--json").only()
    two = cli("status", "two", "--json").only()

    assert [step["state"] for step in one["steps"]] == ["finished", "lost", "finished", "finished"]
    assert [step["state"] for step in two["steps"]] == ["available", "lost", "finished", "available"]


def test_ledger_show_takes_the_beginning_of_a_key(cli: Cli) -> None:
    """Nobody types 64 characters; where a beginning is not enough, the candidates are listed."""
    cli("generate", "--prompt", _MARKUP, "--key", "boat", *CHEAP_OPTIONS)
    keys = [row["request_key"] for row in cli("ledger", "list", "--json").objects()]
    alone = next(key for key in keys if sum(other[0] == key[0] for other in keys) == 1)

    told = cli("ledger", "show", alone[0].upper(), "--json").only()
    shown = cli("ledger", "show", alone[:12])
    many = cli("ledger", "show", "")
    none = cli("ledger", "show", "zz")

    assert told["request_key"] == alone
    assert (told["owner_alive"], told["error"], len(told["attempt_log"])) == (False, None, 1)
    assert told["request"]["model"] == told["model"]
    assert Path(told["path"]).is_file()
    assert f"request_key: {alone}" in shown.out
    assert (many.code, none.code, none.out) == (2, 2, "")


def test_an_ambiguous_beginning_lists_the_candidates(cli: Cli) -> None:
    """Guessing which purchase was meant would one day settle the wrong one."""
    for take in range(5):
        cli("generate", "--prompt", "a", "--key", f"k{take}", "--take", str(take), *CHEAP_OPTIONS)
    keys = [row["request_key"] for row in cli("ledger", "list", "--json").objects()]
    first = next(key[0] for key in keys if sum(other[0] == key[0] for other in keys) > 1)

    ended = cli("ledger", "show", first)

    assert (ended.code, ended.out) == (2, "")
    assert all(key in ended.err for key in keys if key[0] == first)


def test_ledger_list_knows_its_states(cli: Cli) -> None:
    """An empty list for a misspelt state would read as: nothing failed."""
    ended = cli("ledger", "list", "--state", "faild")

    assert ended.code == 2
    assert "FAILED_PAID" in ended.err


def test_doctor_names_what_is_there_and_never_a_key(cli: Cli) -> None:
    """The page that people paste into an issue must hold what helps, and no secret."""
    value = "never-to-be-shown"

    told = cli("doctor", "--json", REPLICATE_API_TOKEN=value, FAL_KEY="")
    shown = cli("doctor", REPLICATE_API_TOKEN=value)

    assert (told.code, shown.code) == (0, 0)
    checks = {check["name"]: check for check in told.only()["checks"]}
    assert {check["level"] for check in checks.values()} == {"ok"}
    assert {"media_assets", "python", "dagster", "ffmpeg", "voice", "disk", "home", "ledger", "store"} < set(checks)
    assert (told.only()["ok"], told.only()["home"]) == (True, str(cli.home))
    assert (told.only()["keys"]["REPLICATE_API_TOKEN"], told.only()["keys"]["FAL_KEY"]) == (True, False)
    assert value not in told.out + told.err + shown.out + shown.err
    assert "from MEDIA_ASSETS_HOME; not made yet" in shown.out
    assert not cli.home.exists()


@pytest.mark.parametrize("value", ["zqv\nxwj", "zqv xwj", "zqv\u2019xwj", "zqv\x01xwj"])
def test_doctor_fails_for_a_key_that_cannot_be_sent(cli: Cli, value: str) -> None:
    """Who sets a key means to use it; its value stays out of the page all the same."""
    told = cli("doctor", "--json", FAL_KEY=value, OPENAI_API_KEY="fine")
    shown = cli("doctor", FAL_KEY=value)

    (keys,) = [check for check in told.only()["checks"] if check["name"] == "keys"]
    assert (told.code, shown.code, keys["level"]) == (2, 2, "fail")
    assert "FAL_KEY holds " in keys["message"]
    assert "set: OPENAI_API_KEY; " in keys["message"]
    assert told.only()["keys"]["FAL_KEY"] is True
    assert not any(part in text for text in (told.out, told.err, shown.out, shown.err) for part in ("zqv", "xwj"))


def test_doctor_takes_white_space_around_a_key_for_nothing(cli: Cli) -> None:
    """As the settings do: a line break at the end of a file is no fault, and alone no key."""
    told = cli("doctor", "--json", FAL_KEY="id:secret\n", OPENAI_API_KEY=" \n").only()

    assert (told["ok"], told["keys"]["FAL_KEY"], told["keys"]["OPENAI_API_KEY"]) == (True, True, False)


@pytest.mark.parametrize("value", ["zqvxwj", "https://zqv xwj/x", "https://zqvxwj:0/x", "http://zqvxwj.example/x"])
def test_doctor_fails_for_a_webhook_that_no_alert_reaches(cli: Cli, value: str) -> None:
    """It would be noticed when the first alert is due; the address is a secret."""
    told = cli("doctor", "--json", MEDIA_ASSETS_ALERT_URL=value)
    good = cli("doctor", MEDIA_ASSETS_ALERT_URL="https://hooks.example/zqvxwj", MEDIA_ASSETS_ALERT_FORM="slack")

    (alerts,) = [check for check in told.only()["checks"] if check["name"] == "alerts"]
    assert (told.code, alerts["level"]) == (2, "fail")
    assert "MEDIA_ASSETS_ALERT_URL cannot be used" in alerts["message"]
    assert (good.code, "sent as slack" in good.out) == (0, True)
    assert not any(part in text for text in (told.out, told.err, good.out, good.err) for part in ("zqv", "xwj"))


def test_doctor_describes_a_ledger_and_a_store(cli: Cli) -> None:
    """Which database, in which mode, at which migration: what is asked first when something is wrong."""
    cli("generate", "--prompt", "a", "--only", "image", *CHEAP_OPTIONS)

    shown = cli("doctor").out

    assert f"{cli.home / 'ledger.db'}, SQLite " in shown
    assert f"journal wal, migration {HEAD}, file system " in shown
    assert "1 artifacts" in shown


@pytest.mark.parametrize(
    ("setting", "value", "check"),
    [
        ("MEDIA_ASSETS_FFMPEG", "/bin/false", "ffmpeg"),
        ("MEDIA_ASSETS_FFMPEG", "/bin/true", "ffmpeg"),
        ("MEDIA_ASSETS_FFMPEG", "no-such-ffmpeg", "ffmpeg"),
        ("MEDIA_ASSETS_MIN_FREE_MB", "999999999", "disk"),
        ("MEDIA_ASSETS_LEDGER_URL", "oracle://x", "ledger"),
        ("MEDIA_ASSETS_HOME", "/proc/version/home", "home"),
    ],
)
def test_doctor_fails_for_what_would_stop_a_film(tmp_path: Path, setting: str, value: str, check: str) -> None:
    """A check that cannot fail is decoration."""
    ended = call("doctor", "--json", cwd=None, **{"MEDIA_ASSETS_HOME": str(tmp_path), setting: value})

    failed = [one["name"] for one in ended.only()["checks"] if one["level"] == "fail"]
    assert check in failed
    assert (ended.code, ended.only()["ok"]) == (2, False)


def _catalog_check(ended: Ended) -> tuple[str, str]:
    (check,) = [check for check in ended.only()["checks"] if check["name"] == "catalog"]
    return check["level"], check["message"]


def test_doctor_counts_the_models_and_those_of_the_user(cli: Cli, tmp_path: Path) -> None:
    """A file in the wrong folder, or with the wrong ending, is a model that is not there."""
    (tmp_path / "mine.toml").write_text(OWN_MODEL_FILE, encoding="utf-8")
    shipped = len(list(load_catalog()))

    without = cli("doctor", "--json")
    added = cli("doctor", "--json", MEDIA_ASSETS_CATALOG_FOLDER=str(tmp_path))
    (tmp_path / "mine.toml").write_text(OWN_MODEL_FILE.replace(OWN_MODEL, "fal:kokoro"), encoding="utf-8")
    replaced = cli("doctor", "--json", MEDIA_ASSETS_CATALOG_FOLDER=str(tmp_path))

    assert _catalog_check(without) == ("ok", f"{shipped} models; MEDIA_ASSETS_CATALOG_FOLDER, for your own, is not set")
    assert _catalog_check(added) == ("ok", f"{shipped + 1} models, 1 of them yours, in {tmp_path}")
    assert _catalog_check(replaced) == ("ok", f"{shipped} models, 1 of them yours, in {tmp_path}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OWN_MODEL_FILE.replace("title", "titel"), ("mine.toml, line 7: model.0.titel: ",)),
        (OWN_MODEL_FILE.replace("60", "soon"), ("mine.toml, line 12: is not TOML: ",)),
        (
            OWN_MODEL_FILE.replace("60", '"soon"').replace('"B"', '"Z"'),
            ("mine.toml, line 11: model.0.recovery: ", "mine.toml, line 12: model.0.run_deadline_s: "),
        ),
        (None, ("the catalog folder ", " cannot be read: No such file or directory")),
    ],
)
def test_doctor_fails_for_a_catalog_that_cannot_be_read(
    cli: Cli, tmp_path: Path, text: str | None, told: tuple[str, ...]
) -> None:
    """Without a catalog there is no film; file, line and field of every fault are what one looks for."""
    folder = tmp_path / "models"
    if text is not None:
        folder.mkdir()
        (folder / "mine.toml").write_text(text, encoding="utf-8")

    ended = cli("doctor", "--json", MEDIA_ASSETS_CATALOG_FOLDER=str(folder))

    level, message = _catalog_check(ended)
    assert (ended.code, level) == (2, "fail")
    assert all(part in message for part in told)


def test_a_relative_home_is_refused(cli: Cli) -> None:
    """A relative home is another ledger in every working directory."""
    ended = cli("doctor", "--json", MEDIA_ASSETS_HOME="state")

    assert ended.code == 2
    assert "MEDIA_ASSETS_HOME is 'state'" in ended.err


def test_doctor_tells_of_bad_settings(cli: Cli) -> None:
    """The command for finding faults must not fall over one."""
    ended = cli("doctor", "--json", MEDIA_ASSETS_MAX_IN_FLIGHT="many")

    assert (ended.code, ended.only()["ok"]) == (2, False)
    assert "MEDIA_ASSETS_MAX_IN_FLIGHT" in ended.err


def test_bad_command_lines_are_exit_2(cli: Cli) -> None:
    """Typer's own refusals keep to the contract."""
    assert [cli(*arguments).code for arguments in (["frobnicate"], ["generate", "--frob"], ["ledger", "show"])] == [
        2
    ] * 3
    assert cli("--version").out.startswith("media-assets ")
