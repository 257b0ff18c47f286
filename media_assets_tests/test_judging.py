"""What a file has to be: told by a request alone as its draft tells it, whoever asks."""

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.judging import question_of, redrafted
from media_assets.media.questions import AskAudio, AskImage, AskVideo
from media_assets.prompt import Step
from media_assets_tests.conformance.our_requests import PICTURE_PX, SCRIPT, drafted, requests_of

MODELS = [spec for spec in load_catalog() if spec.step is not Step.MERGED]


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
def test_a_request_alone_asks_what_its_draft_asks(spec: ModelSpec) -> None:
    """Who finishes a purchase without its prompt must not take a worse file, nor refuse a good one."""
    draft = drafted(spec)

    again = question_of(redrafted(spec, draft.request), min_image_side_px=512)

    assert again == question_of(draft, min_image_side_px=512)


@pytest.mark.parametrize("spec", [spec for spec in MODELS if spec.step is Step.VIDEO], ids=lambda spec: spec.id)
def test_every_choice_of_a_clip_is_heeded(spec: ModelSpec) -> None:
    """Length and size may follow from any parameter."""
    for request in requests_of(spec):
        asked = question_of(redrafted(spec, request), min_image_side_px=512)
        assert isinstance(asked, AskVideo)
        assert asked.requested_duration_s is None or asked.requested_duration_s > 0


def test_what_is_asked_of_each_step() -> None:
    asked = {name: question_of(drafted(load_catalog().get(name)), min_image_side_px=300) for name in _NAMES}

    assert asked == {
        "replicate:sdxl": AskImage(requested_size_px=PICTURE_PX, min_side_px=300),
        "elevenlabs:flash-v2.5": AskAudio(text=SCRIPT, silent_ok=False, speed=1.0),
        "local:silence": AskAudio(text=None, silent_ok=True, speed=1.0),
    }


_NAMES = ("replicate:sdxl", "elevenlabs:flash-v2.5", "local:silence")


def test_a_recipe_of_another_version_leaves_the_size_open() -> None:
    """Then nobody knows how large the picture was that was sent."""
    spec = load_catalog().get("fal:wan-i2v")
    request = drafted(spec).request
    (ref,) = request.inputs
    older = type(request)(**{**vars(request), "inputs": (type(ref)(role=ref.role, request_key="0" * 64, recipe="v0"),)})

    assert redrafted(spec, request).size_px is not None
    assert redrafted(spec, older).size_px is None
