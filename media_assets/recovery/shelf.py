"""The folder of rescued files: ``<provider>/<prediction id>[-n].<extension>``, and beside them what is known of them.

One rescue at a time has it. A file is there only when it is whole, and its name ends as its first bytes say.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from media_assets.artifact import sha256_of
from media_assets.durable import put_in_place
from media_assets.errors import StorageError
from media_assets.media.sniff import EXTENSIONS, HEAD_BYTES, sniff
from media_assets.providers.listing import Listed
from media_assets.redact import redact_json

_LOCK, _SCRATCH = ".lock", ".scratch"


@dataclass(kw_only=True)
class Record:
    """What is on the shelf of one prediction."""

    by_number: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Name, size and digest of each file, by the place of the output among the prediction's, from 0."""
    folder: Path
    complete: bool = False
    """Whether these are all of its files."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the files are, in the order of the outputs."""
        return tuple(self.folder / self.by_number[n]["name"] for n in sorted(self.by_number))


class Shelf:
    """One folder of rescued files; blocking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the shelf to ourselves; what a process that died was writing is removed.

        Raises:
            StorageError: Another process has it, or it cannot be written.
        """
        with _told(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"another rescue is at work in {self._folder}; wait for its end, then run this again."
                raise StorageError(message) from None
            shutil.rmtree(self._folder / _SCRATCH, ignore_errors=True)
            yield
            shutil.rmtree(self._folder / _SCRATCH, ignore_errors=True)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def scratch(self, prediction_id: str) -> Iterator[Path]:
        """Have a folder for one file on its way, on the shelf's own disk."""
        with _told(self._folder):
            (self._folder / _SCRATCH).mkdir(exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f"{_file_name(prediction_id)}.", dir=self._folder / _SCRATCH))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def files_of(self, provider: str, prediction_id: str) -> Record:
        """Return what is there, whole, of a prediction."""
        folder = self._folder / provider
        record = Record(folder=folder)
        try:
            told = json.loads(self._record_path(provider, prediction_id).read_bytes())
            files = {int(one["n"]): one for one in told["files"]}
            is_complete = bool(told["complete"])
        except (OSError, ValueError, KeyError, TypeError):
            return record
        for n, one in files.items():
            with contextlib.suppress(OSError, KeyError, TypeError):
                if (folder / one["name"]).stat().st_size == one["bytes"]:
                    record.by_number[n] = one
        record.complete = is_complete and len(record.by_number) == len(files)
        return record

    def put(self, prediction_id: str, path: Path, *, n: int, of: int, record: Record) -> None:
        """Put a finished file in its place, durably, and take note of it.

        Args:
            prediction_id: What made it.
            path: In a folder of :meth:`scratch`.
            n: Which of the prediction's outputs, from 0.
            of: How many there are.
            record: Of that prediction.

        Raises:
            StorageError: It cannot be written.
        """
        with _told(self._folder):
            with path.open("rb") as file:
                mime = sniff(file.read(HEAD_BYTES))
            number = f"-{n + 1}" if of > 1 else ""
            name = f"{_file_name(prediction_id)}{number}.{EXTENSIONS.get(mime or '', 'bin')}"
            facts = {"n": n, "name": name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
            record.folder.mkdir(exist_ok=True)
            put_in_place(path, record.folder / name)
        record.by_number[n] = facts

    def write_record(self, provider: str, listed: Listed, record: Record, *, reported: Mapping[str, Decimal]) -> None:
        """Write down what is known of a prediction beside its files; nothing if there is none. No secret is in it.

        Raises:
            StorageError: It cannot be written.
        """
        if not record.by_number:
            return
        known = listed.prediction
        told = {
            "provider": provider,
            "id": known.id,
            "endpoint": listed.endpoint,
            "version": listed.version,
            "created_at": None if listed.created_at is None else listed.created_at.isoformat(),
            "input": redact_json(None if listed.input is None else dict(listed.input)),
            "reported": {name: str(value) for name, value in {**known.reported, **reported}.items()},
            "files": [record.by_number[n] for n in sorted(record.by_number)],
            "complete": record.complete,
        }
        with self.scratch(known.id) as scratch, _told(self._folder):
            written = scratch / "record"
            text = json.dumps(told, ensure_ascii=False, indent=2) + "\n"
            written.write_text(text, encoding="utf-8", errors="backslashreplace")
            put_in_place(written, self._record_path(provider, known.id))

    def _record_path(self, provider: str, prediction_id: str) -> Path:
        return self._folder / provider / f"{_file_name(prediction_id)}.json"


def _file_name(prediction_id: str) -> str:
    """Return an id as a part of a file's name, whatever is in it."""
    return quote(prediction_id, safe="")[:150]


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"rescuing to {folder}: {error.strerror or error}. Make it a folder with room that you can write."
        raise StorageError(message) from error
