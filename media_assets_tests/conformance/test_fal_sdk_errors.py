"""The official ``fal-client`` package 1.0.3 against the simulator: every error body, as the package's own exception."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import fal_client.client
import pytest
from fal_client import Completed, FalClientHTTPError, FalClientTimeoutError, InProgress, SyncClient

from media_assets.simulator.server import Simulator
from media_assets_tests.conformance.conftest import Fail
from media_assets_tests.conformance.fal_sdk import open_client

SCHNELL = "fal-ai/flux/schnell"
BARN = {"prompt": "a red barn", "image_size": {"width": 320, "height": 256}}
TRIES = 10
"""How often the package sends what it takes for a passing fault."""


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[SyncClient]:
    with open_client(simulator) as one:
        yield one


@pytest.fixture(autouse=True)
def _short_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tries take almost a minute otherwise; what is sent stays as it is."""
    monkeypatch.setattr(fal_client.client, "BASE_DELAY", 0.0001)


class Refusal(NamedTuple):
    """A fault, and what the package tells of it."""

    fault: str
    status: int
    said: str
    error_type: str | None = None
    posts: int = 1


REFUSALS = [
    Refusal("400", 400, "Bad request", "bad_request"),
    Refusal("insufficient_credit", 403, "User is locked. Reason: Exhausted balance."),
    Refusal("retired_404", 404, "Application 'schnell' not found"),
    Refusal("429_header", 429, "You have reached the concurrent requests", "concurrent_requests_limit", TRIES),
    Refusal("429_body", 429, "You have reached the concurrent requests", "concurrent_requests_limit", TRIES),
    Refusal("noexec_500", 500, "Internal server error", "internal_error"),
    Refusal("noexec_503", 503, "No runner could be scheduled", "runner_scheduling_failure"),
    Refusal("exec_and_503_nginx", 503, "<html>", None, TRIES),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: one.fault)
def test_a_refused_submission_is_the_packages_own_error(
    client: SyncClient, fail: Fail, posts: Callable[[], int], refusal: Refusal
) -> None:
    fail(refusal.fault)
    with pytest.raises(FalClientHTTPError) as refused:
        client.submit(SCHNELL, BARN)

    assert refused.value.status_code == refusal.status
    assert refused.value.message.startswith(refusal.said)
    assert refused.value.error_type == refusal.error_type
    assert posts() == refusal.posts


@pytest.mark.parametrize("key", ["simulated:invalid", "no-colon"])
def test_a_bad_key_is_unauthenticated(simulator: Simulator, key: str) -> None:
    with open_client(simulator, key) as client, pytest.raises(FalClientHTTPError) as refused:
        client.submit(SCHNELL, BARN)

    assert refused.value.status_code == 401
    assert isinstance(refused.value.message, str)


def failure_of(client: SyncClient, model: str, given: dict[str, Any], **more: Any) -> FalClientHTTPError:
    """Submit, wait, and return what the result raises."""
    handle = client.submit(model, given, **more)
    with pytest.raises(FalClientHTTPError) as failed:
        handle.get(interval=0.005)
    assert failed.value.response_headers["x-fal-request-id"] == handle.request_id
    return failed.value


@pytest.mark.parametrize(
    ("model", "given", "loc", "type_"),
    [
        (SCHNELL, {}, ["body", "prompt"], "missing"),
        (SCHNELL, {"prompt": "x", "num_inference_steps": 99}, ["body", "num_inference_steps"], "less_than_equal"),
        (SCHNELL, {"prompt": "x", "output_format": "tiff"}, ["body", "output_format"], "one_of"),
        (
            "fal-ai/stable-video",
            {"image_url": "https://no.invalid/x"},
            ["body", "image_url"],
            "file_download_error",
        ),
        ("fal-ai/stable-video", {"image_url": "data:image/png;base64,AAAA"}, ["body", "image_url"], "image_load_error"),
    ],
)
def test_a_models_own_error_is_a_list_that_says_where(
    client: SyncClient, model: str, given: dict[str, Any], loc: list[str], type_: str
) -> None:
    failed = failure_of(client, model, given)

    assert failed.status_code == 422
    detail: Any = failed.message
    assert [(one["loc"], one["type"]) for one in detail] == [(loc, type_)]
    assert all(one["msg"] and one["url"].endswith(type_) for one in detail)


