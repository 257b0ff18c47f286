"""OpenAI's stream of speech events: whole, cut, broken, or with an error inside."""

from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    PredictionFailedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.openai import OpenAIAdapter
from media_assets_tests.providers.sync_replies import (
    DONE,
    MP3,
    STREAM,
    delta,
    event,
    openai_error,
    reply_of,
)

ADAPTER = OpenAIAdapter()
EVENTS = "text/event-stream; charset=utf-8"


def parsed(reply: HttpReply) -> Prediction:
    return ADAPTER.parse(reply, Asked.SUBMIT)


def unreadable(reply: HttpReply) -> UnexpectedResponseError:
    with pytest.raises(UnexpectedResponseError) as caught:
        parsed(reply)
    return caught.value


def sse(text: str | bytes, content_type: str = EVENTS) -> HttpReply:
    body = text.encode() if isinstance(text, str) else text
    return reply_of(body, content_type=content_type, x_request_id="req_1")


@pytest.mark.parametrize(
    "stream",
    [
        STREAM,
        b"\xef\xbb\xbf" + STREAM,
        STREAM.replace(b"\n", b"\r\n"),
        STREAM.replace(b"\n", b"\r"),
        STREAM.replace(b"data: ", b"data:"),
        STREAM.removesuffix(b"\n\n"),
        b": keep-alive\n\n" + STREAM + b"data: [DONE]\n\n",
        b"retry: 10\nid: 7\n" + STREAM,
        event({"type": "speech.audio.later", "note": "a\u2028b"}).encode() + STREAM,
        STREAM.replace(b'{"type": "speech.audio.delta",', b'{"type": "speech.audio.delta",\ndata:'),
        "".join(
            event({key: value for key, value in one.items() if key != "type"}, name=str(one["type"]))
            for one in (delta(MP3), DONE)
        ).encode(),
    ],
    ids=[
        "plain",
        "byte order mark",
        "CRLF",
        "CR",
        "no space",
        "no last line end",
        "comments and end mark",
        "other fields",
        "unknown event",
        "data in two lines",
        "type as the event's name",
    ],
)
def test_speech_events_are_put_together(stream: bytes) -> None:
    prediction = parsed(sse(stream))

    assert (prediction.id, prediction.state) == ("req_1", State.SUCCEEDED)
    assert prediction.outputs == (Output(data=MP3),)
    assert prediction.reported == {"text_in_tokens": Decimal(14), "audio_out_tokens": Decimal(101)}


def test_speech_events_are_known_by_their_form_when_a_gateway_hides_their_type() -> None:
    assert parsed(sse(STREAM, content_type="text/plain")).outputs == (Output(data=MP3),)


@pytest.mark.parametrize("cut", range(0, len(STREAM) - 2, 37))
def test_a_cut_stream_is_never_a_success(cut: int) -> None:
    """Half a sentence sounds whole to a program; its price is paid all the same."""
    error = unreadable(sse(STREAM[:cut]))

    assert "ended before speech.audio.done" in error.message or not cut
    assert (error.billed, error.rerun, error.prediction_id) == (Billed.UNKNOWN, Rerun.ASK, "req_1")


@pytest.mark.parametrize(
    "broken",
    [
        event({"type": "speech.audio.delta"}) + event(DONE),
        event({"type": "speech.audio.delta", "audio": 5}) + event(DONE),
        event({"type": "speech.audio.delta", "audio": "***"}) + event(DONE),
        event({"type": "speech.audio.delta", "audio": "é"}) + event(DONE),
        event([1]) + event(DONE),
        "data: {cut\n\n" + event(DONE),
        "data: " + "[" * 100_000 + "\n\n" + event(DONE),
    ],
    ids=["no audio", "number", "no base64", "no ASCII", "list", "no JSON", "deep"],
)
def test_a_broken_stream_is_unreadable(broken: str) -> None:
    assert unreadable(sse(broken)).prediction_id == "req_1"


def test_a_whole_stream_without_sound_is_a_billed_failure() -> None:
    prediction = parsed(sse(event(DONE)))

    assert (prediction.state, prediction.outputs) == (State.FAILED, ())
    assert prediction.failure is not None
    assert prediction.failure.billed is Billed.YES


def test_a_stream_without_usage_keeps_its_sound() -> None:
    prediction = parsed(sse(event(delta(MP3)) + event({"type": "speech.audio.done"})))

    assert (prediction.outputs, prediction.reported) == ((Output(data=MP3),), {})


@pytest.mark.parametrize(
    ("error_event", "expected"),
    [
        (openai_error("The server had an error", "server_error"), PredictionFailedError),
        ({"type": "error", "message": "late"}, PredictionFailedError),
        ({"error": "late"}, PredictionFailedError),
        (openai_error("blocked", code="moderation_blocked"), ContentRejectedError),
    ],
    ids=["server", "event", "text", "moderation"],
)
@pytest.mark.parametrize(("finish", "billed"), [("", Billed.UNKNOWN), (event(DONE), Billed.YES)], ids=["cut", "done"])
def test_an_error_inside_a_stream_may_be_billed(error_event: Any, expected: type, finish: str, billed: Billed) -> None:
    prediction = parsed(sse(event(delta(MP3)) + event(error_event) + finish))

    assert (prediction.id, prediction.state, prediction.outputs) == ("req_1", State.FAILED, ())
    assert type(prediction.failure) is expected
    assert prediction.failure is not None
    assert prediction.failure.billed is billed
