"""What each shape of ElevenLabs' refusals means for the money and for a rerun."""

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
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.redact import redact_text
from media_assets_tests.providers.sync_replies import (
    CANARIES,
    elevenlabs_error,
    elevenlabs_old_error,
    reply_of,
)

ADAPTER = ElevenLabsAdapter()


def parsed(reply: HttpReply) -> Prediction:
    return ADAPTER.parse(reply, Asked.SUBMIT)


def refusal(reply: HttpReply) -> PurchaseError:
    return ADAPTER.parse_error(reply, Asked.SUBMIT)


REFUSALS = [
    (402, elevenlabs_error("insufficient_credits"), InsufficientCreditError),
    (402, elevenlabs_old_error("payment_required"), InsufficientCreditError),
    (402, b"", InsufficientCreditError),
    (401, elevenlabs_error("insufficient_credits"), InsufficientCreditError),
    (401, elevenlabs_old_error("quota_exceeded", "This request exceeds your quota."), InsufficientCreditError),
    (401, elevenlabs_error("unauthorized", status="quota_exceeded"), InsufficientCreditError),
    (429, elevenlabs_old_error("quota_exceeded"), InsufficientCreditError),
    (402, elevenlabs_error("paid_plan_required", status="payment_required"), RequestRejectedError),
    (401, elevenlabs_error("unauthorized", "Invalid API key", status="invalid_api_key"), KeyRejectedError),
    (401, elevenlabs_error("missing_api_key"), KeyRejectedError),
    (401, elevenlabs_old_error("invalid_api_key"), KeyRejectedError),
    (401, {"detail": "Unauthorized"}, KeyRejectedError),
    (403, elevenlabs_error("insufficient_permissions"), KeyRejectedError),
    (403, elevenlabs_old_error("content_against_policy"), ContentRejectedError),
    (400, elevenlabs_error("content_policy_violation"), ContentRejectedError),
    (400, elevenlabs_old_error("bad_prompt"), ContentRejectedError),
    (429, elevenlabs_error("rate_limit_exceeded"), RateLimitedError),
    (429, elevenlabs_error("concurrent_limit_exceeded"), RateLimitedError),
    (429, elevenlabs_error("system_busy"), RateLimitedError),
    (429, elevenlabs_old_error("too_many_concurrent_requests"), RateLimitedError),
    (429, b"<html>", RateLimitedError),
    (404, elevenlabs_error("voice_not_found", "A voice with voice_id foo was not found."), RequestRejectedError),
    (400, elevenlabs_old_error("voice_not_found"), RequestRejectedError),
    (404, elevenlabs_error("model_not_found"), ModelGoneError),
    (400, elevenlabs_old_error("model_not_found"), ModelGoneError),
    (400, elevenlabs_error("unsupported_model"), ModelGoneError),
    (404, {"detail": "Not Found"}, RequestRejectedError),
    (404, b"", RequestRejectedError),
    (400, elevenlabs_error("max_character_limit_exceeded", param="text"), RequestRejectedError),
    (413, b"", RequestRejectedError),
    (422, {"detail": [{"loc": ["body", "text"], "msg": "Field required", "type": "missing"}]}, RequestRejectedError),
    (422, {"detail": [5, {"loc": "x"}, {"loc": [None, {}], "msg": 7}]}, RequestRejectedError),
    (422, {"detail": []}, RequestRejectedError),
    (400, {"detail": {"code": 5, "message": ["x"], "param": {}}}, RequestRejectedError),
    (400, [1], RequestRejectedError),
    (400, b"nonsense", RequestRejectedError),
]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    REFUSALS,
    ids=[f"{number}-{status}-{kind.__name__}" for number, (status, _, kind) in enumerate(REFUSALS)],
)
def test_a_refusal_costs_nothing_and_says_what_it_is(status: int, body: Any, kind: type) -> None:
    error = refusal(reply_of(body, status))

    assert type(error) is kind
    assert (error.billed, error.provider, error.prediction_id) == (Billed.NO, "elevenlabs", None)
    assert error.rerun is (Rerun.RESUBMIT if kind is RateLimitedError else Rerun.NEVER)
    assert str(status) in error.message
    assert redact_text(error.message, limit=2000) == error.message  # who redacts it again takes nothing away


def test_a_missing_voice_is_named() -> None:
    error = refusal(reply_of(elevenlabs_error("voice_not_found", "A voice with voice_id foo was not found."), 404))

    assert "voice_not_found" in error.message
    assert "voice_id foo" in error.message


def test_the_newer_word_is_told_where_two_differ() -> None:
    error = refusal(reply_of(elevenlabs_error("paid_plan_required", status="payment_required"), 402))

    assert "paid_plan_required" in error.message


def test_a_validation_names_every_field() -> None:
    faults = [
        {"loc": ["body", "voice_settings", "stability"], "msg": "Input should be at most 1", "type": "less_than_equal"},
        {"loc": ["query", "output_format"], "msg": "unknown", "type": "enum"},
        {"loc": ["body", "locators", 0, "id"], "msg": "Field required", "type": "missing"},
    ]

    message = refusal(reply_of({"detail": faults}, 422)).message

    for words in ("voice_settings.stability: Input should be at most 1", "output_format: unknown", "locators.0.id"):
        assert words in message
    assert "body." not in message


@pytest.mark.parametrize("status", [302, 405, 408, 409, 425, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [elevenlabs_error("conflict", request_id="trace1"), b"<html>nginx</html>"], ids=["json", "html"]
)
def test_any_other_status_leaves_the_outcome_open(status: int, body: Any) -> None:
    error = refusal(reply_of(body, status))

    assert isinstance(error, UnknownOutcomeError)
    assert (error.billed, error.rerun) == (Billed.UNKNOWN, Rerun.ASK)
    assert error.prediction_id == ("trace1" if isinstance(body, dict) else None)


def test_the_wait_is_read_where_it_is_given() -> None:
    error = refusal(reply_of(elevenlabs_error("system_busy"), 429, retry_after="3"))

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 3.0


@pytest.mark.parametrize("status", [200, 400, 401, 500])
@pytest.mark.parametrize("shape", ["object", "old object", "list", "text"])
def test_no_secret_of_an_error_comes_through(status: int, shape: str) -> None:
    said = (
        f"Invalid key {CANARIES[1]} (xi-api-key: {CANARIES[3]}), "
        f"see https://x.example/a?{CANARIES[2]}&token={CANARIES[3]}"
    )
    body = {
        "object": elevenlabs_error("invalid", said, param=said),
        "old object": elevenlabs_old_error("invalid", said),
        "list": {"detail": [{"loc": ["body", said], "msg": said}]},
        "text": {"detail": said},
    }[shape]
    reply = reply_of(body, status)
    error = parsed(reply).failure if status == 200 else refusal(reply)

    assert error is not None
    assert not [secret for secret in CANARIES if secret in error.message]
    assert len(error.message) < 1000
