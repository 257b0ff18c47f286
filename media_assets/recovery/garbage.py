"""Garbage collection: files that nothing needs, temporary files of the dead, raw replies that nobody reads any more.

A file leaves in two steps, each of which may be the last thing that a process does: it is struck from the ledger, and
then removed, inside a transaction that lets nobody record it meanwhile. So there may be a file that no row names, and
never a row whose file is gone. What was stored and never recorded carries a note; a file with neither row nor note is
not ours to remove (see ``docs/decisions/0018-what-is-kept.md``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from media_assets.artifact import Artifact, ArtifactStore, Unrecorded
from media_assets.ledger import Ledger
from media_assets.ledger.garbage import Unused, file_name
from media_assets.ledger.rows import PurchaseRow
from media_assets.providers.transport.spool import Spool

_DAY_S = 86_400.0
_REPLY_DAYS = 30.0
"""How long a raw reply is kept that this ledger knows nothing of; of its own purchases, none outlives the purchase."""
_BATCH = 50
"""Files removed while nobody can write to the ledger."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What may go, and when."""

    unused_days: float = 14.0
    """How long a file is kept after nothing needs it any more."""
    paid_days: float | None = None
    """How long after their purchase paid files are deleted that no pinned prompt is made of. None: never."""
    who: str = ""
    """Who says that paid files are to be deleted; for people."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of the store, and why it goes or stays."""

    name: str
    size_bytes: int
    reason: str


@dataclass(kw_only=True)
class Collected:
    """What was removed, or in a dry run would be; and what is not, though nothing names it."""

    removed: list[File] = field(default_factory=list)
    waiting: list[File] = field(default_factory=list)
    """Not needed, and not yet for long enough."""
    kept: list[File] = field(default_factory=list)
    """Never recorded, and perhaps all there is of something paid for."""
    paid: list[PurchaseRow] = field(default_factory=list)
    """Purchases whose paid files were deleted by the rule that was given."""
    temporary: int = 0
    """Temporary files and folders of processes that died."""
    replies: int = 0
    """Raw replies."""

    @property
    def freed_bytes(self) -> int:
        """What the removed files took."""
        return sum(one.size_bytes for one in self.removed)


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """Collects garbage of one home; safe beside runs, and beside another one of its kind. Blocking, and free."""

    ledger: Ledger
    store: ArtifactStore
    spool: Spool
    folders: Sequence[Path]
    """Where temporary files are looked for, besides the store."""
    rules: Rules
    now: datetime
    """Aware, in UTC."""

    def look(self) -> Collected:
        """Return what :meth:`collect` would do; nothing is changed."""
        found = Collected(paid=self._paid(), temporary=len(self._temporary()), replies=len(self._replies()))
        for row in found.paid:
            found.removed.append(_paid_file(row))
        for one in self.ledger.garbage.unused():
            (found.removed if self._is_old(one) else found.waiting).append(self._unused_file(one))
        notes = self.store.unrecorded()
        named = self.ledger.garbage.named([note.name for note in notes])
        for note in notes:
            if note.name not in named:
                self._place(found, note)
        return found

    def collect(self) -> Collected:
        """Remove what may go, and say what that was.

        Raises:
            LedgerError: The ledger cannot be used; what was removed by then is gone, and nothing else is harmed.
        """
        done = Collected(temporary=len(self._temporary()))
        self.ledger.sweep(self.store.root, *self.folders)
        for token in self._replies():
            self.spool.drop(token)
            done.replies += 1
        done.paid = [row for row in self._paid() if self._give_up(row)]
        self.ledger.garbage.mark(self.now)
        self.ledger.garbage.forget(before=self._unused_before, condemn=self._condemn)
        self._remove_unrecorded(done)
        done.waiting += [self._unused_file(one) for one in self.ledger.garbage.unused()]
        return done

    @property
    def _unused_before(self) -> datetime:
        return self.now - timedelta(days=self.rules.unused_days)

    @property
    def _paid_before(self) -> datetime:
        return self.now - timedelta(days=self.rules.paid_days or 0.0)

    def _paid(self) -> list[PurchaseRow]:
        return [] if self.rules.paid_days is None else self.ledger.garbage.paid_before(self._paid_before)

    def _give_up(self, row: PurchaseRow) -> bool:
        days, who = self.rules.paid_days or 0.0, self.rules.who
        return self.ledger.garbage.give_up(row, self._paid_before, days=days, who=who, condemn=self._condemn)

    def _condemn(self, artifact: Artifact) -> None:
        # As if it had been there for ever: whoever strikes it from the ledger has made sure that it may go.
        self.store.condemn(artifact, since_s=0.0)

    def _is_old(self, one: Unused) -> bool:
        return one.since is not None and datetime.fromisoformat(one.since) <= self._unused_before

    def _unused_file(self, one: Unused) -> File:
        since = one.since[:10] if one.since else "now"
        reason = f"no purchase has it for its output, since {since}"
        return File(name=file_name(one.artifact), size_bytes=one.artifact.info.size_bytes, reason=reason)

    def _temporary(self) -> list[Path]:
        return self.ledger.left_behind(self.store.root, *self.folders)

    def _replies(self) -> list[str]:
        """Return the tokens of raw replies that nobody reads any more."""
        tokens = self.spool.tokens()
        if not tokens:
            return []
        purchases = self.ledger.purchases
        foreign = tokens - purchases.replies_known(tokens)
        old = {token for token in foreign if self._age_s(self.spool.since_s(token)) > _REPLY_DAYS * _DAY_S}
        return sorted(purchases.replies_done_with(tokens) | old)

    def _age_s(self, since_s: float) -> float:
        return self.now.timestamp() - since_s

    def _place(self, found: Collected, note: Unrecorded) -> bool:
        """Say of a file that no row names whether it goes, waits or is kept; return whether it goes."""
        size_bytes = self.store.size_bytes(note.name)
        wanted = sorted(self.ledger.garbage.still_wanted(note.wanted_by))
        if wanted:
            reason = f"it may be the paid output of purchase {', '.join(key[:12] for key in wanted)}"
            found.kept.append(File(name=note.name, size_bytes=size_bytes, reason=reason))
            return False
        is_old = self._age_s(note.since_s) >= self.rules.unused_days * _DAY_S
        reason = "it was stored and never recorded" if note.wanted_by else "nothing needed it for long enough"
        (found.removed if is_old else found.waiting).append(File(name=note.name, size_bytes=size_bytes, reason=reason))
        return is_old

    def _remove_unrecorded(self, done: Collected) -> None:
        names = [note.name for note in self.store.unrecorded()]
        for start in range(0, len(names), _BATCH):
            some = names[start : start + _BATCH]
            # Nobody records a file before this block is left; and whoever does so after it, looks whether it is there.
            with self.ledger.garbage.unnamed(some) as unnamed:
                for note in self.store.unrecorded(some):  # again: they may have been stored anew
                    self._remove(done, note, is_named=note.name not in unnamed)

    def _remove(self, done: Collected, note: Unrecorded, *, is_named: bool) -> None:
        if not is_named:
            if self._place(done, note):
                self.store.remove(note.name)
        elif not self.ledger.garbage.still_wanted(note.wanted_by):
            self.store.drop_note(note.name)


def _paid_file(row: PurchaseRow) -> File:
    artifact = row.artifact
    name, size_bytes = ("", 0) if artifact is None else (file_name(artifact), artifact.info.size_bytes)
    return File(name=name, size_bytes=size_bytes, reason=f"paid for, by purchase {row.request_key[:12]}")
