"""Whose a purchase is: in which state it may be claimed, what a claim keeps, what becomes of one that is given up."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import JudgeError, PurchaseLostError, Rerun, StoppedError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Busy, Claim, Settlement
from media_assets.ledger.rows import NOBODY, PurchaseRow, PurchaseState
from media_assets.ledger.schema import interest, purchase
from media_assets.prediction import Prediction, State
from media_assets_tests.ledger.far_host import REQUEST
from media_assets_tests.ledger.files import png
from media_assets_tests.ledger.money import DAY, day_cap, open_plan, standing

S = PurchaseState
_LONG_AGO = "2020-01-01T00:00:00.000000+00:00"


@pytest.fixture
def other(tmp_path: Path, ledger: Ledger) -> Iterator[Ledger]:
    """Open the same ledger as another process would."""
    with open_ledger(tmp_path) as other:
        yield other


def _claim(ledger: Ledger, *, take: int = 0, **how: Any) -> Claim | Busy | PurchaseRow:
    terms = {"recovery": Recovery.LISTED, "prompt_key": "a", "plan_id": "p", "estimate_micro_usd": 5, **how}
    return ledger.purchases.claim(replace(REQUEST, take=take), **terms)


def _claimed(ledger: Ledger, **how: Any) -> Claim:
    claimed = _claim(ledger, **how)
    assert isinstance(claimed, Claim), claimed
    return claimed


def _set(ledger: Ledger, **values: Any) -> None:
    with ledger.database.write() as connection:
        connection.execute(sa.update(purchase).values(values))


def _row(ledger: Ledger, key: str = REQUEST.key) -> PurchaseRow:
    row = ledger.purchases.get(key)
    assert row is not None
    return row


def test_what_may_be_claimed_of_each_state(ledger: Ledger) -> None:
    """Paid work is not done again by itself, but for what may be over; free work is, unless it is there."""
    ledger.purchases.leave(_claimed(ledger))
    passing, lasting = (f'{{"class": "X", "rerun": "{rerun}"}}' for rerun in (Rerun.RESUBMIT, Rerun.NEVER))
    ended = (S.SUCCEEDED, S.FAILED_FREE, S.FAILED_PAID, S.CANCELED, S.LOST_OUTPUT, S.UNKNOWN)
    choices = product(ended, (Recovery.FREE, Recovery.LISTED), (False, True), (False, True), (passing, lasting))
    for state, recovery, retry_failed, remake, error in choices:
        _set(ledger, state=state, recovery=recovery, error=error)
        free = recovery is Recovery.FREE
        may_be = {
            S.SUCCEEDED: free and remake,
            S.FAILED_FREE: free or retry_failed or error == passing,
            S.FAILED_PAID: free or retry_failed,
            S.CANCELED: True,
            S.LOST_OUTPUT: free,
            S.UNKNOWN: free,
        }[state]

        found = _claim(ledger, recovery=recovery, retry_failed=retry_failed, remake=remake, clears_up=lambda _: False)

        case = (state, recovery, retry_failed, remake, error)
        assert isinstance(found, Claim) is may_be, case
        if isinstance(found, Claim):
            assert (found.found, found.row) == (state, None), case
            assert _row(ledger).state is S.RESERVED, case
            ledger.purchases.leave(found)
        else:
            assert isinstance(found, PurchaseRow)
            assert (found.state, found.error) == (state, _row(ledger).error), case


def test_what_is_unknown_is_claimed_by_who_can_find_it_out(ledger: Ledger, other: Ledger) -> None:
    """It stays unknown until then, and is left to whoever finds it out already."""
    ledger.purchases.leave(_claimed(ledger))
    _set(ledger, state=S.UNKNOWN, prediction_id="p-1")
    asked: list[PurchaseRow] = []

    def cannot(row: PurchaseRow) -> bool:
        asked.append(row)
        return False

    assert isinstance(_claim(ledger, clears_up=cannot), PurchaseRow)
    assert [row.state for row in asked] == [S.UNKNOWN]
    assert _claim(other, clears_up=lambda _: True) == Busy()
    claimed = _claimed(ledger, clears_up=lambda _: True)
    assert (claimed.found, claimed.prediction) == (S.UNKNOWN, Prediction(id="p-1", state=State.UNKNOWN))
    assert _row(ledger).state is S.UNKNOWN


@pytest.mark.parametrize("state", [S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.DONE])
def test_what_is_open_is_gone_on_with_and_free_work_begun_anew(ledger: Ledger, state: PurchaseState) -> None:
    """What is known of a paid prediction is all there is to find it by."""
    known = {"state": state, "owner": NOBODY, "prediction_id": "p-1", "urls": '{"a": "b"}', "remote_state": "r"}
    more = {"progress": 0.5, "error": '{"class": "X"}', "cancel_requested_at": _LONG_AGO, "updated_at": _LONG_AGO}
    ledger.purchases.leave(_claimed(ledger))
    _set(ledger, **known, **more)
    before = _row(ledger)

    claimed = _claimed(ledger)

    now = _row(ledger)
    same = replace(now, owner=NOBODY, fence=before.fence, cancel_requested_at=_LONG_AGO, updated_at=_LONG_AGO)
    assert same == before
    assert (now.owner, now.fence, now.cancel_requested_at) == (ledger.owner.id, before.fence + 1, None)
    assert now.updated_at > "2021"
    assert (claimed.found, claimed.fence, claimed.row) == (state, now.fence, before)
    ledger.purchases.leave(claimed)
    _set(ledger, **known, **more)
    _claimed(ledger, recovery=Recovery.FREE)
    anew = _row(ledger)
    assert (anew.state, anew.prediction_id, anew.urls, anew.remote_state) == (S.RESERVED, None, {}, None)
    assert (anew.progress, anew.error, anew.cancel_requested_at) == (None, None, None)


def test_a_retry_keeps_the_error_until_something_is_sent(ledger: Ledger) -> None:
    ledger.purchases.leave(_claimed(ledger))
    for state, kept in ((S.FAILED_FREE, True), (S.FAILED_PAID, True), (S.CANCELED, False)):
        _set(ledger, state=state, error='{"class": "X"}')
        ledger.purchases.leave(_claimed(ledger, retry_failed=True))
        assert (_row(ledger).error is not None) is kept


def test_what_is_given_up_is_nobodys_if_it_was_still_ours(ledger: Ledger) -> None:
    """One that has ended stays its maker's, and one that another claimed meanwhile stays the other's."""
    claimed = _claimed(ledger)
    for state in S:
        _set(ledger, state=state, owner="me")
        ledger.purchases.hand_over(replace(claimed, fence=claimed.fence + 1))
        assert _row(ledger).owner == "me"
        ledger.purchases.hand_over(claimed)
        assert (_row(ledger).owner == NOBODY) is (state.is_open or state is S.UNKNOWN), state


def test_a_stop_is_asked_for_only_while_there_is_something_to_stop(ledger: Ledger) -> None:
    claimed = _claimed(ledger)
    for state in S:
        _set(ledger, state=state, cancel_requested_at=None, updated_at=_LONG_AGO)
        assert ledger.purchases.request_cancel(claimed, plan_id="p")
        now = _row(ledger)
        assert (now.cancel_requested_at is not None) is (state.is_open or state is S.UNKNOWN), state
        assert now.updated_at > "2021", "every change says when it was made"
    with pytest.raises(PurchaseLostError):
        ledger.purchases.request_cancel(replace(claimed, fence=7), plan_id="p")


def test_a_lost_file_that_turns_out_to_be_there_is_as_before(ledger: Ledger) -> None:
    """Whatever its plan had reserved for the step comes back, and nobody waits for it any more."""
    ledger.purchases.leave(_claimed(ledger, recovery=Recovery.FREE))
    _set(ledger, state=S.SUCCEEDED)
    plan_id = open_plan(ledger, "0.10", [day_cap()])
    claimed = _claimed(ledger, recovery=Recovery.FREE, remake=True, plan_id=plan_id)

    ledger.purchases.restore(claimed)

    assert (_row(ledger).state, _row(ledger).progress) == (S.SUCCEEDED, 1.0)
    assert standing(ledger) == {DAY: ("0.00", "0.00", False)}
    with ledger.database.read() as connection:
        assert all(connection.execute(sa.select(interest.c.until)).scalars())


@pytest.mark.parametrize(("cost_micro_usd", "state"), [(0, S.FAILED_FREE), (1, S.FAILED_PAID)])
def test_a_bad_file_is_kept_and_never_replaces_another(
    ledger: Ledger, cost_micro_usd: int, state: PurchaseState
) -> None:
    """A single micro-dollar makes it one that was paid for."""
    claimed = _claimed(ledger)
    ledger.purchases.write_intent(claimed)
    done = Prediction(id="p-1", state=State.SUCCEEDED)
    ledger.purchases.write_done(claimed, done, Settlement(cost_micro_usd=cost_micro_usd))
    _set(ledger, progress=None)
    for name in "ab":
        assert ledger.purchases.write_stored(claimed, png(name), duration_s=2.0, failed=JudgeError("black"))
        now = _row(ledger)
        assert now.artifact is not None
        assert (now.state, now.artifact.sha256, now.progress, now.duration_s) == (state, png("a").sha256, 1.0, 2.0)
    assert ledger.purchases.write_stored(claimed, png("b"), duration_s=2.0, failed=None)
    now = _row(ledger)
    assert now.artifact is not None
    assert (now.state, now.artifact.sha256, now.error, now.notes) == (S.SUCCEEDED, png("b").sha256, None, ())


def test_what_the_dead_had_only_claimed_is_given_back_and_nothing_else(ledger: Ledger, tmp_path: Path) -> None:
    """What may have been sent, and what the living or this very process has, is theirs."""
    mine = _claimed(ledger, take=1)
    with open_ledger(tmp_path) as alive, open_ledger(tmp_path) as dying:
        theirs = _claimed(alive, take=2)
        dead, sent, failed = (_claimed(dying, take=take) for take in (3, 4, 5))
        dying.purchases.write_intent(sent)
        dying.purchases.write_failed(failed, None, StoppedError("stop"), outcome="failed")
        dying.purchases.leave(failed)
        _claimed(dying, take=5, retry_failed=True)
        dying.owner.close()

        assert ledger.purchases.release_dead() == 2

        states = [_row(ledger, one.request_key).state for one in (mine, theirs, dead, sent, failed)]
    assert states == [S.RESERVED, S.RESERVED, S.CANCELED, S.SUBMITTING, S.FAILED_FREE]
    assert "died before anything was sent" in (_row(ledger, dead.request_key).error or {})["message"]
    assert ledger.purchases.release_dead() == 1, "the living one has closed its ledger by now"


@pytest.mark.parametrize("found", [S.RESERVED, S.SUBMITTED, S.CANCELED, None])
def test_an_interruption_leaves_what_had_not_failed_canceled(ledger: Ledger, found: PurchaseState | None) -> None:
    claimed = replace(_claimed(ledger), found=found)

    ledger.purchases.write_failed(claimed, None, StoppedError("stop"), outcome="interrupted")

    assert (_row(ledger).state, _row(ledger).error is not None) == (S.CANCELED, True)
