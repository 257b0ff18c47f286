"""The official ``fal-client`` package 1.0.3 against the simulator: nothing is changed but its four host constants."""

import asyncio
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fal_client import AsyncClient, Completed, InProgress, Queued, Status, SyncClient, encode
from PIL import Image

from media_assets.simulator.media import picture
from media_assets.simulator.server import Simulator
from media_assets_tests.conformance.conftest import Fail
from media_assets_tests.conformance.decoding import Clip, clip, picture_px, voice_s
from media_assets_tests.conformance.fal_sdk import fetched, hosts_at, open_client

SCHNELL = "fal-ai/flux/schnell"
BARN = {"prompt": "a red barn", "image_size": {"width": 320, "height": 256}}
TEXT = "The quick brown fox jumped over the lazy dog."
SPOKEN_S = pytest.approx(len(TEXT) / 15, abs=0.15)


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[SyncClient]:
    with open_client(simulator) as one:
        yield one


def test_subscribe_tells_every_state_and_returns_the_pictures(standing: Simulator) -> None:
    told: list[Status] = []
    enqueued: list[str] = []

    def update(status: Status) -> None:
        if not told or type(told[-1]) is not type(status):
            told.append(status)
        standing.world.clock.advance(0.2)

    with open_client(standing) as client:
        client.submit(SCHNELL, BARN)  # the one place is taken for a while
        result = client.subscribe(
            SCHNELL,
            {**BARN, "num_images": 2, "seed": 5},
            with_logs=True,
            interval=0.001,
            on_enqueue=enqueued.append,
            on_queue_update=update,
        )

    assert [picture_px(fetched(image)) for image in result["images"]] == [(320, 256)] * 2
    assert (result["seed"], result["prompt"], result["has_nsfw_concepts"]) == (5, "a red barn", [False, False])
    queued, running, completed = told
    assert queued == Queued(position=0)
    assert isinstance(running, InProgress)
    assert isinstance(completed, Completed)
    assert running.logs == completed.logs
    assert [line["message"] for line in completed.logs or []] == ["Running the model"]
    assert completed.metrics["inference_time"] > 0
    assert (completed.error, completed.error_type) == (None, None)
    assert len(enqueued) == 1


def test_a_handle_has_the_short_urls_and_asks_by_them(client: SyncClient, simulator: Simulator) -> None:
    handle = client.submit(SCHNELL, BARN, priority="low", hint="warm", start_timeout=30)

    here = f"{simulator.url}/fal-queue/fal-ai/flux/requests/{handle.request_id}"
    assert (handle.response_url, handle.status_url, handle.cancel_url) == (here, f"{here}/status", f"{here}/cancel")
    events = list(handle.iter_events(with_logs=False, interval=0.005))
    assert isinstance(events[-1], Completed)
    assert events[-1].logs is None
    assert picture_px(fetched(handle.get()["images"][0])) == (320, 256)


def test_a_request_is_found_again_by_its_id(client: SyncClient) -> None:
    request_id = client.submit(SCHNELL, BARN).request_id

    assert picture_px(fetched(client.result(SCHNELL, request_id)["images"][0])) == (320, 256)
    assert isinstance(client.status(SCHNELL, request_id, with_logs=True), Completed)


def test_what_waits_has_a_position(client: SyncClient, fail: Fail) -> None:
    fail("queue_stuck")
    first, second = (client.submit(SCHNELL, BARN) for _ in range(2))

    statuses = [handle.status() for handle in (first, second)]
    for handle in (first, second):
        handle.cancel()

    assert all(isinstance(status, Queued) and status.position >= 0 for status in statuses)


@pytest.mark.parametrize("fault", ["queue_stuck", "run_stuck"])
def test_cancel_ends_what_waits_and_what_runs(client: SyncClient, fail: Fail, fault: str) -> None:
    fail(fault)
    handle = client.submit(SCHNELL, BARN)

    assert isinstance(handle.status(), Queued if fault == "queue_stuck" else InProgress)
    client.cancel(SCHNELL, handle.request_id)

    status = handle.status()
    assert isinstance(status, Completed)
    assert status.error_type == "client_cancelled"


def test_logs_come_when_they_are_asked_for(client: SyncClient, fail: Fail) -> None:
    fail("run_stuck")
    handle = client.submit(SCHNELL, BARN)
    with_logs, without = handle.status(with_logs=True), handle.status(with_logs=False)
    handle.cancel()

    assert isinstance(with_logs, InProgress)
    assert isinstance(without, InProgress)
    assert without.logs is None
    (line,) = with_logs.logs or []
    assert set(line) == {"message", "timestamp", "level", "source"}


