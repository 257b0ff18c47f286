"""Sizes: which a model makes and takes, the nearest to a wanted one, and what its clips will measure."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.catalog.limits import ClipCase, ClipSize, InputRule, SizeRule
from media_assets.catalog.sizes import expected_clip_size_px, size_of, size_params
from media_assets.prompt import SIDE_MAX_PX, SIDE_MIN_PX

CATALOG = load_catalog()
SIDES = st.integers(SIDE_MIN_PX, SIDE_MAX_PX)
RULES = {
    f"{spec.id} {what}": rule
    for spec in CATALOG
    for what, rule in [("makes", spec.sizes), *((f"takes {role}", one.sizes) for role, one in spec.accepts.items())]
    if rule is not None
}


def a_range(**fields: Any) -> SizeRule:
    """Return a range of sizes from 256 to 2048 pixels, with other limits on top."""
    return SizeRule.model_validate({"min_px": 256, "max_px": 2048, **fields})


def model(name: str) -> ModelSpec:
    """Return a model of the catalog."""
    return CATALOG.get(name)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
@given(wanted=st.tuples(SIDES, SIDES))
@settings(max_examples=60, deadline=None)
def test_the_nearest_size_is_allowed_and_its_own_nearest(rule: SizeRule, wanted: tuple[int, int]) -> None:
    """Whatever a prompt may ask for: a size that is not allowed is refused by the provider."""
    found = rule.nearest(wanted)

    assert rule.allows(found)
    assert rule.nearest(found) == found
    assert found == wanted or not rule.allows(wanted)


@st.composite
def a_rule(draw: st.DrawFn) -> dict[str, Any]:
    """Return the fields of a range."""
    low, span, step = draw(st.integers(1, 40)), draw(st.integers(0, 60)), draw(st.sampled_from([1, 2, 8, 16, 64]))
    return {
        "min_px": low * step,
        "max_px": (low + span) * step,
        "multiple_of": step,
        "max_pixels": draw(st.one_of(st.none(), st.integers(10_000, 5_000_000))),
        "aspect_min": draw(st.floats(0.1, 1)),
        "aspect_max": draw(st.floats(1, 10)),
    }


@given(fields=a_rule(), wanted=st.tuples(SIDES, SIDES))
@settings(max_examples=200, deadline=None)
def test_every_rule_that_is_accepted_has_a_nearest_size(fields: dict[str, Any], wanted: tuple[int, int]) -> None:
    """A user's rule too: either it is refused when it is read, or it always has an answer."""
    try:
        rule = SizeRule.model_validate(fields)
    except ValueError:
        assert fields["max_pixels"] is not None
        assert fields["min_px"] ** 2 > fields["max_pixels"]
        return

    assert rule.allows(rule.nearest(wanted))


@pytest.mark.parametrize(
    ("rule", "wanted", "nearest"),
    [
        (a_range(multiple_of=8), (1024, 576), (1024, 576)),
        (a_range(multiple_of=8), (1023, 577), (1024, 576)),
        (a_range(multiple_of=16), (1000, 562), (992, 560)),
        (a_range(), (4096, 4096), (2048, 2048)),
        (a_range(), (128, 72), (451, 256)),
        (a_range(), (4096, 64), (2048, 256)),
        (a_range(multiple_of=64), (1280, 720), (1472, 832)),
        (a_range(aspect_max=2.0), (2048, 512), (1448, 724)),
        (a_range(max_pixels=1_000_000), (1600, 900), (1333, 750)),
        (a_range(min_pixels=655_360, multiple_of=16), (1024, 576), (1088, 608)),
        (SizeRule(choices=((1024, 576), (576, 1024))), (1920, 1080), (1024, 576)),
        (SizeRule(choices=((1024, 576), (576, 1024))), (720, 1280), (576, 1024)),
        (SizeRule(choices=((1024, 576), (576, 1024))), (1024, 1024), (1024, 576)),
        (SizeRule(choices=((512, 512), (1024, 1024), (1536, 1024))), (900, 900), (1024, 1024)),
        (SizeRule(named={"1:1": (1024, 1024), "16:9": (1344, 768)}), (1024, 576), (1344, 768)),
    ],
)
def test_shape_comes_first_then_area(rule: SizeRule, wanted: tuple[int, int], nearest: tuple[int, int]) -> None:
    """A crop loses what was paid for; a larger or smaller picture is scaled."""
    assert rule.nearest(wanted) == nearest


