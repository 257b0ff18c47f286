"""Budgets: worst cases are reserved before anything is sent, and spent plus reserved stays within every cap.

A plan reserves for each step under every scope that applies to it; the purchase that serves the step takes the
reservations over; settling it turns them into spending under the same scopes, whenever that is. Nothing is added up in
Python: one guarded UPDATE a scope decides, with the table's CHECK behind it.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from media_assets.errors import BudgetExceededError, Rerun
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import budget, plan, purchase, reservation
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step
from media_assets.request import GenerationRequest

_log = logging.getLogger(__name__)

_PLAN_ID_LENGTH = 32
_OF_A_DAY = ("day:", "provider:")


class NotReservedError(BudgetExceededError):
    """A plan is about to buy what it has not reserved (enough) for: reserve first. Nothing was sent or changed."""


@dataclass(frozen=True)
class Cap:
    """A limit on spending."""

    scope: str
    """What it limits: ``prompt:KEY``, ``run:ID``, ``day:YYYY-MM-DD`` or ``provider:NAME:YYYY-MM-DD``."""
    micro_usd: int
    setting: str
    """What to change to raise it, for the error message."""
    provider: str | None = None
    """Whose steps alone it limits; None: everybody's."""


@dataclass(frozen=True)
class Overrun:
    """A scope under which bills passed what was reserved for them."""

    scope: str
    micro_usd: int
    """By how much, in all; 0 where an older version did not write it down."""
    request_key: str | None
    """The purchase that did so last."""
    model: str | None

    def __str__(self) -> str:
        who = f"the purchase {self.request_key[:12]} of {self.model}" if self.request_key else "a purchase"
        return f"{self.scope} is overrun: {who} was billed above its worst case" + (
            f" ({from_micro_usd(self.micro_usd)} USD too much)" if self.micro_usd else ""
        )


@dataclass(frozen=True)
class Shortfall:
    """A cap that does not leave what is needed."""

    cap: Cap
    spent_micro_usd: int
    reserved_micro_usd: int
    needed_micro_usd: int
    overrun: Overrun | None = None

    @property
    def may_pass(self) -> bool:
        """Whether only what is reserved is in the way: settling it may leave enough."""
        return self.overrun is None and self.spent_micro_usd + self.needed_micro_usd <= self.cap.micro_usd

    def __str__(self) -> str:
        if self.overrun is not None:
            accept = f"`media-assets budget accept {self.cap.scope}`"
            return f"{self.overrun}. Nothing was sent. Look at the provider's bill; then {accept} lets it go on."
        amounts = (self.cap.micro_usd, self.spent_micro_usd, self.reserved_micro_usd, self.needed_micro_usd)
        cap, spent, reserved, needed = map(from_micro_usd, amounts)
        return (
            f"the cap of {cap} USD on {self.cap.scope} would be passed: {spent} spent + {reserved} reserved "
            f"+ {needed} needed at most. Nothing was sent. Raise {self.cap.setting}{self._or_wait()} to go on."
        )

    @property
    def ends_with_the_day(self) -> bool:
        """Whether the next day's budget leaves enough."""
        fits = self.needed_micro_usd <= self.cap.micro_usd
        return self.overrun is None and fits and self.cap.scope.startswith(_OF_A_DAY)

    def _or_wait(self) -> str:
        if self.may_pass:
            return ", or wait until what is reserved is settled (`media-assets budget` says by what),"
        return ", or wait for the next day (UTC)," if self.ends_with_the_day else ""


@dataclass(frozen=True)
class Need:
    """What a plan may cost at most, by step, and who would bill it."""

    amounts: Mapping[Step, int]
    """Micro-USD."""
    providers: Mapping[Step, str] = field(default_factory=dict)
    """Must have every step that costs anything, where a cap is a provider's."""

    def billed_by(self) -> set[str]:
        """Return the providers of what is not free."""
        return {self.providers[step] for step, amount in self.amounts.items() if amount}

    def under(self, cap: Cap) -> dict[Step, int]:
        """Return the steps that a cap limits. What is free is not among them: it is never refused."""
        paid = {step: amount for step, amount in self.amounts.items() if amount}
        return {step: paid[step] for step in paid if cap.provider is None or self.providers[step] == cap.provider}


def exceeded(shortfalls: Sequence[Shortfall]) -> BudgetExceededError:
    """Return the error that shows the arithmetic of every cap that would be passed."""
    first, *others = map(str, shortfalls)
    return BudgetExceededError(
        " ".join([first, *(other[0].upper() + other[1:] for other in others)]),
        scopes=[one.cap.scope for one in shortfalls],
        may_pass=all(one.may_pass for one in shortfalls),
        rerun=Rerun.RESUBMIT if all(one.may_pass or one.ends_with_the_day for one in shortfalls) else Rerun.NEVER,
    )


