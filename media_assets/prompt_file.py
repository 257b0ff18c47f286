"""Reading prompts from YAML, JSON, JSONL and CSV, with every fault of a file in one error.

``read_prompts`` refuses a file that has any fault. ``read_rows`` keeps the good rows apart from the bad ones, for
callers that set bad rows aside and go on.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from media_assets.errors import Problem, PromptFileError
from media_assets.prompt import Prompt

SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".ndjson", ".csv")
"""Of the files that prompts are read from."""

FILE_MAX_BYTES = 64 * 1024 * 1024
_LIST_COLUMNS = "routes"
_SHOWN_CHARACTERS = 80
_MOST_VALUES = 1000
_DEEPEST = 5
_LARGEST_INTEGER = 10**18
_NO_KEY = ("missing", ("key",))


@dataclass(frozen=True)
class Row:
    """One prompt as it stands in a file: its place, and the prompt or what is wrong with it."""

    where: str
    """For people: the file's name and the row, line or document."""
    prompt: Prompt | None
    problems: tuple[Problem, ...] = ()
    raw: Any = None
    """What stands there, as plain data; a line that is not even data as text."""


def read_prompts(path: Path) -> list[Prompt]:
    """Read every prompt of a file, in order.

    Raises:
        PromptFileError: The file cannot be read, has no prompt, or has faults; all of them are named.
    """
    rows = read_rows(path)
    problems = [problem for row in rows for problem in row.problems]
    if problems:
        noun = "problem" if len(problems) == 1 else "problems"
        headline = f"{path.name} has {len(problems)} {noun}; nothing was sent. Correct the file and run again:"
        raise PromptFileError.of(headline, problems)
    return [row.prompt for row in rows if row.prompt is not None]


def read_rows(path: Path) -> list[Row]:
    """Read a file row by row; a key that is used twice is a fault of the later row.

    Raises:
        PromptFileError: The file as a whole cannot be read, or holds no prompt.
    """
    rows: list[Row] = []
    seen: dict[str, str] = {}
    for row in rows_of(path, text_of(path)):
        if row.prompt is not None and (first := seen.setdefault(row.prompt.key, row.where)) != row.where:
            fault = f"{row.prompt.key!r} is already used by {first}; every prompt needs its own"
            rows.append(replace(row, prompt=None, problems=(Problem(row.where, "key", fault),)))
        else:
            rows.append(row)
    return rows


def rows_of(path: Path, text: str, *, skip: int = 0) -> Iterator[Row]:
    """Check what the text of a file says, row by row, as they are asked for.

    Args:
        path: The file.
        text: What :func:`text_of` returned, or a part that ends with a row.
        skip: So many rows at its start are left out and not checked.

    Raises:
        PromptFileError: The file as a whole cannot be read, or holds no prompt.
    """
    number = 0
    for number, (place, raw) in enumerate(_raw_rows(path, text), start=1):
        if number > skip:
            yield _validate(f"{path.name}, {place}" if place else path.name, raw)
    if not number:
        raise _unreadable(path, "holds no prompt")


def keys_of(path: Path, text: str) -> list[str | None]:
    """Return the key that stands in each row; None: it is to be made from the row. Nothing is checked: far cheaper.

    Args:
        path: The file.
        text: As for :func:`rows_of`.

    Raises:
        PromptFileError: As :func:`rows_of`.
    """
    keys = []
    for number, (_, raw) in enumerate(_raw_rows(path, text)):
        key = raw.get("key") if isinstance(raw, dict) else f"row {number} is no prompt"
        keys.append(key if isinstance(key, str) else None)
    if not keys:
        raise _unreadable(path, "holds no prompt")
    return keys


def validate_prompt(where: str, data: dict[str, Any]) -> Prompt:
    """Build one prompt from plain data, for callers that have no file.

    Raises:
        PromptFileError: Names every fault.
    """
    row = _validate(where, data)
    if row.prompt is None:
        headline = "the prompt cannot be used; nothing was sent:"
        raise PromptFileError.of(headline, row.problems)
    return row.prompt


