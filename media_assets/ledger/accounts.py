"""Purchases as accounting wants them: one line each, however many there are, read a page at a time."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from media_assets.errors import Billed
from media_assets.ledger.clock import as_written
from media_assets.ledger.database import Database
from media_assets.ledger.rows import WITH_OUTPUT, PurchaseState
from media_assets.ledger.schema import artifact, decision, purchase
from media_assets.pricing import from_micro_usd

_OF_PURCHASES = (
    *("request_key", "prompt_key", "step", "provider", "model", "take", "state", "created_at", "updated_at"),
    *("estimate_micro_usd", "cost_micro_usd", "reported", "price_from", "prediction_id", "attempts"),
)
_PAGE = 500
"""Rows held in memory."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """One purchase."""

    request_key: str
    prompt_key: str
    step: str
    provider: str
    model: str
    take: int
    state: str
    created_at: str
    """UTC, as all times here."""
    updated_at: str
    estimate_usd: Decimal
    """The worst case that was reserved."""
    cost_usd: Decimal | None
    """By our price table; None: not known yet."""
    billed: Billed
    reported: dict[str, str]
    """What the provider says it used, in its own units."""
    price_from: str | None
    """Day of the price row that the cost was reckoned with."""
    prediction_id: str | None
    attempts: int
    decisions: tuple[str, ...]
    """What people decided of it, in order."""
    sha256: str | None
    """Of its file."""


class Accounts:
    """Reads the purchase table from end to end; each page as it stands when it is read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def between(self, since: date | None, until: date | None) -> Iterator[Account]:
        """Yield purchases, oldest first, as they stand while a page of them is read.

        Args:
            since: The first UTC day on which they were made; None: all before, too.
            until: The last one; None: up to now.
        """
        order = sa.tuple_(purchase.c.created_at, purchase.c.request_key)
        which: list[sa.ColumnElement[bool]] = []
        if since is not None:
            which.append(purchase.c.created_at >= since.isoformat())
        if until is not None:
            which.append(purchase.c.created_at <= as_written(datetime.combine(until, time.max, UTC)))
        told = (purchase.c[name] for name in _OF_PURCHASES)
        found = WITH_OUTPUT.with_only_columns(*told, artifact.c.sha256, maintain_column_froms=True)
        pages = found.where(*which).order_by(purchase.c.created_at, purchase.c.request_key).limit(_PAGE)
        after: list[sa.ColumnElement[bool]] = []
        while rows := self._page(pages.where(*after)):
            yield from rows
            last = rows[-1]
            after = [order > sa.tuple_(sa.literal(last.created_at), sa.literal(last.request_key))]

    def _page(self, page: sa.Select[Any]) -> list[Account]:
        with self._database.read() as connection:
            rows = connection.execute(page).all()
            decided: dict[str, list[str]] = defaultdict(list)
            keys = [row.request_key for row in rows]
            wanted = sa.select(decision.c.request_key, decision.c.what).where(decision.c.request_key.in_(keys))
            for one in connection.execute(wanted.order_by(decision.c.request_key, decision.c.n)):
                decided[one.request_key].append(one.what)
        return [_account(row, tuple(decided[row.request_key])) for row in rows]


def _account(row: Any, decisions: tuple[str, ...]) -> Account:
    return Account(
        request_key=row.request_key,
        prompt_key=row.prompt_key,
        step=row.step,
        provider=row.provider,
        model=row.model,
        take=row.take,
        state=row.state,
        created_at=row.created_at,
        updated_at=row.updated_at,
        estimate_usd=from_micro_usd(row.estimate_micro_usd),
        cost_usd=None if row.cost_micro_usd is None else from_micro_usd(row.cost_micro_usd),
        billed=_billed(PurchaseState(row.state), row.cost_micro_usd or 0),
        reported=json.loads(row.reported or "{}"),
        price_from=row.price_from,
        prediction_id=row.prediction_id,
        attempts=row.attempts,
        decisions=decisions,
        sha256=row.sha256,
    )


_UNDECIDED = frozenset({PurchaseState.SUBMITTING, PurchaseState.SUBMITTED, PurchaseState.UNKNOWN})


def _billed(state: PurchaseState, cost_micro_usd: int) -> Billed:
    if cost_micro_usd > 0 or state is PurchaseState.LOST_OUTPUT:
        return Billed.YES
    return Billed.UNKNOWN if state in _UNDECIDED else Billed.NO
