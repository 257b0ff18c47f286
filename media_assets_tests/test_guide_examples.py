"""The guide's examples of pipelines that break, as films that do not: schemas, sizes, times, lengths and costs."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.errors import JudgeError, PlanError, PredictionFailedError, PredictionTimeoutError
from media_assets.ledger.rows import PurchaseState
from media_assets.media.probe import probe
from media_assets.prompt import Prompt, Step
from media_assets_tests.making import purchases
from media_assets_tests.simulated import PAID_ROUTES, QUICK, Market, hurried, open_market, paid_prompt

SDXL, SVD, VOICE = "stability-ai/sdxl", "stability-ai/stable-video-diffusion", "eleven_multilingual_v2"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _film(**changes: Any) -> Prompt:
    """Return a prompt of the guide's two models, with a free, silent voice."""
    return paid_prompt(routes={**PAID_ROUTES, "audio": ["local:silence"]}, **changes)


def _models(market: Market) -> list[str]:
    return [one["model"] for one in market.accepted()]


def test_a_list_of_pictures_becomes_the_one_picture_that_the_next_model_wants(market: Market) -> None:
    """The guide's "Missing required parameter: motion_bucket_id": every parameter has a default, and it is sent."""
    market.make(_film(seed=7))

    picture, clip = market.accepted()
    assert (picture["model"], clip["model"]) == (SDXL, SVD)
    assert clip["input"].pop("input_image").startswith("data:image/png;base64,")
    assert clip["input"] == {
        "cond_aug": 0.02,
        "decoding_t": 14,
        "frames_per_second": 6,
        "motion_bucket_id": 127,
        "seed": 7,
        "sizing_strategy": "maintain_aspect_ratio",
        "video_length": "14_frames_with_svd",
    }


def test_a_default_gives_way_to_the_prompt(market: Market) -> None:
    """And to nothing else: the model's other parameters stay as they are."""
    market.make(_film(params={"video": {"motion_bucket_id": 90}}))

    given = market.accepted()[-1]["input"]
    assert (given["motion_bucket_id"], given["frames_per_second"]) == (90, 6)


def test_a_square_picture_is_cut_to_the_shape_that_the_clip_wants(market: Market) -> None:
    """Free, and recorded with the clip that was made of it."""
    film = market.make(_film(size_px=(1024, 1024)))

    picture, clip = (one["outputs"][0] for one in market.accepted())
    assert (picture["width_px"], picture["height_px"]) == (1024, 1024)
    assert (clip["width_px"], clip["height_px"]) == (1024, 576)
    assert film.steps[Step.VIDEO].notes == (
        "size_px: replicate:stable-video-diffusion makes 1024x576 in place of 1024x1024",
        "image conformed from 1024x1024 image/png to 1024x576 image/png, 56% of it kept",
    )
    assert film.cost_usd == market.bill_usd()


def test_a_picture_that_would_lose_too_much_is_not_even_bought(market: Market) -> None:
    """Before the first cent."""
    film = market.attempt(_film(size_px=(1024, 1024)), max_crop=0.3)

    assert isinstance(film.error, PlanError)
    assert "44% of the picture would be cut off" in film.error.message
    assert market.requests() == 0


def test_a_model_that_outlasts_our_patience_is_waited_for_by_the_next_run(tmp_path: Path) -> None:
    """The guide's 15 seconds against a timeout of 10, here against 0.1: it is paid for, so it is not given up."""
    impatient = hurried("fal:stable-video", run_deadline_s=0.1)
    routes = {"image": ["replicate:sdxl"], "video": ["fal:stable-video"], "audio": ["local:silence"]}
    with open_market(tmp_path / "home", latency_s={**QUICK, "fal": (15, 15)}) as market:
        late = market.attempt(paid_prompt(routes=routes), models=[impatient], deadline_grace_s=0)
        httpx.post(f"{market.simulator.url}/_sim/clock", json={"advance_s": 15}).raise_for_status()
        film = market.make(paid_prompt(routes=routes), models=[impatient])

        assert isinstance(late.error, PredictionTimeoutError)
        assert (str(late.error.rerun), str(late.error.billed)) == ("resume", "yes")
        assert film.path is not None
        assert market.posts() == 2
        assert film.cost_usd == market.bill_usd()


