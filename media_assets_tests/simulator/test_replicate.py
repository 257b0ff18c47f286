"""The simulated Replicate: predictions through all their states, what they cost, and every way it can go wrong."""

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.media.judge import judge_image, judge_video
from media_assets.media.probe import probe
from media_assets.simulator.media import picture
from media_assets.simulator.replicate_models import SDXL_VERSION, SVD_VERSION, svd_size_px
from media_assets_tests.simulator.asking import Asking, asking

KEY = {"Authorization": "Bearer r8_simulated"}
RUN_S = 100.0
"""Every run takes as long, so that states last until the clock is advanced."""

SDXL: dict[str, Any] = {"version": SDXL_VERSION, "input": {"prompt": "a lighthouse", "width": 640, "height": 512}}
FLUX = "/models/black-forest-labs/flux-schnell/predictions"


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    options = {"time_scale": 1.0, "latency_s": {"replicate": (RUN_S, RUN_S)}, "at_once": {"replicate": 2}}
    with asking("/replicate/v1", KEY, **options) as one:
        yield one


@pytest.fixture
def replicate(shared: Asking) -> Iterator[Asking]:
    shared.begin()
    yield shared
    shared.begin()
    shared.advance(10 * RUN_S)  # whatever still runs or waits ends


def _create(replicate: Asking, body: Any = None, **headers: str) -> dict[str, Any]:
    reply = replicate.client.post("/predictions", json=body or SDXL, headers=headers)
    assert reply.status_code in {201, 202}, reply.text
    created: dict[str, Any] = reply.json()
    return created


def _again(replicate: Asking, prediction: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = replicate.client.get(prediction["urls"]["get"]).json()
    return found


def _ended(replicate: Asking, body: Any = None) -> dict[str, Any]:
    created = _create(replicate, body)
    replicate.advance(RUN_S + 1)
    return _again(replicate, created)


def _saved(replicate: Asking, url: str, path: Path) -> Path:
    path.write_bytes(replicate.client.get(url, headers={"Authorization": ""}).content)
    return path


def test_a_prediction_goes_from_starting_to_succeeded(replicate: Asking) -> None:
    created = _create(replicate)
    replicate.advance(RUN_S / 2)
    running = _again(replicate, created)
    replicate.advance(RUN_S)
    ended = _again(replicate, created)

    assert (created["status"], created["output"], created["logs"], created["error"]) == ("starting", None, "", None)
    assert "started_at" not in created
    assert "metrics" not in created
    assert (created["model"], created["version"], created["input"]) == (
        "stability-ai/sdxl",
        SDXL_VERSION,
        SDXL["input"],
    )
    assert running["status"] == "processing"
    assert " 50%|#####     | 25/50 [" in running["logs"]
    assert (ended["status"], ended["metrics"]["predict_time"]) == ("succeeded", RUN_S)
    started, completed = (datetime.fromisoformat(ended[name]) for name in ("started_at", "completed_at"))
    assert completed - started == timedelta(seconds=RUN_S)
    assert len(ended["output"]) == 1
    assert ended["data_removed"] is False


def test_pictures_are_good_and_of_the_size_asked_for(replicate: Asking, tmp_path: Path) -> None:
    body = {**SDXL, "input": {**SDXL["input"], "num_outputs": 3, "seed": 5}}

    first, again = _ended(replicate, body), _ended(replicate, body)

    contents = [[replicate.client.get(url).content for url in one["output"]] for one in (first, again)]
    assert contents[0] == contents[1]
    assert len(set(contents[0])) == 3
    path = _saved(replicate, first["output"][0], tmp_path / "out.png")
    info = probe(path)
    assert (info.mime, info.width_px, info.height_px) == ("image/png", 640, 512)
    assert judge_image(path, info, requested_size_px=(640, 512)).problems == ()


def test_a_chain_of_models_makes_a_moving_clip(replicate: Asking, tmp_path: Path) -> None:
    """SDXL answers with a list, Stable Video Diffusion wants a string and answers with one."""
    still = _ended(replicate, {"version": SDXL_VERSION, "input": {"width": 1024, "height": 1024}})["output"][0]

    clip = _ended(
        replicate, {"version": f"stability-ai/stable-video-diffusion:{SVD_VERSION}", "input": {"input_image": still}}
    )

    path = _saved(replicate, clip["output"], tmp_path / "out.mp4")
    info = probe(path)
    assert (info.mime, info.width_px, info.height_px) == ("video/mp4", 576, 576)
    assert info.duration_s == pytest.approx(14 / 6, abs=0.05)
    assert (
        judge_video(path, info, requested_size_px=(576, 576), requested_duration_s=14 / 6, check_motion=True).problems
        == ()
    )


@pytest.mark.parametrize(
    ("strategy", "given", "expected"),
    [
        ("maintain_aspect_ratio", (1920, 1080), (1024, 576)),
        ("maintain_aspect_ratio", (1024, 1024), (576, 576)),
        ("maintain_aspect_ratio", (576, 1024), (320, 576)),
        ("maintain_aspect_ratio", (500, 300), (448, 256)),
        ("maintain_aspect_ratio", (3000, 100), (1024, 64)),
        ("crop_to_16_9", (700, 900), (1024, 576)),
        ("use_image_dimensions", (1300, 900), (1280, 896)),
    ],
)
def test_a_clip_has_the_pictures_shape_in_steps_of_64(
    strategy: str, given: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert svd_size_px(strategy, given) == expected


@pytest.mark.parametrize("way", ["file", "data"])
def test_an_input_picture_can_be_uploaded_or_sent_along(replicate: Asking, way: str) -> None:
    content = picture((800, 600), "image/jpeg")
    if way == "file":
        url = replicate.client.post("/files", files={"content": ("a.jpg", content)}).json()["urls"]["get"]
    else:
        url = "data:image/jpeg;base64," + base64.b64encode(content).decode()

    ended = _ended(replicate, {"version": SVD_VERSION, "input": {"input_image": url}})

    assert ended["status"] == "succeeded"
    assert replicate.submissions()[-1]["outputs"][0]["width_px"] == 768


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("data:image/png;base64,bm8gcGljdHVyZQ==", "cannot identify image"),
        ("data:image/png;base64,%%%", "cannot identify image"),
        ("https://example.com/a.png", "Failed to download"),
        ("file:///etc/passwd", "Failed to download"),
        ("http://[broken", "Failed to download"),
    ],
)
def test_an_input_that_is_no_picture_fails_the_prediction(replicate: Asking, url: str, said: str) -> None:
    """What cannot be read is accepted all the same: the model finds it out."""
    ended = _ended(replicate, {"version": SVD_VERSION, "input": {"input_image": url}})

    assert (ended["status"], ended["output"]) == ("failed", None)
    assert said in ended["error"]


