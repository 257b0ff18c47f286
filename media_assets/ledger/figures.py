"""What was bought in a time, added up by the database: what a report is made of. It only looks.

A purchase counts, with all it ever cost, on the UTC day of its last submission; one that was never submitted, on the
day it was asked for. The ledger keeps one cost a purchase, not one a submission, so that a paid failure which is tried
again on another day moves there. What counts under a day's budget is fixed when it is reserved: ``Spending.of_days``.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from media_assets.ledger.database import Database
from media_assets.ledger.database_time import seconds_between
from media_assets.ledger.decisions import POLICY
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import attempt, decision, prompt, purchase, reservation, step
from media_assets.pricing import from_micro_usd

_FAILED = (PurchaseState.FAILED_FREE, PurchaseState.FAILED_PAID, PurchaseState.LOST_OUTPUT)
_ENDED_AT_SUBMISSION = ("failed", "refused")
"""Outcomes of an attempt whose reply was the end of the work."""


@dataclass(frozen=True, kw_only=True)
class Spend:
    """What was bought of one model, for one step, on one UTC day."""

    day: date
    provider: str
    model: str
    step: str
    purchases: int
    """All of them: those that neither succeeded nor failed nor are unknown are open, or were called back."""
    attempts: int
    """Submissions of these purchases, whenever they were."""
    succeeded: int
    failed: int
    """For good, free or paid, lost outputs included."""
    unknown: int
    """Whether they were billed nobody knows."""
    cost_usd: Decimal
    failed_usd: Decimal
    """The part of the cost that brought nothing: of purchases that did not succeed."""
    unknown_usd: Decimal
    """What is reserved for those of unknown outcome; no part of the cost."""
    quote_usd: Decimal
    """The worst case, as quoted, of each purchase that cost something or succeeded, once."""


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long purchases of one model took, in seconds, by the nearest rank."""

    model: str
    succeeded: bool
    """False: those that failed, until that was known."""
    timed: int
    p50_s: float
    p95_s: float


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What one model's purchases served besides the first step that each was bought for."""

    model: str
    step: str
    reused: int
    """Finished steps, of other prompts or of other versions of a prompt, that took a purchase that was there."""
    saved_usd: Decimal
    """What they would have cost: each as much as the purchase, at most its worst case."""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """Steps that a stand-in made."""

    model: str
    step: str
    degraded: int


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What was decided of purchases that no program may decide on."""

    what: str
    by: str
    """``person``, or ``policy`` where a person had set one."""
    decisions: int
    counted_usd: Decimal
    """What the decisions count as spent; a part of what their purchases cost."""


@dataclass(frozen=True, kw_only=True)
class PromptCount:
    """How many prompts stand so."""

    state: str
    """pending, deferred (pending, because a cap would be passed), running, done, degraded or failed."""
    prompts: int


_LAST = sa.and_(attempt.c.request_key == purchase.c.request_key, attempt.c.n == purchase.c.attempts)
_AT = sa.func.coalesce(attempt.c.intent_at, purchase.c.created_at)
_COST = sa.func.coalesce(purchase.c.cost_micro_usd, 0)
_HAS_FAILED = purchase.c.state.in_(_FAILED)


class Figures:
    """Adds up the ledger's tables between two UTC days, both included."""

    def __init__(self, database: Database, since: date, until: date) -> None:
        self._database = database
        # "T24" sorts behind every time of its day, and there is no day after 9999-12-31.
        self._first, self._end = since.isoformat(), f"{until.isoformat()}T24"

    def spend(self) -> list[Spend]:
        """Return what was bought, by day, provider, model and step."""
        held = _by_purchase(reservation.c.request_key, sa.func.max(reservation.c.amount_micro_usd))
        told = (
            sa.select(
                *(purchase.c.provider, purchase.c.model, purchase.c.step, purchase.c.state, purchase.c.attempts),
                sa.func.substr(_AT, 1, len(self._first)).label("day"),
                _COST.label("cost"),
                purchase.c.estimate_micro_usd.label("estimate"),
                sa.func.coalesce(held.c.amount, 0).label("held"),
            )
            .outerjoin(attempt, _LAST)
            .outerjoin(held, held.c.request_key == purchase.c.request_key)
            .where(self._within(_AT))
            .subquery()
        )
        by = (told.c.day, told.c.provider, told.c.model, told.c.step)
        succeeded, unknown = (told.c.state == state for state in (PurchaseState.SUCCEEDED, PurchaseState.UNKNOWN))
        sums = (
            sa.func.count().label("purchases"),
            sa.func.sum(told.c.attempts).label("attempts"),
            _sum_where(succeeded, 1, "succeeded"),
            _sum_where(told.c.state.in_(_FAILED), 1, "failed"),
            _sum_where(unknown, 1, "unknown"),
            sa.func.sum(told.c.cost).label("cost"),
            _sum_where(~succeeded, told.c.cost, "failed_cost"),
            _sum_where(unknown, told.c.held, "held"),
            _sum_where(succeeded | (told.c.cost > 0), told.c.estimate, "quote"),
        )
        return [
            Spend(
                day=date.fromisoformat(row.day),
                provider=row.provider,
                model=row.model,
                step=row.step,
                purchases=row.purchases,
                attempts=int(row.attempts),
                succeeded=int(row.succeeded),
                failed=int(row.failed),
                unknown=int(row.unknown),
                cost_usd=_usd(row.cost),
                failed_usd=_usd(row.failed_cost),
                unknown_usd=_usd(row.held),
                quote_usd=_usd(row.quote),
            )
            for row in self._rows(sa.select(*by, *sums).group_by(*by).order_by(*by))
        ]

    def durations(self) -> list[Duration]:
        """Return how long purchases that succeeded, and those that failed, took by model.

        A failure that the reply to the submission told lasted until that reply; one that came later, as long as was
        written down. A paid file that could not be read, and a lost output, have no time. Of what another process went
        on with, the time of that process alone was written down.
        """
        until_reply = seconds_between(attempt.c.intent_at, attempt.c.replied_at, is_sqlite=self._database.is_sqlite)
        at_once = _HAS_FAILED & attempt.c.outcome.in_(_ENDED_AT_SUBMISSION)
        took = sa.case((at_once, until_reply), else_=purchase.c.duration_s).label("took")
        timed = (
            sa.select(purchase.c.model, (~_HAS_FAILED).label("succeeded"), took)
            .outerjoin(attempt, _LAST)
            .where(self._within(_AT), purchase.c.state.in_({*_FAILED, PurchaseState.SUCCEEDED}))
            .subquery()
        )
        of_each = (timed.c.model, timed.c.succeeded)
        ranked = (
            sa.select(
                *(timed.c.model, timed.c.succeeded, timed.c.took),
                sa.func.row_number().over(partition_by=of_each, order_by=timed.c.took).label("rank"),
                sa.func.count().over(partition_by=of_each).label("timed"),
            )
            .where(timed.c.took.is_not(None))
            .subquery()
        )
        by = (ranked.c.model, ranked.c.succeeded, ranked.c.timed)
        rows = sa.select(*by, _percentile(ranked, 50).label("p50_s"), _percentile(ranked, 95).label("p95_s"))
        return [
            Duration(model=row.model, succeeded=bool(row.succeeded), timed=row.timed, p50_s=row.p50_s, p95_s=row.p95_s)
            for row in self._rows(rows.group_by(*by).order_by(*by))
        ]

    def savings(self) -> list[Saving]:
        """Return what steps that took a purchase which was there would have cost again, by model.

        Proved by the step table alone: every finished step after the first of the same request key. It is the least
        there was, for a rerun of an unchanged prompt writes nothing down, and a step that is made by something else
        later takes the place of what it was made by before.
        """
        order = (step.c.created_at, step.c.prompt_key, step.c.digest)
        counted = _by_purchase(decision.c.request_key, sa.func.sum(decision.c.cost_micro_usd))
        once = _COST - sa.func.coalesce(counted.c.amount, 0)
        uses = (
            sa.select(
                *(purchase.c.model, purchase.c.step, step.c.created_at),
                sa.case((once > purchase.c.estimate_micro_usd, purchase.c.estimate_micro_usd), else_=once).label(
                    "once"
                ),
                sa.func.row_number().over(partition_by=step.c.request_key, order_by=order).label("n"),
            )
            .join(purchase, purchase.c.request_key == step.c.request_key)
            .outerjoin(counted, counted.c.request_key == purchase.c.request_key)
            .where(once > 0)
            .subquery()
        )
        by = (uses.c.model, uses.c.step)
        sums = (sa.func.count().label("reused"), sa.func.sum(uses.c.once).label("saved"))
        rows = sa.select(*by, *sums).where(uses.c.n > 1, self._within(uses.c.created_at)).group_by(*by).order_by(*by)
        return [
            Saving(model=row.model, step=row.step, reused=row.reused, saved_usd=_usd(row.saved))
            for row in self._rows(rows)
        ]

    def stand_ins(self) -> list[StandIn]:
        """Return how many steps were finished by a stand-in, by model."""
        by = (step.c.model, step.c.step)
        rows = sa.select(*by, sa.func.count().label("degraded")).where(step.c.degraded, self._within(step.c.created_at))
        return [
            StandIn(model=row.model, step=row.step, degraded=row.degraded)
            for row in self._rows(rows.group_by(*by).order_by(*by))
        ]

    def decisions(self) -> list[Decided]:
        """Return what was decided, and what that counts as spent."""
        told = sa.select(
            decision.c.what,
            sa.case((decision.c.who == POLICY, "policy"), else_="person").label("by"),
            decision.c.cost_micro_usd.label("cost"),
        ).where(self._within(decision.c.at))
        told_rows = told.subquery()
        by = (told_rows.c.what, told_rows.c.by)
        sums = (sa.func.count().label("decisions"), sa.func.sum(told_rows.c.cost).label("counted"))
        return [
            Decided(what=row.what, by=row.by, decisions=row.decisions, counted_usd=_usd(row.counted))
            for row in self._rows(sa.select(*by, *sums).group_by(*by).order_by(*by))
        ]

    def prompts(self) -> list[PromptCount]:
        """Return how many prompts stand how, now and whenever they were pinned."""
        is_deferred = (prompt.c.status == "pending") & prompt.c.error.is_not(None)
        told = sa.select(sa.case((is_deferred, "deferred"), else_=prompt.c.status).label("state")).subquery()
        counts = sa.select(told.c.state, sa.func.count().label("prompts")).group_by(told.c.state).order_by(told.c.state)
        return [PromptCount(state=row.state, prompts=row.prompts) for row in self._rows(counts)]

    def _within(self, at: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        return (at >= self._first) & (at < self._end)

    def _rows(self, query: sa.Select[Any]) -> list[sa.Row[Any]]:
        with self._database.read() as connection:
            return list(connection.execute(query).all())


def _by_purchase(key: sa.Column[Any], amount: sa.ColumnElement[Any]) -> sa.Subquery:
    """Return one amount for each purchase that a table beside it names."""
    return sa.select(key, amount.label("amount")).where(key.is_not(None)).group_by(key).subquery()


def _sum_where(which: sa.ColumnElement[bool], amount: Any, name: str) -> sa.Label[Any]:
    return sa.func.sum(sa.case((which, amount), else_=0)).label(name)


def _percentile(ranked: sa.Subquery, percent: int) -> sa.ColumnElement[Any]:
    """Return the least of the ranked values that so many percent of them do not pass."""
    reaches = (ranked.c.rank * 100 >= ranked.c.timed * percent) & ((ranked.c.rank - 1) * 100 < ranked.c.timed * percent)
    return sa.func.max(sa.case((reaches, ranked.c.took)))


def _usd(micro_usd: Any) -> Decimal:
    return from_micro_usd(int(micro_usd or 0))
