"""Who is alive: one locked file for each open ledger of a process, whose lock the kernel frees when the process dies.

No timer is involved, so a paused process or a changed clock cannot make a live owner look dead. One file serves all
rows a process owns. The lock works between processes of one machine; what ledgers that several machines share need
besides is in ``cluster.py``.
"""

import fcntl
import os
import secrets
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from media_assets.errors import LedgerError
from media_assets.ledger import hosts
from media_assets.ledger.hosts import Host

_ALIVE_SUFFIX = ".lock"


@dataclass(frozen=True, kw_only=True)
class OwnershipOptions:
    """How processes of many hosts own what they work on in one ledger on Postgres; an SQLite ledger needs none."""

    lease_s: float = 90.0
    """How long an owner on another host may be silent before what it had is taken over; it is renewed thrice in it."""
    quarantine_s: float = 600.0
    """How much longer a submission that it may have been sending is left alone."""
    host: Host | None = None
    """Which host this process is on; None asks the kernel."""


class Life(StrEnum):
    """What is known of an owner."""

    ALIVE = "alive"
    SILENT = "silent"
    """On another host, and its lock is free, but its lease has not run out: it may yet come back."""
    LAPSED = "lapsed"
    """On another host, and silent for longer than its lease: it has lost what it had, but may sit there frozen."""
    GONE = "gone"
    """For certain: its kernel says so, or it closed its ledger."""


@dataclass(frozen=True)
class Standing:
    """How an owner stands."""

    life: Life
    wait_s: float | None = None
    """Of a silent one: how long until it counts as lapsed."""


class FileLock(StrEnum):
    """How the file of an owner is found."""

    HELD = "held"
    FREE = "free"
    MISSING = "missing"


class Owner:
    """This process, as the rows it owns name it; alive until :meth:`close` or the process's end."""

    quarantine_s = 0.0
    """How long after its deadline a submission of a lapsed owner is left alone; here nobody lapses."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.pid = os.getpid()
        self._busy: set[str] = set()
        self._guard = threading.Lock()
        self.id, self._descriptor = self._lock_new_file()
        # A forked child inherits the lock and would keep a dead owner alive, so it lets go of it.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: owner.forget() if (owner := this()) else None)

    def _lock_new_file(self) -> tuple[str, int]:
        while True:
            name = secrets.token_hex(8)
            path = self.folder / f"{name}{_ALIVE_SUFFIX}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, f"{self.pid}\n".encode())
            # Between creation and lock a sweeper may have taken the file for a dead owner's and removed it.
            if os.fstat(descriptor).st_nlink:
                return name, descriptor
            os.close(descriptor)

    def forget(self) -> None:
        """Let go of the lock, as a forked child must."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        """Give up ownership; rows still held count as a dead process's."""
        if self._descriptor >= 0 and os.getpid() == self.pid:
            (self.folder / f"{self.id}{_ALIVE_SUFFIX}").unlink(missing_ok=True)
        self.forget()

    def is_alive(self, owner: str) -> bool:
        """Whether what ``owner`` works on is to be left to it."""
        return self.standing(owner).life in {Life.ALIVE, Life.SILENT}

    def standing(self, owner: str) -> Standing:
        """Return how the process stands that called itself ``owner``."""
        if owner == self.id:
            return Standing(Life.ALIVE if self._descriptor >= 0 else Life.GONE)
        return Standing(Life.ALIVE if self._file_lock(owner) is FileLock.HELD else Life.GONE)

    def _file_lock(self, owner: str) -> FileLock:
        try:
            descriptor = os.open(self.folder / f"{owner}{_ALIVE_SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return FileLock.MISSING
        try:
            # Shared, so that two processes that ask at once do not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return FileLock.HELD
        finally:
            os.close(descriptor)
        return FileLock.FREE

    def renew(self) -> None:
        """Do what can be done to own on, then :meth:`require_alive`. May wait; not for an event loop's thread.

        Raises:
            LedgerError: This process does not own what it works on, or no longer.
        """
        self.require_alive()

    def require_alive(self) -> None:
        """Make sure that this process still owns what it works on.

        Raises:
            LedgerError: It does not, or nobody can tell just now; so nothing may be sent.
        """
        if os.getpid() != self.pid:
            message = "the ledger was opened by the process that this one was forked from. Open it again here."
            raise LedgerError(message)

    def permit(self, within_s: float) -> Callable[[], None]:
        """Begin the time within which a call that spends may be sent; to be called before its intent is written.

        Returns:
            What to call right before the first byte leaves. It raises ``LedgerError`` when this process no longer owns
            the purchase, or was held up for so long that others may reckon with the call having left before.
        """
        until = hosts.clock() + within_s

        def check() -> None:
            if hosts.clock() > until:
                message = (
                    f"the call was not sent: more than {within_s:g} s passed since it was written down. Run again."
                )
                raise LedgerError(message)
            self.require_alive()

        return check

    def dead_owners(self) -> list[str]:
        """Return the names of owners whose file is left behind without a lock."""
        names = [path.name.removesuffix(_ALIVE_SUFFIX) for path in self.folder.glob(f"*{_ALIVE_SUFFIX}")]
        return [name for name in names if not self.is_alive(name)]

    def bury(self, owner: str) -> None:
        """Remove a dead owner's file, once nothing of it is left to clean up."""
        path = self.folder / f"{owner}{_ALIVE_SUFFIX}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            # Removed only while locked: a new process may just be about to lock this very file.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)

    def forget_ended(self) -> None:
        """Strike owners that have ended from the ledger, once nothing names them; here it lists none."""

    def enter(self, request_key: str) -> bool:
        """Note that a coroutine of this process works on a purchase; False when another one already does."""
        with self._guard:
            if request_key in self._busy:
                return False
            self._busy.add(request_key)
            return True

    def leave(self, request_key: str) -> None:
        """Note that the coroutine is done with it."""
        with self._guard:
            self._busy.discard(request_key)

    def holds(self, request_key: str) -> bool:
        """Whether a coroutine of this process works on it."""
        with self._guard:
            return request_key in self._busy
