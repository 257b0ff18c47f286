"""The protocol's writes: who may work on a purchase in which state, and that a stale writer changes nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, MediaInfo, MediaKind
from media_assets.catalog import Recovery
from media_assets.errors import (
    Billed,
    JudgeError,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseLostError,
    RequestRejectedError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Busy, Claim, PredictionTakenError, Settlement
from media_assets.ledger.purchases import Purchases
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.ledger.schema import metadata
from media_assets.ledger.takeover import Taken
from media_assets.prediction import Prediction, State
from media_assets_tests.children import meet, race
from media_assets_tests.making import some_request

_PRICE = 1_000_000
_MADE = Artifact(
    sha256="ab" * 32, info=MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=10)
)
_PREDICTION = Prediction(id="p-1", state=State.SUCCEEDED)
_REFUSED = RequestRejectedError("too rude")
_BLACK = JudgeError("all black")
S = PurchaseState


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Ledger]:
    """Open the same ledger as another process would: another owner, other connections."""
    with open_ledger(tmp_path) as one:
        yield one


def _claim(ledger: Ledger, recovery: Recovery = Recovery.NONE, **more: Any) -> Claim | Busy | PurchaseRow:
    terms = {"prompt_key": "a", "plan_id": "plan", "estimate_micro_usd": _PRICE, "recovery": recovery}
    return ledger.purchases.claim(some_request(), **{**terms, **more})


def _claimed(ledger: Ledger, recovery: Recovery = Recovery.NONE, **more: Any) -> Claim:
    claim = _claim(ledger, recovery, **more)
    assert isinstance(claim, Claim), claim
    return claim


def _row(ledger: Ledger) -> PurchaseRow:
    row = ledger.purchases.get(some_request().key)
    assert row is not None
    return row


def _store(purchases: Purchases, claim: Claim, failed: JudgeError | None = None) -> None:
    purchases.write_stored(claim, _MADE, notes=["no caption"], duration_s=1.5, failed=failed)


def _bring_to(ledger: Ledger, state: PurchaseState, recovery: Recovery = Recovery.NONE) -> Claim:
    """Take a new purchase through the protocol until it is in ``state``."""
    purchases, claim = ledger.purchases, _claimed(ledger, recovery)
    if state is S.RESERVED:
        return claim
    token = purchases.write_intent(claim)
    if state in {S.DONE, S.SUCCEEDED, S.FAILED_PAID}:
        purchases.write_submitted(claim, token, _PREDICTION, Settlement(cost_micro_usd=_PRICE))
    endings: dict[PurchaseState, Callable[[], None]] = {
        S.SUBMITTED: lambda: purchases.write_submitted(claim, token, _PREDICTION),
        S.SUCCEEDED: lambda: _store(purchases, claim),
        S.FAILED_PAID: lambda: _store(purchases, claim, failed=_BLACK),
        S.FAILED_FREE: lambda: purchases.write_failed(claim, token, _REFUSED, outcome="rejected"),
        S.CANCELED: lambda: purchases.write_failed(claim, token, StoppedError("stop"), outcome="interrupted"),
        S.UNKNOWN: lambda: purchases.write_unknown(claim, UnknownOutcomeError("who knows")),
    }
    if state in endings:
        endings[state]()
    assert _row(ledger).state is state
    return claim


_OPEN = [S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.DONE]
_ENDED = [S.SUCCEEDED, S.FAILED_FREE, S.FAILED_PAID, S.CANCELED, S.UNKNOWN]


def test_a_new_purchase_is_written_down_as_it_was_asked_for(ledger: Ledger) -> None:
    """The row has to be enough to ask the same again years later."""
    claim = _claimed(ledger)

    row = _row(ledger)
    assert (claim.fence, claim.found, (claim.prediction and claim.prediction.id)) == (1, None, None)
    assert row.request() == some_request()
    assert (row.state, row.attempts, row.estimate_micro_usd, row.cost_micro_usd) == (S.RESERVED, 0, _PRICE, None)
    assert (row.prompt_key, row.owner, row.artifact) == ("a", ledger.owner.id, None)


def test_a_purchase_that_goes_well_leaves_the_whole_story(ledger: Ledger) -> None:
    """What was paid, for what, in how many attempts, is read from here by every report."""
    _bring_to(ledger, S.SUCCEEDED)

    row = _row(ledger)
    assert (row.attempts, row.cost_micro_usd, row.prediction_id) == (1, _PRICE, "p-1")
    assert (row.artifact, row.notes, row.duration_s, row.progress) == (_MADE, ("no caption",), 1.5, 1.0)
    (attempt,) = ledger.purchases.attempts(row.request_key)
    assert (attempt["n"], attempt["outcome"], attempt["prediction_id"]) == (1, "accepted", "p-1")
    assert attempt["intent_at"] <= attempt["replied_at"]
    assert "token" not in attempt


@pytest.mark.parametrize("state", _OPEN)
@pytest.mark.parametrize("recovery", [Recovery.FREE, Recovery.NONE])
def test_nobody_works_on_what_a_living_owner_works_on(
    ledger: Ledger, other: Ledger, state: PurchaseState, recovery: Recovery
) -> None:
    """Two workers on one purchase are two bills."""
    _bring_to(ledger, state, recovery)

    assert isinstance(_claim(other, recovery, retry_failed=True, remake=True), Busy)
    assert isinstance(_claim(ledger, recovery, retry_failed=True, remake=True), Busy)


@pytest.mark.parametrize("state", _OPEN)
def test_a_free_purchase_of_a_dead_owner_is_begun_again(ledger: Ledger, other: Ledger, state: PurchaseState) -> None:
    """What costs nothing needs no recovery protocol, only a clean start."""
    first = _bring_to(ledger, state, Recovery.FREE)
    ledger.owner.close()

    claim = _claimed(other, Recovery.FREE)

    assert (claim.found, claim.fence, (claim.prediction and claim.prediction.id)) == (state, first.fence + 1, None)
    assert (_row(other).state, _row(other).owner) == (S.RESERVED, other.owner.id)


@pytest.mark.parametrize("state", _OPEN)
def test_a_paid_purchase_of_a_dead_owner_keeps_its_state(ledger: Ledger, other: Ledger, state: PurchaseState) -> None:
    """Whether something was sent is the one thing that must not be forgotten when it changes hands."""
    first = _bring_to(ledger, state)
    ledger.owner.close()

    claim = _claimed(other)

    assert (claim.found, claim.fence) == (state, first.fence + 1)
    assert (claim.prediction and claim.prediction.id) == ("p-1" if state in {S.SUBMITTED, S.DONE} else None)
    assert (_row(other).state, _row(other).owner) == (state, other.owner.id)


def test_a_purchase_its_own_process_let_go_of_is_taken_again(ledger: Ledger) -> None:
    """A canceled coroutine leaves open rows in a process that lives on for days."""
    first = _bring_to(ledger, S.SUBMITTING)
    ledger.purchases.leave(first)

    assert _claimed(ledger).fence == first.fence + 1


@pytest.mark.parametrize(
    ("recovery", "state", "asked", "is_taken"),
    [
        (Recovery.FREE, S.SUCCEEDED, {}, False),
        (Recovery.FREE, S.SUCCEEDED, {"retry_failed": True}, False),
        (Recovery.FREE, S.SUCCEEDED, {"remake": True}, True),
        (Recovery.FREE, S.FAILED_FREE, {}, True),
        (Recovery.FREE, S.CANCELED, {}, True),
        (Recovery.NONE, S.SUCCEEDED, {"remake": True, "retry_failed": True}, False),
        (Recovery.NONE, S.FAILED_FREE, {}, False),
        (Recovery.NONE, S.FAILED_FREE, {"retry_failed": True}, True),
        (Recovery.NONE, S.FAILED_PAID, {"remake": True}, False),
        (Recovery.NONE, S.FAILED_PAID, {"retry_failed": True}, True),
        (Recovery.NONE, S.CANCELED, {}, True),
        (Recovery.NONE, S.UNKNOWN, {"retry_failed": True, "remake": True}, False),
    ],
)
def test_what_has_ended_is_begun_again_only_when_that_is_free_or_asked_for(
    ledger: Ledger, recovery: Recovery, state: PurchaseState, asked: dict[str, bool], *, is_taken: bool
) -> None:
    """A rerun sends nothing by itself for what failed for good; an unknown outcome is a person's to decide."""
    ledger.purchases.leave(_bring_to(ledger, state, recovery))

    found = _claim(ledger, recovery, **asked)

    assert isinstance(found, Claim) is is_taken
    if isinstance(found, PurchaseRow):
        assert found.state is state
    else:
        assert _row(ledger).state is S.RESERVED


