"""Replicate's calls and replies, as tables of values."""

import math
from collections.abc import Generator
from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    OutputLostError,
    PredictionFailedError,
    PurchaseError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Scalar, Step
from media_assets.providers.base import Asked, Deadlines, HttpCall, HttpReply, InputFile, Part
from media_assets.providers.replicate import ReplicateAdapter
from media_assets_tests.providers.polled_replies import (
    ABORTED,
    CANCELED,
    CLIP,
    FAILED,
    FILE,
    ID,
    PICTURE,
    PROCESSING,
    REMOVED,
    REPLICATE,
    SPARSE,
    STARTING,
    SUCCEEDED,
    VERSION,
)
from media_assets_tests.providers.sync_replies import DEADLINES, reply_of, request_to

ADAPTER = ReplicateAdapter()
KNOWN = Prediction(id=ID, state=State.RUNNING)
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def call_for(
    endpoint: str = "stability-ai/sdxl",
    version: str = VERSION,
    *,
    params: dict[str, Scalar] | None = None,
    inputs: dict[str, str] | None = None,
    deadlines: Deadlines = DEADLINES,
    adapter: ReplicateAdapter = ADAPTER,
) -> HttpCall:
    request = request_to("replicate", endpoint, version=version, params=params or {"prompt": "x"}, step=Step.IMAGE)
    return adapter.submit_call(request, inputs=inputs or {}, deadlines=deadlines)


def parsed(body: Any, asked: Asked = Asked.STATUS, prediction: Prediction | None = KNOWN) -> Prediction:
    return ADAPTER.parse(reply_of(body), asked, None if asked is Asked.SUBMIT else prediction)


def failure_of(body: Any) -> PurchaseError:
    failure = parsed(body).failure
    assert failure is not None
    return failure


def test_a_version_is_submitted_to_predictions() -> None:
    call = call_for(params={"prompt": "a fox", "width": 1024})

    assert (call.method, call.url) == ("POST", f"{REPLICATE}/predictions")
    assert call.json_body == {"version": VERSION, "input": {"prompt": "a fox", "width": 1024}}
    assert call.headers == {"Cancel-After": "60s"}
    assert call.with_key


def test_an_official_model_is_submitted_by_its_name() -> None:
    call = call_for("black-forest-labs/flux-1.1_pro", "official", params={"prompt": "a fox"})

    assert call.url == f"{REPLICATE}/models/black-forest-labs/flux-1.1_pro/predictions"
    assert call.json_body == {"input": {"prompt": "a fox"}}


def test_input_files_are_parameters_and_names_with_dots_are_objects() -> None:
    call = call_for(params={"a.b": 1, "a.c": 2}, inputs={"input_image": "data:image/png;base64,AA==", "a.d": "u"})

    assert call.json_body is not None
    assert call.json_body["input"] == {"a": {"b": 1, "c": 2, "d": "u"}, "input_image": "data:image/png;base64,AA=="}


@pytest.mark.parametrize(
    ("deadline_s", "header"), [(60, "60s"), (180.0, "180s"), (90.9, "90s"), (5, "5s"), (4.99, "5s"), (0.1, "5s")]
)
def test_the_deadline_is_sent_in_whole_seconds_and_never_for_longer_than_asked(deadline_s: float, header: str) -> None:
    assert call_for(deadlines=Deadlines(queue_s=900, run_s=deadline_s)).headers["Cancel-After"] == header


@pytest.mark.parametrize(
    ("endpoint", "version"),
    [
        ("sdxl", VERSION),
        ("a/b/c", VERSION),
        ("a/", "official"),
        ("/b", "official"),
        ("../b", "official"),
        ("a/..", "official"),
        ("a/.", "official"),
        ("a/b?c", "official"),
        ("a/b#c", "official"),
        ("a/b%2f", "official"),
        ("a/b\n", "official"),
        ("a b/c", "official"),
        ("ä/b", "official"),
        ("a/b", "Official"),
        ("a/b", ""),
        ("a/b", VERSION[:-1]),
        ("a/b", VERSION.upper()),
        ("a/b", VERSION + "\n"),
        ("a/b", f"a/b:{VERSION}"),
    ],
)
def test_what_is_no_model_of_replicate_is_refused_before_anything_is_sent(endpoint: str, version: str) -> None:
    with pytest.raises(RequestRejectedError, match="nothing was sent") as caught:
        call_for(endpoint, version)
    assert (caught.value.provider, caught.value.billed) == ("replicate", Billed.NO)


