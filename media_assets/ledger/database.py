"""The ledger's database: opening it safely, one write transaction at a time, migrating it under a lock.

SQLite by default (WAL, ``synchronous=FULL``, ``BEGIN IMMEDIATE`` for every write), Postgres by URL. Nothing here knows
what the tables mean.
"""

import contextlib
import fcntl
import os
import random
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from media_assets.crash_points import crash_point
from media_assets.errors import ConfigurationError, LedgerError
from media_assets.ledger.postgres import OWN_SCHEMA, postgres_engine, refuse_unsafe

HEAD = "0007"
"""The newest migration; a test compares it with the files. An older program refuses a newer ledger."""

_MIGRATION = re.compile(r"\d{4}")
"""What our migrations are called; those of others, of Dagster for one, have hexadecimal digits."""
SQLITE_OLDEST = (3, 35, 0)
_DRIVERS = ("sqlite", "postgresql+psycopg2")
_URLS = (
    "Use postgresql://USER:PASSWORD@HOST/NAME or sqlite:////FULL/PATH/ledger.db; unset, it is ledger.db in the home."
)
_NO_URL = "is not a database URL"
_BUSY_TIMEOUT_MS = 30_000
_TURN_S = (0.001, 0.015)
"""Between which waits it is asked again whether another writer is done."""
_WRITER_LOCK_ID = 0x6D656478
_MIGRATION_LOCK_ID = 0x6D656469  # "medi": one number for every process that migrates on Postgres
_AGAIN_S = (0.1, 0.5, 1.0, 2.0, 5.0)
"""Waits before the ledger is asked again whether a write was committed: about what a restart takes."""
_NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afpfs", "webdav"}


class CommitUnknownError(LedgerError):
    """Whether a write was committed is not known: the connection broke just then."""


Proof = Callable[[sa.Connection], bool]
"""Tells, from what the ledger holds, whether a certain write was committed."""


def ledger_url(setting: str | None, home: Path) -> URL:
    """Return where the ledger is: the setting, else ``<home>/ledger.db``.

    Raises:
        ConfigurationError: The setting is not the URL of an SQLite or Postgres database that can be used.
    """
    given = (setting or "").strip()
    if not given:
        return URL.create("sqlite", database=str(home / "ledger.db"))
    try:
        url = make_url(given)
    except (sa.exc.ArgumentError, ValueError):
        # Not chained: the cause quotes the URL, and with it the password.
        raise _unusable(_NO_URL) from None
    if url.drivername in {"postgresql", "postgres"}:
        # SQLAlchemy 2.1 would read a bare postgresql:// as psycopg 3, which is not installed here.
        url = url.set(drivername="postgresql+psycopg2")
    if fault := _url_fault(url):
        raise _unusable(fault)
    return url


def _unusable(fault: str) -> ConfigurationError:
    return ConfigurationError(f"the ledger's URL (MEDIA_ASSETS_LEDGER_URL) {fault}. {_URLS}")


def _url_fault(url: URL) -> str | None:
    """Return why the ledger cannot be kept there, without any secret of the URL."""
    texts = [url.username, url.password, url.host, url.database, *chain.from_iterable(url.normalized_query.values())]
    if any("\0" in (text or "") for text in texts):
        return "holds a null character (%00)"
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        return f"is one of {url.get_backend_name()}, where the ledger cannot be kept"
    if url.drivername not in _DRIVERS:
        return f"asks for {url.drivername}; the ledger is reached with {' or '.join(_DRIVERS)}"
    return _file_fault(url) if url.get_backend_name() == "sqlite" else None


def _file_fault(url: URL) -> str | None:
    if url.host or url.username or url.password:
        return "names a server, and SQLite has none"
    if url.database in {None, "", ":memory:"}:
        return "names an SQLite database in memory, which would forget what was paid"
    if not Path(url.database or "").is_absolute():
        return f"names {url.database}, another file in every working directory; write it in full"
    return None


