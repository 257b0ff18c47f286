"""Answers of the moment to a question that costs nothing: asked again, and at worst left for a rerun, never bought."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from media_assets.errors import (
    OutputLostError,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.buying import Bought, buy
from media_assets_tests.simulated import Market, hurried

pytestmark = pytest.mark.usefixtures("books_balance")

_TAKES = itertools.count()
_SAID = {
    "html": "but its body is a web page (HTML); run again",
    "2xx_garbage": "but its body is not text; run again",
    "noexec_500": "with status 500, internal_error: Internal server error; the prediction is not lost; run again",
    "noexec_503": "with status 503, runner_scheduling_failure: No runner could be scheduled; the prediction is not",
    "poll_5xx": "with status 50",
    "exec_and_drop": "did not answer when asked about prediction",
}
"""What a person is told of each fault."""


def _bought(
    market: Market, model: str, *rules: Mapping[str, Any], take: int | None = None, budget_s: float = 0.3, **how: Any
) -> Bought:
    market.set_faults(*map(dict, rules))
    spec = hurried(model, poll_error_budget_s=budget_s)
    return buy(market, spec, take=next(_TAKES) if take is None else take, **how)


@pytest.mark.parametrize(
    ("model", "call", "fault", "raised"),
    [
        ("replicate:flux-schnell", "poll", "poll_5xx", ProviderUnavailableError),
        ("replicate:flux-schnell", "poll", "html", UnexpectedResponseError),
        ("replicate:flux-schnell", "poll", "2xx_garbage", UnexpectedResponseError),
        ("fal:flux-schnell", "poll", "html", UnexpectedResponseError),
        ("fal:flux-schnell", "poll", "2xx_garbage", UnexpectedResponseError),
        ("fal:flux-schnell", "result", "noexec_500", ProviderUnavailableError),
        ("fal:flux-schnell", "result", "noexec_503", ProviderUnavailableError),
        ("fal:flux-schnell", "result", "poll_5xx", ProviderUnavailableError),
        ("fal:flux-schnell", "result", "exec_and_drop", ProviderUnavailableError),
        ("fal:flux-schnell", "result", "html", UnexpectedResponseError),
        ("fal:flux-schnell", "result", "2xx_garbage", UnexpectedResponseError),
    ],
)
def test_what_lasts_longer_than_is_waited_is_left_for_a_rerun(
    market: Market, model: str, call: str, fault: str, raised: type[PurchaseError]
) -> None:
    """It is there and paid for: the money stays reserved, and a rerun has it without another submission."""
    one = _bought(market, model, {"call": call, "fault": fault})
    held = reserved_micro_usd(market.home)
    again = _bought(market, model, take=one.row.take)

    assert type(one.error) is raised
    assert isinstance(one.error, PurchaseError)
    assert (one.error.rerun, one.error.prediction_id) == (Rerun.RESUME, one.row.prediction_id)
    assert _SAID[fault] in one.error.message
    assert "medium" not in one.error.message, "it was asked about a prediction, not for a file"
    assert (one.row.state, one.posts, held) == (PurchaseState.SUBMITTED, 1, one.row.estimate_micro_usd)
    assert (again.row.state, again.posts, again.row.prediction_id) == (
        PurchaseState.SUCCEEDED,
        0,
        one.row.prediction_id,
    )


def test_a_result_that_stays_unknown_is_paid_and_lost(market: Market) -> None:
    """As it is a while after fal deleted it."""
    one = _bought(
        market, "fal:flux-schnell", {"call": "result", "fault": "404_after_create"}, budget_s=5.0, not_found_grace_s=0.2
    )
    again = _bought(market, "fal:flux-schnell", take=one.row.take)

    assert type(one.error) is OutputLostError
    assert "no reason was given" in one.error.message
    assert "medium" not in one.error.message
    assert (one.row.state, again.row.state, again.posts) == (PurchaseState.LOST_OUTPUT, PurchaseState.LOST_OUTPUT, 0)
    assert one.row.cost_micro_usd == again.row.cost_micro_usd != 0
    assert reserved_micro_usd(market.home) == 0


@pytest.mark.parametrize("status", ["poll", "result"])
def test_a_model_that_broke_is_told_from_a_bad_moment_by_that_it_lasts(market: Market, status: str) -> None:
    """Fal's status is silent about a model's own fault; one that is told by the status is known at once."""
    by_model = {"fault": "run_failed", "value": "model"} if status == "result" else {"fault": "run_failed"}
    one = _bought(market, "fal:flux-schnell", by_model, budget_s=1.0)
    again = _bought(market, "fal:flux-schnell", take=one.row.take)

    assert type(one.error) is PredictionFailedError
    assert (one.row.state, one.posts) == (PurchaseState.FAILED_FREE, 1)
    # Where the status told of it, nothing can have been made: another submission is free of doubt.
    assert again.posts == (1 if status == "poll" else 0)
