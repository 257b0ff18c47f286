"""The connection that holds a process's lock on Postgres, and the statements that go over it.

The lock is held for exactly as long as the session: the server frees it when the connection ends, and nothing else
does. The session is used by one thread and is never handed back to a pool.
"""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from media_assets.ledger.database import Database
from media_assets.ledger.database_time import later, seconds_until, seconds_up
from media_assets.ledger.hosts import Host
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import owner as owners
from media_assets.ledger.schema import plan, purchase

CLOSED, GONE, LAPSED = "closed", "gone", "lapsed"
"""How an owner has ended."""

_CONNECT_S = 10


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the database knows of an owner."""

    host: Host
    pid: int
    started: str
    ended: str | None
    lock_is_free: bool
    lease_left_s: float


class LockSession:
    """An open session, with or without the lock of one owner."""

    def __init__(self, database: Database, owner: str, lease_s: float) -> None:
        """Connect.

        Raises:
            DBAPIError: The server cannot be reached.
        """
        self._owner = owner
        self._lease_s = lease_s
        probe_s = max(int(lease_s / 9), 1)
        engine = sa.create_engine(
            database.url,
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
            # So that this side, too, learns within the lease that the other one is gone.
            connect_args={
                "connect_timeout": _CONNECT_S,
                "keepalives_idle": probe_s,
                "keepalives_interval": probe_s,
                "keepalives_count": 3,
                "tcp_user_timeout": 3000 * probe_s,
            },
        )
        self._connection = engine.connect()
        self._descriptor = _driver_of(self._connection).fileno()
        # The server's side: a host that vanished, or is frozen, loses the lock within its lease.
        for name, value in {"idle": probe_s, "interval": probe_s, "count": 3}.items():
            self._connection.exec_driver_sql(f"SET tcp_keepalives_{name} = {value}")
        self.backend = self.ask_backend()

    def ask_backend(self) -> int:
        """Return which process of the server answers; always the same one for as long as the session lives."""
        return int(self._connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one())

    def take(self) -> bool:
        """Take the owner's lock, if nobody has it; a session of its own that the server has not missed yet is ended."""
        lock = sa.select(sa.func.pg_try_advisory_lock(_lock_id(self._owner)))
        if self._connection.execute(lock).scalar_one():
            return True
        self._connection.execute(_END_HOLDER, {"lock": _lock_id(self._owner)})
        return False

    def is_lent_to_others(self, other: sa.Connection) -> bool:
        """Whether something between here and the server lends this session to other connections as well.

        Args:
            other: A connection that went the same way, in a transaction of its own, which occupies what it was lent.
        """
        mine = sa.select(sa.func.pg_backend_pid())
        lock = sa.select(sa.func.pg_try_advisory_xact_lock(_lock_id(self._owner)))
        others = other.execute(mine).scalar_one()
        return bool(other.execute(lock).scalar_one()) or self.ask_backend() != self.backend or others == self.backend

    def register(self, host: Host, pid: int, started: str) -> None:
        """Write down who the owner is, alive for one lease."""
        who = {"host": host.name, "boot": host.boot, "pid": pid, "started": started}
        self._connection.execute(sa.insert(owners).values(id=self._owner, lease_until=later(self._lease_s), **who))

    def beat(self) -> bool:
        """Renew the lease; False when somebody else has taken over."""
        mine = (owners.c.id == self._owner) & owners.c.ended.is_(None)
        renewed = sa.update(owners).where(mine).values(lease_until=later(self._lease_s)).returning(owners.c.id)
        return self._connection.execute(renewed).first() is not None

    def is_whole(self) -> bool:
        """Whether the session that has the lock still answers."""
        return self.ask_backend() == self.backend

    def see(self, owner: str) -> Seen | None:
        """Return what is known of another owner; None when it is not, or no longer, listed."""
        # Nobody could renew a lease while the server was down.
        left_s = sa.func.greatest(seconds_until(owners.c.lease_until), self._lease_s - seconds_up())
        found = sa.select(owners, left_s.label("left_s"), _is_free(owner).label("free"))
        row = self._connection.execute(found.where(owners.c.id == owner)).one_or_none()
        if row is None:
            return None
        return Seen(
            host=Host(row.host, row.boot),
            pid=row.pid,
            started=row.started,
            ended=row.ended,
            lock_is_free=row.free,
            lease_left_s=row.left_s,
        )

    def lapse(self, owner: str) -> bool:
        """Declare an owner lapsed, if its lock is free and its lease over; it can then never renew it again.

        Its own session takes the lock before it renews the lease, so it cannot come back while this is decided.
        """
        silent = (owners.c.id == owner) & owners.c.ended.is_(None) & (seconds_until(owners.c.lease_until) <= 0)
        lapsed = sa.update(owners).where(silent, _is_free(owner)).values(ended=LAPSED).returning(owners.c.id)
        return self._connection.execute(lapsed).first() is not None

    def end(self, owner: str, how: str) -> None:
        """Declare an owner ended, of which that is certain."""
        perhaps = sa.or_(owners.c.ended.is_(None), owners.c.ended == LAPSED)
        self._connection.execute(sa.update(owners).where(owners.c.id == owner, perhaps).values(ended=how))

    def overdue(self) -> list[str]:
        """Return the owners whose lease is over, and of which nothing is known yet."""
        late = sa.select(owners.c.id).where(owners.c.ended.is_(None), seconds_until(owners.c.lease_until) <= 0)
        return list(self._connection.execute(late).scalars())

    def forget_ended(self) -> None:
        """Strike the owners that have ended and that nothing open names."""
        open_states = [state for state in PurchaseState if state.is_open]
        open_purchases = sa.select(purchase.c.owner).where(purchase.c.state.in_(open_states))
        named = sa.or_(owners.c.id.in_(open_purchases), owners.c.id.in_(sa.select(plan.c.owner)))
        self._connection.execute(sa.delete(owners).where(owners.c.ended.is_not(None), ~named))

    def close(self) -> None:
        """End the session, and with it the lock."""
        with contextlib.suppress(sa.exc.DBAPIError):
            self._connection.close()

    def abandon(self) -> None:
        """Let go of a session that belongs to the process this one was forked from, without a word to the server.

        The connection would otherwise keep the lock of a dead parent; and closing it would end a living one's.
        """
        if self._descriptor >= 0:
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nowhere, self._descriptor, inheritable=False)
            os.close(nowhere)
            self._descriptor = -1


def _driver_of(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


def _lock_id(owner: str) -> int:
    """Return the number of an owner's lock: 64 bits, which no two owners share in practice."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8], signed=True)


def _is_free(owner: str) -> sa.ColumnElement[bool]:
    """Whether nobody holds an owner's lock; asked in passing: what is taken ends with the statement.

    Shared, so that two processes that ask at once do not take each other for the owner.
    """
    return sa.func.pg_try_advisory_xact_lock_shared(_lock_id(owner))


_END_HOLDER = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objsubid = 1"
    " AND (classid::bigint << 32) | objid::bigint = :lock AND pid <> pg_backend_pid()"
)
