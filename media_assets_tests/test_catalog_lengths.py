"""Lengths: what a clip's parameters make, the parameters for a wanted length, and in words which cannot be had."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.catalog import LengthRange, ModelSpec, load_catalog
from media_assets.catalog.lengths import LENGTH_TOLERANCE, length_of, length_param_value, params_for_length
from media_assets.catalog.limits import FrameRule
from media_assets.prompt import Scalar, Step

CATALOG = load_catalog()
SVD, FAL_SVD, WAN = "replicate:stable-video-diffusion", "fal:stable-video", "fal:wan-i2v"
KLING, HAILUO, KEN_BURNS = "fal:kling-v2.5-turbo", "fal:hailuo-02", "local:ken-burns"
CLIPS = [spec for spec in CATALOG if spec.step is Step.VIDEO]


def model(name: str, **changes: Any) -> ModelSpec:
    """Return a model of the catalog, with some fields of its entry changed."""
    return ModelSpec.model_validate(CATALOG.get(name).model_dump(by_alias=True, mode="json") | changes)


@pytest.mark.parametrize(
    ("name", "params", "seconds"),
    [
        (SVD, {}, 14 / 6),
        (SVD, {"video_length": "25_frames_with_svd_xt", "frames_per_second": 10}, 2.5),
        (FAL_SVD, {}, 2.5),
        (FAL_SVD, {"fps": 25}, 1.0),
        (WAN, {}, 81 / 16),
        (WAN, {"num_frames": 100, "frames_per_second": 5}, 20.0),
        (KLING, {}, 5.0),
        (KLING, {"duration": "10"}, 10.0),
        (HAILUO, {}, 6.0),
        (KEN_BURNS, {"duration_s": 7.25}, 7.25),
        (KEN_BURNS, {}, None),
        ("local:silence", {"duration_s": 3}, 3.0),
        ("replicate:sdxl", {}, None),
        ("fal:kokoro", {}, None),
        (SVD, {"video_length": "another"}, None),
    ],
)
def test_parameters_make_a_length(name: str, params: dict[str, Scalar], seconds: float | None) -> None:
    """What is not said counts as its default; what has no length has none."""
    assert length_of(model(name), params) == seconds


@pytest.mark.parametrize(
    ("name", "wanted_s", "params"),
    [
        (KLING, 5, {"duration": "5"}),
        (KLING, 5.5, {"duration": "5"}),
        (KLING, 10.0, {"duration": "10"}),
        (KLING, 9.1, {"duration": "10"}),
        (HAILUO, 6.0, {"duration": "6"}),
        (KEN_BURNS, 7.25, {"duration_s": 7.25}),
        (KEN_BURNS, 0.95, {"duration_s": 1.0}),
        (SVD, 14 / 6, {"video_length": "14_frames_with_svd", "frames_per_second": 6}),
        (SVD, 2.5, {"video_length": "14_frames_with_svd", "frames_per_second": 6}),
        (SVD, 1.0, {"video_length": "14_frames_with_svd", "frames_per_second": 14}),
        (SVD, 4, {"video_length": "25_frames_with_svd_xt", "frames_per_second": 6}),
        (SVD, 5, {"video_length": "25_frames_with_svd_xt", "frames_per_second": 5}),
        (FAL_SVD, 2.0, {"fps": 13}),
        (FAL_SVD, 2.5, {"fps": 10}),
        (WAN, 5, {"num_frames": 81, "frames_per_second": 16}),
        (WAN, 16, {"num_frames": 81, "frames_per_second": 5}),
        (WAN, 20, {"num_frames": 90, "frames_per_second": 5}),
    ],
)
def test_a_wanted_length_is_made_of_as_few_frames_as_it_takes(
    name: str, wanted_s: float, params: dict[str, Scalar]
) -> None:
    """More than 81 frames of wan cost a quarter more, for a length that is 1 % nearer."""
    assert params_for_length(model(name), wanted_s) == params


@pytest.mark.parametrize(
    ("name", "wanted_s", "message"),
    [
        (KLING, 7, r"fal:kling-v2\.5-turbo makes 5 or 10 s, not 7 s"),
        (KLING, 20, r"makes 5 or 10 s, not 20 s"),
        (KEN_BURNS, 400, r"local:ken-burns makes 1 to 300 s, not 400 s"),
        (SVD, 6, r"makes 0\.467 to 5 s, not 6 s"),
        (FAL_SVD, 4, r"makes 0\.25 to 2\.5 s, not 4 s"),
        (WAN, 3, r"makes 3\.38 to 20 s, not 3 s"),
        ("replicate:sdxl", 3, r"the length of what replicate:sdxl makes cannot be chosen"),
    ],
)
def test_a_length_that_cannot_be_had_is_refused_in_words(name: str, wanted_s: float, message: str) -> None:
    """The message goes into the plan as it is."""
    with pytest.raises(ValueError, match=message):
        params_for_length(model(name), wanted_s)


@pytest.mark.parametrize("spec", CLIPS, ids=lambda spec: spec.id)
@given(wanted_s=st.floats(0.1, 400))
@settings(max_examples=60, deadline=None)
def test_what_is_promised_is_what_the_parameters_make(spec: ModelSpec, wanted_s: float) -> None:
    """Within 10 %, and in values the parameters take; or a refusal."""
    try:
        params = params_for_length(spec, wanted_s)
    except ValueError as error:
        assert str(error).startswith(f"{spec.id} makes ")  # noqa: PT017 - either outcome is right, and is checked
        return

    for name, value in params.items():
        assert name not in spec.params or spec.params[name].accept(value) == value
    length_s = length_of(spec, params)
    assert length_s is not None
    assert length_s == pytest.approx(wanted_s, rel=LENGTH_TOLERANCE + 1e-6)


@pytest.mark.parametrize(
    ("name", "length_s", "value"), [(KLING, 5.0, "5"), (KLING, 10, "10"), (KEN_BURNS, 4.5, 4.5), (HAILUO, 6.0, "6")]
)
def test_a_length_is_said_in_the_parameters_own_type(name: str, length_s: float, value: Scalar) -> None:
    """``5.0`` is refused where ``"5"`` is wanted."""
    assert length_param_value(model(name), length_s) == value
    assert type(length_param_value(model(name), length_s)) is type(value)


def test_seconds_may_be_written_with_their_unit() -> None:
    """Some models take ``"8s"``."""
    param = {"type": "string", "default": "4s", "enum": ["4s", "8s"], "about": "seconds"}
    length = {"default": 4, "min": 4, "max": 8, "choices": [4, 8]}
    spec = model(KLING, params={"duration": param}, length_s=length, price=[])

    assert params_for_length(spec, 8.0) == {"duration": "8s"}
    assert length_of(spec, {}) == 4.0


def test_whole_seconds_are_rounded_and_still_checked() -> None:
    """A parameter that takes whole seconds cannot make 2.5 s."""
    param = {"type": "integer", "default": 4, "min": 2, "max": 15, "about": "seconds"}
    spec = model(KLING, params={"duration": param}, length_s={"default": 4, "min": 2, "max": 15}, price=[])

    assert params_for_length(spec, 8.3) == {"duration": 8}
    with pytest.raises(ValueError, match=r"makes 2 to 15 s, not 2\.5 s"):
        params_for_length(spec, 2.5)


def test_a_fixed_length_needs_no_parameter() -> None:
    """There is nothing to say, and the length is checked all the same."""
    roles = {"image": "image_url"}
    spec = model(KLING, roles=roles, params={}, length_s={"default": 5, "min": 5, "max": 5}, price=[])

    assert params_for_length(spec, 5.2) == {}
    with pytest.raises(ValueError, match="makes 5 to 5 s, not 10 s"):
        params_for_length(spec, 10)


@pytest.mark.parametrize("name", ["fal:kokoro", SVD])
def test_a_model_without_a_length_parameter_has_no_value_for_it(name: str) -> None:
    """Frames are counted instead, or the text decides."""
    with pytest.raises(ValueError, match="no parameter for a length"):
        length_param_value(model(name), 5)


@pytest.mark.parametrize(
    "fields",
    [
        {"default": 3, "min": 4, "max": 5},
        {"default": 6, "min": 4, "max": 5},
        {"default": 0, "min": 0, "max": 5},
        {"default": 5, "min": 5, "max": 9, "choices": [5, 10]},
        {"default": 7, "min": 5, "max": 10, "choices": [5, 10]},
    ],
)
def test_a_range_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    """A default outside the model's own range would fail every plan."""
    with pytest.raises(ValueError, match="validation error"):
        LengthRange.model_validate(fields)


