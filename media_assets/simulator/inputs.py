"""What a model takes: its fields, and what is wrong with an input. Each provider words the faults in its own way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "integer", "number", "flag", "picture", "choice", "code", "size", "object", "list"]
"""A ``code`` is a choice between numbers, written as text or not; a ``size`` is a choice or an object."""

Reason = Literal["required", "type", "choice", "low", "high", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a model's input."""

    kind: Kind
    default: Any = None
    """What is taken where nothing is given."""
    is_required: bool = False
    low: float | None = None
    """The least that is taken."""
    high: float | None = None
    """The most that is taken."""
    choices: tuple[str, ...] = ()
    fields: Mapping[str, "Field"] | None = None
    """Of an ``object`` or a ``size``."""


@dataclass(frozen=True)
class Misfit:
    """One thing that is wrong with an input."""

    path: tuple[str, ...]
    reason: Reason
    field: Field | None
    given: Any

    @property
    def name(self) -> str:
        """The field, with dots before those of an object."""
        return ".".join(self.path)


def text(default: str | None = None, *, is_required: bool = False) -> Field:
    """Return a field that takes any text."""
    return Field(kind="text", default=default, is_required=is_required)


def integer(default: int | None = None, low: int | None = None, high: int | None = None) -> Field:
    """Return a field that takes a whole number."""
    return Field(kind="integer", default=default, low=low, high=high)


def number(default: float | None = None, low: float | None = None, high: float | None = None) -> Field:
    """Return a field that takes a number."""
    return Field(kind="number", default=default, low=low, high=high)


def flag(*, default: bool) -> Field:
    """Return a field that takes true or false."""
    return Field(kind="flag", default=default)


def choice(default: str, *others: str) -> Field:
    """Return a field that takes one of some words."""
    return Field(kind="choice", default=default, choices=(default, *others))


def code(default: str, *others: str) -> Field:
    """Return a field that takes one of some numbers, as text or as it is."""
    return Field(kind="code", default=default, choices=(default, *others))


def group(**fields: Field) -> Field:
    """Return a field that takes an object."""
    return Field(kind="object", fields=fields)


def picture(*, is_required: bool = False) -> Field:
    """Return a field that takes the URL of a picture."""
    return Field(kind="picture", is_required=is_required)


def read_input(
    fields: Mapping[str, Field], given: Mapping[str, Any], *, takes_unknown: bool
) -> tuple[dict[str, Any], list[Misfit]]:
    """Fill in defaults and check.

    Args:
        fields: What the model takes.
        given: What was sent.
        takes_unknown: Whether unknown fields are passed over in silence, as pydantic does by default.

    Returns:
        The values, and everything that is wrong with them.
    """
    values = {name: given.get(name, field.default) for name, field in fields.items()}
    misfits = [misfit for name, field in fields.items() for misfit in _check((name,), field, given)]
    if not takes_unknown:
        misfits += [Misfit((name,), "unknown", None, given[name]) for name in given if name not in fields]
    return values, misfits


def _check(path: tuple[str, ...], field: Field, given: Mapping[str, Any]) -> Iterator[Misfit]:
    value = given.get(path[-1])
    if value is None:
        if field.is_required or (path[-1] in given and field.default is not None):
            yield Misfit(path, "required" if path[-1] not in given else "type", field, None)
        return
    if not _has_type(field, value):
        yield Misfit(path, "type", field, value)
    elif isinstance(value, dict):
        for name, inner in (field.fields or {}).items():
            yield from _check((*path, name), inner, value)
    elif field.choices and str(value) not in field.choices:
        yield Misfit(path, "choice", field, value)
    elif field.low is not None and value < field.low:
        yield Misfit(path, "low", field, value)
    elif field.high is not None and value > field.high:
        yield Misfit(path, "high", field, value)


def _has_type(field: Field, value: Any) -> bool:
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "text": str,
        "picture": str,
        "choice": str,
        "code": (str, int),
        "size": (str, dict),
        "flag": bool,
        "integer": int,
        "number": (int, float),
        "object": dict,
        "list": list,
    }
    if isinstance(value, bool) and field.kind != "flag":
        return False
    return isinstance(value, kinds[field.kind])
