"""Where in a catalog file something stands, for error messages: a small scan, not a parser.

It reads table headers and keys at the start of lines, which is how catalog files are written. What stands inside an
inline table or a list is found at the line of the key that holds it.
"""

import re
from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_HEADER = re.compile(rf"\s*(?P<open>\[\[?)\s*(?P<name>{_KEY}(?:\s*\.\s*{_KEY})*)\s*\]\]?\s*(?:#.*)?$")
_PAIR = re.compile(rf"\s*(?P<name>{_KEY}(?:\s*\.\s*{_KEY})*)\s*=")
_QUOTES = ('"""', "'''")
_MARKS = re.compile(r"""#.*|"(?:\\.|[^"\\])*"|'[^']*'|[\[\]{}]""")


def line_of(text: str, path: Sequence[str | int]) -> int:
    """Return the line, from 1, of a value in a TOML text, or of the nearest table around it that has one.

    Args:
        text: The file.
        path: Keys and indexes from the top, as pydantic's ``loc`` has them; words that stand for no key are skipped.
    """
    best: Path = ()
    line = 1
    for number, known in _known(text):
        if known == tuple(path[: len(known)]) and len(known) > len(best):
            best, line = known, number
    return line


def _known(text: str) -> Iterator[tuple[int, Path]]:
    """Yield (line, path) of each header and key."""
    table: Path = ()
    counts: dict[Path, int] = {}
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if quote:
            quote = "" if quote in line else quote
            continue
        header = _HEADER.match(line) if depth == 0 else None
        if header:
            table = _table(_names(header["name"]), counts, is_item=header["open"] == "[[")
            yield number, table
            continue
        pair = _PAIR.match(line) if depth == 0 else None
        if pair:
            names = _names(pair["name"])
            yield from ((number, (*table, *names[: end + 1])) for end in range(len(names)))
        quote = next((mark for mark in _QUOTES if line.count(mark) % 2), "")
        depth += _opened(line) if not quote else 0


def _table(names: Sequence[str], counts: dict[Path, int], *, is_item: bool) -> Path:
    """Return the path of a header; ``[[…]]`` begins the next item of its list."""
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        path = (*path, counts[path]) if path in counts else path
    path = (*path, names[-1])
    if not is_item:
        return (*path, counts[path]) if path in counts else path
    counts[path] = counts.get(path, -1) + 1
    return (*path, counts[path])


def _names(dotted: str) -> list[str]:
    return [name.strip("\"'") for name in re.findall(_KEY, dotted)]


def _opened(line: str) -> int:
    """Return how many more brackets a line opens than it closes, outside texts and comments."""
    marks = [mark for mark in _MARKS.findall(line) if len(mark) == 1]
    return sum((mark in "[{") - (mark in "]}") for mark in marks)
