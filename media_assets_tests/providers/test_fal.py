"""fal's calls and replies, as tables of values."""

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    PredictionFailedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Prediction, State
from media_assets.prompt import Scalar, Step
from media_assets.providers.base import Asked, Deadlines, HttpCall, InputFile
from media_assets.providers.fal import FalAdapter
from media_assets_tests.providers.polled_replies import (
    COMPLETED,
    FAL_ID,
    FAL_URLS,
    IN_PROGRESS,
    IN_QUEUE,
    QUEUE,
    ROOT,
    SUBMITTED,
    TIMED_OUT,
)
from media_assets_tests.providers.sync_replies import DEADLINES, reply_of, request_to

ADAPTER = FalAdapter()
KNOWN = Prediction(id=FAL_ID, state=State.RUNNING, remote_state="IN_PROGRESS", urls=FAL_URLS)
DONE = replace(KNOWN, state=State.SUCCEEDED, remote_state="COMPLETED", reported={"inference_s": Decimal("3.2")})
PAGE = b"<html><body>nginx</body></html>"
FILE = InputFile(content=b"bytes", mime="image/png", filename="ab12.png")
TOKEN = {"token": "tok.en", "token_type": "Bearer", "base_url": "https://v3.fal.media", "expires_at": "2026-01-01"}


def call_for(
    endpoint: str = "fal-ai/flux/schnell",
    *,
    params: dict[str, Scalar] | None = None,
    inputs: dict[str, str] | None = None,
    deadlines: Deadlines = DEADLINES,
    adapter: FalAdapter = ADAPTER,
) -> HttpCall:
    request = request_to("fal", endpoint, version=endpoint, params=params or {"prompt": "x"}, step=Step.IMAGE)
    return adapter.submit_call(request, inputs=inputs or {}, deadlines=deadlines)


def submitted(body: Any, adapter: FalAdapter = ADAPTER) -> Prediction:
    return adapter.parse(reply_of(body), Asked.SUBMIT)


def polled(body: Any, status: int = 200, prediction: Prediction = KNOWN, **headers: str) -> Prediction:
    return ADAPTER.parse(reply_of(body, status, **headers), Asked.STATUS, prediction)


def test_the_models_input_is_the_whole_body() -> None:
    call = call_for(params={"prompt": "a fox", "voice_setting.speed": 1.5}, inputs={"image_url": "https://x.example/a"})

    assert (call.method, call.url, call.with_key) == ("POST", f"{QUEUE}/fal-ai/flux/schnell", True)
    assert call.json_body == {
        "prompt": "a fox",
        "voice_setting": {"speed": 1.5},
        "image_url": "https://x.example/a",
    }


def test_fal_is_told_by_when_to_start_and_to_try_once() -> None:
    """Its one deadline is for the wait in the queue; a model that runs longer than it waits is no fault."""
    assert call_for(deadlines=Deadlines(queue_s=900, run_s=60)).headers == {
        "X-Fal-Request-Timeout": "900.0",
        "X-Fal-No-Retry": "1",
        "x-app-fal-disable-fallback": "true",
    }


@pytest.mark.parametrize(
    "endpoint",
    ["fal-ai/fast-sdxl", "fal-ai/minimax/hailuo-02/standard/image-to-video", "workflows/a/b", "fal-ai/kling/v2.5/pro"],
)
def test_an_app_is_submitted_with_its_sub_path(endpoint: str) -> None:
    assert call_for(endpoint).url == f"{QUEUE}/{endpoint}"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "fal-ai",
        "/fal-ai/flux",
        "fal-ai/flux/",
        "fal-ai//flux",
        "../flux",
        "fal-ai/..",
        "fal-ai/./flux",
        "fal-ai/flux?a=b",
        "fal-ai/flux#a",
        "fal-ai/flux%2f",
        "fal-ai/fl ux",
        "fal-ai/flux\n",
        "https://x.example/a",
    ],
)
def test_what_is_no_app_is_refused_before_anything_is_sent(endpoint: str) -> None:
    with pytest.raises(RequestRejectedError, match="nothing was sent") as caught:
        call_for(endpoint)
    assert (caught.value.provider, caught.value.billed) == ("fal", Billed.NO)


