"""The simulated ElevenLabs: speech, its headers and prices, the history that saves lost replies, and every refusal."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.media.probe import probe
from media_assets.simulator.media import speech_s
from media_assets_tests.simulator.asking import Asking, asking
from media_assets_tests.simulator.elevenlabs_asked import BODY, HISTORY, KEY, SPEAK, TEXT, detail_of, problems_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    with asking("/elevenlabs", KEY) as one:
        yield one


@pytest.fixture
def elevenlabs(shared: Asking) -> Asking:
    shared.begin()
    return shared


@pytest.fixture
def alone() -> Iterator[Asking]:
    """Return a simulator whose history is empty."""
    with asking("/elevenlabs", KEY) as one:
        yield one


@pytest.mark.parametrize(
    ("name", "mime", "rate_hz"),
    [
        ("mp3_44100_128", "audio/mpeg", 44_100),
        ("mp3_22050_32", "audio/mpeg", 22_050),
        ("opus_48000_64", "audio/ogg", 48_000),
        ("wav_16000", "audio/wav", 16_000),
    ],
)
def test_speech_is_audible_and_in_the_format_asked_for(
    elevenlabs: Asking, tmp_path: Path, name: str, mime: str, rate_hz: int
) -> None:
    reply = elevenlabs.client.post(SPEAK, params={"output_format": name}, json=BODY)

    assert reply.status_code == 200
    assert reply.headers["content-type"] == mime
    assert problems_of(tmp_path, reply.content) == ()
    assert probe(tmp_path / "voice").sample_rate_hz == rate_hz


@pytest.mark.parametrize(
    ("name", "bytes_per_s"), [("pcm_8000", 16_000), ("pcm_48000", 96_000), ("ulaw_8000", 8_000), ("alaw_8000", 8_000)]
)
def test_formats_without_a_header_are_bare_samples(elevenlabs: Asking, name: str, bytes_per_s: int) -> None:
    sound = elevenlabs.client.post(SPEAK, params={"output_format": name}, json=BODY).content

    assert len(sound) == pytest.approx(speech_s(TEXT) * bytes_per_s, abs=2)


def test_a_bit_rate_is_what_its_name_says(elevenlabs: Asking) -> None:
    sound = elevenlabs.client.post(SPEAK, params={"output_format": "mp3_44100_64"}, json=BODY).content

    assert len(sound) == pytest.approx(64_000 / 8 * speech_s(TEXT), rel=0.05)


def test_a_reply_says_what_it_cost_and_how_busy_the_account_is(elevenlabs: Asking) -> None:
    headers = elevenlabs.client.post(SPEAK, json=BODY).headers

    assert headers["character-cost"] == str(len(TEXT))
    assert headers["current-concurrent-requests"] == "1"
    assert headers["maximum-concurrent-requests"] == "5"
    assert len(headers["request-id"]) == 20
    assert headers["x-trace-id"]
    assert [one["id"] for one in elevenlabs.submissions()] == [headers["request-id"]]


@pytest.mark.parametrize(
    ("model", "text", "cost", "usd"),
    [
        ("eleven_multilingual_v2", "a" * 1001, "1001", "0.100100"),
        ("eleven_flash_v2_5", "a" * 1001, "501", "0.050050"),
        ("eleven_flash_v2_5", "灯台🎬", "2", "0.000150"),
    ],
)
def test_the_bill_counts_characters_and_the_header_credits(
    elevenlabs: Asking, model: str, text: str, cost: str, usd: str
) -> None:
    """Flash takes half a credit for a character, and half the price: the two must not be multiplied twice."""
    quick = {"output_format": "ulaw_8000"}
    reply = elevenlabs.client.post(SPEAK, params=quick, json={"text": text, "model_id": model})

    assert reply.headers["character-cost"] == cost
    assert [line["usd"] for line in elevenlabs.billed()] == [usd]


def test_the_model_is_multilingual_when_none_is_named(elevenlabs: Asking) -> None:
    elevenlabs.client.post(SPEAK, json={"text": "a"})

    assert elevenlabs.submissions()[0]["model"] == "eleven_multilingual_v2"


def test_timestamps_run_from_nothing_to_the_end_of_the_sound(elevenlabs: Asking, tmp_path: Path) -> None:
    body = elevenlabs.client.post(f"{SPEAK}/with-timestamps", json=BODY).json()

    alignment = body["alignment"]
    starts_s, ends_s = alignment["character_start_times_seconds"], alignment["character_end_times_seconds"]
    assert problems_of(tmp_path, base64.b64decode(body["audio_base64"])) == ()
    assert "".join(alignment["characters"]) == TEXT
    assert (starts_s[0], ends_s[-1]) == (0.0, pytest.approx(speech_s(TEXT), abs=0.001))
    assert starts_s[1:] == ends_s[:-1] == sorted(ends_s[:-1])


def test_streamed_speech_is_the_same_kind_of_file(elevenlabs: Asking, tmp_path: Path) -> None:
    reply = elevenlabs.client.post(f"{SPEAK}/stream", json=BODY)

    assert reply.headers["transfer-encoding"] == "chunked"
    assert problems_of(tmp_path, reply.content) == ()


def test_streamed_timestamps_are_lines_that_make_up_the_whole(elevenlabs: Asking, tmp_path: Path) -> None:
    reply = elevenlabs.client.post(f"{SPEAK}/stream/with-timestamps", json=BODY)

    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert len(lines) == 2
    assert problems_of(tmp_path, b"".join(base64.b64decode(line["audio_base64"]) for line in lines)) == ()
    assert "".join("".join(line["alignment"]["characters"]) for line in lines) == TEXT


@pytest.mark.parametrize(("speed", "divisor"), [(1.2, 1.2), (0.7, 0.7), (3.0, 1.2), (0.1, 0.7)])
def test_speed_is_taken_and_clamped(elevenlabs: Asking, speed: float, divisor: float) -> None:
    body = {**BODY, "voice_settings": {"speed": speed}}
    sound = elevenlabs.client.post(SPEAK, params={"output_format": "pcm_8000"}, json=body).content

    assert len(sound) / 16_000 == pytest.approx(speech_s(TEXT) / divisor, abs=0.001)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"text": None}, ["body", "text"]),
        ({"text": 5}, ["body", "text"]),
        ({"text": ""}, ["body", "text"]),
        ({"seed": 4_294_967_296}, ["body", "seed"]),
        ({"voice_settings": {"stability": 1.1}}, ["body", "voice_settings", "stability"]),
        ({"apply_text_normalization": "maybe"}, ["body", "apply_text_normalization"]),
        ({"previous_request_ids": ["a", "b", "c", "d"]}, ["body", "previous_request_ids"]),
        ({"pronunciation_dictionary_locators": [{}]},
         ["body", "pronunciation_dictionary_locators", 0, "pronunciation_dictionary_id"]),
    ],
)  # fmt: skip
def test_a_wrong_body_gets_fastapis_list(elevenlabs: Asking, change: dict[str, Any], where: list[Any]) -> None:
    """The third of the three shapes of ``detail``."""
    reply = elevenlabs.client.post(SPEAK, json={**BODY, **change})

    (entry,) = detail_of(reply)
    assert (reply.status_code, entry["loc"]) == (422, where)
    assert set(entry) == {"loc", "msg", "type"}
    assert elevenlabs.submissions() == []


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff", b'{"prompt": "\\ud800", "text": "\\ud800"}', b'{"seed": NaN, "n": NaN}']
)
def test_a_body_that_is_no_object_gets_fastapis_list(elevenlabs: Asking, body: bytes) -> None:
    reply = elevenlabs.client.post(SPEAK, content=body)

    assert (reply.status_code, detail_of(reply)[0]["loc"]) == (422, ["body"])


@pytest.mark.parametrize(("path", "name"), [(SPEAK, "mp3_1_2"), (f"{SPEAK}/stream", "wav_16000")])
def test_a_format_that_an_endpoint_does_not_have_is_refused(elevenlabs: Asking, path: str, name: str) -> None:
    """WAV has its length in front, so that it cannot be streamed."""
    reply = elevenlabs.client.post(path, params={"output_format": name}, json=BODY)

    assert (reply.status_code, detail_of(reply)[0]["loc"]) == (422, ["query", "output_format"])


@pytest.mark.parametrize(
    ("path", "change", "error"),
    [
        ("/v1/text-to-speech/nobody", {}, (404, "not_found", "voice_not_found")),
        (SPEAK, {"model_id": "eleven_gone"}, (404, "not_found", "model_not_found")),
        (SPEAK, {"text": "a" * 10_001}, (400, "validation_error", "max_character_limit_exceeded")),
        (
            SPEAK,
            {"text": "a" * 40_001, "model_id": "eleven_flash_v2_5"},
            (400, "validation_error", "max_character_limit_exceeded"),
        ),
    ],
)
def test_what_the_service_refuses_gets_todays_object(
    elevenlabs: Asking, path: str, change: dict[str, Any], error: tuple[int, str, str]
) -> None:
    reply = elevenlabs.client.post(path, json={**BODY, **change})

    detail = detail_of(reply)
    assert (reply.status_code, detail["type"], detail["code"]) == error
    assert {"message", "status", "request_id", "param"} <= set(detail)
    assert elevenlabs.submissions() == []


@pytest.mark.parametrize(("key", "code"), [({}, "missing_api_key"), ({"xi-api-key": "invalid"}, "invalid_api_key")])
def test_a_wrong_key_is_refused(elevenlabs: Asking, key: dict[str, str], code: str) -> None:
    with httpx.Client(base_url=elevenlabs.client.base_url) as client:
        reply = client.post(SPEAK, json=BODY, headers=key)

    detail = detail_of(reply)
    assert (reply.status_code, detail["type"], detail["code"]) == (401, "authentication_error", code)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("noexec_500", (500, "internal_error", "internal_error")),
        ("noexec_503", (503, "service_unavailable", "service_unavailable")),
        ("429_header", (429, "rate_limit_error", "rate_limit_exceeded")),
        ("429_body", (429, "rate_limit_error", "rate_limit_exceeded")),
        ("400", (400, "validation_error", "invalid_request")),
        ("retired_404", (404, "not_found", "model_not_found")),
        ("insufficient_credit", (402, "payment_required", "insufficient_credits")),
        ("content_rejected", (403, "authorization_error", "content_against_policy")),
    ],
)
@pytest.mark.parametrize("path", [SPEAK, f"{SPEAK}/with-timestamps"])
def test_a_refusal_accepts_nothing(elevenlabs: Asking, path: str, fault: str, error: tuple[int, str, str]) -> None:
    elevenlabs.fault(fault, times=1)

    reply = elevenlabs.client.post(path, json=BODY)

    detail = detail_of(reply)
    assert (reply.status_code, detail["type"], detail["code"]) == error
    assert elevenlabs.submissions() == []
    assert elevenlabs.posts() == 1
    assert elevenlabs.client.post(path, json=BODY).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status", "name"),
    [
        ("insufficient_credit", 401, "quota_exceeded"),
        ("content_rejected", 403, "content_against_policy"),
        ("moderation_after_run", 403, "content_against_policy"),
        ("429_header", 429, "rate_limit_exceeded"),
        ("exec_and_500", 500, "internal_error"),
    ],
)
def test_a_rule_can_ask_for_the_legacy_object(elevenlabs: Asking, fault: str, status: int, name: str) -> None:
    """An empty account was 401 there: taken for a wrong key, it would stop the wrong thing."""
    elevenlabs.fault(fault, value="legacy")

    reply = elevenlabs.client.post(SPEAK, json=BODY)

    detail = detail_of(reply)
    assert (reply.status_code, set(detail), detail["status"]) == (status, {"status", "message"}, name)


@pytest.mark.parametrize(("value", "kind"), [("list", list), ("text", str), ("nonsense", dict), (None, dict)])
def test_a_rule_can_ask_for_every_shape_ofdetail_of(elevenlabs: Asking, value: str | None, kind: type) -> None:
    elevenlabs.fault("insufficient_credit", **({} if value is None else {"value": value}))

    reply = elevenlabs.client.post(SPEAK, json=BODY)

    assert reply.status_code == 402
    assert isinstance(detail_of(reply), kind)


def test_the_same_text_twice_is_two_takes(elevenlabs: Asking) -> None:
    """A second take that were the first one's bytes would hide that the wrong one was stored."""
    first, second = (elevenlabs.client.post(SPEAK, json=BODY).content for _ in range(2))

    assert first != second


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("run_failed", 500, "internal_error"), ("moderation_after_run", 403, "content_against_policy")],
)
def test_work_that_failed_is_logged_free_and_in_no_history(alone: Asking, fault: str, status: int, code: str) -> None:
    alone.fault(fault)

    reply = alone.client.post(SPEAK, json=BODY)

    assert (reply.status_code, detail_of(reply)["code"]) == (status, code)
    assert [one["state"] for one in alone.submissions()] == ["failed"]
    assert alone.owed_usd() == 0
    assert alone.client.get(HISTORY).json()["history"] == []


