"""``generate``: the contract for machines, and what people read."""

import json
from pathlib import Path
from typing import Any

import pytest

from media_assets.media.probe import probe
from media_assets_tests.cli.running import CHEAP_OPTIONS, Cli, write_prompts

_STEPS = ["image", "video", "audio", "merged"]
_STEP_FIELDS = {
    "step", "provider", "model", "cost_usd", "failed_usd", "spent_usd", "estimate_usd", "reported", "price_from",
    "duration_s", "attempts", "cached",
    "degraded", "reason", "notes", "request_key", "prediction_id", "artifact",
}  # fmt: skip
_PURCHASE_FIELDS = {
    "request_key", "prompt_key", "step", "provider", "model", "take", "state", "estimate_usd", "cost_usd",
    "prediction_id", "attempts", "sha256",
}  # fmt: skip

_ODD = 'say [red]no[/red] :smile: 100% "off" %{n}; $(x)\nשלום \u202e 👩‍🚀'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for tests that only ask for the same cheap film again."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def on_made(made: Path, cli: Cli) -> Cli:
    """The command line on the module's home, with the film of ``cheap`` in it."""
    cli.home = made
    assert cli("generate", "--prompt", "a boat", "--key", "cheap", *CHEAP_OPTIONS).code == 0
    return cli


def _assert_film(told: dict[str, Any], home: Path) -> None:
    assert set(told) == {"key", "home", "film", "cost_usd", "spent_usd", "degraded", "deferred", "steps"}
    assert told["home"] == str(home)
    assert (told["cost_usd"], told["spent_usd"]) == ("0", "0")
    assert (told["degraded"], told["deferred"]) == (False, False)
    assert [step["step"] for step in told["steps"]] == _STEPS
    assert all(set(step) == _STEP_FIELDS for step in told["steps"])
    film = told["film"]
    assert set(film) == {"path", "sha256", "duration_s", "width_px", "height_px", "fps"}
    info = probe(Path(film["path"]))
    assert (info.width_px, info.height_px) == (film["width_px"], film["height_px"]) == (512, 512)
    assert film["duration_s"] == pytest.approx(1, abs=0.1)


def test_json_has_one_whole_object_a_prompt_in_input_order(cli: Cli, tmp_path: Path) -> None:
    """Machines read this line by line; the slow first prompt must not be overtaken, and nothing else be printed."""
    slow = {"key": "zz", "prompt": _ODD, "clip_s": 3, "params": {"video": {"fps": 20}}}
    file = write_prompts(tmp_path / "prompts.jsonl", slow, {"key": "b", "prompt": "b"}, {"key": "a", "prompt": "b"})

    ended = cli("generate", file, "--json")

    assert ended.code == 0
    assert [told["key"] for told in ended.objects()] == ["zz", "b", "a"]
    for told in ended.objects()[1:]:
        _assert_film(told, cli.home)
        assert told["film"]["path"] == str(cli.home / "films" / f"{told['key']}.mp4")
    assert "zz: image: started" in ended.err


def test_a_second_run_takes_what_is_there(on_made: Cli) -> None:
    """Resume is the default: no purchase, no time, the same film."""
    bought = on_made("ledger", "list", "--json").out

    told = on_made("generate", "--prompt", "a boat", "--key", "cheap", *CHEAP_OPTIONS, "--json").only()

    _assert_film(told, on_made.home)
    assert all(step["cached"] and step["duration_s"] == 0 for step in told["steps"])
    assert on_made("ledger", "list", "--json").out == bought


def test_purchases_are_listed_with_their_fields(on_made: Cli) -> None:
    """The list is read by machines: every field is there, and money is text."""
    listed = on_made("ledger", "list", "--prompt", "cheap", "--state", "succeeded", "--json").objects()

    assert sorted(row["step"] for row in listed) == sorted(_STEPS)
    for row in listed:
        assert set(row) == _PURCHASE_FIELDS
        assert (row["state"], row["estimate_usd"], row["cost_usd"], row["attempts"]) == ("SUCCEEDED", "0", "0", 1)
        assert len(row["sha256"]) == len(row["request_key"]) == 64