def test_official_models_run_by_name_and_others_do_not(replicate: Asking) -> None:
    by_path = replicate.client.post(FLUX, json={"input": {"prompt": "x"}})
    by_name = replicate.client.post(
        "/predictions", json={"version": "black-forest-labs/flux-dev", "input": {"prompt": "x", "aspect_ratio": "16:9"}}
    )
    community = replicate.client.post("/models/stability-ai/sdxl/predictions", json={"input": {}})
    unversioned = replicate.client.post("/predictions", json={"version": "stability-ai/sdxl", "input": {}})
    unknown = replicate.client.post("/predictions", json={"version": "0" * 64, "input": {}})
    mixed = replicate.client.post(
        "/predictions", json={"version": f"stability-ai/stable-video-diffusion:{SDXL_VERSION}", "input": {}}
    )

    assert [reply.status_code for reply in (by_path, by_name, community)] == [201, 201, 404]
    assert [reply.status_code for reply in (unversioned, unknown, mixed)] == [422, 422, 422]
    assert unknown.json()["title"] == "Invalid version or not permitted"
    assert by_path.json()["version"] == "hidden"
    replicate.advance(RUN_S + 1)
    assert _again(replicate, by_path.json())["output"][0].partition("?")[0].endswith(".webp")
    assert replicate.submissions()[-1]["outputs"] == [{"kind": "image", "width_px": 1344, "height_px": 768}]


