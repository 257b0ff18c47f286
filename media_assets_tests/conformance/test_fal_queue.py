"""fal's queue: every reply of the simulator, to our adapter's calls, against the schema in ``fal_queue_schema.py``."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from media_assets.prediction import Prediction
from media_assets.providers.base import Asked, HttpCall
from media_assets.simulator.media import picture
from media_assets.simulator.server import Simulator
from media_assets_tests.conformance import fal_queue_schema
from media_assets_tests.conformance.conftest import Fail, Record
from media_assets_tests.conformance.judged_queue import SCHNELL, Queue
from media_assets_tests.conformance.our_requests import call_of, drafted, paid_models, requests_of
from media_assets_tests.conftest import SAMPLE


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as one:
        yield one


@pytest.fixture
def queue(simulator: Simulator, http: httpx.Client) -> Queue:
    return Queue(simulator, http)


def test_every_state_of_every_request_we_can_make(queue: Queue, record_property: Record) -> None:
    """The edges of every parameter of the catalog's fal models, submitted, asked about, and completed well."""
    url = queue.upload(picture((1024, 576), "image/png", 5))
    calls = [call_of(queue.adapter, spec, request, url) for spec in paid_models("fal") for request in requests_of(spec)]
    waiting = [queue.submit(call) for call in calls]
    for known in waiting:
        queue.ask(Asked.STATUS, known, "?logs=1")
    queue.simulator.world.clock.advance(600)
    statuses = [queue.ask(Asked.STATUS, known, "?logs=true") for known in waiting]

    assert {(status, body["status"]) for status, body in statuses} == {(200, "COMPLETED")}
    jobs = [queue.simulator.world.queues["fal"].get(known.id) for known in waiting]
    assert [job.data.failure for job in jobs if job is not None and job.data.failure] == []
    assert {queue.ask(Asked.CANCEL, known)[0] for known in waiting} == {400}
    record_property(SAMPLE, f"{len(calls)} requests to fal, {queue.replies} replies of its queue")


@pytest.mark.parametrize("fault", ["400", "insufficient_credit", "retired_404", "429_body", "noexec_500", "noexec_503"])
def test_a_refused_submission(queue: Queue, fail: Fail, fault: str) -> None:
    fail(fault)
    queue.send(call_of(queue.adapter, SCHNELL, drafted(SCHNELL).request, ""), "submit")

    assert queue.replies == 1


def test_a_submission_without_a_key(queue: Queue) -> None:
    call = call_of(queue.adapter, SCHNELL, drafted(SCHNELL).request, "")
    bare = HttpCall(method=call.method, url=call.url, json_body=call.json_body, with_key=False)

    assert queue.send(bare, "submit").status == 401


@pytest.mark.parametrize(
    ("fault", "status", "error_type"),
    [
        ("content_rejected", 422, None),
        ("moderation_after_run", 422, None),
        ("run_failed", 500, "runner_server_error"),
        ("queue_stuck", 504, "request_timeout"),
    ],
)
def test_a_failure_in_the_status_and_in_the_result(
    queue: Queue, fail: Fail, fault: str, status: int, error_type: str | None
) -> None:
    fail(fault)
    known = queue.submit()
    queue.simulator.world.clock.advance(SCHNELL.queue_deadline_s)

    assert queue.ask(Asked.STATUS, known)[1].get("error_type") == error_type
    assert queue.ask(Asked.RESULT, known)[0] == status


@pytest.mark.parametrize("fault", ["queue_stuck", "run_stuck"])
def test_what_is_canceled_while_it_waits_or_runs(queue: Queue, fail: Fail, fault: str) -> None:
    fail(fault)
    known = queue.submit()

    assert queue.ask(Asked.STATUS, known)[0] == 202
    assert queue.ask(Asked.RESULT, known) == (400, {"detail": "Request is still in progress"})
    assert queue.ask(Asked.CANCEL, known)[0] == 202
    assert queue.ask(Asked.STATUS, known)[1]["error_type"] == "client_cancelled"
    assert queue.ask(Asked.RESULT, known)[0] == 499


@pytest.mark.parametrize("asked", [Asked.STATUS, Asked.RESULT, Asked.CANCEL])
def test_an_unknown_request(queue: Queue, asked: Asked) -> None:
    known = queue.submit()
    urls = {name: url.replace(known.id, "nobody") for name, url in known.urls.items()}
    stranger = Prediction(id="nobody", state=known.state, urls=urls)

    assert queue.ask(asked, stranger)[0] == 404


SUBMITTED = {
    "request_id": "r",
    "response_url": "https://queue.fal.run/fal-ai/flux/requests/r",
    "status_url": "https://queue.fal.run/fal-ai/flux/requests/r/status",
    "cancel_url": "https://queue.fal.run/fal-ai/flux/requests/r/cancel",
    "queue_position": 0,
}
RUNNING = {"status": "IN_PROGRESS", "request_id": "r", "response_url": SUBMITTED["response_url"], "logs": None}


@pytest.mark.parametrize(
    ("call", "status", "body"),
    [
        ("submit", 200, {**SUBMITTED, "queue_position": "0"}),
        ("submit", 200, {**SUBMITTED, "status_url": SUBMITTED["cancel_url"]}),
        ("submit", 201, SUBMITTED),
        ("status", 200, RUNNING),
        ("status", 202, {**RUNNING, "status": "FAILED"}),
        ("status", 202, {name: value for name, value in RUNNING.items() if name != "logs"}),
        ("status", 202, {**RUNNING, "progress": 0.5}),
        ("result", 422, {"detail": "a sentence"}),
        ("result", 422, {"detail": []}),
        ("cancel", 200, {"status": "CANCELLATION_REQUESTED"}),
    ],
)
def test_a_reply_that_fal_never_gives_is_noticed(call: str, status: int, body: Any) -> None:
    """A schema that cannot be broken holds nothing."""
    assert fal_queue_schema.faults("submit", 200, SUBMITTED) == []
    assert fal_queue_schema.faults("status", 202, RUNNING) == []
    assert fal_queue_schema.faults(call, status, body)
