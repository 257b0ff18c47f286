"""fal's answers to a result call: what was made, or the model's own error, or nothing about either."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    ModelGoneError,
    OutputLostError,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Asked
from media_assets.providers.fal import FalAdapter
from media_assets_tests.providers.polled_replies import (
    AUDIO,
    FAL_ID,
    FAL_PICTURE,
    FAL_URLS,
    IMAGES,
    LOCKED,
    TOO_EARLY,
    VIDEO,
    model_error,
    platform_error,
)
from media_assets_tests.providers.sync_replies import reply_of

ADAPTER = FalAdapter()
DONE = Prediction(
    id=FAL_ID,
    state=State.SUCCEEDED,
    remote_state="COMPLETED",
    urls=FAL_URLS,
    reported={"inference_s": Decimal("3.2")},
)
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"

TRANSIENT = [
    ("request_timeout", 504),
    ("startup_timeout", 504),
    ("runner_scheduling_failure", 503),
    ("runner_connection_timeout", 503),
    ("runner_disconnected", 503),
    ("runner_connection_refused", 503),
    ("runner_connection_error", 503),
    ("runner_incomplete_response", 502),
    ("runner_server_error", 500),
    ("internal_error", 500),
]
FAULTS_OF_THE_REQUEST = """
    no_such_type image_too_small image_too_large image_load_error file_download_error face_detection_error
    file_too_large sequence_too_long sequence_too_short one_of feature_not_supported greater_than less_than_equal
    multiple_of unsupported_image_format audio_duration_too_long invalid_archive archive_file_count_exceeds_limit
