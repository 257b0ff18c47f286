"""Where schedules are played: a folder in memory, one migrated ledger, and what stands in for the world.

Only what is outside of the product is replaced: the clocks, chance, the threads (see ``loop.py``), the wire, the child
process that looks at files, and the end of the process. A simulated kill is no power cut, so SQLite need not sync.
"""

import contextlib
import gc
import logging
import os
import random
import secrets
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL

from media_assets import crash_points, ledger, purchase, receiving, undecided
from media_assets.ledger import clock, database_time
from media_assets.ledger.database import Database, Proof
from media_assets.ledger.ownership import Owner
from media_assets.ledger.schema import metadata
from media_assets.providers import transport
from media_assets.providers.transport import fetching, replies
from media_assets_tests.simulation import wire

if TYPE_CHECKING:
    from media_assets_tests.simulation.world import World

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
BEGIN = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""When every schedule begins, by the wall clock."""


class SimulatedDatabase(Database):
    """The real one, at whose transactions other processes may get their turn, or this one its end."""

    def __init__(self, url: URL, desk: "Desk") -> None:
        self._desk = desk
        super().__init__(url)

    def _engine(self) -> sa.Engine:
        engine = super()._engine()
        sa.event.listen(engine, "connect", _unsynced)
        return engine

    @contextlib.contextmanager
    def write(self, proof: Proof | None = None, *, point: str = "") -> Iterator[sa.Connection]:
        world = self._desk.world
        if world is None:
            with super().write(proof, point=point) as connection:
                yield connection
            return
        world.boundary("tx.begin")
        with world.in_transaction(), super().write(proof, point=point) as connection:
            yield connection
            world.boundary("tx.commit")
        world.committed()
        world.boundary("tx.end")

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        if self._desk.world is not None:
            self._desk.world.boundary("tx.read")
        with super().read() as connection:
            yield connection

    def close(self) -> None:
        """Keep the connections for the next process that sits here."""


def _unsynced(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


class SimulatedOwner(Owner):
    """The real one, with its kernel lock; how long it holds each purchase is noted."""

    def __init__(self, folder: Path, world: "World") -> None:
        self._process = world.process
        super().__init__(folder)
        self._process.owner = self

    def enter(self, request_key: str) -> bool:
        entered = super().enter(request_key)
        if entered:
            self._process.took(request_key)
        return entered

    def leave(self, request_key: str) -> None:
        super().leave(request_key)
        self._process.left(request_key)


class Desk:
    """The folder of one test process, for one schedule after the other."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.world: World | None = None
        self._databases: dict[str, SimulatedDatabase] = {}
        self.database("checks")
        self.checks = sqlite3.connect(home / "ledger.db", isolation_level=None)
        """Looks at what is committed."""

    def database(self, seat: str) -> SimulatedDatabase:
        """Return the database as the process on a seat has it."""
        if seat not in self._databases:
            url = URL.create("sqlite", database=str(self.home / "ledger.db"))
            world, self.world = self.world, None
            try:
                self._databases[seat] = SimulatedDatabase(url, self)
            finally:
                self.world = world
        return self._databases[seat]

    def clear(self) -> None:
        """Make the ledger and the folders empty again."""
        self.checks.execute("BEGIN IMMEDIATE")
        self.checks.execute("PRAGMA defer_foreign_keys=ON")
        for table in metadata.tables:
            self.checks.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own tables
        self.checks.execute("COMMIT")
        for name in ("artifacts", "owners", "scratch", "spool"):
            shutil.rmtree(self.home / name, ignore_errors=True)

    def close(self) -> None:
        """Close all connections."""
        self.checks.close()
        for database in self._databases.values():
            database.engine.dispose()


@contextlib.contextmanager
def open_desk() -> Iterator[Desk]:
    """Open a desk in memory where there is such a folder, and replace the world by it."""
    folder = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="media_assets_simulation_", dir=folder) as home:
        desk = Desk(Path(home))
        with contextlib.closing(desk), pytest.MonkeyPatch.context() as patch:
            _replace_clocks(patch, desk)
            _replace_outside(patch, desk)
            logging.disable(logging.CRITICAL)
            chance = random.getstate()
            gc.freeze()  # what was imported is not looked through again and again
            try:
                yield desk
            finally:
                gc.unfreeze()
                random.setstate(chance)
                logging.disable(logging.NOTSET)


def _replace_clocks(patch: pytest.MonkeyPatch, desk: Desk) -> None:
    """Give the time of the world that is played; without one, the machine's."""

    def virtual(real: Callable[..., float], begin_s: float = 0.0) -> Callable[..., float]:
        def now(*arguments: Any) -> float:
            return real(*arguments) if desk.world is None else begin_s + desk.world.now

        return now

    patch.setattr(time, "monotonic", virtual(time.monotonic))
    patch.setattr(time, "clock_gettime", virtual(time.clock_gettime))
    patch.setattr(time, "time", virtual(time.time, BEGIN.timestamp()))

    class VirtualDatetime(datetime):
        """The wall clock, which can be set."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            if desk.world is None:
                return datetime.now(tz)
            return (BEGIN + timedelta(seconds=desk.world.now + desk.world.wall_s)).astimezone(tz)

    for module in (clock, database_time, undecided, replies):
        patch.setattr(module, "datetime", VirtualDatetime)


def _replace_outside(patch: pytest.MonkeyPatch, desk: Desk) -> None:
    real_token = secrets.token_hex

    def database(_url: URL) -> SimulatedDatabase:
        return desk.database(_world(desk).process.seat)

    def token_hex(size: int | None = None) -> str:
        return (
            real_token(size)
            if desk.world is None
            else f"{desk.world.tokens.getrandbits(8 * (size or 32)):0{2 * (size or 32)}x}"
        )

    def crash_point(name: str) -> None:
        if desk.world is not None:
            desk.world.boundary(name)

    patch.setattr(ledger, "Database", database)
    patch.setattr(ledger, "Owner", lambda folder: SimulatedOwner(folder, _world(desk)))
    patch.setattr(secrets, "token_hex", token_hex)
    patch.setattr(transport, "exchange", wire.exchange)
    patch.setattr(fetching, "download", wire.download)
    patch.setattr(receiving, "look", wire.look)
    # A simulated wait costs nothing but the questions that are asked in it.
    patch.setattr(purchase, "_FIRST_WAIT_S", 5.0)
    patch.setattr(purchase, "_LONGEST_WAIT_S", 60.0)
    # No simulated process forks, and ten thousand of them would be remembered for good.
    patch.setattr(os, "register_at_fork", lambda **_: None)
    for name, module in list(sys.modules.items()):
        if name.startswith("media_assets.") and module is not crash_points and hasattr(module, "crash_point"):
            patch.setattr(module, "crash_point", crash_point)


def _world(desk: Desk) -> "World":
    assert desk.world is not None
    return desk.world
