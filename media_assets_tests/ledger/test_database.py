"""The ledger's database: its settings are in force, its migration survives crashes, and bad URLs are refused."""

import os
import shutil
import sqlite3
import stat
import sys
import threading
import time
import traceback
from pathlib import Path
from subprocess import run

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from media_assets.errors import ConfigurationError, LedgerError
from media_assets.ledger import database as database_module
from media_assets.ledger.database import HEAD, Database, file_system_of, ledger_url
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


_OPEN_ON = """
import sys
from pathlib import Path
from media_assets.errors import LedgerError
from media_assets.ledger.database import Database, file_system_of, ledger_url
home = Path(sys.argv[1])
print(file_system_of(home / "ledger.db"))
try:
    Database(ledger_url(None, home)).close()
except LedgerError as error:
    print(error.message)
"""


def _opened_where_mounts_read(mounts: str, home: Path, **environment: str) -> list[str]:
    """Open a ledger in a process that sees ``mounts`` as the machine's table of mounts; return what it printed."""
    table = home / "mounts"
    table.write_text(mounts)
    script = 'mount --bind "$0" /proc/$$/mounts && exec "$@"'
    child = run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            table,
            sys.executable,
            "-c",
            _OPEN_ON,
            home,
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if "unshare" in child.stderr or "mount:" in child.stderr:
        pytest.skip(f"this machine has no mount namespaces for users: {child.stderr.strip()[-200:]}")
    assert child.returncode == 0, child.stderr
    return child.stdout.splitlines()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed, so no mount can be shown")
def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """SQLite's locks do not hold there: two machines would both be told that they may buy."""
    home = tmp_path / "my films"
    home.mkdir()
    mounts = f"none / ext4 rw 0 0\nserver:/x {str(home).replace(' ', chr(92) + '040')} nfs4 rw 0 0\n"

    refused = _opened_where_mounts_read(mounts, home)
    allowed = _opened_where_mounts_read(mounts, home, MEDIA_ASSETS_ALLOW_NETWORK_FS="1")
    beside = _opened_where_mounts_read(mounts.replace("my", "m"), home)

    assert refused[0] == "nfs4"
    assert "network file system (nfs4)" in refused[1]
    assert "MEDIA_ASSETS_LEDGER_URL" in refused[1]
    assert allowed == ["nfs4"]
    assert beside == ["ext4"]


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="this machine has no /proc/self/mounts")
def test_the_file_system_of_this_machine_is_known() -> None:
    """A parser that finds nothing would refuse nothing."""
    assert file_system_of(Path("/proc/self/status")) == "proc"


@pytest.mark.parametrize(
    ("setting", "driver", "database"),
    [
        ("postgresql://ann@db.example/films", "postgresql+psycopg2", "films"),
        ("postgres://ann@db.example/films", "postgresql+psycopg2", "films"),
        ("postgresql+psycopg2://ann@db.example/films", "postgresql+psycopg2", "films"),
        ("sqlite:////var/films.db", "sqlite", "/var/films.db"),
        (None, "sqlite", "/home/ann/ledger.db"),
        ("", "sqlite", "/home/ann/ledger.db"),
        (" \n", "sqlite", "/home/ann/ledger.db"),
        ("postgresql://ann@db.example/films\n", "postgresql+psycopg2", "films"),
    ],
)
def test_a_url_is_read_as_the_driver_that_is_installed(setting: str | None, driver: str, database: str) -> None:
    """A bare postgresql:// is what every provider of databases prints."""
    url = ledger_url(setting, Path("/home/ann"))

    assert (url.drivername, url.database) == (driver, database)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("mysql://ann:geheim@db.example/films", "one of mysql, where the ledger cannot be kept"),
        ("films", "is not a database URL"),
        ("ann:geheim@db.example", "is not a database URL"),
        ("postgresql://ann:geheim@db.example:port/films", "is not a database URL"),
        ("postgresql://ann:geheim%00@127.0.0.1:1/films", "null character"),
        ("postgresql://127.0.0.1:1/films?user=ann&password=geheim%00", "null character"),
        ("postgresql+asyncpg://ann:geheim@127.0.0.1:1/films", "psycopg2"),
        ("sqlite:///films.db", "write it in full"),
        ("postgresql+nosuch://ann:geheim@127.0.0.1:1/films", "psycopg2"),
        ("sqlite://", "SQLite"),
        ("sqlite:///:memory:", "SQLite"),
        ("sqlite:////films%00.db", "null character"),
        ("sqlite://ann:geheim@db.example//films.db", "names a server"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(setting: str, reason: str, tmp_path: Path) -> None:
    """The error ends up in logs and in bug reports; no rerun mends a URL, so it is bad configuration."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        ledger_url(setting, tmp_path)

    assert "postgresql://USER:PASSWORD@HOST/NAME or sqlite:////FULL/PATH/ledger.db" in caught.value.message
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("postgresql://ann:geheim@127.0.0.1:1/films", r"ann:\*\*\*@127\.0\.0\.1:1/films"),
        ("postgresql://127.0.0.1:1/films?user=ann&password=geheim", "Nothing was sent"),
    ],
)
def test_a_server_that_does_not_answer_is_told_without_its_password(setting: str, reason: str, tmp_path: Path) -> None:
    """The same text, and here the driver has a say in it."""
    with pytest.raises(LedgerError, match=reason) as caught:
        Database(ledger_url(setting, tmp_path))

    assert "geheim" not in "".join(traceback.format_exception(caught.value))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_the_setting(tmp_path: Path) -> None:
    """A read-only home is the commonest fault of a first run in a container."""
    blocked = tmp_path / "a-file"
    blocked.write_bytes(b"")

    with pytest.raises(LedgerError, match=r"a-file/ledger\.db.*MEDIA_ASSETS_HOME"):
        _open(blocked)


def test_a_damaged_ledger_is_refused_and_named(tmp_path: Path) -> None:
    """A file that is no database must not be written over: it may be all that is known of open purchases."""
    (tmp_path / "ledger.db").write_bytes(b"this is not a database, " * 100)

    with pytest.raises(LedgerError, match=r"ledger\.db: file is not a database"):
        _open(tmp_path)

    assert (tmp_path / "ledger.db").read_bytes() == b"this is not a database, " * 100


def test_an_sqlite_that_cannot_return_what_it_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fence is raised and read in one statement; before 3.35 that is a syntax error in the middle of a purchase."""
    monkeypatch.setattr(database_module, "SQLITE_OLDEST", (99, 0, 0))

    with pytest.raises(LedgerError, match="too old"):
        Database(ledger_url(None, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_counts_as_a_networks_is_refused_unless_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is called here: the test above needs namespaces, which not every machine gives."""
    monkeypatch.setattr(database_module, "_NETWORK_FILE_SYSTEMS", {file_system_of(tmp_path)})

    with pytest.raises(LedgerError, match="network file system"):
        Database(ledger_url(None, tmp_path))
    monkeypatch.setenv("MEDIA_ASSETS_ALLOW_NETWORK_FS", "1")
    Database(ledger_url(None, tmp_path)).close()


def test_where_no_mounts_are_told_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every system has /proc; a ledger on a local disk must open there as well."""

    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)

    assert file_system_of(tmp_path) == ""
