"""The simulated fal: its queue's three statuses, results without an envelope, and errors in two shapes."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from PIL import Image

from media_assets.media.judge import judge_audio, judge_image, judge_video
from media_assets.media.probe import probe
from media_assets.simulator.fal_models import BY_NAME
from media_assets.simulator.media import picture
from media_assets_tests.simulator.asking import Asking, asking

KEY = {"Authorization": "Key simulated:key"}
RUN_S = 100.0
SCHNELL, WAN, KOKORO = "/fal-ai/flux/schnell", "/fal-ai/wan-i2v", "/fal-ai/kokoro/american-english"
KLING, HAILUO = "/fal-ai/kling-video/v2.5-turbo/pro/image-to-video", "/fal-ai/minimax/hailuo-02/standard/image-to-video"
SPEECH, STABLE = "/fal-ai/minimax/speech-2.6-hd", "/fal-ai/stable-video"
TEXT = "The lighthouse stands on the cliff, and the boats pass it every night."


class Clip(NamedTuple):
    """What is asked for, and what must come."""

    path: str
    given: dict[str, Any]
    picture_px: tuple[int, int]
    size_px: tuple[int, int]
    duration_s: float


def _data_uri(size_px: tuple[int, int]) -> str:
    return "data:image/png;base64," + base64.b64encode(picture(size_px)).decode()


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    options = {"time_scale": 1.0, "latency_s": {"fal": (RUN_S, RUN_S)}, "at_once": {"fal": 2}}
    with asking("/fal-queue", KEY, **options) as one:
        yield one


@pytest.fixture
def fal(shared: Asking) -> Iterator[Asking]:
    shared.begin()
    yield shared
    shared.begin()
    shared.advance(10 * RUN_S)  # whatever still runs or waits ends


def _submit(fal: Asking, path: str = SCHNELL, given: Any = None, **headers: str) -> dict[str, Any]:
    reply = fal.client.post(path, json={"prompt": "a boat"} if given is None else given, headers=headers)
    assert reply.status_code == 200, reply.text
    submitted: dict[str, Any] = reply.json()
    return submitted


def _result(fal: Asking, path: str, given: dict[str, Any]) -> httpx.Response:
    submitted = _submit(fal, path, given)
    fal.advance(RUN_S + 1)
    return fal.client.get(submitted["response_url"])


def _made(fal: Asking, path: str, given: dict[str, Any]) -> dict[str, Any]:
    reply = _result(fal, path, given)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


def _saved(fal: Asking, file: dict[str, Any], path: Path) -> Path:
    content = httpx.get(file["url"]).content
    assert file.get("file_size", len(content)) == len(content)
    path.write_bytes(content)
    return path


def test_a_request_goes_from_the_queue_to_its_result(fal: Asking) -> None:
    """Status is 202 until it is COMPLETED, and each status has exactly the keys of the documentation."""
    begun = _submit(fal)
    running = fal.client.get(begun["status_url"])
    early = fal.client.get(begun["response_url"])
    fal.advance(RUN_S + 1)
    ended = fal.client.get(begun["status_url"], params={"logs": "1"})
    result = fal.client.get(begun["response_url"])

    request_id, url = begun["request_id"], f"{fal.simulator.url}/fal-queue/fal-ai/flux/requests/{begun['request_id']}"
    assert begun == {
        "request_id": request_id,
        "response_url": url,
        "status_url": f"{url}/status",
        "cancel_url": f"{url}/cancel",
        "queue_position": 0,
        "status": "IN_QUEUE",
    }
    about = {"request_id": request_id, "response_url": url}
    assert (running.status_code, running.json()) == (202, {"status": "IN_PROGRESS", **about, "logs": None})
    assert (early.status_code, early.json()) == (400, {"detail": "Request is still in progress"})
    (log,) = ended.json()["logs"]
    assert set(log) == {"message", "timestamp", "level", "source"}
    metrics = {"inference_time": RUN_S}
    assert (ended.status_code, ended.json()) == (
        200,
        {"status": "COMPLETED", **about, "logs": [log], "metrics": metrics},
    )
    assert set(result.json()) == {"images", "timings", "seed", "has_nsfw_concepts", "prompt"}
    assert {reply.headers["x-fal-request-id"] for reply in (running, early, ended, result)} == {request_id}


def test_who_waits_is_told_its_place(fal: Asking) -> None:
    waiting = [_submit(fal) for _ in range(4)][2:]

    places = [fal.client.get(one["status_url"]).json() for one in waiting]
    fal.advance(RUN_S + 1)
    started = fal.client.get(waiting[0]["status_url"]).json()

    assert [one["queue_position"] for one in waiting] == [0, 1]
    assert [(one["status"], one["queue_position"]) for one in places] == [("IN_QUEUE", 0), ("IN_QUEUE", 1)]
    assert "logs" not in places[0]
    assert started["status"] == "IN_PROGRESS"


def test_long_and_short_urls_lead_to_the_same_request_and_others_do_not(fal: Asking) -> None:
    """Clients use the short form, fal's own pages print the long one, some with ``/response``."""
    request_id = _submit(fal)["request_id"]
    fal.advance(RUN_S + 1)

    def status(app: str, rest: str) -> int:
        return fal.client.get(f"{app}/requests/{request_id}{rest}").status_code

    assert [status(app, rest) for app in ("/fal-ai/flux", SCHNELL) for rest in ("", "/response", "/status")] == [
        200
    ] * 6
    assert [status(app, "/status") for app in ("/fal-ai/wan-i2v", "/fal-ai", "/fal-ai/flux/dev")] == [404] * 3
    assert fal.client.get("/fal-ai/flux/requests/none/status").json() == {"status": "NOT_FOUND"}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (None, (1024, 768)),
        ("square_hd", (1024, 1024)),
        ("portrait_16_9", (576, 1024)),
        ({"width": 640, "height": 512}, (640, 512)),
        ({"width": 640}, (640, 512)),
    ],
)
def test_pictures_have_the_size_asked_for(fal: Asking, tmp_path: Path, size: Any, expected: tuple[int, int]) -> None:
    given = {"prompt": "a boat", "output_format": "png"} | ({} if size is None else {"image_size": size})

    (image,) = _made(fal, SCHNELL, given)["images"]

    path = _saved(fal, image, tmp_path / "a.png")
    info = probe(path)
    assert (image["width"], image["height"], image["content_type"]) == (*expected, "image/png")
    assert (info.width_px, info.height_px, info.mime) == (*expected, "image/png")
    assert judge_image(path, info, requested_size_px=expected).problems == ()


