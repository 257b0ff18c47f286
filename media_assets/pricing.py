"""What a request costs: Decimal USD before (estimate) and after (cost). Prices themselves are catalog data.

Nothing here spends or asks anybody. What is not known counts as its worst case, never as zero.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal

from media_assets.catalog import Meter, ModelSpec, PriceRow
from media_assets.catalog.lengths import length_of
from media_assets.catalog.prices import PricePart, TokenRule
from media_assets.catalog.sizes import size_of
from media_assets.errors import ConfigurationError
from media_assets.letters import spoken_characters
from media_assets.request import GenerationRequest

MICRO_USD = Decimal("0.000001")
"""The smallest amount the ledger keeps."""

PIXELS_PER_MEGAPIXEL = 1024 * 1024
"""Our reading; see ``Meter.MEGAPIXEL``."""

STALE_DAYS = 90
"""A price that was read longer ago is shown as old."""

_SHORTEST_SPEECH_S = Decimal(1)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one purchase may cost, before it is made."""

    min_usd: Decimal
    """The best case of a purchase that succeeds: what only shows afterwards counts as nothing."""
    max_usd: Decimal
    """The worst case, in whole micro-USD: what is reserved."""
    price_from: date | None
    """The day of the price row; None for an assumption of the user's."""
    own_word: bool
    """Whether the provider itself said the price."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one purchase cost by our table."""

    usd: Decimal
    """In whole micro-USD, rounded up once, at the end."""
    price_from: date | None
    """The day of the price row; None for an assumption of the user's."""


def price_on(spec: ModelSpec, today: date) -> PriceRow:
    """Return the price row in force.

    Raises:
        ConfigurationError: No row is that old; an unpriced model is refused, never counted as zero.
    """
    row = _row_on(spec, today)
    if row is None:
        message = (
            f"{spec.id} has no price for {today}; it is not used, because it would count as free. Say with "
            "MEDIA_ASSETS_ASSUME_USD what one purchase may cost, or write its price in a catalog file of your own."
        )
        raise ConfigurationError(message)
    return row


def estimate(
    spec: ModelSpec, request: GenerationRequest, *, today: date, assume_usd: Decimal | None = None
) -> Estimate:
    """Return what one purchase may cost.

    The worst case of a second of compute is the run deadline, of tokens the catalog's bound; all else follows from
    the request.

    Args:
        spec: The model.
        request: What is asked of it.
        today: Decides which price is in force.
        assume_usd: USD for one purchase of a model without a price.

    Raises:
        ConfigurationError: There is no price and nothing is assumed, or the request lacks what the price goes by.
    """
    row = _row_on(spec, today)
    if row is None and assume_usd is not None:
        usd = _whole_micro(assume_usd)
        return Estimate(min_usd=usd, max_usd=usd, price_from=None, own_word=False)
    row = row or price_on(spec, today)
    least = _total(spec, row, request, lambda _, bounds: bounds[0])
    most = _total(spec, row, request, lambda _, bounds: bounds[1])
    return Estimate(min_usd=least, max_usd=most, price_from=row.from_day, own_word=row.own_word)


def cost(
    spec: ModelSpec,
    request: GenerationRequest,
    *,
    reported: Mapping[str, Decimal],
    today: date,
    assume_usd: Decimal | None = None,
) -> Cost:
    """Return what a finished purchase cost by our table; whether it is billed at all is the caller's to know.

    Args:
        spec: The model.
        request: What was asked of it.
        reported: What the provider says it used: ``compute_s``, and tokens by their kind. What is missing, or is no
            amount, counts as its worst case. ``billable_units`` count where the price says what one costs, and where
            they come to more than all else.
        today: The day of the purchase.
        assume_usd: USD for one purchase of a model without a price.

    Raises:
        ConfigurationError: As for :func:`estimate`.
    """
    row = _row_on(spec, today)
    if row is None and assume_usd is not None:
        return Cost(usd=_whole_micro(assume_usd), price_from=None)
    row = row or price_on(spec, today)

    def used(part: PricePart, bounds: "_Bounds") -> Decimal:
        name = part.of if part.per is Meter.TOKEN else str(part.per) if part.per is Meter.COMPUTE_S else None
        amount = _amount(reported, name) if name is not None else None
        return amount if amount is not None else bounds[1]

    billed_usd = (_amount(reported, "billable_units") or Decimal(0)) * (row.unit_usd or Decimal(0))
    return Cost(usd=max(_total(spec, row, request, used), _whole_micro(billed_usd)), price_from=row.from_day)


