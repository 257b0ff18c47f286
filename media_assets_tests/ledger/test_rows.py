"""What a purchase's row says of it: whether it has failed for good, whose a prediction is, which file it brought."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import LedgerError, Rerun, UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim, known_of
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.rows import (
    OPEN,
    UNFINISHED,
    PurchaseRow,
    PurchaseState,
    add_artifact,
    error_json,
    failed_before,
    has_failed,
    has_failed_for_good,
    has_output,
    id_in,
    insert_purchase,
    interested_owners,
    is_taken,
    may_have_passed,
    raise_fence,
    reserved_rows,
    set_output,
)
from media_assets.ledger.schema import artifact, output, purchase
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets_tests.ledger.far_host import REQUEST, claim
from media_assets_tests.ledger.files import png

S = PurchaseState


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        yield one


@pytest.fixture
def row(ledger: Ledger) -> PurchaseRow:
    claimed = claim(ledger)
    assert isinstance(claimed, Claim)
    found = ledger.purchases.get(claimed.request_key)
    assert found is not None
    return found


_LASTING: tuple[dict[str, str] | None, ...] = (None, {"class": "RequestRejectedError", "rerun": Rerun.NEVER})
_PASSING: tuple[dict[str, str], ...] = (
    {"class": "RequestRejectedError", "rerun": Rerun.RESUBMIT},
    {"class": "RequestRejectedError", "rerun": Rerun.RESUME},
    {"class": "ConfigurationError", "rerun": Rerun.NEVER},
    {"class": "InsufficientCreditError", "rerun": Rerun.NEVER},
    {"class": "KeyRejectedError", "rerun": Rerun.NEVER},
)


@pytest.mark.parametrize("error", [*_LASTING, *_PASSING])
def test_what_may_be_over_is_tried_again(row: PurchaseRow, error: dict[str, str] | None) -> None:
    """What the account was in the way of, and what says itself that a rerun submits, never fails for good."""
    may_be_over = error in _PASSING
    assert may_have_passed(replace(row, error=error)) is may_be_over
    for state in S:
        for recovery in Recovery:
            one = replace(row, error=error, state=state, recovery=recovery)
            paid = state in {S.FAILED_PAID, S.LOST_OUTPUT}
            for_good = recovery is not Recovery.FREE and (paid or (state is S.FAILED_FREE and not may_be_over))
            assert has_failed_for_good(one) is for_good, (state, recovery)
    assert {state for state in S if has_failed(state)} == {S.FAILED_FREE, S.FAILED_PAID}


@pytest.mark.parametrize(
    ("error", "cost_micro_usd", "before"),
    [
        (None, None, S.RESERVED),
        (None, 5, S.RESERVED),
        ({"billed": "no"}, None, S.FAILED_FREE),
        ({"billed": "unknown"}, 0, S.FAILED_FREE),
        ({}, None, S.FAILED_FREE),
        ({"billed": "yes"}, 0, S.FAILED_PAID),
        ({"billed": "no"}, 5, S.FAILED_PAID),
    ],
)
def test_a_retry_that_came_to_nothing_has_failed_as_before(
    row: PurchaseRow, error: dict[str, str] | None, cost_micro_usd: int | None, before: PurchaseState
) -> None:
    assert failed_before(replace(row, error=error, cost_micro_usd=cost_micro_usd)) is before


def test_a_prediction_is_taken_by_another_purchase_of_the_same_account(ledger: Ledger) -> None:
    """Names are given by each provider for each account; and a purchase's own is no other's."""
    theirs = {"prompt_key": "a", "recovery": "D", "estimate_micro_usd": 0, "state": "SUBMITTED", "owner": ""}
    theirs |= {"created_at": "", "updated_at": "", "prediction_id": "p-1"}
    one, two = replace(REQUEST, take=1), replace(REQUEST, take=2)
    with ledger.database.write() as connection:
        insert_purchase(connection, one, theirs)
        insert_purchase(connection, two, {**theirs, "prediction_id": None})
        insert_purchase(connection, replace(REQUEST, take=3), {**theirs, "account": "another", "prediction_id": "p-3"})
        insert_purchase(connection, replace(REQUEST, provider="elsewhere"), {**theirs, "prediction_id": "p-4"})

    with ledger.database.read() as connection:
        taken = [
            [name for name in ("p-1", "p-2", "p-3", "p-4") if is_taken(connection, key, name)]
            for key in (one.key, two.key, "0" * 64)
        ]
    assert taken == [[], ["p-1"], []]


def test_a_new_purchase_has_no_attempt_yet(ledger: Ledger, row: PurchaseRow) -> None:
    with ledger.database.read() as connection:
        (account,) = connection.execute(sa.select(purchase.c.account)).scalars()

    assert (row.attempts, row.fence, account) == (0, 1, "")


def test_states_are_open_or_undecided_or_have_ended() -> None:
    """Whoever asks what is left to do, what holds money, and whom the ledger still names, asks these."""
    assert {S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.DONE} == OPEN
    assert {*OPEN, S.UNKNOWN} == UNFINISHED
    assert {state for state in S if state.is_open} == OPEN


def test_a_providers_own_word_is_cut_to_what_the_column_takes() -> None:
    column = purchase.c.remote_state.type
    assert isinstance(column, sa.String)

    assert known_of(Prediction(id="p", state=State.RUNNING, remote_state="x" * 99))["remote_state"] == "x" * (
        column.length or 0
    )
    assert known_of(Prediction(id="p", state=State.RUNNING, progress=1.0))["progress"] == 0.999


def _outputs(connection: sa.Connection) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in connection.execute(sa.select(output).order_by(output.c.request_key, output.c.idx)):
        assert one.idx == len(found.setdefault(one.request_key, []))
        found[one.request_key].append(one.sha256[0])
    return found


@pytest.mark.parametrize(("cost_micro_usd", "kept"), [(None, "c"), (0, "c"), (1, "cba")])
def test_what_was_paid_for_stays_behind_what_replaces_it(ledger: Ledger, cost_micro_usd: int | None, kept: str) -> None:
    """And another purchase's file is its own, also where the bytes are equal."""
    first, second = (claim(ledger, take=take) for take in (1, 2))
    assert isinstance(first, Claim)
    assert isinstance(second, Claim)
    for key, one in (("a", first), ("b", second)):
        done = FinishedStep(
            step=Step.IMAGE, request_key=one.request_key, model="m", inputs={}, degraded=False, reason=None
        )
        ledger.prompts.finish(key, "d", done, sha256="before", params={})
    with ledger.database.write() as connection:
        connection.execute(sa.update(purchase).values(cost_micro_usd=cost_micro_usd))
        for letter in "aab":
            add_artifact(connection, png(letter))
        assert not has_output(connection, first.request_key)
        set_output(connection, second.request_key, png("a"))
        assert not has_output(connection, first.request_key)
        for letter in "abc":
            add_artifact(connection, png(letter))
            set_output(connection, first.request_key, png(letter))
        set_output(connection, first.request_key, png("c"))
        assert _outputs(connection) == {first.request_key: list(kept), second.request_key: ["a"]}
        assert has_output(connection, first.request_key)
        steps = connection.exec_driver_sql("SELECT prompt_key, sha256 FROM step ORDER BY prompt_key").all()
    assert [(key, sha256.rstrip("0")) for key, sha256 in steps] == [("a", "c"), ("b", "a")]


