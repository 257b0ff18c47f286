"""Looking purchases up: nothing here changes the ledger."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from media_assets.ledger.clock import mark
from media_assets.ledger.database import Database
from media_assets.ledger.database_time import seconds_until
from media_assets.ledger.rows import UNFINISHED, WITH_OUTPUT, PurchaseRow, as_row, find_row
from media_assets.ledger.schema import attempt, purchase, step


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One submission as it was written down."""

    token: str
    n: int
    clock_mark: str | None
    """For :func:`media_assets.ledger.clock.elapsed_s`; None in older ledgers."""
    has_ended: bool
    """Whether ``clock_mark`` is of its end without an answer; if not, of when it was about to be sent."""
    outcome: str | None
    """None: nothing was heard of it."""


_MANY = WITH_OUTPUT.where(purchase.c.request_key.in_(sa.bindparam("keys", expanding=True)))


class Lookups:
    """What can be asked of the purchase table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, request_key: str) -> PurchaseRow | None:
        """Return one purchase by its whole request key."""
        with self._database.read() as connection:
            return find_row(connection, request_key)

    def get_many(self, request_keys: Collection[str]) -> dict[str, PurchaseRow]:
        """Return the purchases that there are under these keys."""
        with self._database.read() as connection:
            rows = connection.execute(_MANY, {"keys": list(request_keys)})
            return {row.request_key: as_row(row) for row in rows}

    def search(self, *, prompt_key: str | None = None, key_prefix: str | None = None) -> list[PurchaseRow]:
        """Return purchases, oldest first, optionally of one prompt or whose key starts so."""
        which: list[sa.ColumnElement[bool]] = []
        if prompt_key is not None:
            of_prompt = sa.select(step.c.request_key).where(step.c.prompt_key == prompt_key)
            which.append(sa.or_(purchase.c.prompt_key == prompt_key, purchase.c.request_key.in_(of_prompt)))
        if key_prefix is not None:
            which.append(purchase.c.request_key.startswith(key_prefix, autoescape=True))
        with self._database.read() as connection:
            rows = connection.execute(WITH_OUTPUT.where(*which).order_by(purchase.c.created_at))
            return [as_row(row) for row in rows]

    def unfinished(self) -> list[PurchaseRow]:
        """Return the purchases that somebody may still bring to an end, oldest first."""
        which = WITH_OUTPUT.where(purchase.c.state.in_(UNFINISHED)).order_by(purchase.c.created_at)
        with self._database.read() as connection:
            return [as_row(row) for row in connection.execute(which)]

    def last_attempt(self, request_key: str) -> Attempt | None:
        """Return the newest attempt of one purchase."""
        columns: list[sa.ColumnElement[Any]] = [attempt.c.token, attempt.c.n, attempt.c.clock_mark, attempt.c.outcome]
        if not self._database.is_sqlite:
            columns.append(seconds_until(attempt.c.intent_at).label("left_s"))
        newest = sa.select(*columns).filter_by(request_key=request_key).order_by(attempt.c.n.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(newest).one_or_none()
        if row is None:
            return None
        if self._database.is_sqlite:
            return Attempt(
                token=row.token,
                n=row.n,
                clock_mark=row.clock_mark,
                has_ended=row.outcome is not None,
                outcome=row.outcome,
            )
        # Another machine's clock says nothing here; the database's says when it was about to be sent.
        since = mark(ago_s=-row.left_s)
        return Attempt(token=row.token, n=row.n, clock_mark=since, has_ended=False, outcome=row.outcome)

    def last_sent(self, request_keys: Collection[str]) -> dict[str, str]:
        """Return when each of these purchases was last about to be sent, for those that ever were."""
        newest = sa.select(attempt.c.request_key, sa.func.max(attempt.c.intent_at).label("at"))
        which = newest.where(attempt.c.request_key.in_(request_keys)).group_by(attempt.c.request_key)
        with self._database.read() as connection:
            return {row.request_key: row.at for row in connection.execute(which)}

    def replies_done_with(self, tokens: Collection[str]) -> set[str]:
        """Return those attempts whose raw reply is not wanted any more: their purchases have come to an end.

        Of a token that this ledger does not know nothing is said: it may be another ledger's.
        """
        return self._of_purchases(tokens, purchase.c.state.not_in(UNFINISHED))

    def replies_known(self, tokens: Collection[str]) -> set[str]:
        """Return those attempts that this ledger knows."""
        return self._of_purchases(tokens, sa.true())

    def _of_purchases(self, tokens: Collection[str], which: sa.ColumnElement[bool]) -> set[str]:
        wanted = sa.select(attempt.c.token).where(
            attempt.c.token.in_(tokens), attempt.c.request_key == purchase.c.request_key, which
        )
        with self._database.read() as connection:
            return set(connection.execute(wanted).scalars())

    def ids_taken(self, provider: str, prediction_ids: Collection[str]) -> set[str]:
        """Return those of a provider's predictions that purchases have, or had before they were submitted again."""
        known = sa.select(purchase.c.prediction_id).where(
            purchase.c.provider == provider, purchase.c.prediction_id.in_(prediction_ids)
        )
        before = sa.select(attempt.c.prediction_id).where(
            attempt.c.prediction_id.in_(prediction_ids),
            attempt.c.request_key == purchase.c.request_key,
            purchase.c.provider == provider,
        )
        with self._database.read() as connection:
            return set(connection.execute(sa.union(known, before)).scalars())

    def attempts(self, request_key: str) -> list[dict[str, Any]]:
        """Return every attempt of one purchase, without its token."""
        shown = (column for column in attempt.c if column.name != "token")
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*shown).filter_by(request_key=request_key).order_by(attempt.c.n))
            return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