def test_what_an_earlier_submission_became_stays_taken(ledger: Ledger) -> None:
    """Else a retry whose reply is lost adopts the very prediction that had failed, and it is paid for once more."""
    ledger.purchases.leave(_bring_to(ledger, S.FAILED_PAID))

    _claimed(ledger, retry_failed=True)

    assert _row(ledger).prediction_id is None
    assert ledger.purchases.ids_taken(some_request().provider, {_PREDICTION.id, "another"}) == {_PREDICTION.id}
    assert ledger.purchases.ids_taken("elsewhere", {_PREDICTION.id}) == set()


def test_a_paid_purchase_that_never_reached_the_provider_is_sent_again_by_itself(ledger: Ledger) -> None:
    """Nothing was billed and the error says that a rerun submits again: no person is needed."""
    claim = _claimed(ledger)
    token = ledger.purchases.write_intent(claim)
    ledger.purchases.write_failed(claim, token, ProviderUnavailableError("no route"), outcome="not_sent")
    ledger.purchases.leave(claim)

    again = _claimed(ledger)
    ledger.purchases.write_intent(again)

    assert _row(ledger).attempts == 2
    outcomes = [attempt["outcome"] for attempt in ledger.purchases.attempts(again.request_key)]
    assert outcomes == ["not_sent", None]


