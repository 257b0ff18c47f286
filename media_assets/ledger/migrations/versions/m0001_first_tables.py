"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "artifact",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("mime", sa.String(length=80), nullable=False),
        sa.Column("info", sa.Text(), nullable=False, comment="MediaInfo as JSON"),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_artifact")),
    )
    op.create_table(
        "attempt",
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("intent_at", sa.String(length=32), nullable=False, comment="before the call that spends"),
        sa.Column("replied_at", sa.String(length=32), nullable=True),
        sa.Column(
            "outcome",
            sa.String(length=16),
            nullable=True,
            comment="accepted, refused, unsent, failed, ambiguous, interrupted",
        ),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("prediction_id", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("request_key", "n", name=op.f("pk_attempt")),
        sa.UniqueConstraint("token", name=op.f("uq_attempt_token")),
    )
    op.create_table(
        "budget",
        sa.Column("scope", sa.String(length=120), nullable=False),
        sa.Column("cap_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("reserved_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("spent_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column("overrun", sa.Boolean(), nullable=False),
        sa.CheckConstraint("reserved_micro_usd >= 0", name=op.f("ck_budget_reserved_not_negative")),
        sa.CheckConstraint(
            "spent_micro_usd + reserved_micro_usd <= cap_micro_usd OR overrun", name=op.f("ck_budget_within_cap")
        ),
        sa.CheckConstraint("spent_micro_usd >= 0", name=op.f("ck_budget_spent_not_negative")),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_budget")),
    )
    op.create_table(
        "interest",
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("plan_id", sa.String(length=32), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("since", sa.String(length=32), nullable=False),
        sa.Column("until", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("request_key", "plan_id", name=op.f("pk_interest")),
    )
    op.create_table(
        "new_take",
        sa.Column(
            "origin", sa.String(length=80), nullable=False, comment="who asked, so that a retry does not ask again"
        ),
        sa.Column("prompt_key", sa.String(length=80), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("take", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "prompt_key", "step", name=op.f("pk_new_take")),
    )
    op.create_table(
        "plan",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("prompt_key", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan")),
    )
    op.create_table(
        "prompt",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("pin_seq", sa.Integer(), nullable=False, comment="grows by one with every changed pin"),
        sa.Column("body", sa.Text(), nullable=False, comment="the Prompt as JSON"),
        sa.Column(
            "source_digest",
            sa.String(length=64),
            nullable=False,
            comment="of the prompt as its source gave it, before new takes",
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="where it came from, for people"),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False, comment="pending, running, done, degraded, failed"),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("updated_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_prompt")),
    )
    op.create_table(
        "purchase",
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("prompt_key", sa.String(length=80), nullable=False, comment="the prompt that asked first"),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("canon_json", sa.Text(), nullable=False),
        sa.Column("take", sa.Integer(), nullable=False),
        sa.Column("recovery", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column(
            "fence", sa.Integer(), nullable=False, comment="grows with every claim; a stale writer changes nothing"
        ),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("prediction_id", sa.String(length=200), nullable=True),
        sa.Column("remote_state", sa.String(length=40), nullable=True, comment="the provider's own word"),
        sa.Column("urls", sa.Text(), nullable=True, comment="JSON: where to ask on; never where an output is"),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("estimate_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column(
            "reported", sa.Text(), nullable=True, comment="JSON: what the provider says it used, in its own units"
        ),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column(
            "price_from",
            sa.String(length=10),
            nullable=True,
            comment="day of the price row that the cost was reckoned with",
        ),
        sa.Column("duration_s", sa.Float(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True, comment="JSON list: what the user should know of the result"),
        sa.Column("error", sa.Text(), nullable=True, comment="JSON: class, message, rerun, billed"),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("updated_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_purchase")),
        sa.UniqueConstraint(
            "provider", "account", "prediction_id", name=op.f("uq_purchase_provider_account_prediction_id")
        ),
    )
    op.create_index("ix_purchase_prompt_key", "purchase", ["prompt_key"], unique=False)
    op.create_index("ix_purchase_state", "purchase", ["state"], unique=False)
    op.create_table(
        "rate",
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("refilled_at", sa.String(length=32), nullable=False),
        sa.Column("blocked_until", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("provider", "account", name=op.f("pk_rate")),
    )
    op.create_table(
        "reservation",
        sa.Column(
            "plan_id",
            sa.String(length=32),
            nullable=False,
            comment="once taken over: of the purchase's request key",
        ),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("scope", sa.String(length=120), nullable=False),
        sa.Column("amount_micro_usd", sa.BigInteger(), nullable=False),
        sa.Column(
            "request_key",
            sa.String(length=64),
            nullable=True,
            comment="the purchase that took it over; None while only planned",
        ),
        sa.CheckConstraint("amount_micro_usd >= 0", name=op.f("ck_reservation_amount_not_negative")),
        sa.PrimaryKeyConstraint("plan_id", "step", "scope", name=op.f("pk_reservation")),
    )
    op.create_table(
        "step",
        sa.Column("prompt_key", sa.String(length=80), nullable=False),
        sa.Column(
            "digest", sa.String(length=64), nullable=False, comment="of the prompt's fields that bear on this step"
        ),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("inputs", sa.Text(), nullable=False, comment="request key of each input, by role"),
        sa.Column("degraded", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("prompt_key", "digest", "step", name=op.f("pk_step")),
    )
    op.create_index("ix_step_request_key", "step", ["request_key"], unique=False)
    op.create_table(
        "output",
        sa.Column("request_key", sa.String(length=64), nullable=False),
        sa.Column("idx", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["artifact.sha256"], name=op.f("fk_output_sha256")),
        sa.PrimaryKeyConstraint("request_key", "idx", name=op.f("pk_output")),
    )