def estimate_usd(spec: ModelSpec, today: date) -> Decimal:
    """Return what one purchase costs of a model whose price is for the request as such, in USD.

    Raises:
        ConfigurationError: There is no price, or it goes by what is asked: see :func:`estimate`.
    """
    row = price_on(spec, today)
    if row.usd is None or row.per is not Meter.REQUEST or row.surcharge:
        message = f"what {spec.id} costs depends on what is asked of it"
        raise ConfigurationError(message)
    return row.usd


def stale(spec: ModelSpec, today: date, days: int = STALE_DAYS) -> bool:
    """Return whether the newest price was read more than ``days`` days ago. False without a price."""
    read_on = price_read_on(spec)
    return read_on is not None and today - read_on > timedelta(days=days)


def price_read_on(spec: ModelSpec) -> date | None:
    """Return the day on which the newest price was read at its source; None without a price."""
    newest = max(spec.price, key=lambda row: row.from_day, default=None)
    return None if newest is None else newest.checked or spec.checked


def to_micro_usd(amount_usd: Decimal) -> int:
    """Return whole micro-USD, rounded up: a reservation must never be too small."""
    micro = amount_usd / MICRO_USD
    whole = int(micro)
    return whole + (micro > whole)


def from_micro_usd(micro_usd: int) -> Decimal:
    """Return Decimal USD, without trailing zeros."""
    amount = (micro_usd * MICRO_USD).normalize()
    return amount.quantize(Decimal(1)) if amount == amount.to_integral() else amount


def usd_text(amount: Decimal) -> str:
    """Return an amount as people write it: no exponent, no zeros that say nothing."""
    return format(amount.normalize(), "f") if amount else "0"


_Bounds = tuple[Decimal, Decimal]
"""The least and the most of something."""


def _row_on(spec: ModelSpec, today: date) -> PriceRow | None:
    return max((row for row in spec.price if row.from_day <= today), key=lambda row: row.from_day, default=None)


def _amount(reported: Mapping[str, Decimal], name: str) -> Decimal | None:
    amount = reported.get(name)
    return amount if amount is not None and amount.is_finite() and amount >= 0 else None


def _whole_micro(usd: Decimal) -> Decimal:
    return from_micro_usd(to_micro_usd(usd))


def _total(
    spec: ModelSpec,
    row: PriceRow,
    request: GenerationRequest,
    quantity: Callable[[PricePart, _Bounds], Decimal],
) -> Decimal:
    """Add up the terms that apply, each for the quantity that is chosen between its bounds."""
    terms = [part for part in row.parts if _applies(spec, request, part)]
    if not terms:
        message = f"{spec.id} has no price for these parameters; it is not used, because it would count as free."
        raise ConfigurationError(message)
    usd = sum((_charged(part, quantity(part, _bounds(spec, request, part))) * part.usd for part in terms), Decimal(0))
    for surcharge in row.surcharge:
        if all(_number(spec, request, name) > Decimal(str(over)) for name, over in surcharge.when_over.items()):
            usd *= surcharge.factor
    return _whole_micro(usd)


def _applies(spec: ModelSpec, request: GenerationRequest, part: PricePart) -> bool:
    return all(spec.value(request.params, name) == value for name, value in part.when.items())


def _charged(part: PricePart, quantity: Decimal) -> Decimal:
    beyond = max(quantity - part.above, Decimal(0))
    return _up(beyond) if part.rounding == "up" else beyond


def _bounds(spec: ModelSpec, request: GenerationRequest, part: PricePart) -> _Bounds:
    """Return the least and the most that may be counted of what a term is for."""
    if part.per is Meter.COMPUTE_S:
        return Decimal(0), _exact(spec.run_deadline_s)
    if part.per is Meter.TOKEN:
        return Decimal(0), _most_tokens(spec, request, spec.tokens[str(part.of)])
    if part.per is Meter.OUTPUT_S:
        return _output_s(spec, request)
    known = _known(spec, request, part)
    return known, known


