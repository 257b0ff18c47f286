"""Secrets that are found wherever they land: keys, signatures and tokens with a mark in them, and a search for it."""

import base64
import pickle
import sqlite3
import traceback
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from media_assets.simulator import fal_storage
from media_assets.simulator.files import FileShelf

MARK: Final = "CANARY"

KEYS: Final = {
    "REPLICATE_API_TOKEN": "r8_CANARYrepl1cate7Qw9ZkT4mB0pL6vReplTail",
    "FAL_KEY": "0ca1a1fe-1111-4222-8333-444455556666:CANARYf4l7d2b9c0e1FalTail",
    "OPENAI_API_KEY": "sk-proj-CANARYopenai-3xW8_yN5sOpenTail",
    "ELEVENLABS_API_KEY": "sk_CANARYeleven0123456789abcdElevTail",
}
"""Each in its provider's own shape."""

_TAIL: Final = 8
_FRAGMENTS: Final = (MARK, "0ca1a1fe", *(key[-_TAIL:] for key in KEYS.values()))
"""Part of a key is a leak too: a mask that shows its end, a fal id without its secret."""

_SQLITE: Final = b"SQLite format 3\0"


def _base64_forms(text: str) -> Iterator[bytes]:
    """Yield what of a text's base64 does not depend on what stands around it, for each place it may stand at."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + text.encode())
        end = (before + len(text)) // 3 * 4
        yield encoded[-(-before * 4 // 3) : end]


_EXACT: Final = tuple(
    form for text in _FRAGMENTS for form in (*_base64_forms(text), text.encode("utf-16-le"), text.encode("utf-16-be"))
)
_IN_ANY_CASE: Final = tuple(
    form.lower() for text in _FRAGMENTS for form in (text.encode(), text.encode().hex().encode())
)


def find(where: str, data: bytes | str) -> list[str]:
    """Return where a secret shows in data: as it is, in other letters, in base64, hex or UTF-16."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    lower = raw.lower()
    places = [lower.find(form) for form in _IN_ANY_CASE if form in lower]
    places += [raw.find(form) for form in _EXACT if form in raw]
    return [f"{where} at {place}: {raw[max(place - 60, 0) : place + 60]!r}" for place in sorted(set(places))]


def find_in_folder(folder: Path) -> list[str]:
    """Return where a secret shows in the files of a folder: their names, their bytes, what databases hold unpacked."""
    found = []
    for path in sorted(folder.rglob("*")):
        found += find(f"the name of {path}", str(path.relative_to(folder)))
        if path.is_symlink():
            found += find(f"the target of {path}", str(path.readlink()))
        elif path.is_file():
            data = path.read_bytes()
            found += find(str(path), data)
            if data.startswith(_SQLITE):
                found += _find_in_database(path)
    return found


def _find_in_database(path: Path) -> list[str]:
    """Search values, since a long one is split over pages, and Dagster packs some."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a name of its own schema
                for value in row:
                    for form in _unpacked(value):
                        found += find(f"{path}, table {table}", form)
    return found


def _unpacked(value: object) -> Iterator[bytes | str]:
    if isinstance(value, bytes | str):
        yield value
    if isinstance(value, bytes):
        with suppress(zlib.error):
            yield zlib.decompress(value)


def find_in_error(error: BaseException, *, with_locals: bool = False) -> list[str]:
    """Return where a secret shows in an error: what it says, what is in it, its pickle, its traceback.

    Args:
        error: Any.
        with_locals: Whether the traceback shows the variables of every frame, as some reporters do.
    """
    told = traceback.TracebackException.from_exception(error, capture_locals=with_locals)
    parts = {"str": str(error), "repr": repr(error), "fields": repr(vars(error)), "traceback": "".join(told.format())}
    found = [hit for name, text in parts.items() for hit in find(f"{name} of {type(error).__name__}", text)]
    return found + find(f"pickle of {type(error).__name__}", pickle.dumps(error))


def find_in_texts(**texts: str) -> list[str]:
    """Return where a secret shows in texts, by name."""
    return [hit for name, text in texts.items() for hit in find(name, text)]


@contextmanager
def marked_simulators() -> Iterator[list[str]]:
    """Let simulators put the mark into every signature and upload token they give out; yields the tokens."""
    tokens: list[str] = []
    sign = FileShelf._signature

    def token(size: int) -> str:
        del size
        tokens.append(f"{MARK}-token-{len(tokens)}")
        return tokens[-1]

    def signature(shelf: FileShelf, provider: str, file_id: str, expires: str) -> str:
        return MARK + sign(shelf, provider, file_id, expires)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fal_storage, "secrets", SimpleNamespace(token_urlsafe=token))
        patch.setattr(FileShelf, "_signature", signature)
        yield tokens


def lines(found: Iterable[str]) -> str:
    """Return findings for an assertion's message."""
    return "\n".join(found)