@pytest.mark.parametrize(
    ("px", "allowed"),
    [
        ((1024, 1024), True),
        ((3840, 2160), True),
        ((2160, 3840), True),
        ((3840, 1280), True),
        ((1024, 576), False),
        ((1024, 1025), False),
        ((3856, 1600), False),
        ((3840, 1264), False),
        ((3840, 2176), False),
        ((480, 1456), False),
    ],
)
def test_limits_of_a_range_all_count(px: tuple[int, int], allowed: bool) -> None:  # noqa: FBT001
    """Side, multiple, shape, and pixels on either end: OpenAI's rule has them all."""
    rule = model("openai:gpt-image-2").sizes

    assert rule is not None
    assert rule.allows(px) is allowed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either choices, or named, or a range"),
        ({"min_px": 64, "max_px": 128, "choices": [[64, 64]]}, "either choices"),
        ({"choices": [[64, 64]], "multiple_of": 8}, "no limits besides"),
        ({"choices": [[64, 64]], "aspect_max": 3}, "no limits besides"),
        ({"min_px": 64}, "both given"),
        ({"min_px": 60, "max_px": 128, "multiple_of": 8}, "whole multiples"),
        ({"min_px": 128, "max_px": 64}, "no square"),
        ({"min_px": 64, "max_px": 128, "min_pixels": 128 * 128 + 1}, "no square"),
        ({"min_px": 64, "max_px": 128, "max_pixels": 64 * 64 - 1}, "no square"),
        ({"min_px": 64, "max_px": 128, "aspect_min": 1.5}, "less than or equal to 1"),
        ({"choices": [[0, 64]]}, "greater than 0"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    """Before anybody asks it for a size."""
    with pytest.raises(ValueError, match=message):
        SizeRule.model_validate(fields)


def test_the_largest_size_is_known() -> None:
    """The worst case of a price by the megapixel."""
    assert a_range().most_pixels == 2048 * 2048
    assert a_range(max_pixels=1_000_000).most_pixels == 1_000_000
    assert SizeRule(choices=((64, 64), (128, 64))).most_pixels == 128 * 64


def test_an_input_names_the_kinds_it_may_be() -> None:
    """A rule that takes no kind of file takes nothing."""
    with pytest.raises(ValueError, match="mimes"):
        InputRule(mimes=(), max_bytes=1)


@pytest.mark.parametrize(
    ("name", "wanted", "params"),
    [
        ("replicate:sdxl", (1024, 576), {"width": 1024, "height": 576}),
        ("replicate:sdxl", (1023, 577), {"width": 1024, "height": 576}),
        ("replicate:flux-schnell", (1024, 576), {"aspect_ratio": "16:9"}),
        ("replicate:flux-dev", (1000, 1000), {"aspect_ratio": "1:1"}),
        ("replicate:flux-dev", (576, 1024), {"aspect_ratio": "9:16"}),
        ("fal:flux-schnell", (1024, 576), {"image_size.width": 1024, "image_size.height": 576}),
        ("openai:gpt-image-2", (1024, 1024), {"size": "1024x1024"}),
        ("openai:gpt-image-2", (1024, 576), {"size": "1088x608"}),
        ("local:landscape", (641, 333), {"width": 641, "height": 333}),
        ("local:ken-burns", (641, 333), {"width": 641, "height": 333}),
        ("fal:wan-i2v", (1024, 576), {}),
        ("fal:kokoro", (1024, 576), {}),
    ],
)
def test_a_size_is_said_in_the_models_own_words(
    name: str, wanted: tuple[int, int], params: dict[str, int | str]
) -> None:
    """Two numbers, one text, or the name of a shape; and read back as the size it makes."""
    spec = model(name)

    assert size_params(spec, wanted) == params
    rule = spec.sizes
    assert size_of(spec, params) == (None if not params else rule.nearest(wanted) if rule else wanted)


@pytest.mark.parametrize("text", ["auto", "1024", "1024x", "0x1024", "1024x0", "x", "9999999x1", "1024x1024x1"])
def test_a_size_that_is_none_is_not_guessed(text: str) -> None:
    """A price by the pixel then takes the worst case."""
    assert size_of(model("openai:gpt-image-2"), {"size": text}) is None
    assert size_of(model("replicate:flux-dev"), {"aspect_ratio": text}) is None


@pytest.mark.parametrize(
    ("name", "params", "image_px", "clip_px"),
    [
        ("replicate:stable-video-diffusion", {}, (1024, 576), (1024, 576)),
        ("replicate:stable-video-diffusion", {}, (1920, 1080), (1024, 576)),
        ("replicate:stable-video-diffusion", {}, (576, 1024), (320, 576)),
        ("replicate:stable-video-diffusion", {}, (1000, 500), (960, 448)),
        ("replicate:stable-video-diffusion", {"sizing_strategy": "crop_to_16_9"}, (576, 1024), (1024, 576)),
        ("replicate:stable-video-diffusion", {"sizing_strategy": "use_image_dimensions"}, (576, 1024), (576, 1024)),
        ("replicate:stable-video-diffusion", {"sizing_strategy": "use_image_dimensions"}, (1023, 577), (960, 576)),
        ("replicate:stable-video-diffusion", {"sizing_strategy": "another"}, (1024, 576), None),
        ("fal:stable-video", {}, (1024, 576), (1024, 576)),
        ("fal:wan-i2v", {}, (1024, 576), (1280, 720)),
        ("fal:wan-i2v", {"resolution": "480p"}, (1024, 576), (848, 480)),
        ("fal:wan-i2v", {"resolution": "480p"}, (576, 1024), (480, 848)),
        ("fal:wan-i2v", {"aspect_ratio": "1:1"}, (1024, 576), (720, 720)),
        ("fal:wan-i2v", {"aspect_ratio": "9:16"}, (1024, 576), (720, 1280)),
        ("fal:hailuo-02", {}, (1024, 576), (1364, 768)),
        ("fal:hailuo-02", {"resolution": "512P"}, (1024, 1024), (512, 512)),
        ("fal:kling-v2.5-turbo", {}, (1024, 576), None),
        ("local:ken-burns", {"width": 640, "height": 360}, (1024, 576), (640, 360)),
        ("local:landscape", {"width": 640, "height": 360}, None, (640, 360)),
        ("fal:wan-i2v", {}, None, None),
    ],
)
def test_a_clips_size_is_known_beforehand(
    name: str, params: dict[str, Any], image_px: tuple[int, int] | None, clip_px: tuple[int, int] | None
) -> None:
    """The judge compares it with what came; where nobody knows, it does not."""
    assert expected_clip_size_px(model(name), params, image_px) == clip_px


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (ClipSize, "either always one rule, or cases"),
        (lambda: ClipSize(always=ClipCase(), by="x", cases={"a": ClipCase()}), "either always"),
        (lambda: ClipSize(by="x"), "either always"),
        (lambda: ClipSize(always=ClipCase(), cases={"a": ClipCase()}), "either always"),
        (lambda: ClipCase(size=(1, 1), within=(2, 2)), "exclude each other"),
    ],
)
def test_a_rule_for_clips_that_contradicts_itself_is_refused(build: Any, message: str) -> None:
    """Before anybody asks it for a size."""
    with pytest.raises(ValueError, match=message):
        build()
