"""Whether a listed prediction can be a request, or surely is: a wrong no pays twice, a wrong yes takes another's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from media_assets.prediction import Prediction, State
from media_assets.prompt import Scalar, Step
from media_assets.providers.fal import FalAdapter
from media_assets.providers.listing import Listed
from media_assets.providers.matching import is_same
from media_assets.request import GenerationRequest, InputRef

ADAPTER = FalAdapter()
ENDPOINT = "fal-ai/wan-i2v"
PARAMS: dict[str, Scalar] = {"prompt": "waves", "seed": 7, "shift": 5.0, "image_size.width": 512, "safe": True}
SHOWN: dict[str, Any] = {"prompt": "waves", "seed": 7, "shift": 5, "image_size": {"width": 512}, "safe": True}
PICTURE, OTHER = "ab12" * 16, "cd34" * 16
NAMED = f"https://v3.fal.media/files/b/x1/kV8eB6Qq_{PICTURE[:16]}.png"
CLIP_REQUEST = GenerationRequest(
    step=Step.VIDEO,
    provider="fal",
    model="fal:wan-i2v",
    endpoint=ENDPOINT,
    version="2025-12",
    params=PARAMS,
    inputs=(InputRef(role="image", request_key="0" * 64),),
)
PICTURE_REQUEST = replace(CLIP_REQUEST, inputs=())


def listed(shown: Mapping[str, Any] | None, **changes: Any) -> Listed:
    known = {
        "prediction": Prediction(id="p", state=State.SUCCEEDED),
        "created_at": None,
        "endpoint": ENDPOINT,
        "input": shown,
        "ended": True,
    }
    return Listed(**{**known, **changes})


def verdicts(request: GenerationRequest, one: Listed, *digests: str) -> tuple[bool, bool]:
    """Return whether it can be the request's, and whether it surely is."""
    return (
        ADAPTER.is_of(request, one, digests=digests),
        ADAPTER.is_surely_of(request, one, digests=digests),
    )


@pytest.mark.parametrize(
    ("sent", "shown", "same"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("7", 7, False),
        (7, 7, True),
        (7, 7.0, True),
        (7.0, 7, True),
        (0.1 + 0.2, 0.3, True),
        (2**53 + 1, 2**53, False),
        (10**400, 1.5, False),
        (7, 8, False),
        (7.5, "7.5", False),
        (7, None, False),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        (1.0, True, False),
        (False, 0, False),
        ({"a": 1}, {"a": 1.0, "b": 2}, True),
        ({"a": {"b": "c"}}, {"a": {"b": "d"}}, False),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, [1], False),
        ("a", ["a"], False),
        (7, float("nan"), False),
    ],
)
def test_a_value_is_shown_as_it_was_sent(sent: Any, shown: Any, same: bool) -> None:  # noqa: FBT001
    assert is_same(sent, shown) is same


def test_what_was_sent_and_nothing_else_is_surely_it() -> None:
    assert verdicts(PICTURE_REQUEST, listed(SHOWN)) == (True, True)


@pytest.mark.parametrize("name", list(SHOWN))
@pytest.mark.parametrize("value", [None, "else", 8, {}, {"width": 8}])
def test_one_parameter_that_differs_speaks_against_it(name: str, value: Any) -> None:
    assert verdicts(PICTURE_REQUEST, listed({**SHOWN, name: value})) == (False, False)


@pytest.mark.parametrize("name", list(SHOWN))
def test_a_parameter_that_is_missing_speaks_against_it(name: str) -> None:
    shown = {known: value for known, value in SHOWN.items() if known != name}

    assert verdicts(PICTURE_REQUEST, listed(shown)) == (False, False)


@pytest.mark.parametrize("more", [{"steps": 4}, {"note": None}, {"image_size": {"width": 512, "height": 9}}])
def test_more_than_was_sent_can_be_it_and_is_never_taken_for_it(more: dict[str, Any]) -> None:
    """Either a default that the provider filled in, or another request: only a person can tell."""
    assert verdicts(PICTURE_REQUEST, listed({**SHOWN, **more})) == (True, False)


def test_an_input_that_is_not_shown_can_be_any_and_is_surely_none() -> None:
    """Replicate wipes inputs after an hour: silence about them is no proof that nothing arrived."""
    assert verdicts(PICTURE_REQUEST, listed(None)) == (True, False)


@pytest.mark.parametrize("changes", [{"endpoint": "fal-ai/wan"}, {"endpoint": ""}, {"version": "2024-01"}])
@pytest.mark.parametrize("shown", [SHOWN, None])
def test_another_endpoint_or_version_speaks_against_it(
    changes: dict[str, Any], shown: Mapping[str, Any] | None
) -> None:
    assert verdicts(PICTURE_REQUEST, listed(shown, **changes)) == (False, False)


@pytest.mark.parametrize(
    "files",
    [
        {"image_url": "https://v3.fal.media/files/b/x1/kV8eB6Qq_out.png"},
        {"image_url": "data:image/png;base64,iVBORw0KGgo="},
        {"images": ["https://v3.fal.media/files/b/x1/a.png"]},
        {"image": {"url": "https://v3.fal.media/files/b/x1/a.png"}},
    ],
)
def test_an_input_file_without_our_name_is_left_out_of_it(files: dict[str, Any]) -> None:
    assert verdicts(CLIP_REQUEST, listed({**SHOWN, **files}), PICTURE) == (True, True)


def test_a_file_that_nothing_was_sent_for_is_more_than_was_sent() -> None:
    files = {"image_url": NAMED, "mask_url": NAMED}

    assert verdicts(PICTURE_REQUEST, listed({**SHOWN, "image_url": NAMED})) == (True, False)
    assert verdicts(CLIP_REQUEST, listed({**SHOWN, **files}), PICTURE) == (True, False)
    assert verdicts(CLIP_REQUEST, listed({**SHOWN, "image_urls": [NAMED, NAMED]}), PICTURE) == (True, False)


@pytest.mark.parametrize("url", [NAMED, f"{NAMED}?x=1", f"https://a.example/{PICTURE[:16]}.jpg"])
@pytest.mark.parametrize("wrap", [str, lambda url: [url], lambda url: {"url": url}], ids=["text", "list", "object"])
def test_a_file_that_bears_our_name_tells_the_picture(url: str, wrap: Any) -> None:
    """Two clips of two pictures, with the same words: the name is all that tells them apart."""
    shown = listed({**SHOWN, "image_url": wrap(url)})

    assert verdicts(CLIP_REQUEST, shown, PICTURE) == (True, True)
    assert verdicts(CLIP_REQUEST, shown, OTHER) == (False, False)


def test_a_further_field_that_is_no_file_is_no_name() -> None:
    shown = listed({**SHOWN, "image_url": NAMED, "steps": 4, "sizes": [1, {"url": 2}]})

    assert verdicts(CLIP_REQUEST, shown, PICTURE) == (True, False)


def test_a_file_whose_digest_nobody_told_speaks_neither_way() -> None:
    assert verdicts(CLIP_REQUEST, listed({**SHOWN, "image_url": NAMED})) == (True, True)


def test_the_digest_of_a_users_own_file_is_in_the_request() -> None:
    own = replace(CLIP_REQUEST, inputs=(InputRef(role="image", sha256=OTHER),))

    assert verdicts(own, listed({**SHOWN, "image_url": NAMED})) == (False, False)


def test_a_listed_prediction_is_followed_as_one_whose_state_is_not_known() -> None:
    """A list shows no outputs: taken for finished, it would be taken for finished without any."""
    one = listed(SHOWN)

    assert one.to_follow() == replace(one.prediction, state=State.UNKNOWN)
