"""How long a provider asks to wait: from headers, else from its body; never believed beyond a cap.

Providers say it in four ways: ``retry-after-ms`` (OpenAI), ``retry-after`` as seconds or as an HTTP date (RFC 9110
§10.2.3), and a field of the body, which the adapter reads. All of it comes from outside: a negative wait is none, a
huge one is capped, and what is no time at all is ignored.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_VALUE = 64
"""Characters; the longest HTTP date has 33."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
"""Stricter than ``float()``, which also reads nan, inf, 1e9 and the digits of other scripts."""


def wait_s(headers: Mapping[str, str], body_hint_s: float | None, *, now: datetime, cap_s: float) -> float | None:
    """Return the seconds to wait before asking again, 0 to ``cap_s``; None where the provider did not usefully say.

    Args:
        headers: The reply's, with names in lower case.
        body_hint_s: What the body said, in seconds; used where no header says anything usable.
        now: The present, aware; what a date is measured against.
        cap_s: The longest wait to believe.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    header = headers.get("retry-after", "")
    hints = (
        None if milliseconds is None else milliseconds / 1000,
        _number(header),
        _until(header, now),
        body_hint_s,
    )
    usable = (hint for hint in hints if hint is not None and not math.isnan(hint))
    return next((min(max(hint, 0.0), cap_s) for hint in usable), None)


def _number(value: str) -> float | None:
    text = value.strip()
    return float(text) if len(text) <= _LONGEST_VALUE and _NUMBER.fullmatch(text) else None


def _until(value: str, now: datetime) -> float | None:
    """Return the seconds until an HTTP date."""
    if len(value) > _LONGEST_VALUE:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" means UTC of an unknown zone, and is read as a naive time.
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (aware - now).total_seconds()
    except (ValueError, OverflowError):
        return None
