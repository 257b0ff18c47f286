"""What a request costs: Decimal USD before (estimate) and after (cost). Prices themselves are catalog data."""

from datetime import date
from decimal import Decimal

from media_assets.catalog import ModelSpec, PriceRow
from media_assets.errors import ConfigurationError

MICRO_USD = Decimal("0.000001")
"""The smallest amount the ledger keeps."""


def price_on(spec: ModelSpec, today: date) -> PriceRow:
    """Return the price row in force.

    Raises:
        ConfigurationError: No row is that old; an unpriced model is refused, never counted as zero.
    """
    rows = [row for row in spec.price if row.from_day <= today]
    if not rows:
        message = f"{spec.id} has no price for {today}; it is not used, because it would count as free."
        raise ConfigurationError(message)
    return max(rows, key=lambda row: row.from_day)


def estimate_usd(spec: ModelSpec, today: date) -> Decimal:
    """Return the worst case of one purchase, in USD."""
    return price_on(spec, today).usd


def to_micro_usd(amount_usd: Decimal) -> int:
    """Return whole micro-USD, rounded up: a reservation must never be too small."""
    micro = amount_usd / MICRO_USD
    whole = int(micro)
    return whole + (micro > whole)


def from_micro_usd(micro_usd: int) -> Decimal:
    """Return Decimal USD, without trailing zeros."""
    amount = (micro_usd * MICRO_USD).normalize()
    return amount.quantize(Decimal(1)) if amount == amount.to_integral() else amount
