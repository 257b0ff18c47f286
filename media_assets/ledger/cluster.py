"""Who is alive where processes of many hosts share one ledger on Postgres.

Each process keeps one session of its own, whose advisory lock the server frees when the session ends, and renews a
lease over it. Of processes of its own host it asks the kernel, as on SQLite. One on another host is alive while its
lock is held, however long it is silent; once its lock is free, until its lease has run out by the database's clock.

Being declared lapsed is final, and written down under the lock: whoever comes back later finds it, and stops.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from media_assets.errors import LedgerError
from media_assets.ledger import hosts
from media_assets.ledger.beats import Beats
from media_assets.ledger.database import Database
from media_assets.ledger.lock_session import CLOSED, GONE, LockSession, Seen
from media_assets.ledger.ownership import FileLock, Life, Owner, OwnershipOptions, Standing

_log = logging.getLogger(__name__)

T = TypeVar("T")

_ANSWER_S = 5.0
"""How long the database may take to say that this process is alive; the caller may be an event loop."""
_RETAKE_S = 30.0
_AGAIN_S = 0.5
"""How soon a lock that was lost is tried for again."""
_TRIES, _BETWEEN_TRIES_S = 20, 0.05
"""A looker has the lock for an instant, and the server needs one to end the session that was lost."""


class ClusterOwner(Owner):
    """This process, as the rows it owns name it, alive to all hosts that share the ledger."""

    def __init__(self, folder: Path, database: Database, options: OwnershipOptions) -> None:
        """Take the lock and begin to renew the lease.

        Raises:
            LedgerError: The server cannot be reached, or something before it lends sessions to many.
        """
        super().__init__(folder)
        self.quarantine_s = options.quarantine_s
        self._database = database
        self._lease_s = options.lease_s
        self._host = options.host or hosts.this_host()
        self._session: LockSession | None = None
        self._taken_over = False
        try:
            self._session = self._open()
        except BaseException:
            super().close()
            raise
        self._beats = Beats(self._beat, self._lease_s / 3)

    def _open(self) -> LockSession:
        try:
            session = self._with_lock()
            self._refuse_lent(session)
            session.register(self._host, self.pid, hosts.started(self.pid))
        except sa.exc.DBAPIError as error:
            raise self._unusable(str(error.orig).strip()) from error
        return session

    def _refuse_lent(self, session: LockSession) -> None:
        lent = False
        for _ in range(2):
            with self._database.engine.begin() as other:
                lent = lent or session.is_lent_to_others(other)
            # Twice: what was lent in turn comes back to us once.
            lent = lent or not (session.is_whole() and session.is_whole())
        if lent:
            session.close()
            raise LedgerError(self._lent())

    def _lent(self) -> str:
        return (
            f"the ledger {self._database.where} is reached through a pooler that lends one session to many connections "
            "(PgBouncer in transaction or statement mode does); no lock holds there. Let MEDIA_ASSETS_LEDGER_URL lead "
            "to Postgres itself, or to a pooler in session mode. Nothing was sent."
        )

    def renew(self) -> None:
        """Take the lock again if it was lost, then :meth:`require_alive`. May wait; not for an event loop's thread."""
        self._ask(lambda: self._talk(self._refuse_swapped), within_s=_RETAKE_S)

    def require_alive(self) -> None:
        """Make sure, by asking the database, that this process still has its lock.

        Raises:
            LedgerError: It has not, or the database does not answer; so nothing may be sent.
        """
        self._ask(self._require_held, within_s=min(_ANSWER_S, self._lease_s))

    def standing(self, owner: str) -> Standing:
        """Return how the process stands that called itself ``owner``, on whichever host."""
        if owner in {"", self.id}:
            return super().standing(owner)
        return self._ask(lambda: self._talk(lambda session: self._look(session, owner)), within_s=_RETAKE_S)

    def forget_ended(self) -> None:
        """Strike owners that have ended from the ledger, once nothing names them."""

        def forget(session: LockSession) -> None:
            for owner in session.overdue():
                self._look(session, owner)
            session.forget_ended()

        self._ask(lambda: self._talk(forget), within_s=_RETAKE_S)

    def forget(self) -> None:
        """Let go of the lock, as a forked child must."""
        super().forget()
        session = getattr(self, "_session", None)
        if session is not None and os.getpid() != self.pid:
            session.abandon()

    def close(self) -> None:
        """Give up ownership; rows still held count as a dead process's."""
        if self._descriptor >= 0 and os.getpid() == self.pid:
            try:
                self._ask(self._say_goodbye, within_s=_ANSWER_S)
            except LedgerError as error:
                _log.warning("others will take this process for silent at first: %s", error.message)
            self._beats.stop(_ANSWER_S)
        super().close()

    def _ask(self, job: Callable[[], T], *, within_s: float) -> T:
        super().require_alive()  # a forked child has no thread to ask
        if self._descriptor < 0:
            reason = "it was closed."
            raise self._unusable(reason)
        try:
            return self._beats.ask(job, within_s=within_s)
        except TimeoutError as error:
            reason = f"no answer within {within_s:g} s."
            raise self._unusable(reason) from error
        except sa.exc.DBAPIError as error:
            raise self._unusable(str(error.orig).strip()) from error

    def _unusable(self, reason: str) -> LedgerError:
        message = (
            f"the ledger {self._database.where} cannot be used: {reason} Without a lock there nothing is sent; run "
            "again to go on."
        )
        return LedgerError(message)

    # What follows runs on the one thread that has the session.

    def _beat(self) -> float:
        try:
            self._talk(self._renew_lease)
        except (sa.exc.DBAPIError, LedgerError) as error:
            _log.warning("the lock on the ledger is lost: %s", getattr(error, "orig", None) or error)
        lost = self._session is None and not self._taken_over
        return min(_AGAIN_S, self._lease_s / 3) if lost else self._lease_s / 3

    def _talk(self, say: Callable[[LockSession], T]) -> T:
        """Say something over the session; over a new one that has taken the lock again, if the old one is dead."""
        self._refuse_taken_over()
        if self._session is not None:
            try:
                return say(self._session)
            except sa.exc.DBAPIError:
                # Perhaps it died long ago, and nobody noticed so far.
                self._drop(self._session)
        return say(self._retaken())

    def _renew_lease(self, session: LockSession) -> None:
        if not session.beat():
            self._taken_over = True
            self._drop(session)
            self._refuse_taken_over()

    def _retaken(self) -> LockSession:
        self._session = session = self._with_lock()
        self._renew_lease(session)
        _log.warning("took the lock on the ledger again")
        return session

    def _with_lock(self) -> LockSession:
        session = LockSession(self._database, self.id, self._lease_s)
        for _ in range(_TRIES):
            if session.take():
                return session
            time.sleep(_BETWEEN_TRIES_S)
        session.close()
        reason = "its lock is still held by a connection that was lost."
        raise self._unusable(reason)

    def _require_held(self) -> None:
        """Make sure that the lock has been held ever since it was taken: by the session, which then still answers."""
        self._refuse_taken_over()
        if self._session is None:
            reason = "the connection was lost."
            raise self._unusable(reason)
        try:
            self._refuse_swapped(self._session)
        except sa.exc.DBAPIError:
            self._drop(self._session)
            raise

    def _refuse_swapped(self, session: LockSession) -> None:
        if not session.is_whole():
            self._drop(session)
            raise LedgerError(self._lent())

    def _refuse_taken_over(self) -> None:
        if self._taken_over:
            message = (
                f"this process was cut off from the ledger for more than {self._lease_s:g} s, and another one took "
                "over what it had. Nothing was sent; run again to use what that one makes."
            )
            raise LedgerError(message)

    def _drop(self, session: LockSession) -> None:
        session.close()
        self._session = None

    def _say_goodbye(self) -> None:
        if self._session is not None:
            self._session.end(self.id, CLOSED)
            self._session.forget_ended()
            self._drop(self._session)

    def _look(self, session: LockSession, owner: str) -> Standing:
        seen = session.see(owner)
        if seen is None:
            # Struck off, or never written down: by a version that knew one host only.
            held = self._file_lock(owner) is FileLock.HELD
            return Standing(Life.ALIVE if held else Life.LAPSED)
        if seen.ended in {CLOSED, GONE}:
            return Standing(Life.GONE)
        if seen.host == self._host:
            lock = self._file_lock(owner)
            if lock is FileLock.FREE or (lock is FileLock.MISSING and hosts.is_gone(seen.pid, seen.started)):
                session.end(owner, GONE)
                return Standing(Life.GONE)
            if lock is FileLock.HELD and seen.ended is None:
                return Standing(Life.ALIVE)
        return _judged(session, owner, seen)


def _judged(session: LockSession, owner: str, seen: Seen) -> Standing:
    """Return how an owner stands of which this host's kernel says nothing."""
    if seen.ended is not None:
        return Standing(Life.LAPSED)
    if not seen.lock_is_free:
        return Standing(Life.ALIVE)
    if seen.lease_left_s > 0:
        return Standing(Life.SILENT, seen.lease_left_s)
    # If it is not to be had, the owner has just come back.
    return Standing(Life.LAPSED if session.lapse(owner) else Life.ALIVE)
