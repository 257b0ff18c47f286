"""What can go wrong at the simulated fal, and who pays for it."""

import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from PIL import Image, ImageStat

from media_assets_tests.simulator.asking import Asking, asking

KEY = {"Authorization": "Key simulated:key"}
RUN_S = 10.0
SCHNELL = "/fal-ai/flux/schnell"


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    options = {"time_scale": 1.0, "latency_s": {"fal": (RUN_S, RUN_S)}, "at_once": {"fal": 1}}
    with asking("/fal-queue", KEY, **options) as one:
        yield one


@pytest.fixture
def fal(shared: Asking) -> Iterator[Asking]:
    shared.begin()
    yield shared
    shared.begin()
    shared.advance(10 * RUN_S)  # whatever still runs or waits ends


def _submit(fal: Asking, query: str = "", **headers: str) -> dict[str, Any]:
    reply = fal.client.post(SCHNELL + query, json={"prompt": "a boat"}, headers=headers)
    assert reply.status_code == 200, reply.text
    submitted: dict[str, Any] = reply.json()
    return submitted


def _ended(fal: Asking, submitted: dict[str, Any]) -> tuple[dict[str, Any], httpx.Response]:
    fal.advance(RUN_S + 1)
    status = fal.client.get(submitted["status_url"])
    assert status.status_code == 200
    return status.json(), fal.client.get(submitted["response_url"])


@pytest.mark.parametrize(("fault", "ran_s"), [("content_rejected", 0.0), ("moderation_after_run", RUN_S)])
def test_rejected_content_is_told_by_the_result_alone(fal: Asking, fault: str, ran_s: float) -> None:
    fal.fault(fault)

    status, result = _ended(fal, _submit(fal))

    assert (status["status"], status["metrics"]["inference_time"]) == ("COMPLETED", ran_s)
    assert "error" not in status
    (entry,) = result.json()["detail"]
    assert (result.status_code, entry["type"], entry["input"]) == (422, "content_policy_violation", "a boat")
    assert result.headers["X-Fal-Retryable"] == "false"
    assert fal.owed_usd() == 0


def test_a_runner_that_fails_is_told_by_the_status_too_and_is_free(fal: Asking) -> None:
    fal.fault("run_failed")

    status, result = _ended(fal, _submit(fal))

    assert (status["status"], status["error_type"]) == ("COMPLETED", "runner_server_error")
    assert (result.status_code, result.json()["detail"], result.json()["error_type"]) == (
        500,
        status["error"],
        "runner_server_error",
    )
    assert result.headers["X-Fal-Error-Type"] == "runner_server_error"
    assert fal.owed_usd() == 0


def test_a_start_deadline_that_passes_is_the_clients_own(fal: Asking) -> None:
    running = _submit(fal)
    waiting = _submit(fal, **{"X-Fal-Request-Timeout": "5.0"})
    patient = _submit(fal, **{"X-Fal-Request-Timeout": "30.0"})

    status, result = _ended(fal, waiting)

    assert (status["status"], status["error_type"]) == ("COMPLETED", "request_timeout")
    assert (result.status_code, result.headers["X-Fal-Request-Timeout-Type"]) == (504, "user")
    assert fal.client.get(running["response_url"]).status_code == 200
    assert fal.client.get(patient["status_url"]).json()["status"] == "IN_PROGRESS"


@pytest.mark.parametrize("position", [0, 1])
def test_a_cancel_ends_a_request_for_nothing(fal: Asking, position: int) -> None:
    """Running or waiting, the reply is the same, and so is the result."""
    both = [_submit(fal), _submit(fal)]
    fal.advance(1)

    first = fal.client.put(both[position]["cancel_url"])
    again = fal.client.put(both[position]["cancel_url"])
    status, result = _ended(fal, both[position])

    assert (first.status_code, first.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
    assert (again.status_code, again.json()) == (400, {"status": "ALREADY_COMPLETED"})
    assert (status["status"], status["error_type"]) == ("COMPLETED", "client_cancelled")
    assert (result.status_code, result.json()["error_type"]) == (499, "client_cancelled")
    assert Decimal(fal.billed()[position]["usd"]) == 0
    assert fal.client.put("/fal-ai/flux/requests/none/cancel").status_code == 404


def test_a_cancel_can_lose_the_race(fal: Asking) -> None:
    fal.fault("cancel_race")
    submitted = _submit(fal)

    reply = fal.client.put(submitted["cancel_url"])
    status, result = _ended(fal, submitted)

    assert (reply.status_code, status["status"], result.status_code) == (202, "COMPLETED", 200)
    assert fal.owed_usd() == Decimal("0.003")


def test_a_full_queue_can_be_refused(fal: Asking) -> None:
    _submit(fal)
    _submit(fal)

    full = fal.client.post(SCHNELL + "?fal_max_queue_length=1", json={"prompt": "x"})
    _submit(fal, "?fal_max_queue_length=2")

    assert full.status_code == 429
    assert len(fal.submissions()) == 3


@pytest.mark.parametrize(("fault", "status"), [("queue_stuck", "IN_QUEUE"), ("run_stuck", "IN_PROGRESS")])
def test_a_request_can_be_stuck_until_it_is_canceled(fal: Asking, fault: str, status: str) -> None:
    fal.fault(fault)
    submitted = _submit(fal)
    fal.advance(1e5)

    stuck = fal.client.get(submitted["status_url"])
    fal.client.put(submitted["cancel_url"])

    assert (stuck.status_code, stuck.json()["status"]) == (202, status)
    assert fal.client.get(submitted["status_url"]).json()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("insufficient_credit", 403, "Exhausted balance"),
        ("400", 400, "Bad request"),
        ("retired_404", 404, "not found"),
        ("noexec_503", 503, "No runner"),
        ("429_header", 429, "concurrent requests"),
    ],
)
def test_a_refused_submission_is_not_accepted(fal: Asking, fault: str, status: int, said: str) -> None:
    fal.fault(fault)

    reply = fal.client.post(SCHNELL, json={"prompt": "a boat"})

    assert reply.status_code == status
    assert said in reply.json()["detail"]
    assert reply.headers["x-fal-request-id"]
    assert fal.submissions() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"'])
