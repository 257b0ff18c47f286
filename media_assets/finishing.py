"""Bringing what was submitted to its end: waited for, settled, fetched, looked at, kept. Called by ``purchase.py``.

Nothing here costs money: what does was sent before.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from media_assets.artifact import ArtifactStore, MediaInfo
from media_assets.catalog import Recovery
from media_assets.errors import (
    Billed,
    LedgerError,
    MediaAssetsError,
    OutputLostError,
    PredictionFailedError,
    ProbeError,
    PurchaseError,
    Rerun,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.rows import PurchaseState
from media_assets.orders import Order
from media_assets.prediction import Prediction
from media_assets.providers.transport import Transport
from media_assets.receiving import received
from media_assets.submission import is_done
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)

_PROGRESS_EVERY_S = 2.0
"""How often the fraction done is written to the ledger: often enough for people, rarely enough for the disk."""


@dataclass(kw_only=True)
class Work:
    """One piece of work on a claim."""

    token: str
    scratch: Path
    started: float = field(default_factory=time.monotonic)
    notes: tuple[str, ...] = ()
    """What was done to the inputs."""
    spent_micro_usd: int = 0
    is_recorded: bool = False
    """Whether the file is in the ledger, good or not."""

    def settle(self, order: Order, settlement: Settlement) -> None:
        """Take note of what was spent, and alarm where it is more than was reserved."""
        self.spent_micro_usd = settlement.cost_micro_usd
        for note in order.overrun(settlement):
            self.notes = (*self.notes, note)
            _log.warning("purchase %s of %s was %s", order.request.key[:12], order.spec.id, note)


class Finishing:
    """Works on claims, with one ledger, one store and one transport."""

    def __init__(self, ledger: Ledger, store: ArtifactStore, transport: Transport) -> None:
        self._ledger = ledger
        self._store = store
        self._transport = transport

    async def from_spool(self, claim: Claim, order: Order, known: Prediction, work: Work) -> Prediction:
        """Return what came with the reply to the submission and was not brought to its end."""
        attempt = await in_thread(self._ledger.purchases.last_attempt, claim.request_key)
        read = None
        if attempt is not None:
            read = await in_thread(self._transport.read_spooled, order.request, attempt.token)
        if read is None:
            await self._refuse_unanswerable(claim, known)
        settlement = order.settlement(read, last_word=True)
        if claim.found is not PurchaseState.DONE:
            work.settle(order, settlement)
            if not is_done(read):
                await self.record_end(claim, order, read, settlement, work)
            await in_thread(self._ledger.purchases.write_done, claim, known, settlement)
        return replace(read, id=known.id)

    async def _refuse_unanswerable(self, claim: Claim, known: Prediction) -> NoReturn:
        """Record that nothing can be had of a prediction any more: its one reply was not brought to its end."""
        purchases = self._ledger.purchases
        if claim.found is PurchaseState.DONE:
            message = "the provider answered once, and the work ended before the file was stored: it is paid and lost."
            lost = OutputLostError(message, prediction_id=known.id)
            await in_thread(purchases.write_lost, claim, lost)
            raise lost
        message = "the provider answered once, and the work ended before that was recorded: it may be billed."
        unknown = UnknownOutcomeError(message, prediction_id=known.id)
        await in_thread(purchases.write_unknown, claim, unknown)
        raise unknown

    async def follow(self, claim: Claim, order: Order, known: Prediction, work: Work, *, settled: bool) -> Prediction:
        """Wait for a prediction to succeed, and settle what it cost; ``order.recall`` is heeded.

        Canceling leaves it running: a rerun goes on.
        """

        async def changed(prediction: Prediction) -> None:
            if not is_done(prediction):  # else it is written with what it cost, right after this
                await in_thread(self._ledger.purchases.write_remote, claim, prediction)

        async def before_cancel() -> bool:
            return await in_thread(self._ledger.purchases.request_cancel, claim, plan_id=order.plan_id)

        try:
            prediction = await self._transport.follow(
                known,
                order.spec,
                tell=self.teller(claim, order),
                on_change=changed,
                recall=order.recall,
                before_cancel=before_cancel,
            )
        except UnknownOutcomeError as error:
            if settled:
                message = (
                    f"{order.request.provider} no longer knows prediction {known.id}: its output is paid and lost."
                )
                lost = OutputLostError(message, prediction_id=known.id)
                await in_thread(self._ledger.purchases.write_lost, claim, lost)
                raise lost from error
            await in_thread(self._ledger.purchases.write_unknown, claim, error)
            raise
        except PurchaseError as error:
            await in_thread(self._ledger.purchases.write_trouble, claim, error)
            raise
        settlement = None if settled else order.settlement(prediction)
        if settlement is not None:
            work.settle(order, settlement)
        if not is_done(prediction):
            await self.record_end(claim, order, prediction, settlement, work)
        if settlement is not None:
            await in_thread(self._ledger.purchases.write_done, claim, prediction, settlement)
        return prediction

    async def record_end(
        self, claim: Claim, order: Order, prediction: Prediction, settlement: Settlement | None, work: Work
    ) -> NoReturn:
        """Record that a prediction ended without an output, and raise why."""
        message = (
            f"prediction {prediction.id} ended as {prediction.remote_state or prediction.state} without an output."
        )
        error = prediction.failure or PredictionFailedError(message)
        error.prediction_id = prediction.id
        purchases = self._ledger.purchases
        if isinstance(error, OutputLostError):
            await in_thread(purchases.write_lost, claim, error, settlement)
            raise error
        # Settled before means that it had succeeded.
        is_paid = settlement is None or settlement.cost_micro_usd > 0
        error.billed = Billed.YES if is_paid else Billed.NO
        ended: dict[str, Any] = {"settlement": settlement, "duration_s": time.monotonic() - work.started}
        if not is_paid and _was_called_back(claim, order, error):
            stopped = _called_back(order, prediction)
            await in_thread(partial(purchases.write_failed, claim, None, stopped, outcome="interrupted", **ended))
            raise stopped from error
        await in_thread(partial(purchases.write_failed, claim, None, error, outcome="failed", **ended))
        raise error

    async def store_output(self, claim: Claim, order: Order, prediction: Prediction, work: Work) -> None:
        """Download what was made, look at it, keep it."""
        purchases = self._ledger.purchases
        try:
            path, info, failed = await received(self._transport, order, prediction, work.scratch)
        except OutputLostError as error:
            error.prediction_id = prediction.id
            await in_thread(purchases.write_lost, claim, error)
            raise
        except PurchaseError as error:
            error.prediction_id = prediction.id
            await in_thread(purchases.write_trouble, claim, error)
            raise
        except ProbeError as error:
            if error.billed is Billed.YES:
                await in_thread(purchases.write_failed, claim, None, error, outcome="failed")
            raise
        if failed is not None and order.spec.recovery is not Recovery.FREE:
            failed.billed = Billed.YES
        notes = (*work.notes, *prediction.notes)
        await in_thread(self._keep, claim, path, info, work, notes=notes, failed=failed)
        if failed is not None:
            raise failed

    def _keep(
        self,
        claim: Claim,
        path: Path,
        info: MediaInfo,
        work: Work,
        *,
        notes: tuple[str, ...],
        failed: MediaAssetsError | None,
    ) -> None:
        """Store a file and record it; once more if it was collected as garbage in between."""
        while not work.is_recorded:
            made = self._store.put(
                path, info, owner=self._ledger.owner.id, token=work.token, wanted_by=claim.request_key
            )
            work.is_recorded = self._ledger.purchases.write_stored(
                claim,
                made,
                notes=notes,
                duration_s=time.monotonic() - work.started,
                failed=failed,
                is_there=partial(self._store.has, made),
            )
        self._store.recorded(made)

    def teller(self, claim: Claim, order: Order) -> Callable[[float], None]:
        written = time.monotonic()

        def tell(fraction: float) -> None:
            nonlocal written
            order.tell(fraction)
            if time.monotonic() - written >= _PROGRESS_EVERY_S:
                written = time.monotonic()
                with contextlib.suppress(LedgerError):  # a note for people must not end the work
                    self._ledger.purchases.write_progress(claim, fraction)

        return tell

    def drop_reply(self, claim: Claim) -> None:
        """Remove the raw reply that a process which died has left."""
        attempt = self._ledger.purchases.last_attempt(claim.request_key)
        if attempt is not None and self._transport.spool is not None:
            self._transport.spool.drop(attempt.token)


def _was_called_back(claim: Claim, order: Order, error: PurchaseError) -> bool:
    """Whether a prediction ended because it was canceled, by this run or by an earlier one.

    Not every provider has a word of its own for that. A refusal of the content, say, is no cancel, whatever was sent.
    """
    earlier = claim.row is not None and claim.row.cancel_requested_at is not None
    return isinstance(error, PredictionFailedError) and (order.recall.is_heeded or earlier)


def _called_back(order: Order, prediction: Prediction) -> StoppedError:
    why = order.recall.why or "the run that wanted it was stopped"
    message = (
        f"called back, free, because {why}: prediction {prediction.id} at {order.request.provider} was not billed. "
        "Run again to submit it again."
    )
    return StoppedError(message, rerun=Rerun.RESUBMIT)
