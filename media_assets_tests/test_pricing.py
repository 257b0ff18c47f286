"""Money: Decimal from the file to the ledger, rounded against ourselves, and never zero because nobody knows."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.errors import ConfigurationError
from media_assets.pricing import estimate_usd, from_micro_usd, price_on, to_micro_usd


def priced(*rows: tuple[str, str]) -> ModelSpec:
    """Return a model with these (day, USD) rows."""
    fields: dict[str, Any] = load_catalog().get("local:landscape").model_dump()
    fields["price"] = [
        {"from": date.fromisoformat(day), "usd": usd, "per": "request", "source": "a test", "own_word": True}
        for day, usd in rows
    ]
    return ModelSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("usd", "micro"),
    [
        ("0", 0),
        ("0.000001", 1),
        ("0.0000001", 1),
        ("0.0000010000001", 2),
        ("0.084", 84_000),
        ("1", 1_000_000),
        ("1E-7", 1),
        ("123456789.123456", 123_456_789_123_456),
    ],
)
def test_micro_usd_are_rounded_up(usd: str, micro: int) -> None:
    """A reservation that is too small lets the last purchase pass the cap."""
    assert to_micro_usd(Decimal(usd)) == micro


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0"), (1, "0.000001"), (100_000, "0.1"), (1_000_000, "1"), (100_000_000, "100"), (1_234_567, "1.234567")],
)
def test_amounts_are_shown_without_noise(micro: int, text: str) -> None:
    """People and scripts read these strings; ``1E+2`` is not an amount of money."""
    assert str(from_micro_usd(micro)) == text


@given(micro=st.integers(0, 10**15))
@settings(max_examples=200, deadline=None)
def test_amounts_survive_the_ledger(micro: int) -> None:
    """What was written is what is added up."""
    assert to_micro_usd(from_micro_usd(micro)) == micro


@given(usd=st.decimals(0, 10**6, allow_nan=False, places=9))
@settings(max_examples=200, deadline=None)
def test_rounding_never_loses_and_adds_less_than_a_micro(usd: Decimal) -> None:
    """Up, but only just: a thousand free steps must not fill a cap."""
    micro = to_micro_usd(usd)

    assert Decimal(0) <= Decimal(micro) / 10**6 - usd < Decimal("0.000001")


@pytest.mark.parametrize(
    ("today", "usd"),
    [("2026-01-01", "0.01"), ("2026-05-31", "0.01"), ("2026-06-01", "0.02"), ("2030-01-01", "0.03")],
)
def test_price_is_that_of_the_day(today: str, usd: str) -> None:
    """Old purchases stay explicable; the order of rows in the file does not matter."""
    spec = priced(("2026-06-01", "0.02"), ("2026-01-01", "0.01"), ("2029-12-31", "0.03"))

    assert price_on(spec, date.fromisoformat(today)).usd == Decimal(usd)
    assert estimate_usd(spec, date.fromisoformat(today)) == Decimal(usd)


def test_a_day_without_a_price_is_refused() -> None:
    """An unpriced model that counted as zero would pass every cap."""
    with pytest.raises(ConfigurationError, match=r"local:landscape has no price for 2025-12-31"):
        estimate_usd(priced(("2026-01-01", "0.01")), date(2025, 12, 31))


def test_estimates_are_exact() -> None:
    """0.1 + 0.2 must be 0.3 where a cap is compared."""
    amount = estimate_usd(priced(("2026-01-01", "0.1")), date(2026, 1, 1))

    assert isinstance(amount, Decimal)
    assert amount * 3 == Decimal("0.3")
