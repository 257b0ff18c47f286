"""Rows of the prompt table that cannot be read."""

from pathlib import Path

import sqlalchemy as sa

from media_assets.ledger import open_ledger
from media_assets.ledger.schema import prompt


def damage_prompt(home: Path, key: str, **columns: str) -> None:
    """Leave a pinned prompt as another version would, with fields that this one does not know; or damage columns."""
    with open_ledger(home) as ledger, ledger.database.write() as connection:
        changes = columns or {"body": '{"future": 1}'}
        connection.execute(sa.update(prompt).where(prompt.c.key == key).values(changes))