def test_a_deadline_that_the_provider_keeps_bounds_the_bill(tmp_path: Path) -> None:
    """Where it can be told, it is: 15 seconds of compute end at 10, and 10 are paid for, as was quoted."""
    deadline = hurried("replicate:sdxl", run_deadline_s=10)
    with open_market(tmp_path / "home", latency_s={"replicate": (15, 15)}, time_scale=100.0) as market:
        film = market.attempt(_film(), models=[deadline])

        assert isinstance(film.error, PredictionFailedError)
        row = purchases(market.home)[Step.IMAGE]
        assert row.state is PurchaseState.FAILED_PAID
        assert row.cost_micro_usd == row.estimate_micro_usd == market.bill_usd() * 1_000_000 == 14_000
        assert _models(market) == [SDXL]


LONG = "The barn stands where the road ends, and nobody has walked up to it for a very long time."


@pytest.mark.parametrize(
    ("script", "fit", "longest"),
    [
        (LONG, "hold", "voice"),
        (LONG, "loop", "voice"),
        ("Look up.", "hold", "clip"),
        ("Look up.", "trim", "voice"),
        ("The barn stands where the road ends.", "stretch", "clip"),
    ],
    ids=["long-hold", "long-loop", "short-hold", "short-trim", "near-stretch"],
)
def test_clip_and_voice_of_different_lengths_make_a_film(market: Market, script: str, fit: str, longest: str) -> None:
    """The guide's "Video and audio have different durations" is a question of policy, asked before the first cent."""
    film = market.make(paid_prompt(script=script, fit=fit))

    artifacts = {step: result.artifact for step, result in film.steps.items()}
    clip, voice = artifacts[Step.VIDEO], artifacts[Step.AUDIO]
    assert clip is not None
    assert voice is not None
    assert clip.info.duration_s != pytest.approx(voice.info.duration_s, abs=0.05)
    assert film.path is not None
    info, wanted_s = probe(film.path), (voice if longest == "voice" else clip).info.duration_s
    assert info.video_duration_s == pytest.approx(wanted_s, abs=0.1)
    assert info.audio_duration_s == pytest.approx(wanted_s, abs=0.1)


def test_an_image_that_is_too_small_is_not_made_into_a_clip(market: Market) -> None:
    """The guide's "Validate Early": the next purchase is not made, and a rerun buys nothing either."""
    market.set_faults({"model": SDXL, "fault": "tiny_output"})

    film = market.attempt(_film())

    assert isinstance(film.error, JudgeError)
    assert "at least 512 px a side are needed" in film.error.message
    assert _models(market) == [SDXL]
    assert purchases(market.home)[Step.IMAGE].state is PurchaseState.FAILED_PAID
    assert market.attempt(_film()).error is not None
    assert market.posts() == 1


def test_a_clip_that_is_too_short_is_not_spoken_over(market: Market) -> None:
    """With ``audio_timing: after_video`` the voice is bought for the clip that is there; so not for this one."""
    market.set_faults({"model": SVD, "fault": "short_output"})

    film = market.attempt(paid_prompt(script="The barn stands where the road ends"), audio_timing="after_video")

    assert isinstance(film.error, JudgeError)
    assert _models(market) == [SDXL, SVD]
    assert film.steps[Step.IMAGE].artifact is not None


def test_seconds_requests_and_characters_add_up_to_the_bill(tmp_path: Path) -> None:
    """Three providers with three meters; the sum is exact, and so is each line of it."""
    routes = {"image": ["replicate:sdxl"], "video": ["fal:stable-video"], "audio": ["elevenlabs:multilingual-v2"]}
    script = "Exactly these characters are paid for."
    slow = {**QUICK, "replicate": (1.0, 5.0)}
    with open_market(tmp_path / "home", latency_s=slow, time_scale=20.0, seed=3) as market:
        film = market.make(paid_prompt(routes=routes, script=script))

        cost_usd = {str(step): result.cost_usd for step, result in film.steps.items()}
        billed_usd = {name: Decimal(usd) for name, usd in market.ask("/_sim/bill")["by_provider"].items()}
        assert cost_usd == {
            "image": billed_usd["replicate"],
            "video": billed_usd["fal"],
            "audio": billed_usd["elevenlabs"],
            "merged": 0,
        }
        assert billed_usd["replicate"] >= Decimal("0.0014")
        assert billed_usd["elevenlabs"] == len(script) * Decimal("0.0001")
        assert film.cost_usd == film.spent_usd == market.bill_usd()
