"""The official ``openai`` package 3.54.0 against the simulator: nothing is changed but its base URL.

``max_retries`` is the package's own option; without it each refusal would be asked for three times.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from media_assets.simulator.server import Simulator
from media_assets_tests.conformance.conftest import Fail
from media_assets_tests.conformance.decoding import pcm_s, picture_px, voice_s

TEXT = "The quick brown fox jumped over the lazy dog."
SPOKEN_S = pytest.approx(len(TEXT) / 15, abs=0.15)


@contextlib.contextmanager
def open_client(simulator: Simulator, key: str = "sk-simulated", **options: Any) -> Iterator[OpenAI]:
    with OpenAI(api_key=key, base_url=f"{simulator.url}/openai/v1", **{"max_retries": 0, **options}) as client:
        yield client


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[OpenAI]:
    with open_client(simulator) as one:
        yield one


def draw(client: OpenAI, **more: Any) -> Any:
    return client.images.generate(model="gpt-image-2", prompt="a red barn", **{"size": "256x256", **more})


def speak(client: OpenAI, **more: Any) -> Any:
    return client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input=TEXT, **more)


@pytest.mark.parametrize("size", ["1024x1024", "1536x1024", "1024x576"])
def test_a_picture_comes_as_base64_with_its_usage(client: OpenAI, size: str) -> None:
    made = draw(client, size=size, quality="low")

    (image,) = made.data
    assert image.url is None
    assert "x".join(map(str, picture_px(base64.b64decode(image.b64_json)))) == size
    assert (made.background, made.output_format, made.quality) == ("opaque", "png", "low")
    assert made.usage.input_tokens == made.usage.input_tokens_details.text_tokens > 0
    assert made.usage.output_tokens == made.usage.output_tokens_details.image_tokens > 0
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens
    assert made.created > 0
    assert made._request_id.startswith("req_")


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_several_pictures_in_any_format(client: OpenAI, output_format: str) -> None:
    made = draw(client, n=2, output_format=output_format)

    assert [picture_px(base64.b64decode(image.b64_json)) for image in made.data] == [(256, 256)] * 2
    assert made.output_format == output_format


def test_a_streamed_picture_comes_as_events(client: OpenAI) -> None:
    events = list(draw(client, stream=True, partial_images=2))

    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:-1]] == [0, 1]
    assert picture_px(base64.b64decode(events[-1].b64_json)) == (256, 256)
    assert events[-1].usage.total_tokens > 0


@pytest.mark.parametrize("response_format", ["mp3", "opus", "aac", "flac", "wav"])
def test_speech_comes_as_bytes_in_every_format(client: OpenAI, response_format: str) -> None:
    assert voice_s(speak(client, response_format=response_format).read()) == SPOKEN_S


def test_speech_comes_as_bare_samples_too(client: OpenAI) -> None:
    assert pcm_s(speak(client, response_format="pcm").read(), 24_000) == SPOKEN_S


def test_faster_speech_is_shorter(client: OpenAI) -> None:
    assert voice_s(speak(client, speed=2.0).read()) == pytest.approx(len(TEXT) / 30, abs=0.15)


def test_speech_is_streamed_as_it_comes(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="coral", input=TEXT, response_format="wav"
    ) as response:
        parts = list(response.iter_bytes())

    assert len(parts) > 1
    assert voice_s(b"".join(parts)) == SPOKEN_S


def test_speech_as_events_ends_with_its_usage(client: OpenAI) -> None:
    lines = speak(client, stream_format="sse", instructions="Cheerfully.").iter_lines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert voice_s(sound) == SPOKEN_S
    assert events[-1]["type"] == "speech.audio.done"
    usage = events[-1]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_models_say_when_they_are_shut_down(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"gpt-image-2", "gpt-4o-mini-tts"}
    model: Any = client.models.retrieve("gpt-4o-mini-tts")
    assert (model.object, str(model.shutdown_date)) == ("model", "2027-01-06")


class Refusal(NamedTuple):
    """A fault, and the exception it becomes."""

    fault: str
    error: type[openai.APIStatusError]
    status: int
    code: str | None
    type: str


REFUSALS = [
    Refusal("400", openai.BadRequestError, 400, "invalid_value", "invalid_request_error"),
    Refusal("retired_404", openai.NotFoundError, 404, "model_not_found", "invalid_request_error"),
    Refusal("429_header", openai.RateLimitError, 429, "rate_limit_exceeded", "requests"),
    Refusal("429_body", openai.RateLimitError, 429, "rate_limit_exceeded", "requests"),
    Refusal("429_date", openai.RateLimitError, 429, "rate_limit_exceeded", "requests"),
    Refusal("insufficient_credit", openai.RateLimitError, 429, "insufficient_quota", "insufficient_quota"),
    Refusal("noexec_500", openai.InternalServerError, 500, "server_error", "server_error"),
    Refusal("noexec_503", openai.InternalServerError, 503, "server_error", "server_error"),
    Refusal("exec_and_500", openai.InternalServerError, 500, "server_error", "server_error"),
    Refusal("run_failed", openai.InternalServerError, 500, "server_error", "server_error"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: one.fault)
@pytest.mark.parametrize("ask", [draw, speak])
def test_a_refusal_is_the_packages_own_error(
    client: OpenAI, fail: Fail, posts: Callable[[], int], refusal: Refusal, ask: Callable[[OpenAI], Any]
) -> None:
    fail(refusal.fault, seconds=9)
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client)

    error = refused.value
    assert type(error) is refusal.error
    assert (error.status_code, error.code, error.type) == (refusal.status, refusal.code, refusal.type)
    assert (error.request_id or "").startswith("req_")
    assert posts() == 1


@pytest.mark.parametrize("stage", ["input", "output"])
@pytest.mark.parametrize("ask", [draw, speak])
def test_moderation_is_a_bad_request_that_says_so(
    client: OpenAI, fail: Fail, stage: str, ask: Callable[[OpenAI], Any]
) -> None:
    fail("content_rejected" if stage == "input" else "moderation_after_run")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client)

    type_ = "image_generation_user_error" if ask is draw else "invalid_request_error"
    assert (refused.value.code, refused.value.type) == ("moderation_blocked", type_)
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["moderation_details"]["moderation_stage"] == stage


@pytest.mark.parametrize("key", ["sk-invalid", "r8_anothers"])
def test_a_wrong_key_is_an_authentication_error(simulator: Simulator, key: str) -> None:
    with open_client(simulator, key) as client, pytest.raises(openai.AuthenticationError) as refused:
        draw(client)

    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
    assert key not in refused.value.message


@pytest.mark.parametrize(
    ("ask", "more", "param"),
    [
        (draw, {"size": "1000x1000"}, "size"),
        (draw, {"n": 11}, "n"),
        (draw, {"quality": "best"}, "quality"),
        (draw, {"response_format": "url"}, "response_format"),
        (speak, {"speed": 9.0}, "speed"),
        (speak, {"response_format": "ogg"}, "response_format"),
    ],
)
def test_a_bad_parameter_is_named(client: OpenAI, ask: Callable[..., Any], more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, **more)

    assert (refused.value.param, refused.value.type) == (param, "invalid_request_error")


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(model="dall-e-3", prompt="a red barn")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("tts-1")


def test_a_gateways_page_is_a_server_error_without_a_code(client: OpenAI, fail: Fail) -> None:
    fail("exec_and_503_nginx")
    with pytest.raises(openai.InternalServerError) as refused:
        draw(client)

    assert (refused.value.status_code, refused.value.code) == (503, None)
    assert "nginx" in str(refused.value.body)


@pytest.mark.parametrize("fault", ["exec_and_drop", "reset_before_headers"])
def test_a_lost_connection_is_a_connection_error(client: OpenAI, fail: Fail, fault: str) -> None:
    fail(fault)
    with pytest.raises(openai.APIConnectionError):
        draw(client)


def test_a_reply_that_never_comes_is_a_timeout(simulator: Simulator, fail: Fail) -> None:
    fail("exec_and_hang")
    with open_client(simulator, timeout=0.3) as client, pytest.raises(openai.APITimeoutError):
        draw(client)


def test_a_refusal_for_now_is_asked_again_as_the_package_does(
    simulator: Simulator, fail: Fail, posts: Callable[[], int]
) -> None:
    fail("429_header", seconds=0, times=1)
    with open_client(simulator, max_retries=2) as client:
        assert len(draw(client).data) == 1

    assert posts() == 2


def test_too_many_at_once_are_refused(standing: Simulator) -> None:
    with open_client(standing) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(draw, client)
        while not standing.world.busy("openai"):
            time.sleep(0.005)
        with pytest.raises(openai.RateLimitError) as refused:
            draw(client)
        standing.world.clock.advance(1)

    assert refused.value.code == "rate_limit_exceeded"
    assert len(first.result().data) == 1


def test_the_asynchronous_client_does_the_same(simulator: Simulator, fail: Fail) -> None:
    async def all_of_it() -> tuple[Any, Any]:
        async with AsyncOpenAI(api_key="sk-simulated", base_url=f"{simulator.url}/openai/v1", max_retries=0) as client:
            made: Any = await client.images.generate(model="gpt-image-2", prompt="a red barn", size="256x256")
            spoken = await client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input=TEXT)
            fail("insufficient_credit")
            with pytest.raises(openai.RateLimitError):
                await client.audio.speech.create(model="gpt-4o-mini-tts", voice="alloy", input=TEXT)
            return picture_px(base64.b64decode(made.data[0].b64_json)), voice_s(spoken.content)

    assert asyncio.run(all_of_it()) == ((256, 256), SPOKEN_S)