def test_every_fault_of_an_input_is_told(replicate: Asking) -> None:
    given = {"motion_bucket_id": 256, "frames_per_second": 4, "sizing_strategy": "x", "seed": "y", "speed": 1}

    reply = replicate.client.post("/predictions", json={"version": SVD_VERSION, "input": given})

    body = reply.json()
    assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json")
    assert (body["title"], body["status"]) == ("Input validation failed", 422)
    assert [(one["type"], one["field"]) for one in body["invalid_fields"]] == [
        ("required", "input"),
        ("enum", "input.sizing_strategy"),
        ("number_gte", "input.frames_per_second"),
        ("number_lte", "input.motion_bucket_id"),
        ("invalid_type", "input.seed"),
        ("additional_property_not_allowed", "input"),
    ]
    assert "- input.motion_bucket_id: Must be less than or equal to 255\n" in body["detail"]
    assert replicate.submissions() == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 422),
        (b'{"version": "x"}', {}, 422),
        (b'{"version": "x", "input": {}, "model": "y"}', {}, 422),
        (b'{"version": "x", "input": {}, "webhook": "http://a"}', {}, 422),
        (None, {"Prefer": "wait=61"}, 422),
        (None, {"Prefer": "respond-async"}, 422),
        (None, {"Cancel-After": "4s"}, 422),
        (None, {"Cancel-After": "soon"}, 422),
    ],
)
def test_a_wrong_request_is_refused(
    replicate: Asking, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    content: dict[str, Any] = {"json": SDXL} if body is None else {"content": body}

    reply = replicate.client.post("/predictions", headers=headers, **content)

    assert reply.status_code == status
    assert reply.json()["status"] == status
    assert replicate.submissions() == []


def test_waiting_brings_the_output_or_says_that_it_is_not_there_yet(replicate: Asking) -> None:
    with asking("/replicate/v1", KEY, latency_s={"replicate": (20, 20)}) as quick:
        finished = quick.client.post("/predictions", json=SDXL, headers={"Prefer": "wait=60"})
        whole = quick.client.post("/predictions", json=SDXL, headers={"Prefer": "wait"})
        quick.fault("run_stuck")
        unfinished = quick.client.post("/predictions", json=SDXL, headers={"Prefer": "wait=3"})

    assert (finished.status_code, finished.json()["status"]) == (201, "succeeded")
    assert (unfinished.status_code, unfinished.json()["status"]) == (202, "processing")
    assert [reply.headers["preference-applied"] for reply in (finished, unfinished, whole)] == [
        "wait=60",
        "wait=3",
        "wait=60",
    ]


def test_a_deadline_ends_a_run_and_aborts_who_waits(replicate: Asking) -> None:
    """A canceled run costs what it ran; an aborted one is free."""
    running, _, waiting = (_create(replicate, **{"Cancel-After": after}) for after in ("1m", "1m", "50s"))
    replicate.advance(61)

    states = [_again(replicate, one) for one in (running, waiting)]

    assert [state["status"] for state in states] == ["canceled", "aborted"]
    assert "started_at" not in states[1]
    started, deadline = (datetime.fromisoformat(states[0][name]) for name in ("created_at", "deadline"))
    assert deadline - started == timedelta(seconds=60)
    assert [Decimal(line["usd"]) for line in replicate.billed()][::2] == [
        (Decimal(str(states[0]["metrics"]["predict_time"])) * Decimal("0.0014")).quantize(
            Decimal("0.000001"), "ROUND_UP"
        ),
        Decimal(0),
    ]


@pytest.mark.parametrize(("text", "seconds"), [("5", 5), ("90s", 90), ("5m", 300), ("1h30m45s", 5445)])
def test_durations_are_read(replicate: Asking, text: str, seconds: int) -> None:
    created = _create(replicate, **{"Cancel-After": text})

    until, begun = (datetime.fromisoformat(created[name]) for name in ("deadline", "created_at"))
    assert until - begun == timedelta(seconds=seconds)


def test_a_cancel_is_paid_for_what_ran(replicate: Asking) -> None:
    running, _, waiting = (_create(replicate) for _ in range(3))
    replicate.advance(RUN_S / 2)

    replies = [replicate.client.post(one["urls"]["cancel"]) for one in (waiting, running)]

    assert [(reply.status_code, reply.json()["status"]) for reply in replies] == [(200, "canceled")] * 2
    assert replies[0].json()["metrics"]["predict_time"] == 0
    assert replies[1].json()["metrics"]["predict_time"] == pytest.approx(RUN_S / 2, abs=2)
    assert [Decimal(line["usd"]) > 0 for line in replicate.billed()] == [True, False, False]
    again = replicate.client.post(running["urls"]["cancel"])
    assert (again.status_code, again.json()["status"]) == (200, "canceled")
    assert replicate.client.post("/predictions/none/cancel").status_code == 404


def test_an_hour_later_everything_is_removed(replicate: Asking) -> None:
    ended = _ended(replicate)
    replicate.advance(3601)

    late = _again(replicate, ended)

    assert (late["status"], late["input"], late["output"], late["logs"], late["data_removed"]) == (
        "succeeded",
        {},
        None,
        "",
        True,
    )
    assert replicate.client.get(ended["output"][0]).status_code == 403


def test_more_creates_than_allowed_are_throttled(replicate: Asking) -> None:
    with asking("/replicate/v1", KEY, time_scale=1.0, replicate_creates_per_min=3) as strict:
        replies = [strict.client.post("/predictions", json=SDXL) for _ in range(4)]
        strict.advance(61)
        later = strict.client.post("/predictions", json=SDXL)
        accepted = len(strict.submissions())

    assert [reply.status_code for reply in (*replies, later)] == [201, 201, 201, 429, 201]
    assert [reply.headers["ratelimit-remaining"] for reply in replies[:3]] == ["2", "1", "0"]
    assert 55 <= replies[3].json()["retry_after"] <= 60
    assert accepted == 4


def test_pages_of_the_list_hold_a_hundred_newest_first() -> None:
    """The list is the only way to find a prediction whose reply was lost."""
    with asking("/replicate/v1", KEY) as busy:
        ids = [_create(busy)["id"] for _ in range(101)]
        first = busy.client.get("/predictions").json()
        second = busy.client.get(first["next"]).json()
        back = busy.client.get(second["previous"]).json()

    assert [one["id"] for one in first["results"]] == ids[:0:-1]
    assert [one["id"] for one in second["results"]] == ids[:1]
    assert (first["previous"], second["next"]) == (None, None)
    assert back["results"][0]["id"] == ids[-1]


def test_the_list_can_be_cut_by_time(replicate: Asking) -> None:
    early = _create(replicate)
    replicate.advance(60)
    late = _create(replicate)

    def listed(**query: str) -> list[str]:
        return [one["id"] for one in replicate.client.get("/predictions", params=query).json()["results"]]

    assert early["id"] not in listed(created_after=early["created_at"].replace("Z", "999Z"))
    assert early["id"] in listed(created_after=early["created_at"])
    assert listed(created_after=early["created_at"].replace("Z", "999Z")) == [late["id"]]
    assert late["id"] not in listed(created_before=late["created_at"])
    assert replicate.client.get("/predictions", params={"created_after": "yesterday"}).status_code == 400


def test_uploads_are_told_in_full_and_can_be_removed(replicate: Asking) -> None:
    content = picture((64, 64))

    made = replicate.client.post(
        "/files", files={"content": ("a.png", content, "image/png")}, data={"metadata": '{"of": "me"}'}
    )

    body = made.json()
    assert (made.status_code, body["name"], body["content_type"], body["size"]) == (
        201,
        "a.png",
        "image/png",
        len(content),
    )
    assert body["metadata"] == {"of": "me"}
    assert replicate.client.get(body["urls"]["get"]).json() == body
    assert body in replicate.client.get("/files").json()["results"]
    assert replicate.client.delete(body["urls"]["get"]).status_code == 204
    gone = replicate.client.get(body["urls"]["get"])
    assert (gone.status_code, gone.json()) == (404, {"detail": "File not found"})
    assert replicate.client.post("/files", json={}).status_code == 400


def test_models_and_versions_can_be_looked_up(replicate: Asking) -> None:
    model = replicate.client.get("/models/stability-ai/sdxl").json()
    version = replicate.client.get(f"/models/stability-ai/sdxl/versions/{SDXL_VERSION}").json()

    assert model["latest_version"] == version
    schemas = version["openapi_schema"]["components"]["schemas"]
    assert schemas["Input"]["properties"]["num_outputs"] | {"x-order": 0} == {
        "type": "integer",
        "x-order": 0,
        "default": 1,
        "minimum": 1,
        "maximum": 4,
    }
    assert schemas["Output"]["type"] == "array"
    assert replicate.client.get("/models/stability-ai/sdxl/versions/none").status_code == 404
    assert replicate.client.get("/models/nobody/nothing").status_code == 404
