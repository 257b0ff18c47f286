"""What Replicate refuses, and how predictions fail there: typed, and honest about money."""

import math
import pickle
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
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.replicate import ReplicateAdapter
from media_assets_tests.providers.polled_replies import (
    ABORTED,
    CANCELED,
    FAILED,
    ID,
    NO_INPUT,
    NO_KEY,
    NO_MONEY,
    NO_VERSION,
    NOT_FOUND,
    SENSITIVE,
    THROTTLED,
    THROTTLED_WITH_WAIT,
)
from media_assets_tests.providers.sync_replies import CANARIES, reply_of

ADAPTER = ReplicateAdapter()
KNOWN = Prediction(id=ID, state=State.RUNNING)
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def failure_of(body: Any) -> PurchaseError:
    failure = ADAPTER.parse(reply_of(body), Asked.STATUS, KNOWN).failure
    assert failure is not None
    return failure


def refusal(reply: HttpReply, asked: Asked = Asked.SUBMIT, prediction: Prediction | None = None) -> PurchaseError:
    return ADAPTER.parse_error(reply, asked, prediction)


RAN, HAD_NOT_RUN = {"metrics": {"predict_time": 2.1}}, {"metrics": {"predict_time": 0}}
UNSAID = {"metrics": None, "started_at": None}
STARTED = {"metrics": None, "started_at": "2026-01-01T00:00:01.000Z"}


@pytest.mark.parametrize(
    ("body", "billed"),
    [
        (FAILED | RAN, Billed.YES),
        (FAILED | HAD_NOT_RUN, Billed.NO),
        (FAILED | STARTED, Billed.YES),
        (FAILED | UNSAID, Billed.UNKNOWN),
        (FAILED | {"metrics": {"predict_time": "soon"}}, Billed.YES),
        (CANCELED, Billed.NO),
        (CANCELED | RAN, Billed.YES),
        (CANCELED | HAD_NOT_RUN, Billed.NO),
        (CANCELED | STARTED, Billed.YES),
        (CANCELED | UNSAID, Billed.NO),
        (ABORTED, Billed.NO),
        (ABORTED | RAN, Billed.NO),
    ],
)
def test_who_pays_for_what_made_nothing(body: dict[str, Any], billed: Billed) -> None:
    """By the seconds it ran; ``started_at`` stands in for them where they are missing."""
    error = failure_of(body)

    assert (type(error), error.billed, error.prediction_id) == (PredictionFailedError, billed, ID)


@pytest.mark.parametrize(
    ("body", "rerun"),
    [
        (ABORTED, Rerun.RESUBMIT),
        (CANCELED | HAD_NOT_RUN, Rerun.RESUBMIT),
        (CANCELED, Rerun.RESUBMIT),
        (CANCELED | RAN, Rerun.NEVER),
        (FAILED, Rerun.NEVER),
        (FAILED | HAD_NOT_RUN, Rerun.NEVER),
    ],
)
def test_only_what_was_free_and_not_refused_is_submitted_again(body: dict[str, Any], rerun: Rerun) -> None:
    assert failure_of(body).rerun is rerun


@pytest.mark.parametrize(
    "text",
    [
        SENSITIVE,
        "NSFW content detected. Try running it again, or try a different prompt.",
        "All generated images contained nsfw content",
        "Prediction failed: E005",
    ],
)
@pytest.mark.parametrize(("more", "billed"), [(RAN, Billed.YES), (HAD_NOT_RUN, Billed.NO)])
def test_moderation_is_known_by_its_words(text: str, more: dict[str, Any], billed: Billed) -> None:
    error = failure_of(FAILED | {"error": text} | more)

    assert (type(error), error.billed, error.rerun) == (ContentRejectedError, billed, Rerun.NEVER)


@pytest.mark.parametrize("text", ["CUDA out of memory", "code E0051", "XE005", "Director: unexpected error (E9243)"])
def test_other_failures_are_not_moderation(text: str) -> None:
    error = failure_of(FAILED | {"error": text})

    assert type(error) is PredictionFailedError
    assert text in error.message


