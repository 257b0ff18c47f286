"""What each of OpenAI's refusals means for the money and for a rerun."""

import pickle
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    InsufficientCreditError,
    KeyRejectedError,
    ModelGoneError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.prediction import Prediction
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.openai import OpenAIAdapter
from media_assets.redact import redact_text
from media_assets_tests.providers.sync_replies import (
    CANARIES,
    openai_error,
    reply_of,
)

ADAPTER = OpenAIAdapter()


def parsed(reply: HttpReply) -> Prediction:
    return ADAPTER.parse(reply, Asked.SUBMIT)


def refusal(reply: HttpReply) -> PurchaseError:
    return ADAPTER.parse_error(reply, Asked.SUBMIT)


REFUSALS = [
    (429, openai_error("You exceeded your quota", "insufficient_quota", code="insufficient_quota"), "credit"),
    (429, openai_error("You exceeded your quota", "insufficient_quota"), "credit"),
    (429, openai_error("Slow down", "requests", code="rate_limit_exceeded"), "rate"),
    (429, b"<html>Too many</html>", "rate"),
    (429, openai_error("inactive", "billing_not_active", code="billing_not_active"), "credit"),
    (400, openai_error("Billing hard limit", code="billing_hard_limit_reached"), "credit"),
    (402, b"", "credit"),
    (400, openai_error("safety", "image_generation_user_error", code="moderation_blocked"), "content"),
    (400, openai_error("policy", code="content_policy_violation"), "content"),
    (403, openai_error("policy", code="content_policy_violation"), "content"),
    (401, openai_error("Incorrect API key", code="invalid_api_key"), "key"),
    (401, b"", "key"),
    (400, openai_error("Incorrect API key", code="invalid_api_key"), "key"),
    (403, openai_error("Country not supported", "request_forbidden", code="unsupported_country"), "key"),
    (403, openai_error("Your organization must be verified"), "key"),
    (404, openai_error("no such model", code="model_not_found"), "gone"),
    (404, b"<html>404</html>", "gone"),
    (400, openai_error("no such model", code="model_not_found"), "gone"),
    (400, openai_error("Invalid size", param="size", code="invalid_value"), "request"),
    (400, openai_error("odd", "image_generation_user_error"), "request"),
    (400, b"nonsense", "request"),
    (400, {"error": "text"}, "request"),
    (400, {"error": ["list"]}, "request"),
    (400, [1], "request"),
    (413, b"", "request"),
    (415, openai_error(), "request"),
    (422, openai_error(), "request"),
]
KINDS = {
    "content": ContentRejectedError,
    "credit": InsufficientCreditError,
    "gone": ModelGoneError,
    "key": KeyRejectedError,
    "rate": RateLimitedError,
    "request": RequestRejectedError,
}


@pytest.mark.parametrize(
    ("status", "body", "kind"), REFUSALS, ids=[f"{number}-{kind}" for number, (_, _, kind) in enumerate(REFUSALS)]
)
def test_a_refusal_costs_nothing_and_says_what_it_is(status: int, body: Any, kind: str) -> None:
    error = refusal(reply_of(body, status, x_request_id="req_1"))

    assert type(error) is KINDS[kind]
    assert (error.billed, error.provider) == (Billed.NO, "openai")
    assert error.rerun is (Rerun.RESUBMIT if kind == "rate" else Rerun.NEVER)
    assert error.prediction_id is None  # nothing was made: a request id is no prediction
    assert str(status) in error.message
    assert redact_text(error.message, limit=2000) == error.message  # who redacts it again takes nothing away


def test_a_refusal_repeats_the_reason_and_the_field() -> None:
    error = refusal(reply_of(openai_error("Invalid size '7x7'.", param="size", code="invalid_value"), 400))

    for words in ("openai", "400", "invalid_value", "size", "Invalid size '7x7'.", "change the request"):
        assert words in error.message


@pytest.mark.parametrize("status", [302, 405, 408, 409, 410, 425, 451, 500, 502, 503, 504, 529])
@pytest.mark.parametrize(
    "body", [openai_error("no", "server_error"), b"<html>nginx</html>", b""], ids=["json", "html", "empty"]
)
def test_any_other_status_leaves_the_outcome_open(status: int, body: Any) -> None:
    """A reply that work was done for may get lost behind a 503; only a person may buy again."""
    error = refusal(reply_of(body, status, x_request_id="req_1"))

    assert isinstance(error, UnknownOutcomeError)
    assert (error.billed, error.rerun, error.prediction_id) == (Billed.UNKNOWN, Rerun.ASK, "req_1")


def test_out_of_money_behind_a_500_is_still_open() -> None:
    error = refusal(reply_of(openai_error("x", code="insufficient_quota"), 500))

    assert isinstance(error, UnknownOutcomeError)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1" * 10_000}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
    ],
    ids=["none", "seconds", "fraction", "milliseconds first", "bad milliseconds", "negative", "nan", "huge", "date"],
)
def test_the_wait_is_read_where_it_is_seconds(headers: dict[str, str], expected: float | None) -> None:
    error = refusal(HttpReply(status=429, headers=headers, body=b""))

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == expected


@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_no_secret_of_an_error_comes_through(status: int) -> None:
    said = (
        f"Incorrect API key provided: {CANARIES[0]}. See https://x.example/a?{CANARIES[2]}&token={CANARIES[3]} "
        f"Authorization: Bearer {CANARIES[3]}"
    )
    body = openai_error(said, code=CANARIES[0], param=f"https://x.example/?token={CANARIES[3]}")
    reply = reply_of(body, status)
    error = parsed(reply).failure if status == 200 else refusal(reply)

    assert error is not None
    assert not [secret for secret in CANARIES if secret in error.message]
    assert len(error.message) < 1000


def test_errors_survive_pickling() -> None:
    error = refusal(reply_of(openai_error(), 429, retry_after="3"))

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(again), again.message, again.retry_after_s) == (RateLimitedError, error.message, 3.0)
