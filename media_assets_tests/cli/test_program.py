"""The command line as a program: its streams, its start-up, and where it keeps its state."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from media_assets_tests.cli.running import (
    CHEAP_OPTIONS,
    PROGRAM,
    call,
    call_on_terminal,
    environment,
    start,
    write_prompts,
)


def test_two_working_directories_of_one_project_share_one_ledger(tmp_path: Path) -> None:
    """A second ledger by accident would buy everything twice: here both runs go at once, from different folders."""
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    folders = [tmp_path / "a", tmp_path / "b" / "deep"]
    for folder in folders:
        folder.mkdir(parents=True)

    command = ("generate", "--prompt", "a boat", *CHEAP_OPTIONS, "--json")
    running = [start(*command, cwd=folder) for folder in folders]
    outs = []
    for process in running:
        with process:
            outs.append(process.communicate(timeout=120)[0])

    assert [process.returncode for process in running] == [0, 0]
    listed = call("ledger", "list", "--json", cwd=tmp_path).objects()
    assert sorted(row["step"] for row in listed) == ["audio", "image", "merged", "video"]
    assert [row["attempts"] for row in listed] == [1, 1, 1, 1]
    assert all(str(tmp_path / ".media_assets" / "films") in out for out in outs)


def test_json_stays_on_standard_output_while_bars_move_on_the_terminal(tmp_path: Path) -> None:
    """With ``--json | jq`` standard error is a terminal; rich takes over standard output then, unless told not to."""
    file = write_prompts(tmp_path / "prompts.jsonl", *({"key": key, "prompt": "[red]x"} for key in ("one", "two")))

    ended, shown = call_on_terminal("generate", file, "--json", streams=("stderr",), MEDIA_ASSETS_HOME=tmp_path)

    assert ended.code == 0
    assert [told["key"] for told in ended.objects()] == ["one", "two"]
    assert "of 2" in shown
    assert "━" in shown


def test_one_film_shows_a_bar_for_each_step_and_then_the_film(tmp_path: Path) -> None:
    """Progress per step, and the table last, where people look."""
    options = ("--prompt", "a [b]boat", "--key", "boat", *CHEAP_OPTIONS)

    ended, shown = call_on_terminal("generate", *options, streams=("stdout", "stderr"), MEDIA_ASSETS_HOME=tmp_path)

    assert ended.code == 0
    assert "local:landscape, " in shown
    assert shown.rindex("━━━") < shown.index(f"film: {tmp_path / 'films' / 'boat.mp4'}")


def test_many_films_show_on_a_terminal_with_their_bars(tmp_path: Path) -> None:
    """People at a terminal see both: the films' tables whole, and how far the rest is."""
    file = write_prompts(tmp_path / "prompts.jsonl", *({"key": key, "prompt": "[red]x"} for key in ("one", "two")))

    ended, shown = call_on_terminal("generate", file, streams=("stdout", "stderr"), MEDIA_ASSETS_HOME=tmp_path)

    assert ended.code == 0
    assert f"film: {tmp_path / 'films' / 'one.mp4'}" in shown
    assert f"film: {tmp_path / 'films' / 'two.mp4'}" in shown
    assert "of 2" in shown


def test_json_on_a_terminal_is_not_broken_by_bars(tmp_path: Path) -> None:
    """Somebody tries ``--json`` by hand first; a line wrapped by a progress bar is no JSON."""
    options = ("--prompt", "a boat", "--key", "boat", *CHEAP_OPTIONS, "--json")

    _, shown = call_on_terminal("generate", *options, streams=("stdout", "stderr"), MEDIA_ASSETS_HOME=tmp_path)

    (line,) = [line for line in shown.splitlines() if line.startswith("{")]
    assert json.loads(line)["key"] == "boat"


def test_no_color_is_respected(tmp_path: Path) -> None:
    """People who cannot tell the colours, or log the terminal, ask for none."""
    command = ("generate", "missing.yaml")

    _, plain = call_on_terminal(*command, streams=("stderr",), MEDIA_ASSETS_HOME=tmp_path, NO_COLOR="1")
    _, coloured = call_on_terminal(*command, streams=("stderr",), MEDIA_ASSETS_HOME=tmp_path)

    assert "there is no such file" in plain
    assert "31m" not in plain
    assert "31m" in coloured


def test_a_reader_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """``| head`` closes the pipe early; that is not worth a traceback."""
    call("generate", "--prompt", "a boat", *CHEAP_OPTIONS, MEDIA_ASSETS_HOME=tmp_path)
    reading, writing = os.pipe()
    os.close(reading)

    for command in (["ledger", "list", "--json"], ["status"], ["doctor"]):
        ended = subprocess.run(
            [*PROGRAM, *command],
            env=environment(MEDIA_ASSETS_HOME=tmp_path),
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stderr) == (0, b"")
    os.close(writing)


def test_films_are_made_to_the_end_for_a_reader_that_is_gone(tmp_path: Path) -> None:
    """What is being paid for must not be dropped because somebody looked at the first lines only."""
    reading, writing = os.pipe()
    os.close(reading)
    file = write_prompts(tmp_path / "prompts.jsonl", {"key": "a", "prompt": "a"}, {"key": "b", "prompt": "b"})

    ended = subprocess.run(
        [*PROGRAM, "generate", str(file), "--json"],
        env=environment(MEDIA_ASSETS_HOME=tmp_path / "home"),
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    os.close(writing)

    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    assert sorted(path.name for path in (tmp_path / "home" / "films").iterdir()) == ["a.mp4", "b.mp4"]


def test_any_encoding_takes_any_text(tmp_path: Path) -> None:
    """A terminal in Latin-1 cannot show an emoji, but it must not stop a film."""
    options = ("--prompt", "שלום 👩‍🚀", "--key", "odd", "--caption", "字", *CHEAP_OPTIONS)

    ended = call("generate", *options, MEDIA_ASSETS_HOME=tmp_path, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    shown = call("status", "odd", MEDIA_ASSETS_HOME=tmp_path, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")

    assert (ended.code, shown.code) == (0, 0)
    assert "\\u05e9" in shown.out


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("--help", {"numpy", "av", "onnxruntime", "dagster", "PIL", "sqlalchemy", "pydantic"}),
        ("ledger list", {"numpy", "av", "onnxruntime", "dagster", "PIL"}),
        ("status", {"numpy", "av", "onnxruntime", "dagster", "PIL"}),
        ("report", {"numpy", "av", "onnxruntime", "dagster", "PIL", "matplotlib"}),
        ("doctor", {"av", "onnxruntime", "dagster"}),
    ],
)
def test_commands_load_only_what_they_need(tmp_path: Path, command: str, absent: set[str]) -> None:
    """Help that takes two seconds because it loads a neural voice is help that nobody asks for."""
    program = (
        "import sys\nfrom media_assets.cli import run\n"
        f"code = run({command.split()!r})\n"
        "print('loaded', code, *sys.modules, file=sys.stderr)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(MEDIA_ASSETS_HOME=tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    _, code, *loaded = ended.stderr.splitlines()[-1].split()
    assert code == "0"
    assert absent.isdisjoint(loaded)
    assert not (tmp_path / "home").exists()


def test_the_demo_makes_its_film(tmp_path: Path) -> None:
    """The first command anybody types: a narrated film without key or network."""
    ended = call("demo", MEDIA_ASSETS_HOME=tmp_path)

    assert ended.code == 0
    assert f"film: {tmp_path / 'films' / 'lighthouse.mp4'}\n" in ended.out
    assert "local:piper" in ended.out