@pytest.mark.parametrize("error", [None, "", 7, {"message": "x"}, ["x"]])
def test_a_failure_may_give_no_reason(error: Any) -> None:
    assert "no reason was given" in failure_of(FAILED | {"error": error}).message


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, NO_KEY, KeyRejectedError),
        (403, NO_KEY, KeyRejectedError),
        (402, NO_MONEY, InsufficientCreditError),
        (404, NOT_FOUND, ModelGoneError),
        (404, b"", ModelGoneError),
        (422, NO_VERSION, ModelGoneError),
        (422, {"detail": NO_VERSION["detail"]}, ModelGoneError),
        (422, {"title": NO_VERSION["title"]}, ModelGoneError),
        (422, NO_INPUT, RequestRejectedError),
        (422, {"detail": "no"}, RequestRejectedError),
        (400, {"detail": "no"}, RequestRejectedError),
        (413, {"detail": "too large"}, RequestRejectedError),
        (415, b"", RequestRejectedError),
        (429, THROTTLED, RateLimitedError),
        (429, b"", RateLimitedError),
        (401, PAGE, KeyRejectedError),
    ],
)
def test_a_refused_submit_is_typed_and_free(status: int, body: Any, kind: type[PurchaseError]) -> None:
    error = refusal(reply_of(body, status))

    assert (type(error), error.billed, error.provider) == (kind, Billed.NO, "replicate")
    assert error.rerun is (Rerun.RESUBMIT if kind is RateLimitedError else Rerun.NEVER)
    assert str(status) in error.message


@pytest.mark.parametrize("status", [301, 408, 409, 418, 425, 499, 500, 502, 503, 504, 529])
@pytest.mark.parametrize("body", [b"", PAGE, NO_MONEY])
def test_any_other_answer_to_a_submit_leaves_its_outcome_open(status: int, body: Any) -> None:
    error = refusal(reply_of(body, status))

    assert (type(error), error.billed, error.rerun) == (UnknownOutcomeError, Billed.UNKNOWN, Rerun.ASK)


def test_a_refusal_names_the_fields_as_replicate_does() -> None:
    message = refusal(reply_of(NO_INPUT, 422)).message

    assert "input, input.num_inference_steps" in message
    assert "prompt is required - input.num_inference_steps: Must be less than or equal to 4" in message


@pytest.mark.parametrize(
    "fields", [None, "prompt", [None, "prompt", {}, {"field": 7}, {"field": "prompt"}], {"field": "a"}]
)
def test_odd_fields_do_no_harm(fields: Any) -> None:
    assert type(refusal(reply_of(NO_INPUT | {"invalid_fields": fields}, 422))) is RequestRejectedError


@pytest.mark.parametrize(
    ("body", "headers", "wait_s"),
    [
        (THROTTLED, {}, 30),
        (THROTTLED_WITH_WAIT, {}, 5),
        (THROTTLED_WITH_WAIT, {"retry_after": "7"}, 7),
        (THROTTLED, {"retry_after": "0"}, 0),
        (THROTTLED, {"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry_after": 1.5}, {}, 1.5),
        ({"retry_after": "8"}, {}, 8),
        ({"retry_after": -1, "detail": THROTTLED["detail"]}, {}, 30),
        ({"retry_after": math.nan}, {}, None),
        ({"retry_after": True}, {}, None),
        ({"detail": "Your rate limit resets in 2.5 s"}, {}, 2.5),
        ({"detail": "later"}, {}, None),
        ({"detail": ["resets in ~30s"]}, {}, None),
        (b"", {}, None),
        ([], {}, None),
    ],
)
@pytest.mark.parametrize("asked", [Asked.SUBMIT, Asked.STATUS, Asked.UPLOAD])
def test_how_long_to_wait(body: Any, headers: dict[str, str], wait_s: float | None, asked: Asked) -> None:
    error = refusal(reply_of(body, 429, **headers), asked, None if asked is not Asked.STATUS else KNOWN)

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize("asked", [Asked.STATUS, Asked.CANCEL])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (408, b"", ProviderUnavailableError),
        (425, b"", ProviderUnavailableError),
        (500, {"detail": "x"}, ProviderUnavailableError),
        (502, PAGE, ProviderUnavailableError),
        (503, b"", ProviderUnavailableError),
        (504, PAGE, ProviderUnavailableError),
        (403, PAGE, ProviderUnavailableError),
        (400, b"\r\n<!DOCTYPE html>", ProviderUnavailableError),
        (429, THROTTLED, RateLimitedError),
        (401, NO_KEY, KeyRejectedError),
        (402, NO_MONEY, InsufficientCreditError),
        (403, NO_KEY, KeyRejectedError),
        (301, b"", UnexpectedResponseError),
    ],
)
def test_an_error_to_a_question_never_says_that_nothing_is_billed(
    status: int, body: Any, kind: type[PurchaseError], asked: Asked
) -> None:
    error = refusal(reply_of(body, status), asked, KNOWN)

    assert (type(error), error.prediction_id) == (kind, ID)
    assert (error.billed, error.rerun) == (Billed.UNKNOWN, Rerun.RESUME)


