"""Every write of the protocol, column by column: what it leaves in its own rows, and that all other rows stay."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, MediaInfo, MediaKind
from media_assets.catalog import Recovery
from media_assets.errors import (
    Billed,
    JudgeError,
    OutputLostError,
    ProviderUnavailableError,
    RequestRejectedError,
    StoppedError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import artifact, attempt, decision, interest, output, purchase
from media_assets.prediction import Prediction, State
from media_assets_tests.ledger.far_host import REQUEST, claim

_RUNNING = Prediction(
    id="p-1", state=State.RUNNING, remote_state="working", urls={"status": "https://x.example/p-1"}, progress=0.25
)
_ENDED = Prediction(id="p-1", state=State.SUCCEEDED, remote_state="ready")
_BILLED = Settlement(cost_micro_usd=700_000, reported={"seconds": Decimal("1.5")}, price_from=date(2026, 1, 2))
_MADE = Artifact(
    sha256="ab" * 32, info=MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=10)
)
_TABLES = (purchase, attempt, interest, output, artifact, decision)
_TIMES = ("created_at", "updated_at", "intent_at", "replied_at", "since", "until", "at", "clock_mark")
_ME = "me@here"

Rows = dict[str, dict[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        _buy_another(one)
        yield one


def _buy_another(ledger: Ledger) -> None:
    """Have the tables full of another purchase that is under way: it must stay as it is."""
    other = claim(ledger, take=9)
    assert isinstance(other, Claim)
    token = ledger.purchases.write_intent(other, within_s=9)
    ledger.purchases.write_submitted(other, token, Prediction(id="p-9", state=State.RUNNING))


def _rows(ledger: Ledger) -> Rows:
    found: Rows = {}
    with ledger.database.read() as connection:
        for table in _TABLES:
            rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            keys = [column.name for column in table.primary_key]
            found[table.name] = {tuple(row[key] for key in keys): row for row in rows}
    return found


def _changed_by(ledger: Ledger, write: Callable[[], object]) -> dict[str, dict[str, Any]]:
    """Return, by table, the columns of the one row that a write has changed; of times, only that they are set."""
    before = _rows(ledger)
    write()
    changes: dict[str, dict[str, Any]] = {}
    for table, after in _rows(ledger).items():
        assert before[table].keys() <= after.keys(), "no row is lost"
        changed = [key for key, row in after.items() if row != before[table].get(key)]
        assert len(changed) <= 1, "one row of a table, and no other purchase's"
        for key in changed:
            old = before[table].get(key, {})
            changes[table] = {name: value for name, value in after[key].items() if value != old.get(name)}
    for row in changes.values():
        for name in set(_TIMES) & row.keys():
            assert row.pop(name), name
    return changes


def _claimed(ledger: Ledger, **how: Any) -> Claim:
    claimed = claim(ledger, **how)
    assert isinstance(claimed, Claim)
    return claimed


def _sent(ledger: Ledger) -> tuple[Claim, str]:
    claimed = _claimed(ledger)
    return claimed, ledger.purchases.write_intent(claimed, within_s=7)


def _submitted(ledger: Ledger) -> tuple[Claim, str]:
    claimed, token = _sent(ledger)
    ledger.purchases.write_submitted(claimed, token, _RUNNING)
    return claimed, token


def test_a_claim(ledger: Ledger) -> None:
    changes = _changed_by(ledger, lambda: _claimed(ledger))

    assert changes == {
        "purchase": {
            "request_key": REQUEST.key,
            "prompt_key": "a",
            "step": "image",
            "provider": "testing",
            "account": "",
            "model": "testing:any",
            "canon_json": REQUEST.canonical,
            "take": 0,
            "recovery": "D",
            "state": "RESERVED",
            "fence": 1,
            "owner": ledger.owner.id,
            "attempts": 0,
            "estimate_micro_usd": 1_000_000,
        },
        "interest": {"request_key": REQUEST.key, "plan_id": "p", "step": "image"},
    }


def test_an_intent(ledger: Ledger) -> None:
    claimed = _claimed(ledger)
    tokens: list[str] = []

    changes = _changed_by(ledger, lambda: tokens.append(ledger.purchases.write_intent(claimed, within_s=7)))

    assert changes == {
        "purchase": {"state": "SUBMITTING", "attempts": 1},
        "attempt": {
            "request_key": REQUEST.key,
            "n": 1,
            "token": tokens[0],
            "owner": ledger.owner.id,
            "post_deadline_s": 7.0,
        },
    }


def test_an_answer(ledger: Ledger) -> None:
    claimed, token = _sent(ledger)

    changes = _changed_by(ledger, lambda: ledger.purchases.write_submitted(claimed, token, _RUNNING))

    assert changes == {
        "purchase": {
            "state": "SUBMITTED",
            "prediction_id": "p-1",
            "remote_state": "working",
            "urls": '{"status": "https://x.example/p-1"}',
            "progress": 0.25,
        },
        "attempt": {"outcome": "accepted", "prediction_id": "p-1"},
    }


def test_an_end_and_its_bill(ledger: Ledger) -> None:
    claimed, _ = _submitted(ledger)

    changes = _changed_by(ledger, lambda: ledger.purchases.write_done(claimed, _ENDED, _BILLED))

    assert changes == {
        "purchase": {
            "state": "DONE",
            "remote_state": "ready",
            "progress": 1.0,
            "cost_micro_usd": 700_000,
            "reported": '{"seconds": "1.5"}',
            "price_from": "2026-01-02",
        },
    }


def test_a_file(ledger: Ledger) -> None:
    claimed, _ = _submitted(ledger)
    ledger.purchases.write_done(claimed, _ENDED, _BILLED)

    changes = _changed_by(
        ledger,
        lambda: ledger.purchases.write_stored(claimed, _MADE, notes=["ä"], duration_s=1.5, failed=None),
    )

    assert changes["artifact"].pop("info")
    assert changes == {
        "purchase": {"state": "SUCCEEDED", "duration_s": 1.5, "notes": '["ä"]'},
        "output": {"request_key": REQUEST.key, "idx": 0, "sha256": _MADE.sha256},
        "artifact": {"sha256": _MADE.sha256, "size_bytes": 10, "mime": "image/png"},
        "interest": {},
    }


def test_a_bad_file_that_was_paid_for(ledger: Ledger) -> None:
    claimed, _ = _submitted(ledger)
    ledger.purchases.write_done(claimed, _ENDED, _BILLED)
    black = JudgeError("all black")

    changes = _changed_by(ledger, lambda: ledger.purchases.write_stored(claimed, _MADE, duration_s=1.5, failed=black))

    assert '"JudgeError"' in changes["purchase"].pop("error")
    assert changes["purchase"] == {"state": "FAILED_PAID", "duration_s": 1.5, "notes": "[]"}
    assert changes["output"] == {"request_key": REQUEST.key, "idx": 0, "sha256": _MADE.sha256}


def test_a_file_that_garbage_collection_took_meanwhile(ledger: Ledger) -> None:
    claimed, _ = _submitted(ledger)
    ledger.purchases.write_done(claimed, _ENDED, _BILLED)
    stored: list[bool] = []

    def store() -> None:
        stored.append(ledger.purchases.write_stored(claimed, _MADE, duration_s=1, failed=None, is_there=lambda: False))

    assert _changed_by(ledger, store) == {}
    assert stored == [False]


def test_a_refusal(ledger: Ledger) -> None:
    claimed, token = _sent(ledger)
    error = RequestRejectedError("too rude")
    error.http_status = 422

    changes = _changed_by(
        ledger, lambda: ledger.purchases.write_failed(claimed, token, error, outcome="failed", duration_s=0.5)
    )

    assert '"RequestRejectedError"' in changes["purchase"].pop("error")
    assert changes == {
        "purchase": {"state": "FAILED_FREE", "cost_micro_usd": 0, "duration_s": 0.5},
        "attempt": {"outcome": "failed", "http_status": 422},
        "interest": {},
    }


def test_a_failure_that_is_billed(ledger: Ledger) -> None:
    claimed, _ = _submitted(ledger)
    error = RequestRejectedError("billed all the same", billed=Billed.YES)

    changes = _changed_by(
        ledger, lambda: ledger.purchases.write_failed(claimed, None, error, outcome="failed", settlement=_BILLED)
    )

    assert changes["purchase"].pop("error")
    assert changes == {
        "purchase": {
            "state": "FAILED_PAID",
            "cost_micro_usd": 700_000,
            "reported": '{"seconds": "1.5"}',
            "price_from": "2026-01-02",
        },
        "interest": {},
    }


def test_a_stop_before_anything_was_sent(ledger: Ledger) -> None:
    claimed = _claimed(ledger)
    stopped = StoppedError("stopped")

    changes = _changed_by(ledger, lambda: ledger.purchases.write_failed(claimed, None, stopped, outcome="interrupted"))

    assert changes["purchase"].pop("error")
    assert changes == {"purchase": {"state": "CANCELED", "cost_micro_usd": 0}, "interest": {}}


def test_a_retry_that_was_not_sent(ledger: Ledger) -> None:
    """It leaves the failure, and its error, to be decided on."""
    claimed, token = _sent(ledger)
    ledger.purchases.write_failed(claimed, token, RequestRejectedError("too rude"), outcome="failed")
    ledger.purchases.leave(claimed)
    retried = ledger.purchases.claim(
        REQUEST, recovery=Recovery.NONE, prompt_key="a", plan_id="q", estimate_micro_usd=1, retry_failed=True
    )
    assert isinstance(retried, Claim)

    changes = _changed_by(
        ledger,
        lambda: ledger.purchases.write_failed(retried, None, StoppedError("stopped"), outcome="interrupted"),
    )

    assert changes == {"purchase": {"state": "FAILED_FREE"}, "interest": {}}


def test_a_lost_reply(ledger: Ledger) -> None:
    claimed, token = _sent(ledger)
    error = UnknownOutcomeError("no reply", prediction_id="p-1")
    error.http_status = 502

    changes = _changed_by(ledger, lambda: ledger.purchases.write_unknown(claimed, error, token=token))

    assert '"UnknownOutcomeError"' in changes["purchase"].pop("error")
    assert changes == {
        "purchase": {"state": "UNKNOWN", "prediction_id": "p-1"},
        "attempt": {"outcome": "ambiguous", "http_status": 502, "prediction_id": "p-1"},
    }


def test_a_lost_output(ledger: Ledger) -> None:
    claimed, token = _sent(ledger)
    error = OutputLostError("too large", prediction_id="p-1")
    error.http_status = 200

    changes = _changed_by(ledger, lambda: ledger.purchases.write_lost(claimed, error, _BILLED, token=token))

    assert '"OutputLostError"' in changes["purchase"].pop("error")
    assert changes == {
        "purchase": {
            "state": "LOST_OUTPUT",
            "prediction_id": "p-1",
            "cost_micro_usd": 700_000,
            "reported": '{"seconds": "1.5"}',
            "price_from": "2026-01-02",
        },
        "attempt": {"outcome": "accepted", "http_status": 200, "prediction_id": "p-1"},
        "interest": {},
    }


@pytest.mark.parametrize("billed", [Billed.YES, Billed.UNKNOWN])
def test_trouble_with_a_prediction(ledger: Ledger, billed: Billed) -> None:
    """An output that cannot be read has been made: it holds no place at its provider any more."""
    claimed, _ = _submitted(ledger)
    error = UnexpectedResponseError("garbage", billed=billed)

    changes = _changed_by(ledger, lambda: ledger.purchases.write_trouble(claimed, error))

    assert '"UnexpectedResponseError"' in changes["purchase"].pop("error")
    assert changes == {"purchase": {"progress": 1.0} if billed is Billed.YES else {}}


def test_a_submission_that_was_put_back(ledger: Ledger) -> None:
    claimed, token = _sent(ledger)
    error = ProviderUnavailableError("no route")

    changes = _changed_by(ledger, lambda: ledger.purchases.write_put_back(claimed, token, error, block_s=0))

    assert changes == {"purchase": {"state": "RESERVED"}, "attempt": {"outcome": "unsent"}}


def test_a_put_back_submission_leaves_no_prediction_behind(ledger: Ledger) -> None:
    """The id of an answer that nobody could read, which the provider's list then shows was none of a prediction."""
    claimed, token = _sent(ledger)
    named = UnknownOutcomeError("garbage", prediction_id="p-1")
    ledger.purchases.write_unknown(claimed, named, token=token)

    ledger.purchases.write_put_back(claimed, token, ProviderUnavailableError("not in the list"), block_s=0)

    row = ledger.purchases.get(REQUEST.key)
    assert row is not None
    assert (row.state, row.prediction_id, row.urls, row.remote_state) == (PurchaseState.RESERVED, None, {}, None)