@pytest.mark.parametrize(
    ("model", "more", "size_px"),
    [
        ("fal-ai/fast-sdxl", {"image_size": "square", "format": "png"}, (512, 512)),
        ("fal-ai/flux/dev", {"image_size": "landscape_16_9", "output_format": "png"}, (1024, 576)),
        (SCHNELL, {"image_size": "portrait_4_3"}, (768, 1024)),
    ],
)
def test_every_picture_model_makes_pictures(
    client: SyncClient, model: str, more: dict[str, Any], size_px: tuple[int, int]
) -> None:
    (image,) = client.subscribe(model, {"prompt": "a red barn", **more})["images"]

    assert (image["width"], image["height"]) == picture_px(fetched(image)) == size_px


def test_a_picture_can_come_inside_the_result(client: SyncClient) -> None:
    (image,) = client.subscribe(SCHNELL, {**BARN, "sync_mode": True})["images"]

    assert image["url"].startswith("data:image/jpeg;base64,")


# The package makes an HTTP client for each upload and never closes it.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_an_upload_becomes_the_input_of_a_clip(client: SyncClient, tmp_path: Path) -> None:
    data = picture((1024, 576), "image/png", 3)
    file = tmp_path / "barn.png"
    file.write_bytes(data)

    urls = [
        client.upload(data, "image/png"),
        client.upload(data, "image/png", "barn.png", repository="fal"),
        client.upload_file(file),
        client.upload_image(Image.open(file), format="png"),
    ]
    gc.collect()

    made = [client.subscribe("fal-ai/stable-video", {"image_url": url, "fps": 10, "seed": 1}) for url in urls]
    assert [clip(fetched(one["video"])) for one in made] == [Clip((1024, 576), 25, 10.0)] * 4


@pytest.mark.parametrize(
    ("model", "more", "seconds", "size_px"),
    [
        ("fal-ai/wan-i2v", {"num_frames": 81, "resolution": "480p"}, 81 / 16, (848, 480)),
        ("fal-ai/kling-video/v2.5-turbo/pro/image-to-video", {"duration": "5"}, 5, (1280, 720)),
        ("fal-ai/minimax/hailuo-02/standard/image-to-video", {"duration": "6", "resolution": "512P"}, 6, (910, 512)),
    ],
)
def test_every_clip_model_makes_clips(
    client: SyncClient, model: str, more: dict[str, Any], seconds: float, size_px: tuple[int, int]
) -> None:
    uri = encode(picture((512, 288), "image/jpeg", 4), "image/jpeg")
    made = clip(fetched(client.subscribe(model, {"prompt": "it moves", "image_url": uri, **more})["video"]))

    assert made.size_px == size_px
    assert made.frames / made.fps == pytest.approx(seconds, abs=0.01)


def test_voices_come_as_files_or_as_hexadecimal_text(client: SyncClient) -> None:
    kokoro = client.subscribe("fal-ai/kokoro/american-english", {"prompt": TEXT, "voice": "am_adam"})
    minimax = client.subscribe("fal-ai/minimax/speech-2.6-hd", {"prompt": TEXT, "output_format": "url"})
    text = client.subscribe("fal-ai/minimax/speech-2.6-hd", {"prompt": TEXT})

    assert voice_s(fetched(kokoro["audio"])) == SPOKEN_S
    assert voice_s(fetched(minimax["audio"])) == SPOKEN_S
    assert voice_s(bytes.fromhex(text["audio"])) == SPOKEN_S
    assert text["duration_ms"] / 1000 == SPOKEN_S


def test_the_asynchronous_client_does_the_same(simulator: Simulator, fail: Fail) -> None:
    async def all_of_it() -> tuple[int, int]:
        client = AsyncClient(key="simulated:key")
        async with contextlib.aclosing(await client._client):
            result = await client.subscribe(SCHNELL, BARN, interval=0.005)
            fail("run_stuck")
            handle = await client.submit(SCHNELL, BARN)
            await handle.cancel()
            assert isinstance(await handle.status(), Completed)
            return picture_px(fetched(result["images"][0]))

    with hosts_at(simulator):
        assert asyncio.run(all_of_it()) == (320, 256)
