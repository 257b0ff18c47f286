"""What a stopped run leaves open, in words: what it is, what it may cost, and how long its output can be had."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest

from media_assets.catalog import Recovery
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Claim, Settlement
from media_assets.left_open import LeftOpen, left_open
from media_assets.prediction import Prediction, State
from media_assets_tests.making import some_request
from media_assets_tests.web_shop import WebAdapter

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


class _KeepsADay(WebAdapter):
    outputs_kept_s: ClassVar[float | None] = 86_400.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        yield one


def _claimed(ledger: Ledger, recovery: Recovery = Recovery.LISTED) -> tuple[Claim, str]:
    claim = ledger.purchases.claim(
        some_request(), recovery=recovery, prompt_key="a", plan_id="plan", estimate_micro_usd=84_000
    )
    assert isinstance(claim, Claim)
    return claim, ledger.purchases.write_intent(claim)


def _left(ledger: Ledger, adapter: WebAdapter, key: str = "a") -> list[LeftOpen]:
    return left_open(ledger, lambda _provider: adapter, [key], now=NOW)


def test_what_runs_costs_at_most_its_estimate_and_is_kept_from_its_end_on(ledger: Ledger) -> None:
    """Nobody knows when it ends, so its end now is the earliest."""
    claim, token = _claimed(ledger)
    ledger.purchases.write_submitted(claim, token, Prediction(id="p-1", state=State.RUNNING, remote_state="processing"))

    (left,) = _left(ledger, _KeepsADay())

    assert str(left) == (
        "image: prediction p-1 of testing:any is still open at testing (processing); it costs at most 0.084 USD. Its "
        "output is kept there for 24 h once it is made: until 2026-12-01 12:00 UTC or later. Run again, or "
        "`media-assets janitor`, to have it: that is free."
    )
    assert left.as_dict() == {
        "step": "image",
        "provider": "testing",
        "model": "testing:any",
        "state": "SUBMITTED",
        "remote_state": "processing",
        "prediction_id": "p-1",
        "at_most_usd": "0.084",
        "kept_s": 86_400.0,
        "kept_until": "2026-12-01T12:00:00+00:00",
        "request_key": some_request().key,
    }
    assert _left(ledger, _KeepsADay(), "another prompt") == []


def test_what_has_ended_cost_what_it_cost_and_goes_from_then_on(ledger: Ledger) -> None:
    """An hour after it was made it may be gone, however long ago the run was stopped."""
    claim, token = _claimed(ledger)
    done = Prediction(id="p-1", state=State.SUCCEEDED)
    ledger.purchases.write_submitted(claim, token, done, Settlement(cost_micro_usd=1_500))

    (left,) = _left(ledger, _KeepsADay())

    assert left.at_most_usd == Decimal("0.0015")
    assert left.kept_until is not None
    assert abs(left.kept_until - timedelta(days=1) - datetime.now(UTC)) < timedelta(minutes=5)
    assert "has finished at testing; it cost 0.0015 USD. Its output is kept there until about" in str(left)


def test_where_nothing_is_kept_nothing_is_promised(ledger: Ledger) -> None:
    claim, token = _claimed(ledger)
    ledger.purchases.write_submitted(claim, token, Prediction(id="p-1", state=State.RUNNING))

    (left,) = _left(ledger, WebAdapter())

    assert (left.kept_s, left.kept_until, left.as_dict()["kept_until"]) == (None, None, None)
    assert "kept" not in str(left)


def test_what_has_no_reply_is_to_be_found_out(ledger: Ledger) -> None:
    _claimed(ledger)

    (left,) = _left(ledger, _KeepsADay())

    assert "what was sent to testing for testing:any has no recorded reply; it costs at most 0.084 USD" in str(left)


def test_what_is_free_is_not_told_of(ledger: Ledger) -> None:
    """It is simply made again."""
    _claimed(ledger, Recovery.FREE)

    assert _left(ledger, _KeepsADay()) == []
