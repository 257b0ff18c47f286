"""Request keys: equal key, same purchase; so what changes a key, and what must not, is money."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.prompt import SEED_MAX, Step
from media_assets.request import SCHEMA_VERSION, GenerationRequest, InputRef, derived_seed

IMAGE = InputRef(role="image", request_key="a" * 64, recipe="png-1")
SOUND = InputRef(role="audio", sha256="b" * 64)
PARAMS: dict[str, Any] = {
    "motion_bucket_id": 127,
    "fps": 6,
    "cond_aug": 0.02,
    "caption": 'é "100%" Ж',
    "loop": True,
}


def a_request(**changes: Any) -> GenerationRequest:
    """Return a fixed request, with some fields changed."""
    fields: dict[str, Any] = {
        "step": Step.VIDEO,
        "provider": "replicate",
        "model": "replicate:svd",
        "endpoint": "stability/svd",
        "version": "3f04",
        "params": PARAMS,
        "take": 2,
        "inputs": (IMAGE, SOUND),
    }
    return GenerationRequest(**(fields | changes))


def test_key_is_what_it_always_was() -> None:
    """A golden key: if this fails, every purchase in every ledger would be bought again. Do not just update it."""
    canonical = (
        '{"endpoint":"stability/svd","inputs":[{"role":"audio","sha256":"' + "b" * 64 + '"},{"recipe":"png-1",'
        '"request_key":"' + "a" * 64 + '","role":"image"}],"model":"replicate:svd","params":{"caption":'
        '"é \\"100%\\" Ж","cond_aug":0.02,"fps":6,"loop":true,"motion_bucket_id":127},"provider":"replicate",'
        '"schema":1,"step":"video","take":2,"version":"3f04"}'
    )

    assert SCHEMA_VERSION == 1
    assert a_request().canonical == canonical
    assert a_request().key == "522c3b33f08ece59c24bd9e81ae6aa22128f7ff35aad77ded301a5b0ac61e04a"


@pytest.mark.parametrize(
    "changes",
    [
        {"params": dict(reversed(PARAMS.items()))},
        {"params": PARAMS | {"fps": 6.0}},
        {"inputs": (SOUND, IMAGE)},
        {"inputs": [IMAGE, SOUND]},
    ],
    ids=["order of parameters", "6.0 for 6", "order of inputs", "list of inputs"],
)
def test_equal_wishes_have_one_key(changes: dict[str, Any]) -> None:
    """A CSV cell, a YAML number and a default say the same thing in different types and orders."""
    assert a_request(**changes).key == a_request().key


@pytest.mark.parametrize(
    "changes",
    [
        {"step": Step.IMAGE},
        {"provider": "fal"},
        {"model": "replicate:svd-2"},
        {"endpoint": "stability/svd-xt"},
        {"version": "3f05"},
        {"params": PARAMS | {"fps": 7}},
        {"params": PARAMS | {"loop": False}},
        {"params": PARAMS | {"loop": 1}},
        {"params": PARAMS | {"fps": "6"}},
        {"params": PARAMS | {"extra": 0}},
        {"params": {name: value for name, value in PARAMS.items() if name != "loop"}},
        {"take": 3},
        {"inputs": (IMAGE,)},
        {"inputs": (SOUND, InputRef(role="image", request_key="c" * 64, recipe="png-1"))},
        {"inputs": (SOUND, InputRef(role="image", request_key="a" * 64, recipe="png-2"))},
        {"inputs": (SOUND, InputRef(role="image", request_key="a" * 64))},
        {"inputs": (SOUND, InputRef(role="image", sha256="a" * 64, recipe="png-1"))},
        {"inputs": (SOUND, InputRef(role="first_frame", request_key="a" * 64, recipe="png-1"))},
    ],
)
def test_whatever_decides_what_is_made_is_in_the_key(changes: dict[str, Any]) -> None:
    """A field outside the key would hand out the result of another wish."""
    assert a_request(**changes).key != a_request().key


def test_request_is_rebuilt_from_the_ledger() -> None:
    """A finished step is shown, and fetched again, with the parameters it was made with."""
    request = a_request()

    rebuilt = GenerationRequest.from_canonical(json.loads(request.canonical))

    assert rebuilt == request
    assert rebuilt.key == request.key


def test_request_does_not_change_with_the_mapping_it_was_made_from() -> None:
    """A key that was computed once must stay true."""
    params = dict(PARAMS)
    request = a_request(params=params)
    before = request.key

    params["fps"] = 24

    assert request.params["fps"] == 6
    assert a_request(params=request.params).key == before
    with pytest.raises(TypeError):
        request.params["fps"] = 24  # type: ignore[index]


def test_inputs_are_found_by_the_request_that_made_them() -> None:
    """Bytes change with the version of ffmpeg; the request that made them does not."""
    assert a_request().input_keys() == {"image": "a" * 64}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "\ud800"])
def test_a_parameter_without_a_spelling_has_no_key(bad: float | str) -> None:
    """It is refused where it can still be named, not stored as something else."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words
        _ = a_request(params={"x": bad}).key


@pytest.mark.parametrize(
    ("step", "take", "expected"),
    [
        (Step.IMAGE, 0, 1132136485),
        (Step.IMAGE, 1, 554381196),
        (Step.VIDEO, 0, 1379673729),
        (Step.AUDIO, 0, 1668538447),
        (Step.MERGED, 1, 571573974),
    ],
)
def test_derived_seeds_are_what_they_always_were(step: Step, take: int, expected: int) -> None:
    """Golden values: a seed is part of the key, so another derivation buys everything again."""
    assert derived_seed("a lighthouse at dusk", step, take) == expected


@given(text=st.text(st.characters(exclude_categories=["Cs"])), take=st.integers(0, 1_000_000))
@settings(max_examples=100, deadline=None)
def test_derived_seeds_fit_every_model(text: str, take: int) -> None:
    """Some models take 31 bits only."""
    for step in Step:
        assert 0 <= derived_seed(text, step, take) < 2**31 <= SEED_MAX
