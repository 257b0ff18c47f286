"""The ledger: what was asked for, planned, bought and made. It is the truth; Dagster's event log is a report.

Open it with :func:`open_ledger`. The protocol's writes are in ``claiming.py`` and ``purchases.py``, who is alive in
``ownership.py`` and, on many hosts, ``cluster.py``, the tables in ``schema.py``.
"""

import os
import shutil
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

from media_assets.artifact import parts_in
from media_assets.ledger.audit import Audit
from media_assets.ledger.bills import Bills
from media_assets.ledger.cluster import ClusterOwner
from media_assets.ledger.database import Database, ledger_url
from media_assets.ledger.decisions import Decisions
from media_assets.ledger.garbage import Garbage
from media_assets.ledger.inbox import InboxTable
from media_assets.ledger.ownership import Owner, OwnershipOptions
from media_assets.ledger.prompts import Prompts
from media_assets.ledger.purchases import Purchases
from media_assets.ledger.spending import Spending


@dataclass(frozen=True)
class Ledger:
    """An open ledger of this process."""

    database: Database
    owner: Owner
    prompts: Prompts
    inbox: InboxTable
    purchases: Purchases
    decisions: Decisions
    spending: Spending
    garbage: Garbage
    audit: Audit
    bills: Bills
    scratch_root: Path
    spool_root: Path
    """Where replies to submissions are kept until the ledger has what they hold."""

    def scratch(self, token: str) -> Path:
        """Name a folder for the files of one piece of work; what a dead owner left in its own is swept."""
        return self.scratch_root / self.owner.id / token

    def sweep(self, *folders: Path) -> None:
        """Clean up after processes that died: their plans, lock files, and temporary files in these folders."""
        self.release_dead()
        for path in self.left_behind(*folders):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for owner in self.owner.dead_owners():
            self.owner.bury(owner)
        self.owner.forget_ended()

    def left_behind(self, *folders: Path) -> list[Path]:
        """Return the temporary files in these folders, and the scratch folders, of processes that died."""
        temporary = [*chain.from_iterable(map(parts_in, folders))]
        if self.scratch_root.is_dir():
            temporary += ((folder, folder.name) for folder in self.scratch_root.iterdir())
        return [path for path, owner in temporary if not self.owner.is_alive(owner)]

    def release_dead(self) -> None:
        """Give back the money that dead processes had reserved and sent nothing for."""
        self.purchases.release_dead()
        self.prompts.close_dead_plans()

    def close(self) -> None:
        """Give up ownership and close the database."""
        if self.owner.pid == os.getpid():  # a forked child must not clear its parent's desk
            shutil.rmtree(self.scratch_root / self.owner.id, ignore_errors=True)
        self.owner.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_ledger(
    home: Path,
    url: str | None = None,
    ownership: OwnershipOptions = OwnershipOptions(),  # noqa: B008 - frozen
) -> Ledger:
    """Open (and where needed create or migrate) the ledger.

    Args:
        home: The folder of all state; lock files and scratch folders are kept in it.
        url: A database in place of ``<home>/ledger.db``.
        ownership: How processes of many hosts own what they work on, where the database is Postgres.

    Raises:
        ConfigurationError: The URL is none that a ledger can be kept at.
        LedgerError: It cannot be opened; nothing was sent.
    """
    database = Database(ledger_url(url, home))
    # Beside an SQLite ledger, so that two homes that share it see each other alive.
    beside = Path(database.url.database or "").parent
    try:
        owner = Owner(beside / "owners") if database.is_sqlite else ClusterOwner(home / "owners", database, ownership)
    except BaseException:
        database.close()
        raise
    return Ledger(
        database=database,
        owner=owner,
        prompts=Prompts(database, owner),
        inbox=InboxTable(database),
        purchases=Purchases(database, owner),
        decisions=Decisions(database, owner),
        spending=Spending(database, owner),
        garbage=Garbage(database),
        audit=Audit(database, owner),
        bills=Bills(database),
        scratch_root=home / "scratch",
        spool_root=home / "spool",
    )