def reserve(connection: sa.Connection, *, plan_id: str, need: Need, caps: Collection[Cap]) -> None:
    """Reserve the worst case of every step under every cap that applies to it, or nothing.

    Args:
        connection: An open write transaction, which the caller rolls back on the error.
        plan_id: Whose reservation it is.
        need: What for.
        caps: The limits; none reserves nothing.

    Raises:
        BudgetExceededError: Caps would be passed; the message shows the arithmetic of each.
    """
    held: set[str] = set()
    rows = []
    for cap in sorted(caps, key=lambda cap: cap.scope):
        under = need.under(cap)
        if not under:
            continue
        if not _hold(connection, cap, sum(under.values())):
            raise exceeded(shortfalls(connection, need, [one for one in caps if one.scope not in held]))
        held.add(cap.scope)
        own = {"plan_id": plan_id, "scope": cap.scope}
        rows += [own | {"step": str(step), "amount_micro_usd": amount} for step, amount in under.items()]
    if rows:
        connection.execute(_RESERVE, rows)


_TOTAL = sa.bindparam("total", type_=sa.BigInteger)
_OF_SCOPE = sa.update(budget).where(budget.c.scope == sa.bindparam("its_scope"))
_HOLD = _OF_SCOPE.where(
    budget.c.spent_micro_usd + budget.c.reserved_micro_usd + _TOTAL <= sa.bindparam("cap", type_=sa.BigInteger),
    ~budget.c.overrun,
).values(cap_micro_usd=sa.bindparam("cap"), reserved_micro_usd=budget.c.reserved_micro_usd + _TOTAL)
_RESERVE = sa.insert(reservation)


def _hold(connection: sa.Connection, cap: Cap, total: int) -> bool:
    """Add to what is reserved under a cap, unless that would pass it or it is overrun."""
    changed = connection.execute(_HOLD, {"its_scope": cap.scope, "cap": cap.micro_usd, "total": total})
    if changed.rowcount == 1:
        return True
    known = connection.execute(sa.select(budget.c.scope).where(budget.c.scope == cap.scope)).first()
    if known is not None or total > cap.micro_usd:
        return False
    amounts = {"cap_micro_usd": cap.micro_usd, "reserved_micro_usd": total, "spent_micro_usd": 0}
    connection.execute(sa.insert(budget).values(scope=cap.scope, overrun=False, **amounts))
    return True


BUDGETS = sa.select(budget, purchase.c.model).outerjoin(purchase, purchase.c.request_key == budget.c.overrun_by)
"""Every scope, with the model whose purchase overran it last."""


def overrun_of(row: sa.Row[Any]) -> Overrun | None:
    """Read a row of ``BUDGETS``."""
    if not row.overrun:
        return None
    return Overrun(row.scope, row.overrun_micro_usd or 0, request_key=row.overrun_by, model=row.model)


def shortfalls(connection: sa.Connection, need: Need, caps: Collection[Cap]) -> list[Shortfall]:
    """Return which caps a plan would pass, as they stand now, by scope. Changes nothing."""
    totals = {cap.scope: total for cap in caps if (total := sum(need.under(cap).values()))}
    known = {row.scope: row for row in connection.execute(BUDGETS.where(budget.c.scope.in_(totals)))} if totals else {}
    found = []
    for cap in sorted(caps, key=lambda cap: cap.scope):
        row, total = known.get(cap.scope), totals.get(cap.scope, 0)
        spent, reserved = (row.spent_micro_usd, row.reserved_micro_usd) if row else (0, 0)
        overrun = overrun_of(row) if row else None
        if total and (overrun or spent + reserved + total > cap.micro_usd):
            found.append(Shortfall(cap, spent, reserved, total, overrun))
    return found


_UNCLAIMED = (reservation.c.plan_id == sa.bindparam("plan")) & reservation.c.request_key.is_(None)
_OF_STEP = reservation.c.step == sa.bindparam("its_step")
_OWN = reservation.c.request_key == sa.bindparam("own_key")
_MINE_OR_OWN = sa.select(reservation).where(sa.or_(_UNCLAIMED & _OF_STEP, _OWN))
_TAKE_OVER = sa.update(reservation).where(_UNCLAIMED, _OF_STEP)


