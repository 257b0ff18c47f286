"""Sizes and words that no linter of ours checks: files and functions stay small enough to be read in one go."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("media_assets", "media_assets_tests", "benchmarks")

FILE_LINES, FILE_LINES_HARD = 400, 450
FUNCTION_LINES = 50
"""Without its docstring: a rule that counted ``Args`` would be a rule against them."""

LONG_FILES: Mapping[str, str] = {
    "media_assets_tests/ledger/test_written_down.py": "one test a write of the protocol; a second file would hide gaps",
}
"""Files over 400 lines, and why each is not split."""

LONG_FUNCTIONS: Mapping[str, str] = {
    "media_assets/ledger/migrations/versions/m0001_first_tables.py:upgrade": "the tables, one after the other: data",
}
"""Functions over 50 lines, and why each is not split."""


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _code_lines(node) > FUNCTION_LINES:
            yield f"{_name(path)}:{node.name}"


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return _lines(function) - (_lines(function.body[0]) if ast.get_docstring(function) else 0)


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_are_short() -> None:
    """A file that is read in one go is changed without surprises; the table holds the exceptions, and nothing stale."""
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _files()}

    assert {name: count for name, count in lines.items() if count > FILE_LINES_HARD} == {}
    assert {name for name, count in lines.items() if count > FILE_LINES} == set(LONG_FILES)


def test_functions_are_short() -> None:
    """A function that fits a screen is understood whole; the table holds the exceptions, and nothing stale."""
    assert {name for path in _files() for name in _long_functions(path)} == set(LONG_FUNCTIONS)


def test_every_module_says_what_belongs_in_it() -> None:
    """Without a first sentence nobody knows where the next function goes."""
    silent = [_name(path) for path in _files() if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]

    assert silent == []


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "X" + "XX"])
def test_no_promises_in_the_code(word: str) -> None:
    """What is left to do is an issue; a note in the code is found by nobody."""
    assert [_name(path) for path in _files() if word in path.read_text(encoding="utf-8")] == []
