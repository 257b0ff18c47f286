"""Times and entries of lists: whatever cannot be read is told, and never costs the rest of the page."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from media_assets.errors import (
    InsufficientCreditError,
    KeyRejectedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    UnexpectedResponseError,
)
from media_assets.providers.base import HttpReply
from media_assets.providers.list_reading import (
    kind_of_refusal,
    moment_of,
    page_of,
    second_after,
    second_before,
    stamp_of,
    wanted_text,
)

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01T00:00:00.000Z", NEW_YEAR),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR),
        ("2026-01-01T00:00:00.123456Z", NEW_YEAR.replace(microsecond=123456)),
        (1767225600, NEW_YEAR),
        (1767225600.5, NEW_YEAR.replace(microsecond=500000)),
        ("2026-01-01T00:00:00", None),
        ("2026-01-01", None),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+12:00", None),
        ("2026-01-01T00:00:00Z" + " " * 100, None),
        (0, None),
        (-5, None),
        (10**30, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ({}, None),
    ],
)
def test_a_time_is_read_with_its_zone_or_not_at_all(value: Any, moment: datetime | None) -> None:
    assert moment_of(value) == moment


def test_whole_seconds_are_wider_than_what_was_asked_for() -> None:
    """A list that began half a second late would miss the one that is looked for."""
    moment = datetime(2026, 1, 1, 12, 0, 0, 700_000, tzinfo=timezone(timedelta(hours=2)))

    assert stamp_of(second_before(moment)) == "2026-01-01T10:00:00Z"
    assert stamp_of(second_after(moment)) == "2026-01-01T10:00:01Z"
    assert second_after(NEW_YEAR) > NEW_YEAR


def test_an_entry_that_cannot_be_read_is_told_and_the_others_are_kept() -> None:
    def read(entry: Mapping[str, Any]) -> str:
        return wanted_text(entry, "name")

    page = page_of([{"id": "a", "name": "x"}, {"id": "b", "name": 5}, 7, None, {"name": "y"}], read, id_field="id")

    assert page.items == ("x", "y")
    assert page.unreadable == (
        "b: its name is no usable text",
        "an entry without a readable id: it is int, not an object",
        "an entry without a readable id: it is NoneType, not an object",
    )


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 201, 5, None, ["a"]])
def test_text_that_is_wanted_is_printable_and_short(name: Any) -> None:
    page = page_of([{"id": "a", "name": name}], lambda entry: wanted_text(entry, "name"), id_field="id")

    assert (page.items, len(page.unreadable)) == ((), 1)


def test_a_page_of_nonsense_is_told_in_short_and_without_secrets() -> None:
    entries = [{"id": "r8_canary0123456789 " + "x" * 500}] * 100

    page = page_of(entries, lambda entry: wanted_text(entry, "name"), id_field="id")

    assert len(page.unreadable) == 21
    assert page.unreadable[-1] == "and 80 more"
    assert all(len(one) < 150 and "r8_canary" not in one for one in page.unreadable)


@pytest.mark.parametrize(
    ("status", "meaning", "kind"),
    [
        (429, None, RateLimitedError),
        (500, None, ProviderUnavailableError),
        (503, KeyRejectedError, ProviderUnavailableError),
        (408, None, ProviderUnavailableError),
        (401, None, KeyRejectedError),
        (403, None, KeyRejectedError),
        (403, InsufficientCreditError, InsufficientCreditError),
        (402, None, InsufficientCreditError),
        (404, None, UnexpectedResponseError),
        (400, None, UnexpectedResponseError),
        (301, None, UnexpectedResponseError),
    ],
)
def test_what_a_refused_question_means(
    status: int, meaning: type[PurchaseError] | None, kind: type[PurchaseError]
) -> None:
    assert kind_of_refusal(HttpReply(status=status, headers={}, body=b"{}"), meaning) is kind


def test_a_page_from_something_in_front_is_asked_again() -> None:
    page = HttpReply(status=404, headers={}, body=b" <html>")

    assert kind_of_refusal(page, None) is ProviderUnavailableError