def test_a_second_attempt_begins_with_nothing_of_the_first(ledger: Ledger) -> None:
    """What is left of another prediction would be asked about in place of the new one."""
    claimed, _ = _submitted(ledger)
    ledger.purchases.write_failed(claimed, None, RequestRejectedError("no"), outcome="failed")
    ledger.purchases.leave(claimed)

    ledger.purchases.claim(
        REQUEST, recovery=Recovery.NONE, prompt_key="b", plan_id="q", estimate_micro_usd=1, retry_failed=True
    )

    row = ledger.purchases.get(REQUEST.key)
    assert row is not None
    assert (row.state, row.fence, row.prompt_key) == (PurchaseState.RESERVED, 2, "a")
    assert (row.prediction_id, row.urls, row.remote_state, row.progress) == (None, {}, None, None)
    assert row.error is not None


def test_decisions(ledger: Ledger) -> None:
    """Each is recorded behind the one before it, with what it changed."""
    claimed, token = _sent(ledger)
    ledger.purchases.write_unknown(claimed, UnknownOutcomeError("no reply"), token=token)
    ledger.purchases.hand_over(claimed)
    row = ledger.purchases.get(REQUEST.key)
    assert row is not None

    once = _changed_by(ledger, lambda: ledger.decisions.resubmit_once(REQUEST.key))

    assert once["decision"] == {
        "request_key": REQUEST.key,
        "n": 1,
        "what": "resubmit",
        "state_before": "UNKNOWN",
        "cost_micro_usd": 1_000_000,
        "who": "resubmit_if_cheap",
    }
    assert once["purchase"] == {"state": "CANCELED", "cost_micro_usd": 1_000_000, "fence": 2}
    ledger.purchases.leave(claimed)
    again, token = _sent(ledger)
    ledger.purchases.write_unknown(again, UnknownOutcomeError("no reply"), token=token)
    ledger.purchases.hand_over(again)

    written_off = _changed_by(ledger, lambda: ledger.decisions.write_off(row, cost_micro_usd=300_000, who=_ME))

    assert written_off["decision"] == {
        "request_key": REQUEST.key,
        "n": 2,
        "what": "write-off",
        "state_before": "UNKNOWN",
        "cost_micro_usd": 300_000,
        "who": _ME,
    }
    assert written_off["purchase"]["cost_micro_usd"] == 1_300_000
    assert [one["n"] for one in ledger.decisions.of(REQUEST.key)] == [1, 2]
    assert ledger.decisions.of("0" * 64) == []


