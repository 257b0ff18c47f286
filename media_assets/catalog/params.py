"""Parameters of a model: type, explicit default, range or choices, and what is said of a value that does not fit."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import model_validator

from media_assets.catalog.entry import Entry
from media_assets.prompt import Scalar


class ParamSpec(Entry):
    """One parameter of a model: its type, explicit default and range.

    A parameter without a default of its own (the prompt, a seed, the size) has no entry: a role fills it.
    """

    type: Literal["integer", "number", "string", "boolean"]
    default: Scalar
    """What is sent when the prompt does not say. A default left to the provider changes when the provider likes."""
    min: float | None = None
    max: float | None = None
    enum: tuple[Scalar, ...] = ()
    """The only values there are; empty: any within the range."""
    pattern: re.Pattern[str] | None = None
    """A regular expression that all of a text must match."""
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
        if self.pattern is not None and not self.pattern.fullmatch(str(typed)):
            message = f"must be {self.about}: {typed!r} is none"
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