def test_out_is_where_the_film_goes(on_made: Cli, tmp_path: Path) -> None:
    """The path in the object is the one that was asked for, absolute, its folders made."""
    command = ("generate", "--prompt", "a boat", "--key", "cheap", *CHEAP_OPTIONS, "--json", "--out")

    as_file = on_made(*command, tmp_path / "new" / "film.mp4").only()
    as_folder = on_made(*command, tmp_path).only()

    assert as_file["film"]["path"] == str(tmp_path / "new" / "film.mp4")
    assert as_folder["film"]["path"] == str(tmp_path / "cheap.mp4")
    assert (tmp_path / "cheap.mp4").read_bytes() == (tmp_path / "new" / "film.mp4").read_bytes()


def test_a_new_take_of_one_step_buys_it_and_what_follows(on_made: Cli) -> None:
    """``--take`` is the way to another variation; the picture that is not asked for again must stay."""
    before = len(on_made("ledger", "list", "--json").objects())

    told = on_made(
        "generate", "--prompt", "a boat", "--key", "cheap", *CHEAP_OPTIONS, "--take", "video=1", "--json"
    ).only()

    assert [step["cached"] for step in told["steps"]] == [True, False, True, False]
    assert len(on_made("ledger", "list", "--json").objects()) == before + 2


def test_only_makes_a_step_and_no_film(cli: Cli) -> None:
    """A picture can be looked at before anything is built on it."""
    command = ("generate", "--prompt", "a [b]boat[/b]", *CHEAP_OPTIONS, "--only", "image")

    told = cli(*command, "--json").only()
    shown = cli(*command)

    assert told["film"] is None
    assert "error" not in told
    assert [step["artifact"] is not None for step in told["steps"]] == [True, False, False, False]
    assert shown.code == 0
    assert told["steps"][0]["artifact"]["path"] in shown.out
    assert [row["step"] for row in cli("ledger", "list", "--json").objects()] == ["image"]


def test_people_see_each_step_and_the_film(cli: Cli) -> None:
    """The table answers who made what, for how much, and where the film is; notes stand under it."""
    ended = cli(
        "generate", "--prompt", _ODD, "--caption", "字 only", "--script", "Hi.", "--route", "audio=local:silence",
        "--key", "odd", *CHEAP_OPTIONS
    )  # fmt: skip

    assert ended.code == 0
    for word in ("step", "provider", "model", "cost, USD", "duration", "cached", "degraded", "local:landscape"):
        assert word in ended.out
    assert "audio: the script is not spoken" in ended.out
    assert "video: caption left out" in ended.out
    assert f"film: {cli.home / 'films' / 'odd.mp4'}\n" in ended.out
    assert "512x512" in ended.out
    assert "\x1b" not in ended.out + ended.err


def test_one_bad_prompt_refuses_the_whole_file(cli: Cli, tmp_path: Path) -> None:
    """A file is checked before the first cent: no purchase, all problems, one object a prompt."""
    file = write_prompts(
        tmp_path / "prompts.jsonl",
        {"key": "good", "prompt": "a"},
        {"key": "silly", "prompt": "b", "routes": {"video": ["local:ken-burnz"]}},
        {"key": "odd", "prompt": "c", "params": {"video": {"fsp": 1}}},
    )

    ended = cli("generate", file, "--json")

    assert ended.code == 2
    told = ended.objects()
    assert [(one["key"], one["film"], one["error"]["class"]) for one in told] == [
        ("good", None, "PlanError"),
        ("silly", None, "PlanError"),
        ("odd", None, "PlanError"),
    ]
    assert "silly, odd" in told[0]["error"]["message"]
    assert "Did you mean local:ken-burns" in told[1]["error"]["message"]
    assert "Did you mean fps" in told[2]["error"]["message"]
    assert "Did you mean local:ken-burns" in ended.err
    assert "Did you mean fps" in ended.err
    assert cli("ledger", "list", "--json").out == ""


