"""OpenAI's pictures and plain speech: what is sent, what is read, and what a reply without an output costs."""

from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    PredictionFailedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Scalar, Step
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.openai import OpenAIAdapter
from media_assets_tests.providers.sync_replies import (
    DEADLINES,
    IMAGES,
    MP3,
    PNG,
    base64_of,
    openai_error,
    reply_of,
    request_to,
)

ADAPTER = OpenAIAdapter()


def parsed(reply: HttpReply) -> Prediction:
    return ADAPTER.parse(reply, Asked.SUBMIT)


def unreadable(reply: HttpReply) -> UnexpectedResponseError:
    with pytest.raises(UnexpectedResponseError) as caught:
        parsed(reply)
    return caught.value


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/images/generations"),
        ("http://127.0.0.1:8080/openai/v1/", "http://127.0.0.1:8080/openai/v1/images/generations"),
    ],
)
def test_the_request_is_the_parameters_and_the_model(base_url: str, url: str) -> None:
    params: dict[str, Scalar] = {"prompt": "a lighthouse", "n": 1, "size": "1024x1024", "model": "something else"}
    request = request_to("openai", "images/generations", version="gpt-image-2", params=params, step=Step.IMAGE)

    call = OpenAIAdapter(base_url=base_url).submit_call(request, inputs={}, deadlines=DEADLINES)

    assert (call.method, call.url) == ("POST", url)
    assert call.json_body == {"prompt": "a lighthouse", "n": 1, "size": "1024x1024", "model": "gpt-image-2"}
    assert call.with_key
    assert not call.headers


def test_dotted_parameters_become_objects_and_inputs_are_merged() -> None:
    params = {"input": "Hello.", "voice.id": "voice_1", "stream_format": "sse"}
    request = request_to("openai", "audio/speech", version="gpt-4o-mini-tts", params=params)

    call = ADAPTER.submit_call(request, inputs={"image_ref": "data:image/png;base64,AA=="}, deadlines=DEADLINES)

    assert call.json_body == {
        "input": "Hello.",
        "voice": {"id": "voice_1"},
        "stream_format": "sse",
        "image_ref": "data:image/png;base64,AA==",
        "model": "gpt-4o-mini-tts",
    }


def test_the_key_is_a_bearer_token_for_one_address() -> None:
    assert ADAPTER.auth_headers("sk-1") == {"Authorization": "Bearer sk-1"}
    assert OpenAIAdapter("http://localhost:1/p/").base_urls == ("http://localhost:1/p",)
    assert OpenAIAdapter.key_env == "OPENAI_API_KEY"
    assert OpenAIAdapter.output_hosts == ()


def test_there_is_nothing_to_ask_after_the_submit() -> None:
    prediction = Prediction(id="req_1", state=State.SUCCEEDED)

    assert ADAPTER.status_call(prediction) is None
    assert ADAPTER.result_call(prediction) is None
    assert ADAPTER.cancel_call(prediction) is None


def test_pictures_are_bytes_with_the_tokens_they_took() -> None:
    prediction = parsed(reply_of(IMAGES, x_request_id="req_abc"))

    assert prediction == Prediction(
        id="req_abc",
        state=State.SUCCEEDED,
        outputs=(Output(data=PNG),),
        reported={
            "text_in_tokens": Decimal(12),
            "image_in_tokens": Decimal(0),
            "image_out_tokens": Decimal(1056),
        },
    )


def test_several_pictures_and_older_urls() -> None:
    """Models until 2026 gave URLs; a hole in the list is skipped, not counted."""
    data = [{"b64_json": base64_of(PNG), "revised_prompt": "x"}, None, {"url": "https://images.example/1.png?sig=1"}]

    outputs = parsed(reply_of(IMAGES | {"data": data})).outputs

    assert outputs == (Output(data=PNG), Output(url="https://images.example/1.png?sig=1"))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, {}),
        ("many", {}),
        ({}, {}),
        ({"input_tokens": 50, "output_tokens": 60}, {"text_in_tokens": 50, "image_out_tokens": 60}),
        (
            {"output_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}},
            {"text_in_tokens": 10, "image_in_tokens": 40, "image_out_tokens": 50},
        ),
        (
            {"output_tokens": 60, "output_tokens_details": {"image_tokens": 50, "text_tokens": 10}},
            {"image_out_tokens": 50},
        ),
        ({"input_tokens": True, "output_tokens": -1}, {}),
        ({"input_tokens": float("nan"), "output_tokens": float("inf")}, {}),
        ({"input_tokens": [1], "output_tokens": 10**30, "input_tokens_details": [], "output_tokens_details": 1}, {}),
    ],
    ids=[
        "none",
        "text",
        "empty",
        "no details",
        "documented example",
        "text out too",
        "no counts",
        "no numbers",
        "wrong types",
    ],
)
def test_usage_is_read_as_far_as_it_makes_sense(usage: Any, expected: dict[str, int]) -> None:
    """A picture that was paid for is not thrown away over a strange count."""
    prediction = parsed(reply_of(IMAGES | {"usage": usage}))

    assert prediction.outputs == (Output(data=PNG),)
    assert prediction.reported == {name: Decimal(count) for name, count in expected.items()}


