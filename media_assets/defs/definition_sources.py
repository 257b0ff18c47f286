"""Where definitions are in the source, for the UI's links to code; and what of Dagster is used before it is final."""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg


@contextlib.contextmanager
def unfinished_in_dagster() -> Iterator[None]:
    """Build definitions with what Dagster (1.13.27) calls preview or beta, without its warning to every user.

    It is for us to know: the version is pinned, and tests run on it. For definitions only, which are built on import.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def code_of(*functions: Callable[..., Any]) -> dict[str, Any]:
    """Return the metadata that leads from an asset to functions on this machine.

    It belongs to the definition: no event holds it.
    """
    with unfinished_in_dagster():
        references = [
            dg.LocalFileCodeReference(file_path=str(file), line_number=line) for file, line in map(_place_of, functions)
        ]
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=list(references))}


def _place_of(function: Callable[..., Any]) -> tuple[Path, int]:
    plain = inspect.unwrap(function)
    return Path(inspect.getfile(plain)).resolve(), plain.__code__.co_firstlineno
