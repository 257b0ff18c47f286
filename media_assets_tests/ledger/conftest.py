"""A ledger on SQLite for each test that wants one; one Postgres for all, and an empty database of it for each."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.database import Database, ledger_url
from media_assets_tests.postgres_server import Server, running_server


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Open the ledger of a new home."""
    with open_ledger(tmp_path) as one:
        yield one


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a Postgres on loopback."""
    with running_server(tmp_path_factory.mktemp("postgres")) as one:
        yield one


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """A database whose ledger is migrated: copying it takes a tenth of what migrating takes."""
    name = "a_ledger"
    server.run(f"CREATE DATABASE {name}")
    Database(ledger_url(server.url + name, server.home)).close()
    return name


@pytest.fixture
def migrated(server: Server, template: str) -> str:
    """Return the URL of a new database with an empty ledger."""
    name = f"test_{secrets.token_hex(6)}"
    server.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.url + name


@pytest.fixture
def url(server: Server) -> str:
    """Return the URL of a new, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    server.run(f"CREATE DATABASE {name}")
    return server.url + name
