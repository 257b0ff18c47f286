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
from collections.abc import Callable, Sequence
from typing import Any, overload

import sqlalchemy as sa

from media_assets.artifact import Artifact
from media_assets.crash_points import crash_point
from media_assets.errors import (
    Billed,
    MediaAssetsError,
    PurchaseError,
    PurchaseLostError,
    RateLimitedError,
    StoppedError,
)
from media_assets.ledger import budgets
from media_assets.ledger.admission import Limits, Wait, admit, block
from media_assets.ledger.claiming import CHANGE, NO_PREDICTION, Claiming
from media_assets.ledger.claims import Claim, PredictionTakenError, Settlement, ended_by, going_on, known_of
from media_assets.ledger.clock import mark
from media_assets.ledger.database_time import written_now
from media_assets.ledger.rows import (
    PurchaseState,
    add_artifact,
    close_attempt,
    close_interest,
    cost_so_far,
    error_json,
    failed_before,
    has_failed,
    has_output,
    id_in,
    is_taken,
    reserved_rows,
    set_output,
)
from media_assets.ledger.schema import attempt, purchase
from media_assets.ledger.takeover import LONGEST_POST_S, attempt_closed, intent_stands
from media_assets.prediction import Prediction

_PROVIDER = sa.select(purchase.c.provider).where(purchase.c.request_key == sa.bindparam("key"))
_BEGIN = CHANGE.values(attempts=purchase.c.attempts + 1).returning(purchase.c.attempts)
_PUT_BACK = CHANGE.returning(purchase.c.provider)
_INSERT_ATTEMPT = sa.insert(attempt)


