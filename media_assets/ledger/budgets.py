"""Budgets: worst cases are reserved before anything is sent, and spent plus reserved stays within every cap.

A plan reserves for each step; the purchase that serves the step takes the reservation over; settling it turns it
into spending. Nothing is added up in Python: one guarded UPDATE a scope decides, with the table's CHECK behind it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from media_assets.errors import BudgetExceededError
from media_assets.ledger.schema import budget, reservation
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step

_PLAN_ID_LENGTH = 32


@dataclass(frozen=True)
class Cap:
    """A limit on spending."""

    scope: str
    """What it limits, for example ``prompt:lighthouse``."""
    micro_usd: int
    setting: str
    """What to change to raise it, for the error message."""


def reserve(connection: sa.Connection, *, plan_id: str, amounts: Mapping[Step, int], caps: list[Cap]) -> None:
    """Reserve the worst case of every step under every cap, or nothing.

    Args:
        connection: An open write transaction, which the caller rolls back on the error.
        plan_id: Whose reservation it is.
        amounts: Micro-USD by step.
        caps: The limits that apply; none reserves nothing.

    Raises:
        BudgetExceededError: A cap would be passed; the message shows the arithmetic.
    """
    total = sum(amounts.values())
    if not total:
        # What is free is never refused, not even under a cap that is passed already.
        return
    for cap in sorted(caps, key=lambda cap: cap.scope):
        _set_cap(connection, cap)
        within = budget.c.spent_micro_usd + budget.c.reserved_micro_usd + total <= cap.micro_usd
        changed = connection.execute(
            sa.update(budget)
            .where(budget.c.scope == cap.scope, within)
            .values(cap_micro_usd=cap.micro_usd, reserved_micro_usd=budget.c.reserved_micro_usd + total)
        )
        if changed.rowcount != 1:
            raise _exceeded(connection, cap, total)
        rows = [
            {"plan_id": plan_id, "step": str(step), "scope": cap.scope, "amount_micro_usd": amount}
            for step, amount in amounts.items()
        ]
        if rows:
            connection.execute(sa.insert(reservation), rows)


def _set_cap(connection: sa.Connection, cap: Cap) -> None:
    known = connection.execute(sa.select(budget.c.scope).where(budget.c.scope == cap.scope)).first()
    if known is None:
        connection.execute(
            sa.insert(budget).values(
                scope=cap.scope, cap_micro_usd=cap.micro_usd, reserved_micro_usd=0, spent_micro_usd=0, overrun=False
            )
        )


def _exceeded(connection: sa.Connection, cap: Cap, total: int) -> BudgetExceededError:
    row = connection.execute(sa.select(budget).where(budget.c.scope == cap.scope)).one()
    return BudgetExceededError(_arithmetic(cap, row.spent_micro_usd, row.reserved_micro_usd, total))


def _arithmetic(cap: Cap, spent: int, reserved: int, total: int) -> str:
    return (
        f"the cap of {from_micro_usd(cap.micro_usd)} USD on {cap.scope} would be passed: {from_micro_usd(spent)} spent "
        f"+ {from_micro_usd(reserved)} reserved + {from_micro_usd(total)} needed at most. Nothing was sent. "
        f"Raise {cap.setting} to go on."
    )


def shortfall(connection: sa.Connection, total_micro_usd: int, caps: list[Cap]) -> str | None:
    """Say which cap a plan of this worst case would pass, as it stands now; None when none. Changes nothing."""
    for cap in caps if total_micro_usd else []:
        row = connection.execute(sa.select(budget).where(budget.c.scope == cap.scope)).one_or_none()
        spent, reserved = (row.spent_micro_usd, row.reserved_micro_usd) if row else (0, 0)
        if spent + reserved + total_micro_usd > cap.micro_usd:
            return _arithmetic(cap, spent, reserved, total_micro_usd)
    return None


def take_over(connection: sa.Connection, *, plan_id: str, step: Step, request_key: str) -> None:
    """Hand a plan's reservation for a step to the purchase that serves it.

    A purchase that already holds one (from a plan that died, or another prompt's) keeps it, and this plan's is freed.
    """
    held = connection.execute(sa.select(reservation.c.scope).where(reservation.c.request_key == request_key)).first()
    mine = (reservation.c.plan_id == plan_id) & (reservation.c.step == str(step))
    if held is None:
        # From here on it is the purchase's, so that the plan can reserve for another model of the same step.
        values = {"request_key": request_key, "plan_id": request_key[:_PLAN_ID_LENGTH]}
        connection.execute(sa.update(reservation).where(mine).values(values))
    else:
        _free(connection, mine & reservation.c.request_key.is_(None))


def settle(connection: sa.Connection, *, request_key: str, cost_micro_usd: int) -> None:
    """Turn a purchase's reservation into what it cost; a cost above it is recorded as an overrun of the scope."""
    rows = connection.execute(sa.select(reservation).where(reservation.c.request_key == request_key)).all()
    for row in rows:
        left = budget.c.spent_micro_usd + budget.c.reserved_micro_usd - row.amount_micro_usd + cost_micro_usd
        connection.execute(
            sa.update(budget)
            .where(budget.c.scope == row.scope)
            .values(
                reserved_micro_usd=budget.c.reserved_micro_usd - row.amount_micro_usd,
                spent_micro_usd=budget.c.spent_micro_usd + cost_micro_usd,
                overrun=sa.or_(budget.c.overrun, left > budget.c.cap_micro_usd),
            )
        )
    connection.execute(sa.delete(reservation).where(reservation.c.request_key == request_key))


def free_plan(connection: sa.Connection, plan_id: str, step: Step | None = None) -> None:
    """Give back what a plan reserved (for one step, or all) and no purchase took over."""
    mine = (reservation.c.plan_id == plan_id) & reservation.c.request_key.is_(None)
    _free(connection, mine if step is None else mine & (reservation.c.step == str(step)))


def _free(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    for row in connection.execute(sa.select(reservation).where(which)).all():
        connection.execute(
            sa.update(budget)
            .where(budget.c.scope == row.scope)
            .values(reserved_micro_usd=budget.c.reserved_micro_usd - row.amount_micro_usd)
        )
    connection.execute(sa.delete(reservation).where(which))