"""


def resulting(body: Any, **headers: str) -> Prediction:
    return ADAPTER.parse(reply_of(body, 200, **headers), Asked.RESULT, DONE)


def result_error(body: Any, status: int, **headers: str) -> PurchaseError:
    return ADAPTER.parse_error(reply_of(body, status, **headers), Asked.RESULT, DONE)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (IMAGES, (Output(url=FAL_PICTURE),)),
        (VIDEO, (Output(url="https://v3.fal.media/files/b.mp4"),)),
        (AUDIO, (Output(url="https://v3.fal.media/files/c.mp3"),)),
        ({"audio": "ff" * 50, "duration_ms": 5}, (Output(data=b"\xff" * 50),)),
        ({"images": [{"url": "data:image/png;base64,iVBORw0KGgo="}]}, (Output(data=b"\x89PNG\r\n\x1a\n"),)),
        (IMAGES | {"has_nsfw_concepts": None}, (Output(url=FAL_PICTURE),)),
        (IMAGES | {"has_nsfw_concepts": []}, (Output(url=FAL_PICTURE),)),
        (IMAGES | {"has_nsfw_concepts": [False, True]}, (Output(url=FAL_PICTURE),)),
        (IMAGES | {"has_nsfw_concepts": "true"}, (Output(url=FAL_PICTURE),)),
    ],
)
def test_results(body: dict[str, Any], outputs: tuple[Output, ...]) -> None:
    prediction = resulting(body, x_fal_billable_units="1.5")

    assert (prediction.id, prediction.state, prediction.outputs) == (FAL_ID, State.SUCCEEDED, outputs)
    assert prediction.reported == {"inference_s": Decimal("3.2"), "billable_units": Decimal("1.5")}
    assert prediction.failure is None


@pytest.mark.parametrize("units", ["-1", "nan", "Infinity", "one", "", "1,5"])
def test_units_that_are_no_number_are_left_out(units: str) -> None:
    assert "billable_units" not in resulting(IMAGES, x_fal_billable_units=units).reported


@pytest.mark.parametrize("body", [{}, {"images": []}, {"images": [None]}, {"video": None}, {"images": [{}]}])
@pytest.mark.parametrize(("units", "billed"), [("1", Billed.YES), ("0", Billed.NO), ("", Billed.YES)])
def test_a_result_without_output_has_failed(body: dict[str, Any], units: str, billed: Billed) -> None:
    prediction = resulting(body, x_fal_billable_units=units)

    assert prediction.state is State.FAILED
    assert type(prediction.failure) is PredictionFailedError
    assert (prediction.failure.billed, prediction.failure.prediction_id) == (billed, FAL_ID)


def test_a_flagged_picture_was_rejected_and_is_billed() -> None:
    """Fal answers 200 with a black picture."""
    prediction = resulting(IMAGES | {"has_nsfw_concepts": [True, False]})

    assert (prediction.state, prediction.outputs) == (State.FAILED, ())
    assert type(prediction.failure) is ContentRejectedError
    assert prediction.failure.billed is Billed.YES


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        PAGE,
        [],
        [IMAGES],
        {"text": "hello"},
        {"images": "none"},
        {"images": [{"url": "a.png"}]},
        {"video": 7},
        model_error("content_policy_violation"),
        b"[" * 1000 + b"]" * 1000,
    ],
)
def test_a_result_that_cannot_be_read_is_asked_for_again(body: Any) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        resulting(body)
    error = caught.value
    assert (error.prediction_id, error.billed, error.rerun) == (FAL_ID, Billed.UNKNOWN, Rerun.RESUME)


def test_a_result_of_nobody_knows_what_is_refused() -> None:
    with pytest.raises(UnexpectedResponseError):
        ADAPTER.parse(reply_of(IMAGES), Asked.RESULT)


def _assert_asked_again(error: PurchaseError) -> ProviderUnavailableError:
    """Hold that a paid prediction is neither ended nor bought again by an answer."""
    assert isinstance(error, ProviderUnavailableError)
    assert (error.billed, error.rerun, error.prediction_id) == (Billed.UNKNOWN, Rerun.RESUME, FAL_ID)
    assert "the prediction is not lost" in error.message
    return error


@pytest.mark.parametrize(("kind", "status"), TRANSIENT)
@pytest.mark.parametrize("told", ["type", "header", "list"])
def test_a_fault_of_the_platform_is_about_the_question(kind: str, status: int, told: str) -> None:
    """Had the request ended of it, its status would have said so; another submit would pay a second time."""
    if told == "type":
        error = result_error(platform_error(kind), status, x_fal_retryable="true")
    elif told == "header":
        error = result_error(b"", status, x_fal_error_type=kind)
    else:
        error = result_error(model_error(kind), status)

    assert kind in error.message
    assert _assert_asked_again(error).if_it_lasts is None


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [{"detail": "Internal Server Error"}, {"error": "x"}, b"", PAGE])
def test_a_server_fault_is_never_the_end(status: int, body: Any) -> None:
    assert _assert_asked_again(result_error(body, status)).if_it_lasts is None


@pytest.mark.parametrize(
    ("kind", "status"),
    [("internal_server_error", 500), ("generation_timeout", 504), ("downstream_service_unavailable", 500)],
)
@pytest.mark.parametrize("retryable", ["true", "false", ""])
def test_a_models_own_fault_is_believed_once_it_lasts(kind: str, status: int, retryable: str) -> None:
    """Documented as never billed, but no proof that it was not: nothing submits it again by itself."""
    error = result_error(model_error(kind), status, x_fal_retryable=retryable, x_fal_billable_units="1")
    lasting = _assert_asked_again(error).if_it_lasts

    assert type(lasting) is PredictionFailedError
    assert (lasting.billed, lasting.rerun, lasting.prediction_id) == (Billed.NO, Rerun.NEVER, FAL_ID)
    assert kind in lasting.message


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (model_error("internal_server_error"), replace(DONE, reported={})),
        (platform_error("generation_timeout"), DONE),
        (platform_error("no_such_type"), DONE),
    ],
)
def test_a_fault_that_lasts_and_proves_nothing_is_for_a_person(body: Any, known: Prediction) -> None:
    """Nothing says that it ran, or that the model said so: it may be billed."""
    error = ADAPTER.parse_error(reply_of(body, 500), Asked.RESULT, known)
    lasting = _assert_asked_again(error).if_it_lasts

    assert type(lasting) is UnknownOutcomeError
    assert (lasting.billed, lasting.rerun, lasting.prediction_id) == (Billed.UNKNOWN, Rerun.ASK, FAL_ID)


@pytest.mark.parametrize(("kind", "status"), [("downstream_service_error", 400), ("no_media_generated", 422)])
@pytest.mark.parametrize("retryable", ["true", "false", "", "1"])
def test_a_model_s_failure_is_final_and_never_submitted_again_by_itself(kind: str, status: int, retryable: str) -> None:
    """It ran, and fal may charge for that (documentation, 2026-11-22), whatever it says of another try."""
    error = result_error(model_error(kind), status, x_fal_retryable=retryable)

    assert (type(error), error.billed, error.rerun) == (PredictionFailedError, Billed.NO, Rerun.NEVER)
    assert "on purpose" in error.message


@pytest.mark.parametrize("kind", FAULTS_OF_THE_REQUEST.split())
def test_faults_of_the_request_change_nothing_when_sent_again(kind: str) -> None:
    error = result_error(model_error(kind, "image_url"), 422, x_fal_retryable="true")

    assert (type(error), error.rerun) == (RequestRejectedError, Rerun.NEVER)
    assert f"{kind}, image_url" in error.message


@pytest.mark.parametrize("kind", ["content_policy_violation", "image_too_small", "no_media_generated"])
@pytest.mark.parametrize(
    ("units", "billed"), [("1", Billed.YES), ("0.001", Billed.YES), ("0", Billed.NO), ("", Billed.NO), ("x", Billed.NO)]
)
def test_a_validation_after_work_is_billed_only_where_units_say_so(kind: str, units: str, billed: Billed) -> None:
    error = result_error(model_error(kind, "prompt"), 422, x_fal_billable_units=units)

    assert error.billed is billed
    assert error.rerun is Rerun.NEVER


def test_what_is_billed_is_never_submitted_again_by_itself() -> None:
    headers = {"x_fal_billable_units": "1", "x_fal_retryable": "true"}
    error = result_error(model_error("no_media_generated"), 422, **headers)

    assert (error.billed, error.rerun) == (Billed.YES, Rerun.NEVER)


def test_moderation_is_known_by_its_type() -> None:
    assert type(result_error(model_error("content_policy_violation", "prompt"), 422)) is ContentRejectedError
    assert type(result_error({"detail": "content_policy_violation"}, 422)) is RequestRejectedError


@pytest.mark.parametrize("body", [b"", {"detail": "text"}, platform_error("bad_request")])
def test_errors_of_an_endpoint_that_was_not_migrated_are_final_too(body: Any) -> None:
    assert type(result_error(body, 422)) is RequestRejectedError


@pytest.mark.parametrize("body", [{"detail": "text"}, platform_error("bad_request")])
@pytest.mark.parametrize("status", [400, 409, 413])
def test_a_refusal_by_the_platform_is_believed_once_it_lasts(status: int, body: Any) -> None:
    lasting = _assert_asked_again(result_error(body, status)).if_it_lasts

    assert type(lasting) is RequestRejectedError
    assert lasting.rerun is Rerun.NEVER


@pytest.mark.parametrize(
    ("body", "headers"),
    [(platform_error("client_cancelled"), {}), (b"", {"x_fal_error_type": "client_cancelled"})],
)
def test_a_canceled_request_is_free(body: Any, headers: dict[str, str]) -> None:
    """Whether one that ran is billed is unknown; the documentation says that only successes are (2026-11-22)."""
    error = result_error(body, 499, **headers)

    assert (type(error), error.billed, error.rerun) == (PredictionFailedError, Billed.NO, Rerun.NEVER)


@pytest.mark.parametrize("body", [b"", PAGE, platform_error("client_disconnected")])
def test_that_the_asker_went_away_may_be_about_the_question(body: Any) -> None:
    assert type(_assert_asked_again(result_error(body, 499)).if_it_lasts) is PredictionFailedError


def test_a_path_that_the_app_does_not_have_is_a_model_that_is_gone() -> None:
    error = result_error({"detail": "Not Found"}, 404)

    assert (type(error), error.billed) == (ModelGoneError, Billed.NO)


def test_a_result_that_is_unknown_though_completed_is_lost() -> None:
    error = result_error({"status": "NOT_FOUND"}, 404)

    assert (type(error), error.billed, error.rerun) == (OutputLostError, Billed.YES, Rerun.ASK)
    assert error.prediction_id == FAL_ID


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, TOO_EARLY, ProviderUnavailableError),
        (400, b"", ProviderUnavailableError),
        (400, PAGE, ProviderUnavailableError),
        (404, b"", ProviderUnavailableError),
        (404, PAGE, ProviderUnavailableError),
        (408, platform_error("x"), ProviderUnavailableError),
        (425, b"", ProviderUnavailableError),
        (422, PAGE, ProviderUnavailableError),
        (502, PAGE, ProviderUnavailableError),
        (503, b"upstream connect error", ProviderUnavailableError),
        (504, PAGE, ProviderUnavailableError),
        (302, {"detail": "moved"}, ProviderUnavailableError),
        (401, {"detail": "no"}, ProviderUnavailableError),
        (402, {"detail": "pay"}, ProviderUnavailableError),
        (403, LOCKED, ProviderUnavailableError),
        (429, {"detail": "later"}, RateLimitedError),
    ],
)
def test_what_says_nothing_about_the_result_never_ends_a_paid_prediction(
    status: int, body: Any, kind: type[PurchaseError]
) -> None:
    """A completed request is paid for: an error about the key or the moment must not pass for its own."""
    error = result_error(body, status)

    assert (type(error), error.prediction_id) == (kind, FAL_ID)
    assert (error.billed, error.rerun) == (Billed.UNKNOWN, Rerun.RESUME)
    assert getattr(error, "if_it_lasts", None) is None


def test_a_refused_result_says_what_to_mend() -> None:
    assert "top up the account" in result_error(LOCKED, 403).message
    assert "check the key" in result_error({"detail": "no"}, 401).message
