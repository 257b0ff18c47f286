"""The ledger's database: its settings are in force, its writers take turns, and its migration survives crashes."""

import contextlib
import fcntl
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from media_assets.errors import LedgerError
from media_assets.ledger import database as database_module
from media_assets.ledger.database import HEAD, Database, ledger_url
from media_assets.ledger.schema import metadata
from media_assets_tests.children import Child, meet, race, run_children


def _open(home: Path) -> Database:
    return Database(ledger_url(None, home))


def open_and_read(home: str) -> str | None:
    """In a child: open the ledger of a home; return its revision."""
    opened = _open(Path(home))
    revision = opened.revision()
    opened.close()
    return revision


def die_while_migrating(home: str, after: int) -> None:
    """In a child: open the ledger of an empty home, and be killed after some statements of the migration."""
    changes = 0

    def count_changes(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal changes
        changes += statement.lstrip().upper().startswith(("CREATE", "INSERT"))
        if changes == after:
            os.kill(os.getpid(), 9)

    sa.event.listen(sa.Engine, "after_cursor_execute", count_changes)
    _open(Path(home))


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", 30_000), ("foreign_keys", 1)]
)
def test_the_settings_that_durability_rests_on_are_in_force(tmp_path: Path, pragma: str, value: object) -> None:
    """A pragma that SQLite ignores says nothing; only reading it back shows that a commit is a commit (2: FULL)."""
    opened = _open(tmp_path)

    with opened.read() as reading, opened.write() as writing:
        found = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for connection in (reading, writing)]

    opened.close()
    assert found == [value, value]


def test_the_ledger_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """It holds prompts; other users of the machine have no business in it, nor in its log."""
    old = os.umask(0)
    try:
        opened = _open(tmp_path)
        with opened.write() as connection:
            connection.exec_driver_sql("DELETE FROM plan")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("ledger.db*")}
        opened.close()
    finally:
        os.umask(old)

    assert modes.pop("ledger.db.migrate-lock", None) is not None
    assert modes == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600)


def test_a_write_transaction_takes_the_lock_as_it_begins(tmp_path: Path) -> None:
    """A deferred transaction that reads and then writes fails under contention instead of waiting."""
    opened = _open(tmp_path)
    other = sqlite3.connect(tmp_path / "ledger.db", timeout=0)

    with opened.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    other.execute("BEGIN IMMEDIATE")
    other.close()
    opened.close()


_WRITERS, _WRITES = 24, 20


def write_again_and_again(home: str, name: str) -> list[float]:
    """In a child: write as others do; return the longest wait for its turn, and how long it all took, in seconds."""
    opened = _open(Path(home))
    meet(Path(home) / "ready", name, _WRITERS)
    began, waits = time.monotonic(), []
    for _ in range(_WRITES):
        asked = time.monotonic()
        with opened.write():
            waits.append(time.monotonic() - asked)
            time.sleep(0.004)
        time.sleep(0.001)
    took = time.monotonic() - began
    opened.close()
    return [max(waits), took]


def test_no_writer_waits_until_all_others_are_done(tmp_path: Path) -> None:
    """32 processes with six purchases each: somebody's turn did not come in 30 seconds, and the ledger "was locked"."""
    _open(tmp_path).close()

    ended = race(
        f"{__name__}:write_again_and_again", [{"home": str(tmp_path), "name": str(one)} for one in range(_WRITERS)]
    )

    assert max(wait for wait, _ in ended) < max(took for _, took in ended) / 2


def test_a_writer_whose_turn_never_comes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was stopped in the middle of a write must not stop all others without a word."""
    opened = _open(tmp_path)
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database_module, "_BUSY_TIMEOUT_MS", 50)

    with pytest.raises(LedgerError, match="locked"), opened.write():
        pass

    other.close()
    opened.close()


def test_whoever_opens_a_new_ledger_beside_others_waits(tmp_path: Path) -> None:
    """The switch to SQLite's log needs the file alone."""
    other = sqlite3.connect(tmp_path / "ledger.db", check_same_thread=False, isolation_level=None)
    other.execute("CREATE TABLE something (x)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM something").fetchall()
    release = threading.Timer(0.3, other.close)
    release.start()

    with contextlib.closing(_open(tmp_path)) as opened:
        assert opened.revision() == HEAD
    release.join()