def test_a_retry_of_a_process_that_died_leaves_the_failure_as_it_was(ledger: Ledger, tmp_path: Path) -> None:
    """Nothing was sent: what a person would have to decide on, and why, still stands."""
    claimed, token = _sent(ledger)
    ledger.purchases.write_failed(claimed, token, RequestRejectedError("too rude"), outcome="failed")
    ledger.purchases.leave(claimed)
    before = _rows(ledger)["purchase"][REQUEST.key,]
    with open_ledger(tmp_path) as dying:
        retried = dying.purchases.claim(
            REQUEST, recovery=Recovery.NONE, prompt_key="a", plan_id="q", estimate_micro_usd=1, retry_failed=True
        )
        assert isinstance(retried, Claim)

    assert ledger.purchases.release_dead() == 1

    after = _rows(ledger)["purchase"][REQUEST.key,]
    assert (after["state"], after["error"]) == (before["state"], before["error"]) == ("FAILED_FREE", before["error"])


def test_what_was_never_submitted_has_no_attempt(ledger: Ledger) -> None:
    claimed = _claimed(ledger)

    assert ledger.purchases.last_attempt(claimed.request_key) is None
    token = ledger.purchases.write_intent(claimed, within_s=7)

    last = ledger.purchases.last_attempt(claimed.request_key)
    assert last is not None
    assert (last.token, last.n, last.has_ended, last.outcome) == (token, 1, False, None)
