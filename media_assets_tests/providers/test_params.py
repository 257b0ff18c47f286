"""Flat parameter names as nested objects."""

from typing import Any

import pytest

from media_assets.errors import Billed, RequestRejectedError
from media_assets.providers.params import nested


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({}, {}),
        ({"prompt": "x", "steps": 4, "on": False}, {"prompt": "x", "steps": 4, "on": False}),
        (
            {"voice_setting.voice_id": "a", "voice_setting.speed": 1.5},
            {"voice_setting": {"voice_id": "a", "speed": 1.5}},
        ),
        ({"a.b.c": 1, "a.b.d": 2, "a.e": 3, "f": 4}, {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4}),
        ({"a": {"own": 1}, "b": [1, 2]}, {"a": {"own": 1}, "b": [1, 2]}),
    ],
)
def test_names_with_dots_are_fields_of_objects(params: dict[str, Any], body: dict[str, Any]) -> None:
    assert nested(params) == body


def test_the_order_is_kept_and_what_was_given_is_left_alone() -> None:
    params = {"z.b": 1, "a": 2, "z.a": 3}

    assert list(nested(params)) == ["z", "a"]
    assert list(nested(params)["z"]) == ["b", "a"]
    assert params == {"z.b": 1, "a": 2, "z.a": 3}


@pytest.mark.parametrize(
    "params",
    [
        {"a": 1, "a.b": 2},
        {"a.b": 2, "a": 1},
        {"a.b": 1, "a.b.c": 2},
        {"a": {"b": 1}, "a.b": 2},
        {"": 1},
        {".": 1},
        {"a.": 1},
        {".a": 1},
        {"a..b": 1},
    ],
)
def test_a_name_that_has_no_place_is_refused_before_anything_is_sent(params: dict[str, Any]) -> None:
    with pytest.raises(RequestRejectedError, match="nothing was sent") as caught:
        nested(params)
    assert caught.value.billed is Billed.NO


def test_a_name_of_many_parts_does_not_exhaust_the_stack() -> None:
    body: Any = nested({".".join(["a"] * 5000): 1})

    for _ in range(5000):
        body = body["a"]
    assert body == 1
