"""What a person decides of a purchase: once, of what is undecided, and never of what somebody is at work on."""

from dataclasses import replace

import pytest

from media_assets.errors import ConfigurationError, UnknownOutcomeError
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prediction import Prediction, State
from media_assets_tests.ledger.far_host import PREDICTION, claim

_ME = "me@here"


def _unknown(ledger: Ledger, take: int = 0, *, let_go: bool = True) -> PurchaseRow:
    """Return a purchase whose outcome is unknown."""
    claimed = claim(ledger, take=take)
    assert isinstance(claimed, Claim)
    token = ledger.purchases.write_intent(claimed)
    ledger.purchases.write_unknown(claimed, UnknownOutcomeError("no reply"), token=token)
    if let_go:
        ledger.purchases.hand_over(claimed)
    ledger.purchases.leave(claimed)
    return _found(ledger, claimed.request_key)


def _found(ledger: Ledger, request_key: str) -> PurchaseRow:
    row = ledger.purchases.get(request_key)
    assert row is not None
    return row


def test_a_prediction_is_adopted_by_one_purchase(ledger: Ledger) -> None:
    """A person may name the same one twice; its output belongs to the first, and the second was perhaps billed too."""
    first, second = _unknown(ledger, 1), _unknown(ledger, 2)
    ledger.decisions.adopt(first, PREDICTION, who=_ME)

    with pytest.raises(ConfigurationError, match="recorded for another purchase"):
        ledger.decisions.adopt(second, PREDICTION, who=_ME)

    assert _found(ledger, second.request_key) == second
    assert _found(ledger, first.request_key).prediction_id == PREDICTION.id
    assert [one["outcome"] for one in ledger.purchases.attempts(first.request_key)] == ["accepted"]


def test_nothing_is_decided_while_somebody_finds_it_out(ledger: Ledger) -> None:
    """Whoever waits for the provider's list would write over the decision, or the decision over what it found."""
    row = _unknown(ledger, let_go=False)

    for decide in (
        lambda: ledger.decisions.adopt(row, PREDICTION, who=_ME),
        lambda: ledger.decisions.resubmit(row, who=_ME),
        lambda: ledger.decisions.write_off(row, who=_ME),
    ):
        with pytest.raises(ConfigurationError, match="being worked on"):
            decide()
    assert _found(ledger, row.request_key) == row


def test_a_purchase_that_is_not_there_cannot_be_decided(ledger: Ledger) -> None:
    """The ledger may have been changed under a person who looks at a list."""
    row = replace(_unknown(ledger), request_key="0" * 64)

    with pytest.raises(ConfigurationError, match="there is no purchase 000000000000"):
        ledger.decisions.write_off(row, who=_ME)


def test_a_policy_leaves_what_somebody_was_faster_to_settle(ledger: Ledger) -> None:
    """It is then for the claim to see how the purchase stands now; nothing is sent, or counted as billed, twice."""
    adopted = _unknown(ledger, 1)
    ledger.decisions.adopt(adopted, Prediction(id="p-9", state=State.RUNNING), who=_ME)
    in_work = _unknown(ledger, 2, let_go=False)
    before = [_found(ledger, row.request_key) for row in (adopted, in_work)]

    assert ledger.decisions.resubmit_once(adopted.request_key)
    assert ledger.decisions.resubmit_once(in_work.request_key)
    assert ledger.decisions.resubmit_once("0" * 64)

    assert [_found(ledger, row.request_key) for row in (adopted, in_work)] == before
    assert before[0].state is PurchaseState.SUBMITTED


def test_a_policy_sends_once_more_and_not_twice(ledger: Ledger) -> None:
    """The first submission counts as billed at its worst case: nobody will ever know less than that."""
    row = _unknown(ledger)

    assert ledger.decisions.resubmit_once(row.request_key)
    once = _found(ledger, row.request_key)
    assert (once.state, once.cost_micro_usd) == (PurchaseState.CANCELED, row.estimate_micro_usd)
    assert once.fence == row.fence + 1
    _unknown(ledger)

    assert not ledger.decisions.resubmit_once(row.request_key)
    assert _found(ledger, row.request_key).state is PurchaseState.UNKNOWN