@dataclass(frozen=True)
class _Malformed:
    """Stands for a row that is not even data."""

    fault: str
    text: str


def _validate(where: str, data: Any) -> Row:
    if isinstance(data, _Malformed):
        return Row(where, None, (Problem(where, "", data.fault),), data.text)
    if not isinstance(data, dict):
        fault = f"is {_kind(data)}, but a prompt is a mapping of fields such as prompt: and script:"
        return Row(where, None, (Problem(where, "", fault),), data)
    try:
        return Row(where, Prompt.model_validate(_plain(data, _Count(_MOST_VALUES), depth=0)), (), data)
    except ValidationError as error:
        # A key that is missing would have been derived from the prompt: only the prompt is at fault.
        faults = [fault for fault in error.errors(include_url=False) if (fault["type"], fault["loc"]) != _NO_KEY]
        problems: tuple[Problem, ...] = tuple({_problem(where, dict(fault)): None for fault in faults})
    except ValueError as error:
        problems = (Problem(where, "", str(error)),)
    return Row(where, None, problems, data)


class _Count:
    """How many values a row may still have: an alias of an alias of an alias is small on disk only."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take_one(self) -> None:
        self.left -= 1
        if self.left < 0:
            message = f"has more than {_MOST_VALUES} values, which no prompt needs"
            raise ValueError(message)


def _plain(value: Any, count: _Count, *, depth: int) -> Any:
    """Return a copy of what a parser made that is small and has only plain values, lists and mappings."""
    count.take_one()
    if depth > _DEEPEST:
        message = f"is nested more than {_DEEPEST} levels deep, which no prompt is"
        raise ValueError(message)
    if isinstance(value, dict):
        return {_plain_name(name): _plain(item, count, depth=depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, count, depth=depth + 1) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_INTEGER:
        message = "holds a whole number of more than 18 digits"
        raise ValueError(message)
    # A date is left to its field, which says best that it wanted text.
    if value is None or isinstance(value, str | bool | int | float | dt.date):
        return value
    message = f"holds {_kind(value)}, which is none of text, number, true or false; put it in quotes if it is text"
    raise ValueError(message)


def _plain_name(name: Any) -> str:
    if isinstance(name, str) and len(name) <= _SHOWN_CHARACTERS:
        return name
    if isinstance(name, bool | float | int | None) and len(str(name)) <= _SHOWN_CHARACTERS:
        return str(name)
    message = "has a field whose name is not a short text"
    raise ValueError(message)


def _problem(where: str, fault: dict[str, Any]) -> Problem:
    field = ".".join(str(part) for part in fault["loc"] if part not in {"number", "steps", "[key]"})
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = f"is not a field of a prompt. The fields are: {', '.join(Prompt.model_fields)}"
    elif fault["type"] == "missing":
        message = "is missing"
    elif fault["type"] == "string_pattern_mismatch" and field == "key":
        message = "must be 1 to 80 of a-z, 0-9, - and _, and start with a letter or digit"
    elif fault["type"] == "tuple_type":
        message = "is not WIDTHxHEIGHT, for example 1024x576"
    elif fault["type"] == "too_long" and isinstance(fault.get("input"), str):
        message = f"has {len(fault['input'])} characters; at most {fault['ctx']['max_length']} are allowed"
    elif fault["type"] == "string_type" and isinstance(fault.get("input"), bool | int | float | dt.date):
        message += "; put it in quotes if it is text"
    shown = fault.get("input")
    if isinstance(shown, str | int | float) and fault["type"] != "extra_forbidden":
        text = ascii(shown) if isinstance(shown, str) else repr(shown)
        message += f" (it is {text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '…'})"
    return Problem(where, field, message)


def _kind(value: Any) -> str:
    names = {
        bytes: "binary data",
        dt.date: "a date",
        dt.datetime: "a date",
        dict: "a mapping",
        set: "a set",
        str: "a text",
        int: "a number",
        float: "a number",
        bool: "true or false",
        list: "a list",
    }
    return "empty" if value is None else names.get(type(value), type(value).__name__)


def text_of(path: Path) -> str:
    """Return what a file says.

    Raises:
        PromptFileError: It is no text, too large, or of another kind than prompts are read from.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise _unreadable(path, f"has the ending {path.suffix!r}; prompts are read from {', '.join(SUFFIXES)}")
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise _unreadable(path, f"is larger than {FILE_MAX_BYTES // 2**20} MiB; split it")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"is not UTF-8 text (byte {error.start})") from error


