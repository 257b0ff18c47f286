"""Whether the ledger agrees with itself: every rule that its writes keep, asked of what is written.

All rows are read as they are at one moment. What they cannot tell, whether an owner lives, is asked afterwards; and
what was left open at that moment counts only if it still is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from media_assets.artifact import Artifact
from media_assets.catalog import Recovery
from media_assets.ledger.database import Database
from media_assets.ledger.garbage import as_artifact
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import OPEN, UNFINISHED, PurchaseState
from media_assets.ledger.schema import artifact, attempt, budget, output, plan, purchase, reservation, step
from media_assets.pricing import from_micro_usd

_PAGE = 500
_REPORT = "No command repairs this: keep a copy of the ledger, and report it."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be."""

    kind: str
    """A slug, for programs."""
    about: str
    """What it was found of: a request key, a file, a budget."""
    what: str
    do: str
    """What to do about it."""


class Audit:
    """Looks, and changes nothing."""

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner

    def findings(self) -> list[Finding]:
        """Return what is wrong in the rows. Free; blocking."""
        with self._database.snapshot() as connection:
            try:
                found = [*self._of_the_file(connection), *_of_purchases(connection)]
                found += [*_of_reservations(connection), *_of_budgets(connection)]
                left_open = connection.execute(_LEFT_OPEN).all()
                plans = connection.execute(sa.select(plan)).all()
            except sa.exc.DatabaseError as error:
                if isinstance(error, sa.exc.OperationalError):
                    raise
                return [_damaged(str(error.orig))]
        return [*found, *self._of_the_dead(left_open, plans)]

    def _of_the_file(self, connection: sa.Connection) -> Iterator[Finding]:
        if not self._database.is_sqlite:
            return
        for (said,) in connection.exec_driver_sql("PRAGMA integrity_check(20)").all():
            if said != "ok":
                yield _damaged(said)
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check").all():
            what = f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there"
            yield Finding(kind="foreign-key", about=row[0], what=what, do=_REPORT)

    def _of_the_dead(self, left_open: Any, plans: Any) -> Iterator[Finding]:
        for row in left_open:
            if not self._owner.is_alive(row.owner) and self._is_still(_LEFT_OPEN, row, purchase.c.request_key):
                what = f"{row.state}, and no process works on it"
                yield Finding(kind="left-open", about=row.request_key, what=what, do=_HOW_TO_GO_ON[row.state])
        for row in plans:
            if not self._owner.is_alive(row.owner) and self._is_still(sa.select(plan), row, plan.c.id):
                what = f"the plan of prompt {row.prompt_key} is open, and its process has died"
                yield Finding(kind="dead-plan", about=row.id, what=what, do=_FREED)

    def _is_still(self, which: sa.Select[Any], row: Any, key: sa.Column[Any]) -> bool:
        """Whether a row is as it was: its owner, dead now, may have brought it to its end before."""
        with self._database.read() as connection:
            return bool(connection.execute(which.where(key == row[0])).first() == row)

    def artifacts(self) -> Iterator[Artifact]:
        """Yield every file that the ledger names, a page at a time."""
        pages = sa.select(artifact).order_by(artifact.c.sha256).limit(_PAGE)
        after = ""
        while True:
            with self._database.read() as connection:
                rows = connection.execute(pages.where(artifact.c.sha256 > after)).all()
            if not rows:
                return
            yield from map(as_artifact, rows)
            after = rows[-1].sha256

    def total_bytes(self) -> int:
        """Return how large the files are that the ledger names."""
        with self._database.read() as connection:
            return int(connection.execute(sa.select(sa.func.sum(artifact.c.size_bytes))).scalar() or 0)

    def buyers(self, sha256: str) -> list[tuple[str, bool]]:
        """Return the purchases that have a file for their output, and whether each was paid for."""
        rows = sa.select(output.c.request_key, purchase.c.recovery != Recovery.FREE).join(
            purchase, purchase.c.request_key == output.c.request_key
        )
        with self._database.read() as connection:
            found = connection.execute(rows.where(output.c.sha256 == sha256).order_by(output.c.request_key))
            return [(key, bool(paid)) for key, paid in found]

    def is_being_finished(self, token: str) -> bool:
        """Whether a living process has just brought the purchase of an attempt to its end."""
        owner = sa.select(purchase.c.owner).join(attempt, attempt.c.request_key == purchase.c.request_key)
        with self._database.read() as connection:
            name = connection.execute(owner.where(attempt.c.token == token)).scalar()
        return bool(name) and self._owner.is_alive(str(name))


_LEFT_OPEN = sa.select(purchase.c.request_key, purchase.c.state, purchase.c.owner, purchase.c.fence).where(
    purchase.c.state.in_(OPEN)
)
_FREED = "The next run gives back what it reserved; so does `media-assets gc`."
_HOW_TO_GO_ON = {
    PurchaseState.RESERVED: _FREED,
    PurchaseState.SUBMITTING: "Run its prompt again: whether it was sent is found out then, or you are asked.",
    PurchaseState.SUBMITTED: "Run its prompt again, before its output expires: it is fetched, and costs nothing more.",
    PurchaseState.DONE: "Run its prompt again, before its output expires: it is fetched, and costs nothing more.",
}


