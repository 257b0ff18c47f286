"""``batch`` as it is typed: everything good is made, everything else is explained, and the sums are right."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.batch import Quote, Summary
from media_assets.cli.batch_progress import BatchLines, counts_of
from media_assets.film import Film
from media_assets.ledger import open_ledger
from media_assets.ledger.pins import Arrival
from media_assets.prompt import Prompt
from media_assets_tests.cli.running import CHEAP, Cli


def _row(key: str, **changes: Any) -> dict[str, Any]:
    return {"key": key, "prompt": f"A quiet harbour called {key}", **CHEAP, **changes}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write three prompts that can be made, one that is none, and one with a model that nobody has."""
    rows = [_row("a"), _row("b"), {"key": "no prompt"}, _row("c"), _row("odd", routes={"image": ["no:such"]})]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_one_bad_prompt_stops_nobody_else(cli: Cli, file: Path) -> None:
    ended = cli("batch", file, "--max-in-flight", "2")

    assert ended.code == 2
    assert sorted(path.stem for path in (cli.home / "films").glob("*.mp4")) == ["a", "b", "c"]
    assert "4 prompts: at most 0 USD" in ended.err
    assert "many.jsonl, line 3" in ended.out
    assert "no:such" in ended.out
    assert "3 done, 2 failed; 0 USD spent of at most 0 USD quoted" in ended.out.replace("\n", " ")


def test_a_second_batch_goes_on_with_the_rest(cli: Cli, file: Path) -> None:
    cli("batch", file)

    ended = cli("batch", file)

    assert "3 cached, 2 failed" in ended.out


def test_as_json_it_is_a_line_a_prompt_and_the_sums(cli: Cli, file: Path) -> None:
    ended = cli("batch", file, "--json")

    *films, last = ended.objects()
    assert sorted(film["key"] for film in films) == ["a", "b", "c", "many.jsonl, line 3", "odd"]
    summary = last["summary"]
    assert {name: summary[name] for name in ("prompts", "done", "failed", "deferred", "spent_usd", "interrupted")} == {
        "prompts": 5,
        "done": 3,
        "failed": 2,
        "deferred": 0,
        "spent_usd": "0",
        "interrupted": False,
    }
    assert sorted(one["key"] for one in summary["failures"]) == ["many.jsonl, line 3", "odd"]


def test_without_a_file_it_makes_what_is_still_to_be_made(cli: Cli) -> None:
    with open_ledger(cli.home) as ledger:
        for key, priority in (("low", 0), ("high", 9)):
            prompt = Prompt.model_validate(_row(key))
            ledger.prompts.pin([prompt], source="test", arrival=Arrival(priority=priority))

    ended = cli("batch", "--json", "--max-in-flight", "1")

    *films, last = ended.objects()
    assert [film["key"] for film in films] == ["high", "low"]
    assert last["summary"]["done"] == 2
    assert cli("batch", "--json").objects()[-1]["summary"]["prompts"] == 0


def test_one_that_was_changed_meanwhile_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    """It is neither made nor cached: there is no film of what it was."""
    summary = Summary(quote=Quote(prompts=2, least_usd=Decimal(0), estimate_usd=Decimal(0)))
    film = Film(key="a", superseded=True)
    summary.add(film)

    BatchLines(lambda: summary).film_done(film)

    assert "a: superseded (1 of 2; 0 USD spent)" in capsys.readouterr().err
    assert counts_of(summary).startswith("1 superseded")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nowhere.yaml",), "cannot be read"),
        (("--max-run-usd", "much"), "not an amount"),
        (("--unknown", "guess"), "no policy"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(cli: Cli, arguments: tuple[str, ...], why: str) -> None:
    ended = cli("batch", *arguments, "--json")

    assert ended.code == 2
    assert why in ended.err
    assert "nothing was sent" in ended.err
    assert "error" in ended.only()