def test_pictures_can_come_inside_the_reply(fal: Asking) -> None:
    made = _made(fal, "/fal-ai/fast-sdxl", {"prompt": "x", "num_images": 2, "sync_mode": True, "image_size": "square"})

    kinds = [image["url"].partition(",")[0] for image in made["images"]]
    first = Image.open(io.BytesIO(base64.b64decode(made["images"][0]["url"].partition(",")[2])))

    assert kinds == ["data:image/jpeg;base64"] * 2
    assert (first.size, first.format) == ((512, 512), "JPEG")
    assert made["has_nsfw_concepts"] == [False, False]


@pytest.mark.parametrize(
    "clip",
    [
        Clip(STABLE, {"fps": 10}, (1024, 768), (768, 576), 2.5),
        Clip(WAN, {"prompt": "x"}, (1600, 900), (1280, 720), 81 / 16),
        Clip(
            WAN,
            {"prompt": "x", "resolution": "480p", "num_frames": 90, "frames_per_second": 24},
            (600, 800),
            (480, 640),
            3.75,
        ),
        Clip(WAN, {"prompt": "x", "resolution": "480p", "aspect_ratio": "1:1"}, (600, 800), (480, 480), 81 / 16),
        Clip(KLING, {"prompt": "x"}, (1024, 576), (1280, 720), 5),
        Clip(KLING, {"prompt": "x", "duration": "10"}, (320, 1280), (320, 1280), 10),
        Clip(HAILUO, {"prompt": "x", "resolution": "512P"}, (1024, 768), (682, 512), 6),
    ],
)
def test_clips_move_and_have_their_models_size_and_length(fal: Asking, tmp_path: Path, clip: Clip) -> None:
    path, given, picture_px, size_px, duration_s = clip

    made = _made(fal, path, {**given, "image_url": _data_uri(picture_px)})

    saved = _saved(fal, made["video"], tmp_path / "clip.mp4")
    info = probe(saved)
    assert (info.width_px, info.height_px) == size_px
    assert info.duration_s == pytest.approx(duration_s, abs=0.06)
    verdict = judge_video(saved, info, requested_size_px=size_px, requested_duration_s=duration_s, check_motion=True)
    assert verdict.problems == ()
    assert ("seed" in made) == (path in {STABLE, WAN})


