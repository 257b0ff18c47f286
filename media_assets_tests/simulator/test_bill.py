"""The bill is what our ledger must agree with: every meter, who pays, and no rounding down."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from media_assets.simulator import elevenlabs_inputs, fal_models, openai_inputs, replicate_models
from media_assets.simulator.bill import bill, bill_line, price_of, prices
from media_assets.simulator.submissions import Submission

SDXL = ("replicate", "stability-ai/sdxl")
WAN = ("fal", "fal-ai/wan-i2v")
KLING = ("fal", "fal-ai/kling-video/v2.5-turbo/pro/image-to-video")
HAILUO = ("fal", "fal-ai/minimax/hailuo-02/standard/image-to-video")


def _submission(
    model: tuple[str, str],
    given: Mapping[str, Any] | None = None,
    *,
    state: str = "succeeded",
    **outcome: Any,
) -> Submission:
    return Submission(
        1, "2026-11-22T12:00:00.000Z", 0.0, *model, "/endpoint", "id-1", dict(given or {}), state, outcome
    )


def _pictures(*sizes_px: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"kind": "image", "width_px": width_px, "height_px": height_px} for width_px, height_px in sizes_px]


def test_every_model_the_simulator_knows_has_a_price() -> None:
    """A submission that is accepted and cannot be billed would hide what it costs."""
    assert set(prices()) == {
        SDXL,
        ("replicate", "stability-ai/stable-video-diffusion"),
        ("replicate", "black-forest-labs/flux-schnell"),
        ("replicate", "black-forest-labs/flux-dev"),
        ("fal", "fal-ai/fast-sdxl"),
        ("fal", "fal-ai/flux/schnell"),
        ("fal", "fal-ai/flux/dev"),
        ("fal", "fal-ai/stable-video"),
        WAN,
        KLING,
        HAILUO,
        ("fal", "fal-ai/kokoro/american-english"),
        ("fal", "fal-ai/minimax/speech-2.6-hd"),
        ("openai", "gpt-image-2"),
        ("openai", "gpt-4o-mini-tts"),
        ("elevenlabs", "eleven_multilingual_v2"),
        ("elevenlabs", "eleven_flash_v2_5"),
    }


def test_no_provider_serves_a_model_that_the_price_file_does_not_know() -> None:
    """The tables of models are elsewhere: one more there is one more here."""
    served = {("replicate", model.name) for model in replicate_models.MODELS}
    served |= {("fal", model.name) for model in fal_models.MODELS}
    served |= {("openai", name) for name in (openai_inputs.IMAGE_MODEL, openai_inputs.SPEECH_MODEL)}
    served |= {("elevenlabs", name) for name in elevenlabs_inputs.MODELS}

    assert served == set(prices())


@pytest.mark.parametrize("model", sorted(prices()))
def test_every_price_has_a_source_and_a_past_date(model: tuple[str, str]) -> None:
    price = price_of(*model)

    assert price.source
    assert date(2026, 1, 1) <= price.date <= date(2026, 11, 22)
    assert price.usd > 0 or all(usd > 0 for usd in price.usd_per_million.values())


@pytest.mark.parametrize(
    ("one", "usd", "quantity"),
    [
        (_submission(SDXL, compute_s=5.52), "0.007728", "5.52"),
        (
            _submission(("replicate", "black-forest-labs/flux-schnell"), outputs=_pictures((1024, 1024)) * 3),
            "0.009000",
            "3",
        ),
        (_submission(("replicate", "black-forest-labs/flux-dev"), outputs=_pictures((1, 1))), "0.025000", "1"),
        (_submission(("fal", "fal-ai/fast-sdxl"), outputs=_pictures((4000, 4000))), "0.002500", "1"),
        (_submission(("fal", "fal-ai/flux/schnell"), outputs=_pictures((1024, 1024))), "0.003000", "1"),
        (_submission(("fal", "fal-ai/flux/schnell"), outputs=_pictures((1025, 1024))), "0.006000", "2"),
        (_submission(("fal", "fal-ai/flux/dev"), outputs=_pictures((512, 512), (1536, 1536))), "0.100000", "4"),
        (_submission(("fal", "fal-ai/stable-video")), "0.075000", "1"),
        (_submission(WAN), "0.400000", "1"),
        (_submission(WAN, {"resolution": "480p"}), "0.200000", "0.5"),
        (_submission(WAN, {"num_frames": 82}), "0.500000", "1.25"),
        (_submission(WAN, {"num_frames": 81, "resolution": "720p"}), "0.400000", "1"),
        (_submission(WAN, {"num_frames": 100, "resolution": "480p"}), "0.250000", "0.625"),
        (_submission(KLING), "0.350000", "5"),
        (_submission(KLING, {"duration": "10"}), "0.700000", "10"),
        (_submission(HAILUO), "0.270000", "6"),
        (_submission(HAILUO, {"duration": "10"}), "0.450000", "10"),
        (_submission(("fal", "fal-ai/kokoro/american-english"), {"prompt": "héllo"}), "0.000100", "5"),
        (_submission(("fal", "fal-ai/minimax/speech-2.6-hd"), {"prompt": "a" * 250}), "0.025000", "250"),
        (
            _submission(("openai", "gpt-image-2"), tokens={"text_in": 12, "image_in": 0, "image_out": 1056}),
            "0.031740",
            "1068",
        ),
        (_submission(("openai", "gpt-4o-mini-tts"), tokens={"text_in": 14, "audio_out": 101}), "0.001221", "115"),
        (_submission(("elevenlabs", "eleven_multilingual_v2"), {"text": "a" * 42}), "0.004200", "42"),
        (_submission(("elevenlabs", "eleven_flash_v2_5"), {"text": "🎬 a"}), "0.000150", "3"),
    ],
)
def test_each_meter_charges_what_its_price_says(one: Submission, usd: str, quantity: str) -> None:
    line = bill_line(one)

    assert format(line.usd, "f") == usd
    assert line.quantity == Decimal(quantity)


@pytest.mark.parametrize(
    ("model", "state", "usd"),
    [
        (SDXL, "succeeded", "0.014000"),
        (SDXL, "failed", "0.014000"),
        (SDXL, "canceled", "0.014000"),
        (SDXL, "aborted", "0"),
        (SDXL, "accepted", "0"),
        (("replicate", "black-forest-labs/flux-dev"), "succeeded", "0.025000"),
        (("replicate", "black-forest-labs/flux-dev"), "failed", "0"),
        (("replicate", "black-forest-labs/flux-dev"), "canceled", "0"),
        (("fal", "fal-ai/flux/dev"), "failed", "0"),
        (("fal", "fal-ai/flux/dev"), "canceled", "0"),
        (("openai", "gpt-image-2"), "failed", "0"),
        (("elevenlabs", "eleven_flash_v2_5"), "accepted", "0"),
        (("elevenlabs", "eleven_flash_v2_5"), "failed", "0"),
    ],
)
def test_who_pays_depends_on_the_provider_and_the_outcome(model: tuple[str, str], state: str, usd: str) -> None:
    """Failed work costs money where compute is sold, and nothing where results are."""
    one = _submission(
        model, {"text": "words"}, state=state, compute_s=10.0, outputs=_pictures((512, 512)), tokens={"text_in": 9}
    )

    assert bill_line(one).usd == Decimal(usd)


def test_a_run_that_was_canceled_in_the_queue_costs_nothing() -> None:
    assert bill_line(_submission(SDXL, state="canceled", compute_s=0.0)).usd == 0
    assert bill_line(_submission(SDXL, state="canceled")).usd == 0


@pytest.mark.parametrize(
    ("compute_s", "usd"), [(0.000001, "0.000001"), (1.0, "0.001400"), (1.000001, "0.001401"), (0.5, "0.000700")]
)
def test_a_line_is_rounded_up_to_whole_micro_dollars(compute_s: float, usd: str) -> None:
    """Our ledger counts whole micro-dollars: a fraction of one must not make the two differ."""
    assert format(bill_line(_submission(SDXL, compute_s=compute_s)).usd, "f") == usd


def test_the_total_is_the_sum_of_the_rounded_lines() -> None:
    submissions = [_submission(SDXL, compute_s=1.000001) for _ in range(3)]
    submissions += [_submission(WAN), _submission(("elevenlabs", "eleven_flash_v2_5"), {"text": "abc"})]

    answer = bill(submissions)

    assert answer["by_provider"] == {"elevenlabs": "0.000150", "fal": "0.400000", "replicate": "0.004203"}
    assert answer["total_usd"] == "0.404353"
    assert answer["lines"][0] == {
        "id": "id-1",
        "provider": "replicate",
        "model": "stability-ai/sdxl",
        "state": "succeeded",
        "usd": "0.001401",
        "quantity": "1.000001",
        "per": "second of compute",
    }


def test_an_empty_log_costs_nothing() -> None:
    assert bill([]) == {"total_usd": "0.000000", "by_provider": {}, "lines": []}


def test_a_model_without_a_price_is_never_free() -> None:
    with pytest.raises(ValueError, match="no price for fal-ai/new of fal"):
        bill([_submission(("fal", "fal-ai/new"))])