def test_a_file_with_bad_rows_names_them_and_makes_nothing(cli: Cli, tmp_path: Path) -> None:
    """Rows that are good keep their key in the answer, so that a machine knows what was not made."""
    file = write_prompts(tmp_path / "prompts.jsonl", {"key": "good", "prompt": "a"}, {"key": "bad", "prompt": "\0"})

    ended = cli("generate", file, "--json")

    assert ended.code == 2
    assert [one["key"] for one in ended.objects()] == ["good", None]
    for one in ended.objects():
        assert (one["film"], one["home"], one["cost_usd"]) == (None, str(cli.home), "0")
        assert [step["step"] for step in one["steps"]] == _STEPS
        assert set(one["error"]) == {"class", "message", "rerun", "billed"}
    assert "holds NUL" in ended.err
    assert not cli.home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["missing.yaml"],
        ["--prompt", "a", "--size", "12"],
        ["--prompt", "a", "--only", "film"],
        ["--prompt", "a", "--out", "/proc/version/film.mp4"],
        ["--prompt", "a", "--out", ""],
        ["--prompt", "a", "--only", "image", "--out", "film.mp4"],
        [],
    ],
)
def test_bad_input_is_exit_2_with_an_error_object(cli: Cli, arguments: list[str]) -> None:
    """A machine gets an object also when not even a prompt could be read; nothing is made, not even a home."""
    ended = cli("generate", "--json", *arguments)

    assert ended.code == 2
    told = ended.only()
    assert (told["key"], told["film"], told["error"]["rerun"]) == (None, None, "never")
    assert ended.err.startswith("error: ")
    assert not cli.home.exists()


def test_a_bad_setting_is_bad_input(cli: Cli) -> None:
    """Settings are input too, and must not end in a traceback."""
    ended = cli("generate", "--prompt", "a", "--json", MEDIA_ASSETS_MAX_IN_FLIGHT="none")

    assert ended.code == 2
    assert ended.only()["home"] is None
    assert "MEDIA_ASSETS_MAX_IN_FLIGHT" in ended.err


def test_a_finished_film_needs_no_machine_that_could_make_it(on_made: Cli) -> None:
    """A full disk or a route that is gone must not stand between people and what is there."""
    ended = on_made(
        "generate", "--prompt", "a boat", "--key", "cheap", *CHEAP_OPTIONS, "--take", "0", "--json",
        MEDIA_ASSETS_MIN_FREE_MB="999999999", MEDIA_ASSETS_ROUTE_IMAGE="gone:model",
    )  # fmt: skip

    assert ended.code == 0
    assert all(step["cached"] for step in ended.only()["steps"])


def test_plan_quotes_and_refuses(cli: Cli) -> None:
    """Planning answers what it would cost and why it cannot be; neither makes a purchase."""
    good = cli("plan", "--prompt", _ODD, *CHEAP_OPTIONS, "--json")
    shown = cli("plan", "--prompt", _ODD, *CHEAP_OPTIONS)
    bad = cli("plan", "--prompt", "a", "--set", "video.fsp=1", "--json")
    unreadable = cli("plan", "missing.yaml", "--json")

    assert (good.code, shown.code, bad.code, unreadable.code) == (0, 0, 2, 2)
    assert good.only()["estimate_usd"] == {"min": "0", "max": "0"}
    assert "costs at most 0 USD" in shown.out
    assert bad.only()["problems"][0]["field"] == "fsp"
    assert unreadable.only()["key"] is None
    assert "missing.yaml" in json.dumps(unreadable.only()["problems"])
    assert cli("ledger", "list", "--json").out == ""