def test_a_ledger_that_cannot_be_switched_to_its_log_is_not_used_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody reads a file of before, and goes on: in its old mode readers and writers would lock each other out."""
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE something (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM something").fetchall()
        monkeypatch.setattr(database_module, "_BUSY_TIMEOUT_MS", 50)

        with pytest.raises(LedgerError, match="locked"):
            _open(tmp_path)

    _open(tmp_path).close()


def test_only_another_writer_is_waited_for(tmp_path: Path) -> None:
    """A full disk, or a mistake of ours, is no better in half a minute."""
    opened = _open(tmp_path)
    began = time.monotonic()

    with opened.engine.connect() as connection:
        connection.connection.cursor().execute("BEGIN")
        with pytest.raises(sa.exc.OperationalError, match="within a transaction"):
            connection.begin()

    assert time.monotonic() - began < 10
    opened.close()


def test_reading_does_not_block_a_writer(tmp_path: Path) -> None:
    """`status` and the UI read all the time; a film must not wait for them."""
    opened = _open(tmp_path)
    other = sqlite3.connect(tmp_path / "ledger.db", timeout=0)

    with opened.read() as connection:
        connection.exec_driver_sql("SELECT * FROM plan")
        other.execute("BEGIN IMMEDIATE")
        other.commit()

    other.close()
    opened.close()


def test_two_threads_that_read_and_then_write_lose_nothing(tmp_path: Path) -> None:
    """The budget is such a read and write; a lost update would be money spent twice."""
    opened = _open(tmp_path)
    with opened.write() as connection:
        connection.exec_driver_sql("INSERT INTO plan VALUES ('0', 'o', 'p', 't')")

    def count_to_fifty() -> None:
        for _ in range(50):
            with opened.write() as connection:
                now = connection.exec_driver_sql("SELECT id FROM plan").scalar_one()
                connection.exec_driver_sql(f"UPDATE plan SET id = '{int(now) + 1}'")  # noqa: S608 - a number

    threads = [threading.Thread(target=count_to_fifty) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with opened.read() as connection:
        assert connection.exec_driver_sql("SELECT id FROM plan").scalar_one() == "100"
    opened.close()


def _insert_twice(opened: Database) -> None:
    with opened.write() as connection:
        for _ in range(2):
            connection.exec_driver_sql("INSERT INTO plan VALUES ('1', 'o', 'p', 't')")


def test_an_error_inside_a_write_leaves_nothing_of_it(tmp_path: Path) -> None:
    """Half a protocol step in the ledger is worse than none."""
    opened = _open(tmp_path)

    with pytest.raises(sa.exc.IntegrityError):
        _insert_twice(opened)

    with opened.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM plan").scalar_one() == 0
    opened.close()


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    """Code is written against schema.py, databases are made by the migrations: they must not drift apart."""
    opened = _open(tmp_path)

    with opened.read() as connection:
        drift = compare_metadata(MigrationContext.configure(connection), metadata)

    opened.close()
    assert drift == []


def test_head_is_the_newest_migration_file() -> None:
    """Opening compares with HEAD only, because loading Alembic costs 0.1 s; so HEAD has to be right."""
    folder = Path(database_module.__file__).parent / "migrations"

    assert ScriptDirectory(str(folder)).get_heads() == [HEAD]


def test_a_ledger_of_a_newer_version_is_refused_unchanged(tmp_path: Path) -> None:
    """After a downgrade an old program must not write rows that the new one misreads."""
    opened = _open(tmp_path)
    with opened.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    opened.close()

    with pytest.raises(LedgerError, match=r"newer media_assets \(migration 9999.*Upgrade"):
        _open(tmp_path)


def test_a_database_of_another_program_is_refused_unchanged(tmp_path: Path) -> None:
    """Its migrations and ours would be taken for one another's; on Postgres: ``test_schemas.py``."""
    others = sqlite3.connect(tmp_path / "ledger.db")
    others.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    others.execute("INSERT INTO alembic_version VALUES ('29b539ebc72a')")
    others.commit()

    with pytest.raises(LedgerError, match=r"another program's tables.*29b539ebc72a.*MEDIA_ASSETS_LEDGER_URL"):
        _open(tmp_path)

    assert others.execute("SELECT name FROM sqlite_master").fetchall() == [("alembic_version",)]
    others.close()