def _raw_rows(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    readers = {
        ".yaml": _yaml_rows,
        ".yml": _yaml_rows,
        ".json": _json_rows,
        ".jsonl": _jsonl_rows,
        ".ndjson": _jsonl_rows,
        ".csv": _csv_rows,
    }
    try:
        yield from readers[path.suffix.lower()](text)
    except Exception as error:  # PyYAML's constructors raise whatever int(), float() and date() do
        raise _unreadable(path, f"is not well-formed {path.suffix[1:].upper()}: {_first_lines(error)}") from error


def _unreadable(path: Path, fault: str) -> PromptFileError:
    return PromptFileError.of("the prompts cannot be read; nothing was sent:", [Problem(str(path), "", fault)])


def _first_lines(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())[:300]


class _UniqueKeyLoader(yaml.SafeLoader):
    """A loader that refuses a field given twice; YAML's own silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the base's signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the field {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _yaml_rows(text: str) -> Iterator[tuple[str, Any]]:
    documents = [item for item in yaml.load_all(text, Loader=_UniqueKeyLoader) if item is not None]
    for number, document in enumerate(documents, start=1):
        place = f"document {number}" if len(documents) > 1 else ""
        yield from _spread(place, document)


def _json_rows(text: str) -> Iterator[tuple[str, Any]]:
    yield from _spread("", json.loads(text, object_pairs_hook=_unique_pairs))


def _spread(place: str, document: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(document, list):
        yield place, document
        return
    for number, item in enumerate(document, start=1):
        yield f"{place}, row {number}" if place else f"row {number}", item


def _jsonl_rows(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            yield place, json.loads(line, object_pairs_hook=_unique_pairs)
        except ValueError as error:
            yield place, _Malformed(f"is not well-formed JSON: {_first_lines(error)}", line)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            message = f"the field {name!r} is given twice"
            raise ValueError(message)
        mapping[name] = value
    return mapping


def _csv_rows(text: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip() for name in reader.fieldnames or []]
    reader.fieldnames = names
    if len(set(names)) != len(names):
        message = f"a column is named twice: {', '.join(names)}"
        raise ValueError(message)
    for number, cells in enumerate(reader, start=1):
        place = f"row {number}"
        surplus = cells.pop(None, None)
        if surplus:
            yield (
                place,
                _Malformed(f"has {len(surplus)} more cells than the heading has columns", _as_line(cells, surplus)),
            )
        else:
            yield (
                place,
                _nested({name: cell for name, cell in cells.items() if cell not in (None, "")}),
            )


def _as_line(cells: dict[str, Any], surplus: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([*cells.values(), *surplus])
    return line.getvalue()


def _nested(cells: dict[str, str]) -> dict[str, Any]:
    """Turn columns such as ``params.video.fps`` and ``routes.image`` into nested fields."""
    row: dict[str, Any] = {}
    for name, cell in cells.items():
        *parents, last = (part.strip() for part in name.split("."))
        target = row
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                message = f"the columns {parent!r} and {name!r} contradict each other"
                raise ValueError(message)  # noqa: TRY004 - a fault of the file
        if isinstance(target.get(last), dict):
            message = f"the columns {name!r} and {name + '.…'!r} contradict each other"
            raise ValueError(message)  # noqa: TRY004 - as above
        listed = bool(parents) and parents[0] == _LIST_COLUMNS
        target[last] = [part.strip() for part in cell.split(",")] if listed else cell
    return row