def test_a_file_that_is_recorded_again_is_needed_again(ledger: Ledger) -> None:
    """Only that one, and it stays what it was."""
    with ledger.database.write() as connection:
        for letter in "ab":
            add_artifact(connection, png(letter))
        connection.execute(sa.update(artifact).values(unused_since="2026-01-01T00:00:00.000000+00:00"))
        add_artifact(connection, png("a"))
        rows = connection.execute(sa.select(artifact).order_by(artifact.c.sha256)).all()

    assert [(one.sha256[0], one.size_bytes, one.mime, one.unused_since is None) for one in rows] == [
        ("a", 10, "image/png", True),
        ("b", 10, "image/png", False),
    ]
    assert all(one.created_at > "2026" for one in rows)


def test_who_waits_for_a_purchase_is_asked_of_its_open_plans(ledger: Ledger) -> None:
    """Not of the plan that asks, of one that has closed, of one that lost interest, nor of another purchase's."""
    for name in ("asks", "waits", "lost", "closed", "other"):
        ledger.prompts.open_plan(name, "a", amounts={Step.IMAGE: 0}, caps=[])
        ledger.purchases.claim(
            replace(REQUEST, take=int(name == "other")),
            recovery=Recovery.LISTED,
            prompt_key="a",
            plan_id=name,
            estimate_micro_usd=0,
        )
    ledger.purchases.lose_interest(REQUEST.key, plan_id="lost")
    ledger.prompts.close_plan("closed")

    with ledger.database.read() as connection:
        assert interested_owners(connection, REQUEST.key, besides="asks") == {ledger.owner.id}
    ledger.prompts.close_plan("waits")
    with ledger.database.read() as connection:
        assert interested_owners(connection, REQUEST.key, besides="asks") == set()


def test_a_found_prediction_is_one_to_ask_about(row: PurchaseRow) -> None:
    known = replace(row, prediction_id="p-1", urls={"status": "https://x.example/p-1"})

    assert row.prediction is None
    assert known.prediction == Prediction(id="p-1", state=State.UNKNOWN, urls={"status": "https://x.example/p-1"})
    assert row.request() == REQUEST


def test_a_fence_is_raised_by_who_has_read_it(ledger: Ledger, row: PurchaseRow) -> None:
    """On any other purchase, or after somebody else, it would take away what is not known."""
    ledger.purchases.leave(Claim(request_key=row.request_key, fence=1, found=None))
    claim(ledger, take=1)
    with ledger.database.write() as connection:
        assert raise_fence(connection, row, {"owner": "me"}) == 2
        with pytest.raises(sa.exc.NoResultFound):
            raise_fence(connection, row, {"owner": "me"})
        fences = connection.execute(sa.select(purchase.c.take, purchase.c.fence).order_by(purchase.c.take)).all()
    assert [tuple(one) for one in fences] == [(0, 2), (1, 1)]


def test_an_error_names_a_prediction_unless_it_is_anothers(ledger: Ledger, row: PurchaseRow) -> None:
    """The ledger takes no name twice; and an error is kept in the letters it was told in."""
    second = claim(ledger, take=1)
    assert isinstance(second, Claim)
    token = ledger.purchases.write_intent(second)
    ledger.purchases.write_submitted(second, token, Prediction(id="p-1", state=State.RUNNING))
    errors = [UnknownOutcomeError("?", prediction_id=name) for name in ("p-1", "p-2", None)]

    with ledger.database.read() as connection:
        found = [id_in(connection, row.request_key, one) for one in (*errors, LedgerError("locked"))]

    assert found == [{}, {"prediction_id": "p-2"}, {}, {}]
    assert "locked ■" in error_json(LedgerError("locked ■"))


def test_only_what_is_reserved_is_told_as_such(ledger: Ledger, row: PurchaseRow) -> None:
    sent = claim(ledger, take=1)
    assert isinstance(sent, Claim)
    ledger.purchases.write_intent(sent)

    with ledger.database.read() as connection:
        assert [one.request_key for one in reserved_rows(connection)] == [row.request_key]
