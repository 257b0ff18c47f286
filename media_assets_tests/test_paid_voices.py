"""Paid voices at every speed they can be bought at: spoken as ordered they are good, and cost what was reserved."""

from collections.abc import Iterator

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.film import Film, StepResult
from media_assets.prompt import Prompt, Step
from media_assets.steps import expected_voice_s
from media_assets_tests.making import cheap_prompt
from media_assets_tests.simulated import Market, open_market

VOICES = [spec for spec in load_catalog() if spec.step is Step.AUDIO and spec.provider != "local"]
SCRIPT = "The barn stands where the road ends, and the dog sleeps before its door until the evening comes."


def bounds_of_speed(spec: ModelSpec) -> tuple[float, float]:
    """Return the slowest and the fastest a model can be asked to speak."""
    limits = spec.params[spec.roles["speed"]]
    assert limits.min is not None
    assert limits.max is not None
    return limits.min, limits.max


AT_BOUNDS = [(spec, speed) for spec in VOICES for speed in bounds_of_speed(spec)]
at_bounds = pytest.mark.parametrize(("spec", "speed"), AT_BOUNDS, ids=[f"{spec.id}-{at:g}" for spec, at in AT_BOUNDS])


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("voices")) as market:
        yield market


def spoken_by(spec: ModelSpec, key: str, **changes: object) -> Prompt:
    """Return a prompt of which only the voice is paid for."""
    row = {"key": f"{key}-{spec.id}".replace(":", "-").replace(".", "-"), "script": SCRIPT}
    return cheap_prompt(**{**row, "routes": {"audio": [spec.id]}, **changes})


def at_speed(spec: ModelSpec, speed: float) -> dict[str, dict[str, float]]:
    """Return the parameters that ask for a speed."""
    return {"video": {"fps": 2}, "audio": {spec.roles["speed"]: speed}}


def voice_of(film: Film) -> StepResult:
    """Return the voice, which has to be a good one."""
    assert film.error is None
    voice = film.steps[Step.AUDIO]
    assert not voice.degraded
    return voice


@at_bounds
def test_a_voice_at_the_ends_of_its_speed_is_good(market: Market, spec: ModelSpec, speed: float) -> None:
    """A quarter or four times as fast is what was paid for: to refuse it would be to pay and have nothing."""
    prompt = spoken_by(spec, f"at-{speed:g}".replace(".", "-"), params=at_speed(spec, speed))

    voice = voice_of(market.attempt(prompt, min_image_side_px=64))

    assert voice.model == spec.id
    assert voice.artifact is not None
    assert voice.artifact.info.duration_s == pytest.approx(expected_voice_s(SCRIPT, spec, speed=speed), rel=0.1)


@at_bounds
def test_after_video_the_speed_that_is_chosen_is_not_held_against_the_voice(
    market: Market, spec: ModelSpec, speed: float
) -> None:
    """A clip that only the slowest or the fastest speech can match: nobody asked for that speed but we ourselves."""
    clip_s = round(expected_voice_s(SCRIPT, spec) / speed, 2)
    prompt = spoken_by(spec, f"after-{speed:g}".replace(".", "-"), clip_s=clip_s)

    film = market.attempt(prompt, min_image_side_px=64, audio_timing="after_video")

    voice = voice_of(film)
    assert voice.artifact is not None
    assert voice.artifact.info.duration_s == pytest.approx(clip_s, rel=0.1)


@pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
def test_numbers_cost_no_more_than_was_reserved(market: Market, speed: float) -> None:
    """An overrun would block all that is bought after it."""
    spec = load_catalog().get("openai:gpt-4o-mini-tts")
    prompt = spoken_by(
        spec, f"numbers-{speed:g}".replace(".", "-"), script="0123456789" * 25, params=at_speed(spec, speed)
    )
    billed_before = market.bill_usd()

    voice = voice_of(market.attempt(prompt, min_image_side_px=64))

    assert market.bill_usd() - billed_before == voice.cost_usd <= voice.estimate_usd


@pytest.mark.parametrize("speed", bounds_of_speed(load_catalog().get("openai:gpt-4o-mini-tts")))
def test_a_voice_that_breaks_off_is_refused_at_any_speed(market: Market, speed: float) -> None:
    """The judge allows for the speed, and for nothing else."""
    spec = load_catalog().get("openai:gpt-4o-mini-tts")
    market.set_faults({"model": "gpt-4o-mini-tts", "fault": "short_output"})
    prompt = spoken_by(spec, f"short-{speed:g}".replace(".", "-"), script=SCRIPT * 3, params=at_speed(spec, speed))
    try:
        film = market.attempt(prompt, min_image_side_px=64)
    finally:
        market.set_faults()

    assert film.error is not None
    assert "too short" in film.error.message
