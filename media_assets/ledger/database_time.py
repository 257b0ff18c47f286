"""The time by the database's clock: the one clock that all machines of a shared ledger see alike."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from media_assets.ledger.clock import utc_now

_AS_WRITTEN = 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'
"""As ``utc_now`` writes it, so that the times of one column sort as text."""
_DAY_S = 86_400.0


def written_now(connection: sa.Connection) -> Any:
    """Return the time for a column, on Postgres by the server's clock when the statement runs."""
    return utc_now() if connection.dialect.name == "sqlite" else later(0.0)


def moment(connection: sa.Connection) -> datetime:
    """Return the time, on Postgres by the server's clock."""
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)


def later(seconds: float) -> sa.ColumnElement[str]:
    """Return, for a statement on Postgres, the time that it will be in ``seconds``, as a column holds it."""
    then = sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return sa.func.to_char(sa.func.timezone("UTC", then), _AS_WRITTEN)


def seconds_until(written: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    """Return, for a statement on Postgres, how many seconds are left until a written time; negative after it."""
    return _seconds(sa.cast(written, sa.DateTime(timezone=True)) - sa.func.clock_timestamp())


def seconds_up() -> sa.ColumnElement[float]:
    """Return, for a statement on Postgres, how many seconds ago the server was started."""
    return _seconds(sa.func.clock_timestamp() - sa.func.pg_postmaster_start_time())


def seconds_between(
    first: sa.ColumnElement[Any], then: sa.ColumnElement[Any], *, is_sqlite: bool
) -> sa.ColumnElement[float]:
    """Return the seconds between two written times; none where the clock was put back in between."""
    if is_sqlite:
        gap = (sa.func.julianday(then) - sa.func.julianday(first)) * _DAY_S
    else:
        gap = _seconds(sa.cast(then, sa.DateTime(timezone=True)) - sa.cast(first, sa.DateTime(timezone=True)))
    return sa.case((gap < 0, 0.0), else_=gap)


def _seconds(interval: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    return sa.cast(sa.extract("epoch", interval), sa.Float)
