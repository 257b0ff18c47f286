"""Alembic migrations of the ledger; run by ``database.py`` under a lock, never by hand."""
