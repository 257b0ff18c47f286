"""The official ``elevenlabs`` package 2.78.0 against the simulator: nothing is changed but its base URL."""

import asyncio
import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from elevenlabs import AsyncElevenLabs, ElevenLabs, VoiceSettings
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors.unprocessable_entity_error import UnprocessableEntityError

from media_assets.simulator.server import Simulator
from media_assets_tests.conformance.conftest import Fail
from media_assets_tests.conformance.decoding import pcm_s, voice_s

VOICE = "21m00Tcm4TlvDq8ikWAM"
TEXT = "The quick brown fox jumped over the lazy dog."
SPOKEN_S = pytest.approx(len(TEXT) / 15, abs=0.15)


@contextlib.contextmanager
def open_client(simulator: Simulator, key: str = "simulated") -> Iterator[ElevenLabs]:
    """Make a client and close its connections, which the package leaves to its user."""
    client = ElevenLabs(api_key=key, base_url=f"{simulator.url}/elevenlabs")
    with contextlib.closing(client._client_wrapper.httpx_client.httpx_client):
        yield client


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[ElevenLabs]:
    with open_client(simulator) as one:
        yield one


def convert(client: ElevenLabs, **more: Any) -> bytes:
    return b"".join(client.text_to_speech.convert(VOICE, **{"text": TEXT, **more}))


def stream(client: ElevenLabs) -> bytes:
    return b"".join(client.text_to_speech.stream(VOICE, text=TEXT))


def with_timestamps(client: ElevenLabs) -> Any:
    return client.text_to_speech.convert_with_timestamps(VOICE, text=TEXT, request_options={"max_retries": 0})


@pytest.mark.parametrize("model", ["eleven_multilingual_v2", "eleven_flash_v2_5"])
@pytest.mark.parametrize("output_format", ["mp3_44100_128", "mp3_22050_32", "opus_48000_64", "wav_16000"])
def test_convert_gives_bytes(client: ElevenLabs, model: str, output_format: str) -> None:
    assert voice_s(convert(client, model_id=model, output_format=output_format)) == SPOKEN_S


def test_convert_gives_bare_samples_too(client: ElevenLabs) -> None:
    assert pcm_s(convert(client, output_format="pcm_16000"), 16_000) == SPOKEN_S


def test_a_voice_can_be_told_to_hurry(client: ElevenLabs) -> None:
    settings = VoiceSettings(stability=0.4, similarity_boost=0.8, style=0.0, use_speaker_boost=True, speed=1.2)

    assert voice_s(convert(client, voice_settings=settings, seed=7)) == pytest.approx(len(TEXT) / 15 / 1.2, abs=0.15)


@pytest.mark.parametrize(("model", "cost"), [("eleven_multilingual_v2", 45), ("eleven_flash_v2_5", 23)])
def test_the_raw_reply_says_what_it_cost(client: ElevenLabs, model: str, cost: int) -> None:
    with client.text_to_speech.with_raw_response.convert(VOICE, text=TEXT, model_id=model) as reply:
        sound = b"".join(reply.data)

    assert int(reply.headers["character-cost"]) == cost
    assert reply.headers["request-id"]
    assert int(reply.headers["current-concurrent-requests"]) <= int(reply.headers["maximum-concurrent-requests"])
    assert voice_s(sound) == SPOKEN_S


def test_stream_gives_bytes(client: ElevenLabs) -> None:
    assert voice_s(stream(client)) == SPOKEN_S


def test_timestamps_name_every_character(client: ElevenLabs) -> None:
    made = with_timestamps(client)

    assert voice_s(base64.b64decode(made.audio_base_64)) == SPOKEN_S
    assert "".join(made.alignment.characters) == TEXT
    ends = made.alignment.character_end_times_seconds
    assert ends == sorted(ends)
    assert ends[-1] == SPOKEN_S
    assert len(made.alignment.character_start_times_seconds) == len(TEXT)


