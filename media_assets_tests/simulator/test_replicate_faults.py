"""What can go wrong at the simulated Replicate, and who pays for it."""

import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image, ImageStat

from media_assets.media.probe import probe
from media_assets.simulator.media import picture
from media_assets.simulator.replicate_files import LARGEST_BYTES
from media_assets.simulator.replicate_models import SDXL_VERSION, SVD_VERSION
from media_assets_tests.simulator.asking import Asking, asking

KEY = {"Authorization": "Bearer r8_simulated"}
RUN_S = 10.0

SDXL = {"version": SDXL_VERSION, "input": {"prompt": "a lighthouse"}}
FLUX = "/models/black-forest-labs/flux-schnell/predictions"


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    with asking("/replicate/v1", KEY, time_scale=1.0, latency_s={"replicate": (RUN_S, RUN_S)}) as one:
        yield one


@pytest.fixture
def replicate(shared: Asking) -> Asking:
    shared.begin()
    return shared


def _create(replicate: Asking, **more: Any) -> dict[str, Any]:
    reply = replicate.client.post("/predictions", json=SDXL | more)
    assert reply.status_code == 201, reply.text
    created: dict[str, Any] = reply.json()
    return created


def _ended(replicate: Asking, created: dict[str, Any]) -> dict[str, Any]:
    replicate.advance(RUN_S + 1)
    found: dict[str, Any] = replicate.client.get(created["urls"]["get"]).json()
    return found


@pytest.mark.parametrize(
    ("fault", "said", "ran_s"),
    [
        ("run_failed", "CUDA out of memory", RUN_S),
        ("content_rejected", "NSFW content detected", 0),
        ("moderation_after_run", "NSFW content detected", RUN_S),
    ],
)
def test_a_prediction_can_fail_and_is_paid_for_its_compute(
    replicate: Asking, fault: str, said: str, ran_s: float
) -> None:
    """Replicate's moderation is no HTTP error: the prediction fails, before or after the work."""
    replicate.fault(fault, model="stability-ai/sdxl")

    ended = _ended(replicate, _create(replicate))

    assert (ended["status"], ended["output"], ended["metrics"]["predict_time"]) == ("failed", None, ran_s)
    assert said in ended["error"]
    assert replicate.owed_usd() == Decimal("0.0014") * int(ran_s)


def test_official_models_are_rejected_with_their_code_and_paid_by_the_picture(replicate: Asking) -> None:
    replicate.fault("moderation_after_run")

    ended = _ended(replicate, replicate.client.post(FLUX, json={"input": {"prompt": "x"}}).json())

    assert ended["error"].endswith("(E005)")
    assert replicate.owed_usd() == 0


def test_an_aborted_prediction_never_started_and_is_free(replicate: Asking) -> None:
    replicate.fault("aborted")

    ended = _ended(replicate, _create(replicate))

    assert (ended["status"], ended.get("started_at"), ended["output"]) == ("aborted", None, None)
    assert replicate.owed_usd() == 0


@pytest.mark.parametrize(("fault", "status"), [("queue_stuck", "starting"), ("run_stuck", "processing")])
def test_a_prediction_can_be_stuck_until_it_is_canceled(replicate: Asking, fault: str, status: str) -> None:
    replicate.fault(fault, times=1)
    created = _create(replicate)
    replicate.advance(1e5)

    stuck = replicate.client.get(created["urls"]["get"]).json()
    canceled = replicate.client.post(created["urls"]["cancel"]).json()

    assert (stuck["status"], canceled["status"]) == (status, "canceled")
    assert (replicate.owed_usd() > 100) == (fault == "run_stuck")


def test_a_sparse_reply_lacks_what_recorded_ones_lack(replicate: Asking) -> None:
    replicate.fault("sparse_201")

    created = _create(replicate)

    assert {"id", "status", "urls", "input", "version", "created_at"} <= set(created)
    assert not {"output", "metrics", "data_removed"} & set(created)
    assert set(created["urls"]) == {"get", "cancel"}


def test_a_reply_can_call_finished_work_unfinished(replicate: Asking) -> None:
    """With ``Prefer: wait`` recordings show ``processing`` next to a whole output."""
    replicate.fault("201_unfinished")

    created = _create(replicate)

    assert created["status"] == "processing"
    assert replicate.client.get(created["output"][0]).status_code == 200


def test_a_prediction_can_be_unknown_right_after_it_was_made(replicate: Asking) -> None:
    created = _create(replicate)
    replicate.fault("404_after_create", times=2)

    statuses = [replicate.client.get(created["urls"]["get"]).status_code for _ in range(3)]

    assert statuses == [404, 404, 200]


def test_polls_can_fail_in_every_way_of_a_gateway(replicate: Asking) -> None:
    created = _create(replicate)
    replicate.fault("poll_5xx", times=4)

    statuses = [replicate.client.get(created["urls"]["get"]).status_code for _ in range(5)]

    assert statuses == [500, 502, 503, 504, 200]


def test_a_status_can_be_new_to_the_world(replicate: Asking) -> None:
    created = _create(replicate)
    replicate.fault("unknown_status", times=1)

    statuses = [replicate.client.get(created["urls"]["get"]).json()["status"] for _ in range(2)]

    assert statuses == ["hibernating", "processing"]


