"""Who has a ledger on Postgres open, on whichever host; and until when an intent may still be acted on."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the owner table; attempts that were begun before have no deadline of their own."""
    op.create_table(
        "owner",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("host", sa.String(length=120), nullable=False),
        sa.Column(
            "boot",
            sa.String(length=200),
            nullable=False,
            comment="the host's boot and namespaces, where the kernel tells",
        ),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started", sa.String(length=32), nullable=False, comment="of the process, in the kernel's count"),
        sa.Column("lease_until", sa.String(length=32), nullable=False, comment="the database's clock"),
        sa.Column(
            "ended",
            sa.String(length=8),
            nullable=True,
            comment="closed, gone or lapsed (its lease ran out); None: perhaps alive",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owner")),
        comment="processes that have the ledger open on Postgres; on SQLite the kernel's file locks say all",
    )
    deadline = "the call does not begin to leave later than this after intent_at"
    op.add_column("attempt", sa.Column("post_deadline_s", sa.Float(), nullable=True, comment=deadline))
