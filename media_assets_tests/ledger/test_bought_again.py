"""A purchase that was paid for and failed is bought again: what it cost before stays counted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from media_assets.errors import PredictionFailedError, UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim, Settlement
from media_assets.prediction import Prediction, State
from media_assets_tests.ledger.money import claim_for, micro, open_plan, prompt_cap

_FAILED = PredictionFailedError("it failed after its run")
_BEFORE, _NOW = micro("0.05"), micro("0.07")


def _fail(ledger: Ledger, claim: Claim, token: str, cost_micro_usd: int) -> None:
    settlement = Settlement(cost_micro_usd=cost_micro_usd)
    ledger.purchases.write_failed(claim, token, _FAILED, outcome="failed", settlement=settlement)


def _succeed(ledger: Ledger, claim: Claim, token: str) -> None:
    done = Prediction(id="p-2", state=State.SUCCEEDED)
    ledger.purchases.write_submitted(claim, token, done, Settlement(cost_micro_usd=_NOW))


def _resubmit(ledger: Ledger, claim: Claim, token: str) -> None:
    ledger.purchases.write_unknown(claim, UnknownOutcomeError("?"), token=token)
    ledger.purchases.hand_over(claim)
    ledger.purchases.leave(claim)
    assert ledger.decisions.resubmit_once(claim.request_key)


@pytest.mark.parametrize(
    ("ends", "cost_micro_usd"),
    [
        (_succeed, _BEFORE + _NOW),
        (lambda ledger, claim, token: _fail(ledger, claim, token, _NOW), _BEFORE + _NOW),
        (_resubmit, _BEFORE + micro("0.10")),
    ],
    ids=["made", "failed again", "sent once more"],
)
def test_what_it_cost_before_stays_counted(
    tmp_path: Path, ends: Callable[[Ledger, Claim, str], None], cost_micro_usd: int
) -> None:
    with open_ledger(tmp_path) as ledger:
        first = claim_for(ledger, open_plan(ledger, "0.10", [prompt_cap()]), usd="0.10")
        _fail(ledger, first, ledger.purchases.write_intent(first), _BEFORE)
        ledger.purchases.leave(first)

        again = claim_for(ledger, open_plan(ledger, "0.10", [prompt_cap()]), usd="0.10", retry_failed=True)
        ends(ledger, again, ledger.purchases.write_intent(again))

        row = ledger.purchases.get(again.request_key)
        assert row is not None
        assert row.cost_micro_usd == cost_micro_usd