@pytest.mark.parametrize("end", ["", "/"])
def test_the_base_may_have_a_path_and_a_slash(end: str) -> None:
    base = "http://127.0.0.1:8000/replicate/v1"
    adapter = ReplicateAdapter(base_url=base + end)

    assert adapter.base_urls == (base,)
    assert call_for(adapter=adapter).url == f"{base}/predictions"
    assert adapter.status_call(KNOWN).url == f"{base}/predictions/{ID}"


def test_what_the_transport_has_to_know() -> None:
    assert ADAPTER.key_env == "REPLICATE_API_TOKEN"
    assert ADAPTER.auth_headers("r8_x") == {"Authorization": "Bearer r8_x"}
    assert ADAPTER.output_hosts == ("replicate.delivery", "*.replicate.delivery")
    assert ADAPTER.sends_key_with_downloads
    assert ADAPTER.data_uri_max_bytes == 256_000
    assert ADAPTER.result_call(KNOWN) is None


def test_questions_are_built_from_the_id() -> None:
    """Whatever the reply's ``urls`` say: a prediction read again from the ledger has none."""
    status, cancel = ADAPTER.status_call(KNOWN), ADAPTER.cancel_call(KNOWN)

    assert (status.method, status.url) == ("GET", f"{REPLICATE}/predictions/{ID}")
    assert (cancel.method, cancel.url) == ("POST", f"{REPLICATE}/predictions/{ID}/cancel")
    assert cancel.json_body is None


@pytest.mark.parametrize("odd", ["a/b", "..", "a?b", "a#b", "a%2f", "a b", "", "ä", "a\n", "x" * 101])
def test_an_id_that_would_lead_elsewhere_is_never_asked_about(odd: str) -> None:
    prediction = Prediction(id=odd, state=State.RUNNING)

    for question in (ADAPTER.status_call, ADAPTER.cancel_call):
        with pytest.raises(UnexpectedResponseError) as caught:
            question(prediction)
        assert (caught.value.prediction_id or "") == odd


@pytest.mark.parametrize(
    ("body", "state", "remote"),
    [
        (SPARSE, State.QUEUED, "starting"),
        (STARTING, State.QUEUED, "starting"),
        (PROCESSING, State.RUNNING, "processing"),
        (SUCCEEDED, State.SUCCEEDED, "succeeded"),
        (FAILED, State.FAILED, "failed"),
        (CANCELED, State.CANCELED, "canceled"),
        (ABORTED, State.CANCELED, "aborted"),
        (STARTING | {"status": "paused"}, State.UNKNOWN, "paused"),
        (STARTING | {"status": "Starting"}, State.UNKNOWN, "Starting"),
        (STARTING | {"status": "x" * 500}, State.UNKNOWN, "x" * 99 + "…"),
        (STARTING | {"status": "a\ud800b"}, State.UNKNOWN, "a b"),
    ],
)
@pytest.mark.parametrize("asked", [Asked.SUBMIT, Asked.STATUS, Asked.CANCEL])
def test_states(body: dict[str, Any], state: State, remote: str, asked: Asked) -> None:
    prediction = parsed(body, asked)

    assert (prediction.id, prediction.state, prediction.remote_state) == (ID, state, remote)
    assert (prediction.failure is not None) == (state in {State.FAILED, State.CANCELED})
    assert bool(prediction.outputs) == (state is State.SUCCEEDED)


def test_an_unknown_state_is_waited_for() -> None:
    assert not parsed(STARTING | {"status": "paused"}).state.is_final


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ([PICTURE], [PICTURE]),
        ([PICTURE, CLIP], [PICTURE, CLIP]),
        (CLIP, [CLIP]),
        ({"video": CLIP}, [CLIP]),
        ([None, PICTURE], [PICTURE]),
    ],
)
def test_outputs(output: Any, expected: list[str]) -> None:
    assert parsed(SUCCEEDED | {"output": output}).outputs == tuple(Output(url=url) for url in expected)