def test_the_bases_may_have_a_path_and_a_slash() -> None:
    base = "http://127.0.0.1:8000"
    adapter = FalAdapter(f"{base}/fal-queue/", f"{base}/fal-rest/", f"{base}/fal-api/v1/")

    assert adapter.base_urls == (f"{base}/fal-queue", f"{base}/fal-rest", f"{base}/fal-api/v1")
    assert call_for(adapter=adapter).url == f"{base}/fal-queue/fal-ai/flux/schnell"
    assert next(adapter.upload(FILE)).url.startswith(f"{base}/fal-rest/storage/")
    body = SUBMITTED | {"status_url": f"{base}/fal-queue/fal-ai/flux/requests/{FAL_ID}/status"}
    del body["response_url"], body["cancel_url"]
    assert submitted(body, adapter).urls["cancel"] == f"{base}/fal-queue/fal-ai/flux/requests/{FAL_ID}/cancel"


def test_what_the_transport_has_to_know() -> None:
    assert ADAPTER.key_env == "FAL_KEY"
    assert ADAPTER.auth_headers("id:secret") == {"Authorization": "Key id:secret"}
    assert ADAPTER.output_hosts == ("fal.media", "*.fal.media")
    assert not ADAPTER.sends_key_with_downloads
    assert ADAPTER.data_uri_max_bytes == 0


def test_a_submission_is_queued_and_keeps_its_urls() -> None:
    prediction = submitted(SUBMITTED)

    assert (prediction.id, prediction.state, prediction.remote_state) == (FAL_ID, State.QUEUED, "IN_QUEUE")
    assert prediction.queue_position == 0
    assert prediction.urls == FAL_URLS


def test_questions_go_where_the_reply_says() -> None:
    status, result, cancel = (
        question(KNOWN) for question in (ADAPTER.status_call, ADAPTER.result_call, ADAPTER.cancel_call)
    )

    assert status == HttpCall(method="GET", url=f"{ROOT}/status")
    assert result == HttpCall(method="GET", url=ROOT)
    assert cancel == HttpCall(method="PUT", url=f"{ROOT}/cancel")


def test_urls_of_another_form_are_kept_as_they_are() -> None:
    """The documentation prints them with the sub-path and an end that no client knows."""
    long = f"{QUEUE}/fal-ai/flux/schnell/requests/{FAL_ID}"
    urls = {"status_url": f"{long}/status", "response_url": f"{long}/response", "cancel_url": f"{long}/cancel"}

    assert submitted(SUBMITTED | urls).urls == {
        "status": f"{long}/status",
        "result": f"{long}/response",
        "cancel": f"{long}/cancel",
    }


@pytest.mark.parametrize("kept", ["status_url", "response_url", "cancel_url"])
@pytest.mark.parametrize(
    ("app", "short"),
    [
        ("fal-ai/flux", "fal-ai/flux"),
        ("fal-ai/flux/schnell", "fal-ai/flux"),
        ("fal-ai/minimax/hailuo-02/standard/image-to-video", "fal-ai/minimax"),
        ("workflows/a/b", "workflows/a/b"),
        ("comfy/a/b/c", "comfy/a/b"),
    ],
)
def test_missing_urls_are_built_as_the_official_clients_do(kept: str, app: str, short: str) -> None:
    ends = {"status_url": "/status", "response_url": "", "cancel_url": "/cancel"}
    given = f"{QUEUE}/{app}/requests/{FAL_ID}{ends[kept]}"
    urls = submitted({"request_id": FAL_ID, kept: given}).urls

    root = f"{QUEUE}/{short}/requests/{FAL_ID}"
    built = {"status": f"{root}/status", "result": root, "cancel": f"{root}/cancel"}
    name = {"status_url": "status", "response_url": "result", "cancel_url": "cancel"}[kept]
    assert urls == built | {name: given}


