"""ElevenLabs' speech: where it is asked, and what is read."""

from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from media_assets.errors import (
    Billed,
    PredictionFailedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.prompt import Scalar
from media_assets.providers.base import Asked, HttpCall, HttpReply
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets_tests.providers.sync_replies import (
    DEADLINES,
    MP3,
    TIMESTAMPS,
    elevenlabs_error,
    elevenlabs_old_error,
    reply_of,
    request_to,
)

ADAPTER = ElevenLabsAdapter()
ENDPOINT = "v1/text-to-speech/{voice_id}?output_format={output_format}"
PARAMS: dict[str, Scalar] = {
    "voice_id": "21m00Tcm4TlvDq8ikWAM",
    "output_format": "mp3_44100_128",
    "text": "Hello, {voice_id}.",
    "voice_settings.stability": 0.5,
    "voice_settings.use_speaker_boost": True,
    "seed": 7,
}


def call_of(
    params: dict[str, Scalar], endpoint: str = ENDPOINT, base_url: str = "https://api.elevenlabs.io"
) -> HttpCall:
    request = request_to("elevenlabs", endpoint, version="eleven_multilingual_v2", params=params)
    return ElevenLabsAdapter(base_url).submit_call(request, inputs={}, deadlines=DEADLINES)


def parsed(reply: HttpReply) -> Prediction:
    return ADAPTER.parse(reply, Asked.SUBMIT)


def test_fields_of_the_endpoint_leave_the_body() -> None:
    call = call_of(PARAMS)

    assert call.method == "POST"
    assert call.url == ("https://api.elevenlabs.io/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM?output_format=mp3_44100_128")
    assert call.json_body == {
        "text": "Hello, {voice_id}.",
        "voice_settings": {"stability": 0.5, "use_speaker_boost": True},
        "seed": 7,
        "model_id": "eleven_multilingual_v2",
    }
    assert not call.headers
    assert call.with_key


def test_a_base_with_a_prefix_and_a_slash() -> None:
    call = call_of(PARAMS, base_url="http://127.0.0.1:9/elevenlabs/")

    assert call.url.startswith("http://127.0.0.1:9/elevenlabs/v1/text-to-speech/21m00")
    assert ElevenLabsAdapter("http://127.0.0.1:9/elevenlabs/").base_urls == ("http://127.0.0.1:9/elevenlabs",)


def test_a_field_may_stand_before_the_end_and_numbers_are_written_plainly() -> None:
    endpoint = "v1/text-to-speech/{voice_id}/with-timestamps?enable_logging={log}&seed={seed}"

    call = call_of({"voice_id": "v", "log": False, "seed": 7, "text": "x"}, endpoint)

    assert call.url.endswith("/v1/text-to-speech/v/with-timestamps?enable_logging=false&seed=7")
    assert call.json_body == {"text": "x", "model_id": "eleven_multilingual_v2"}


@pytest.mark.parametrize(
    "voice",
    [
        "a/b",
        "a?x=1",
        "a#b",
        "a b",
        "a%2F..",
        "ä",
        "a&b=c",
        "@host",
        "{output_format}",
        "{voice_id}",
        "a..b",
        "...",
        "a;b",
    ],
)
def test_a_voice_stays_one_step_of_the_path(voice: str) -> None:
    """A voice id is typed by a user: it may be wrong, but it must not ask for something else."""
    parts = urlsplit(call_of(PARAMS | {"voice_id": voice}).url)

    assert parts.hostname == "api.elevenlabs.io"
    assert parts.path.count("/") == 3
    assert unquote(parts.path) == f"/v1/text-to-speech/{voice}"
    assert (parts.query, parts.fragment) == ("output_format=mp3_44100_128", "")


def test_a_value_stays_one_item_of_the_query() -> None:
    parts = urlsplit(call_of(PARAMS | {"output_format": "a&b=c#d/../e?f"}).url)

    assert parts.query == "output_format=a%26b%3Dc%23d%2F..%2Fe%3Ff"


@pytest.mark.parametrize(
    "voice",
    ["", ".", "..", "../history", "a/../../v1/music", "a/..", "..\\history", "/v", "v/", "a\nb", "a\0b", "\ud800"],
    ids=ascii,
)
def test_a_voice_that_leads_elsewhere_is_refused_before_anything_is_sent(voice: str) -> None:
    """Servers that decode a path before they resolve it would read a quoted ``..`` as a step up."""
    with pytest.raises(RequestRejectedError) as caught:
        call_of(PARAMS | {"voice_id": voice})

    caught.value.message.encode()
    assert "voice_id" in caught.value.message
    assert caught.value.billed is Billed.NO


def test_a_missing_field_is_refused() -> None:
    params = {name: value for name, value in PARAMS.items() if name != "output_format"}

    with pytest.raises(RequestRejectedError, match="output_format"):
        call_of(params)


def test_the_key_has_a_header_of_its_own() -> None:
    assert ADAPTER.auth_headers("k") == {"xi-api-key": "k"}
    assert ElevenLabsAdapter.key_env == "ELEVENLABS_API_KEY"
    assert ElevenLabsAdapter.output_hosts == ()


def test_there_is_nothing_to_ask_after_the_submit() -> None:
    prediction = Prediction(id="r", state=State.SUCCEEDED)

    assert ADAPTER.status_call(prediction) is None
    assert ADAPTER.result_call(prediction) is None
    assert ADAPTER.cancel_call(prediction) is None


def test_sound_with_its_id_and_cost() -> None:
    headers = {"content_type": "audio/mpeg", "request_id": "a1B2", "character_cost": "27"}

    assert parsed(reply_of(MP3, 200, **headers)) == Prediction(
        id="a1B2",
        state=State.SUCCEEDED,
        outputs=(Output(data=MP3),),
        reported={"character_cost": Decimal(27)},
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"request_id": "r1", "history_item_id": "h1"}, "r1"),
        ({"history_item_id": "h1"}, "h1"),
        ({"request_id": "no id!", "history_item_id": "h1"}, "h1"),
    ],
    ids=["request", "history", "odd request"],
)
def test_the_id_is_the_best_that_is_there(headers: dict[str, str], expected: str) -> None:
    assert parsed(reply_of(MP3, 200, **{"content_type": "audio/mpeg"} | headers)).id == expected