def test_an_upload_can_be_the_picture(fal: Asking) -> None:
    rest, content = f"{fal.simulator.url}/fal-rest", picture((640, 640), "image/jpeg")
    token = fal.client.post(f"{rest}/storage/auth/token?storage_type=fal-cdn-v3", json={}).json()
    uploaded = httpx.post(
        f"{token['base_url']}/files/upload",
        content=content,
        headers={
            "Authorization": f"{token['token_type']} {token['token']}",
            "Content-Type": "image/jpeg",
            "X-Fal-File-Name": "a.jpg",
        },
    ).json()

    reply = _result(fal, STABLE, {"image_url": uploaded["access_url"]})

    assert httpx.get(uploaded["access_url"]).content == content
    assert reply.status_code == 200
    assert fal.submissions()[-1]["outputs"][0]["width_px"] == 576


def test_an_upload_needs_a_token_that_was_given_out(fal: Asking) -> None:
    url = f"{fal.simulator.url}/fal-cdn/files/upload"

    replies = [
        httpx.post(url, content=b"x", headers=headers) for headers in ({}, KEY, {"Authorization": "Bearer made-up"})
    ]

    assert [reply.status_code for reply in replies] == [401] * 3


def test_an_upload_can_go_by_a_signed_url(fal: Asking) -> None:
    begun = fal.client.post(
        f"{fal.simulator.url}/fal-rest/storage/upload/initiate?storage_type=gcs",
        json={"file_name": "a.png", "content_type": "image/png"},
    ).json()

    put = httpx.put(begun["upload_url"], content=b"content")

    assert put.status_code == 200
    assert httpx.get(begun["file_url"]).content == b"content"
    assert httpx.put(begun["upload_url"], content=b"again").status_code == 404


def test_kokoro_speaks(fal: Asking, tmp_path: Path) -> None:
    made = _made(fal, KOKORO, {"prompt": TEXT, "speed": 1.2})

    path = _saved(fal, made["audio"], tmp_path / "a.wav")

    assert made["audio"]["content_type"] == "audio/wav"
    assert judge_audio(path, probe(path), text=TEXT).problems == ()


@pytest.mark.parametrize("audio_format", ["mp3", "flac"])
def test_minimax_speaks_by_url(fal: Asking, tmp_path: Path, audio_format: str) -> None:
    setting = {"format": audio_format, "sample_rate": 44100}
    made = _made(fal, SPEECH, {"prompt": TEXT, "output_format": "url", "audio_setting": setting})

    path = _saved(fal, made["audio"], tmp_path / f"a.{audio_format}")

    info = probe(path)
    assert made["duration_ms"] / 1000 == pytest.approx(info.duration_s or 0, abs=0.15)
    assert judge_audio(path, info, text=TEXT).problems == ()


