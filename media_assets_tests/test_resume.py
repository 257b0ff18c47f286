"""A process killed while it buys: the next one sends nothing again, and has what was paid for wherever it can.

Until lost submissions are looked for at the provider, what died between intent and id is held as unknown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets_tests.children import Child, Ended, run_children
from media_assets_tests.making import leftovers, reserved_micro_usd
from media_assets_tests.market_child import BUY
from media_assets_tests.simulated import Market, open_market

_POLLED = ("replicate:sdxl", "fal:flux-schnell")
_AT_ONCE = ("elevenlabs:flash-v2.5",)
_MODELS = (*_POLLED, *_AT_ONCE)
_POINTS = ("intent_written", "submitted", "settled", "stored_half", "renamed", "artifact_recorded")
_POLLING = "polling"
"""Not a named point: the child kills itself when it is first told of progress."""

_AFTER_SETTLING = ("stored_half", "renamed")
_CASES = [
    *(case for case in product(_MODELS, _POINTS) if case[0] != "fal:flux-schnell" or case[1] not in _AFTER_SETTLING),
    ("replicate:sdxl", _POLLING),
]
"""Storing is the same for both that are polled."""
_UNDECIDED = ("intent_written", "submitted")


@dataclass(frozen=True)
class _Case:
    """One model, killed at one point, and run again twice."""

    home: Path
    first: Ended
    rerun: Ended
    second: dict[str, str]
    third: dict[str, str]
    row: PurchaseRow
    spent_micro_usd: int
    outcomes: tuple[str | None, ...]


def _case(home: Path, chain: list[Ended]) -> _Case:
    with open_ledger(home) as ledger:
        (row,) = ledger.purchases.search()
        outcomes = tuple(attempt["outcome"] for attempt in ledger.purchases.attempts(row.request_key))
        with ledger.database.read() as connection:
            spent = connection.exec_driver_sql("SELECT spent_micro_usd FROM budget").scalar_one()
    first, rerun = chain
    second, third = rerun.value
    return _Case(home, first, rerun, second, third, row, spent, outcomes)


def _chain(home: Path, market: Market, model: str, point: str) -> list[Child]:
    arguments = {"home": str(home), "environment": market.simulator.environment(), "model": model}
    dies_polling = point == _POLLING
    environment = {"MEDIA_ASSETS_CRASH_AT": "" if dies_polling else point}
    again = Child(BUY, {**arguments, "times": 2}, {"MEDIA_ASSETS_CRASH_AT": ""})
    return [Child(BUY, {**arguments, "dies_polling": dies_polling}, environment), again]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market"), latency_s={"replicate": (0.3, 0.4)}) as market:
        yield market


@pytest.fixture(scope="module")
def cases(market: Market, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], _Case]:
    """Run every case, each in a home of its own, two at a time."""
    root = tmp_path_factory.mktemp("homes")
    homes = {case: root / "-".join(case).replace(":", "-") for case in _CASES}
    chains = run_children([_chain(home, market, *case) for case, home in homes.items()], at_once=2)
    return {case: _case(home, chain) for (case, home), chain in zip(homes.items(), chains, strict=True)}


def _named(case: tuple[str, str]) -> str:
    return "-".join(case)


_UNDECIDED_CASES = [case for case in _CASES if case[1] in _UNDECIDED]
_LOST_CASES = [case for case in _CASES if case[0] in _AT_ONCE and case[1] in {"settled", "stored_half", "renamed"}]
_FINISHED_CASES = [case for case in _CASES if case not in {*_UNDECIDED_CASES, *_LOST_CASES}]


@pytest.mark.parametrize("case", _FINISHED_CASES, ids=_named)
def test_what_was_sent_is_finished_by_the_next_run(cases: dict[tuple[str, str], _Case], case: tuple[str, str]) -> None:
    """Its id is on record, so it is asked for: another submission would be another bill."""
    one = cases[case]

    assert one.first.was_killed
    assert one.rerun.exit_code == 0
    assert one.second["sha256"] == one.third["sha256"]
    assert one.third["spent"] == "0"
    assert (one.row.state, one.outcomes) == (PurchaseState.SUCCEEDED, ("accepted",))
    assert (one.row.cost_micro_usd or 0) == one.spent_micro_usd > 0, "settled once"
    assert reserved_micro_usd(one.home) == 0
    assert leftovers(one.home) == []


@pytest.mark.parametrize("case", _UNDECIDED_CASES, ids=_named)
def test_what_may_have_been_sent_is_held(cases: dict[tuple[str, str], _Case], case: tuple[str, str]) -> None:
    """The intent is on record and the id is not: nobody guesses with the money."""
    one = cases[case]

    assert one.first.was_killed
    assert one.second["class"] == one.third["class"] == "UnknownOutcomeError"
    assert (one.row.state, one.row.attempts, one.spent_micro_usd) == (PurchaseState.UNKNOWN, 1, 0)
    assert reserved_micro_usd(one.home) == one.row.estimate_micro_usd


@pytest.mark.parametrize("case", _LOST_CASES, ids=_named)
def test_an_output_that_came_once_is_paid_and_lost(cases: dict[tuple[str, str], _Case], case: tuple[str, str]) -> None:
    """Said openly, and not bought again on a guess."""
    one = cases[case]

    assert one.first.was_killed
    assert one.second["class"] == one.third["class"] == "OutputLostError"
    assert one.second["prediction_id"] == one.row.prediction_id is not None
    assert (one.row.state, one.outcomes) == (PurchaseState.LOST_OUTPUT, ("accepted",))
    assert (one.row.cost_micro_usd or 0) == one.spent_micro_usd > 0, "settled once"
    assert reserved_micro_usd(one.home) == 0


def test_every_case_was_submitted_once_and_the_ledger_has_the_bill(
    cases: dict[tuple[str, str], _Case], market: Market
) -> None:
    """Three runs each, and no more than one submission of each."""
    sent = [case for case in _CASES if case[1] != "intent_written"]

    assert market.posts() == len(market.accepted()) == len(sent)
    unsettled = [case for case in sent if case[1] == "submitted"]
    lines = market.ask("/_sim/bill")["lines"]
    billed = sorted(Decimal(line["usd"]) for line in lines)
    settled = [Decimal(cases[case].row.cost_micro_usd or 0) / 1_000_000 for case in sent if case not in unsettled]
    for cost in settled:
        billed.remove(cost)
    assert len(billed) == len(unsettled), "every cost is a line of the bill, and what is held is the rest"