def test_outputs_may_come_inside_the_reply() -> None:
    """In wait mode, that is; we never ask for it, but a gateway may."""
    prediction = parsed(SUCCEEDED | {"output": ["data:image/png;base64,iVBORw0KGgo="]}, Asked.SUBMIT)

    assert prediction.outputs == (Output(data=b"\x89PNG\r\n\x1a\n"),)


def test_output_before_the_end_is_not_the_end() -> None:
    """With ``Prefer: wait``, a reply may say processing and hold the output already."""
    prediction = parsed(PROCESSING | {"output": [PICTURE]})

    assert (prediction.state, prediction.outputs, prediction.failure) == (State.RUNNING, (), None)


@pytest.mark.parametrize("output", [None, [], [None], "", {}])
def test_a_success_without_output_has_failed_and_is_billed(output: Any) -> None:
    prediction = parsed(SUCCEEDED | {"output": output})

    assert prediction.state is State.FAILED
    assert type(prediction.failure) is PredictionFailedError
    assert (prediction.failure.billed, prediction.failure.prediction_id) == (Billed.YES, ID)
    assert prediction.reported["compute_s"] == Decimal("5.524512")


def test_a_sparse_success_without_output_has_failed_too() -> None:
    assert type(failure_of(SPARSE | {"status": "succeeded"})) is PredictionFailedError


@pytest.mark.parametrize("output", [None, [], [None]])
def test_a_deleted_output_is_lost_and_billed(output: Any) -> None:
    prediction = parsed(REMOVED | {"output": output})

    assert prediction.state is State.FAILED
    assert type(prediction.failure) is OutputLostError
    assert (prediction.failure.billed, prediction.failure.rerun) == (Billed.YES, Rerun.ASK)


def test_an_output_that_is_there_counts_even_if_data_was_removed() -> None:
    assert parsed(SUCCEEDED | {"data_removed": True}).outputs == (Output(url=PICTURE),)


@pytest.mark.parametrize("output", ["The answer is 42", ["a", "b"], 7, {"text": "x"}, "data:image/png;base64,x", True])
def test_an_unreadable_output_is_unexpected_and_billed(output: Any) -> None:
    with pytest.raises(UnexpectedResponseError, match="output cannot be read") as caught:
        parsed(SUCCEEDED | {"output": output})
    error = caught.value
    assert (error.prediction_id, error.billed, error.rerun) == (ID, Billed.YES, Rerun.RESUME)


@pytest.mark.parametrize(
    ("logs", "progress"),
    [
        (PROCESSING["logs"], 0.34),
        ("", None),
        (None, None),
        (7, None),
        ("100%|##########| 50/50", 1.0),
        ("120%|##", 1.0),
        (" 50%|#####     | 1/2\nloading 99% done", 0.5),
        (" 10%|# | 1/10" + "\n" + "x" * 10_000, None),
        ("x" * 1_000_000 + " 70%|#######   |", 0.7),
        ("1234567%|", None),
    ],
)
def test_progress_is_the_last_bar_in_the_logs(logs: Any, progress: float | None) -> None:
    assert parsed(PROCESSING | {"logs": logs}).progress == progress


def test_progress_is_told_of_running_predictions_only() -> None:
    assert parsed(SUCCEEDED).progress is None
    assert parsed(STARTING | {"logs": PROCESSING["logs"]}).progress is None


