"""Races: a cap that pays for N accepts exactly N, however many processes ask at once; the CHECK never has to fire."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import BudgetExceededError, RequestRejectedError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.schema import budget
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets_tests.children import meet, race
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.ledger.money import DAY
from media_assets_tests.making import reserved_micro_usd, some_request

PROCESSES, TRIES = 8, 25
ROOM = 137
"""How many reservations of one micro-USD the short cap pays for, of PROCESSES times TRIES that are asked for."""

FAL_SCOPE = f"provider:fal:{DAY.removeprefix('day:')}"
CAPS: Mapping[str, list[Cap]] = {
    "day": [Cap(DAY, ROOM, "short"), Cap("prompt:cheap", 10**9, "wide")],
    "provider": [Cap(DAY, 10**9, "wide"), Cap("prompt:cheap", 10**9, "wide"), Cap(FAL_SCOPE, ROOM, "short", "fal")],
}


def _open_plan(ledger: Ledger, caps: list[Cap]) -> str:
    plan_id = secrets.token_hex(8)
    ledger.prompts.open_plan(plan_id, "cheap", amounts={Step.IMAGE: 1}, caps=caps, providers={Step.IMAGE: "fal"})
    return plan_id


def reserve_together(home: str, which: str, url: str | None = None) -> int:
    """In a child: open plans under a short cap as others do; return how many were accepted."""
    accepted = 0
    with open_ledger(Path(home), url) as ledger:
        meet(Path(home) / "ready", ledger.owner.id, PROCESSES)
        for _ in range(TRIES):
            try:
                _open_plan(ledger, CAPS[which])
                accepted += 1
            except BudgetExceededError:
                pass
    return accepted


def buy_together(home: str, number: int, url: str | None = None) -> list[int]:
    """In a child: reserve, buy, fail and give back under a short day as others do; return how many, and for how much.

    Every third purchase is billed, every third is refused, and every third plan buys nothing.
    """
    accepted = billed = 0
    with open_ledger(Path(home), url) as ledger:
        meet(Path(home) / "ready", ledger.owner.id, PROCESSES)
        for attempt in range(TRIES // 2):
            try:
                plan_id = _open_plan(ledger, CAPS["provider"])
            except BudgetExceededError:
                continue
            accepted += 1
            if attempt % 3 != 2:
                billed += _buy(ledger, plan_id, take=number * TRIES + attempt, cost=1 - attempt % 3)
            ledger.prompts.close_plan(plan_id)
    return [accepted, billed]


def _buy(ledger: Ledger, plan_id: str, *, take: int, cost: int) -> int:
    request = some_request(take=take)
    claim = ledger.purchases.claim(
        request, recovery=Recovery.NONE, prompt_key="cheap", plan_id=plan_id, estimate_micro_usd=1
    )
    assert isinstance(claim, Claim)
    token = ledger.purchases.write_intent(claim)
    if cost:
        done = Prediction(id=request.key[:8], state=State.SUCCEEDED)
        ledger.purchases.write_submitted(claim, token, done, Settlement(cost_micro_usd=cost))
    else:
        ledger.purchases.write_failed(claim, token, RequestRejectedError("no"), outcome="refused")
    return cost


@pytest.mark.parametrize("which", list(CAPS) if LONG else ["provider"])
def test_a_cap_accepts_exactly_what_it_pays_for(tmp_path: Path, record_property: Any, which: str) -> None:
    """Eight runs of one night, one budget: not one more, and not one less."""
    accepted = race(f"{__name__}:reserve_together", [{"home": str(tmp_path), "which": which}] * PROCESSES)

    record_property(SAMPLE, f"cap {ROOM} against {PROCESSES} processes x {TRIES}")
    assert sum(accepted) == ROOM
    with open_ledger(tmp_path) as ledger, ledger.database.read() as connection:
        assert set(connection.execute(sa.select(budget.c.reserved_micro_usd)).scalars()) == {ROOM}


def test_what_is_billed_and_given_back_adds_up(tmp_path: Path) -> None:
    """Reserving, settling, failing and giving back at once, on every scope: nothing is lost, nothing left over."""
    each = [{"home": str(tmp_path), "number": number} for number in range(PROCESSES)]

    ended = race(f"{__name__}:buy_together", each)

    billed = sum(one[1] for one in ended)
    assert billed > 0
    assert reserved_micro_usd(tmp_path) == 0
    with open_ledger(tmp_path) as ledger, ledger.database.read() as connection:
        assert set(connection.execute(sa.select(budget.c.spent_micro_usd)).scalars()) == {billed}
        assert set(connection.execute(sa.select(budget.c.overrun)).scalars()) == {False}
