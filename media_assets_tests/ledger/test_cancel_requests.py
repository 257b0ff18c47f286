"""Who may have a purchase called back: the last that wants it, and it is on record before anybody is asked to."""

from pathlib import Path

import pytest

from media_assets.catalog import Recovery
from media_assets.errors import PurchaseLostError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Busy, Claim, Settlement
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prediction import Prediction, State
from media_assets_tests.making import some_request


def _claim(ledger: Ledger, plan_id: str) -> Claim | Busy | PurchaseRow:
    """Claim the one purchase for an open plan."""
    ledger.prompts.open_plan(plan_id, plan_id, amounts={}, caps=[])
    return ledger.purchases.claim(
        some_request(), recovery=Recovery.LISTED, prompt_key=plan_id, plan_id=plan_id, estimate_micro_usd=0
    )


def _submitted(ledger: Ledger) -> Claim:
    claim = _claim(ledger, "first")
    assert isinstance(claim, Claim)
    token = ledger.purchases.write_intent(claim)
    ledger.purchases.write_submitted(claim, token, Prediction(id="p-1", state=State.QUEUED))
    return claim


def _requested_at(ledger: Ledger) -> str | None:
    row = ledger.purchases.get(some_request().key)
    assert row is not None
    return row.cancel_requested_at


def test_the_only_one_may_and_whoever_claims_it_next_wants_it(ledger: Ledger) -> None:
    """A request to cancel that outlived its reason would have somebody else's picture called back."""
    claim = _submitted(ledger)

    assert ledger.purchases.request_cancel(claim, plan_id="first")

    assert _requested_at(ledger) is not None
    ledger.purchases.hand_over(claim)
    ledger.purchases.leave(claim)
    again = _claim(ledger, "second")
    assert isinstance(again, Claim)
    assert again.row is not None
    assert again.row.cancel_requested_at is not None, "as it was found"
    assert _requested_at(ledger) is None


def test_nobody_may_while_another_living_plan_waits_for_it(ledger: Ledger, tmp_path: Path) -> None:
    """Whose run is stopped decides for itself alone."""
    claim = _submitted(ledger)
    with open_ledger(tmp_path) as other:
        assert isinstance(_claim(other, "second"), Busy)

        assert not ledger.purchases.request_cancel(claim, plan_id="first")
        assert not ledger.purchases.request_cancel(claim, plan_id="")
        assert _requested_at(ledger) is None

        other.purchases.lose_interest(some_request().key, plan_id="second")
        assert ledger.purchases.request_cancel(claim, plan_id="first")


@pytest.mark.parametrize("end", ["died", "closed its plan"])
def test_a_plan_that_is_gone_wants_nothing(ledger: Ledger, tmp_path: Path, end: str) -> None:
    claim = _submitted(ledger)
    with open_ledger(tmp_path) as other:
        assert isinstance(_claim(other, "second"), Busy)
        if end != "died":
            other.prompts.close_plan("second")
            assert ledger.purchases.request_cancel(claim, plan_id="first")

    assert ledger.purchases.request_cancel(claim, plan_id="first")


def test_whose_claim_is_stale_may_not(ledger: Ledger) -> None:
    """Another process has it, so another process wants it."""
    claim = _submitted(ledger)
    ledger.purchases.hand_over(claim)
    ledger.purchases.leave(claim)
    ledger.prompts.close_plan("first")
    assert isinstance(_claim(ledger, "first"), Claim)

    with pytest.raises(PurchaseLostError):
        ledger.purchases.request_cancel(claim, plan_id="first")


def test_what_has_ended_cannot_be_called_back_any_more(ledger: Ledger) -> None:
    """It ended just when its run was told to stop; that it was asked to stop would only mislead people."""
    claim = _submitted(ledger)
    error = PurchaseLostError("failed")
    ledger.purchases.write_failed(claim, None, error, outcome="failed", settlement=Settlement())

    assert ledger.purchases.request_cancel(claim, plan_id="first")

    row = ledger.purchases.get(some_request().key)
    assert row is not None
    assert (row.state, row.cancel_requested_at) == (PurchaseState.FAILED_FREE, None)