@pytest.mark.parametrize("urls", [{}, {"status_url": None}, {"status_url": 7, "response_url": ["x"]}])
def test_without_any_url_the_id_is_kept_and_nobody_can_be_asked(urls: dict[str, Any]) -> None:
    prediction = submitted({"request_id": FAL_ID, "status": "IN_QUEUE"} | urls)

    assert (prediction.id, prediction.urls) == (FAL_ID, {})
    assert ADAPTER.status_call(prediction) is None
    assert ADAPTER.result_call(prediction) is None
    assert ADAPTER.cancel_call(prediction) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/fal-ai/flux/requests/1/status",
        "http://queue.fal.run/fal-ai/flux/requests/1/status",
        "https://queue.fal.run:8443/fal-ai/flux/requests/1/status",
        "https://queue.fal.run.evil.example/requests/1",
        "https://queue.fal.run@evil.example/requests/1",
        "https://evil.example@queue.fal.run/requests/1",
        "https://queue.fal.run\\@evil.example/requests/1",
        "https://evil.example\\@queue.fal.run/requests/1",
        "https://queue.fal.run\n.evil.example/requests/1",
        "https://queue.fal.run/requests/1 x",
        "https://queue.fal.run/requests/\u00e9",
        "https://queue.fal.run:port/requests/1",
        "https://[queue.fal.run/requests/1",
        "https://rest.fal.ai/requests/1",
        "//queue.fal.run/requests/1",
        "/fal-ai/flux/requests/1/status",
        "ftp://queue.fal.run/requests/1",
        "https:///requests/1",
        "https://queue.fal.run/" + "a" * 2_000,
    ],
)
@pytest.mark.parametrize("name", ["status_url", "response_url", "cancel_url"])
def test_urls_that_lead_elsewhere_are_refused_and_the_id_is_kept(url: str, name: str) -> None:
    with pytest.raises(UnexpectedResponseError, match="not fal's own") as caught:
        submitted(SUBMITTED | {name: url})
    assert caught.value.prediction_id == FAL_ID
    assert "evil" not in caught.value.message


def test_the_same_address_may_be_written_in_another_way() -> None:
    urls = submitted(SUBMITTED | {"status_url": f"https://QUEUE.fal.run:443/a/b/requests/{FAL_ID}/status"}).urls

    assert urls["status"] == f"https://QUEUE.fal.run:443/a/b/requests/{FAL_ID}/status"


def test_urls_are_kept_without_what_might_be_a_signature() -> None:
    """They are stored, and nothing that is stored may be secret."""
    urls = submitted(SUBMITTED | {"status_url": f"{ROOT}/status?token=canary#x", "response_url": f"{ROOT}#?a"}).urls

    assert urls == FAL_URLS


@pytest.mark.parametrize("request_id", ["a/b", "a?b", "..", "é"])
def test_no_url_is_built_from_an_odd_id(request_id: str) -> None:
    given = f"{QUEUE}/fal-ai/flux/requests/{FAL_ID}/status"

    assert submitted({"request_id": request_id, "status_url": given}).urls == {"status": given}


@pytest.mark.parametrize(
    "body", [{}, {"request_id": None}, {"request_id": ""}, {"request_id": ["a"]}, [], b"", b"null", PAGE, [SUBMITTED]]
)
def test_a_submit_without_an_id_is_undecided(body: Any) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        submitted(body)
    error = caught.value
    assert (error.prediction_id, error.billed, error.rerun) == (None, Billed.UNKNOWN, Rerun.ASK)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({name: value for name, value in SUBMITTED.items() if name != "status"}, State.QUEUED),
        (SUBMITTED | {"status": "IN_PROGRESS"}, State.RUNNING),
        (SUBMITTED | {"status": "COMPLETED"}, State.SUCCEEDED),
        (SUBMITTED | {"status": "OK"}, State.UNKNOWN),
        (SUBMITTED | {"status": None}, State.UNKNOWN),
        (SUBMITTED | {"status": 7}, State.UNKNOWN),
        (SUBMITTED | {"gateway_request_id": "x", "queue_position": "first"}, State.QUEUED),
    ],
)
def test_a_submit_with_an_id_is_a_submission_whatever_else_is_odd(body: dict[str, Any], state: State) -> None:
    prediction = submitted(body)

    assert (prediction.id, prediction.state, prediction.urls) == (FAL_ID, state, FAL_URLS)