def test_timestamps_can_be_streamed(client: ElevenLabs) -> None:
    chunks = list(client.text_to_speech.stream_with_timestamps(VOICE, text=TEXT * 2))

    assert len(chunks) > 1
    assert "".join(character for one in chunks if one.alignment for character in one.alignment.characters) == TEXT * 2
    assert voice_s(b"".join(base64.b64decode(one.audio_base_64) for one in chunks)) > 0


def test_the_history_brings_a_voice_back(client: ElevenLabs) -> None:
    text = "A sentence that was spoken once."
    before = client.user.subscription.get()
    sound = convert(client, text=text, model_id="eleven_multilingual_v2")

    (item,) = client.history.list(search="spoken once", page_size=5).history
    assert (item.text, item.voice_id, item.model_id) == (text, VOICE, "eleven_multilingual_v2")
    assert (item.state, item.content_type, item.source) == ("created", "audio/mpeg", "TTS")
    assert item.character_count_change_to - item.character_count_change_from == len(text)
    assert client.history.get(item.history_item_id) == item
    assert b"".join(client.history.get_audio(item.history_item_id)) == sound
    after = client.user.subscription.get()
    assert after.character_count - before.character_count == len(text)
    assert after.character_limit > after.character_count

    client.history.delete(item.history_item_id)
    with pytest.raises(ApiError) as gone:
        client.history.get(item.history_item_id)
    assert gone.value.status_code == 404


def test_the_history_pages(client: ElevenLabs) -> None:
    for number in range(3):
        convert(client, text=f"Page number {number}.")

    first = client.history.list(page_size=2, search="page number")
    second = client.history.list(
        page_size=2, search="page number", start_after_history_item_id=first.last_history_item_id
    )

    assert [item.text for page in (first, second) for item in page.history] == [
        "Page number 2.",
        "Page number 1.",
        "Page number 0.",
    ]
    assert (first.has_more, second.has_more) == (True, False)


def test_models_are_listed(client: ElevenLabs) -> None:
    models = {model.model_id: model for model in client.models.list()}

    assert set(models) == {"eleven_multilingual_v2", "eleven_flash_v2_5"}
    assert all(model.can_do_text_to_speech for model in models.values())
    assert models["eleven_flash_v2_5"].maximum_text_length_per_request == 40_000


class Refusal(NamedTuple):
    """A fault, and what the package tells of it."""

    fault: str
    status: int
    type: str
    code: str


