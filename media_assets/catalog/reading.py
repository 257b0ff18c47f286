"""Reading catalog files: the ones that ship, and a user's own, which are checked by the same schema.

Every fault of every file is named at once, with file, line and field.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from media_assets.catalog.entry import Entry
from media_assets.catalog.lines import line_of
from media_assets.catalog.spec import ModelSpec
from media_assets.errors import CatalogError, Problem

KNOWN_PROVIDERS = ("local", "replicate", "fal", "openai", "elevenlabs")
"""Who can be asked: each has an adapter."""


class CatalogFile(Entry):
    """One file: the models of one provider."""

    provider: str
    pricing_url: str
    """Where the prices can be looked up; empty where there is no such page."""
    model: tuple[ModelSpec, ...]


@lru_cache(maxsize=1)
def read_shipped() -> tuple[ModelSpec, ...]:
    """Read the files that ship with the package.

    Raises:
        CatalogError: A file breaks the schema.
    """
    folder = resources.files("media_assets.catalog") / "data"
    return read_files([item for item in folder.iterdir() if item.name.endswith(".toml")])


def read_folder(folder: Path) -> tuple[ModelSpec, ...]:
    """Read every ``*.toml`` of a user's folder.

    Raises:
        CatalogError: The folder cannot be read, or a file breaks the schema.
    """
    try:
        return read_files([item for item in folder.iterdir() if item.name.endswith(".toml")])
    except OSError as error:
        message = f"the catalog folder {folder} cannot be read: {error.strerror or error}"
        raise CatalogError(message) from error


def read_files(files: Collection[Traversable], *, providers: Sequence[str] = KNOWN_PROVIDERS) -> tuple[ModelSpec, ...]:
    """Read files in the order of their names.

    Args:
        files: To be read.
        providers: Which names of providers are known.

    Raises:
        CatalogError: With every fault of every file.
    """
    specs: dict[str, ModelSpec] = {}
    problems: list[Problem] = []
    for file in sorted(files, key=lambda file: file.name):
        text, read, faults = _read(file, providers)
        problems += faults
        for number, spec in enumerate(read):
            if spec.id in specs:
                where = _where(file, text, ("model", number, "id"))
                problems.append(Problem(where, f"model.{number}.id", f"{spec.id} is written down twice"))
            specs[spec.id] = spec
    if problems:
        message = "\n  ".join(["the catalog cannot be read:", *map(str, problems)])
        raise CatalogError(message)
    return tuple(specs.values())


def _read(file: Traversable, providers: Sequence[str]) -> tuple[str, tuple[ModelSpec, ...], list[Problem]]:
    """Return a file's text, its models (none if one has a fault), and its faults."""
    text = ""
    try:
        text = file.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())  # "at end of document"
        return text, (), [Problem(f"{file.name}, line {line}", "", f"is not TOML: {error}")]
    except (OSError, UnicodeDecodeError) as error:
        return text, (), [Problem(file.name, "", f"cannot be read: {error}")]
    problems = []
    provider = data.get("provider")
    if isinstance(provider, str) and provider not in providers:
        fault = f"nobody knows {provider!r}. There are: {', '.join(providers)}."
        problems.append(Problem(_where(file, text, ("provider",)), "provider", fault))
    try:
        models = CatalogFile.model_validate(data).model
    except ValidationError as error:
        return text, (), [*problems, *_faults(file, text, error)]
    for number, spec in enumerate(models):
        if spec.provider != provider:
            fault = f"{spec.id} is not a model of {provider}, whose file this is"
            problems.append(Problem(_where(file, text, ("model", number, "id")), f"model.{number}.id", fault))
    return text, models, problems


def _faults(file: Traversable, text: str, error: ValidationError) -> Iterator[Problem]:
    for fault in error.errors(include_url=False):
        field = ".".join(map(str, fault["loc"]))
        yield Problem(_where(file, text, fault["loc"]), field, fault["msg"].removeprefix("Value error, "))


def _where(file: Traversable, text: str, path: Sequence[str | int]) -> str:
    return f"{file.name}, line {line_of(text, path)}"
