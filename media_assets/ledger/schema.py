"""The ledger's tables (SQLAlchemy Core), alike on SQLite and Postgres. How rows change is in the modules beside this.

Money is whole micro-USD, times are UTC in ISO 8601 with microseconds (so that they sort as text), JSON is text.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_Text = sa.Text
_Money = sa.BigInteger
_Time = sa.String(32)
_Key = sa.String(64)

prompt = sa.Table(
    "prompt",
    metadata,
    sa.Column("key", sa.String(80), primary_key=True),
    sa.Column("digest", _Key, nullable=False),
    sa.Column("pin_seq", sa.Integer, nullable=False, comment="grows by one with every changed pin"),
    sa.Column("body", _Text, nullable=False, comment="the Prompt as JSON"),
    sa.Column("source_digest", _Key, nullable=False, comment="of the prompt as its source gave it, before new takes"),
    sa.Column("source", _Text, nullable=False, comment="where it came from, for people"),
    sa.Column("priority", sa.Integer, nullable=False, default=0),
    sa.Column("status", sa.String(16), nullable=False, comment="pending, running, done, degraded, failed"),
    sa.Column("error", _Text),
    sa.Column("updated_at", _Time, nullable=False),
    sa.Column("arrived", sa.Integer, comment="its place among what came through the inbox; None: pinned otherwise"),
    sa.Index("ix_prompt_arrived", "arrived"),
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("body", _Text, nullable=False, comment="a prompt as JSON: all that whoever adds a row has to give"),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0", comment="the higher, the sooner in a batch"),
    sa.Column("source", _Text, comment="where it came from, for people"),
    sa.Column("read_at", _Time, comment="when it was pinned, or refused; None: not yet"),
    sa.Column("prompt_key", sa.String(80), comment="under which it was pinned"),
    sa.Column("error", _Text, comment="why it cannot be a prompt"),
    sa.Index("ix_inbox_read_at", "read_at"),
    comment="prompts that other programs hand in",
)

plan = sa.Table(
    "plan",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("owner", sa.String(32), nullable=False),
    sa.Column("prompt_key", sa.String(80), nullable=False),
    sa.Column("created_at", _Time, nullable=False),
)

step = sa.Table(
    "step",
    metadata,
    sa.Column("prompt_key", sa.String(80), primary_key=True),
    sa.Column("digest", _Key, primary_key=True, comment="of the prompt's fields that bear on this step"),
    sa.Column("step", sa.String(16), primary_key=True),
    sa.Column("request_key", _Key, nullable=False),
    sa.Column("sha256", _Key, nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("params", _Text, nullable=False),
    sa.Column("inputs", _Text, nullable=False, comment="request key of each input, by role"),
    sa.Column("degraded", sa.Boolean, nullable=False),
    sa.Column("reason", _Text),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("gone_past", _Text, comment="JSON list: request keys of purchases that failed before this one"),
    sa.Column("notes", _Text, comment="JSON list: what the prompt says and the step does not do"),
    sa.Index("ix_step_request_key", "request_key"),
)

purchase = sa.Table(
    "purchase",
    metadata,
    sa.Column("request_key", _Key, primary_key=True),
    sa.Column("prompt_key", sa.String(80), nullable=False, comment="the prompt that asked first"),
    sa.Column("step", sa.String(16), nullable=False),
    sa.Column("provider", sa.String(40), nullable=False),
    sa.Column("account", sa.String(80), nullable=False, default=""),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("canon_json", _Text, nullable=False),
    sa.Column("take", sa.Integer, nullable=False),
    sa.Column("recovery", sa.String(8), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("fence", sa.Integer, nullable=False, comment="grows with every claim; a stale writer changes nothing"),
    sa.Column("owner", sa.String(32), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("prediction_id", sa.String(200)),
    sa.Column("remote_state", sa.String(40), comment="the provider's own word"),
    sa.Column("urls", _Text, comment="JSON: where to ask on; never where an output is"),
    sa.Column("progress", sa.Float),
    sa.Column("estimate_micro_usd", _Money, nullable=False),
    sa.Column("reported", _Text, comment="JSON: what the provider says it used, in its own units"),
    sa.Column("cost_micro_usd", _Money),
    sa.Column("price_from", sa.String(10), comment="day of the price row that the cost was reckoned with"),
    sa.Column("duration_s", sa.Float),
    sa.Column("notes", _Text, comment="JSON list: what the user should know of the result"),
    sa.Column("error", _Text, comment="JSON: class, message, rerun, billed"),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("updated_at", _Time, nullable=False),
    sa.Column("cancel_requested_at", _Time, comment="when the last that wanted it asked to stop; None: nobody did"),
    sa.UniqueConstraint("provider", "account", "prediction_id"),
    sa.Index("ix_purchase_state", "state"),
    sa.Index("ix_purchase_prompt_key", "prompt_key"),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("request_key", _Key, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("token", sa.String(32), nullable=False, unique=True),
    sa.Column("owner", sa.String(32), nullable=False),
    sa.Column("intent_at", _Time, nullable=False, comment="before the call that spends"),
    sa.Column("clock_mark", sa.String(80), comment="of intent_at, or of an ambiguous end; by a clock nobody can set"),
    sa.Column("post_deadline_s", sa.Float, comment="the call does not begin to leave later than this after intent_at"),
    sa.Column("replied_at", _Time),
    sa.Column("outcome", sa.String(16), comment="accepted, refused, unsent, failed, ambiguous, interrupted"),
    sa.Column("http_status", sa.Integer),
    sa.Column("prediction_id", sa.String(200)),
)

decision = sa.Table(
    "decision",
    metadata,
    sa.Column("request_key", _Key, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    sa.Column("at", _Time, nullable=False),
    sa.Column("what", sa.String(16), nullable=False, comment="adopt, resubmit, write-off, accept, delete"),
    sa.Column("state_before", sa.String(16), nullable=False),
    sa.Column("prediction_id", sa.String(200)),
    sa.Column("cost_micro_usd", _Money),
    sa.Column("who", _Text, nullable=False, comment="the account of the operating system, for people"),
)

owner = sa.Table(
    "owner",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("host", sa.String(120), nullable=False),
    sa.Column("boot", sa.String(200), nullable=False, comment="the host's boot and namespaces, where the kernel tells"),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.String(32), nullable=False, comment="of the process, in the kernel's count"),
    sa.Column("lease_until", _Time, nullable=False, comment="the database's clock"),
    sa.Column("ended", sa.String(8), comment="closed, gone or lapsed (its lease ran out); None: perhaps alive"),
    comment="processes that have the ledger open on Postgres; on SQLite the kernel's file locks say all",
)

interest = sa.Table(
    "interest",
    metadata,
    sa.Column("request_key", _Key, primary_key=True),
    sa.Column("plan_id", sa.String(32), primary_key=True),
    sa.Column("step", sa.String(16), nullable=False),
    sa.Column("since", _Time, nullable=False),
    sa.Column("until", _Time),
)

budget = sa.Table(
    "budget",
    metadata,
    sa.Column("scope", sa.String(120), primary_key=True),
    sa.Column("cap_micro_usd", _Money, nullable=False),
    sa.Column("reserved_micro_usd", _Money, nullable=False, default=0),
    sa.Column("spent_micro_usd", _Money, nullable=False, default=0),
    sa.Column("overrun", sa.Boolean, nullable=False, default=False),
    sa.Column("overrun_by", _Key, comment="request key of the purchase that did so last"),
    sa.Column("overrun_micro_usd", _Money, comment="by how much bills passed what was reserved, in all"),
    sa.CheckConstraint("reserved_micro_usd >= 0", name="reserved_not_negative"),
    sa.CheckConstraint("spent_micro_usd >= 0", name="spent_not_negative"),
    sa.CheckConstraint("spent_micro_usd + reserved_micro_usd <= cap_micro_usd OR overrun", name="within_cap"),
)

reservation = sa.Table(
    "reservation",
    metadata,
    sa.Column("plan_id", sa.String(32), primary_key=True, comment="once taken over: of the purchase's request key"),
    sa.Column("step", sa.String(16), primary_key=True),
    sa.Column("scope", sa.String(120), primary_key=True),
    sa.Column("amount_micro_usd", _Money, nullable=False),
    sa.Column("request_key", _Key, comment="the purchase that took it over; None while only planned"),
    sa.CheckConstraint("amount_micro_usd >= 0", name="amount_not_negative"),
)

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("sha256", _Key, primary_key=True),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("mime", sa.String(80), nullable=False),
    sa.Column("info", _Text, nullable=False, comment="MediaInfo as JSON"),
    sa.Column("created_at", _Time, nullable=False),
    sa.Column("unused_since", _Time, comment="since when nothing needs the file; None: something does"),
)

output = sa.Table(
    "output",
    metadata,
    sa.Column("request_key", _Key, primary_key=True),
    sa.Column("idx", sa.Integer, primary_key=True),
    sa.Column("sha256", _Key, sa.ForeignKey("artifact.sha256"), nullable=False),
)

new_take = sa.Table(
    "new_take",
    metadata,
    sa.Column("origin", sa.String(80), primary_key=True, comment="who asked, so that a retry does not ask again"),
    sa.Column("prompt_key", sa.String(80), primary_key=True),
    sa.Column("step", sa.String(16), primary_key=True),
    sa.Column("take", sa.Integer, nullable=False),
)

rate = sa.Table(
    "rate",
    metadata,
    sa.Column("provider", sa.String(40), primary_key=True),
    sa.Column("account", sa.String(80), primary_key=True),
    sa.Column("tokens", sa.Float, nullable=False),
    sa.Column("refilled_at", _Time, nullable=False),
    sa.Column("blocked_until", _Time),
)
