"""Places at a provider, counted in the transaction of the intent: two processes never both take the last one."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import ProviderUnavailableError, RateLimitedError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.admission import Limits, Wait
from media_assets.ledger.claims import Claim
from media_assets.ledger.clock import as_written
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import attempt, purchase, rate
from media_assets.prediction import Prediction, State
from media_assets_tests.making import some_request

ONE = Limits(concurrency=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as ledger:
        yield ledger


@pytest.fixture
def other(tmp_path: Path, ledger: Ledger) -> Iterator[Ledger]:
    """Open the same ledger as another process would."""
    with open_ledger(tmp_path) as other:
        yield other


def _claim(ledger: Ledger, take: int) -> Claim:
    claim = ledger.purchases.claim(
        some_request(take=take),
        recovery=Recovery.LISTED,
        prompt_key="any",
        plan_id=secrets.token_hex(8),
        estimate_micro_usd=0,
    )
    assert isinstance(claim, Claim)
    return claim


def _token(ledger: Ledger, claim: Claim, limits: Limits) -> str:
    token = ledger.purchases.write_intent(claim, limits)
    assert isinstance(token, str)
    return token


def test_the_last_place_is_given_once(ledger: Ledger, other: Ledger) -> None:
    """A provider that takes two at a time is asked by a hundred processes."""
    two = Limits(concurrency=2)
    first, second, third = _claim(ledger, 1), _claim(other, 2), _claim(other, 3)

    _token(ledger, first, two)
    _token(other, second, two)

    assert isinstance(other.purchases.write_intent(third, two), Wait)


def test_a_prediction_holds_its_place_until_it_has_ended(ledger: Ledger, other: Ledger) -> None:
    """What counts is what runs at the provider, not what is being sent."""
    first, second = _claim(ledger, 1), _claim(other, 2)
    token = _token(ledger, first, ONE)
    ledger.purchases.write_submitted(first, token, Prediction(id="p", state=State.RUNNING))

    assert isinstance(other.purchases.write_intent(second, ONE), Wait)

    ledger.purchases.write_failed(first, None, ProviderUnavailableError("gone"), outcome="failed")
    assert isinstance(other.purchases.write_intent(second, ONE), str)


def test_a_refused_wait_records_nothing(ledger: Ledger) -> None:
    """Asking for a place a thousand times is no attempt."""
    first, second = _claim(ledger, 1), _claim(ledger, 2)
    _token(ledger, first, ONE)

    for _ in range(3):
        ledger.purchases.write_intent(second, ONE)

    assert ledger.purchases.attempts(second.request_key) == []
    row = ledger.purchases.get(second.request_key)
    assert row is not None
    assert (row.state, row.attempts) == (PurchaseState.RESERVED, 0)


def test_no_more_are_sent_a_minute_than_the_limit(ledger: Ledger) -> None:
    """A bucket of two is empty after two, and one more drips in every half minute."""
    limits = Limits(per_minute=2)
    for take in (1, 2):
        _token(ledger, _claim(ledger, take), limits)

    wait = ledger.purchases.write_intent(_claim(ledger, 3), limits)

    assert isinstance(wait, Wait)
    assert 25 < wait.seconds <= 30


def test_tokens_come_back_with_time(ledger: Ledger) -> None:
    """Sixty thousand a minute are one a millisecond."""
    limits = Limits(per_minute=60_000)
    waits = [ledger.purchases.write_intent(_claim(ledger, 0), limits)]
    time.sleep(0.01)
    waits.append(ledger.purchases.write_intent(_claim(ledger, 1), limits))

    assert all(isinstance(wait, str) for wait in waits)


def test_a_refusal_holds_everybody_back(ledger: Ledger, other: Ledger) -> None:
    """Every attempt counts against the provider's limit, so one that was told to wait tells the others."""
    refused = RateLimitedError("slow down")
    refused.http_status = 429
    first = _claim(ledger, 1)
    token = _token(ledger, first, ONE)
    ledger.purchases.write_put_back(first, token, refused, block_s=30)

    wait = other.purchases.write_intent(_claim(other, 2), ONE)

    assert isinstance(wait, Wait)
    assert 25 < wait.seconds <= 30
    (attempt,) = ledger.purchases.attempts(first.request_key)
    assert (attempt["outcome"], attempt["http_status"]) == ("refused", 429)


