"""What the simulated OpenAI takes and refuses before it does anything."""

from collections.abc import Iterator
from typing import Any

import pytest

from media_assets_tests.simulator.asking import Asking, asking
from media_assets_tests.simulator.openai_asked import IMAGE, IMAGES, KEY, SPEECH, VOICE, error_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    with asking("/openai/v1", KEY) as one:
        yield one


@pytest.fixture
def openai(shared: Asking) -> Asking:
    shared.begin()
    return shared


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", "empty_string"),
        ({"prompt": "a" * 32_001}, "prompt", "string_above_max_length"),
        ({"prompt": ["a"]}, "prompt", "invalid_type"),
        ({"n": 11}, "n", "integer_above_max_value"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"size": "1000x1000"}, "size", "invalid_value"),
        ({"size": "4096x1024"}, "size", "invalid_value"),
        ({"size": "3840x3840"}, "size", "invalid_value"),
        ({"size": "1024x256"}, "size", "invalid_value"),
        ({"size": "big"}, "size", "invalid_value"),
        ({"quality": "hd"}, "quality", "invalid_value"),
        ({"background": "transparent", "output_format": "jpeg"}, "background", "invalid_value"),
        ({"output_compression": 101}, "output_compression", "integer_above_max_value"),
        ({"response_format": "url"}, "response_format", "unknown_parameter"),
    ],
)
def test_a_wrong_request_for_pictures_is_refused_by_field(
    openai: Asking, change: dict[str, Any], param: str, code: str
) -> None:
    reply = openai.client.post(IMAGES, json={**IMAGE, **change})

    error = error_of(reply)
    assert (reply.status_code, error["type"], error["param"], error["code"]) == (
        400,
        "invalid_request_error",
        param,
        code,
    )
    assert openai.submissions() == []


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": "a" * 4_097}, "input", "string_above_max_length"),
        ({"instructions": "a" * 4_097}, "instructions", "string_above_max_length"),
        ({"voice": None}, "voice", "missing_required_parameter"),
        ({"voice": "nobody"}, "voice", "invalid_value"),
        ({"voice": {"id": "mine"}}, "voice", "invalid_value"),
        ({"speed": 4.1}, "speed", "decimal_above_max_value"),
        ({"speed": 0.2}, "speed", "decimal_below_min_value"),
        ({"speed": "fast"}, "speed", "invalid_type"),
        ({"response_format": "ogg"}, "response_format", "invalid_value"),
        ({"stream_format": "json"}, "stream_format", "invalid_value"),
        ({"language": "en"}, "language", "unknown_parameter"),
    ],
)
def test_a_wrong_request_for_speech_is_refused_by_field(
    openai: Asking, change: dict[str, Any], param: str, code: str
) -> None:
    reply = openai.client.post(SPEECH, json={**VOICE, **change})

    error = error_of(reply)
    assert (reply.status_code, error["param"], error["code"]) == (400, param, code)
    assert openai.submissions() == []


@pytest.mark.parametrize("size", ["auto", "1536x864", "3840x2160", "2160x3840", "1024x3072", "16x16"])
def test_the_sizes_that_are_sold_are_taken(openai: Asking, size: str) -> None:
    """Multiples of 16, at most 3:1, at most 3840 x 2160 either way round."""
    assert openai.client.post(IMAGES, json={**IMAGE, "size": size, "output_format": "jpeg"}).status_code == 200


@pytest.mark.parametrize("voice", ["cedar", {"id": "voice_1234"}])
def test_every_kind_of_voice_is_taken(openai: Asking, voice: Any) -> None:
    assert openai.client.post(SPEECH, json={**VOICE, "voice": voice}).status_code == 200


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"text"', b"\xff", b'{"prompt": "\\ud800", "text": "\\ud800"}', b'{"seed": NaN, "n": NaN}']
)
def test_a_body_that_is_no_object_is_refused(openai: Asking, body: bytes) -> None:
    reply = openai.client.post(IMAGES, content=body)

    assert (reply.status_code, error_of(reply)["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("path", [IMAGES, SPEECH])
def test_an_unknown_model_is_not_found(openai: Asking, path: str) -> None:
    reply = openai.client.post(path, json={"model": "dall-e-3", "prompt": "a", "input": "a"})

    assert (reply.status_code, error_of(reply)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("authorization", "code"),
    [("", None), ("Bearer", None), ("Basic sk-simulated", None), ("Bearer nonsense", "invalid_api_key"),
     ("Bearer sk-invalid", "invalid_api_key")],
)  # fmt: skip
def test_a_wrong_key_is_refused_and_never_repeated(openai: Asking, authorization: str, code: str | None) -> None:
    reply = openai.client.post(IMAGES, json=IMAGE, headers={"Authorization": authorization})

    error = error_of(reply)
    assert (reply.status_code, error["code"]) == (401, code)
    assert "sk-invalid" not in error["message"]
    assert openai.submissions() == []
