"""What fal refuses, how predictions fail there, and uploads: typed, and honest about money."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    InsufficientCreditError,
    KeyRejectedError,
    ModelGoneError,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.prediction import Prediction, State
from media_assets.providers.base import Asked, HttpCall, HttpReply, InputFile
from media_assets.providers.fal import FalAdapter
from media_assets_tests.providers.polled_replies import (
    COMPLETED,
    FAL_ID,
    FAL_URLS,
    LOCKED,
    TIMED_OUT,
    model_error,
    platform_error,
)
from media_assets_tests.providers.sync_replies import CANARIES, reply_of

ADAPTER = FalAdapter()
KNOWN = Prediction(id=FAL_ID, state=State.RUNNING, remote_state="IN_PROGRESS", urls=FAL_URLS)
DONE = replace(KNOWN, state=State.SUCCEEDED, remote_state="COMPLETED")
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
FILE = InputFile(content=b"bytes", mime="image/png", filename="ab12.png")
GRANTED = {"token": "tok.en", "token_type": "Bearer", "base_url": "https://v3.fal.media/", "expires_at": "2026-01-01"}
STORED = {"access_url": "https://v3.fal.media/files/ab/x.png"}


def refusal(
    body: Any, status: int, asked: Asked = Asked.SUBMIT, prediction: Prediction | None = None, **headers: str
) -> PurchaseError:
    return ADAPTER.parse_error(reply_of(body, status, **headers), asked, prediction)


def failure_of(body: Any, **headers: str) -> PurchaseError:
    prediction = ADAPTER.parse(reply_of(body, 200, **headers), Asked.STATUS, KNOWN)
    assert prediction.failure is not None
    assert prediction.state is State.FAILED
    return prediction.failure


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"detail": "Cannot access application"}, KeyRejectedError),
        (403, {"detail": "Forbidden"}, KeyRejectedError),
        (403, LOCKED, InsufficientCreditError),
        (403, {"detail": "User is locked."}, InsufficientCreditError),
        (403, {"detail": "EXHAUSTED BALANCE"}, InsufficientCreditError),
        (402, {"detail": "pay"}, InsufficientCreditError),
        (403, {"error": {"type": "authorization_error", "message": "no"}}, KeyRejectedError),
        (404, {"detail": "Application 'flux' not found"}, ModelGoneError),
        (404, b"", ModelGoneError),
        (400, platform_error("bad_request"), RequestRejectedError),
        (400, {"error": {"type": "validation_error", "message": "no"}}, RequestRejectedError),
        (413, b"", RequestRejectedError),
        (422, model_error("image_too_small", "image_url"), RequestRejectedError),
        (422, model_error("missing", "prompt"), RequestRejectedError),
        (422, {"detail": "prompt is missing"}, RequestRejectedError),
        (422, model_error("content_policy_violation", "prompt"), ContentRejectedError),
        (429, {"detail": "Queue is full"}, RateLimitedError),
        (429, model_error("concurrent_requests_limit"), RateLimitedError),
        (429, b"", RateLimitedError),
        (401, PAGE, KeyRejectedError),
    ],
)
def test_a_refused_submit_is_typed_and_free(status: int, body: Any, kind: type[PurchaseError]) -> None:
    error = refusal(body, status)

    assert (type(error), error.billed, error.provider) == (kind, Billed.NO, "fal")
    assert error.rerun is (Rerun.RESUBMIT if kind is RateLimitedError else Rerun.NEVER)


@pytest.mark.parametrize("status", [301, 408, 409, 418, 425, 499, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", PAGE, LOCKED, platform_error("runner_scheduling_failure")])
def test_any_other_answer_to_a_submit_leaves_its_outcome_open(status: int, body: Any) -> None:
    """Fal bills no 5xx, but that says nothing about whether the request was put into the queue."""
    error = refusal(body, status)

    assert (type(error), error.billed, error.rerun) == (UnknownOutcomeError, Billed.UNKNOWN, Rerun.ASK)


def test_a_wait_is_read_from_the_header() -> None:
    """Fal documents none; a proxy in front of it may send one."""
    error = refusal({"detail": "later"}, 429, retry_after="7")

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 7


def test_a_refusal_names_fields_and_type_as_fal_does() -> None:
    fault = model_error("greater_than", "loras", 0, "scale", message="Input should be greater than 0")["detail"][0]
    message = refusal({"detail": [fault, fault | {"loc": ["body", "prompt"]}, None, {"loc": "x"}]}, 422).message

    assert "greater_than, loras.0.scale, prompt" in message
    assert "Input should be greater than 0" in message


@pytest.mark.parametrize("detail", [None, 7, "", [], [None], [7], {}, {"msg": "x"}, [{"loc": 7, "msg": 7, "type": 7}]])
@pytest.mark.parametrize("asked", [Asked.SUBMIT, Asked.RESULT])
def test_odd_details_do_no_harm(detail: Any, asked: Asked) -> None:
    assert type(refusal({"detail": detail}, 422, asked, KNOWN)) is RequestRejectedError


@pytest.mark.parametrize(
    ("body", "kind", "rerun"),
    [
        (TIMED_OUT, PredictionFailedError, Rerun.RESUBMIT),
        (COMPLETED | {"error": "Boom"}, PredictionFailedError, Rerun.NEVER),
        (COMPLETED | {"error_type": "runner_disconnected"}, PredictionFailedError, Rerun.RESUBMIT),
        (COMPLETED | {"error_type": "internal_server_error"}, PredictionFailedError, Rerun.NEVER),
        (COMPLETED | {"error": "x", "error_type": "content_policy_violation"}, ContentRejectedError, Rerun.NEVER),
        (COMPLETED | {"error": "x", "error_type": "of_the_future"}, PredictionFailedError, Rerun.NEVER),
        (COMPLETED | {"error": {"msg": "x"}}, PredictionFailedError, Rerun.NEVER),
        (COMPLETED | {"error": ["x"], "error_type": 7}, PredictionFailedError, Rerun.NEVER),
        (COMPLETED | {"error": True}, PredictionFailedError, Rerun.NEVER),
    ],
)
def test_completed_with_an_error_has_failed(body: Any, kind: type[PurchaseError], rerun: Rerun) -> None:
    error = failure_of(body)

    assert (type(error), error.billed, error.rerun, error.prediction_id) == (kind, Billed.NO, rerun, FAL_ID)


def test_completed_with_an_error_is_billed_where_units_say_so() -> None:
    body = COMPLETED | {"error": "x", "error_type": "content_policy_violation"}

    assert failure_of(body, x_fal_billable_units="2").billed is Billed.YES
    assert failure_of(TIMED_OUT, x_fal_billable_units="2").billed is Billed.NO


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, {"detail": "x"}, ProviderUnavailableError),
        (502, PAGE, ProviderUnavailableError),
        (403, PAGE, ProviderUnavailableError),
        (408, b"", ProviderUnavailableError),
        (429, b"", RateLimitedError),
        (401, {"detail": "no"}, KeyRejectedError),
        (403, LOCKED, InsufficientCreditError),
        (400, {"detail": "x"}, UnexpectedResponseError),
        (422, {"detail": "x"}, UnexpectedResponseError),
    ],
)
def test_an_error_to_a_status_never_says_that_nothing_is_billed(
    status: int, body: Any, kind: type[PurchaseError]
) -> None:
    error = refusal(body, status, Asked.STATUS, KNOWN)

    assert (type(error), error.prediction_id) == (kind, FAL_ID)
    assert (error.billed, error.rerun) == (Billed.UNKNOWN, Rerun.RESUME)


def test_an_unknown_request_may_be_billed_all_the_same() -> None:
    error = refusal({"status": "NOT_FOUND"}, 404, Asked.STATUS, KNOWN)

    assert (type(error), error.billed, error.rerun) == (UnknownOutcomeError, Billed.UNKNOWN, Rerun.ASK)


@pytest.mark.parametrize(("status", "word"), [(400, "ALREADY_COMPLETED"), (404, "NOT_FOUND")])
def test_a_cancel_that_came_too_late_leaves_it_to_the_state(status: int, word: str) -> None:
    error = refusal({"status": word}, status, Asked.CANCEL, KNOWN)

    assert (type(error), error.billed, error.rerun) == (RequestRejectedError, Billed.UNKNOWN, Rerun.RESUME)
    assert word in error.message


def uploaded(*bodies: Any) -> tuple[list[HttpCall], str]:
    steps: Generator[HttpCall, HttpReply, str] = ADAPTER.upload(FILE)
    calls = [next(steps)]
    try:
        for body in bodies:
            calls.append(steps.send(reply_of(body)))  # noqa: PERF401 - the end comes as an exception
    except StopIteration as end:
        return calls, str(end.value)
    message = "the upload goes on"
    raise AssertionError(message)


def test_an_upload_asks_for_a_token_and_sends_the_bytes_with_it_alone() -> None:
    (token, store), url = uploaded(GRANTED, STORED)

    assert (token.method, token.json_body, token.with_key) == ("POST", {}, True)
    assert token.url == "https://rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3"
    assert (store.method, store.url, store.content) == ("POST", "https://v3.fal.media/files/upload", b"bytes")
    assert store.headers == {
        "Authorization": "Bearer tok.en",
        "Content-Type": "image/png",
        "X-Fal-File-Name": "ab12.png",
    }
    assert not store.with_key
    assert url == STORED["access_url"]


@pytest.mark.parametrize(
    "base",
    ["https://fal.media", "https://v3b.fal.media", "https://rest.fal.ai/cdn", "https://queue.fal.run/fal-cdn"],
)
def test_the_bytes_go_to_fals_own_storage(base: str) -> None:
    (_, store), _ = uploaded(GRANTED | {"base_url": base}, STORED)

    assert store.url == f"{base}/files/upload"


@pytest.mark.parametrize(
    "more",
    [
        {"base_url": "https://evil.example"},
        {"base_url": "http://v3.fal.media"},
        {"base_url": "https://v3.fal.media@evil.example"},
        {"base_url": "https://v3.fal.media.evil.example"},
        {"base_url": "https://evilfal.media"},
        {"base_url": "https://169.254.169.254"},
        {"base_url": ""},
        {"base_url": None},
        {"token": None},
        {"token": ""},
        {"token": "a\r\nX-Other: b"},
        {"token_type": None},
        {"token_type": "Bea rer"},
    ],
)
def test_the_bytes_go_nowhere_else(more: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedResponseError, match="grants no upload") as caught:
        uploaded(GRANTED | more)
    assert caught.value.billed is Billed.NO


@pytest.mark.parametrize("body", [b"", {}, {"access_url": None}, {"access_url": "x"}, [], PAGE])
def test_an_upload_without_a_url_has_failed(body: Any) -> None:
    with pytest.raises(UnexpectedResponseError):
        uploaded(GRANTED, body)


@pytest.mark.parametrize(
    ("status", "body", "kind", "rerun"),
    [
        (401, {"detail": "no"}, KeyRejectedError, Rerun.NEVER),
        (403, LOCKED, InsufficientCreditError, Rerun.NEVER),
        (404, b"", RequestRejectedError, Rerun.NEVER),
        (413, b"", RequestRejectedError, Rerun.NEVER),
        (429, b"", RateLimitedError, Rerun.RESUBMIT),
        (503, PAGE, ProviderUnavailableError, Rerun.RESUBMIT),
    ],
)
def test_a_failed_upload_is_free(status: int, body: Any, kind: type[PurchaseError], rerun: Rerun) -> None:
    error = refusal(body, status, Asked.UPLOAD)

    assert (type(error), error.billed, error.rerun) == (kind, Billed.NO, rerun)


@pytest.mark.parametrize("status", [200, 400, 403, 422, 429, 500])
@pytest.mark.parametrize("asked", [Asked.SUBMIT, Asked.STATUS, Asked.RESULT, Asked.CANCEL, Asked.UPLOAD])
def test_no_secret_comes_through(status: int, asked: Asked) -> None:
    said = (
        f"Key {CANARIES[3]}:x and https://x.example/a?{CANARIES[2]}&b={CANARIES[3]} token={CANARIES[3]} {CANARIES[0]}"
    )
    bodies = [
        model_error(said, said, message=said),
        platform_error(said, said),
        {"error": {"type": said, "message": said}},
    ]
    if status == 200:
        errors = [failure_of(COMPLETED | {"error": said, "error_type": said})]
    else:
        errors = [refusal(body, status, asked, KNOWN) for body in bodies]

    for error in errors:
        assert not [secret for secret in CANARIES if secret in error.message]
        assert "?" not in error.message
        assert len(error.message) < 1200