@pytest.mark.parametrize("data", [[], None, [None], [{}], [{"b64_json": None}]], ids=str)
def test_no_picture_is_a_failure_that_was_billed(data: Any) -> None:
    prediction = parsed(reply_of(IMAGES | {"data": data}, x_request_id="req_1"))

    assert prediction.state is State.FAILED
    assert prediction.outputs == ()
    assert isinstance(prediction.failure, PredictionFailedError)
    assert (prediction.failure.billed, prediction.failure.prediction_id) == (Billed.YES, "req_1")
    assert prediction.reported["image_out_tokens"] == 1056


def test_no_picture_and_no_usage_is_for_a_person_to_settle() -> None:
    error = unreadable(reply_of({"created": 1}, x_request_id="req_1"))

    assert (error.billed, error.rerun, error.prediction_id) == (Billed.UNKNOWN, Rerun.ASK, "req_1")


@pytest.mark.parametrize(
    "body",
    [
        {"data": {}},
        {"data": "x"},
        {"data": [{"b64_json": "no base64!"}]},
        {"data": [{"b64_json": 5}]},
        {"data": [{"url": "file:///etc/passwd"}]},
        {"data": [{"url": 5}]},
        {"data": [7]},
        [],
        {},
    ],
    ids=str,
)
def test_a_strange_success_keeps_its_id(body: Any) -> None:
    error = unreadable(reply_of(body, x_request_id="req_1"))

    assert (error.provider, error.prediction_id) == ("openai", "req_1")
    assert (error.billed, error.rerun) == (Billed.UNKNOWN, Rerun.ASK)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b"<!DOCTYPE html><html><body>Bad gateway</body></html>"),
        ("audio/mpeg", b"<!DOCTYPE html><html><body>Bad gateway</body></html>"),
        ("audio/mpeg", b'{"error": "late"}'),
        ("application/octet-stream", b'{"error": {"message": "cut o'),
        ("text/plain", MP3),
        ("image/png", PNG),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"data": ['),
        ("audio/mpeg", b""),
        ("text/event-stream", b""),
        ("", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_page_or_nothing_is_no_success(content_type: str, body: bytes) -> None:
    error = unreadable(reply_of(body, content_type=content_type, x_request_id="req_1"))

    assert (error.prediction_id, error.billed) == ("req_1", Billed.UNKNOWN)


@pytest.mark.parametrize("content_type", ["audio/mpeg", "application/octet-stream", "AUDIO/WAV; rate=1", ""])
def test_sound_as_it_is(content_type: str) -> None:
    prediction = parsed(reply_of(MP3, content_type=content_type, x_request_id="req_1"))

    assert (prediction.state, prediction.outputs, prediction.reported) == (State.SUCCEEDED, (Output(data=MP3),), {})


def test_raw_samples_that_begin_like_json_are_sound() -> None:
    """PCM has no header: its first sample may look like any character."""
    samples = b"{\x01<\x00" * 3000

    assert parsed(reply_of(samples, content_type="audio/pcm")).outputs == (Output(data=samples),)


def test_an_error_with_status_200_is_no_success() -> None:
    prediction = parsed(reply_of(openai_error("late"), x_request_id="req_1"))

    assert prediction.state is State.FAILED
    assert prediction.failure is not None
    assert "late" in prediction.failure.message


@pytest.mark.parametrize("header", ["", " ", "a b", "é", "x" * 201, "../x", "a\nb"], ids=ascii)
def test_without_a_usable_header_the_id_is_a_digest(header: str) -> None:
    first = parsed(reply_of(MP3, content_type="audio/mpeg", x_request_id=header)).id

    assert first.startswith("reply-")
    assert len(first) == len("reply-") + 16
    assert parsed(reply_of(MP3, content_type="audio/mpeg", x_request_id=header)).id == first


def test_equal_bytes_of_two_purchases_have_two_ids() -> None:
    """A gateway may answer two takes with the same sound and no request id; the ledger wants an id for each."""
    one = parsed(reply_of(MP3, content_type="audio/mpeg", date="Tue, 24 Nov 2026 10:00:00 GMT"))
    other = parsed(reply_of(MP3, content_type="audio/mpeg", date="Tue, 24 Nov 2026 10:00:07 GMT"))
    longer = parsed(reply_of(MP3 * 100 + b"\0", content_type="audio/mpeg"))
    longest = parsed(reply_of(MP3 * 100 + b"\0\0", content_type="audio/mpeg"))

    assert len({one.id, other.id, longer.id, longest.id}) == 4


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(UnexpectedResponseError):
        ADAPTER.parse("text", Asked.SUBMIT)