def test_without_an_id_there_is_a_digest() -> None:
    found = parsed(reply_of(MP3, content_type="audio/mpeg")).id

    assert found == parsed(reply_of(MP3, content_type="audio/mpeg")).id
    assert found.startswith("reply-")


@pytest.mark.parametrize(
    ("cost", "expected"),
    [("27", 27), ("0", 0), ("13.5", Decimal("13.5")), (" 4 ", 4)],
    ids=["whole", "zero", "half", "spaces"],
)
def test_the_cost_is_read(cost: str, expected: Decimal) -> None:
    reported = parsed(reply_of(MP3, content_type="audio/mpeg", character_cost=cost)).reported

    assert reported == {"character_cost": Decimal(expected)}


@pytest.mark.parametrize("cost", ["-1", "nan", "inf", "1e999999999", "", "many", "1" * 5000, "١٢"], ids=ascii)
def test_a_cost_that_makes_no_sense_is_left_out(cost: str) -> None:
    prediction = parsed(reply_of(MP3, content_type="audio/mpeg", character_cost=cost))

    assert (prediction.state, prediction.reported) == (State.SUCCEEDED, {})


def test_sound_out_of_json() -> None:
    prediction = parsed(reply_of(TIMESTAMPS, request_id="r", character_cost="2"))

    assert prediction.outputs == (Output(data=MP3),)
    assert (prediction.id, prediction.reported) == ("r", {"character_cost": Decimal(2)})


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html", b"<html>Bad gateway</html>"),
        ("audio/mpeg", b"<html>Bad gateway</html>"),
        ("audio/mpeg", b'\xef\xbb\xbf {"detail": "la\xe2\x80\x8bte'),
        ("audio/mpeg", b"<" + "é".encode() * 3000),
        ("text/plain", MP3),
        ("video/mp4", MP3),
        ("application/json", b'{"audio_base64": "AAA'),
        ("application/json", b'{"audio_base64": "AA=!=AAAA"}'),
        ("application/json", b'{"audio_base64": 5}'),
        ("application/json", b'{"audio_base64": ""}'),
        ("application/json", b'{"detail": null}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"audio_base64": "AA=="}\n{"audio_base64": "AA=="}\n'),
        ("audio/mpeg", b""),
        ("", b""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_page_or_nothing_is_no_success(content_type: str, body: bytes) -> None:
    with pytest.raises(UnexpectedResponseError) as caught:
        parsed(reply_of(body, content_type=content_type, request_id="r1"))

    error = caught.value
    assert (error.prediction_id, error.billed, error.rerun) == ("r1", Billed.UNKNOWN, Rerun.ASK)


@pytest.mark.parametrize("body", [b"", {"audio_base64": ""}], ids=["empty", "empty in JSON"])
def test_nothing_that_cost_something_is_a_billed_failure(body: Any) -> None:
    prediction = parsed(reply_of(body, content_type="application/json", request_id="r1", character_cost="40"))

    assert (prediction.id, prediction.state, prediction.outputs) == ("r1", State.FAILED, ())
    assert isinstance(prediction.failure, PredictionFailedError)
    assert prediction.failure.billed is Billed.YES
    assert prediction.reported == {"character_cost": Decimal(40)}


@pytest.mark.parametrize(
    "body",
    [
        elevenlabs_error("internal_error", "late"),
        elevenlabs_old_error("internal_error", "late"),
        {"detail": "late"},
        {"detail": [{"loc": ["body", "text"], "msg": "late", "type": "x"}]},
    ],
    ids=["object", "old object", "text", "list"],
)
@pytest.mark.parametrize("content_type", ["application/json", "audio/mpeg"])
def test_an_error_with_status_200_is_no_success(body: Any, content_type: str) -> None:
    prediction = parsed(reply_of(body, content_type=content_type, request_id="r1"))

    assert (prediction.id, prediction.state) == ("r1", State.FAILED)
    assert prediction.failure is not None
    assert "late" in prediction.failure.message
    assert prediction.failure.billed is Billed.UNKNOWN


def test_what_is_no_reply_is_refused() -> None:
    with pytest.raises(UnexpectedResponseError):
        ADAPTER.parse("text", Asked.SUBMIT)
