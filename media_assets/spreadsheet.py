"""CSV that is harmless to open."""

import csv
import io
from collections.abc import Iterable
from typing import Any

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is a formula to spreadsheets."""


def csv_line(cells: Iterable[Any]) -> str:
    """Return a line of cells that no spreadsheet takes for a formula: those begin with an apostrophe. None is empty."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(_cell, cells))
    return line.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULAS) else text
