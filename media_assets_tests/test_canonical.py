"""One spelling for every value: what equal digests mean."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.canonical import canonical_json, digest_of

_PLAIN_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_PLAIN_TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        (5.0, "5"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e22, "10000000000000000000000"),
        ((1, 2), "[1,2]"),
        (True, "true"),
        (1, "1"),
        (None, "null"),
        ("é Ж 🎬 \n\0", '"é Ж 🎬 \\n\\u0000"'),
        (Decimal("0.10"), '"0.1"'),
        (Decimal("1E+2"), '"100"'),
        ({1: "a"}, '{"1":"a"}'),
    ],
)
def test_spelling(value: Any, expected: str) -> None:
    """These spellings are in every ledger that exists; another one would buy everything again."""
    assert canonical_json(value) == expected


def test_digest_is_of_the_spelling() -> None:
    """A golden value: the digest is the name under which things were paid for."""
    assert digest_of({"b": 1, "a": 2.0}) == "d3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), "\ud800", {"a": ["\udfff"]}, {"\ud800": 1}]
)
def test_values_without_a_spelling_are_refused(value: Any) -> None:
    """Half a character cannot be stored, and NaN is not even equal to itself."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words
        canonical_json(value)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_things_json_has_no_word_for_are_refused(value: Any) -> None:
    """A silent ``str()`` would put memory addresses into keys."""
    with pytest.raises(TypeError):
        canonical_json(value)


@given(value=_VALUES)
@settings(max_examples=200, deadline=None)
def test_spelling_is_json_and_stable(value: Any) -> None:
    """Reading the spelling and writing it again must not change a key."""
    text = canonical_json(value)

    assert canonical_json(json.loads(text)) == text


@given(pairs=st.dictionaries(_PLAIN_TEXT, st.integers(), min_size=2, max_size=6))
@settings(max_examples=100, deadline=None)
def test_order_of_fields_does_not_matter(pairs: dict[str, int]) -> None:
    """A YAML file whose lines were sorted is the same wish."""
    assert digest_of(dict(reversed(pairs.items()))) == digest_of(pairs)
