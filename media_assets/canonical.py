"""One spelling for every value, so that equal things have equal digests.

Canonical JSON: sorted keys, no spaces, UTF-8, no NaN; a float that is a whole number is written as that number, so
that ``5`` and ``5.0`` are one request. Lone surrogates are refused: they cannot be written as UTF-8.
"""

import hashlib
import json
import math
from decimal import Decimal
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one spelling of ``value``.

    Raises:
        ValueError: ``value`` holds NaN, an infinity or a lone surrogate.
        TypeError: ``value`` holds something JSON has no word for.
    """
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text.encode()
    return text


def digest_of(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, in hex."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    return value
