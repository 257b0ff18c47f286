"""What a step went past before its purchase, and what it leaves undone of its prompt."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns; steps that were finished before have nothing in them."""
    comments = {
        "gone_past": "JSON list: request keys of purchases that failed before this one",
        "notes": "JSON list: what the prompt says and the step does not do",
    }
    for name, comment in comments.items():
        op.add_column("step", sa.Column(name, sa.Text(), nullable=True, comment=comment))