@pytest.mark.parametrize(
    ("body", "http_status", "state", "position"),
    [
        (IN_QUEUE, 202, State.QUEUED, 2),
        (IN_PROGRESS, 202, State.RUNNING, None),
        (COMPLETED, 200, State.SUCCEEDED, None),
        (COMPLETED | {"error": None, "error_type": None}, 200, State.SUCCEEDED, None),
        (COMPLETED | {"error": "", "error_type": ""}, 200, State.SUCCEEDED, None),
        (IN_QUEUE, 200, State.QUEUED, 2),
        (IN_PROGRESS | {"error": "a warning"}, 202, State.RUNNING, None),
        (IN_QUEUE | {"queue_position": None}, 202, State.QUEUED, None),
        (IN_QUEUE | {"queue_position": -1}, 202, State.QUEUED, None),
        (IN_QUEUE | {"queue_position": True}, 202, State.QUEUED, None),
        (IN_QUEUE | {"queue_position": "2"}, 202, State.QUEUED, None),
        (IN_QUEUE | {"queue_position": 10**40}, 202, State.QUEUED, None),
        ({"status": "IN_QUEUE"}, 202, State.QUEUED, None),
        (IN_QUEUE | {"status": "FAILED"}, 200, State.UNKNOWN, None),
        (IN_QUEUE | {"status": "completed"}, 200, State.UNKNOWN, None),
        (IN_QUEUE | {"status": "CANCELLED"}, 200, State.UNKNOWN, None),
    ],
)
def test_states(body: dict[str, Any], http_status: int, state: State, position: int | None) -> None:
    prediction = polled(body, http_status)

    assert (prediction.state, prediction.remote_state) == (state, body["status"])
    assert (prediction.queue_position, prediction.failure, prediction.outputs) == (position, None, ())
    assert prediction.urls == FAL_URLS


@pytest.mark.parametrize(
    ("metrics", "reported"),
    [
        ({"inference_time": 3.2}, {"inference_s": Decimal("3.2")}),
        ({"inference_time": math.nan}, {}),
        (None, {}),
        (7, {}),
    ],
)
def test_the_time_it_took_is_reported(metrics: Any, reported: Mapping[str, Decimal]) -> None:
    assert polled(COMPLETED | {"metrics": metrics}).reported == reported


@pytest.mark.parametrize(
    "body",
    [{}, {"status": None}, {"status": 7}, {"status": ""}, IN_QUEUE | {"request_id": "another"}, [], b"", PAGE],
)
def test_a_status_that_cannot_be_read_keeps_the_id(body: Any) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        polled(body)
    assert (caught.value.prediction_id, caught.value.rerun) == (FAL_ID, Rerun.RESUME)


def test_completed_is_not_the_end() -> None:
    """Only the result says whether anything was made."""
    prediction = polled(COMPLETED)

    assert (prediction.state, prediction.outputs) == (State.SUCCEEDED, ())
    assert ADAPTER.result_call(prediction) is not None


def test_completed_with_an_error_has_failed() -> None:
    prediction = polled(TIMED_OUT)

    assert prediction.state is State.FAILED
    assert type(prediction.failure) is PredictionFailedError
    assert prediction.failure.billed is Billed.NO
    assert "Request timed out" in prediction.failure.message
    assert "request_timeout" in prediction.failure.message


@pytest.mark.parametrize("body", [{"status": "CANCELLATION_REQUESTED"}, b"", {}, PAGE, {"status": "IN_QUEUE"}])
def test_an_accepted_cancel_changes_nothing_yet(body: Any) -> None:
    """What runs may ignore it, complete, and be billed."""
    assert ADAPTER.parse(reply_of(body, 202), Asked.CANCEL, KNOWN) is KNOWN
