"""What each paid model costs, by figures worked out by hand from its price; and that no estimate is ever too low."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.catalog import Meter, ModelSpec, Recovery, load_catalog
from media_assets.catalog.sizes import size_params
from media_assets.pricing import cost, estimate
from media_assets.prompt import Scalar
from media_assets.request import GenerationRequest

CATALOG = load_catalog()
TODAY = date(2026, 11, 24)
PAID = [spec for spec in CATALOG if spec.recovery is not Recovery.FREE]

TEXT_120 = "a" * 120


def a_request(spec: ModelSpec, **params: Scalar) -> GenerationRequest:
    """Return a whole request: the model's defaults, a square picture, a text, and these parameters."""
    values: dict[str, Scalar] = {name: param.default for name, param in spec.params.items()}
    values |= {spec.roles[role]: TEXT_120 for role in ("prompt", "script") if role in spec.roles}
    values |= size_params(spec, (1024, 1024))
    return GenerationRequest(
        step=spec.step,
        provider=spec.provider,
        model=spec.id,
        endpoint=spec.endpoint,
        version=spec.version,
        params=values | params,
    )


WIDE = {"image_size.width": 1024, "image_size.height": 576}
LARGE = {"image_size.width": 1536, "image_size.height": 1024}
HUGE = {"image_size.width": 2048, "image_size.height": 2048}

GOLDEN: list[tuple[str, dict[str, Any], str, str]] = [
    # 60 s and 180 s at 0.0014
    ("replicate:sdxl", {}, "0", "0.084"),
    ("replicate:stable-video-diffusion", {}, "0", "0.252"),
    ("replicate:flux-schnell", {}, "0.003", "0.003"),
    ("replicate:flux-schnell", {"num_outputs": 4}, "0.012", "0.012"),
    ("replicate:flux-dev", {}, "0.025", "0.025"),
    ("fal:fast-sdxl", {}, "0.0025", "0.0025"),
    ("fal:fast-sdxl", {**LARGE, "num_images": 2}, "0.005", "0.005"),
    # 1024 x 576 is begun, 1024 x 1024 is one, 1536 x 1024 is one and a half, 2048 x 2048 is four
    ("fal:flux-schnell", WIDE, "0.003", "0.003"),
    ("fal:flux-schnell", {}, "0.003", "0.003"),
    ("fal:flux-schnell", LARGE, "0.006", "0.006"),
    ("fal:flux-schnell", {**LARGE, "num_images": 3}, "0.018", "0.018"),
    ("fal:flux-dev", WIDE, "0.025", "0.025"),
    ("fal:flux-dev", HUGE, "0.1", "0.1"),
    ("fal:stable-video", {}, "0.075", "0.075"),
    ("fal:stable-video", {"fps": 25}, "0.075", "0.075"),
    ("fal:wan-i2v", {}, "0.4", "0.4"),
    ("fal:wan-i2v", {"num_frames": 82}, "0.5", "0.5"),
    ("fal:wan-i2v", {"num_frames": 100}, "0.5", "0.5"),
    ("fal:wan-i2v", {"resolution": "480p"}, "0.2", "0.2"),
    ("fal:wan-i2v", {"resolution": "480p", "num_frames": 100}, "0.25", "0.25"),
    ("fal:kling-v2.5-turbo", {}, "0.35", "0.35"),
    # 0.35 + 5 x 0.07
    ("fal:kling-v2.5-turbo", {"duration": "10"}, "0.7", "0.7"),
    # 6 and 10 x 0.045, at either resolution
    ("fal:hailuo-02", {}, "0.27", "0.27"),
    ("fal:hailuo-02", {"duration": "10"}, "0.45", "0.45"),
    ("fal:hailuo-02", {"resolution": "512P"}, "0.27", "0.27"),
    # 120 x 0.02, 0.10, 0.10 and 0.05 for 1000
    ("fal:kokoro", {}, "0.0024", "0.0024"),
    ("fal:minimax-speech-2.6", {}, "0.012", "0.012"),
    ("elevenlabs:multilingual-v2", {}, "0.012", "0.012"),
    ("elevenlabs:flash-v2.5", {}, "0.006", "0.006"),
    ("elevenlabs:flash-v2.5", {"text": "é" * 3}, "0.00015", "0.00015"),
    # 184 tokens of text at 5, and 1.5 x 1767 = 2651 of the picture at 30 USD a million
    ("openai:gpt-image-2", {}, "0", "0.08045"),
    ("openai:gpt-image-2", {"quality": "low"}, "0", "0.00992"),
    ("openai:gpt-image-2", {"quality": "high"}, "0", "0.31745"),
    ("openai:gpt-image-2", {"size": "1536x1024"}, "0", "0.1202"),
    ("openai:gpt-image-2", {"n": 2}, "0", "0.15995"),
    # 184 tokens of text at 0.60, and 1.5 x (150 + 8 s x 50) of sound at 12 USD a million; a fast voice saves nothing
    ("openai:gpt-4o-mini-tts", {}, "0", "0.010011"),
    ("openai:gpt-4o-mini-tts", {"speed": 0.5}, "0", "0.017211"),
    ("openai:gpt-4o-mini-tts", {"speed": 4.0}, "0", "0.010011"),
    # 304 bytes, and 1.5 x (150 + 64 s x 50); 424 bytes, and 1.5 x (150 + 24 s x 50)
    ("openai:gpt-4o-mini-tts", {"input": "9" * 240}, "0", "0.060483"),
    ("openai:gpt-4o-mini-tts", {"input": "猫" * 120}, "0", "0.024555"),
]