def test_minimax_speaks_in_hexadecimal_unless_told_otherwise(fal: Asking, tmp_path: Path) -> None:
    made = _made(fal, SPEECH, {"prompt": TEXT, "voice_setting": {"speed": 0.5}})
    usual = _made(fal, SPEECH, {"prompt": TEXT})

    path = tmp_path / "a.mp3"
    path.write_bytes(bytes.fromhex(made["audio"]))

    assert probe(path).mime == "audio/mpeg"
    assert made["duration_ms"] == pytest.approx(2 * usual["duration_ms"], abs=2)


def test_a_wrong_input_is_accepted_and_fails_in_the_model(fal: Asking) -> None:
    """The status says nothing of it: only the result does, with the model's list."""
    given = {"prompt": 5, "num_frames": 80, "frames_per_second": 25, "resolution": "1080p", "unheard_of": 1}
    submitted = _submit(fal, WAN, given)

    status = fal.client.get(submitted["status_url"]).json()
    result = fal.client.get(submitted["response_url"])

    assert status["status"] == "COMPLETED"
    assert "error" not in status
    assert result.status_code == 422
    entries = result.json()["detail"]
    assert [(entry["loc"], entry["type"]) for entry in entries] == [
        (["body", "prompt"], "string_type"),
        (["body", "image_url"], "missing"),
        (["body", "num_frames"], "greater_than_equal"),
        (["body", "frames_per_second"], "less_than_equal"),
        (["body", "resolution"], "one_of"),
    ]
    assert entries[2]["ctx"] == {"ge": 81}
    assert fal.owed_usd() == 0


@pytest.mark.parametrize(
    ("given", "loc"),
    [
        ({"prompt": "x", "voice_setting": {"speed": 3}}, ["body", "voice_setting", "speed"]),
        ({"prompt": "x", "audio_setting": {"sample_rate": "1"}}, ["body", "audio_setting", "sample_rate"]),
        ({"prompt": "x", "voice_setting": "Wise_Woman"}, ["body", "voice_setting"]),
    ],
)
def test_wrong_inputs_deep_down_are_found(fal: Asking, given: dict[str, Any], loc: list[str]) -> None:
    (entry,) = _result(fal, SPEECH, given).json()["detail"]

    assert entry["loc"] == loc


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("data:image/png;base64,bm8gcGljdHVyZQ==", "image_load_error"),
        (_data_uri((256, 256))[: 22 + 400], "image_load_error"),
        ("https://example.com/a.png", "file_download_error"),
        ("/files/fal/x/y?expires=never&signature=0", "file_download_error"),
    ],
)
def test_an_input_that_is_no_picture_fails_the_request(fal: Asking, url: str, kind: str) -> None:
    reply = _result(fal, STABLE, {"image_url": url})

    (entry,) = reply.json()["detail"]
    assert (reply.status_code, entry["type"], entry["loc"]) == (422, kind, ["body", "image_url"])
    assert reply.headers["X-Fal-Error-Type"] == kind


def test_the_status_can_be_streamed(fal: Asking) -> None:
    with asking("/fal-queue", KEY, latency_s={"fal": (10, 10)}) as quick:
        submitted = _submit(quick)
        reply = quick.client.get(submitted["status_url"] + "/stream")

    events = [json.loads(line.removeprefix("data: ")) for line in reply.text.splitlines() if line]
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert [event["status"] for event in events] == ["IN_PROGRESS", "COMPLETED"]


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_model_works_with_as_little_as_it_takes(fal: Asking, name: str) -> None:
    given = {"prompt": "a boat"} | ({"image_url": _data_uri((640, 360))} if "image_url" in BY_NAME[name].fields else {})

    reply = _result(fal, f"/{name}", given)

    assert reply.status_code == 200
    assert float(reply.headers["X-Fal-Billable-Units"]) > 0
    assert fal.owed_usd() > 0
