"""One submission: prepared, admitted, sent once, recorded whatever came of it. Called by ``purchase.py`` alone.

A submission that was provably not accepted (429, or no connection) is sent again, each time under an intent of its own.
Every other outcome is final here: accepted, refused, or unknown.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from media_assets.catalog import Recovery
from media_assets.errors import (
    Billed,
    LedgerError,
    MediaAssetsError,
    OutputLostError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger
from media_assets.ledger.admission import Wait
from media_assets.ledger.claims import Claim, PredictionTakenError
from media_assets.media.conform import conformed
from media_assets.orders import Order
from media_assets.prediction import Prediction, State
from media_assets.providers.transport import Transport
from media_assets.threads import in_thread, wait_for_end

_log = logging.getLogger(__name__)

T = TypeVar("T")

Keep = Callable[[Prediction], Awaitable[None]]

_STOPPED = "stopped before it was done; run again to go on."
_MOST_CONNECTION_TRIES = 5
_TO_BEGIN_S = 5.0
"""How much later than within a submission's own deadline it may begin, counted from its intent."""
_JITTER = 0.25
"""Part by which a wait may be longer than it must, so that whoever was refused together does not come back together."""


def is_done(prediction: Prediction) -> bool:
    """Whether a prediction has made what it was for, and says where that is."""
    return prediction.state is State.SUCCEEDED and bool(prediction.outputs)


@dataclass(frozen=True)
class _Again:
    """A submission was provably not accepted, was put back, and is to be sent again."""

    wait_s: float


@dataclass
class _Patience:
    """How long, and how often, a submission that is refused for now is tried again."""

    deadline: float
    """Of ``time.monotonic``."""
    backoff_s: float
    unreached: int = 0

    def wait_s(self, error: RateLimitedError | ProviderUnavailableError) -> float | None:
        """Return the wait before the next try; None when it is time to give up."""
        hint_s = error.retry_after_s if isinstance(error, RateLimitedError) else None
        wait_s = max(hint_s or 0.0, self.backoff_s)
        self.backoff_s *= 2
        self.unreached += isinstance(error, ProviderUnavailableError)
        if self.unreached >= _MOST_CONNECTION_TRIES or time.monotonic() + wait_s > self.deadline:
            return None
        return wait_s