def test_what_is_no_object_is_refused(fal: Asking, body: bytes) -> None:
    assert fal.client.post(SCHNELL, content=body).status_code == 400
    assert fal.submissions() == []


def test_an_unknown_model_is_not_found(fal: Asking) -> None:
    assert fal.client.post("/fal-ai/playai/tts/v3", json={"prompt": "x"}).status_code == 404
    assert fal.submissions() == []


def test_a_request_can_be_unknown_right_after_it_was_made(fal: Asking) -> None:
    submitted = _submit(fal)
    fal.fault("404_after_create", times=2, call="poll")

    statuses = [fal.client.get(submitted["status_url"]).status_code for _ in range(3)]

    assert statuses == [404, 404, 202]


def test_a_status_can_be_new_to_the_world(fal: Asking) -> None:
    submitted = _submit(fal)
    fal.fault("unknown_status", times=1)

    told = [fal.client.get(submitted["status_url"]).json()["status"] for _ in range(2)]

    assert told == ["HIBERNATING", "IN_PROGRESS"]


def test_the_result_can_be_garbage_though_the_status_was_fine(fal: Asking) -> None:
    """The second GET is a call of its own, and fails on its own."""
    submitted = _submit(fal)
    fal.fault("2xx_garbage", call="result")

    status, result = _ended(fal, submitted)

    assert status["status"] == "COMPLETED"
    with pytest.raises(ValueError, match=r"Expecting|decode|Invalid"):
        result.json()


def test_a_model_can_break_without_a_word_in_the_status(fal: Asking) -> None:
    """What is wrong with the platform is in the status; what is wrong with the model only in its answer, a list."""
    fal.fault("run_failed", value="model")
    submitted = _submit(fal)

    status, result = _ended(fal, submitted)

    assert (status["status"], "error" in status) == ("COMPLETED", False)
    assert status["metrics"]["inference_time"] > 0
    assert (result.status_code, result.json()["detail"][0]["type"]) == (500, "internal_server_error")
    assert fal.owed_usd() == 0


def test_a_passing_fault_can_look_like_the_model_s_own(fal: Asking) -> None:
    fal.fault("noexec_503", call="result", value="model", times=1)
    submitted = _submit(fal)

    _, broken = _ended(fal, submitted)
    result = fal.client.get(submitted["response_url"])

    assert (broken.status_code, broken.headers["x-fal-error-type"]) == (503, "downstream_service_unavailable")
    assert result.status_code == 200
    assert fal.owed_usd() == Decimal("0.003")


def test_a_black_picture_is_a_success_that_says_so(fal: Asking) -> None:
    """The safety checker blackens pictures; the only word of it is a flag. It is paid for."""
    fal.fault("black_output")

    _, result = _ended(fal, _submit(fal))

    made = result.json()
    image = Image.open(io.BytesIO(httpx.get(made["images"][0]["url"]).content))
    assert made["has_nsfw_concepts"] == [True]
    assert max(ImageStat.Stat(image.convert("L")).mean) == 0
    assert fal.owed_usd() == Decimal("0.003")


def test_an_output_url_can_be_anything(fal: Asking) -> None:
    fal.fault("output_url", value="file:///etc/passwd")

    _, result = _ended(fal, _submit(fal))

    assert [image["url"] for image in result.json()["images"]] == ["file:///etc/passwd"]


def test_an_upload_can_fail_on_the_way(fal: Asking) -> None:
    token = fal.client.post(f"{fal.simulator.url}/fal-rest/storage/auth/token", json={}).json()
    fal.fault("exec_and_500", call="upload")

    reply = httpx.post(
        f"{token['base_url']}/files/upload", content=b"x", headers={"Authorization": f"Bearer {token['token']}"}
    )

    assert reply.status_code == 500