def test_eight_processes_that_open_an_empty_home_at_once_all_succeed(tmp_path: Path) -> None:
    """A batch starts with as many first users as it has workers; one migrates, the others wait for it."""
    assert race(f"{__name__}:open_and_read", [{"home": str(tmp_path)}] * 8) == [HEAD] * 8


def test_a_kill_during_the_migration_leaves_a_ledger_that_opens(tmp_path: Path) -> None:
    """The first run of all is the one that is most often interrupted."""
    homes = [tmp_path / str(after) for after in (1, 2, 7, 15)]
    chains = [
        [Child(f"{__name__}:die_while_migrating", {"home": str(home), "after": int(home.name)})] for home in homes
    ]

    ended = run_children(chains, at_once=2)

    assert [one.was_killed for (one,) in ended] == [True] * len(homes)
    for home in homes:
        opened = _open(home)
        with opened.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        opened.close()


def _plans(connection: sa.Connection) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM plan").scalar_one())


def _insert(opened: Database, name: str) -> None:
    with opened.write() as connection:
        connection.exec_driver_sql(f"INSERT INTO plan VALUES ('{name}', 'o', 'p', 't')")  # noqa: S608 - ours


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_snapshot_sees_one_moment_and_the_next_one_another(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """Money that moves from one table to another while they are read would look lost, or there twice."""
    opened = (
        _open(tmp_path) if kind == "sqlite" else Database(ledger_url(request.getfixturevalue("migrated"), tmp_path))
    )
    seen = []
    for name in "12":
        with opened.snapshot() as connection:
            seen.append(_plans(connection))
            _insert(opened, name)
            seen.append(_plans(connection))
    with opened.snapshot() as connection, contextlib.suppress(ZeroDivisionError):
        raise ZeroDivisionError
    with opened.read() as connection:
        seen.append(_plans(connection))
    opened.close()
    assert seen == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_one_writer_waits_until_another_is_done(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """It reads first and then decides: what it has read must not be another's yesterday."""
    opened = (
        _open(tmp_path) if kind == "sqlite" else Database(ledger_url(request.getfixturevalue("migrated"), tmp_path))
    )
    read: list[int] = []

    def read_and_write() -> None:
        with opened.write() as connection:
            read.append(_plans(connection))

    other = threading.Thread(target=read_and_write)
    with opened.write() as connection:
        other.start()
        time.sleep(0.1)  # in which it would read
        connection.exec_driver_sql("INSERT INTO plan VALUES ('1', 'o', 'p', 't')")
    other.join()

    opened.close()
    assert read == [1]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_one_process_migrates_and_all_others_wait(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """And whoever has migrated lets the next one go on, however long it lives."""
    where = ledger_url(None if kind == "sqlite" else request.getfixturevalue("url"), tmp_path)
    opened: list[Database] = []
    other = threading.Thread(target=lambda: opened.append(Database(where)))
    with contextlib.ExitStack() as held:
        if kind == "sqlite":
            file = held.enter_context(Path(f"{where.database}.migrate-lock").open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            engine = sa.create_engine(where, poolclass=sa.NullPool)
            connection = held.enter_context(engine.connect())
            connection.execute(sa.select(sa.func.pg_advisory_lock(database_module._MIGRATION_LOCK_ID)))
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join(20)

    (one,) = opened
    assert one.revision() == HEAD
    if kind == "postgres":
        with one.read() as connection:
            here = "(SELECT oid FROM pg_database WHERE datname = current_database())"
            locks = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = {here}"  # noqa: S608
            assert connection.exec_driver_sql(locks).scalar_one() == 0
    one.close()