REFUSALS = [
    Refusal("400", 400, "validation_error", "invalid_request"),
    Refusal("insufficient_credit", 402, "payment_required", "insufficient_credits"),
    Refusal("content_rejected", 403, "authorization_error", "content_against_policy"),
    Refusal("moderation_after_run", 403, "authorization_error", "content_against_policy"),
    Refusal("retired_404", 404, "not_found", "model_not_found"),
    Refusal("429_header", 429, "rate_limit_error", "rate_limit_exceeded"),
    Refusal("429_body", 429, "rate_limit_error", "rate_limit_exceeded"),
    Refusal("noexec_500", 500, "internal_error", "internal_error"),
    Refusal("noexec_503", 503, "service_unavailable", "service_unavailable"),
    Refusal("run_failed", 500, "internal_error", "internal_error"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: one.fault)
@pytest.mark.parametrize("ask", [convert, stream, with_timestamps])
def test_a_refusal_is_the_packages_own_error(
    client: ElevenLabs, fail: Fail, posts: Callable[[], int], refusal: Refusal, ask: Callable[[ElevenLabs], Any]
) -> None:
    fail(refusal.fault, seconds=9)
    with pytest.raises(ApiError) as refused:
        ask(client)

    error = refused.value
    detail = error.body["detail"]
    assert (error.status_code, detail["type"], detail["code"]) == (refusal.status, refusal.type, refusal.code)
    assert detail["message"]
    assert detail["request_id"]
    assert error.headers is not None
    assert ("retry-after" in error.headers) == (refusal.fault == "429_header")
    assert posts() == 1


@pytest.mark.parametrize(
    ("shape", "status", "detail"),
    [
        ("legacy", 401, {"status": "quota_exceeded", "message": "This request exceeds your remaining credits."}),
        ("text", 402, "This request exceeds your remaining credits."),
        (
            "list",
            402,
            [{"loc": ["body"], "msg": "This request exceeds your remaining credits.", "type": "insufficient_credits"}],
        ),
    ],
)
def test_out_of_money_in_its_other_shapes(client: ElevenLabs, fail: Fail, shape: str, status: int, detail: Any) -> None:
    fail("insufficient_credit", value=shape)
    with pytest.raises(ApiError) as refused:
        convert(client)

    assert (refused.value.status_code, refused.value.body) == (status, {"detail": detail})


@pytest.mark.parametrize(
    ("key", "code"), [("invalid", "invalid_api_key"), ("", "missing_api_key")], ids=["wrong", "missing"]
)
def test_a_bad_key_is_unauthorised(simulator: Simulator, key: str, code: str) -> None:
    with open_client(simulator, key) as client, pytest.raises(ApiError) as refused:
        client.user.subscription.get()

    assert (refused.value.status_code, refused.value.body["detail"]["code"]) == (401, code)


def test_a_misfit_is_unprocessable_and_says_where(client: ElevenLabs) -> None:
    with pytest.raises(UnprocessableEntityError) as refused:
        convert(client, output_format="mp3_1_1", seed=-1)

    assert refused.value.status_code == 422
    assert {tuple(one["loc"]) for one in refused.value.body["detail"]} == {("query", "output_format"), ("body", "seed")}


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"text": "x" * 10_001}, 400, "max_character_limit_exceeded"),
        ({"model_id": "eleven_monolingual_v1"}, 404, "model_not_found"),
    ],
)
def test_what_no_model_can_do_is_refused(client: ElevenLabs, more: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        convert(client, **more)

    assert (refused.value.status_code, refused.value.body["detail"]["code"]) == (status, code)


def test_an_unknown_voice_is_not_found(client: ElevenLabs) -> None:
    with pytest.raises(ApiError) as refused:
        b"".join(client.text_to_speech.convert("nobody", text=TEXT))

    assert (refused.value.status_code, refused.value.body["detail"]["code"]) == (404, "voice_not_found")


def test_a_gateways_page_is_kept_as_text(client: ElevenLabs, fail: Fail) -> None:
    fail("exec_and_503_nginx")
    with pytest.raises(ApiError) as refused:
        convert(client)

    assert refused.value.status_code == 503
    assert "nginx" in refused.value.body


def test_a_lost_connection_is_the_http_librarys_error(client: ElevenLabs, fail: Fail) -> None:
    fail("exec_and_drop")
    with pytest.raises(httpx.RemoteProtocolError):
        convert(client)


def test_json_is_asked_for_again_as_the_package_does(client: ElevenLabs, fail: Fail, posts: Callable[[], int]) -> None:
    fail("429_header", seconds=0, times=1)
    made = client.text_to_speech.convert_with_timestamps(VOICE, text=TEXT)

    assert voice_s(base64.b64decode(made.audio_base_64)) == SPOKEN_S
    assert posts() == 2


def test_the_asynchronous_client_does_the_same(simulator: Simulator, fail: Fail) -> None:
    async def all_of_it() -> bytes:
        client = AsyncElevenLabs(api_key="simulated", base_url=f"{simulator.url}/elevenlabs")
        async with contextlib.aclosing(client._client_wrapper.httpx_client.httpx_client):
            sound = b"".join([part async for part in client.text_to_speech.convert(VOICE, text=TEXT)])
            (item,) = (await client.history.list(page_size=1)).history
            assert item.text == TEXT
            fail("insufficient_credit")
            with pytest.raises(ApiError):
                [part async for part in client.text_to_speech.convert(VOICE, text=TEXT)]
            return sound

    assert voice_s(asyncio.run(all_of_it())) == SPOKEN_S