@pytest.mark.parametrize("fields", [{"fps": "fps"}, {"fps": "fps", "fixed": 25, "count": "frames"}])
def test_frames_are_either_fixed_or_a_parameter(fields: dict[str, Any]) -> None:
    """Otherwise nobody could say how many there are."""
    with pytest.raises(ValueError, match="either fixed or named by count"):
        FrameRule.model_validate(fields)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (SVD, {"frames": {"fps": "fps", "fixed": 25}}, r"frames\.fps: there is no parameter 'fps'"),
        (WAN, {"frames": {"fps": "frames_per_second", "count": "n"}}, r"frames\.count: there is no parameter 'n'"),
        (SVD, {"length_s": {"default": 2, "min": 2, "max": 2}}, "frames: excludes length_s"),
        (WAN, {"clip_size": {"by": "quality", "cases": {"a": {}}}}, r"clip_size\.by: there is no parameter 'quality'"),
        (WAN, {"clip_size": {"by": "resolution", "cases": {"480p": {}}}}, r"clip_size\.cases: must name each of 480p"),
        (WAN, {"accepts": {"audio": {"mimes": ["a/b"], "max_bytes": 1}}}, r"accepts\.audio: there is no such role"),
        ("replicate:flux-dev", {"roles": {"prompt": "prompt"}}, "needs the role size"),
        ("openai:gpt-image-2", {"tokens": {}}, "image_in_tokens are priced, but nothing says how many"),
        ("openai:gpt-4o-mini-tts", {"characters_per_s": None}, "is needed for tokens.per_speech_s"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    """A rule about a parameter that is not there would never apply, and nobody would notice."""
    with pytest.raises(ValueError, match=message):
        model(name, **changes)


def test_counts_name_every_value_of_their_parameter() -> None:
    """A value without a number of frames has no length."""
    frames = {"fps": "frames_per_second", "count": "video_length", "counts": {"14_frames_with_svd": 14}}

    with pytest.raises(ValueError, match=r"frames\.counts: must name each of 14_frames_with_svd, 25_frames"):
        model(SVD, frames=frames)
