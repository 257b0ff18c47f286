"""What a person decides of a purchase: once, of what is undecided, and never of what somebody is at work on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from media_assets.errors import ConfigurationError, ProviderUnavailableError, UnknownOutcomeError
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import NOBODY, PurchaseRow, PurchaseState, add_artifact, set_output
from media_assets.ledger.schema import purchase
from media_assets.prediction import Prediction, State
from media_assets_tests.ledger.far_host import PREDICTION, claim
from media_assets_tests.ledger.files import png

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


def _forgotten(ledger: Ledger) -> PurchaseRow:
    """Return a purchase that its provider has accepted, and does not know any more."""
    claimed = claim(ledger)
    assert isinstance(claimed, Claim)
    ledger.purchases.write_submitted(claimed, ledger.purchases.write_intent(claimed), PREDICTION)
    ledger.purchases.write_unknown(claimed, UnknownOutcomeError("not known", prediction_id=PREDICTION.id))
    ledger.purchases.hand_over(claimed)
    ledger.purchases.leave(claimed)
    return _found(ledger, claimed.request_key)


def _adopted(ledger: Ledger) -> PurchaseRow:
    """Return a purchase for which a person has named a prediction that its provider does not know."""
    row = _unknown(ledger)
    ledger.decisions.adopt(row, PREDICTION, who=_ME)
    claimed = claim(ledger)
    assert isinstance(claimed, Claim)
    ledger.purchases.write_unknown(claimed, UnknownOutcomeError("not known", prediction_id=PREDICTION.id))
    ledger.purchases.hand_over(claimed)
    ledger.purchases.leave(claimed)
    return _found(ledger, row.request_key)


@pytest.mark.parametrize("undecided", [_forgotten, _adopted])
def test_what_was_accepted_is_not_taken_for_never_sent(
    ledger: Ledger, undecided: Callable[[Ledger], PurchaseRow]
) -> None:
    """It may have been billed: as free it would be paid twice and counted once. Its way out is to write it off."""
    row = undecided(ledger)
    assert (row.state, row.prediction_id) == (PurchaseState.UNKNOWN, PREDICTION.id)
    decided, attempts = ledger.decisions.of(row.request_key), ledger.purchases.attempts(row.request_key)

    with pytest.raises(ConfigurationError, match=r"was accepted as prediction p-1.*may have been billed") as refused:
        ledger.decisions.resubmit(row, who=_ME)

    key = row.request_key[:12]
    for way_out in (f"ledger write-off {key}`", "--cost-usd 0", "--retry-failed", f"ledger adopt {key} PREDICTION_ID`"):
        assert way_out in refused.value.message
    assert _found(ledger, row.request_key) == row
    assert ledger.decisions.of(row.request_key) == decided
    assert ledger.purchases.attempts(row.request_key) == attempts
    assert ledger.decisions.write_off(row, cost_micro_usd=0, who=_ME) == 0
    assert _found(ledger, row.request_key).state is PurchaseState.FAILED_PAID


def test_a_prediction_that_was_named_by_mistake_gives_way_to_the_right_one(ledger: Ledger) -> None:
    """A slip of the pen is no reason to write money off."""
    row = _adopted(ledger)

    ledger.decisions.adopt(row, Prediction(id="p-2", state=State.RUNNING), who=_ME)

    now = _found(ledger, row.request_key)
    assert (now.state, now.prediction_id, now.error) == (PurchaseState.SUBMITTED, "p-2", None)
    assert [one["prediction_id"] for one in ledger.purchases.attempts(row.request_key)] == ["p-2"]
    assert [one["prediction_id"] for one in ledger.decisions.of(row.request_key)] == ["p-1", "p-2"]


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
    """The first counts as billed at its worst case, beside what was billed before: nobody will ever know less."""
    row = _unknown(ledger)
    with ledger.database.write() as connection:
        connection.execute(sa.update(purchase).values(cost_micro_usd=5))

    assert ledger.decisions.resubmit_once(row.request_key)
    once = _found(ledger, row.request_key)
    assert (once.state, once.cost_micro_usd) == (PurchaseState.CANCELED, row.estimate_micro_usd + 5)
    assert once.fence == row.fence + 1
    _unknown(ledger)

    assert not ledger.decisions.resubmit_once(row.request_key)
    assert _found(ledger, row.request_key).state is PurchaseState.UNKNOWN


@pytest.mark.parametrize("what", ["adopt", "resubmit", "write-off"])
def test_a_decision_is_of_the_newest_submission_and_clears_up(ledger: Ledger, what: str) -> None:
    """What was refused before it is known, whatever was sent of another purchase; and its trouble is over."""
    busy = claim(ledger, take=9)
    assert isinstance(busy, Claim)
    for _ in range(3):
        token = ledger.purchases.write_intent(busy)
        ledger.purchases.write_put_back(busy, token, ProviderUnavailableError("no route"), block_s=0)
    claimed = claim(ledger)
    assert isinstance(claimed, Claim)
    token = ledger.purchases.write_intent(claimed)
    ledger.purchases.write_put_back(claimed, token, ProviderUnavailableError("no route"), block_s=0)
    ledger.purchases.leave(claimed)
    row, before = _unknown(ledger), datetime.now(UTC)
    assert row.error is not None

    if what == "adopt":
        ledger.decisions.adopt(row, PREDICTION, who=_ME)
    elif what == "resubmit":
        ledger.decisions.resubmit(row, who=_ME)
    else:
        assert ledger.decisions.write_off(row, who=_ME) == row.estimate_micro_usd

    now = _found(ledger, row.request_key)
    outcomes = [(one["outcome"], one["prediction_id"]) for one in ledger.purchases.attempts(row.request_key)]
    assert outcomes[0] == ("unsent", None)
    assert (
        outcomes[1]
        == {
            "adopt": ("accepted", "p-1"),
            "resubmit": ("unsent", None),
            "write-off": ("ambiguous", None),
        }[what]
    )
    assert (now.error is None) == (what != "write-off")
    (told,) = ledger.decisions.of(row.request_key)
    assert (told["what"], told["who"], told["state_before"], told["n"]) == (what, _ME, "UNKNOWN", 1)
    assert told["prediction_id"] == (PREDICTION.id if what == "adopt" else None)
    assert told["cost_micro_usd"] == (row.estimate_micro_usd if what == "write-off" else None)
    assert datetime.fromisoformat(told["at"]) >= before


def test_what_is_decided_of_each_state(ledger: Ledger) -> None:
    """An outcome only where it is unknown; a file only where there is one that was judged not good enough."""
    black = '{"class": "JudgeError", "message": "■"}'
    for take, state in enumerate(PurchaseState):
        row = _unknown(ledger, take)
        with ledger.database.write() as connection:
            mine = purchase.c.request_key == row.request_key
            connection.execute(sa.update(purchase).where(mine).values(state=state, owner="its maker", error=black))
        for decide in (
            lambda row=row: ledger.decisions.adopt(row, PREDICTION, who=_ME),
            lambda row=row: ledger.decisions.resubmit(row, who=_ME),
            lambda row=row: ledger.decisions.write_off(row, who=_ME),
        ):
            if state not in {PurchaseState.UNKNOWN, PurchaseState.SUBMITTING}:
                with pytest.raises(ConfigurationError, match="nothing to decide"):
                    decide()
        with pytest.raises(ConfigurationError, match="only a file that was bought"):
            ledger.decisions.accept(row, who=_ME)
        with ledger.database.write() as connection:
            add_artifact(connection, png("a"))
            set_output(connection, row.request_key, png("a"))
        before = _found(ledger, row.request_key)
        if state in {PurchaseState.FAILED_PAID, PurchaseState.FAILED_FREE}:
            ledger.decisions.accept(row, who=_ME)
            now = _found(ledger, row.request_key)
            assert (now.state, now.error, now.owner) == (PurchaseState.SUCCEEDED, None, NOBODY)
            assert now.fence == before.fence + 1
            told = ledger.decisions.of(row.request_key)
            assert [(one["what"], one["state_before"]) for one in told] == [("accept", str(state))]
            with ledger.database.read() as connection:
                notes = connection.execute(sa.select(purchase.c.notes).where(mine)).scalar_one()
            assert notes == '["accepted by a person, though ■"]'
        else:
            with pytest.raises(ConfigurationError, match="only a file that was bought"):
                ledger.decisions.accept(row, who=_ME)
            assert _found(ledger, row.request_key) == before


def test_a_person_and_a_policy_each_have_a_say(ledger: Ledger) -> None:
    """That a person had it sent once more, or another purchase was, is no word of the policy's on this one."""
    row, other = _unknown(ledger, 1), _unknown(ledger, 2)
    assert ledger.decisions.resubmit_once(other.request_key)
    ledger.decisions.resubmit(row, who=_ME)
    again = _unknown(ledger, 1)

    assert ledger.decisions.resubmit_once(again.request_key)

    assert _found(ledger, again.request_key).state is PurchaseState.CANCELED
    assert [one["who"] for one in ledger.decisions.of(again.request_key)] == [_ME, "resubmit_if_cheap"]
