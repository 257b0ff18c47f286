"""Which prompts a batch is to make, and in which order."""

import pytest

from media_assets.ledger import Ledger
from media_assets.ledger.pins import Arrival
from media_assets_tests.making import cheap_prompt


def _waiting(ledger: Ledger) -> list[str]:
    return [one.key for one in ledger.prompts.waiting()]


@pytest.mark.parametrize(
    ("status", "error", "is_waiting"),
    [
        ("pending", None, True),
        ("running", None, True),
        ("done", None, False),
        ("failed", {"rerun": "resubmit"}, True),
        ("failed", {"rerun": "resume"}, True),
        ("failed", {"rerun": "never"}, False),
        ("failed", {"rerun": "ask"}, False),
        ("failed", {"class": "X"}, False),
        ("failed", None, False),
    ],
)
def test_what_a_rerun_may_go_on_with_waits(
    ledger: Ledger, status: str, error: dict[str, str] | None, *, is_waiting: bool
) -> None:
    """And nobody works on it: what another run is making is that one's."""
    ledger.prompts.pin([cheap_prompt()], source="film.yaml")
    ledger.prompts.set_status(cheap_prompt(), status, error)
    assert _waiting(ledger) == ["cheap"] * is_waiting

    ledger.prompts.open_plan("p", "cheap", amounts={}, caps=[])
    assert _waiting(ledger) == []


def test_the_more_urgent_come_first_then_those_that_arrived_then_by_name(ledger: Ledger) -> None:
    prompts = {key: cheap_prompt(key=key) for key in ("b", "a", "late", "early", "hurry")}
    ledger.prompts.pin([prompts["b"], prompts["a"]], source="film.yaml")
    for key in ("early", "late"):
        ledger.prompts.pin([prompts[key]], source="inbox", arrival=Arrival())
    ledger.prompts.pin([prompts["hurry"]], source="inbox", arrival=Arrival(priority=1))

    assert _waiting(ledger) == ["hurry", "early", "late", "a", "b"]


def test_looking_at_unchanged_prompts_writes_nothing(ledger: Ledger) -> None:
    """A sensor looks every ten seconds: it would stand in the way of whoever buys."""
    ledger.prompts.pin([cheap_prompt()], source="film.yaml")

    with ledger.database.write():
        assert ledger.prompts.pin([cheap_prompt()], source="film.yaml") == [cheap_prompt()]