class Purchases(Claiming):
    """The purchase table and what hangs on it."""

    @overload
    def write_intent(self, claim: Claim, *, within_s: float = ...) -> str: ...

    @overload
    def write_intent(self, claim: Claim, limits: Limits, *, within_s: float = ...) -> str | Wait: ...

    def write_intent(self, claim: Claim, limits: Limits = Limits(), *, within_s: float = LONGEST_POST_S) -> str | Wait:  # noqa: B008 - frozen
        """Record, durably, that the call that spends is about to be sent, and within how many seconds.

        Returns:
            The attempt's token; or how long to wait, with nothing recorded, when the provider has no place.
        """
        token = secrets.token_hex(16)
        self._owner.renew()
        with self._database.write(intent_stands(token), point="intent") as connection:
            if limits != Limits():
                provider = connection.execute(_PROVIDER, {"key": claim.request_key}).scalar_one()
                if wait := admit(connection, self._owner, provider, claim.request_key, limits):
                    return wait
            n = self._change(connection, claim, {"state": PurchaseState.SUBMITTING}, _BEGIN)
            begun = {"request_key": claim.request_key, "n": n, "token": token, "owner": self._owner.id}
            begun |= {"post_deadline_s": within_s, "clock_mark": mark()}
            connection.execute(_INSERT_ATTEMPT.values(intent_at=written_now(connection)), begun)
        return token

    def write_put_back(self, claim: Claim, token: str, error: PurchaseError, *, block_s: float) -> None:
        """Record that a submission was provably not accepted, and may be sent again.

        Args:
            claim: Whose.
            token: The attempt's.
            error: What happened: refused for now, or never connected.
            block_s: How long no process of this ledger is to submit to the provider; 0 leaves it open.
        """
        outcome = "refused" if isinstance(error, RateLimitedError) else "unsent"
        with self._database.write(attempt_closed(token)) as connection:
            provider = self._change(connection, claim, {"state": PurchaseState.RESERVED, **NO_PREDICTION}, _PUT_BACK)
            close_attempt(connection, token, outcome, http_status=error.http_status)
            if block_s > 0:
                block(connection, provider, block_s)

    def write_submitted(
        self, claim: Claim, token: str, prediction: Prediction, settlement: Settlement | None = None
    ) -> None:
        """Record the prediction's id; with a settlement also that it is done, in one transaction.

        Raises:
            PredictionTakenError: The provider gave this id before, to another purchase.
        """
        with self._database.write(attempt_closed(token), point="id_save") as connection:
            if is_taken(connection, claim.request_key, prediction.id):
                message = f"prediction {prediction.id} is recorded for another purchase."
                raise PredictionTakenError(message)
            values = {"state": PurchaseState.SUBMITTED, **known_of(prediction)}
            self._change(connection, claim, values | self._settled(connection, claim, settlement))
            close_attempt(connection, token, "accepted", prediction_id=prediction.id)

    def write_done(self, claim: Claim, prediction: Prediction, settlement: Settlement) -> None:
        """Record that the provider has finished, and settle what it cost."""
        with self._database.write(point="done") as connection:
            values = known_of(prediction) | self._settled(connection, claim, settlement)
            self._change(connection, claim, values)

    def _settled(self, connection: sa.Connection, claim: Claim, settlement: Settlement | None) -> dict[str, Any]:
        if settlement is None:
            return {}
        crash_point("settle.before")
        budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=settlement.cost_micro_usd)
        crash_point("settle.after")
        return {
            "state": PurchaseState.DONE,
            "cost_micro_usd": sa.func.coalesce(purchase.c.cost_micro_usd, 0) + settlement.cost_micro_usd,
            **settlement.as_columns(),
        }

    def write_remote(self, claim: Claim, prediction: Prediction) -> None:
        """Record how the provider says a prediction stands, for people who ask from elsewhere."""
        with self._database.write() as connection:
            self._change(connection, claim, known_of(prediction))

    def write_progress(self, claim: Claim, fraction: float) -> None:
        """Record how far the work is, for people who ask from elsewhere."""
        with self._database.write() as connection:
            self._change(connection, claim, going_on(fraction))

    def write_stored(
        self,
        claim: Claim,
        made: Artifact,
        *,
        notes: Sequence[str] = (),
        duration_s: float,
        failed: MediaAssetsError | None,
        is_there: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Record the artifact, and whether it was judged good enough (a bad paid file is kept).

        Returns:
            False, with nothing recorded, where ``is_there`` says that garbage collection has taken the file since it
            was stored. It takes files only while nobody writes, so that what is recorded here is there.
        """
        with self._database.write(point="art") as connection:
            if not is_there():
                return False
            add_artifact(connection, made)
            if failed is None or not has_output(connection, claim.request_key):
                set_output(connection, claim.request_key, made)
            state = PurchaseState.SUCCEEDED
            if failed is not None:
                paid = cost_so_far(connection, claim.request_key) > 0
                state = PurchaseState.FAILED_PAID if paid else PurchaseState.FAILED_FREE
            values = {
                "state": state,
                "duration_s": duration_s,
                "progress": 1.0,
                "notes": json.dumps(list(notes), ensure_ascii=False),
                "error": error_json(failed) if failed else None,
            }
            self._change(connection, claim, values)
            close_interest(connection, claim.request_key)
        return True

    def write_failed(
        self,
        claim: Claim,
        token: str | None,
        error: MediaAssetsError,
        *,
        outcome: str,
        settlement: Settlement | None = None,
        duration_s: float | None = None,
    ) -> None:
        """Record a failure before any output was had, and settle what it cost.

        Args:
            claim: Whose.
            token: The attempt's; None when none was begun.
            error: What happened; its ``billed`` decides whether the purchase failed free or paid.
            outcome: The attempt's outcome; ``interrupted`` leaves the purchase to be claimed again.
            settlement: What is billed all the same.
            duration_s: How long it took to fail.
        """
        state = PurchaseState.FAILED_PAID if error.billed is Billed.YES else PurchaseState.FAILED_FREE
        values: dict[str, Any] = {"error": error_json(error)}
        if outcome == "interrupted":
            # A retry that was not sent leaves what a person would have to decide as it was.
            as_it_was = claim.found if claim.found is not None and has_failed(claim.found) else None
            state, values = as_it_was or PurchaseState.CANCELED, {} if as_it_was else values
        paid = settlement or Settlement()
        values |= paid.as_columns() | ({} if duration_s is None else {"duration_s": duration_s})
        with self._database.write() as connection:
            cost = sa.func.coalesce(purchase.c.cost_micro_usd, 0) + paid.cost_micro_usd
            self._change(connection, claim, {"state": state, "cost_micro_usd": cost, **values})
            close_attempt(connection, token, outcome, http_status=getattr(error, "http_status", None))
            budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=paid.cost_micro_usd)
            close_interest(connection, claim.request_key)

    def write_trouble(self, claim: Claim, error: MediaAssetsError) -> None:
        """Record why an open purchase does not get on; a rerun goes on with it."""
        with self._database.write() as connection:
            self._change(connection, claim, {"error": error_json(error), **ended_by(error)})

    def write_lost(
        self, claim: Claim, error: PurchaseError, settlement: Settlement | None = None, *, token: str | None = None
    ) -> None:
        """Record that a finished, paid output cannot be had (any more); settle it if that was not done."""
        lost = {"state": PurchaseState.LOST_OUTPUT, "error": error_json(error)}
        with self._database.write() as connection:
            lost |= id_in(connection, claim.request_key, error)
            self._change(connection, claim, self._settled(connection, claim, settlement) | lost)
            named, status = error.prediction_id, error.http_status
            close_attempt(connection, token, "accepted", prediction_id=named, http_status=status)
            close_interest(connection, claim.request_key)

    def write_unknown(self, claim: Claim, error: MediaAssetsError, *, token: str | None = None) -> None:
        """Record that the submission's outcome cannot be known; its reservation stays."""
        values = {"state": PurchaseState.UNKNOWN, "error": error_json(error)}
        named, status = getattr(error, "prediction_id", None), getattr(error, "http_status", None)
        with self._database.write() as connection:
            self._change(connection, claim, values | id_in(connection, claim.request_key, error))
            close_attempt(connection, token, "ambiguous", prediction_id=named, http_status=status)

    def release_dead(self) -> int:
        """Give back what dead processes had claimed and never sent; return how many purchases that were."""
        with self._database.read() as connection:
            rows = reserved_rows(connection)
        dead = [row for row in rows if row.owner != self._owner.id and not self._owner.is_alive(row.owner)]
        for row in dead:
            stopped = StoppedError("the process that had claimed it died before anything was sent.")
            with contextlib.suppress(PurchaseLostError):
                claim = Claim(request_key=row.request_key, fence=row.fence, found=failed_before(row))
                self.write_failed(claim, None, stopped, outcome="interrupted")
        return len(dead)

    def restore(self, claim: Claim) -> None:
        """Undo a claim for a remake: the lost file turned out to be there."""
        with self._database.write() as connection:
            self._change(connection, claim, {"state": PurchaseState.SUCCEEDED, "progress": 1.0})
            budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=0)
            close_interest(connection, claim.request_key)
