"""Looking purchases up: what is asked of one is not answered of another, and in order."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import PredictionFailedError, ProviderUnavailableError, UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.clock import elapsed_s
from media_assets.ledger.schema import attempt, purchase
from media_assets.prediction import Prediction, State
from media_assets_tests.ledger.far_host import REQUEST, owned_by


def _claim(ledger: Ledger, take: int, provider: str = "testing") -> Claim:
    request = replace(REQUEST, take=take, provider=provider)
    claim = ledger.purchases.claim(
        request, recovery=Recovery.NONE, prompt_key="a", plan_id="p", estimate_micro_usd=1, retry_failed=True
    )
    assert isinstance(claim, Claim)
    return claim


def _put_back(ledger: Ledger, claim: Claim, token: str) -> None:
    ledger.purchases.write_put_back(claim, token, ProviderUnavailableError("no route"), block_s=0)


def test_what_is_unfinished_is_told_the_oldest_first(ledger: Ledger) -> None:
    """And what has ended is not; both are found by the beginning of their keys, and by whole keys."""
    claims = [_claim(ledger, take) for take in range(4)]
    ledger.purchases.write_failed(claims[1], None, PredictionFailedError("no"), outcome="failed")
    ledger.purchases.write_unknown(claims[2], UnknownOutcomeError("?"))
    with ledger.database.write() as connection:
        mine = purchase.c.request_key == claims[3].request_key
        connection.execute(sa.update(purchase).where(mine).values(created_at="2020"))
    keys = [claim.request_key for claim in claims]

    assert [row.request_key for row in ledger.purchases.unfinished()] == [keys[3], keys[0], keys[2]]
    assert [row.request_key for row in ledger.purchases.search()] == [keys[3], keys[0], keys[1], keys[2]]
    assert [row.request_key for row in ledger.purchases.search(key_prefix=keys[1][:12])] == [keys[1]]
    assert ledger.purchases.search(key_prefix="%") == []
    assert ledger.purchases.get_many([keys[0], keys[2], "0" * 64]).keys() == {keys[0], keys[2]}
    assert ledger.purchases.get("0" * 64) is None


def test_an_attempt_that_has_not_ended_is_as_old_as_its_intent(ledger: Ledger) -> None:
    """One that was about to be sent a moment ago, taken for older, would be sent again while it is on its way."""
    claim = _claim(ledger, 1)
    ledger.purchases.write_intent(claim)

    last = ledger.purchases.last_attempt(claim.request_key)

    assert last is not None
    assert last.clock_mark is not None
    assert elapsed_s(last.clock_mark) < 30


def test_replies_are_done_with_once_their_purchases_have_ended(ledger: Ledger) -> None:
    """Of another ledger's nothing is said: its one copy may lie here."""
    ended, running, unasked = (_claim(ledger, take) for take in range(3))
    tokens = [ledger.purchases.write_intent(claim) for claim in (ended, running, unasked)]
    ledger.purchases.write_failed(ended, tokens[0], PredictionFailedError("no"), outcome="failed")

    assert ledger.purchases.replies_done_with([*tokens[:2], "another"]) == {tokens[0]}
    assert ledger.purchases.replies_known([*tokens[:2], "another"]) == set(tokens[:2])


def test_a_prediction_is_taken_as_long_as_anything_remembers_it(ledger: Ledger) -> None:
    """Its purchase, or an attempt before that was submitted again; each provider's for itself."""
    twice, other = _claim(ledger, 1), _claim(ledger, 2, provider="elsewhere")
    token = ledger.purchases.write_intent(twice)
    ledger.purchases.write_unknown(twice, UnknownOutcomeError("?", prediction_id="p-1"), token=token)
    ledger.purchases.write_failed(twice, None, PredictionFailedError("no"), outcome="failed")
    ledger.purchases.leave(twice)
    twice = _claim(ledger, 1)
    token = ledger.purchases.write_intent(twice)
    ledger.purchases.write_submitted(twice, token, Prediction(id="p-2", state=State.RUNNING))
    token = ledger.purchases.write_intent(other)
    ledger.purchases.write_submitted(other, token, Prediction(id="p-3", state=State.RUNNING))
    with ledger.database.write() as connection:
        mine = attempt.c.request_key == twice.request_key
        connection.execute(sa.update(attempt).where(mine, attempt.c.n == 2).values(prediction_id=None))

    asked = ["p-1", "p-2", "p-3", "p-4"]
    assert ledger.purchases.ids_taken("testing", asked) == {"p-1", "p-2"}
    assert ledger.purchases.ids_taken("elsewhere", asked) == {"p-3"}
    assert ledger.purchases.ids_taken("testing", ["p-2"]) == {"p-2"}
    assert ledger.purchases.ids_taken("testing", ["p-1"]) == {"p-1"}


def test_attempts_are_told_in_order_without_what_names_them_to_providers(ledger: Ledger) -> None:
    claim = _claim(ledger, 1)
    for _ in range(2):
        _put_back(ledger, claim, ledger.purchases.write_intent(claim))
    ledger.purchases.write_intent(_claim(ledger, 2))
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE attempt SET rowid = 100 - rowid")

    told = ledger.purchases.attempts(claim.request_key)

    assert [one["n"] for one in told] == [1, 2]
    assert told[0].keys() == {column.name for column in attempt.c} - {"token"}


def test_when_each_was_last_sent_is_told_of_those_that_are_asked_for(ledger: Ledger) -> None:
    """The newest of its attempts; one that was never sent has no time."""
    twice, once, never = (_claim(ledger, take) for take in range(3))
    _put_back(ledger, twice, ledger.purchases.write_intent(twice))
    for claim in (twice, once):
        ledger.purchases.write_intent(claim)
    newest = max(one["intent_at"] for one in ledger.purchases.attempts(twice.request_key))

    assert ledger.purchases.last_sent([twice.request_key, never.request_key]) == {twice.request_key: newest}


@pytest.mark.parametrize("passed_s", [0, 100])
def test_on_a_shared_ledger_an_attempt_is_as_old_as_the_database_says(
    migrated: str, tmp_path: Path, passed_s: int
) -> None:
    """Its mark is of another machine's clock; and whether it has ended is nothing that another clock can tell."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=60)) as ledger:
        claim = _claim(ledger, 1)
        _put_back(ledger, claim, ledger.purchases.write_intent(claim))
        token = ledger.purchases.write_intent(claim)
        ledger.purchases.write_unknown(claim, UnknownOutcomeError("?"), token=token)
        with ledger.database.write() as connection:
            row = connection.execute(sa.select(attempt.c.intent_at).where(attempt.c.n == 2)).one()
            then = datetime.fromtimestamp(datetime.fromisoformat(row.intent_at).timestamp() - passed_s, UTC)
            values = {"intent_at": then.isoformat(), "clock_mark": "another:0"}
            connection.execute(sa.update(attempt).where(attempt.c.n == 2).values(values))

        last = ledger.purchases.last_attempt(claim.request_key)
        assert last is not None
        assert (last.token, last.n, last.has_ended, last.outcome) == (token, 2, False, "ambiguous")
        assert passed_s <= elapsed_s(last.clock_mark or "") < passed_s + 30
        assert ledger.purchases.last_attempt("0" * 64) is None