def test_an_unknown_prediction_may_be_billed_all_the_same() -> None:
    error = refusal(reply_of(NOT_FOUND, 404), Asked.STATUS, KNOWN)

    assert (type(error), error.billed, error.rerun) == (UnknownOutcomeError, Billed.UNKNOWN, Rerun.ASK)


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_a_refused_cancel_leaves_it_to_the_state(status: int) -> None:
    """What Replicate answers when a finished prediction is canceled is not documented (2026-11)."""
    error = refusal(reply_of({"detail": "no"}, status), Asked.CANCEL, KNOWN)

    assert (type(error), error.billed, error.rerun) == (RequestRejectedError, Billed.UNKNOWN, Rerun.RESUME)


@pytest.mark.parametrize(
    ("status", "kind", "rerun"),
    [
        (401, KeyRejectedError, Rerun.NEVER),
        (402, InsufficientCreditError, Rerun.NEVER),
        (404, RequestRejectedError, Rerun.NEVER),
        (413, RequestRejectedError, Rerun.NEVER),
        (429, RateLimitedError, Rerun.RESUBMIT),
        (500, ProviderUnavailableError, Rerun.RESUBMIT),
        (409, UnexpectedResponseError, Rerun.RESUBMIT),
    ],
)
def test_a_failed_upload_is_free(status: int, kind: type[PurchaseError], rerun: Rerun) -> None:
    error = refusal(reply_of({"detail": "Files must be less than 100MB in size"}, status), Asked.UPLOAD)

    assert (type(error), error.billed, error.rerun) == (kind, Billed.NO, rerun)


@pytest.mark.parametrize("status", [200, 400, 401, 422, 429, 500])
@pytest.mark.parametrize("asked", [Asked.SUBMIT, Asked.STATUS, Asked.CANCEL, Asked.UPLOAD])
def test_no_secret_comes_through(status: int, asked: Asked) -> None:
    said = (
        f"Bearer {CANARIES[3]} r8_{CANARIES[3]} and https://x.example/a?{CANARIES[2]}&b={CANARIES[3]} "
        f"token={CANARIES[3]} {CANARIES[0]}"
    )
    if status == 200:
        error = failure_of(FAILED | {"error": said})
    else:
        body = {"title": said, "detail": said, "invalid_fields": [{"field": said}]}
        error = refusal(reply_of(body, status), asked, KNOWN)

    assert not [secret for secret in CANARIES if secret in error.message]
    assert "?" not in error.message
    assert len(error.message) < 1200


def test_errors_survive_pickling() -> None:
    error = refusal(reply_of(THROTTLED_WITH_WAIT, 429), Asked.STATUS, KNOWN)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert (type(again), again.message, again.retry_after_s) == (RateLimitedError, error.message, 5.0)