def test_a_call_that_never_left_holds_nobody_back(ledger: Ledger, other: Ledger) -> None:
    """One machine's broken network says nothing about the provider, and takes nothing of what it allows a minute."""
    first = _claim(ledger, 1)
    token = ledger.purchases.write_intent(first)
    ledger.purchases.write_put_back(first, token, ProviderUnavailableError("no route"), block_s=0)

    assert isinstance(other.purchases.write_intent(_claim(other, 2), Limits(per_minute=1)), str)
    (attempt,) = ledger.purchases.attempts(first.request_key)
    assert attempt["outcome"] == "unsent"


def test_what_a_dead_process_left_running_still_counts(tmp_path: Path, ledger: Ledger) -> None:
    """The provider goes on with it, whoever asked."""
    with open_ledger(tmp_path) as dying:
        claim = _claim(dying, 1)
        token = _token(dying, claim, ONE)
        dying.purchases.write_submitted(claim, token, Prediction(id="p", state=State.RUNNING))

    assert isinstance(ledger.purchases.write_intent(_claim(ledger, 2), ONE), Wait)


def test_nobody_waits_for_ever_for_what_was_abandoned(tmp_path: Path, ledger: Ledger) -> None:
    """No prediction runs for half an hour; one that nobody looked at since has long ended."""
    with open_ledger(tmp_path) as dying:
        claim = _claim(dying, 1)
        token = _token(dying, claim, ONE)
        dying.purchases.write_submitted(claim, token, Prediction(id="p", state=State.RUNNING))
    with ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE purchase SET updated_at = '2026-01-01T00:00:00.000000+00:00'")

    assert isinstance(ledger.purchases.write_intent(_claim(ledger, 2), ONE), str)


def test_a_shorter_pause_does_not_end_a_longer_one(ledger: Ledger, other: Ledger) -> None:
    """Two refusals come back out of order; the provider still means the longer wait."""
    refused = RateLimitedError("slow down")
    for take, block_s in ((1, 60), (2, 5)):
        claim = _claim(ledger, take)
        token = ledger.purchases.write_intent(claim)
        ledger.purchases.write_put_back(claim, token, refused, block_s=block_s)

    wait = other.purchases.write_intent(_claim(other, 3), ONE)

    assert isinstance(wait, Wait)
    assert 50 < wait.seconds <= 60


def _run(ledger: Ledger, take: int, *, provider: str = "testing", progress: float | None = None) -> Claim:
    """Have a prediction running at a provider."""
    request = replace(some_request(take=take), provider=provider)
    claim = ledger.purchases.claim(
        request, recovery=Recovery.LISTED, prompt_key="any", plan_id="p", estimate_micro_usd=0
    )
    assert isinstance(claim, Claim)
    token = ledger.purchases.write_intent(claim)
    prediction = Prediction(id=f"p-{take}", state=State.RUNNING, progress=progress)
    ledger.purchases.write_submitted(claim, token, prediction)
    return claim


def _claim_at(ledger: Ledger, provider: str) -> Claim:
    claim = ledger.purchases.claim(
        replace(some_request(), provider=provider),
        recovery=Recovery.LISTED,
        prompt_key="any",
        plan_id="p",
        estimate_micro_usd=0,
    )
    assert isinstance(claim, Claim)
    return claim


def _set_rate(ledger: Ledger, **values: object) -> None:
    with ledger.database.write() as connection:
        assert connection.execute(sa.update(rate).values(values)).rowcount == 1


def _in(seconds: float) -> str:
    return as_written(datetime.now(UTC) + timedelta(seconds=seconds))


def test_a_place_is_one_provider_s_and_is_free_once_the_work_has_ended_there(ledger: Ledger) -> None:
    """What runs elsewhere, or has ended and is only not fetched yet, takes no place; what is all but done does."""
    _run(ledger, 1, provider="elsewhere")
    ended, asks = _run(ledger, 2, progress=0.5), _claim(ledger, 3)

    assert ledger.purchases.write_intent(asks, ONE) == Wait(0.5)
    ledger.purchases.write_progress(ended, 1.0)
    assert isinstance(ledger.purchases.write_intent(asks, ONE), Wait), "it says so itself, and has not ended"
    ledger.purchases.write_remote(ended, Prediction(id="p-2", state=State.SUCCEEDED))

    _token(ledger, asks, ONE)
    _token(ledger, asks, ONE)  # its own place is no other's


