"""Who is alive: one locked file for each open ledger of a process, whose lock the kernel frees when the process dies.

No timer is involved, so a paused process or a changed clock cannot make a live owner look dead. One file serves all
rows a process owns. The lock works between processes of one machine; ledgers that several machines share need more.
"""

import fcntl
import os
import secrets
import threading
import weakref
from pathlib import Path

_ALIVE_SUFFIX = ".lock"


class Owner:
    """This process, as the rows it owns name it; alive until :meth:`close` or the process's end."""

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
            try:
                if path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return name, descriptor
            except FileNotFoundError:
                pass
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
        """Whether the process that called itself ``owner`` still runs."""
        if owner == self.id:
            return self._descriptor >= 0
        try:
            descriptor = os.open(self.folder / f"{owner}{_ALIVE_SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two processes that ask at once do not take each other for the owner.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

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
