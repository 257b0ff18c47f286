"""Prompts that arrive: read from a folder and from the inbox table, pinned, and what cannot be used set aside.

A file stays where it is, so that it can be edited; what is pinned already is not pinned again, so reading one twice
does nothing. Nothing here makes or buys anything.
"""

import hashlib
import itertools
import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Self

from media_assets.errors import Problem, PromptFileError, StorageError
from media_assets.growing_file import GROWING_SUFFIXES, Mark, Reading, read_growing
from media_assets.ledger import Ledger
from media_assets.ledger.inbox import HandedIn
from media_assets.ledger.pins import Arrival
from media_assets.prompt_file import SUFFIXES, Row, validate_prompt

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
    marks: Mapping[str, Mark] = field(default_factory=dict)
    """How far it got with the large ones, by fingerprint of the name alone."""
    newest: int = 0
    """The newest place that the ledger had given to an arrival. Where another was given since, a look may have been
    lost with its marks: the older ones say nothing of what it pinned."""

    def as_dict(self) -> dict[str, Any]:
        """Return the form in which it is kept."""
        marks = {name: list(astuple(mark)) for name, mark in sorted(self.marks.items())}
        return {"once": sorted(self.once), "read": sorted(self.read), "marks": marks, "newest": self.newest}

    @classmethod
    def of_dict(cls, kept: dict[str, Any]) -> Self:
        """Read what :meth:`as_dict` returned."""
        marks = {
            name: Mark(rows=rows, length=length, digest=digest)
            for name, (rows, length, digest) in kept.get("marks", {}).items()
        }
        once, read = frozenset(kept.get("once", ())), frozenset(kept.get("read", ()))
        return cls(once=once, read=read, marks=marks, newest=kept.get("newest", 0))


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
    """Prompts that were pinned, new or changed ones."""
    checked: int = 0
    """Rows of files that were read and checked: what the look cost."""
    refused: list[Refused] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    """Files that are not read yet, or not to their end, and why."""


