"""What clearing up a submission of unknown outcome needs: a clock nobody can set, and what people decide."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and a table; attempts that were made before have no mark, and count as old."""
    comment = "of intent_at, or of an ambiguous end; by a clock nobody can set"
    op.add_column("attempt", sa.Column("clock_mark", sa.String(80), nullable=True, comment=comment))
    op.create_table(
        "decision",
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=32), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False, comment="adopt, resubmit, write-off, accept, delete"),
        sa.Column("state_before", sa.String(length=16), nullable=False),
        sa.Column("prediction_id", sa.String(length=200), nullable=True),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("who", sa.Text(), nullable=False, comment="the account of the operating system, for people"),
        sa.PrimaryKeyConstraint("request_key", "n", name=op.f("pk_decision")),
    )
