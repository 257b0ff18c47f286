"""What prompts that arrive need: their order, and a table in which other programs hand them in."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column and a table; nothing that was pinned before came through the inbox."""
    arrived = "its place among what came through the inbox; None: pinned otherwise"
    op.add_column("prompt", sa.Column("arrived", sa.Integer, nullable=True, comment=arrived))
    op.create_index("ix_prompt_arrived", "prompt", ["arrived"])
    body = "a prompt as JSON: all that whoever adds a row has to give"
    priority = "the higher, the sooner in a batch"
    op.create_table(
        "inbox",
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("body", sa.Text, nullable=False, comment=body),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0", comment=priority),
        sa.Column("source", sa.Text, comment="where it came from, for people"),
        sa.Column("read_at", sa.String(32), comment="when it was pinned, or refused; None: not yet"),
        sa.Column("prompt_key", sa.String(80), comment="under which it was pinned"),
        sa.Column("error", sa.Text, comment="why it cannot be a prompt"),
        comment="prompts that other programs hand in",
    )
    op.create_index("ix_inbox_read_at", "inbox", ["read_at"])