def _damaged(said: str) -> Finding:
    do = "Stop whatever uses it, and restore it from a backup. Without one, `sqlite3 ledger.db .recover` may help."
    return Finding(kind="damaged", about="ledger", what=f"the database file is damaged: {said}", do=do)


def _of_purchases(connection: sa.Connection) -> Iterator[Finding]:
    first = sa.and_(output.c.request_key == purchase.c.request_key, output.c.idx == 0)
    bare = sa.select(purchase.c.request_key, purchase.c.recovery).outerjoin(output, first)
    for row in connection.execute(bare.where(purchase.c.state == PurchaseState.SUCCEEDED, output.c.idx.is_(None))):
        is_free = row.recovery == Recovery.FREE
        do = "Run its prompt again: it is made again, free." if is_free else "A new take buys it again."
        yield Finding(kind="no-output", about=row.request_key, what="it succeeded, and has no file", do=do)
    lost = sa.select(output.c.request_key, output.c.sha256).outerjoin(artifact, artifact.c.sha256 == output.c.sha256)
    for row in connection.execute(lost.where(artifact.c.sha256.is_(None))):
        what = f"its file {row.sha256[:12]} is not among the files of the ledger"
        yield Finding(kind="no-artifact", about=row.request_key, what=what, do=_REPORT)
    nowhere = sa.select(step).outerjoin(purchase, purchase.c.request_key == step.c.request_key)
    for row in connection.execute(nowhere.where(purchase.c.request_key.is_(None))):
        what = f"the {row.step} of prompt {row.prompt_key} names it, and there is no such purchase"
        do = "Run the prompt again: the step is made anew, which may cost money; `plan` tells."
        yield Finding(kind="no-purchase", about=row.request_key, what=what, do=do)


def _of_reservations(connection: sa.Connection) -> Iterator[Finding]:
    rows = (
        sa.select(reservation, purchase.c.state, plan.c.id)
        .outerjoin(purchase, purchase.c.request_key == reservation.c.request_key)
        .outerjoin(plan, plan.c.id == reservation.c.plan_id)
        .order_by(reservation.c.scope)
    )
    for row in connection.execute(rows):
        held = from_micro_usd(row.amount_micro_usd)
        if row.request_key is None and row.id is None:
            what = f"{held} USD of {row.scope} are reserved for the {row.step} of a plan that is not there"
            yield Finding(kind="stray-reservation", about=row.plan_id, what=what, do=_REPORT)
        elif row.request_key is not None and row.state not in UNFINISHED:
            what = f"{held} USD of {row.scope} are reserved for it, and it is {row.state or 'not there'}"
            yield Finding(kind="stray-reservation", about=row.request_key, what=what, do=_REPORT)


def _of_budgets(connection: sa.Connection) -> Iterator[Finding]:
    total = sa.func.coalesce(sa.func.sum(reservation.c.amount_micro_usd), 0)
    held = sa.select(reservation.c.scope, total.label("amount")).group_by(reservation.c.scope).subquery()
    rows = sa.select(budget.c.scope, budget.c.reserved_micro_usd, sa.func.coalesce(held.c.amount, 0).label("amount"))
    for row in connection.execute(rows.outerjoin(held, held.c.scope == budget.c.scope).order_by(budget.c.scope)):
        if row.reserved_micro_usd != row.amount:
            says, are = from_micro_usd(row.reserved_micro_usd), from_micro_usd(row.amount)
            what = f"it says that {says} USD are reserved, and the reservations come to {are} USD"
            yield Finding(kind="budget-reserved", about=row.scope, what=what, do=_REPORT)
    scopes = set(connection.execute(sa.select(budget.c.scope)).scalars())
    stray = sa.select(reservation.c.scope).distinct()
    for scope in sorted(set(connection.execute(stray).scalars()) - scopes):
        what = "money is reserved under it, and there is no such budget"
        yield Finding(kind="budget-reserved", about=scope, what=what, do=_REPORT)
    yield from _of_spending(connection)


def _of_spending(connection: sa.Connection) -> Iterator[Finding]:
    """Compare what budgets say was spent with what purchases cost, as far as that is recorded of each.

    Every cost counts once for a prompt, and for a day, a provider or a run where those were counted at its time.
    """
    spent: dict[str, int] = {}
    for row in connection.execute(sa.select(budget.c.scope, budget.c.spent_micro_usd)):
        kind, _, name = row.scope.partition(":")
        group = f"provider:{name.partition(':')[0]}" if kind == "provider" else kind
        spent[group] = spent.get(group, 0) + row.spent_micro_usd
    cost = sa.func.sum(sa.func.coalesce(purchase.c.cost_micro_usd, 0))
    rows = connection.execute(sa.select(purchase.c.provider, cost).group_by(purchase.c.provider))
    costs = {f"provider:{provider}": int(amount) for provider, amount in rows}
    total = sum(costs.values())
    for group in sorted({*spent, "prompt"}):
        says, are = spent.get(group, 0), costs.get(group, 0) if group.startswith("provider:") else total
        # An older version counted for prompts alone, and what is not capped may not be counted.
        if says > are or (group == "prompt" and says != are):
            budgets, purchases = from_micro_usd(says), from_micro_usd(are)
            what = f"they say that {budgets} USD were spent, and the purchases cost {purchases} USD"
            yield Finding(kind="budget-spent", about=f"{group}:*", what=what, do=_REPORT)
