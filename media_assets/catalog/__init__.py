"""What can be bought: models, their parameters, limits and dated prices, as data.

A new model is a TOML entry; ``if model == …`` in code is a defect. How to talk to a provider is in ``providers/``,
what a request costs in ``pricing.py``.
"""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from media_assets.errors import CatalogError, Problem, UnknownModelError
from media_assets.prompt import Scalar, Step

DEFAULT_ROUTES: Mapping[Step, tuple[str, ...]] = {
    Step.IMAGE: ("local:landscape",),
    Step.VIDEO: ("local:ken-burns",),
    Step.AUDIO: ("local:piper",),
    Step.MERGED: ("local:merge",),
}
"""What is asked, in order, where neither the prompt nor a setting says: free, without key or network."""


class Recovery(StrEnum):
    """What can be done about a submission whose outcome was lost (`docs/architecture.md`)."""

    FREE = "free"
    """Costs nothing: it is simply done again."""
    IDEMPOTENT = "A"
    """The same submission can be sent again under an idempotency key."""
    LISTED = "B"
    """The provider lists predictions, so that a lost one can be found."""
    BY_ID = "C"
    """A prediction can be asked for by its id only; a lost id is lost."""
    NONE = "D"
    """The answer comes in the one reply or not at all."""


class Meter(StrEnum):
    """What a price is for one of."""

    REQUEST = "request"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ParamSpec(_Entry):
    """One parameter of a model: its type, explicit default and range."""

    type: Literal["integer", "number", "string", "boolean"]
    default: Scalar
    min: float | None = None
    max: float | None = None
    enum: tuple[Scalar, ...] = ()
    about: str

    @model_validator(mode="after")
    def _default_is_allowed(self) -> "ParamSpec":
        self.accept(self.default)
        return self

    def accept(self, value: Scalar) -> Scalar:
        """Return ``value`` as this parameter's type (texts come from CSV and the command line).

        Raises:
            ValueError: It is of another type, out of range, or not among the choices; the message says which.
        """
        typed = self._typed(value)
        if self.enum and typed not in self.enum:
            message = f"must be one of {', '.join(map(str, self.enum))}, not {typed!r}"
            raise ValueError(message)
        if isinstance(typed, int | float) and not isinstance(typed, bool):
            low, high = self.min, self.max
            if (low is not None and typed < low) or (high is not None and typed > high):
                message = f"must be {_range(low, high)}, not {typed:g}"
                raise ValueError(message)
        return typed

    def _typed(self, value: Scalar) -> Scalar:
        typed = _READERS[self.type](value)
        if typed is None:
            message = f"must be {'an' if self.type == 'integer' else 'a'} {self.type}, not {value!r}"
            raise ValueError(message)
        return typed


def _as_number(value: Scalar) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _as_integer(value: Scalar) -> int | None:
    number = _as_number(value)
    return int(number) if number is not None and number == int(number) else None


def _as_boolean(value: Scalar) -> bool | None:
    return {"true": True, "false": False}.get(str(value).strip().lower())


_READERS: Mapping[str, Callable[[Scalar], Scalar | None]] = {
    "boolean": _as_boolean,
    "integer": _as_integer,
    "number": _as_number,
    "string": str,
}
"""Parameter types; texts are read too, because they come from CSV and the command line."""


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at most {high:g}" if low is None else f"at least {low:g}"
    return f"from {low:g} to {high:g}"


class LengthRange(_Entry):
    """The lengths a model can make, in seconds."""

    default: float
    min: float
    max: float


class PriceRow(_Entry):
    """What one of a meter costs from a day on. Old rows stay: old purchases stay explicable."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_day: date = Field(alias="from")
    usd: Annotated[Decimal, BeforeValidator(lambda value: value if isinstance(value, str) else None), Field(ge=0)]
    """A string in the file, so that it is read as Decimal."""
    per: Meter
    source: str
    own_word: bool
    """Whether the source is the provider itself."""


class ModelSpec(_Entry):
    """One model: how it is asked, what it can make, how long it may take, what it costs."""

    id: str
    """``provider:name``, as users write it in routes."""
    title: str
    step: Step
    endpoint: str
    version: str
    """Part of the request key: raised when an equal request would make something else."""
    recovery: Recovery
    run_deadline_s: float
    """Seconds after which the work is given up."""
    roles: Mapping[str, str]
    """Which of the model's parameters takes what of ours: prompt, script, image, seed, width, length, …"""
    params: Mapping[str, ParamSpec] = Field(default_factory=dict)
    length_s: LengthRange | None = None
    length_follows_voice: bool = False
    """Whether a clip is made as long as the narration is expected to be."""
    characters_per_s: float | None = None
    """Characters of the script spoken in a second at speed 1. None: as the built-in voice speaks."""
    writing_systems: tuple[str, ...] = ()
    """ISO 15924 codes of what it can speak; empty: anything."""
    stand_in: bool = False
    """Whether a result is degraded when this model took the place of another."""
    silent: bool = False
    """Whether it stands in for speech without speaking."""
    source: str
    checked: date
    price: tuple[PriceRow, ...] = Field(min_length=1)

    @property
    def provider(self) -> str:
        """The part of the id before the colon."""
        return self.id.partition(":")[0]

    @property
    def reads_stand_in_fields(self) -> bool:
        """Whether a caption or the script's length changes what this model makes of a picture."""
        return "caption" in self.roles or self.length_follows_voice


class _CatalogFile(_Entry):
    provider: str
    pricing_url: str
    model: tuple[ModelSpec, ...]


class Catalog:
    """Every model that can be used, by id."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self._specs = {spec.id: spec for spec in specs}

    def __iter__(self) -> Any:
        return iter(self._specs.values())

    def get(self, model: str, *, step: Step | None = None) -> ModelSpec:
        """Return one model's entry.

        Raises:
            UnknownModelError: There is no such model, or it serves another step; the nearest names are offered.
        """
        spec = self._specs.get(model)
        of_step = [known.id for known in self if step in (None, known.step)]
        if spec is None:
            near = difflib.get_close_matches(model, of_step, n=3, cutoff=0.4)
            message = f"no model is called {model!r}. " + (
                f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(of_step)}."
            )
            raise UnknownModelError(message)
        if step is not None and spec.step is not step:
            message = (
                f"{model} makes the step {spec.step!s}, not {step!s}. For {step!s} there are: {', '.join(of_step)}."
            )
            raise UnknownModelError(message)
        return spec


@lru_cache(maxsize=1)
def load_catalog() -> Catalog:
    """Read the catalog that ships with the package.

    Raises:
        CatalogError: A file breaks the schema; file, entry and field are named.
    """
    folder = resources.files("media_assets.catalog") / "data"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".toml")), key=lambda item: item.name)
    return Catalog(spec for file in files for spec in _read(file))


def _read(file: Traversable) -> tuple[ModelSpec, ...]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        return _CatalogFile.model_validate(data).model
    except tomllib.TOMLDecodeError as error:
        message = f"{file.name} is not TOML: {error}"
        raise CatalogError(message) from error
    except ValidationError as error:
        faults = [
            str(Problem(file.name, ".".join(map(str, fault["loc"])), fault["msg"]))
            for fault in error.errors(include_url=False)
        ]
        message = "the catalog cannot be read:\n  " + "\n  ".join(faults)
        raise CatalogError(message) from error