class Inbox:
    """A folder, and the inbox table of a ledger. Blocking; free."""

    def __init__(self, folder: Path, ledger: Ledger, options: InboxOptions | None = None) -> None:
        self._folder = folder
        self._ledger = ledger
        self._options = options or InboxOptions()
        self._keys_in: dict[Path, frozenset[str]] = {}
        """Of files that were read for their keys in this look."""

    def look(self, seen: Seen) -> Look:
        """Pin what has arrived, and set aside what cannot be used.

        Args:
            seen: What the look before this one returned.
        """
        look = Look()
        self._keys_in.clear()
        believed = seen.marks if seen.newest == self._ledger.prompts.newest_arrival() else {}
        self._read_table(look)
        once, read = set[str](), set[str]()
        marks: dict[str, Mark] = {}
        for path, fingerprint, changed_at in self._files():
            name = _fingerprint(path.name)
            if name in believed:
                marks[name] = believed[name]
            if fingerprint in seen.read:
                read.add(fingerprint)
            elif fingerprint not in seen.once:
                once.add(fingerprint)
                look.waiting[path.name] = "it is read when it has not changed until the next look"
            elif look.pinned >= self._options.most:
                once.add(fingerprint)
                look.waiting[path.name] = "enough was read in this look"
            elif self._read_file(path, look, marks, is_old=time.time() - changed_at > self._options.patience_s):
                read.add(fingerprint)
            else:
                once.add(fingerprint)
        newest = self._ledger.prompts.newest_arrival()
        look.seen = Seen(once=frozenset(once), read=frozenset(read), marks=marks, newest=newest)
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
                told = _fingerprint(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0{facts.st_ctime_ns}")
                found.append((path, told, max(facts.st_mtime, facts.st_ctime)))
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

    def _read_file(self, path: Path, look: Look, marks: dict[str, Mark], *, is_old: bool) -> bool:
        """Take in one file from its mark on; return whether it was read to its end."""
        name = _fingerprint(path.name)
        try:
            reading = read_growing(path, whole_lines=not is_old, mark=marks.get(name))
        except PromptFileError as error:
            if is_old:
                self._set_file_aside(path, error.message, look)
                return True
            look.waiting[path.name] = "it cannot be read as it is; perhaps it is still being written"
            return False
        if path.suffix.lower() not in GROWING_SUFFIXES and self._is_set_aside(path, reading, look):
            return True
        left, is_whole = self._take_in(path, reading, look)
        look.checked += reading.checked
        marks.pop(name, None)  # or it would be believed when the file says again what it said then
        mark = reading.mark_before(min(left, default=reading.end.rows))
        if mark.rows >= self._options.most:  # a smaller file is soon read again, and there may be many
            marks[name] = mark
        if reading.waits or not is_whole:
            look.waiting[path.name] = reading.waits or "enough was read in this look"
        return is_whole and not reading.waits

    def _is_set_aside(self, path: Path, reading: Reading, look: Look) -> bool:
        """Set a file aside that has nothing good in it; return whether that is so."""
        rows = list(reading.rows)
        reading.rows = iter(rows)
        if not reading.is_whole or any(row.prompt is not None for _, row in rows):
            return False
        self._set_file_aside(path, _told(problem for _, row in rows for problem in row.problems), look)
        return True

    def _take_in(self, path: Path, reading: Reading, look: Look) -> tuple[list[int], bool]:
        """Pin the prompts of a file and set its bad rows aside, as far as one look goes.

        Returns:
            The numbers of rows that another look has to see again, and whether this one went to the end.
        """
        left: list[int] = []
        bad = 0
        while some := list(itertools.islice(reading.rows, self._options.most)):
            for number, row in some:
                bad += row.prompt is None
                if row.prompt is None and bad <= _MOST_REFUSED and not self._set_row_aside(path, row, look):
                    left.append(number)
            unpinned, is_whole = self._pin(path, some, look)
            left += unpinned
            if not is_whole:
                return left, False
        return left, True

    def _pin(self, path: Path, some: list[tuple[int, Row]], look: Look) -> tuple[list[int], bool]:
        """Pin what is not pinned yet, as far as one look goes.

        Returns:
            As :meth:`_take_in`.
        """
        good = [(number, row, row.prompt) for number, row in some if row.prompt is not None]
        known = self._ledger.prompts.known([prompt for _, _, prompt in good], Arrival())
        left, new = [], []
        for number, row, prompt in good:
            one = known.get(prompt.key)
            if one is not None and one.source != str(path) and self._is_also_in(one.source, prompt.key, look):
                self._refuse_key(path, row, prompt.key, one.source, look)
                left.append(number)  # it is free to come when the other file has the key no more
            elif one is None or not one.is_same:
                new.append((number, prompt))
        room = self._options.most - look.pinned
        self._ledger.prompts.pin([prompt for _, prompt in new[:room]], source=str(path), arrival=Arrival())
        look.pinned += len(new[:room])
        return left + [number for number, _ in new[room : room + 1]], len(new) <= room

    def _refuse_key(self, path: Path, row: Row, key: str, source: str, look: Look) -> None:
        fault = f"{key!r} is already used by {Path(source).name}; every prompt needs its own"
        self._set_row_aside(path, Row(row.where, None, (Problem(row.where, "key", fault),), row.raw), look)

    def _is_also_in(self, source: str, key: str, look: Look) -> bool:
        """Whether the file that a key came from is in the inbox, and still has it: two files would take turns."""
        other = Path(source)
        if other.parent != self._folder or not other.is_file():
            return False
        if other not in self._keys_in:
            self._keys_in[other] = self._read_keys(other, look)
        return key in self._keys_in[other]

    def _read_keys(self, other: Path, look: Look) -> frozenset[str]:
        try:
            reading = read_growing(other)
            keys = frozenset(row.prompt.key for _, row in reading.rows if row.prompt is not None)
        except PromptFileError:
            return frozenset()
        look.checked += reading.checked
        return keys

    def _set_file_aside(self, path: Path, error: str, look: Look) -> None:
        try:
            target = self._free_name(path.name)
            self._write_error(target, error)
            path.rename(target)
        except OSError as fault:
            look.refused.append(_left_there(path.name, error, fault))
            return
        look.refused.append(Refused(where=path.name, error=error, aside=f"{BAD}/{target.name}"))

    def _set_row_aside(self, path: Path, row: Row, look: Look) -> bool:
        """Copy a row out of a file, once, if that can be done; the file may be one that somebody adds to."""
        content = (
            row.raw if isinstance(row.raw, str) else json.dumps(row.raw, indent=1, ensure_ascii=False, default=str)
        )
        digest = hashlib.sha256(content.encode(errors="backslashreplace")).hexdigest()[:8]
        target = self._folder / BAD / f"{path.name}.{digest}.json"
        if target.exists():
            return True
        error = _told(row.problems)
        try:
            target.parent.mkdir(exist_ok=True)
            self._write_error(target, error)
            target.write_text(content, encoding="utf-8", errors="backslashreplace")
        except OSError as fault:
            look.refused.append(_left_there(row.where, error, fault))
            return False
        look.refused.append(Refused(where=row.where, error=error, aside=f"{BAD}/{target.name}"))
        return True

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


def _left_there(where: str, error: str, fault: OSError) -> Refused:
    """Return what is told of something that cannot be set aside: once, for it counts as read until it is changed."""
    told = f"{error}\nNor can it be set aside in {BAD}/ ({fault.strerror or fault}): it stays where it is, unread."
    return Refused(where=where, error=told, aside="")


def _fingerprint(told: str) -> str:
    return hashlib.sha256(os.fsencode(told)).hexdigest()[:_FINGERPRINT_CHARACTERS]


def _as_mapping(where: str, row: HandedIn) -> Any:
    try:
        return json.loads(row.body)
    except ValueError as error:
        fault = f"is not well-formed JSON: {error}"
        raise PromptFileError.of(_HEADLINE, [Problem(where, "", fault)]) from error


def _told(problems: Iterable[Problem]) -> str:
    return PromptFileError.of(_HEADLINE, list(problems)).message
