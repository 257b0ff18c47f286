"""Who may work on a purchase: claiming it, handing it over, giving back what the dead had claimed.

A claim raises the row's fence; a writer whose fence is stale changes nothing and is told so.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import (
    PurchaseLostError,
)
from media_assets.ledger import budgets
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.clock import utc_now
from media_assets.ledger.database import Database
from media_assets.ledger.lookups import Lookups
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import (
    NOBODY,
    UNFINISHED,
    PurchaseRow,
    PurchaseState,
    add_interest,
    close_interest,
    find_row,
    has_failed,
    insert_purchase,
    interested_owners,
    may_be_taken,
    raise_fence,
)
from media_assets.ledger.schema import purchase
from media_assets.ledger.takeover import Taken, busy_with
from media_assets.request import GenerationRequest

CHANGE = sa.update(purchase).where(
    purchase.c.request_key == sa.bindparam("claimed_key"), purchase.c.fence == sa.bindparam("claimed_fence")
)
"""Changes a purchase under a claim; what it sets is given when it is run."""
_CHANGE = CHANGE.returning(purchase.c.fence)
NO_PREDICTION = {"prediction_id": None, "urls": None, "remote_state": None}
"""What is known of a prediction before a submission: nothing, whatever one before it has left."""


class Claiming(Lookups):
    """The part of the purchase table's writes that is about whose a purchase is."""

    def __init__(self, database: Database, owner: Owner) -> None:
        super().__init__(database)
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
        clears_up: Callable[[PurchaseRow], bool] = lambda _row: False,
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
            clears_up: Whether something can be done to learn what came of a purchase of unknown outcome.

        Returns:
            A ``Claim`` when it is ours to work on, ``Busy`` when a living owner has it, else the finished row.

        Raises:
            NotReservedError: The plan has reserved less than the worst case.
        """
        self._owner.renew()
        taken = Taken(self._owner, request.key)
        with taken.or_left(), self._database.write(taken.stands, point="claim") as connection:
            row = find_row(connection, request.key)
            unclear = row is not None and row.state is PurchaseState.UNKNOWN and clears_up(row)
            if row is not None and (unclear or row.state.is_open):
                if busy := busy_with(connection, self._owner, row):
                    add_interest(connection, request, plan_id)  # whoever has it must not call it back
                    return busy
            elif row is not None and not may_be_taken(row, retry_failed=retry_failed, remake=remake):
                return row
            if not taken.enter():
                return Busy()
            return taken.note(
                self._take(
                    connection,
                    request,
                    row,
                    recovery=recovery,
                    prompt_key=prompt_key,
                    plan_id=plan_id,
                    estimate_micro_usd=estimate_micro_usd,
                )
            )

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
    ) -> Claim:
        now = utc_now()
        keep = row is not None and row.state in UNFINISHED and recovery is not Recovery.FREE
        values: dict[str, Any] = {"owner": self._owner.id, "updated_at": now, "cancel_requested_at": None}
        if not keep:
            values |= {"state": PurchaseState.RESERVED, "progress": None}
            values |= NO_PREDICTION
            if row is not None and not has_failed(row.state):
                values["error"] = None
        if row is None:
            first = {"prompt_key": prompt_key, "recovery": recovery, "estimate_micro_usd": estimate_micro_usd}
            fence = insert_purchase(connection, request, {**values, **first, "created_at": now})
        else:
            fence = raise_fence(connection, row, values)
        add_interest(connection, request, plan_id)
        found = row.state if keep and row is not None else None
        budgets.take_over(connection, plan_id, request, worst_micro_usd=estimate_micro_usd, found=found)
        return Claim(
            request_key=request.key,
            fence=fence,
            found=row.state if row else None,
            row=row if keep else None,
        )

    def hand_over(self, claim: Claim) -> None:
        """Give up a purchase that was not brought to its end: whoever asks next goes on with it, in any process.

        Without this, others would wait for it for as long as this process lives.
        """
        mine = (purchase.c.request_key == claim.request_key) & (purchase.c.fence == claim.fence)
        with self._database.write() as connection:
            unfinished = mine & purchase.c.state.in_(UNFINISHED)
            connection.execute(sa.update(purchase).where(unfinished).values(owner=NOBODY))

    def request_cancel(self, claim: Claim, *, plan_id: str) -> bool:
        """Record that a purchase is to be called back, before anybody asks its provider to.

        Args:
            claim: Whose.
            plan_id: The plan that has no use for it any more; empty: none ever had in this process.

        Returns:
            Whether it may be: False, with nothing recorded, where another plan of a living process waits for it.
        """
        with self._database.write() as connection:
            others = interested_owners(connection, claim.request_key, besides=plan_id)
            if any(self._owner.is_alive(owner) for owner in others):
                return False
            now = sa.case((purchase.c.state.in_(UNFINISHED), utc_now()), else_=purchase.c.cancel_requested_at)
            self._change(connection, claim, {"cancel_requested_at": now})
        return True

    def lose_interest(self, request_key: str, *, plan_id: str) -> None:
        """Record that a plan does not wait for a purchase any more."""
        with self._database.write() as connection:
            close_interest(connection, request_key, plan_id=plan_id)

    def leave(self, claim: Claim) -> None:
        """Let go of the claim in this process; the row says how far it came."""
        self._owner.leave(claim.request_key)

    def _change(
        self,
        connection: sa.Connection,
        claim: Claim,
        values: dict[str, Any],
        change: sa.Update = _CHANGE,
    ) -> Any:
        """Change a purchase, if the claim still holds; return what ``change`` returns."""
        computed = {name: value for name, value in values.items() if isinstance(value, sa.ColumnElement)}
        plain = {name: value for name, value in values.items() if name not in computed}
        result = connection.execute(
            change.values(computed) if computed else change,
            {"claimed_key": claim.request_key, "claimed_fence": claim.fence, "updated_at": utc_now(), **plain},
        ).scalar_one_or_none()
        if result is None:
            message = "another process took this purchase over; run again to use what it makes."
            raise PurchaseLostError(message, request_key=claim.request_key)
        return result
