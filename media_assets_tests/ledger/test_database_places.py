"""Where a ledger may be kept: local disks, the URLs that are understood, and what is refused, with what to do."""

import os
import shutil
import sys
import traceback
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from media_assets.errors import ConfigurationError, LedgerError
from media_assets.ledger import database as database_module
from media_assets.ledger.database import Database, file_system_of, ledger_url


def _open(home: Path) -> Database:
    return Database(ledger_url(None, home))


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


def _mounted(monkeypatch: pytest.MonkeyPatch, mounts: str) -> None:
    read = Path.read_text

    def read_mounts(path: Path, *arguments: Any, **keywords: Any) -> str:
        return mounts if path == Path("/proc/self/mounts") else read(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "read_text", read_mounts)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afpfs", "webdav"])
def test_every_kind_of_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _mounted(monkeypatch, f"none / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")

    with pytest.raises(LedgerError, match=f"network file system \\({kind}\\)"):
        _open(tmp_path)


def test_a_file_is_on_the_innermost_mount_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The later of two on one folder hides the other; a folder whose name only begins alike is another one."""
    path = tmp_path / "my films" / "ledger.db"
    folder = str(tmp_path / "my films").replace(" ", "\\040")
    mounts = [
        "none / ext4 rw 0 0",
        f"none {folder} nfs rw 0 0",
        f"none {folder} xfs rw 0 0",
        f"none {tmp_path} 9p rw 0 0",
        f"none {folder}/ledger cifs rw 0 0",
        f"none {folder}x smb3 rw 0 0",
    ]
    _mounted(monkeypatch, "\n".join(mounts))

    found = [file_system_of(one) for one in (path, tmp_path / "ledger.db", Path("/etc/x"), tmp_path / "my films x")]

    assert found == ["xfs", "9p", "ext4", "9p"]


@pytest.mark.parametrize("url", ["sqlite://host/%2Fx.db", "sqlite://ann@/%2Fx.db", "sqlite://:geheim@/%2Fx.db"])
def test_a_file_has_neither_server_nor_user_nor_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names a server"):
        ledger_url(url, tmp_path)