def test_a_file_judged_bad_is_kept_and_its_reason_told(ledger: Ledger) -> None:
    """It was paid for: a person may still find it good enough."""
    _bring_to(ledger, S.FAILED_PAID)

    row = _row(ledger)
    assert row.artifact == _MADE
    assert row.cost_micro_usd == _PRICE
    assert row.error is not None
    assert (row.error["class"], row.error["message"]) == ("JudgeError", "all black")


def test_a_free_file_judged_bad_failed_free(ledger: Ledger) -> None:
    """FAILED_PAID would send people looking for money that was never spent."""
    claim = _claimed(ledger, Recovery.FREE)
    token = ledger.purchases.write_intent(claim)
    ledger.purchases.write_submitted(claim, token, _PREDICTION, Settlement(cost_micro_usd=0))

    _store(ledger.purchases, claim, failed=_BLACK)

    assert _row(ledger).state is S.FAILED_FREE


def test_a_remake_puts_the_new_bytes_under_the_old_key(ledger: Ledger) -> None:
    """Pillow changed, the file was lost: the purchase, and what was made from it, stay what they are."""
    ledger.purchases.leave(_bring_to(ledger, S.SUCCEEDED, Recovery.FREE))
    remade = Artifact(sha256="cd" * 32, info=_MADE.info)
    claim = _claimed(ledger, Recovery.FREE, remake=True)
    token = ledger.purchases.write_intent(claim)
    ledger.purchases.write_submitted(
        claim, token, Prediction(id="p-2", state=State.SUCCEEDED), Settlement(cost_micro_usd=0)
    )

    ledger.purchases.write_stored(claim, remade, duration_s=1, failed=None)

    row = _row(ledger)
    assert (row.state, row.artifact, row.attempts) == (S.SUCCEEDED, remade, 2)
    assert len(ledger.purchases.search()) == 1


def test_a_remake_that_is_not_needed_is_undone(ledger: Ledger) -> None:
    """Another process brought the file back between our look and our claim."""
    ledger.purchases.leave(_bring_to(ledger, S.SUCCEEDED, Recovery.FREE))

    ledger.purchases.restore(_claimed(ledger, Recovery.FREE, remake=True))

    row = _row(ledger)
    assert (row.state, row.artifact, row.attempts) == (S.SUCCEEDED, _MADE, 1)


