"""One purchase, from request to artifact. Read this file first.

    find in the ledger → reserve → write intent → submit once → write the id → download → verify → store → settle

Each arrow is durable before the next effect, so a process can die anywhere: the next run finds the purchase, and
either uses it, goes on with it, does it again (where it is free) or says that its outcome is unknown. Nothing else
in the package spends. The writes are in ``ledger/purchases.py``, the sending in ``providers/transport/``.
"""

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Self

from media_assets.artifact import Artifact, ArtifactStore, MediaInfo
from media_assets.catalog import ModelSpec, Recovery
from media_assets.crash_points import crash_point
from media_assets.errors import (
    Billed,
    JudgeError,
    LedgerError,
    MediaAssetsError,
    OutputLostError,
    PredictionFailedError,
    PurchaseError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger
from media_assets.ledger.purchases import Busy, Claim
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.media.probe import probe
from media_assets.prediction import Prediction
from media_assets.pricing import from_micro_usd, to_micro_usd
from media_assets.providers.transport import Transport
from media_assets.request import GenerationRequest
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.5
_PROGRESS_EVERY_S = 2.0
"""How often the fraction done is written to the ledger: often enough for people, rarely enough for the disk."""

_STOPPED = "stopped before it was done; run again to go on."

Judge = Callable[[Path, MediaInfo], None]
"""Raises JudgeError for a file that is not good enough to build on."""


def _tell_nobody(fraction: float) -> None:
    del fraction


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be bought, for whom, and on what terms."""

    request: GenerationRequest
    spec: ModelSpec
    prompt_key: str
    plan_id: str
    estimate_usd: Decimal
    inputs: Mapping[str, Path]
    """The files the request builds on, by role."""
    judge: Judge
    retry_failed: bool = False
    """Whether a purchase that failed for good is tried again, which may cost money again."""
    tell: Callable[[float], None] = field(default=_tell_nobody)
    """Called with the fraction done, from any thread."""


@dataclass(frozen=True, kw_only=True)
class Purchased:
    """What an order brought."""

    artifact: Artifact
    cost_usd: Decimal
    """What the purchase cost when it was bought."""
    spent_usd: Decimal
    """What this call spent."""
    estimate_usd: Decimal
    attempts: int
    cached: bool
    """Whether nothing was submitted by this call."""
    prediction_id: str | None
    notes: tuple[str, ...]

    @classmethod
    def from_row(cls, row: PurchaseRow, *, spent_micro_usd: int, cached: bool) -> Self:
        """Build from a finished purchase."""
        if row.artifact is None:
            message = f"purchase {row.request_key[:12]} succeeded without an artifact; run `media-assets doctor`."
            raise OutputLostError(message, request_key=row.request_key)
        return cls(
            artifact=row.artifact,
            cost_usd=from_micro_usd(row.cost_micro_usd or 0),
            spent_usd=from_micro_usd(spent_micro_usd),
            estimate_usd=from_micro_usd(row.estimate_micro_usd),
            attempts=row.attempts,
            cached=cached,
            prediction_id=row.prediction_id,
            notes=row.notes,
        )


class Purchasing:
    """Buys, with one ledger, one store and one transport."""

    def __init__(self, ledger: Ledger, store: ArtifactStore, transport: Transport) -> None:
        self._ledger = ledger
        self._store = store
        self._transport = transport

    async def buy(self, order: Order) -> Purchased:
        """Return the artifact of a request, bought at most once. **Costs money**, at most ``order.estimate_usd``.

        A purchase that another coroutine or process works on is waited for.

        Raises:
            PurchaseError: The purchase failed, or its outcome is unknown; ``rerun`` and ``billed`` say what that means.
            MediaError: What was made is not good enough, or a local model failed.
        """
        wait_s = _FIRST_WAIT_S
        remake = False
        while True:
            found = await self._claim(order, remake=remake)
            if isinstance(found, Claim):
                return await self._work(found, order)
            if isinstance(found, Busy):
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)
                continue
            if found.state is not PurchaseState.SUCCEEDED:
                raise _stored_failure(found)
            if found.artifact is not None and self._store.has(found.artifact):
                return Purchased.from_row(found, spent_micro_usd=0, cached=True)
            if found.recovery is not Recovery.FREE:
                message = "the paid file is gone from the store; buying it again is for you to decide (a new take)."
                raise OutputLostError(message, request_key=found.request_key, model=found.model, step=found.step)
            remake = True

    async def _claim(self, order: Order, *, remake: bool) -> Claim | Busy | PurchaseRow:
        claimed: list[Claim | Busy | PurchaseRow] = []

        def claim() -> Claim | Busy | PurchaseRow:
            claimed.append(
                self._ledger.purchases.claim(
                    order.request,
                    recovery=order.spec.recovery,
                    prompt_key=order.prompt_key,
                    plan_id=order.plan_id,
                    estimate_micro_usd=to_micro_usd(order.estimate_usd),
                    retry_failed=order.retry_failed,
                    remake=remake,
                )
            )
            return claimed[0]

        try:
            found = await in_thread(claim)
        except asyncio.CancelledError:
            if claimed and isinstance(claimed[0], Claim):
                try:
                    await self._release(claimed[0], None)
                finally:
                    self._ledger.purchases.leave(claimed[0])
            raise
        if isinstance(found, Claim):
            crash_point("claimed")
        return found

    async def _work(self, claim: Claim, order: Order) -> Purchased:
        token = secrets.token_hex(8)
        scratch = self._ledger.scratch(token)
        try:
            scratch.mkdir(parents=True)
            if kept := await self._already_there(claim):
                return kept
            await self._refuse_undecided(claim, order)
            return await self._submit_and_store(claim, order, scratch, token)
        finally:
            self._ledger.purchases.leave(claim)
            shutil.rmtree(scratch, ignore_errors=True)

    async def _already_there(self, claim: Claim) -> Purchased | None:
        """Return the artifact if, between our look and our claim, somebody made it again."""
        if claim.found is not PurchaseState.SUCCEEDED:
            return None
        row = await in_thread(self._ledger.purchases.get, claim.request_key)
        if row is None or row.artifact is None or not self._store.has(row.artifact):
            return None
        await in_thread(self._ledger.purchases.restore, claim)
        return Purchased.from_row(row, spent_micro_usd=0, cached=True)

    async def _refuse_undecided(self, claim: Claim, order: Order) -> None:
        """A paid submission whose process died is never sent again on a guess."""
        if claim.found is None or not claim.found.is_open or claim.found is PurchaseState.RESERVED:
            return
        if order.spec.recovery is Recovery.FREE:
            return
        message = (
            "an earlier process died while it bought this; whether it was billed is unknown, so it is not sent again."
        )
        error = UnknownOutcomeError(
            message, request_key=claim.request_key, model=order.spec.id, prediction_id=claim.prediction_id
        )
        await in_thread(self._ledger.purchases.write_unknown, claim, error)
        raise error

    async def _submit_and_store(self, claim: Claim, order: Order, scratch: Path, token: str) -> Purchased:
        attempt = await self._write_intent(claim)
        crash_point("intent_written")
        started = time.monotonic()
        prediction = await self._submit(claim, order, attempt, scratch)
        crash_point("settled")
        try:
            path = await self._transport.fetch(prediction)
            info = await in_thread(probe, path)
            made = await in_thread(self._store.put, path, info, owner=self._ledger.owner.id, token=token)
            failed = await in_thread(_verdict, order.judge, path, info)
        except (asyncio.CancelledError, MediaAssetsError) as error:
            # What is paid for but not yet stored stays open, so that a rerun never buys it again.
            if order.spec.recovery is Recovery.FREE:
                await self._record_failure(claim, order, attempt, error)
            raise
        await in_thread(
            self._ledger.purchases.write_stored,
            claim,
            made,
            notes=prediction.notes,
            duration_s=time.monotonic() - started,
            failed=failed,
        )
        crash_point("artifact_recorded")
        if failed is not None:
            raise failed
        row = await in_thread(self._ledger.purchases.get, claim.request_key)
        if row is None:
            message = f"purchase {claim.request_key[:12]} vanished from the ledger"
            raise OutputLostError(message, request_key=claim.request_key)
        _log.info("bought %s from %s", claim.request_key[:12], order.spec.id)
        return Purchased.from_row(row, spent_micro_usd=to_micro_usd(order.estimate_usd), cached=False)

    async def _write_intent(self, claim: Claim) -> str:
        written: list[str] = []
        try:
            await in_thread(lambda: written.append(self._ledger.purchases.write_intent(claim)))
        except asyncio.CancelledError:
            await self._release(claim, written[0] if written else None)
            raise
        return written[0]

    async def _submit(self, claim: Claim, order: Order, attempt: str, scratch: Path) -> Prediction:
        """Send once, and record what came of it. **Costs money**."""
        left: list[bool] = []
        try:
            prediction = await self._transport.submit(
                order.request,
                inputs=order.inputs,
                scratch=scratch,
                deadline_s=order.spec.run_deadline_s,
                tell=self._teller(claim, order),
                before_sending=lambda: left.append(True),
            )
        except (asyncio.CancelledError, MediaAssetsError) as error:
            if left:
                await self._record_failure(claim, order, attempt, error)
            else:
                await self._release(claim, attempt)
            raise
        crash_point("submitted")
        await in_thread(
            self._ledger.purchases.write_submitted,
            claim,
            attempt,
            prediction,
            cost_micro_usd=to_micro_usd(order.estimate_usd),
        )
        return prediction

    async def _record_failure(self, claim: Claim, order: Order, attempt: str, error: BaseException) -> None:
        """Record how an attempt that was sent has failed: free, billed, or nobody knows."""
        stopped = not isinstance(error, MediaAssetsError)
        known = error if isinstance(error, MediaAssetsError) else StoppedError(_STOPPED)
        if order.spec.recovery is Recovery.FREE:
            outcome = "interrupted" if isinstance(known, StoppedError) else "failed"
            await in_thread(self._ledger.purchases.write_failed, claim, attempt, known, outcome=outcome)
        elif stopped or known.billed is Billed.UNKNOWN:
            await in_thread(self._ledger.purchases.write_unknown, claim, known, token=attempt)
        else:
            cost_micro_usd = to_micro_usd(order.estimate_usd) if known.billed is Billed.YES else 0
            await in_thread(
                self._ledger.purchases.write_failed,
                claim,
                attempt,
                known,
                outcome="failed",
                cost_micro_usd=cost_micro_usd,
            )

    async def _release(self, claim: Claim, attempt: str | None) -> None:
        """Record that nothing was sent; the next run begins anew."""
        stopped = StoppedError(_STOPPED)
        await in_thread(self._ledger.purchases.write_failed, claim, attempt, stopped, outcome="interrupted")

    def _teller(self, claim: Claim, order: Order) -> Callable[[float], None]:
        written = time.monotonic()

        def tell(fraction: float) -> None:
            nonlocal written
            order.tell(fraction)
            if time.monotonic() - written >= _PROGRESS_EVERY_S:
                written = time.monotonic()
                with contextlib.suppress(LedgerError):  # a note for people must not end the work
                    self._ledger.purchases.write_progress(claim, fraction)

        return tell


def _verdict(judge: Judge, path: Path, info: MediaInfo) -> JudgeError | None:
    try:
        judge(path, info)
    except JudgeError as error:
        return error
    return None


def _stored_failure(row: PurchaseRow) -> MediaAssetsError:
    """Return a failure that was recorded earlier: nothing is sent again until a person says so."""
    told = (row.error or {}).get("message", "no reason was recorded")
    error: PurchaseError
    if row.state is PurchaseState.UNKNOWN:
        error = UnknownOutcomeError(told)
    elif row.state is PurchaseState.LOST_OUTPUT:
        error = OutputLostError(told)
    else:
        message = f"failed before, and is not tried again by itself: {told} Use --retry-failed, or a new take."
        error = PredictionFailedError(message)
    if row.state is PurchaseState.FAILED_PAID:
        error.billed = Billed.YES
    error.step, error.provider, error.model = row.step, row.provider, row.model
    error.request_key, error.prediction_id = row.request_key, row.prediction_id
    return error
