"""Prompts that cannot be read, on the command line: told one by one, and in nobody's way."""

from pathlib import Path

import pytest

from media_assets.ledger import open_ledger
from media_assets.prompt import Prompt
from media_assets_tests.cli.running import CHEAP, Cli
from media_assets_tests.ledger.damage import damage_prompt
from media_assets_tests.ledger.money import open_plan, prompt_cap
from media_assets_tests.making import cheap_prompt


@pytest.fixture
def half(home: Path) -> None:
    """Pin a prompt that can be read, between two that cannot."""
    prompts = [Prompt.model_validate({"key": key, "prompt": "a boat", **CHEAP}) for key in ("aft", "boat", "crew")]
    with open_ledger(home) as ledger:
        ledger.prompts.pin(prompts, source="test")
    damage_prompt(home, "aft")
    damage_prompt(home, "crew")


@pytest.mark.usefixtures("half")
def test_a_batch_of_the_ledger_makes_the_others_and_says_which_it_cannot_read(cli: Cli) -> None:
    """One bad prompt never sinks a batch."""
    ended = cli("batch", "--json")

    *films, last = ended.objects()
    assert ended.code != 0
    assert {film["key"] for film in films if "error" in film} == {"aft", "crew"}
    assert [film.stem for film in (cli.home / "films").glob("*.mp4")] == ["boat"]
    assert {name: last["summary"][name] for name in ("prompts", "done", "failed")} == {
        "prompts": 3,
        "done": 1,
        "failed": 2,
    }
    assert all("pin its file again" in failure["message"] for failure in last["summary"]["failures"])
    assert "Run again" not in ended.err


@pytest.mark.usefixtures("half")
def test_status_lists_it_as_what_it_is(cli: Cli) -> None:
    told = cli("status", "--json").objects()
    shown = cli("status")

    assert [(one["key"], one["state"]) for one in told] == [
        ("aft", "unreadable"),
        ("boat", "pending"),
        ("crew", "unreadable"),
    ]
    assert "pin its file again" in told[0]["error"]["message"]
    assert (shown.code, shown.out.count("unreadable")) == (0, 2)
    assert "the prompt aft was pinned by another version" in shown.err


def test_its_budget_is_told_as_it_was_when_it_was_reserved(cli: Cli) -> None:
    """What the prompt itself allows nobody can read; what is spent and reserved everybody wants to know."""
    with open_ledger(cli.home) as ledger:
        ledger.prompts.pin([cheap_prompt()], source="test")
        open_plan(ledger, "0.5", [prompt_cap("0.75")])
        damage_prompt(cli.home, "cheap")

        told = cli("budget", "--json")

    assert told.code == 0
    (budget,) = [one for one in told.only()["budgets"] if one["scope"] == "prompt:cheap"]
    assert (budget["cap_usd"], budget["reserved_usd"]) == ("0.75", "0.5")
