"""Shared by the tests of what is kept: homes with files that nothing needs, and children that collect them."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from media_assets.artifact import Artifact, ArtifactStore, MediaInfo
from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.schema import artifact, output
from media_assets.media.speak import write_silence
from media_assets.providers.base import LocalReply
from media_assets.providers.transport.spool import Spool
from media_assets.recovery.garbage import Collected, Garbage, Rules
from media_assets.recovery.verify import Verification
from media_assets_tests.making import SHOP_REQUEST, OwnProvider, Shop

COLLECT = f"{__name__}:collect_in_child"
BUY = f"{__name__}:buy_in_child"
"""What a ``Child`` calls."""

WRITER = {"owner": "me", "token": "1"}
"""Who stores a file by hand."""


def lasting(duration_s: float) -> OwnProvider:
    """Return a provider whose silence lasts so long: other bytes under the same request."""

    def after(_endpoint: str, reply: LocalReply) -> None:
        write_silence(reply.path, duration_s=duration_s)

    return OwnProvider(after=after)


def garbage(ledger: Ledger, home: Path, *, days: float = 0.0, **rules: Any) -> Garbage:
    """Return what collects the garbage of a home, ``days`` from now."""
    return Garbage(
        ledger=ledger,
        store=ArtifactStore(home / "artifacts"),
        spool=Spool(ledger.spool_root),
        folders=[home / "films"],
        rules=Rules(**rules),
        now=datetime.now(UTC) + timedelta(days=days),
    )


def leave_unused(shop: Shop, *, take: int = 0, seconds: float = 1.5) -> Artifact:
    """Leave a file that nothing needs: its purchase was made again, with other bytes, while it was gone."""
    old = shop.buy(take=take).artifact
    path = shop.store.path(old)
    aside = path.with_suffix(".aside")
    path.rename(aside)
    Shop(shop.home, shop.ledger, lasting(seconds)).buy(take=take)
    aside.rename(path)
    return old


def files(home: Path) -> set[str]:
    """Return the names of all files of a store, notes included."""
    root = home / "artifacts"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def rows_without_file(home: Path) -> list[str]:
    """Return the digests of artifacts, and of outputs, whose file is not in the store."""
    with open_ledger(home) as ledger, ledger.database.read() as connection:
        known = [row.sha256 for row in connection.execute(sa.select(artifact.c.sha256))]
        known += connection.execute(sa.select(output.c.sha256)).scalars()
    return [sha256 for sha256 in known if not list((home / "artifacts").glob(f"??/{sha256}.*"))]


def names(found: Collected) -> list[str]:
    """Return the names of the files that were removed."""
    return sorted(one.name for one in found.removed)


def collect_in_child(home: str, *, days: float = 0.0, times: int = 1, **rules: Any) -> list[str]:
    """In a child: collect the garbage of a home so many times; return what was removed."""
    with open_ledger(Path(home)) as ledger:
        found = [garbage(ledger, Path(home), days=days, **rules).collect() for _ in range(times)]
    return [name for one in found for name in names(one)]


class _HeldStore(ArtifactStore):
    """A store after whose first write the process is held up, until a file appears."""

    def __init__(self, root: Path, *, until: Path) -> None:
        super().__init__(root)
        self._until = until
        self.puts = 0

    def put(self, source: Path, info: MediaInfo, *, owner: str, token: str, wanted_by: str = "") -> Artifact:
        made = super().put(source, info, owner=owner, token=token, wanted_by=wanted_by)
        self.puts += 1
        self._until.with_suffix(".stored").touch()
        wait_until(self._until.exists)
        return made


class _HeldShop(Shop):
    """A shop with such a store."""

    held: _HeldStore

    @property
    def store(self) -> ArtifactStore:
        return self.held


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    give_up = time.monotonic() + 20
    while not is_so() and time.monotonic() < give_up:
        time.sleep(0.002)


def buy_held_in_child(home: str, until: str, take: int) -> int:
    """In a child: buy, held up between storing and recording until a file appears; return how often it was stored."""
    with open_ledger(Path(home)) as ledger:
        shop = _HeldShop(Path(home), ledger)
        shop.held = _HeldStore(Path(home) / "artifacts", until=Path(until))
        shop.buy(take=take)
        return shop.held.puts


def collect_when_stored_in_child(home: str, until: str) -> list[str]:
    """In a child: once the other one has stored its file, collect garbage, then let that one go on."""
    wait_until(Path(until).with_suffix(".stored").exists)
    removed = collect_in_child(home, unused_days=0.0)
    Path(until).touch()
    return removed


def buy_in_child(home: str, take: int, *, paid: bool = False) -> str:
    """In a child: buy once; return the digest of what came of it, or the class of the error."""
    with open_ledger(Path(home)) as ledger:
        try:
            return Shop(Path(home), ledger).buy(take=take, paid=paid).artifact.sha256
        except MediaAssetsError as error:
            return type(error).__name__


def store_and_drop_in_child(home: str, first_take: int, times: int) -> list[bool]:
    """In a child: buy the same bytes under ever new requests, each then made again with others: see if each is there.

    So equal bytes become unused, and are stored anew, all the time.
    """
    there = []
    with open_ledger(Path(home)) as ledger:
        shop, other = Shop(Path(home), ledger), Shop(Path(home), ledger, lasting(1.5))
        for take in range(first_take, first_take + times):
            made = shop.buy(take=take).artifact
            there.append(shop.store.verify(made))
            with ledger.database.write() as connection:
                mine = output.c.request_key == replace(SHOP_REQUEST, take=take).key
                connection.execute(sa.delete(output).where(mine))
            other.buy(take=take)
    return there


def verification(ledger: Ledger, home: Path, *, hashes: bool = True) -> Verification:
    """Return what looks whether a home is whole."""
    store = ArtifactStore(home / "artifacts")
    return Verification(ledger=ledger, store=store, spool=Spool(ledger.spool_root), hashes=hashes)


def buy_many_in_child(home: str, first_take: int, times: int) -> list[str]:
    """In a child: buy so many files, free and paid, new ones and equal ones; return their digests."""
    made = []
    with open_ledger(Path(home)) as ledger:
        shop, other = Shop(Path(home), ledger), Shop(Path(home), ledger, lasting(1.5))
        for take in range(first_take, first_take + times):
            bought = shop.buy(take=take, paid=take % 2 == 0).artifact
            made.append(bought.sha256)
            other.buy(take=take + 1_000)
    return made


def verify_in_child(home: str, times: int) -> list[str]:
    """In a child: look so many times whether a home is whole; return what was found wrong."""
    with open_ledger(Path(home)) as ledger:
        found = [list(verification(ledger, Path(home)).findings()) for _ in range(times)]
    return [f"{one.kind} {one.about} {one.what}" for each in found for one in each]
