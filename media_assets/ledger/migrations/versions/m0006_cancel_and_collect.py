"""What canceling and garbage collection need: when a purchase was asked to stop, when a file was found unused."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns; nothing that was recorded before was asked to stop, or found unused."""
    asked = "when the last that wanted it asked to stop; None: nobody did"
    op.add_column("purchase", sa.Column("cancel_requested_at", sa.String(32), nullable=True, comment=asked))
    unused = "since when nothing needs the file; None: something does"
    op.add_column("artifact", sa.Column("unused_since", sa.String(32), nullable=True, comment=unused))
