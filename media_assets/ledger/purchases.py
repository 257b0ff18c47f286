"""The purchase protocol's writes: each method is one transaction, fenced, and durable before the next effect.

States::

    RESERVED ─► SUBMITTING ─► SUBMITTED ─► DONE ─► SUCCEEDED
        ▲            │             │         │
        └── free: ───┴─────────────┴─────────┘ done again when its owner died
    ended: FAILED_FREE FAILED_PAID CANCELED; undecided: UNKNOWN; gone: LOST_OUTPUT

Every change carries the fence of its claim; a writer whose fence is stale changes nothing and is told so. The order
of the calls is in ``media_assets/purchase.py``.
"""

import contextlib
import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from media_assets.artifact import Artifact
from media_assets.catalog import Recovery
from media_assets.errors import Billed, MediaAssetsError, PurchaseLostError, Rerun, StoppedError
from media_assets.ledger import budgets
from media_assets.ledger.database import Database, utc_now
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import (
    WITH_OUTPUT,
    PurchaseRow,
    PurchaseState,
    add_artifact,
    as_row,
    find_row,
    has_output,
    insert_purchase,
    raise_fence,
)
from media_assets.ledger.schema import attempt, interest, output, purchase, step
from media_assets.prediction import Prediction
from media_assets.request import GenerationRequest


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The right to work on a purchase, until somebody claims it after us."""

    request_key: str
    fence: int
    found: PurchaseState | None
    """The state the purchase was in; None for a new one."""
    prediction_id: str | None = None


@dataclass(frozen=True)
class Busy:
    """Somebody alive is at work on it."""


class Purchases:
    """The purchase table and what hangs on it."""

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner

    def claim(
        self,
        request: GenerationRequest,
        *,
        recovery: Recovery,
        prompt_key: str,
        plan_id: str,
        estimate_micro_usd: int,
        retry_failed: bool = False,
        remake: bool = False,
    ) -> Claim | Busy | PurchaseRow:
        """Find the purchase, or take it for this process.

        Args:
            request: What is wanted.
            recovery: What may be done about an interrupted submission.
            prompt_key: Who asks.
            plan_id: The plan whose reservation for the step is taken over.
            estimate_micro_usd: The worst case.
            retry_failed: Whether a purchase that failed for good may be tried again.
            remake: Whether a free purchase that succeeded is to be made again, because its file is lost.

        Returns:
            A ``Claim`` when it is ours to work on, ``Busy`` when a living owner has it, else the finished row.
        """
        with self._database.write() as connection:
            row = find_row(connection, request.key)
            if row is not None and not self._may_take(row, retry_failed=retry_failed, remake=remake):
                if row.state.is_open:
                    return Busy()
                return row
            if not self._owner.enter(request.key):
                return Busy()
            try:
                return self._take(
                    connection,
                    request,
                    row,
                    recovery=recovery,
                    prompt_key=prompt_key,
                    plan_id=plan_id,
                    estimate_micro_usd=estimate_micro_usd,
                )
            except BaseException:
                self._owner.leave(request.key)
                raise

    def _may_take(self, row: PurchaseRow, *, retry_failed: bool, remake: bool) -> bool:
        if row.state.is_open:
            if row.owner == self._owner.id:
                return not self._owner.holds(row.request_key)
            return not self._owner.is_alive(row.owner)
        free = row.recovery is Recovery.FREE
        if row.state is PurchaseState.SUCCEEDED:
            return remake and free
        if row.state is PurchaseState.CANCELED or free:
            return True
        if row.state is PurchaseState.FAILED_FREE:
            return retry_failed or (row.error or {}).get("rerun") in {Rerun.RESUBMIT, Rerun.RESUME}
        return row.state is PurchaseState.FAILED_PAID and retry_failed

    def _take(
        self,
        connection: sa.Connection,
        request: GenerationRequest,
        row: PurchaseRow | None,
        *,
        recovery: Recovery,
        prompt_key: str,
        plan_id: str,
        estimate_micro_usd: int,
    ) -> Claim | Busy:
        now = utc_now()
        keep = row is not None and row.state.is_open and recovery is not Recovery.FREE
        values: dict[str, Any] = {"owner": self._owner.id, "updated_at": now}
        if not keep:
            values |= {"state": PurchaseState.RESERVED, "progress": None, "prediction_id": None}
        if row is None:
            first = {"prompt_key": prompt_key, "recovery": recovery, "estimate_micro_usd": estimate_micro_usd}
            fence: int | None = insert_purchase(connection, request, {**values, **first, "created_at": now})
        else:
            fence = raise_fence(connection, row, values)
        if fence is None:
            # Taken since we looked.
            self._owner.leave(request.key)
            return Busy()
        self._add_interest(connection, request, plan_id, now)
        if keep and row is not None and row.state is PurchaseState.DONE:
            # Settled already: what this plan reserved for it is not needed.
            budgets.free_plan(connection, plan_id, request.step)
        else:
            budgets.take_over(connection, plan_id=plan_id, step=request.step, request_key=request.key)
        return Claim(
            request_key=request.key,
            fence=fence,
            found=row.state if row else None,
            prediction_id=row.prediction_id if row and keep else None,
        )

    def _add_interest(self, connection: sa.Connection, request: GenerationRequest, plan_id: str, now: str) -> None:
        mine = (interest.c.request_key == request.key) & (interest.c.plan_id == plan_id)
        if connection.execute(sa.select(interest.c.since).where(mine)).first() is None:
            connection.execute(
                sa.insert(interest).values(request_key=request.key, plan_id=plan_id, step=str(request.step), since=now)
            )

    def write_intent(self, claim: Claim) -> str:
        """Record, durably, that the call that spends is about to be sent; return the attempt's token."""
        token = secrets.token_hex(16)
        with self._database.write() as connection:
            n = self._change(
                connection,
                claim,
                {"state": PurchaseState.SUBMITTING, "attempts": purchase.c.attempts + 1},
                purchase.c.attempts,
            )
            connection.execute(
                sa.insert(attempt).values(
                    request_key=claim.request_key, n=n, token=token, owner=self._owner.id, intent_at=utc_now()
                )
            )
        return token

    def write_submitted(self, claim: Claim, token: str, prediction: Prediction, *, cost_micro_usd: int | None) -> None:
        """Record the prediction's id; with ``cost_micro_usd`` also that it is done, and settle, in one transaction."""
        done = cost_micro_usd is not None
        with self._database.write() as connection:
            self._change(
                connection,
                claim,
                {
                    "state": PurchaseState.DONE if done else PurchaseState.SUBMITTED,
                    "prediction_id": prediction.id,
                    "remote_state": str(prediction.state),
                    "cost_micro_usd": sa.func.coalesce(purchase.c.cost_micro_usd, 0) + cost_micro_usd if done else None,
                },
            )
            self._close_attempt(connection, token, "accepted", prediction.id)
            if done:
                budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=cost_micro_usd or 0)

    def write_progress(self, claim: Claim, fraction: float) -> None:
        """Record how far the work is, for people who ask from elsewhere."""
        with self._database.write() as connection:
            self._change(connection, claim, {"progress": round(fraction, 3)})

    def write_stored(
        self,
        claim: Claim,
        made: Artifact,
        *,
        notes: Sequence[str] = (),
        duration_s: float,
        failed: MediaAssetsError | None,
    ) -> None:
        """Record the artifact, and whether it was judged good enough (a bad paid file is kept)."""
        with self._database.write() as connection:
            add_artifact(connection, made)
            if failed is None or not has_output(connection, claim.request_key):
                self._set_output(connection, claim.request_key, made)
            state = PurchaseState.SUCCEEDED
            if failed is not None:
                paid = self._cost(connection, claim) > 0
                state = PurchaseState.FAILED_PAID if paid else PurchaseState.FAILED_FREE
            values = {
                "state": state,
                "duration_s": duration_s,
                "progress": 1.0,
                "notes": json.dumps(list(notes), ensure_ascii=False),
                "error": json.dumps(failed.as_dict(), ensure_ascii=False) if failed else None,
            }
            self._change(connection, claim, values)
            self._close_interest(connection, claim.request_key)

    def write_failed(
        self, claim: Claim, token: str | None, error: MediaAssetsError, *, outcome: str, cost_micro_usd: int = 0
    ) -> None:
        """Record a failure before any output was had, and settle what it cost.

        Args:
            claim: Whose.
            token: The attempt's; None when none was begun.
            error: What happened; its ``billed`` decides whether the purchase failed free or paid.
            outcome: The attempt's outcome; ``interrupted`` leaves the purchase to be claimed again.
            cost_micro_usd: What is billed all the same.
        """
        state = PurchaseState.FAILED_PAID if error.billed is Billed.YES else PurchaseState.FAILED_FREE
        values: dict[str, Any] = {"error": json.dumps(error.as_dict(), ensure_ascii=False)}
        if outcome == "interrupted":
            # A retry that was not sent leaves what a person would have to decide as it was.
            failed_before = claim.found in {PurchaseState.FAILED_PAID, PurchaseState.FAILED_FREE}
            state = claim.found if failed_before and claim.found is not None else PurchaseState.CANCELED
            values = {} if failed_before else values
        with self._database.write() as connection:
            cost = sa.func.coalesce(purchase.c.cost_micro_usd, 0) + cost_micro_usd
            self._change(connection, claim, {"state": state, "cost_micro_usd": cost, **values})
            self._close_attempt(connection, token, outcome, None)
            budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=cost_micro_usd)
            self._close_interest(connection, claim.request_key)

    def write_unknown(self, claim: Claim, error: MediaAssetsError, *, token: str | None = None) -> None:
        """Record that the submission's outcome cannot be known; its reservation stays."""
        with self._database.write() as connection:
            record = json.dumps(error.as_dict(), ensure_ascii=False)
            self._change(connection, claim, {"state": PurchaseState.UNKNOWN, "error": record})
            self._close_attempt(connection, token, "ambiguous", None)

    def release_dead(self) -> int:
        """Give back what dead processes had claimed and never sent; return how many purchases that were."""
        reserved = sa.select(purchase.c.request_key, purchase.c.fence, purchase.c.owner).where(
            purchase.c.state == PurchaseState.RESERVED
        )
        with self._database.read() as connection:
            rows = connection.execute(reserved).all()
        dead = [row for row in rows if row.owner != self._owner.id and not self._owner.is_alive(row.owner)]
        for row in dead:
            stopped = StoppedError("the process that had claimed it died before anything was sent.")
            with contextlib.suppress(PurchaseLostError):
                claim = Claim(request_key=row.request_key, fence=row.fence, found=PurchaseState.RESERVED)
                self.write_failed(claim, None, stopped, outcome="interrupted")
        return len(dead)

    def restore(self, claim: Claim) -> None:
        """Undo a claim for a remake: the lost file turned out to be there."""
        with self._database.write() as connection:
            self._change(connection, claim, {"state": PurchaseState.SUCCEEDED, "progress": 1.0})
            budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=0)
            self._close_interest(connection, claim.request_key)

    def leave(self, claim: Claim) -> None:
        """Let go of the claim in this process; the row says how far it came."""
        self._owner.leave(claim.request_key)

    def get(self, request_key: str) -> PurchaseRow | None:
        """Return one purchase by its whole request key."""
        with self._database.read() as connection:
            return find_row(connection, request_key)

    def get_many(self, request_keys: Collection[str]) -> dict[str, PurchaseRow]:
        """Return the purchases that there are under these keys."""
        with self._database.read() as connection:
            rows = connection.execute(WITH_OUTPUT.where(purchase.c.request_key.in_(request_keys)))
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

    def attempts(self, request_key: str) -> list[dict[str, Any]]:
        """Return every attempt of one purchase, without its token."""
        shown = (column for column in attempt.c if column.name != "token")
        with self._database.read() as connection:
            rows = connection.execute(sa.select(*shown).filter_by(request_key=request_key).order_by(attempt.c.n))
            return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it

    def _change(
        self,
        connection: sa.Connection,
        claim: Claim,
        values: dict[str, Any],
        returning: sa.ColumnElement[Any] = purchase.c.fence,
    ) -> Any:
        result = connection.execute(
            sa.update(purchase)
            .where(purchase.c.request_key == claim.request_key, purchase.c.fence == claim.fence)
            .values(updated_at=utc_now(), **values)
            .returning(returning)
        ).scalar_one_or_none()
        if result is None:
            message = "another process took this purchase over; run again to use what it makes."
            raise PurchaseLostError(message, request_key=claim.request_key)
        return result

    def _cost(self, connection: sa.Connection, claim: Claim) -> int:
        cost = sa.select(purchase.c.cost_micro_usd).where(purchase.c.request_key == claim.request_key)
        return connection.execute(cost).scalar_one() or 0

    def _close_attempt(
        self, connection: sa.Connection, token: str | None, outcome: str, prediction_id: str | None
    ) -> None:
        if token is not None:
            connection.execute(
                sa.update(attempt)
                .where(attempt.c.token == token)
                .values(replied_at=utc_now(), outcome=outcome, prediction_id=prediction_id)
            )

    def _close_interest(self, connection: sa.Connection, request_key: str) -> None:
        connection.execute(
            sa.update(interest)
            .where(interest.c.request_key == request_key, interest.c.until.is_(None))
            .values(until=utc_now())
        )

    def _set_output(self, connection: sa.Connection, request_key: str, made: Artifact) -> None:
        connection.execute(sa.delete(output).where(output.c.request_key == request_key))
        connection.execute(sa.insert(output).values(request_key=request_key, idx=0, sha256=made.sha256))
        # A free file that was made again may have other bytes; what was made from it stays valid under its key.
        connection.execute(sa.update(step).where(step.c.request_key == request_key).values(sha256=made.sha256))
