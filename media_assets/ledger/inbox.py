"""The inbox table: prompts that other programs hand in, each read once."""

from dataclasses import dataclass

import sqlalchemy as sa

from media_assets.ledger.clock import utc_now
from media_assets.ledger.database import Database
from media_assets.ledger.schema import inbox


@dataclass(frozen=True, kw_only=True)
class HandedIn:
    """One row that was not read yet."""

    n: int
    body: str
    """A prompt as JSON, or what somebody took for one."""
    priority: int
    source: str | None


class InboxTable:
    """What was handed in, and what became of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hand_in(self, body: str, *, priority: int = 0, source: str | None = None) -> int:
        """Add a prompt; return its number. It is looked at when the inbox is next read."""
        with self._database.write() as connection:
            added = connection.execute(sa.insert(inbox).values(body=body, priority=priority, source=source))
            (number,) = added.inserted_primary_key or (0,)
            return int(number)

    def unread(self, *, most: int) -> list[HandedIn]:
        """Return what was not read yet, in the order in which it was handed in."""
        rows = sa.select(inbox).where(inbox.c.read_at.is_(None)).order_by(inbox.c.n).limit(most)
        with self._database.read() as connection:
            return [
                HandedIn(n=row.n, body=row.body, priority=row.priority, source=row.source)
                for row in connection.execute(rows)
            ]

    def mark_read(self, number: int, *, prompt_key: str | None, error: str | None = None) -> None:
        """Record under which key a row was pinned, or why it cannot be."""
        values = {"read_at": utc_now(), "prompt_key": prompt_key, "error": error}
        with self._database.write() as connection:
            connection.execute(sa.update(inbox).where(inbox.c.n == number).values(**values))