@pytest.mark.parametrize("fault", ["content_rejected", "moderation_after_run"])
def test_moderation_is_a_models_own_error(client: SyncClient, fail: Fail, fault: str) -> None:
    fail(fault)
    failed = failure_of(client, SCHNELL, BARN)

    assert (failed.status_code, failed.error_type) == (422, "content_policy_violation")
    detail: Any = failed.message
    assert [one["type"] for one in detail] == ["content_policy_violation"]


def test_a_runners_failure_is_a_sentence_and_shows_in_the_status(client: SyncClient, fail: Fail) -> None:
    """COMPLETED does not mean that it went well."""
    fail("run_failed")
    handle = client.submit(SCHNELL, BARN)
    *_, status = handle.iter_events(interval=0.005)
    with pytest.raises(FalClientHTTPError, match="Runner failed") as failed:
        handle.get()

    assert isinstance(status, Completed)
    assert (status.error, status.error_type) == ("Runner failed to process the request", "runner_server_error")
    assert (failed.value.status_code, failed.value.error_type) == (500, "runner_server_error")
    assert failed.value.response_headers["x-fal-retryable"] == "true"


def test_what_does_not_start_in_time_is_a_timeout_of_the_users(client: SyncClient, fail: Fail) -> None:
    fail("queue_stuck")
    failed = failure_of(client, SCHNELL, BARN, start_timeout=1.5)

    assert (failed.status_code, failed.error_type) == (504, "request_timeout")
    assert failed.response_headers["x-fal-request-timeout-type"] == "user"


def test_the_result_of_a_canceled_request_is_its_cancellation(client: SyncClient, fail: Fail) -> None:
    fail("run_stuck")
    handle = client.submit(SCHNELL, BARN)
    handle.cancel()
    with pytest.raises(FalClientHTTPError) as canceled:
        handle.get()

    assert (canceled.value.status_code, canceled.value.error_type) == (499, "client_cancelled")


def test_a_late_cancel_and_an_unknown_request_say_so(client: SyncClient) -> None:
    handle = client.submit(SCHNELL, BARN)
    handle.get(interval=0.005)
    with pytest.raises(FalClientHTTPError, match="ALREADY_COMPLETED") as late:
        handle.cancel()
    assert late.value.status_code == 400
    for ask in (client.status, client.result, client.cancel):
        with pytest.raises(FalClientHTTPError, match="NOT_FOUND") as unknown:
            ask(SCHNELL, "00000000-0000-0000-0000-000000000000")
        assert unknown.value.status_code == 404


def test_the_package_rejects_a_status_it_does_not_know(client: SyncClient, fail: Fail) -> None:
    handle = client.submit(SCHNELL, BARN)
    fail("unknown_status", call="poll")
    with pytest.raises(ValueError, match="Unknown status"):
        handle.status()


def test_a_client_that_waits_no_longer_cancels(client: SyncClient, fail: Fail, simulator: Simulator) -> None:
    fail("run_stuck")
    with pytest.raises(FalClientTimeoutError) as late:
        client.subscribe(SCHNELL, BARN, client_timeout=1.01, interval=0.01)

    job = simulator.world.queues["fal"].get(late.value.request_id or "")
    assert job is not None
    assert job.state == "canceled"


def test_a_question_is_asked_again_where_a_gateway_failed(client: SyncClient, fail: Fail) -> None:
    handle = client.submit(SCHNELL, BARN)
    fail("429_header", call="poll", times=2)
    assert isinstance(handle.status(), Completed | InProgress)
    fail("exec_and_drop", call="result", times=2)
    assert handle.get(interval=0.005)["images"]
