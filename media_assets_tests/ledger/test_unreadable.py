"""Pinned prompts that cannot be read: each is told where it stands, and hides no other."""

from pathlib import Path

import pytest

from media_assets.errors import Rerun
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.pins import Arrival, Unreadable, readable, unreadable
from media_assets.prompt import Prompt, Step
from media_assets_tests.ledger.damage import damage_prompt
from media_assets_tests.making import cheap_prompt

_DAMAGES = [{"body": '{"future": 1}'}, {"body": "\x00"}, {"error": "{"}]


def _pin(home: Path, *keys: str) -> None:
    with open_ledger(home) as ledger:
        ledger.prompts.pin([cheap_prompt(key=key) for key in keys], source="inbox", arrival=Arrival())


@pytest.mark.parametrize("damage", _DAMAGES)
def test_one_that_cannot_be_read_keeps_its_place_among_those_that_can(home: Path, damage: dict[str, str]) -> None:
    """It is told with what to do, and a rerun alone mends nothing."""
    _pin(home, "b", "old", "a")
    damage_prompt(home, "old", **damage)

    with open_ledger(home) as ledger:
        lists = [ledger.prompts.every(), ledger.prompts.arrived_after(0, most=9), ledger.prompts.waiting()]

    assert [[one.key for one in found] for found in lists] == [["a", "b", "old"], ["b", "old", "a"], ["b", "old", "a"]]
    for found in lists:
        assert [one.key for one in readable(found)] == [one.key for one in found if one.key != "old"]
        (one,) = unreadable(found)
        assert (one.arrived, one.error.rerun) == (2, Rerun.NEVER)
        assert "pin its file again" in one.error.message


@pytest.mark.parametrize(
    ("error", "is_waiting"), [('{"rerun": "never"}', False), ('{"rerun": "resume"}', True), ("{", True)]
)
def test_a_batch_is_told_of_what_it_would_have_made(home: Path, error: str, *, is_waiting: bool) -> None:
    """Not every night of what failed for good."""
    _pin(home, "old")
    damage_prompt(home, "old", body="{}", status="failed", error=error)

    with open_ledger(home) as ledger:
        assert [type(one) for one in ledger.prompts.waiting()] == [Unreadable] * is_waiting


def test_to_pin_its_file_again_mends_it(home: Path) -> None:
    """As its error says; a new take, which nobody can read any more, is not in the way."""
    _pin(home, "old")
    with open_ledger(home) as ledger:
        ledger.prompts.raise_takes("old", [Step.IMAGE], origin="a run")
    damage_prompt(home, "old")

    with open_ledger(home) as ledger:
        (mended,) = _pinned_again(ledger)
        assert ledger.prompts.known([mended], Arrival())["old"].is_same
        assert [one.key for one in readable(ledger.prompts.every())] == ["old"]
        again = ledger.prompts.raise_takes("old", [Step.IMAGE], origin="another run")

    assert mended.take_of(Step.IMAGE) == 0
    assert again is not None
    assert again[0].take_of(Step.IMAGE) == 2, "no take is given twice"


def _pinned_again(ledger: Ledger) -> list[Prompt]:
    return ledger.prompts.pin([cheap_prompt(key="old")], source="inbox", arrival=Arrival())
