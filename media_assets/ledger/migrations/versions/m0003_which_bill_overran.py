"""Which purchase overran a budget, and by how much."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns; what was overrun before stays so, and does not say by whom."""
    op.add_column(
        "budget",
        sa.Column(
            "overrun_by",
            sa.String(length=64),
            nullable=True,
            comment="request key of the purchase that did so last",
        ),
    )
    op.add_column(
        "budget",
        sa.Column(
            "overrun_micro_usd",
            sa.BigInteger(),
            nullable=True,
            comment="by how much bills passed what was reserved, in all",
        ),
    )
