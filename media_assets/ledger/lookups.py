"""Looking purchases up: nothing here changes the ledger."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from media_assets.ledger.database import Database
from media_assets.ledger.rows import WITH_OUTPUT, PurchaseRow, as_row, find_row
from media_assets.ledger.schema import attempt, purchase, step


class Lookups:
    """What can be asked of the purchase table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, request_key: str) -> PurchaseRow | None:
        """Return one purchase by its whole request key."""
        with self._database.read() as connection:
            return find_row(connection, request_key)

    def get_many(self, request_keys: Collection[str]) -> dict[str, PurchaseRow]:
        """Return the purchases that there are under these keys."""
        with self._database.read() as connection:
            rows = connection.execute(WITH_OUTPUT.where(purchase.c.request_key.in_(request_keys)))
            return {row.request_key: as_row(row) for row in rows}

    def search(self, *, prompt_key: str | None = None, key_prefix: str | None = None) -> list[PurchaseRow]:
        """Return purchases, oldest first, optionally of one prompt or whose key starts so."""
        which: list[sa.ColumnElement[bool]] = []
        if prompt_key is not None:
            of_prompt = sa.select(step.c.request_key).where(step.c.prompt_key == prompt_key)
            which.append(sa.or_(purchase.c.prompt_key == prompt_key, purchase.c.request_key.in_(of_prompt)))
        if key_prefix is not None:
            which.append(purchase.c.request_key.startswith(key_prefix, autoescape=True))
        with self._database.read() as connection:
            rows = connection.execute(WITH_OUTPUT.where(*which).order_by(purchase.c.created_at))
            return [as_row(row) for row in rows]

    def attempts(self, request_key: str) -> list[dict[str, Any]]:
        """Return every attempt of one purchase, without its token."""
        shown = (column for column in attempt.c if column.name != "token")
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*shown).filter_by(request_key=request_key).order_by(attempt.c.n))
            return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
