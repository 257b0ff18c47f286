"""What ``deploy/README.md`` says to do, done on a Postgres of the tests' own: statements, variables and file."""

import re
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from media_assets_tests.postgres_server import Server

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SHIPPED = _DEPLOY / "postgres" / "dagster.yaml"
_THERE, _NAME = "db.example:5432", "films"
"""The server of the page, and the name of its role and database."""


@dataclass(frozen=True)
class Deployment:
    """A database of its own, made as the page says."""

    server: Server
    database: str
    environment: Mapping[str, str]
    """What the page exports, but for the two homes."""

    @property
    def ledger_url(self) -> str:
        """The setting of the ledger."""
        return self.environment["MEDIA_ASSETS_LEDGER_URL"]

    @property
    def instance(self) -> Any:
        """What the shipped dagster.yaml says."""
        return yaml.safe_load(SHIPPED.read_text())

    def run(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement in the database as an administrator."""
        return self.server.run(statement, self.database)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (_DEPLOY / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def _exported() -> Iterator[tuple[str, str]]:
    for block in _blocks("sh"):
        for line in block.splitlines():
            command, *words = shlex.split(line)
            if command == "export":
                for name, _, value in (word.partition("=") for word in words):
                    yield name, value


def deploy(server: Server) -> Deployment:
    """Follow the page, with a role and a database whose names nobody else has."""
    name = f"{_NAME}_{secrets.token_hex(4)}"

    def ours(text: str) -> str:
        return re.sub(rf"\b{_NAME}\b", name, text.replace(_THERE, f"127.0.0.1:{server.port}"))

    once, then = _blocks("sql")
    for statement in once.splitlines():
        server.run(ours(statement))
    for statement in then.splitlines():
        server.run(f"SET ROLE {name}; {ours(statement)}", name)
    environment = {key: ours(value) for key, value in _exported() if not key.endswith("_HOME")}
    environment |= {"DAGSTER_PG_HOST": "127.0.0.1", "DAGSTER_PG_PORT": str(server.port)}
    return Deployment(server, name, environment)
