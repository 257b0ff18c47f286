"""Prices as data: what one of something costs from a day on, and how many tokens a request may need at most."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from media_assets.catalog.entry import Entry
from media_assets.prompt import Scalar


class Meter(StrEnum):
    """What a price is for one of."""

    REQUEST = "request"
    COMPUTE_S = "compute_s"
    """A second the provider's machine worked, as the provider reports it."""
    OUTPUT_S = "output_s"
    """A second of what is made."""
    IMAGE = "image"
    MEGAPIXEL = "megapixel"
    """1024 x 1024 pixels: our reading of 2026-11-24. fal's pages say "megapixel" without a number of pixels, and sell
    1024 x 1024, their usual size, as one."""
    CHARACTER = "character"
    """A code point of the text. What the providers count is not said by any of them in so many words."""
    TOKEN = "token"  # noqa: S105 - a unit, no secret


def _exact(value: Any) -> Any:
    if not isinstance(value, str | Decimal):
        message = 'must be a text such as "0.003", so that it is read exactly'
        raise ValueError(message)  # noqa: TRY004 - pydantic reports ValueError, TypeError escapes it
    return value


Exact = Annotated[Decimal, BeforeValidator(_exact)]
"""A decimal written as a text: TOML reads a bare 0.1 as a binary fraction."""

Usd = Annotated[Exact, Field(ge=0)]


class PricePart(Entry):
    """One term of a price. The terms that apply are added up."""

    usd: Usd
    """For one of ``per``."""
    per: Meter
    of: str | None = None
    """Which tokens, by the name the provider's usage has in ``Prediction.reported``; for ``token`` only."""
    above: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    """How many are included: only those above it are charged."""
    rounding: Literal["up"] | None = None
    """``up``: every begun one counts; megapixels are rounded for each image by itself."""
    when: Mapping[str, Scalar] = Field(default_factory=dict)
    """The term applies only where these parameters have these values."""

    @model_validator(mode="after")
    def _tokens_have_a_kind(self) -> "PricePart":
        if (self.of is not None) != (self.per is Meter.TOKEN):
            message = "a price per token says which tokens (of), and no other price does"
            raise ValueError(message)
        return self


class Surcharge(Entry):
    """A factor on the whole price."""

    when_over: Annotated[Mapping[str, float], Field(min_length=1)]
    """It applies where each of these parameters is above this number."""
    factor: Annotated[Exact, Field(gt=0)]


class PriceRow(Entry):
    """What a purchase costs from a day on. Old rows stay: old purchases stay explicable.

    Either one ``usd`` and ``per``, or several terms in ``part``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)

    from_day: date = Field(alias="from")
    """The first day the source vouches for; an undated source counts from the day it was read."""
    usd: Usd | None = None
    per: Meter | None = None
    part: tuple[PricePart, ...] = ()
    surcharge: tuple[Surcharge, ...] = ()
    unit_usd: Usd | None = None
    """For one of the units that the provider says it bills (fal's ``X-Fal-Billable-Units``), where its own word says
    what that unit costs. None: not known, and not guessed; what is reported is then recorded and no more."""
    source: Annotated[str, Field(min_length=1)]
    own_word: bool
    """Whether the source is the provider itself."""
    checked: date | None = None
    """The day the source was read, or written where it says so. None: the day of the model's entry."""

    @model_validator(mode="after")
    def _has_one_form(self) -> "PriceRow":
        if (self.usd is None) != (self.per is None) or (self.usd is None) != bool(self.part):
            message = "a price is either usd and per, or a list of part"
            raise ValueError(message)
        if self.per is Meter.TOKEN:
            message = "a price per token is written as part, which says which tokens"
            raise ValueError(message)
        return self

    @property
    def parts(self) -> tuple[PricePart, ...]:
        """The terms, in whichever form the row has."""
        if self.usd is None or self.per is None:
            return self.part
        return (PricePart(usd=self.usd, per=self.per),)


class TokenRule(Entry):
    """How many tokens of one kind a request may need at most: an assumption, and a generous one.

    A reservation rests on it, so too many only hold back money for a minute, and too few break the cap. The terms are
    added up and multiplied by ``factor``.
    """

    base: Annotated[int, Field(ge=0)] = 0
    per_utf8_byte: Annotated[int, Field(ge=0)] = 0
    """For each byte of the prompt or script: a tokenizer on bytes makes at most one token of each."""
    by: str | None = None
    """The parameter that ``per_megapixel`` depends on."""
    per_megapixel: Mapping[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """For each megapixel of each image, by the value of ``by``; an image smaller than one counts as one."""
    per_speech_s: Annotated[int, Field(ge=0)] = 0
    """For each second the script is expected to be spoken; at a speed above 1, as if it were 1."""
    factor: Annotated[Exact, Field(ge=1)] = Decimal(1)
    """Safety."""

    @model_validator(mode="after")
    def _by_and_megapixels_go_together(self) -> "TokenRule":
        if (self.by is None) == bool(self.per_megapixel):
            message = "by and per_megapixel go together"
            raise ValueError(message)
        return self
