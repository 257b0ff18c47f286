"""Chance that a seed decides: the same question gets the same answer, whatever else was asked before."""

import hashlib
from typing import Final

_BITS: Final = 53  # as many as a float holds


def draw(*question: object) -> float:
    """Return a number in 0..1, 1 excluded, that only the words of the question decide."""
    digest = hashlib.sha256("\x1f".join(map(str, question)).encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8]) >> (64 - _BITS)) / (1 << _BITS)


def draw_between(low: float, high: float, *question: object) -> float:
    """Return a number from ``low`` to ``high`` that only the words of the question decide."""
    return low + (high - low) * draw(*question)