@pytest.mark.parametrize(("fault", "words"), [("silent_output", "it is silent"), ("short_output", "too short")])
def test_a_spoilt_voice_is_billed_and_refused_by_the_judge(
    elevenlabs: Asking, tmp_path: Path, fault: str, words: str
) -> None:
    elevenlabs.fault(fault)

    sound = elevenlabs.client.post(SPEAK, json=BODY).content

    assert words in " ".join(problems_of(tmp_path, sound))
    assert elevenlabs.owed_usd() > 0


def test_more_at_once_than_the_plan_allows_is_refused() -> None:
    with (
        asking("/elevenlabs", KEY, at_once={"elevenlabs": 1}, latency_s={"elevenlabs": (3600.0, 3600.0)}) as elevenlabs,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(elevenlabs.client.post, SPEAK, json=BODY)
        while not elevenlabs.submissions():
            assert not first.done()

        refused = elevenlabs.client.post(SPEAK, json=BODY)
        elevenlabs.advance(3600)

        detail = detail_of(refused)
        assert (refused.status_code, detail["code"]) == (429, "concurrent_limit_exceeded")
        assert detail["status"] == "too_many_concurrent_requests"
        assert first.result(20).status_code == 200
        assert len(elevenlabs.submissions()) == 1


def test_the_subscription_counts_what_was_used(alone: Asking) -> None:
    before = alone.client.get("/v1/user/subscription").json()
    alone.client.post(SPEAK, json={"text": "flash", "model_id": "eleven_flash_v2_5"})
    after = alone.client.get("/v1/user/subscription").json()

    assert after["character_count"] - before["character_count"] == 3
    assert after["character_count"] < after["character_limit"]


def test_models_are_listed_with_their_limits_and_rates(elevenlabs: Asking) -> None:
    listed = elevenlabs.client.get("/v1/models").json()

    assert {
        one["model_id"]: (one["maximum_text_length_per_request"], one["model_rates"]["character_cost_multiplier"])
        for one in listed
    } == {"eleven_multilingual_v2": (10_000, 1.0), "eleven_flash_v2_5": (40_000, 0.5)}
