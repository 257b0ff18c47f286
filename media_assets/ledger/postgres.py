"""How Postgres is talked to, and the settings of a server that a ledger cannot be kept under."""

import os
import weakref
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from media_assets.errors import LedgerError

OWN_SCHEMA = "CREATE SCHEMA media_assets, and ?options=-csearch_path%3Dmedia_assets at the end of the URL"
"""How a user gives the ledger a schema, in a database that others use too."""
_LOCK_TIMEOUT_S = 60
"""How long a writer waits for its turn; and a thread for a connection, where others have them all and wait so."""
_SESSION = {
    # One writer at a time: one that stopped in the middle of a write, with its host perhaps, must not stop all others.
    "idle_in_transaction_session_timeout": "30s",
    "lock_timeout": f"{_LOCK_TIMEOUT_S}s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


def postgres_engine(url: URL) -> sa.Engine:
    """Return an engine whose sessions give up what a dead or frozen process holds.

    Every transaction is READ COMMITTED, whatever the server's default: each statement of the protocol sees what was
    committed before it, and its own condition decides.
    """
    engine = sa.create_engine(url, pool_pre_ping=True, pool_timeout=_LOCK_TIMEOUT_S, isolation_level="READ COMMITTED")
    sa.event.listen(engine, "connect", _set_session)
    # What a forked child inherits is its parent's: used by both, or closed, it would break the parent's work.
    this = weakref.ref(engine)
    os.register_at_fork(after_in_child=lambda: mine.dispose(close=False) if (mine := this()) else None)
    return engine


def refuse_unsafe(engine: sa.Engine, where: str) -> None:
    """Make sure that there is a place for the tables, and that what is committed is durable.

    Raises:
        LedgerError: No schema of the search path exists; or the server, the database or the role is set to say
            "committed" before it is so.
    """
    with engine.connect() as connection:
        durable = connection.exec_driver_sql("SHOW synchronous_commit").scalar_one()
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
        path = connection.exec_driver_sql("SHOW search_path").scalar_one()
    if schema is None:
        message = (
            f"the ledger {where} has no schema for its tables: of its search_path ({path}) none exists, or none may be "
            f"used. Create it, or choose another: {OWN_SCHEMA}. Nothing was sent."
        )
        raise LedgerError(message)
    if durable == "off":
        message = (
            f"the ledger {where} has synchronous_commit off: a write that was confirmed can be lost in a crash, and "
            "what was bought would be bought again. Set it to on, for example with ALTER DATABASE … SET "
            "synchronous_commit = on. Nothing was sent."
        )
        raise LedgerError(message)


def _set_session(connection: Any, _record: Any) -> None:
    settings = "; ".join(f"SET {name} = '{value}'" for name, value in _SESSION.items())
    with connection.cursor() as cursor:
        cursor.execute(settings)
    connection.commit()
