"""How budgets stand, for people and for those who wait for money: what is spent, reserved, and by what.

Reservations are made and settled in ``budgets.py``; the one thing that is changed here is an overrun that a person has
looked at.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from media_assets.ledger.budgets import BUDGETS, Cap, Need, Overrun, Shortfall, overrun_of, shortfalls
from media_assets.ledger.database import Database
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import budget, plan, purchase, reservation

PLANNED = "PLANNED"
"""The state of what is reserved by a plan, and not yet claimed for a purchase."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One budget."""

    scope: str
    cap_micro_usd: int
    """As it was when something was reserved last; the setting may have changed since."""
    spent_micro_usd: int
    reserved_micro_usd: int
    overrun: Overrun | None


@dataclass(frozen=True, kw_only=True)
class Reserved:
    """What one step holds back, until it is settled or given up."""

    scopes: tuple[str, ...]
    micro_usd: int
    """Once, however many scopes it counts under."""
    prompt_key: str
    step: str
    model: str
    """Empty while only planned."""
    state: str
    """``PLANNED``, or the purchase's."""
    request_key: str | None
    owner_alive: bool
    """Whether a living process will settle it."""


class Spending:
    """The budget and reservation tables, to look at."""

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner

    def shortfalls(self, need: Need, caps: Collection[Cap]) -> list[Shortfall]:
        """Return which caps a plan would pass, as they stand now."""
        with self._database.read() as connection:
            return shortfalls(connection, need, caps)

    def scopes(self, day: date) -> list[Scope]:
        """Return the budgets of a day, and every other one under which something is reserved or overrun."""
        name = budget.c.scope
        of_day = sa.or_(name == f"day:{day}", name.like(f"provider:%:{day}"))
        of_days = sa.or_(name.like("day:%"), name.like("provider:%"))
        in_use = ~of_days & (budget.c.reserved_micro_usd > 0)
        return self._read(sa.or_(of_day, in_use, budget.c.overrun))

    def of_days(self, since: date, until: date) -> list[Scope]:
        """Return the budgets of these UTC days, and of providers on them, both days included."""
        found = self._read(sa.or_(budget.c.scope.like("day:%"), budget.c.scope.like("provider:%")))
        return [one for one in found if str(since) <= one.scope.rpartition(":")[2] <= str(until)]

    def overruns(self) -> list[Overrun]:
        """Return every overrun that nobody has accepted."""
        return [one.overrun for one in self._read(budget.c.overrun) if one.overrun is not None]

    def _read(self, which: sa.ColumnElement[bool]) -> list[Scope]:
        with self._database.read() as connection:
            rows = connection.execute(BUDGETS.where(which).order_by(budget.c.scope))
            return [
                Scope(
                    scope=row.scope,
                    cap_micro_usd=row.cap_micro_usd,
                    spent_micro_usd=row.spent_micro_usd,
                    reserved_micro_usd=row.reserved_micro_usd,
                    overrun=overrun_of(row),
                )
                for row in rows
            ]

    def reserved(self, scopes: Collection[str]) -> list[Reserved]:
        """Return what is reserved under these scopes, by prompt and step."""
        found: dict[tuple[str, str], Reserved] = {}
        for row in self._reservations(scopes):
            before = found.get((row.plan_id, row.step))
            found[row.plan_id, row.step] = Reserved(
                scopes=(*(before.scopes if before else ()), row.scope),
                micro_usd=row.amount_micro_usd,
                prompt_key=row.prompt_key or "",
                step=row.step,
                model=row.model or "",
                state=row.state or PLANNED,
                request_key=row.request_key,
                owner_alive=self._will_settle(row),
            )
        return sorted(found.values(), key=lambda one: (one.prompt_key, one.step))

    def settling(self, scopes: Collection[str], *, besides: Collection[str]) -> set[str]:
        """Return those of the scopes under which a living process holds something, so that waiting may help.

        Args:
            scopes: Where money is short.
            besides: Plans that do not count, because they wait themselves.
        """
        waiting = frozenset(besides)
        rows = self._reservations(scopes)
        return {row.scope for row in rows if row.plan_id not in waiting and self._will_settle(row)}

    def _reservations(self, scopes: Collection[str]) -> list[sa.Row[Any]]:
        owner = sa.func.coalesce(purchase.c.owner, plan.c.owner).label("owner")
        key = sa.func.coalesce(purchase.c.prompt_key, plan.c.prompt_key).label("prompt_key")
        rows = (
            sa.select(reservation, purchase.c.model, purchase.c.state, owner, key)
            .outerjoin(plan, plan.c.id == reservation.c.plan_id)
            .outerjoin(purchase, purchase.c.request_key == reservation.c.request_key)
            .where(reservation.c.scope.in_(scopes))
            .order_by(reservation.c.scope)
        )
        with self._database.read() as connection:
            return list(connection.execute(rows).all())

    def _will_settle(self, row: sa.Row[Any]) -> bool:
        at_work = row.state is None or PurchaseState(row.state).is_open
        return at_work and bool(row.owner) and self._owner.is_alive(row.owner)

    def accept(self, scope: str) -> bool:
        """Let an overrun scope take reservations again, within its cap; False when it is not overrun.

        What was spent stays spent: a cap that it has passed has to be raised as well.
        """
        total = budget.c.spent_micro_usd + budget.c.reserved_micro_usd
        # The cap that is kept is what the table's CHECK compares with; each new reservation brings its own.
        cap = sa.case((total > budget.c.cap_micro_usd, total), else_=budget.c.cap_micro_usd)
        values = {"overrun": sa.false(), "overrun_by": None, "overrun_micro_usd": None, "cap_micro_usd": cap}
        with self._database.write() as connection:
            overrun = sa.update(budget).where(budget.c.scope == scope, budget.c.overrun)
            accepted = connection.execute(overrun.values(values))
        return bool(accepted.rowcount == 1)
