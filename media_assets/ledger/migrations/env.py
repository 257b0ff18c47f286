"""Alembic's entry point: runs inside the transaction that ``database.py`` opened."""

from alembic import context

from media_assets.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