@pytest.mark.parametrize(
    ("metrics", "reported"),
    [
        ({"predict_time": 5.524512, "total_time": 5.6}, {"compute_s": "5.524512", "total_s": "5.6"}),
        ({"predict_time": 3e-06}, {"compute_s": "0.000003"}),
        ({"predict_time": 7}, {"compute_s": "7"}),
        ({"predict_time": "7.25"}, {"compute_s": "7.25"}),
        ({"predict_time": 0}, {"compute_s": "0"}),
        ({"predict_time": 0.1}, {"compute_s": "0.1"}),
        ({"predict_time": -1, "total_time": 2}, {"total_s": "2"}),
        ({"predict_time": math.nan}, {}),
        ({"predict_time": math.inf}, {}),
        ({"predict_time": True}, {}),
        ({"predict_time": None}, {}),
        ({"predict_time": [1]}, {}),
        ({"predict_time": 10**13}, {}),
        ({"predict_time": 1e300}, {}),
        ({"predict_time": "١"}, {}),
        ({}, {}),
        (None, {}),
        ("fast", {}),
    ],
)
def test_what_was_used_is_reported_exactly(metrics: Any, reported: dict[str, str]) -> None:
    used = parsed(SUCCEEDED | {"metrics": metrics}).reported

    assert used == {name: Decimal(amount) for name, amount in reported.items()}
    assert all(isinstance(amount, Decimal) for amount in used.values())


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (SPARSE | {"status": None}, ID),
        (SPARSE | {"status": 7}, ID),
        (SPARSE | {"status": ""}, ID),
        (SPARSE | {"status": ["starting"]}, ID),
        ({"id": ID}, ID),
        ({"id": 123}, "123"),
        (SPARSE | {"id": "a/b"}, "a/b"),
        ({"id": "x" * 300, "status": None}, "x" * 199 + "…"),
        ({"id": "a\ud800"}, "a"),
        ({}, None),
        ({"id": None, "status": "starting"}, None),
        ({"id": "", "status": "starting"}, None),
        ({"id": True, "status": "starting"}, None),
        ({"id": ["a"], "status": "starting"}, None),
        ([SPARSE], None),
        (b"", None),
        (b"null", None),
        (b"OK", None),
        (PAGE, None),
        (b'{"id": "gm3q', None),
        (b"[" * 1000 + b"]" * 1000, None),
    ],
)
def test_a_submit_that_cannot_be_read_keeps_whatever_id_there_is(body: Any, kept: str | None) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        parsed(body, Asked.SUBMIT)
    error = caught.value
    assert (error.prediction_id, error.billed, error.provider) == (kept, Billed.UNKNOWN, "replicate")
    assert error.rerun is (Rerun.ASK if kept is None else Rerun.RESUME)


@pytest.mark.parametrize("body", [{}, [], b"", PAGE, {"status": 7}, SPARSE | {"id": "another"}, {"id": ID}])
def test_a_status_that_cannot_be_read_keeps_the_id(body: Any) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        parsed(body)
    assert (caught.value.prediction_id, caught.value.rerun) == (ID, Rerun.RESUME)


def test_a_status_need_not_repeat_the_id() -> None:
    assert parsed({"status": "processing"}).id == ID


@pytest.mark.parametrize("body", [b"", {}, [], PAGE, {"status": 7}, SPARSE | {"id": "another"}])
def test_a_cancel_that_cannot_be_read_changes_nothing(body: Any) -> None:
    """The state is asked for next, whatever came."""
    assert parsed(body, Asked.CANCEL) is KNOWN


def test_a_cancel_may_be_answered_with_the_old_state() -> None:
    assert parsed(PROCESSING, Asked.CANCEL).state is State.RUNNING


def uploaded(steps: Generator[HttpCall, HttpReply, str], *replies: HttpReply) -> str:
    try:
        next(steps)
        for reply in replies:
            steps.send(reply)
    except StopIteration as end:
        return str(end.value)
    message = "the upload goes on"
    raise AssertionError(message)


def test_an_upload_is_one_part() -> None:
    steps = ADAPTER.upload(InputFile(content=b"bytes", mime="image/png", filename="ab12.png"))
    call = next(steps)

    assert (call.method, call.url, call.with_key) == ("POST", f"{REPLICATE}/files", True)
    assert call.parts == (Part(name="content", content=b"bytes", content_type="image/png", filename="ab12.png"),)
    with pytest.raises(StopIteration) as end:
        steps.send(reply_of(FILE, 201))
    assert end.value.value == f"{REPLICATE}/files/file1"


@pytest.mark.parametrize(
    "body", [b"", {}, {"urls": None}, {"urls": {"get": None}}, {"urls": {"get": "x"}}, {"urls": "x"}, [], PAGE]
)
def test_an_upload_without_a_url_has_failed(body: Any) -> None:
    with pytest.raises(UnexpectedResponseError):
        uploaded(ADAPTER.upload(InputFile(content=b"x", mime="image/png", filename="a.png")), reply_of(body, 201))


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(UnexpectedResponseError, match="not over HTTP"):
        ADAPTER.parse("text", Asked.SUBMIT)