def _known(spec: ModelSpec, request: GenerationRequest, part: PricePart) -> Decimal:
    """Return the quantity of a term that follows from the request alone."""
    if part.per is Meter.IMAGE:
        return _count(spec, request)
    if part.per is Meter.MEGAPIXEL:
        each = _megapixels(spec, request)
        return (_up(each) if part.rounding == "up" else each) * _count(spec, request)
    if part.per is Meter.CHARACTER:
        return Decimal(len(_text(spec, request)))
    return Decimal(1)


def _output_s(spec: ModelSpec, request: GenerationRequest) -> _Bounds:
    seconds = length_of(spec, request.params)
    if seconds is not None:
        return (_exact(seconds),) * 2
    if spec.length_s is not None:
        return _exact(spec.length_s.min), _exact(spec.length_s.max)
    message = f"{spec.id} is priced by the second of output, and nothing says how long that will be"
    raise ConfigurationError(message)


def _most_tokens(spec: ModelSpec, request: GenerationRequest, rule: TokenRule) -> Decimal:
    tokens = Decimal(rule.base)
    if rule.per_utf8_byte:
        tokens += rule.per_utf8_byte * len(_text(spec, request).encode())
    if rule.by is not None:
        per_megapixel = rule.per_megapixel.get(str(spec.value(request.params, rule.by)))
        if per_megapixel is None:
            # Unheard of: the parameter's choices are those of the rule. The dearest is the worst case.
            per_megapixel = max(rule.per_megapixel.values())
        tokens += per_megapixel * max(_megapixels(spec, request), Decimal(1)) * _count(spec, request)
    if rule.per_speech_s:
        tokens += rule.per_speech_s * _speech_s(spec, request)
    return _up(tokens * rule.factor)


def _speech_s(spec: ModelSpec, request: GenerationRequest) -> Decimal:
    """Return for how long the script may be charged, in seconds.

    A slow voice is charged longer. That a fast one is charged shorter is not counted on: the tempo may be changed
    only after the speech was made.
    """
    rate = _exact(spec.characters_per_s or 1)
    slowed = _exact(min(spec.speed_of(request.params), 1.0))
    seconds = spoken_characters(_text(spec, request)) / rate / slowed
    return max(seconds, _SHORTEST_SPEECH_S)


def _megapixels(spec: ModelSpec, request: GenerationRequest) -> Decimal:
    px = size_of(spec, request.params)
    if px is not None:
        return Decimal(px[0] * px[1]) / PIXELS_PER_MEGAPIXEL
    if spec.sizes is not None:
        return Decimal(spec.sizes.most_pixels) / PIXELS_PER_MEGAPIXEL
    message = f"{spec.id} is priced by the megapixel, and nothing says how large the picture will be"
    raise ConfigurationError(message)


def _count(spec: ModelSpec, request: GenerationRequest) -> Decimal:
    return max(_number(spec, request, spec.roles.get("count", ""), missing=Decimal(1)), Decimal(1))


def _text(spec: ModelSpec, request: GenerationRequest) -> str:
    for role in ("script", "prompt"):
        value = request.params.get(spec.roles.get(role, ""))
        if isinstance(value, str):
            return value
    message = f"{spec.id} is priced by its text, and the request has none"
    raise ConfigurationError(message)


def _number(spec: ModelSpec, request: GenerationRequest, name: str, *, missing: Decimal | None = None) -> Decimal:
    value = spec.value(request.params, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _exact(value)
    if missing is not None:
        return missing
    message = f"the price of {spec.id} goes by {name}, and {value!r} is no number"
    raise ConfigurationError(message)


def _exact(number: float) -> Decimal:
    """Return the decimal that a number is written as: 0.1 is a tenth."""
    return Decimal(repr(number))


def _up(number: Decimal) -> Decimal:
    return number.to_integral_value(ROUND_CEILING)