class Submission:
    """The way from a claim to a prediction whose id is durable."""

    def __init__(self, claim: Claim, order: Order, ledger: Ledger, transport: Transport) -> None:
        self._claim = claim
        self._order = order
        self._purchases = ledger.purchases
        self._owner = ledger.owner
        self._may_send: Callable[[], None] = ledger.owner.require_alive
        self._transport = transport
        self._is_free = order.spec.recovery is Recovery.FREE
        self._patience = self._full_patience()
        self.token: str | None = None
        """The attempt's, from the intent on."""
        self.accepted: Prediction | None = None
        """What a provider has accepted, once its id is durable: there even if :meth:`submit` is canceled meanwhile."""
        self.failed: BaseException | None = None
        """Likewise, why what was sent has failed."""

    async def prepare(self, scratch: Path) -> tuple[dict[str, str], tuple[str, ...]]:
        """Conform the input files and bring them to the provider. Free.

        Returns:
            What to refer to each by, and what was done to it, for people.
        """
        order = self._order
        try:
            self._refuse_closed()
            files, notes = await in_thread(conformed, order.request.inputs, order.inputs, scratch)
            return await self._transport.prepare(order.request, order.spec, files), notes
        except (asyncio.CancelledError, MediaAssetsError) as error:
            await self.release(error)
            raise

    def _full_patience(self) -> _Patience:
        options = self._transport.options
        return _Patience(time.monotonic() + options.refusals_deadline_s, options.backoff_first_s)

    def _refuse_closed(self) -> None:
        if error := self._transport.refused_lately(self._order.request.provider):
            raise error

    async def submit(
        self, scratch: Path, references: Mapping[str, str], tell: Callable[[float], None], keep: Keep | None = None
    ) -> Prediction:
        """Send until it is accepted or refused for good; what came of it is durable. **Costs money**.

        Args:
            scratch: A folder of this purchase alone.
            references: What :meth:`prepare` returned.
            tell: Called with the fraction done, from any thread.
            keep: Told of a prediction that is final at once, before a cancellation is heeded: its output may come
                with this reply and never again.

        Raises:
            PurchaseError: It was not accepted, or nobody knows; recorded.
            MediaError: A local model failed; recorded.
        """
        self._patience = self._full_patience()
        while True:
            token = await self._admitted()
            sending = self._send_and_keep(token, scratch, references, tell, keep)
            # A local model is stopped at once; what a provider may bill is heard to the end.
            came = await (sending if self._is_free else self._to_the_end(sending))
            if isinstance(came, Prediction):
                return came
            await self._rest(came.wait_s)

    async def _admitted(self) -> str:
        """Write the intent once the provider has a place."""
        limits = self._transport.limits(self._order.request.provider)
        within_s = self._order.spec.post_deadline_s + _TO_BEGIN_S
        while True:
            written: list[str | Wait] = []
            try:
                # Asked again here: another purchase may have been told so while this one waited for its place.
                self._refuse_closed()
                self._may_send = self._owner.permit(within_s)
                write = partial(self._purchases.write_intent, self._claim, limits, within_s=within_s)
                await in_thread(lambda: written.append(write()))  # noqa: B023
                if isinstance(answer := written[0], str):
                    self.token = answer
                    return answer
                await asyncio.sleep(answer.seconds)
            except (asyncio.CancelledError, PurchaseError) as error:
                token = written[0] if written and isinstance(written[0], str) else None
                await self.release(error, token)
                raise

    async def _rest(self, wait_s: float) -> None:
        try:
            await asyncio.sleep(wait_s * random.uniform(1.0, 1.0 + _JITTER))  # noqa: S311 - not a secret
        except asyncio.CancelledError as error:
            await self.release(error)
            raise

    async def _to_the_end(self, work: Coroutine[Any, Any, Prediction | _Again]) -> Prediction | _Again:
        """Finish ``work`` even when canceled, and be canceled after it: money is out, so its result is kept."""
        running = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError as error:
            await wait_for_end(running)
            self.failed = asyncio.CancelledError() if running.cancelled() else running.exception()
            if self.failed is None and isinstance(running.result(), _Again):
                await self.release(error)
            raise

    async def _send_and_keep(
        self,
        token: str,
        scratch: Path,
        references: Mapping[str, str],
        tell: Callable[[float], None],
        keep: Keep | None,
    ) -> Prediction | _Again:
        came = await self._send(token, scratch, references, tell)
        if keep is not None and isinstance(came, Prediction) and came.state.is_final:
            await keep(came)
        if isinstance(came, Prediction):
            await self._drop_reply(token)
            self.accepted = came
        return came

    async def _send(
        self, token: str, scratch: Path, references: Mapping[str, str], tell: Callable[[float], None]
    ) -> Prediction | _Again:
        order = self._order
        try:
            prediction = await self._transport.submit(
                order.request,
                order.spec,
                inputs=order.inputs,
                references=references,
                scratch=scratch,
                tell=tell,
                token=token,
                before_sending=self._may_send,
            )
        except (asyncio.CancelledError, MediaAssetsError) as error:
            if again := await self._put_back(token, error):
                return again
            await self._fail(token, error)
            raise
        await self._write_submitted(token, prediction)
        return prediction

    async def _put_back(self, token: str, error: BaseException) -> _Again | None:
        """Record that a submission was provably not accepted; None where that is not so, or enough was tried."""
        if not isinstance(error, RateLimitedError | ProviderUnavailableError) or error.billed is not Billed.NO:
            return None
        wait_s = None if self._is_free else self._patience.wait_s(error)
        if wait_s is None:
            return None
        block_s = wait_s if isinstance(error, RateLimitedError) else 0.0
        await in_thread(self._purchases.write_put_back, self._claim, token, error, block_s=block_s)
        await self._drop_reply(token)
        return _Again(wait_s)

    async def _drop_reply(self, token: str) -> None:
        """Remove the raw reply: what it holds is in the ledger, and a file that came with it in the store."""
        if self._transport.spool is not None and not self._is_free:
            await in_thread(self._transport.spool.drop, token)

    async def _write_submitted(self, token: str, prediction: Prediction) -> None:
        """Make the id durable.

        Raises:
            UnknownOutcomeError: It could not be written; the message has the id, for nothing else may have it.
        """
        write = self._purchases.write_submitted
        provider = self._order.request.provider
        try:
            settlement = self._order.settlement(prediction) if is_done(prediction) else None
            try:
                await in_thread(write, self._claim, token, prediction, settlement)
            except PredictionTakenError:
                if not is_done(prediction) or self._transport.can_ask(provider, prediction):
                    raise
                # Nobody will ask for it by its id, so the id need not cost the output that is in our hands.
                own = replace(prediction, id=f"{prediction.id}+{token[:8]}")
                await in_thread(write, self._claim, token, own, settlement)
        except Exception as error:  # money is out: whatever fails here, the id must be told
            why = "it belongs to another purchase" if isinstance(error, PredictionTakenError) else "the ledger failed"
            message = (
                f"{provider} accepted this as prediction {prediction.id}, which could not be recorded ({why}). It may "
                "be billed, so it is not sent again: look for it on the provider's site."
            )
            unknown = UnknownOutcomeError(message, provider=provider, prediction_id=prediction.id)
            await self._record(self._purchases.write_unknown, self._claim, unknown, token=token)
            raise unknown from error

    async def _fail(self, token: str | None, error: BaseException) -> None:
        """Record how an attempt that was sent has failed: free, billed, or nobody knows."""
        stopped = not isinstance(error, MediaAssetsError)
        known = error if isinstance(error, MediaAssetsError) else StoppedError(_STOPPED)
        write = self._purchases.write_failed
        if self._is_free:
            outcome = "interrupted" if isinstance(known, StoppedError) else "failed"
            await self._record(write, self._claim, token, known, outcome=outcome)
        elif stopped or known.billed is Billed.UNKNOWN:
            # The raw reply, if one came, stays: a person may read in it what this version cannot.
            await self._record(self._purchases.write_unknown, self._claim, known, token=token)
        else:
            settlement = None
            if known.billed is Billed.YES and isinstance(known, PurchaseError):
                failed = Prediction(id=known.prediction_id or "", state=State.FAILED, failure=known)
                settlement = self._order.settlement(failed)
            if isinstance(known, OutputLostError):
                written = await self._record(self._purchases.write_lost, self._claim, known, settlement, token=token)
            else:
                # The ledger's word before the first byte left, where it is the ledger that fails.
                outcome = "unsent" if isinstance(known, LedgerError) else "failed"
                written = await self._record(write, self._claim, token, known, outcome=outcome, settlement=settlement)
            if written and token is not None:
                await self._drop_reply(token)

    async def _record(self, write: Callable[..., None], *args: Any, **named: Any) -> bool:
        """Write how it ended, and say whether that worked; a ledger that fails now must not hide why it ended.

        The intent stands in the ledger all the same, so the next run takes the purchase for one of unknown outcome.
        """

        def written() -> bool:
            try:
                write(*args, **named)
            except Exception:  # noqa: BLE001 - why it ended is raised, whatever became of the record
                _log.exception("purchase %s: its end could not be recorded", self._claim.request_key[:12])
                return False
            return True

        return await in_thread(written)

    async def fail_free(self, error: BaseException) -> None:
        """Record that free work failed after it was submitted: it is simply done again."""
        await self._fail(self.token, error)

    async def release(self, error: BaseException, token: str | None = None) -> None:
        """Record that nothing was sent; the next run begins anew."""
        why = error if isinstance(error, MediaAssetsError) else StoppedError(_STOPPED)
        await in_thread(self._purchases.write_failed, self._claim, token, why, outcome="interrupted")