def _everything(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger.database.read() as connection:
        return {
            name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for name, table in metadata.tables.items()
        }


@pytest.mark.parametrize(
    "write",
    [
        lambda purchases, claim: purchases.write_intent(claim),
        lambda purchases, claim: purchases.write_submitted(claim, "t", _PREDICTION),
        lambda purchases, claim: purchases.write_submitted(claim, "t", _PREDICTION, Settlement(cost_micro_usd=5)),
        lambda purchases, claim: purchases.write_progress(claim, 0.5),
        _store,
        lambda purchases, claim: _store(purchases, claim, failed=_BLACK),
        lambda purchases, claim: purchases.write_failed(claim, "t", _REFUSED, outcome="rejected"),
        lambda purchases, claim: purchases.write_unknown(claim, UnknownOutcomeError("?")),
        lambda purchases, claim: purchases.restore(claim),
    ],
    ids=["intent", "submitted", "done", "progress", "stored", "bad", "failed", "unknown", "restore"],
)
def test_a_stale_claim_changes_nothing_and_says_so(
    ledger: Ledger, other: Ledger, write: Callable[[Purchases, Claim], None]
) -> None:
    """A process that was taken for dead and comes back must not overwrite what its successor does."""
    stale = _bring_to(ledger, S.SUBMITTING)
    ledger.owner.close()
    _claimed(other)
    before = _everything(other)

    with pytest.raises(PurchaseLostError, match="run again"):
        write(ledger.purchases, stale)

    assert _everything(other) == before


def claim_together(home: str, together: int, url: str | None) -> str:
    """In a child: claim one request when everybody is ready, live until everybody has tried; return what it brought."""
    with open_ledger(Path(home), url) as ledger:
        meet(Path(home) / "ready", ledger.owner.id, together)
        found = _claim(ledger)
        meet(Path(home) / "tried", ledger.owner.id, together)
    return type(found).__name__


def test_of_eight_processes_that_claim_at_once_one_gets_it(tmp_path: Path) -> None:
    """The heart of the promise: one request, one submission, however many ask."""
    each = [{"home": str(tmp_path), "together": 8, "url": None}] * 8

    names = race(f"{__name__}:claim_together", each)

    assert sorted(names) == ["Busy"] * 7 + ["Claim"]


def test_of_eight_processes_that_find_a_dead_owners_purchase_one_gets_it(tmp_path: Path) -> None:
    """A crash is followed by a rush: everything that was waiting for the dead one wakes up at once."""
    with open_ledger(tmp_path) as dead:
        _claimed(dead)
    each = [{"home": str(tmp_path), "together": 8, "url": None}] * 8

    names = race(f"{__name__}:claim_together", each)

    assert sorted(names) == ["Busy"] * 7 + ["Claim"]


def test_two_purchases_never_adopt_the_same_prediction(ledger: Ledger) -> None:
    """One remote unit of paid work has one row; a second would be a false second result."""
    claim = _bring_to(ledger, S.SUBMITTED)
    second = ledger.purchases.claim(
        some_request(take=1), recovery=Recovery.NONE, prompt_key="a", plan_id="plan", estimate_micro_usd=_PRICE
    )
    assert isinstance(second, Claim)
    assert second.request_key != claim.request_key
    token = ledger.purchases.write_intent(second)

    with pytest.raises(PredictionTakenError, match="p-1"):
        ledger.purchases.write_submitted(second, token, _PREDICTION)
    with pytest.raises(sa.exc.IntegrityError), ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE purchase SET prediction_id = 'p-1'")


def test_a_failure_that_was_billed_is_not_recorded_as_free(ledger: Ledger) -> None:
    """`billed: yes` in the error and FAILED_FREE in the row would contradict each other, and invite a second bill."""
    claim = _claimed(ledger)
    token = ledger.purchases.write_intent(claim)
    billed = PredictionFailedError("crashed halfway", billed=Billed.YES)

    ledger.purchases.write_failed(claim, token, billed, outcome="failed")

    assert _row(ledger).state is S.FAILED_PAID


def test_purchases_are_found_by_prompt_and_by_the_start_of_their_key(ledger: Ledger) -> None:
    """People type eight characters of a key, not sixty-four."""
    _bring_to(ledger, S.SUCCEEDED)
    key = some_request().key

    def found(**which: str) -> list[str]:
        return [row.request_key for row in ledger.purchases.search(**which)]

    assert found(key_prefix=key[:8]) == found(prompt_key="a") == found() == [key]
    assert found(prompt_key="b") == found(key_prefix="%") == []


def test_a_retry_waits_for_whoever_has_just_failed(ledger: Ledger) -> None:
    """The row says that it is over before its coroutine has let go; two at work on one purchase would pay twice."""
    failed = _bring_to(ledger, S.FAILED_FREE)

    assert _claim(ledger, retry_failed=True) == Busy()

    ledger.purchases.leave(failed)
    assert isinstance(_claim(ledger, retry_failed=True), Claim)


def test_a_claim_that_wrote_nothing_stands_whatever_became_of_its_commit(ledger: Ledger) -> None:
    """Whoever only looked has nothing to lose when the connection breaks at the end."""
    with ledger.database.read() as connection:
        assert Taken(ledger.owner, "any").stands(connection)
