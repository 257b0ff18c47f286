"""How long to wait, as far as a provider can be believed."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.providers.transport.retry_after import wait_s
from media_assets_tests.conftest import LONG

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
CAP_S = 600.0
EXAMPLES = 5_000 if LONG else 200


def _date(seconds: float) -> str:
    return format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body_hint_s", "expected"),
    [
        pytest.param({}, None, None, id="nothing"),
        pytest.param({"retry-after": "7"}, None, 7.0, id="seconds"),
        pytest.param({"retry-after": " 7.5 "}, None, 7.5, id="fraction"),
        pytest.param({"retry-after": "0"}, None, 0.0, id="zero"),
        pytest.param({"retry-after": _date(90)}, None, 90.0, id="date"),
        pytest.param({"retry-after": "Tue, 24 Nov 2026 12:00:30 -0000"}, None, 30.0, id="date-of-unknown-zone"),
        pytest.param({"retry-after": "Tue, 24 Nov 2026 14:00:30 +0200"}, None, 30.0, id="date-of-another-zone"),
        pytest.param({"retry-after": _date(-90)}, None, 0.0, id="past-date"),
        pytest.param({"retry-after": _date(10**9)}, None, CAP_S, id="far-date"),
        pytest.param({"retry-after-ms": "250"}, None, 0.25, id="milliseconds"),
        pytest.param({"retry-after-ms": "250", "retry-after": "1"}, 9.0, 0.25, id="milliseconds-first"),
        pytest.param({"retry-after": "1"}, 9.0, 1.0, id="header-before-body"),
        pytest.param({}, 9.0, 9.0, id="body"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "x"}, 9.0, 9.0, id="body-after-useless-headers"),
        pytest.param({"retry-after": "999999999"}, None, CAP_S, id="uncapped"),
        pytest.param({"retry-after": "9" * 60}, None, CAP_S, id="60-digits"),
        pytest.param({"retry-after-ms": "999999999999"}, None, CAP_S, id="uncapped-milliseconds"),
        pytest.param({"retry-after": "-1"}, None, 0.0, id="negative"),
        pytest.param({"retry-after": "nan"}, None, None, id="nan"),
        pytest.param({"retry-after": "inf"}, None, None, id="inf"),
        pytest.param({"retry-after": "1e9"}, None, None, id="exponent"),
        pytest.param({"retry-after": "٣"}, None, None, id="digit-of-another-script"),
        pytest.param({"retry-after": "1, 2"}, None, None, id="two-headers"),
        pytest.param({"retry-after": "1" * 10_000}, None, None, id="10-kB"),
        pytest.param({"retry-after": ""}, None, None, id="empty"),
        pytest.param({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, None, CAP_S, id="end-of-time"),
        pytest.param({"retry-after": "Mon, 01 Jan 0001 00:00:00 +2359"}, None, 0.0, id="beginning-of-time"),
        pytest.param({"retry-after": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}, None, None, id="year-of-20-digits"),
        pytest.param({}, math.nan, None, id="body-nan"),
        pytest.param({}, math.inf, CAP_S, id="body-inf"),
        pytest.param({}, -3.0, 0.0, id="body-negative"),
    ],
)
def test_hint_is_read_bounded_or_ignored(
    headers: dict[str, str], body_hint_s: float | None, expected: float | None
) -> None:
    assert wait_s(headers, body_hint_s, now=NOW, cap_s=CAP_S) == expected


_VALUES = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"\A[+-]?[0-9.]{1,70}\Z"),
    st.from_regex(r"\A(Mon|Tue|Xxx)?,? ?[0-9]{1,5}[ -][A-Za-z]{1,9}[ -][0-9]{1,6} [0-9:]{0,12} ?[+-]?[A-Z0-9]{0,6}\Z"),
    st.datetimes(timezones=st.timezones()).map(format_datetime),
)


@pytest.mark.sample(f"{EXAMPLES:,} of 5,000 random waits")
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    seconds=st.none() | _VALUES,
    milliseconds=st.none() | _VALUES,
    body_hint_s=st.none() | st.floats(),
    now=st.datetimes(timezones=st.just(UTC)),
)
def test_whatever_comes_is_a_bounded_wait_or_none(
    seconds: str | None, milliseconds: str | None, body_hint_s: float | None, now: datetime
) -> None:
    """A wait that is negative, endless or no number would stop or spin a purchase."""
    headers = {
        name: value for name, value in (("retry-after", seconds), ("retry-after-ms", milliseconds)) if value is not None
    }

    wait = wait_s(headers, body_hint_s, now=now, cap_s=CAP_S)

    assert wait is None or 0.0 <= wait <= CAP_S