class Database:
    """An open ledger database. Safe to share between threads; a forked child must open its own."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            _prepare_file(Path(url.database or ""))
        self.engine = self._engine()
        try:
            if not self.is_sqlite:
                refuse_unsafe(self.engine, self.where)
            self._migrate()
        except (sa.exc.DBAPIError, OSError) as error:
            self.engine.dispose()
            reason = getattr(error, "orig", None) or error
            message = f"opening the ledger {self.where}: {str(reason).strip()}. Nothing was sent."
            raise LedgerError(message) from error

    @property
    def where(self) -> str:
        """The place of the ledger without its password, for people."""
        return str(self.url.database) if self.is_sqlite else self.url.set(query={}).render_as_string(hide_password=True)

    def _engine(self) -> sa.Engine:
        if not self.is_sqlite:
            return postgres_engine(self.url)
        engine = sa.create_engine(self.url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000})
        sa.event.listen(engine, "connect", _set_pragmas)
        sa.event.listen(engine, "begin", _begin_immediate)
        return engine

    @contextlib.contextmanager
    def write(self, proof: Proof | None = None, *, point: str = "") -> Iterator[sa.Connection]:
        """One write transaction: committed at the end, rolled back on any error.

        On SQLite it begins with ``BEGIN IMMEDIATE``: a deferred transaction that reads and then writes fails with
        "database is locked" under contention (192 of 240 against 0, measured 2026-11-22).

        Args:
            proof: Asked when the connection to Postgres broke just when the write was to be committed, so that nobody
                knows whether it was. Without a proof, or when nobody can be asked, that is an error.
            point: The crash points around its commit, ``<point>.before`` and ``<point>.after``.

        Raises:
            CommitUnknownError: It broke then, and it is not known whether the write was committed.
            LedgerError: The ledger cannot be used, and nothing was written.
        """
        at_commit = False
        try:
            with self._errors_as_ours(), self.engine.begin() as connection:
                if not self.is_sqlite:
                    # What BEGIN IMMEDIATE is on SQLite: our writers read and then write, one after the other.
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITER_LOCK_ID)))
                yield connection
                at_commit = True
                if point:
                    crash_point(f"{point}.before")
        except LedgerError as error:
            if not at_commit or self.is_sqlite or not self._was_committed(proof, error):
                raise
        if point:
            crash_point(f"{point}.after")

    def _was_committed(self, proof: Proof | None, error: LedgerError) -> bool:
        """Whether a write was committed whose connection broke just then.

        It is asked in a transaction that waits for its turn to write: the one in question has had its end by then.
        """
        for wait_s in () if proof is None else _AGAIN_S:
            time.sleep(wait_s)
            with contextlib.suppress(LedgerError), self.write() as connection:
                return proof is not None and proof(connection)
        message = (
            f"the connection to the ledger {self.where} broke while a write was being committed, so it is not known "
            "whether it stands there. Run again to go on from what does."
        )
        raise CommitUnknownError(message) from error

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Read without a transaction of our own: every statement sees what is committed."""
        with (
            self._errors_as_ours(),
            self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """Read everything as it is at one moment, whoever writes meanwhile; nobody is kept from writing."""
        level = "AUTOCOMMIT" if self.is_sqlite else "REPEATABLE READ"
        with self._errors_as_ours(), self.engine.connect().execution_options(isolation_level=level) as connection:
            if not self.is_sqlite:
                yield connection
                return
            connection.exec_driver_sql("BEGIN")  # deferred: in WAL a reader sees the moment of its first statement
            try:
                yield connection
            finally:
                with contextlib.suppress(sa.exc.DBAPIError):  # of a damaged file, perhaps
                    connection.exec_driver_sql("ROLLBACK")

    @contextlib.contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            if isinstance(error, sa.exc.DBAPIError) and not _is_the_databases_fault(error):
                raise
            reason = str(getattr(error, "orig", None) or error).strip()
            message = f"the ledger {self.where} cannot be used: {reason} Nothing new was sent; run again to go on."
            raise LedgerError(message) from error

    def close(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()

    def revision(self) -> str | None:
        """Return the migration the database is at; None when it is empty."""
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def _migrate(self) -> None:
        revision = self.revision()
        if revision == HEAD:
            return
        if revision is not None and not _MIGRATION.fullmatch(revision):
            message = (
                f"{self.where} already holds another program's tables (its alembic_version is {revision}), and the "
                "ledger cannot be among them. Give it a database of its own in MEDIA_ASSETS_LEDGER_URL; on Postgres a "
                f"schema will do: {OWN_SCHEMA}. Nothing was changed."
            )
            raise LedgerError(message)
        if revision is not None and revision > HEAD:
            message = (
                f"the ledger {self.where} was written by a newer media_assets (migration {revision}; this one "
                f"knows {HEAD}). Upgrade media_assets; nothing was changed."
            )
            raise LedgerError(message)
        with self._migration_lock():
            self._upgrade()

    @contextlib.contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if self.is_sqlite:
            with Path(f"{self.url.database}.migrate-lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        with self.read() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_lock(_MIGRATION_LOCK_ID)))
            try:
                yield
            finally:
                connection.execute(sa.select(sa.func.pg_advisory_unlock(_MIGRATION_LOCK_ID)))

    def _upgrade(self) -> None:
        # Alembic takes 0.1 s to import and is needed once in the life of a ledger.
        from alembic.command import upgrade  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            upgrade(config, "head")


def _prepare_file(path: Path) -> None:
    if sqlite3.sqlite_version_info < SQLITE_OLDEST:
        message = f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed."
        raise LedgerError(message)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Owner only: the ledger holds prompts. SQLite gives its -wal and -shm files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        message = f"opening the ledger {path}: {error.strerror}. Set MEDIA_ASSETS_HOME to a folder you can write."
        raise LedgerError(message) from error
    kind = file_system_of(path)
    if kind in _NETWORK_FILE_SYSTEMS and os.environ.get("MEDIA_ASSETS_ALLOW_NETWORK_FS") != "1":
        message = (
            f"the ledger {path} is on a network file system ({kind}), where SQLite's locks do not hold. Set "
            "MEDIA_ASSETS_HOME to a local disk or MEDIA_ASSETS_LEDGER_URL to a Postgres database."
        )
        raise LedgerError(message)


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds ``path`` (Linux; elsewhere the empty string)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best, kind = "", ""
    resolved = str(path.resolve())
    for line in mounts.splitlines():
        _, folder, found, *_ = line.split(" ")
        folder = folder.replace("\\040", " ")
        inside = resolved == folder or resolved.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(best):
            best, kind = folder, found
    return kind


def _is_the_databases_fault(error: sa.exc.DBAPIError) -> bool:
    """Whether an error is not of the statement: a lost connection is reported under more names than one."""
    theirs = sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError
    return error.connection_invalidated or isinstance(error, theirs)


def _set_pragmas(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not open transactions of its own
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        statement = f"PRAGMA {pragma}"
        # SQLite's own time-out does not count for all of this: of many that opened a new ledger at once, some were told
        # that it is locked.
        if not _in_turn(connection, statement):
            connection.execute(statement)


def _begin_immediate(connection: sa.Connection) -> None:
    """Begin as the one writer, after a wait in which everybody asks as often as everybody else.

    SQLite's own wait asks the more seldom the longer it has waited, so that of 24 processes that write all the time one
    does not get its turn before the others are done (4.2 s of 4.3 s against 0.6 s of 3.7 s, measured 2026-11-30).
    """
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0")
    try:
        if not _in_turn(driver, "BEGIN IMMEDIATE"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # once more, for an error that is SQLAlchemy's
    finally:
        driver.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")


def _in_turn(driver: sqlite3.Connection, statement: str) -> bool:
    """Run a statement once no other writer is in its way; False where that takes too long, or it fails otherwise."""
    give_up = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while time.monotonic() < give_up:
        try:
            driver.execute(statement)
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                return False
        else:
            return True
        time.sleep(random.uniform(*_TURN_S))  # noqa: S311 - not a secret
    return False