def test_data_is_removed_only_once_there_is_some(replicate: Asking) -> None:
    replicate.fault("data_removed", times=1)
    created = _create(replicate)

    running = replicate.client.get(created["urls"]["get"]).json()
    removed = _ended(replicate, created)
    again = replicate.client.get(created["urls"]["get"]).json()

    assert [one["data_removed"] for one in (running, removed, again)] == [False, True, False]
    assert (removed["status"], removed["output"], removed["input"]) == ("succeeded", None, {})


def test_a_cancel_can_lose_the_race(replicate: Asking) -> None:
    """The reply still says processing, the prediction has succeeded, and it is paid for."""
    replicate.fault("cancel_race")
    created = _create(replicate)
    replicate.advance(1)

    told = replicate.client.post(created["urls"]["cancel"]).json()
    truth = replicate.client.get(created["urls"]["get"]).json()

    assert (told["status"], truth["status"]) == ("processing", "succeeded")
    assert replicate.owed_usd() > 0


def test_the_list_can_lag_and_hide_what_runs(replicate: Asking) -> None:
    """Not being listed proves nothing about a prediction."""
    old = _create(replicate)
    replicate.advance(RUN_S + 1)
    new = _create(replicate)

    def listed() -> set[str]:
        return {one["id"] for one in replicate.client.get("/predictions").json()["results"]}

    replicate.fault("list_lag", seconds=RUN_S)
    lagging = listed()
    replicate.fault("list_hides_running")
    hiding = listed()

    assert (old["id"] in lagging, new["id"] in lagging) == (True, False)
    assert (old["id"] in hiding, new["id"] in hiding) == (True, False)


@pytest.mark.parametrize(
    ("fault", "status", "title"),
    [("insufficient_credit", 402, "Insufficient credit"), ("400", 400, "Bad request"), ("retired_404", 404, None)],
)
def test_a_refused_create_is_not_accepted(replicate: Asking, fault: str, status: int, title: str | None) -> None:
    replicate.fault(fault)

    reply = replicate.client.post("/predictions", json=SDXL)

    assert (reply.status_code, reply.json().get("title"), reply.json()["status"]) == (status, title, status)
    assert reply.headers["content-type"] == "application/problem+json"
    assert replicate.submissions() == []


def test_a_rule_finds_a_model_by_version_and_by_path(replicate: Asking) -> None:
    replicate.fault("noexec_503", model="black-forest-labs/flux-schnell")

    assert replicate.client.post(FLUX, json={"input": {"prompt": "x"}}).status_code == 503
    assert replicate.client.post("/predictions", json=SDXL).status_code == 201
    named = {"version": "black-forest-labs/flux-schnell", "input": {"prompt": "x"}}
    assert replicate.client.post("/predictions", json=named).status_code == 503


@pytest.mark.parametrize(("fault", "size", "is_black"), [("black_output", 1024, True), ("tiny_output", 64, False)])
def test_a_picture_can_be_worthless(replicate: Asking, fault: str, size: int, is_black: bool) -> None:  # noqa: FBT001
    replicate.fault(fault)
    ended = _ended(replicate, _create(replicate))

    image = Image.open(io.BytesIO(replicate.client.get(ended["output"][0]).content))

    assert image.size == (size, size)
    assert (max(ImageStat.Stat(image.convert("L")).mean) == 0) == is_black
    assert replicate.submissions()[0]["outputs"][0]["width_px"] == size


def test_a_clip_can_be_too_short(replicate: Asking, tmp_path: Any) -> None:
    still = _ended(replicate, _create(replicate))["output"][0]
    replicate.fault("short_output")
    ended = _ended(replicate, _create(replicate, version=SVD_VERSION, input={"input_image": still}))

    path = tmp_path / "clip.mp4"
    path.write_bytes(replicate.client.get(ended["output"]).content)

    assert (probe(path).duration_s or 9) < 1


def test_an_upload_is_gone_after_a_day(replicate: Asking) -> None:
    """A plan that uploads today and submits tomorrow pays for a failure."""
    url = replicate.client.post("/files", files={"content": ("a.png", picture((64, 64)))}).json()["urls"]["get"]
    clip = {"version": SVD_VERSION, "input": {"input_image": url}}

    early = _ended(replicate, _create(replicate, **clip))
    replicate.advance(24 * 3600)
    late = _ended(replicate, _create(replicate, **clip))

    assert (early["status"], late["status"]) == ("succeeded", "failed")
    assert "Failed to download" in late["error"]
    assert replicate.client.get(url).status_code == 404


def test_a_file_of_100_mb_is_too_large(replicate: Asking) -> None:
    """The limit itself is too much: the specification says less than that."""
    reply = replicate.client.post("/files", files={"content": ("large.bin", bytes(LARGEST_BYTES))})

    assert (reply.status_code, reply.json()) == (413, {"detail": "Files must be less than 100MB in size"})
    assert reply.headers["content-type"] == "application/problem+json"
    assert "large.bin" not in {one["name"] for one in replicate.client.get("/files").json()["results"]}


def test_an_output_url_can_be_anything(replicate: Asking) -> None:
    replicate.fault("output_url", value="http://169.254.169.254/latest/")

    ended = _ended(replicate, _create(replicate))

    assert ended["output"] == ["http://169.254.169.254/latest/"]
