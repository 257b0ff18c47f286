"""Prompts that arrive: read from a folder and from the inbox table, pinned, and what cannot be used set aside.

A file stays where it is, so that it can be edited; what is pinned already is not pinned again, so reading one twice
does nothing. Nothing here makes or buys anything.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from media_assets.errors import Problem, PromptFileError, StorageError
from media_assets.ledger import Ledger
from media_assets.ledger.inbox import HandedIn
from media_assets.ledger.pins import Arrival
from media_assets.prompt_file import GROWING_SUFFIXES, SUFFIXES, Row, read_growing, validate_prompt

INBOX = "inbox"
"""The folder of the home that is the inbox where no other is named."""
BAD = "bad"
"""The folder in the inbox where what cannot be used is set aside, each with its error beside it."""

_MOST_REFUSED = 1000
_FINGERPRINT_CHARACTERS = 12
_HEADLINE = "the prompt cannot be used; nothing was sent:"


@dataclass(frozen=True, kw_only=True)
class InboxOptions:
    """How an inbox is read."""

    patience_s: float = 60.0
    """For how long a file that cannot be read as a whole, or whose last line is not ended, may still be written to."""
    most: int = 200
    """Prompts that are pinned in one look."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What an earlier look saw of the folder, by fingerprint of name, size and times."""

    once: frozenset[str] = frozenset()
    """Files that are read when they look the same once more: nobody writes to them."""
    read: frozenset[str] = frozenset()
    """Files that were read to their end."""

    def as_dict(self) -> dict[str, list[str]]:
        """Return the form in which it is kept."""
        return {"once": sorted(self.once), "read": sorted(self.read)}

    @classmethod
    def of_dict(cls, kept: dict[str, Any]) -> Self:
        """Read what :meth:`as_dict` returned."""
        return cls(once=frozenset(kept.get("once", ())), read=frozenset(kept.get("read", ())))


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Something in the inbox that is no prompt."""

    where: str
    error: str
    aside: str
    """Where in the inbox it is now; empty: it could not be set aside, or came through the table."""


@dataclass(kw_only=True)
class Look:
    """What one look at the inbox brought."""

    seen: Seen = field(default_factory=Seen)
    """For the next look."""
    pinned: int = 0
    """Prompts that were pinned, those that were pinned before included."""
    refused: list[Refused] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    """Files that are not read yet, or not to their end, and why."""


class Inbox:
    """A folder, and the inbox table of a ledger. Blocking; free."""

    def __init__(self, folder: Path, ledger: Ledger, options: InboxOptions | None = None) -> None:
        self._folder = folder
        self._ledger = ledger
        self._options = options or InboxOptions()

    def look(self, seen: Seen) -> Look:
        """Pin what has arrived, and set aside what cannot be used.

        Args:
            seen: What the look before this one returned.
        """
        look = Look()
        self._read_table(look)
        once, read = set[str](), set[str]()
        for path, fingerprint, changed_at in self._files():
            if fingerprint in seen.read:
                read.add(fingerprint)
            elif fingerprint not in seen.once:
                once.add(fingerprint)
                look.waiting[path.name] = "it is read when it has not changed until the next look"
            elif look.pinned >= self._options.most:
                once.add(fingerprint)
                look.waiting[path.name] = "enough was read in this look"
            elif self._read_file(path, look, is_old=time.time() - changed_at > self._options.patience_s):
                read.add(fingerprint)
            else:
                once.add(fingerprint)
        look.seen = Seen(once=frozenset(once), read=frozenset(read))
        return look

    def _files(self) -> Iterable[tuple[Path, str, float]]:
        """Return the files with prompts, the one first that was changed first, each with when that was."""
        found = []
        try:
            paths = sorted(self._folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            message = f"the inbox {self._folder} cannot be read: {error.strerror or error}. Nothing was sent."
            raise StorageError(message) from error
        for path in paths:
            name = path.name
            if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                continue
            try:
                facts = path.stat()
            except OSError:  # it was taken away meanwhile
                continue
            if stat.S_ISREG(facts.st_mode):
                told = f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ctime_ns}"
                digest = hashlib.sha256(os.fsencode(told)).hexdigest()[:_FINGERPRINT_CHARACTERS]
                found.append((path, digest, max(facts.st_mtime, facts.st_ctime)))
        return sorted(found, key=lambda one: one[2])

    def _read_table(self, look: Look) -> None:
        for row in self._ledger.inbox.unread(most=self._options.most):
            where = f"row {row.n} of the table inbox"
            try:
                prompt = validate_prompt(where, _as_mapping(where, row))
            except PromptFileError as error:
                self._ledger.inbox.mark_read(row.n, prompt_key=None, error=error.message)
                look.refused.append(Refused(where=where, error=error.message, aside=""))
                continue
            arrival = Arrival(priority=row.priority)
            self._ledger.prompts.pin([prompt], source=row.source or where, arrival=arrival)
            self._ledger.inbox.mark_read(row.n, prompt_key=prompt.key)
            look.pinned += 1

    def _read_file(self, path: Path, look: Look, *, is_old: bool) -> bool:
        """Take in one file; return whether it was read to its end."""
        try:
            rows, waits = read_growing(path, whole_lines=not is_old)
        except PromptFileError as error:
            if is_old:
                self._set_file_aside(path, error.message, look)
                return True
            look.waiting[path.name] = "it cannot be read as it is; perhaps it is still being written"
            return False
        bad = [row for row in rows if row.prompt is None]
        if bad and len(bad) == len(rows) and not waits and path.suffix.lower() not in GROWING_SUFFIXES:
            problems = [problem for row in bad for problem in row.problems]
            self._set_file_aside(path, _told(problems), look)
            return True
        for row in bad[:_MOST_REFUSED]:
            self._set_row_aside(path, row, look)
        is_whole = self._pin(path, [row for row in rows if row.prompt is not None], look)
        if waits or not is_whole:
            look.waiting[path.name] = waits or "enough was read in this look"
        return is_whole and not waits

    def _pin(self, path: Path, rows: list[Row], look: Look) -> bool:
        """Pin the prompts of a file that are not pinned yet, as far as one look goes; return whether that was all."""
        for row in rows:
            prompt = row.prompt
            if prompt is None:
                continue
            known = self._ledger.prompts.get(prompt.key)
            if known is not None and known.source != str(path) and self._is_also_in(known.source, prompt.key):
                fault = f"{prompt.key!r} is already used by {Path(known.source).name}; every prompt needs its own"
                told = Problem(row.where, "key", fault)
                self._set_row_aside(path, Row(row.where, None, (told,), row.raw), look)
                continue
            if look.pinned >= self._options.most:
                return False
            before = known.arrived if known is not None else None
            self._ledger.prompts.pin([prompt], source=str(path), arrival=Arrival())
            pinned = self._ledger.prompts.get(prompt.key)
            look.pinned += pinned is not None and pinned.arrived != before
        return True

    def _is_also_in(self, source: str, key: str) -> bool:
        """Whether the file that a key came from is in the inbox, and still has it: two files would take turns."""
        other = Path(source)
        if other.parent != self._folder or not other.is_file():
            return False
        try:
            rows, _ = read_growing(other)
        except PromptFileError:
            return False
        return any(row.prompt is not None and row.prompt.key == key for row in rows)

    def _set_file_aside(self, path: Path, error: str, look: Look) -> None:
        try:
            target = self._free_name(path.name)
            self._write_error(target, error)
            path.rename(target)
        except OSError as fault:
            look.waiting[path.name] = f"it cannot be used, nor be set aside ({fault.strerror}): {error}"
            return
        look.refused.append(Refused(where=path.name, error=error, aside=f"{BAD}/{target.name}"))

    def _set_row_aside(self, path: Path, row: Row, look: Look) -> None:
        """Copy a row out of a file, once; the file may be one that somebody adds to."""
        content = (
            row.raw if isinstance(row.raw, str) else json.dumps(row.raw, indent=1, ensure_ascii=False, default=str)
        )
        digest = hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()[:8]
        target = self._folder / BAD / f"{path.name}.{digest}.json"
        if target.exists():
            return
        error = _told(row.problems)
        try:
            target.parent.mkdir(exist_ok=True)
            self._write_error(target, error)
            target.write_text(content, encoding="utf-8", errors="backslashreplace")
        except OSError as fault:
            look.waiting[path.name] = f"{row.where} cannot be used, nor be set aside ({fault.strerror}): {error}"
            return
        look.refused.append(Refused(where=row.where, error=error, aside=f"{BAD}/{target.name}"))

    def _free_name(self, name: str) -> Path:
        folder = self._folder / BAD
        folder.mkdir(exist_ok=True)
        target, number = folder / name, 1
        while target.exists():
            number += 1
            target = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        return target

    def _write_error(self, target: Path, error: str) -> None:
        told = f"{error}\nCorrect it and put it back into {self._folder}.\n"
        target.with_name(f"{target.name}.error.txt").write_text(told, encoding="utf-8", errors="backslashreplace")


def _as_mapping(where: str, row: HandedIn) -> Any:
    try:
        return json.loads(row.body)
    except ValueError as error:
        fault = f"is not well-formed JSON: {error}"
        raise PromptFileError.of(_HEADLINE, [Problem(where, "", fault)]) from error


def _told(problems: Iterable[Problem]) -> str:
    return PromptFileError.of(_HEADLINE, list(problems)).message
