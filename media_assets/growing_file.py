"""Prompt files that somebody may still be adding to: what is half written waits, and what only grew is read on."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from media_assets.prompt_file import Row, keys_of, rows_of, text_of

GROWING_SUFFIXES = (".jsonl", ".ndjson", ".csv")
"""Of the prompt files that grow by whole lines."""

_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How far somebody got with a file, and what it said then."""

    rows: int
    """At the start of the file, that need not be looked at again while it says the same."""
    length: int
    """Characters. Those behind the rows count as well: a later row of a key is why an earlier one was passed over."""
    digest: str

    def holds(self, path: Path, text: str) -> bool:
        """Whether a file still says what it said, and perhaps more at its end."""
        is_longer = len(text) > self.length
        if is_longer and path.suffix.lower() not in GROWING_SUFFIXES:
            return False
        return _digest(text[: self.length]) == self.digest


@dataclass(kw_only=True)
class Reading:
    """What a file says from the mark on."""

    rows: Iterator[tuple[int, Row]]
    """With their numbers from 0, in order, of each key the last; checked as they are asked for, if possible."""
    checked: int = 0
    """How many were checked so far."""
    waits: str
    """Why not all of the file was read, if so."""
    end: Mark
    """For who takes in all of the rows."""
    is_whole: bool
    """Whether the file was read from its start."""

    def mark_before(self, row: int) -> Mark:
        """Return the mark of who has yet to take in a row, and perhaps some of those behind it."""
        return replace(self.end, rows=row)


def read_growing(path: Path, *, whole_lines: bool = True, mark: Mark | None = None) -> Reading:
    """Read a file; of a key that is used twice the last row counts.

    Args:
        path: The file.
        whole_lines: Whether a last line waits that is not ended yet. Of JSONL one that is well-formed is ended.
        mark: Of an earlier reading. While it holds, the rows before it are left out and not checked.

    Raises:
        PromptFileError: The file as a whole cannot be read, or holds no prompt.
    """
    text = text_of(path)
    waits = ""
    grows = path.suffix.lower() in GROWING_SUFFIXES
    if whole_lines and grows and not text.endswith("\n"):
        done, _, last = text.rpartition("\n")
        if last.strip() and not (path.suffix.lower() != ".csv" and _is_json(last)):
            text, waits = f"{done}\n", "its last line is not ended yet"
    skip = mark.rows if mark is not None and mark.holds(path, text) else 0
    end = Mark(rows=0, length=len(text), digest=_digest(text))
    reading = Reading(rows=iter(()), waits=waits, end=end, is_whole=not skip)
    if waits and not text.strip():
        return reading
    keys = keys_of(path, text) if grows else []
    # Where every row names a key of its own, none can take the place of another, and none is checked before its turn.
    checking = _checking(reading, rows_of(path, text, skip=skip), skip)
    if grows and None not in keys[skip:] and len(set(keys[skip:])) == len(keys[skip:]):
        reading.rows, count = checking, len(keys)
    else:
        found = list(checking)
        reading.rows, count = iter(_counting(found)), skip + len(found)
    # A last row without its end may become another one.
    reading.end = replace(end, rows=count - (not text.endswith("\n")))
    return reading


def _checking(reading: Reading, rows: Iterator[Row], skip: int) -> Iterator[tuple[int, Row]]:
    for number, row in enumerate(rows, start=skip):
        reading.checked += 1
        yield number, row


def _counting(rows: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    newest = {row.prompt.key: number for number, row in rows if row.prompt is not None}
    return [(number, row) for number, row in rows if row.prompt is None or newest[row.prompt.key] == number]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
