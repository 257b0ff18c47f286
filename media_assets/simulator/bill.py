"""What the simulated providers charge for the log of submissions, by ``prices.toml``.

Made from the log alone: what was asked for, and how it ended. A line is never rounded down, so that whoever adds the
lines up gets the total to the last micro-dollar.
"""

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_UP, Decimal
from functools import lru_cache
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from media_assets.simulator.submissions import Submission

MICRO_USD = Decimal("0.000001")
"""Every line is rounded up to whole ones."""

PIXELS_PER_MEGAPIXEL = 1024 * 1024
"""Our reading of fal's unit, 2026-11-22: 1024 x 1024, its usual size, is sold as one megapixel, not as two begun
ones. fal's pages say "megapixel, rounded up" and give no number of pixels."""

_PAID_STATES = {
    # That a failed run costs money is an assumption of 2026-11-22; a canceled one does, says Replicate.
    "compute": frozenset({"succeeded", "failed", "canceled"}),
}
_SUCCEEDED = frozenset({"succeeded"})
_PER_MILLION = 1_000_000
_PER_THOUSAND = 1_000


class Factor(BaseModel):
    """What one field of the input does to a price."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    default: str | int
    """What the provider takes the field for when it is not given."""
    equals: str | None = None
    above: int | None = None
    times: Decimal

    def of(self, given: Mapping[str, Any]) -> Decimal:
        """Return by how much the price is multiplied."""
        value = given.get(self.field, self.default)
        applies = value == self.equals if self.equals is not None else int(value) > (self.above or 0)
        return self.times if applies else Decimal(1)


class Price(BaseModel):
    """What one model of one provider costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    model: str
    meter: Literal["compute", "image", "megapixel", "video", "duration", "character", "token"]
    usd: Decimal = Decimal(0)
    """For one unit; ``character`` counts by the thousand, ``token`` has ``usd_per_million`` instead."""
    per: str
    source: str
    date: date
    """When the figure was read."""
    own_word: bool
    """Whether the provider itself said it."""
    field: str = ""
    """The input's field that ``character`` and ``duration`` look at."""
    default: int = 0
    """``duration`` when the field is not given, seconds."""
    first_s: int = 0
    first_usd: Decimal = Decimal(0)
    """What the first ``first_s`` seconds cost together."""
    factors: tuple[Factor, ...] = ()
    usd_per_million: Mapping[str, Decimal] = Field(default_factory=dict)
    """By kind of token."""


@dataclass(frozen=True)
class Line:
    """What one submission costs."""

    id: str
    provider: str
    model: str
    state: str
    usd: Decimal
    """Whole micro-USD."""
    quantity: Decimal
    per: str

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON shows it; amounts are strings, so that no reader makes floats of them."""
        return {
            "id": self.id,
            "provider": self.provider,
            "model": self.model,
            "state": self.state,
            "usd": format(self.usd, "f"),
            "quantity": format(self.quantity, "f"),
            "per": self.per,
        }


def bill(submissions: Iterable[Submission]) -> dict[str, Any]:
    """Add up what a log costs.

    Args:
        submissions: With their outcomes; what has not ended yet costs nothing so far.

    Returns:
        ``{"total_usd", "by_provider": {provider: usd}, "lines": [{id, provider, model, state, usd, quantity, per}]}``;
        amounts are decimal strings in USD.

    Raises:
        ValueError: A model without a price. It is never counted as free.
    """
    lines = [bill_line(one) for one in submissions]
    by_provider: dict[str, Decimal] = {}
    for line in lines:
        by_provider[line.provider] = by_provider.get(line.provider, 0 * MICRO_USD) + line.usd
    return {
        "total_usd": format(sum(by_provider.values(), 0 * MICRO_USD), "f"),
        "by_provider": {provider: format(usd, "f") for provider, usd in sorted(by_provider.items())},
        "lines": [line.as_dict() for line in lines],
    }


def bill_line(one: Submission) -> Line:
    """Return what one submission costs.

    Raises:
        ValueError: Its model has no price.
    """
    price = price_of(one.provider, one.model)
    quantity, usd = Decimal(0), Decimal(0)
    if one.state in _PAID_STATES.get(price.meter, _SUCCEEDED):
        quantity, usd = _METERS[price.meter](price, one)
    whole = usd.quantize(MICRO_USD, ROUND_UP)
    return Line(one.id, one.provider, one.model, one.state, whole, quantity, price.per)


def price_of(provider: str, model: str) -> Price:
    """Return a model's price.

    Raises:
        ValueError: It has none.
    """
    price = prices().get((provider, model))
    if price is None:
        message = f"the simulator has no price for {model} of {provider}; it is never counted as free"
        raise ValueError(message)
    return price


@lru_cache(maxsize=1)
def prices() -> Mapping[tuple[str, str], Price]:
    """Return every price by provider and model."""
    text = resources.files("media_assets.simulator").joinpath("prices.toml").read_text(encoding="utf-8")
    rows = [Price.model_validate(row) for row in tomllib.loads(text)["price"]]
    return {(row.provider, row.model): row for row in rows}


def _by_compute(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    seconds = Decimal(str(one.outcome.get("compute_s") or 0))
    return seconds, seconds * price.usd


def _by_image(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    count = Decimal(len(one.outcome["outputs"]))
    return count, count * price.usd


def _by_megapixel(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    pixels = [output["width_px"] * output["height_px"] for output in one.outcome["outputs"]]
    count = Decimal(sum(math.ceil(number / PIXELS_PER_MEGAPIXEL) for number in pixels))
    return count, count * price.usd


def _by_video(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    units = Decimal(1)
    for factor in price.factors:
        units *= factor.of(one.input)
    return units, units * price.usd


def _by_duration(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    """Charge the length that was ordered: models sell "5" and "10", and deliver a frame more or less."""
    seconds = Decimal(str(one.input.get(price.field, price.default)))
    further = max(seconds - price.first_s, Decimal(0))
    return seconds, price.first_usd + further * price.usd


def _by_character(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    count = Decimal(len(str(one.input.get(price.field, ""))))
    return count, count * price.usd / _PER_THOUSAND


def _by_token(price: Price, one: Submission) -> tuple[Decimal, Decimal]:
    """Charge the tokens that the provider counted; each kind has its own price."""
    tokens: Mapping[str, int] = one.outcome["tokens"]
    usd = sum((count * price.usd_per_million[kind] for kind, count in tokens.items()), Decimal(0)) / _PER_MILLION
    return Decimal(sum(tokens.values())), usd


_METERS: Mapping[str, Callable[[Price, Submission], tuple[Decimal, Decimal]]] = {
    "compute": _by_compute,
    "image": _by_image,
    "megapixel": _by_megapixel,
    "video": _by_video,
    "duration": _by_duration,
    "character": _by_character,
    "token": _by_token,
}