@pytest.mark.parametrize(
    ("name", "params", "least", "most"), GOLDEN, ids=[f"{name} {params}" for name, params, _, _ in GOLDEN]
)
def test_a_purchase_is_estimated(name: str, params: dict[str, Scalar], least: str, most: str) -> None:
    """To the micro-dollar."""
    spec = CATALOG.get(name)
    found = estimate(spec, a_request(spec, **params), today=TODAY)

    assert (str(found.min_usd), str(found.max_usd)) == (least, most)


def test_every_paid_model_has_a_figure() -> None:
    """A new model brings its own."""
    assert {name for name, *_ in GOLDEN} == {spec.id for spec in PAID}


@pytest.mark.parametrize(
    ("name", "reported", "usd"),
    [
        ("replicate:sdxl", {"compute_s": "5.524512"}, "0.007735"),
        ("replicate:stable-video-diffusion", {"compute_s": "62.1"}, "0.08694"),
        ("replicate:flux-schnell", {"compute_s": "0.7"}, "0.003"),
        ("fal:wan-i2v", {"billable_units": "1"}, "0.4"),
        # 2 megapixels where one was asked for: fal's unit is known, and what it says is billed.
        ("fal:flux-schnell", {"billable_units": "2"}, "0.006"),
        ("fal:hailuo-02", {"billable_units": "7.5"}, "0.3375"),
        # Less than our table is not believed: some models round up, and a header may be of another kind.
        ("fal:flux-schnell", {"billable_units": "0.5"}, "0.003"),
        ("fal:flux-schnell", {"billable_units": "NaN"}, "0.003"),
        # What these units are is not known, so it is not guessed what they cost.
        ("fal:fast-sdxl", {"billable_units": "3.2"}, "0.0025"),
        ("fal:kokoro", {"billable_units": "600"}, None),
        # 12 x 0.000005 + 1056 x 0.00003
        (
            "openai:gpt-image-2",
            {"text_in_tokens": "12", "image_in_tokens": "0", "image_out_tokens": "1056"},
            "0.03174",
        ),
        # 0.00006 + the worst case of what was not reported: 2651 tokens
        ("openai:gpt-image-2", {"text_in_tokens": "12"}, "0.07959"),
        # 14 x 0.0000006 + 101 x 0.000012, as in OpenAI's example: 0.0012204
        ("openai:gpt-4o-mini-tts", {"text_in_tokens": "14", "audio_out_tokens": "101"}, "0.001221"),
        ("elevenlabs:flash-v2.5", {"character_cost": "60"}, "0.006"),
    ],
)
def test_a_finished_purchase_is_priced(name: str, reported: dict[str, str], usd: str | None) -> None:
    """By what the provider reports in the price's own units; other units change nothing."""
    spec = CATALOG.get(name)
    amounts = {key: Decimal(value) for key, value in reported.items()}
    unreported = cost(spec, a_request(spec), reported={}, today=TODAY).usd

    assert cost(spec, a_request(spec), reported=amounts, today=TODAY).usd == (Decimal(usd) if usd else unreported)


OWN_WORD = {
    *("replicate:flux-schnell", "replicate:flux-dev", "fal:flux-schnell", "fal:stable-video", "fal:wan-i2v"),
    *("fal:kling-v2.5-turbo", "fal:hailuo-02", "fal:kokoro", "openai:gpt-4o-mini-tts"),
}


def test_which_prices_are_the_providers_own_word() -> None:
    """The plan marks the others, so the list is kept by hand."""
    today = {spec.id: estimate(spec, a_request(spec), today=TODAY) for spec in PAID}

    assert {name for name, found in today.items() if found.own_word} == OWN_WORD
    assert all(found.price_from is not None for found in today.values())


@st.composite
def requests(draw: st.DrawFn) -> tuple[ModelSpec, GenerationRequest]:
    """Return a model and a request that its entry allows."""
    spec = draw(st.sampled_from(PAID))
    text = draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=300))
    params: dict[str, Scalar] = {spec.roles[role]: text for role in ("prompt", "script") if role in spec.roles}
    params |= size_params(spec, draw(st.tuples(st.integers(64, 4096), st.integers(64, 4096))))
    for name, param in spec.params.items():
        if param.enum:
            params[name] = draw(st.sampled_from(param.enum))
        elif param.type == "integer" and param.min is not None and param.max is not None:
            params[name] = draw(st.integers(int(param.min), int(param.max)))
    return spec, a_request(spec, **params)


@given(one=requests(), share=st.decimals(0, 1, places=3))
@settings(max_examples=300, deadline=None)
def test_no_purchase_costs_more_than_its_worst_case(one: tuple[ModelSpec, GenerationRequest], share: Decimal) -> None:
    """Whatever is asked, and whatever share of the bounds is reported: what was reserved is enough."""
    spec, request = one
    found = estimate(spec, request, today=TODAY)
    tokens = [str(part.of) for part in spec.price[0].parts if part.per is Meter.TOKEN]
    reported = {"compute_s": Decimal(str(spec.run_deadline_s)) * share, **dict.fromkeys(tokens, share * 50)}

    paid = cost(spec, request, reported=reported, today=TODAY).usd
    assert 0 <= found.min_usd <= found.max_usd
    assert found.max_usd > 0
    assert found.min_usd <= paid <= found.max_usd
    assert cost(spec, request, reported={}, today=TODAY).usd == found.max_usd