def take_over(
    connection: sa.Connection,
    plan_id: str,
    request: GenerationRequest,
    *,
    worst_micro_usd: int,
    found: PurchaseState | None,
) -> None:
    """Hand a plan's reservation for a step to the purchase that serves it.

    A purchase that was sent before goes on with what is reserved for it (by a plan that died, or another prompt's), or
    is settled already; this plan's is freed then.

    Args:
        connection: The write transaction of the claim.
        plan_id: Whose reservation is taken over.
        request: What is bought.
        worst_micro_usd: What it may cost.
        found: The state of an open purchase that is gone on with; None: it begins anew.

    Raises:
        NotReservedError: The plan is open, and has not reserved as much as the purchase may cost.
    """
    mine = {"plan": plan_id, "its_step": str(request.step)}
    rows = connection.execute(_MINE_OR_OWN, {**mine, "own_key": request.key}).all()
    held = [row for row in rows if row.request_key is not None]
    planned = [row for row in rows if row.request_key is None]
    was_sent = found not in {None, PurchaseState.RESERVED}
    if found is PurchaseState.DONE or (held and (was_sent or not planned)):
        _give_back(connection, planned)
    elif planned:
        _give_back(connection, held)
        held = planned
        # From here on it is the purchase's, so that the plan can reserve for another model of the same step.
        taken = {"request_key": request.key, "plan_id": request.key[:_PLAN_ID_LENGTH]}
        connection.execute(_TAKE_OVER, {**mine, **taken})
    least = min((row.amount_micro_usd for row in held), default=0)
    if not was_sent and least < worst_micro_usd and _is_open(connection, plan_id):
        needed = from_micro_usd(worst_micro_usd)
        message = f"{needed} USD are needed for the {request.step}, and less is reserved. Nothing was sent."
        raise NotReservedError(message, rerun=Rerun.RESUBMIT)


def _is_open(connection: sa.Connection, plan_id: str) -> bool:
    return connection.execute(sa.select(plan.c.id).where(plan.c.id == plan_id)).first() is not None


_SPEND = _OF_SCOPE.values(
    reserved_micro_usd=budget.c.reserved_micro_usd - sa.bindparam("amount", type_=sa.BigInteger),
    spent_micro_usd=budget.c.spent_micro_usd + sa.bindparam("cost", type_=sa.BigInteger),
)
_HELD = sa.select(reservation).where(_OWN)
_DROP_HELD = sa.delete(reservation).where(_OWN)


def settle(connection: sa.Connection, *, request_key: str, cost_micro_usd: int) -> None:
    """Turn a purchase's reservations into what it cost, in full.

    A cost above what was reserved is an overrun of each of its scopes: they take no new reservation until a person
    has looked at it.
    """
    own = {"own_key": request_key}
    held = connection.execute(_HELD, own).all()
    for row in held:
        too_much = cost_micro_usd - row.amount_micro_usd
        spend = _SPEND
        if too_much > 0:
            total = sa.func.coalesce(budget.c.overrun_micro_usd, 0) + too_much
            spend = _SPEND.values(overrun=sa.true(), overrun_by=request_key, overrun_micro_usd=total)
            billed, reserved = from_micro_usd(cost_micro_usd), from_micro_usd(row.amount_micro_usd)
            message = "%s is overrun: %s USD were billed for purchase %s, and %s USD reserved"
            _log.warning(message, row.scope, billed, request_key[:12], reserved)
        connection.execute(spend, {"its_scope": row.scope, "amount": row.amount_micro_usd, "cost": cost_micro_usd})
    if held:
        connection.execute(_DROP_HELD, own)


_PLANNED = sa.select(reservation).where(_UNCLAIMED)
_GIVE_BACK = _OF_SCOPE.values(
    reserved_micro_usd=budget.c.reserved_micro_usd - sa.bindparam("amount", type_=sa.BigInteger)
)
_DROP = sa.delete(reservation).where(
    reservation.c.plan_id == sa.bindparam("plan"), _OF_STEP, reservation.c.scope == sa.bindparam("its_scope")
)


def free_plan(connection: sa.Connection, plan_id: str, step: Step | None = None) -> None:
    """Give back what a plan reserved (for one step, or all) and no purchase took over."""
    planned = _PLANNED if step is None else _PLANNED.where(reservation.c.step == str(step))
    _give_back(connection, connection.execute(planned, {"plan": plan_id}).all())


def _give_back(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> None:
    for row in rows:
        connection.execute(_GIVE_BACK, {"its_scope": row.scope, "amount": row.amount_micro_usd})
        connection.execute(_DROP, {"plan": row.plan_id, "its_step": row.step, "its_scope": row.scope})