def test_what_a_living_process_has_keeps_its_place_however_long(tmp_path: Path, ledger: Ledger, other: Ledger) -> None:
    """Only what nobody can ask about any more is taken for ended, and that not a second too early."""
    asks = _claim(ledger, 9)
    for whose in (ledger, other):
        running = _run(whose, 1)
        with ledger.database.write() as connection:
            connection.execute(sa.update(purchase).values(updated_at=_in(-7200)))
        assert isinstance(ledger.purchases.write_intent(asks, ONE), Wait)
        whose.purchases.write_failed(running, None, ProviderUnavailableError("gone"), outcome="failed")
        whose.purchases.leave(running)
        with ledger.database.write() as connection:
            connection.execute(sa.delete(purchase).filter_by(request_key=running.request_key))
            connection.execute(sa.delete(attempt))
    with open_ledger(tmp_path) as dying:
        _run(dying, 1)
    for ago_s, is_free in ((1790, False), (1800.05, True)):
        with ledger.database.write() as connection:
            connection.execute(sa.update(purchase).values(updated_at=_in(-ago_s)))
        assert isinstance(ledger.purchases.write_intent(asks, ONE), str) is is_free


def test_the_bucket_is_refilled_by_time_alone_and_never_above_its_rim(ledger: Ledger) -> None:
    """Neither a clock that was set back nor a long rest brings more than the limit."""
    limits, asks = Limits(per_minute=60), _claim(ledger, 1)
    _token(ledger, asks, limits)

    _set_rate(ledger, tokens=0.5, refilled_at=_in(3600))
    assert ledger.purchases.write_intent(asks, limits) == Wait(0.5)
    _set_rate(ledger, tokens=0.0, refilled_at=_in(-0.5))
    wait = ledger.purchases.write_intent(asks, Limits(per_minute=6))
    assert isinstance(wait, Wait)
    assert 3 < wait.seconds < 9.96
    two = Limits(per_minute=2)
    _set_rate(ledger, tokens=1.0, refilled_at=_in(-3600))
    assert [type(ledger.purchases.write_intent(asks, two)) for _ in range(3)] == [str, str, Wait]
    _set_rate(ledger, tokens=1.0, refilled_at=_in(3600))
    assert [type(ledger.purchases.write_intent(asks, two)) for _ in range(2)] == [str, Wait]


def test_a_limit_that_is_set_later_begins_with_an_empty_bucket(ledger: Ledger) -> None:
    """What was sent before, and how lately, was not counted."""
    asks = _claim(ledger, 1)
    _token(ledger, asks, ONE)

    wait = ledger.purchases.write_intent(asks, Limits(per_minute=2))

    assert isinstance(wait, Wait)
    assert 25 < wait.seconds <= 30


def test_what_is_sent_to_one_provider_leaves_the_buckets_of_all_others(ledger: Ledger) -> None:
    """Two a minute are two at each of them; and one that asks for a pause asks for its own."""
    two, claims = Limits(per_minute=2), [_claim_at(ledger, name) for name in ("here", "there")]
    for claim in claims:
        assert [type(ledger.purchases.write_intent(claim, two)) for _ in range(3)] == [str, str, Wait]
    token = ledger.purchases.write_intent(claims[0])
    ledger.purchases.write_put_back(claims[0], token, RateLimitedError("slow down"), block_s=600)

    waits = [ledger.purchases.write_intent(claim, two) for claim in claims]

    assert [isinstance(wait, Wait) and wait.seconds > 60 for wait in waits] == [True, False]


def test_a_provider_that_asked_for_a_pause_begins_with_an_empty_bucket(ledger: Ledger) -> None:
    """It has had too much; and the pause of one provider is no other's, nor lasts longer than it was asked for."""
    claim = _claim(ledger, 1)
    token = ledger.purchases.write_intent(claim)
    ledger.purchases.write_put_back(claim, token, RateLimitedError("slow down"), block_s=30)
    _set_rate(ledger, blocked_until=_in(-1))
    elsewhere = _claim_at(ledger, "elsewhere")

    assert isinstance(ledger.purchases.write_intent(claim, ONE), str)
    wait = ledger.purchases.write_intent(claim, Limits(per_minute=2))
    assert isinstance(wait, Wait)
    assert 25 < wait.seconds <= 30
    _set_rate(ledger, blocked_until=_in(60))
    assert isinstance(ledger.purchases.write_intent(elsewhere, ONE), str)
