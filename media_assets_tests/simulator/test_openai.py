"""The simulated OpenAI: replies that its own SDK would take, usage that adds up to the bill, and every refusal."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from media_assets.media.judge import judge_audio, judge_image
from media_assets.media.probe import probe
from media_assets.simulator.media import speech_s
from media_assets.simulator.openai_inputs import audio_tokens, image_tokens
from media_assets_tests.simulator.asking import Asking, asking
from media_assets_tests.simulator.openai_asked import IMAGE, IMAGES, KEY, SPEECH, TEXT, VOICE, error_of


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    with asking("/openai/v1", KEY) as one:
        yield one


@pytest.fixture
def openai(shared: Asking) -> Asking:
    shared.begin()
    return shared


def _post(openai: Asking, asked: tuple[str, dict[str, Any]]) -> httpx.Response:
    return openai.client.post(asked[0], json=asked[1])


def _events(reply: httpx.Response) -> list[dict[str, Any]]:
    assert reply.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: ")]


def _judged(tmp_path: Path, encoded: str, size_px: tuple[int, int]) -> tuple[str, ...]:
    path = tmp_path / "picture"
    path.write_bytes(base64.b64decode(encoded))
    info = probe(path)
    assert (info.width_px, info.height_px) == size_px
    return judge_image(path, info, requested_size_px=size_px).problems


def test_pictures_come_in_the_reply_good_and_of_the_size_asked_for(openai: Asking, tmp_path: Path) -> None:
    reply = openai.client.post(IMAGES, json={**IMAGE, "size": "1536x1024", "n": 2, "quality": "low"})

    body = reply.json()
    assert reply.status_code == 200
    assert {key: body[key] for key in ("background", "output_format", "quality", "size")} == {
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "size": "1536x1024",
    }
    first, second = (one["b64_json"] for one in body["data"])
    assert first != second
    assert _judged(tmp_path, first, (1536, 1024)) == ()
    assert _judged(tmp_path, second, (1536, 1024)) == ()


def test_a_size_that_the_specification_does_not_list_is_made_but_not_named(openai: Asking, tmp_path: Path) -> None:
    """Naming it would break the published schema of the reply."""
    body = openai.client.post(IMAGES, json={**IMAGE, "size": "1024x576"}).json()

    assert _judged(tmp_path, body["data"][0]["b64_json"], (1024, 576)) == ()
    assert "size" not in body


def test_usage_adds_up_and_is_what_is_billed(openai: Asking) -> None:
    """The documented example: 1024 x 1024 at medium quality has 1056 tokens."""
    usage = openai.client.post(IMAGES, json={**IMAGE, "n": 3}).json()["usage"]

    assert usage == {
        "input_tokens": 6,
        "output_tokens": 3168,
        "total_tokens": 3174,
        "input_tokens_details": {"text_tokens": 6, "image_tokens": 0},
        "output_tokens_details": {"image_tokens": 3168, "text_tokens": 0},
    }
    assert openai.owed_usd() == Decimal(6 * 5 + 3168 * 30) / 1_000_000


def test_image_tokens_grow_with_size_and_quality() -> None:
    """A bill that fell when more was ordered would let any estimate pass for a worst case."""
    sizes = ["512x512", "1024x1024", "1024x1536", "2048x2048", "3840x2160"]
    qualities = ["low", "medium", "high"]
    table = [[image_tokens({"size": size, "quality": quality}) for size in sizes] for quality in qualities]

    assert all(row == sorted(row) and len(set(row)) == len(row) for row in table)
    assert all(list(column) == sorted(set(column)) for column in zip(*table, strict=True))
    assert table[1][1] == 1056


@pytest.mark.parametrize(("mime", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG")])
def test_pictures_come_in_the_format_asked_for(openai: Asking, mime: str, kind: str) -> None:
    body = openai.client.post(IMAGES, json={**IMAGE, "output_format": mime}).json()

    with Image.open(io.BytesIO(base64.b64decode(body["data"][0]["b64_json"]))) as opened:
        assert (opened.format, opened.mode, opened.size) == (kind, "RGB", (1024, 1024))
    assert body["output_format"] == mime


def test_a_transparent_background_is_real(openai: Asking) -> None:
    """Our conforming has to flatten it before a video model sees it."""
    body = openai.client.post(IMAGES, json={**IMAGE, "background": "transparent"}).json()

    with Image.open(io.BytesIO(base64.b64decode(body["data"][0]["b64_json"]))) as opened:
        assert opened.getchannel("A").getextrema() == (0, 255)
    assert body["background"] == "transparent"


def test_streamed_pictures_end_with_the_whole_one_and_its_usage(openai: Asking) -> None:
    reply = openai.client.post(IMAGES, json={**IMAGE, "stream": True, "partial_images": 2})

    events = _events(reply)

    assert [event["type"].partition(".")[2] for event in events] == ["partial_image", "partial_image", "completed"]
    assert events[-1]["usage"]["output_tokens"] == 1056
    assert "output_tokens_details" not in events[-1]["usage"]
    assert len(openai.submissions()) == 1


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac", "wav"])
def test_speech_is_audible_and_as_long_as_its_text(openai: Asking, tmp_path: Path, audio_format: str) -> None:
    reply = openai.client.post(SPEECH, json={**VOICE, "response_format": audio_format})

    path = tmp_path / "voice"
    path.write_bytes(reply.content)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert "usage" not in reply.text[:200]
    assert judge_audio(path, probe(path), text=TEXT).problems == ()


def test_pcm_is_24_khz_and_speed_shortens_it(openai: Asking) -> None:
    usual = openai.client.post(SPEECH, json={**VOICE, "response_format": "pcm"}).content
    fast = openai.client.post(SPEECH, json={**VOICE, "response_format": "pcm", "speed": 2}).content

    assert len(usual) == pytest.approx(speech_s(TEXT) * 24_000 * 2, abs=2)
    assert len(fast) == pytest.approx(len(usual) / 2, abs=2)


def test_speech_as_events_carries_the_same_bytes_and_its_usage(openai: Asking, tmp_path: Path) -> None:
    """The only form that says what it cost; both cost the same."""
    extra = {"response_format": "wav", "instructions": "Speak like a sailor."}
    events = _events(openai.client.post(SPEECH, json={**VOICE, **extra, "stream_format": "sse"}))
    raw = openai.client.post(SPEECH, json={**VOICE, **extra}).content

    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    path = tmp_path / "voice"
    path.write_bytes(sound)
    usage = events[-1]["usage"]
    assert judge_audio(path, probe(path), text=TEXT).problems == ()
    assert len(sound) == len(raw)
    assert usage == {"input_tokens": 18 + 5, "output_tokens": 92, "total_tokens": 115}
    # 23 x 0.60 + 92 x 12 = 1117.8 USD for a million such speeches.
    assert [line["usd"] for line in openai.billed()] == ["0.001118", "0.001118"]


@pytest.mark.parametrize(("seconds", "tokens"), [(0.4, 8), (0.41, 9), (0.1 + 0.2, 6), (60.0, 1200)])
def test_audio_tokens_are_rounded_up_from_20_a_second(seconds: float, tokens: int) -> None:
    """0.1 + 0.2 is a little more than 0.3 in binary; the token must not be."""
    assert audio_tokens(seconds) == tokens


def test_models_are_listed_with_their_end(openai: Asking) -> None:
    listed = openai.client.get("/models").json()["data"]

    assert {one["id"]: one["shutdown_date"] for one in listed} == {
        "gpt-image-2": None,
        "gpt-4o-mini-tts": "2027-01-06",
    }
    assert openai.client.get("/models/gpt-image-2").json() == listed[0]
    assert openai.client.get("/models/tts-1").status_code == 404


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("noexec_500", 500, "server_error"),
        ("noexec_503", 503, "server_error"),
        ("429_header", 429, "rate_limit_exceeded"),
        ("429_body", 429, "rate_limit_exceeded"),
        ("429_date", 429, "rate_limit_exceeded"),
        ("400", 400, "invalid_value"),
        ("retired_404", 404, "model_not_found"),
        ("insufficient_credit", 429, "insufficient_quota"),
        ("content_rejected", 400, "moderation_blocked"),
    ],
)
@pytest.mark.parametrize("asked", [(IMAGES, IMAGE), (SPEECH, VOICE)], ids=["images", "speech"])
def test_a_refusal_accepts_nothing(
    openai: Asking, asked: tuple[str, dict[str, Any]], fault: str, status: int, code: str
) -> None:
    """The same number 429 means "later" or "never": only the code tells an empty account from a busy service."""
    openai.fault(fault, times=1)

    reply = _post(openai, asked)

    assert (reply.status_code, error_of(reply)["code"]) == (status, code)
    assert openai.submissions() == []
    assert openai.posts() == 1
    assert _post(openai, asked).status_code == 200


def test_moderation_says_at_which_stage_and_why(openai: Asking) -> None:
    openai.fault("content_rejected")

    error = error_of(openai.client.post(IMAGES, json=IMAGE))

    assert error["type"] == "image_generation_user_error"
    assert error["moderation_details"] == {"moderation_stage": "input", "categories": ["violence"]}


@pytest.mark.parametrize("fault", ["exec_and_drop", "reset_before_headers", "exec_and_truncate"])
@pytest.mark.parametrize("asked", [(IMAGES, IMAGE), (SPEECH, VOICE)], ids=["images", "speech"])
def test_a_lost_reply_is_billed(openai: Asking, asked: tuple[str, dict[str, Any]], fault: str) -> None:
    """There is no id to ask with again: this is the money that only a once-only POST saves."""
    openai.fault(fault)

    with pytest.raises(httpx.TransportError):
        _post(openai, asked)

    assert [one["state"] for one in openai.submissions()] == ["succeeded"]
    assert openai.owed_usd() > 0


@pytest.mark.parametrize(
    ("fault", "status"), [("exec_and_500", 500), ("exec_and_503_nginx", 503), ("2xx_garbage", 200)]
)
def test_a_useless_reply_to_accepted_work_is_billed(openai: Asking, fault: str, status: int) -> None:
    openai.fault(fault)

    reply = openai.client.post(IMAGES, json=IMAGE)

    assert reply.status_code == status
    assert b"b64_json" not in reply.content
    assert openai.owed_usd() > 0


@pytest.mark.parametrize("fault", ["refuse_connect", "tls_fail"])
def test_a_connection_that_was_never_made_costs_nothing(openai: Asking, fault: str) -> None:
    openai.fault(fault)

    with pytest.raises(httpx.TransportError):
        openai.client.post(IMAGES, json=IMAGE)

    assert openai.submissions() == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("run_failed", 500, "server_error"), ("moderation_after_run", 400, "moderation_blocked")],
)
@pytest.mark.parametrize("asked", [(IMAGES, IMAGE), (SPEECH, VOICE)], ids=["images", "speech"])
def test_work_that_failed_is_logged_and_free(
    openai: Asking, asked: tuple[str, dict[str, Any]], fault: str, status: int, code: str
) -> None:
    """OpenAI bills the tokens of a successful reply."""
    openai.fault(fault)

    reply = _post(openai, asked)

    assert (reply.status_code, error_of(reply)["code"]) == (status, code)
    assert [one["state"] for one in openai.submissions()] == ["failed"]
    assert openai.owed_usd() == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [("black_output", "it is black"), ("tiny_output", "it is 64 x 64 px")],
)
def test_a_spoilt_picture_is_billed_and_refused_by_the_judge(
    openai: Asking, tmp_path: Path, fault: str, words: str
) -> None:
    openai.fault(fault)

    body = openai.client.post(IMAGES, json=IMAGE).json()

    path = tmp_path / "picture"
    path.write_bytes(base64.b64decode(body["data"][0]["b64_json"]))
    assert words in " ".join(judge_image(path, probe(path), requested_size_px=(1024, 1024)).problems)
    assert openai.billed()[0]["usd"] == "0.031710"


@pytest.mark.parametrize(("fault", "words"), [("silent_output", "it is silent"), ("short_output", "too short")])
def test_a_spoilt_voice_is_refused_by_the_judge(openai: Asking, tmp_path: Path, fault: str, words: str) -> None:
    openai.fault(fault)

    path = tmp_path / "voice"
    path.write_bytes(openai.client.post(SPEECH, json=VOICE).content)

    assert words in " ".join(judge_audio(path, probe(path), text=TEXT).problems)


def test_more_at_once_than_allowed_is_refused_and_later_taken() -> None:
    """Pictures and speech share the account's places."""
    with (
        asking("/openai/v1", KEY, at_once={"openai": 1}, latency_s={"openai": (3600.0, 3600.0)}) as openai,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(openai.client.post, IMAGES, json=IMAGE)
        while not openai.submissions():
            assert not first.done()

        refused = [_post(openai, asked) for asked in ((SPEECH, VOICE), (IMAGES, IMAGE))]
        openai.advance(3600)

        assert [reply.status_code for reply in refused] == [429, 429]
        assert [error_of(reply)["code"] for reply in refused] == ["rate_limit_exceeded"] * 2
        assert [reply.headers["retry-after"] for reply in refused] == ["1", "1"]
        assert first.result(20).status_code == 200
        assert len(openai.submissions()) == 1


def test_a_run_takes_virtual_time_and_is_logged_with_it(openai: Asking) -> None:
    openai.client.post(IMAGES, json=IMAGE)

    (one,) = openai.submissions()

    assert 0.2 <= one["compute_s"] <= 0.6
    assert (one["endpoint"], one["input"]) == ("/v1/images/generations", IMAGE)
    assert one["outputs"] == [{"kind": "image", "width_px": 1024, "height_px": 1024}]
    assert one["tokens"] == {"text_in": 6, "image_in": 0, "image_out": 1056}
