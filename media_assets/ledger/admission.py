"""When a provider may be sent another submission: limits that hold across every process of one ledger.

Asked in the transaction that writes the intent, so that two processes never both take the last place.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from media_assets.ledger.clock import as_written
from media_assets.ledger.database_time import moment
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import purchase, rate

_ABANDONED_S = 1800
"""A prediction nobody has touched for so long has ended at the provider, whoever should have asked: no run is longer
(Replicate's limit is 30 minutes, facts of 2026-11)."""
_FULL_WAIT_S = 0.5
"""How soon a full provider is looked at again; who waits in the same process is woken in order."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a provider takes at once, for one account."""

    concurrency: int | None = None
    """Predictions open at once; None: any number."""
    per_minute: int | None = None
    """Submissions a minute; None: any number."""


@dataclass(frozen=True)
class Wait:
    """No place yet."""

    seconds: float
    """When to ask again."""


def admit(connection: sa.Connection, owner: Owner, provider: str, request_key: str, limits: Limits) -> Wait | None:
    """Take a place for one submission, or say how long to wait.

    Args:
        connection: The write transaction that records the intent.
        owner: Knows which owners are alive.
        provider: Whose place.
        request_key: The purchase that wants it.
        limits: How many places there are.
    """
    if limits.concurrency is not None and _open(connection, owner, provider, request_key) >= limits.concurrency:
        return Wait(_FULL_WAIT_S)
    return _take_token(connection, provider, limits.per_minute)


def block(connection: sa.Connection, provider: str, seconds: float) -> None:
    """Record that a provider asked for a pause; no process of this ledger submits to it before."""
    now = moment(connection)
    row = _rate(connection, provider, now, tokens=0.0)
    until = as_written(now + timedelta(seconds=seconds))
    if row.blocked_until is None or row.blocked_until < until:
        connection.execute(_SET_RATE, {"of_provider": provider, "blocked_until": until})


_ELSE_OPEN = sa.select(purchase.c.owner, purchase.c.updated_at).where(
    purchase.c.provider == sa.bindparam("of_provider"),
    purchase.c.state.in_([PurchaseState.SUBMITTING, PurchaseState.SUBMITTED]),
    purchase.c.request_key != sa.bindparam("key"),
    sa.or_(purchase.c.progress.is_(None), purchase.c.progress < 1),  # else it has ended there
)
_OF_PROVIDER = (rate.c.provider == sa.bindparam("of_provider")) & (rate.c.account == "")
_RATE = sa.select(rate).where(_OF_PROVIDER)
_SET_RATE = sa.update(rate).where(_OF_PROVIDER)


def _open(connection: sa.Connection, owner: Owner, provider: str, request_key: str) -> int:
    rows = connection.execute(_ELSE_OPEN, {"of_provider": provider, "key": request_key}).all()
    recent = as_written(moment(connection) - timedelta(seconds=_ABANDONED_S))
    return sum(row.updated_at >= recent or row.owner == owner.id or owner.is_alive(row.owner) for row in rows)


def _take_token(connection: sa.Connection, provider: str, per_minute: int | None) -> Wait | None:
    now = moment(connection)
    row = _rate(connection, provider, now, tokens=float(per_minute or 0))
    if row.blocked_until is not None and row.blocked_until > as_written(now):
        return Wait((datetime.fromisoformat(row.blocked_until) - now).total_seconds())
    if per_minute is None:
        return None
    a_second = per_minute / 60
    passed_s = max((now - datetime.fromisoformat(row.refilled_at)).total_seconds(), 0.0)
    tokens = min(row.tokens + passed_s * a_second, float(per_minute))
    if tokens < 1:
        return Wait((1 - tokens) / a_second)
    connection.execute(_SET_RATE, {"of_provider": provider, "tokens": tokens - 1, "refilled_at": as_written(now)})
    return None


def _rate(connection: sa.Connection, provider: str, now: datetime, *, tokens: float) -> sa.Row[tuple[object, ...]]:
    mine = {"of_provider": provider}
    row = connection.execute(_RATE, mine).one_or_none()
    if row is None:
        connection.execute(
            sa.insert(rate).values(provider=provider, account="", tokens=tokens, refilled_at=as_written(now))
        )
        row = connection.execute(_RATE, mine).one()
    return row
