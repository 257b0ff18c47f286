"""One purchase, from request to artifact. Read this file first.

    find in the ledger → reserve → write intent → submit once → write the id → poll → download → verify → store → settle

Each arrow is durable before the next effect, so a process can die anywhere: the next run finds the purchase, and
either uses it, goes on with it (by its prediction id), does it again (where it is free) or says that its outcome is
unknown. Nothing else in the package spends. The writes are in ``ledger/purchases.py``, the sending in
``providers/transport/``, the one submission in ``submission.py``.
"""

import asyncio
import contextlib
import logging
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from media_assets.artifact import ArtifactStore
from media_assets.catalog import Recovery
from media_assets.errors import (
    Billed,
    LedgerError,
    MediaAssetsError,
    OutputLostError,
    PurchaseError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.finishing import Finishing, Work
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import NotReservedError
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.orders import Order, Purchased, naming, stored_failure
from media_assets.prediction import Prediction
from media_assets.pricing import to_micro_usd
from media_assets.providers.transport import Transport
from media_assets.stopping import Stopping
from media_assets.submission import Keep, Submission, is_done
from media_assets.threads import in_thread
from media_assets.undecided import Undecided, can_be_cleared_up

_log = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.02, 0.5
_MOST_SUBMISSIONS = 3
"""Of one call of ours, if each of them proves never to have been accepted."""


class Purchasing:
    """Buys, with one ledger, one store and one transport."""

    def __init__(self, ledger: Ledger, store: ArtifactStore, transport: Transport) -> None:
        self._ledger = ledger
        self._store = store
        self._transport = transport
        self._finishing = Finishing(ledger, store, transport)
        self._stopping = Stopping(ledger, transport.options)

    async def buy(self, order: Order) -> Purchased:
        """Return the artifact of a request, bought at most once. **Costs money**, at most ``order.estimate_usd``.

        A purchase that another coroutine or process works on is waited for. When canceled, what was submitted is called
        back or waited for, for the time of the clean-up (``stopping.py``).

        Raises:
            PurchaseError: The purchase failed, or its outcome is unknown; ``rerun`` and ``billed`` say what that means.
            MediaError: What was made is not good enough, or a local model failed.
            StoppedError: ``order.recall`` was given before it was submitted, or has had it canceled, free.
        """
        with naming(order):
            try:
                return await self._buy(order)
            except (asyncio.CancelledError, StoppedError):
                await self._lose_interest(order)
                raise
            except PurchaseError as error:
                if not await self._resubmits(order, error):
                    raise
            return await self._buy_once_more(order)

    async def finish_begun(self, order: Order) -> Purchased | Busy | None:
        """Bring what was submitted before to its end. Free: whatever is found, nothing is submitted.

        Returns:
            What it brought; None where there is nothing to bring (any more): it was never accepted, is free to be made
            again, or has ended. Busy: somebody is at work on it.

        Raises:
            PurchaseError: It failed, its outcome is unknown, or it does not get on just now.
            MediaError: What was made is not good enough.
            StoppedError: ``order.recall`` has had it canceled, free.
        """
        with naming(order):
            found = await self._claim(order, remake=False)
            if isinstance(found, Claim):
                return await self._work(found, order, self._let_go)
            if isinstance(found, PurchaseRow) and found.state is PurchaseState.UNKNOWN:
                raise stored_failure(found)
            return found if isinstance(found, Busy) else None

    async def _let_go(self, claim: Claim, order: Order, work: Work) -> None:
        """Put back what nothing came of, so that it may be bought by whoever wants it."""
        del work
        why = StoppedError("nothing of it is at its provider; it is submitted when a run asks for it again.")
        await self._submission(claim, order).release(why)

    async def _resubmits(self, order: Order, error: PurchaseError) -> bool:
        """Whether a submission of unknown outcome is sent once more by the user's policy; that is recorded."""
        is_cheap = 0 < order.estimate_usd <= order.resubmit_max_usd
        if error.billed is not Billed.UNKNOWN or not is_cheap or order.recall.is_asked:
            return False
        row = await in_thread(self._ledger.purchases.get, order.request.key)
        if row is None or row.state is not PurchaseState.UNKNOWN or self._can_ask(row, order):
            return False
        may_be_learned = can_be_cleared_up(self._transport, order)
        if may_be_learned and not (isinstance(error, UnknownOutcomeError) and error.is_last_word):
            return False
        return await in_thread(self._ledger.decisions.resubmit_once, order.request.key)

    async def _buy_once_more(self, order: Order) -> Purchased:
        """Buy what was submitted before, and counts as billed though nothing is to be had of it."""
        amount = f"{order.estimate_usd} USD"
        note = f"a submission of unknown outcome counts as billed, at its worst case of {amount}; it was sent once more"
        _log.warning("purchase %s of %s: %s", order.request.key[:12], order.spec.id, note)
        bought = await self._buy(replace(order, notes=(*order.notes, note)))
        return replace(bought, spent_usd=bought.spent_usd + order.estimate_usd)

    async def _lose_interest(self, order: Order) -> None:
        try:
            await in_thread(self._ledger.purchases.lose_interest, order.request.key, plan_id=order.plan_id)
        except LedgerError as error:
            _log.warning("purchase %s: %s", order.request.key[:12], error.message)

    async def _buy(self, order: Order) -> Purchased:
        wait_s = _FIRST_WAIT_S
        remake = False
        while True:
            with order.recall.breaks_off():
                try:
                    found = await self._claim(order, remake=remake)
                except NotReservedError:
                    # Another's purchase, which held its money, has failed since; or the plan's estimate was too low.
                    await order.reserve()
                    continue
                if isinstance(found, Busy):
                    await asyncio.sleep(wait_s)
                    wait_s = min(wait_s * 1.5, _LONGEST_WAIT_S)
                    continue
            if isinstance(found, Claim):
                try:
                    return await self._work(found, order, self._submit_until_clear)
                except StoppedError:
                    if order.recall.is_asked or found.row is None or found.row.cancel_requested_at is None:
                        raise
                    continue  # an earlier run had it canceled, free: it is wanted again
            if found.state is not PurchaseState.SUCCEEDED:
                raise stored_failure(found)
            if found.artifact is not None and self._store.has(found.artifact):
                return Purchased.from_row(found, spent_micro_usd=0, cached=True)
            if found.recovery is not Recovery.FREE:
                message = "the paid file is gone from the store; buying it again is for you to decide (a new take)."
                raise OutputLostError(message, prediction_id=found.prediction_id)
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
                    clears_up=lambda row: self._can_clear_up(row, order),
                )
            )
            return claimed[0]

        try:
            found = await in_thread(claim)
        except asyncio.CancelledError as error:
            if claimed and isinstance(claimed[0], Claim):
                await self._drop(claimed[0], order, error)
            raise
        return found

    async def _drop(self, claim: Claim, order: Order, error: BaseException) -> None:
        """Give up a claim right after it was made."""
        try:
            if claim.row is None or claim.found is PurchaseState.RESERVED:
                await self._submission(claim, order).release(error)
            else:
                await in_thread(self._ledger.purchases.hand_over, claim)  # it was sent once: that stays on record
        finally:
            self._ledger.purchases.leave(claim)

    def _submission(self, claim: Claim, order: Order) -> Submission:
        return Submission(claim, order, self._ledger, self._transport)

    async def _work(
        self, claim: Claim, order: Order, anew: Callable[[Claim, Order, Work], Awaitable[T]]
    ) -> Purchased | T:
        """Go on with what was submitted before; where nothing was, or nothing came of it, do ``anew``."""
        token = secrets.token_hex(8)
        work = Work(token=token, scratch=self._ledger.scratch(token))
        try:
            work.scratch.mkdir(parents=True)
            if kept := await self._already_there(claim):
                return kept
            known = claim.prediction
            if self._is_undecided(claim, order) and not self._can_ask(claim.row, order):
                known = await self._undecided(claim, order).clear_up()
            if known is not None:
                return await self._resume(claim, order, known, work)
            return await anew(claim, order, work)
        except BaseException:
            await self._hand_over(claim)
            raise
        finally:
            self._ledger.purchases.leave(claim)
            shutil.rmtree(work.scratch, ignore_errors=True)

    async def _hand_over(self, claim: Claim) -> None:
        try:
            await in_thread(self._ledger.purchases.hand_over, claim)
        except LedgerError as error:
            _log.warning("purchase %s stays with this process until it ends: %s", claim.request_key[:12], error.message)

    async def _already_there(self, claim: Claim) -> Purchased | None:
        """Return the artifact if, between our look and our claim, somebody made it again."""
        if claim.found is not PurchaseState.SUCCEEDED:
            return None
        row = await in_thread(self._ledger.purchases.get, claim.request_key)
        if row is None or row.artifact is None or not self._store.has(row.artifact):
            return None
        await in_thread(self._ledger.purchases.restore, claim)
        return Purchased.from_row(row, spent_micro_usd=0, cached=True)

    def _can_clear_up(self, row: PurchaseRow, order: Order) -> bool:
        """Whether asking again may tell what came of a purchase of unknown outcome; that is free."""
        return self._can_ask(row, order) or can_be_cleared_up(self._transport, order)

    def _can_ask(self, row: PurchaseRow | None, order: Order) -> bool:
        """Whether a purchase has a prediction that its provider can be asked about."""
        known = row.prediction if row is not None else None
        return known is not None and self._transport.can_ask(order.request.provider, known)

    def _is_undecided(self, claim: Claim, order: Order) -> bool:
        """Whether a paid submission was perhaps sent: it is never sent again on a guess."""
        if order.spec.recovery is Recovery.FREE:
            return False
        return claim.found in {PurchaseState.SUBMITTING, PurchaseState.UNKNOWN}

    def _undecided(self, claim: Claim, order: Order) -> Undecided:
        return Undecided(claim=claim, order=order, ledger=self._ledger, transport=self._transport)

    async def _submit_until_clear(self, claim: Claim, order: Order, work: Work) -> Purchased:
        """Submit; if its reply is lost, find out what came of it before anything else is done."""
        for _ in range(_MOST_SUBMISSIONS - 1):
            try:
                return await self._submit_and_store(claim, order, work)
            except PurchaseError as error:
                if not order.waits or not await self._is_unheard(claim, order, error):
                    raise
                known = await self._undecided(claim, order).clear_up()
            if known is not None:
                return await self._resume(claim, order, known, work)
        return await self._submit_and_store(claim, order, work)

    async def _is_unheard(self, claim: Claim, order: Order, error: PurchaseError) -> bool:
        """Whether a submission's reply was lost, and the provider can be asked what came of it."""
        if error.billed is not Billed.UNKNOWN or not can_be_cleared_up(self._transport, order):
            return False
        row = await in_thread(self._ledger.purchases.get, claim.request_key)
        return row is not None and row.state is PurchaseState.UNKNOWN and not self._can_ask(row, order)

    async def _resume(self, claim: Claim, order: Order, known: Prediction, work: Work) -> Purchased:
        """Go on with a prediction that was submitted before: nothing is sent that could cost money."""

        async def go_on() -> Purchased:
            if self._transport.can_ask(order.request.provider, known):
                settled = claim.found is PurchaseState.DONE
                prediction = await self._finishing.follow(claim, order, known, work, settled=settled)
            else:
                prediction = await self._finishing.from_spool(claim, order, known, work)
            await self._finishing.store_output(claim, order, prediction, work)
            await in_thread(self._finishing.drop_reply, claim)
            return await self._finished(claim, order, work)

        return await self._stopping.in_time(claim, order, go_on())

    async def _submit_and_store(self, claim: Claim, order: Order, work: Work) -> Purchased:
        submission = self._submission(claim, order)
        try:
            order.recall.check()
        except StoppedError as error:
            await submission.release(error)
            raise
        async with contextlib.AsyncExitStack() as place:
            if order.spec.recovery is Recovery.FREE:
                return await self._make_free(submission, claim, order, work, place)
            canceled = None
            try:
                with order.recall.breaks_off():
                    references = await self._prepared(submission, order, work, place)
                    tell, keep = self._finishing.teller(claim, order), self._keep(claim, order, work)
                    prediction = await submission.submit(work.scratch, references, tell, keep)
            except (asyncio.CancelledError, StoppedError) as stop:
                canceled = stop if isinstance(stop, asyncio.CancelledError) else None
                if canceled is None and submission.failed is not None:
                    raise submission.failed from None  # it was sent all the same
                if submission.accepted is None or (canceled and work.is_recorded):
                    raise
                prediction = submission.accepted
            finishing = self._finish(claim, order, prediction, work, place)
            return await self._stopping.in_time(claim, order, finishing, canceled=canceled)

    async def _prepared(
        self, submission: Submission, order: Order, work: Work, place: contextlib.AsyncExitStack
    ) -> dict[str, str]:
        """Bring the inputs to where they are needed, then take a place at the provider; return how to refer to each."""
        references, prepared = await submission.prepare(work.scratch)
        work.notes = (*order.notes, *prepared)
        try:
            await place.enter_async_context(self._transport.place(order.request.provider))
        except asyncio.CancelledError as error:
            await submission.release(error)
            raise
        work.started = time.monotonic()
        return references

    async def _finish(
        self, claim: Claim, order: Order, prediction: Prediction, work: Work, place: contextlib.AsyncExitStack
    ) -> Purchased:
        """Bring a prediction that was just submitted to its end, and keep what it made."""
        if is_done(prediction):
            work.settle(order, order.settlement(prediction))
        else:
            prediction = await self._finishing.follow(claim, order, prediction, work, settled=False)
        await place.aclose()
        if not work.is_recorded:
            await self._finishing.store_output(claim, order, prediction, work)
        return await self._finished(claim, order, work)

    async def _make_free(
        self, submission: Submission, claim: Claim, order: Order, work: Work, place: contextlib.AsyncExitStack
    ) -> Purchased:
        """Have a local model make it. A cancellation stops it at once: it is simply done again."""
        with order.recall.breaks_off():
            references = await self._prepared(submission, order, work, place)
        prediction = await submission.submit(work.scratch, references, self._finishing.teller(claim, order))
        work.settle(order, order.settlement(prediction))
        await place.aclose()
        try:
            await self._finishing.store_output(claim, order, prediction, work)
        except (asyncio.CancelledError, MediaAssetsError) as error:
            if not work.is_recorded:
                await submission.fail_free(error)
            raise
        return await self._finished(claim, order, work)

    def _keep(self, claim: Claim, order: Order, work: Work) -> Keep:
        async def keep(prediction: Prediction) -> None:
            """Bring to its end what came with the reply to the submission, and cannot be had again."""
            if self._transport.can_ask(order.request.provider, prediction):
                return
            if not is_done(prediction):
                settlement = order.settlement(prediction, last_word=True)
                work.settle(order, settlement)
                await self._finishing.record_end(claim, order, prediction, settlement, work)
            await self._finishing.store_output(claim, order, prediction, work)

        return keep

    async def _finished(self, claim: Claim, order: Order, work: Work) -> Purchased:
        row = (await in_thread(self._ledger.purchases.get_many, [claim.request_key]))[claim.request_key]
        _log.info("bought %s from %s", claim.request_key[:12], order.spec.id)
        return Purchased.from_row(row, spent_micro_usd=work.spent_micro_usd, cached=False)
