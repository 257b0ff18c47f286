"""One submission: prepared, admitted, sent once, recorded whatever came of it. Called by ``purchase.py`` alone.

A submission that was provably not accepted (429, or no connection) is sent again, each time under an intent of its own.
Every other outcome is final here: accepted, refused, or unknown.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from media_assets.catalog import Recovery
from media_assets.crash_points import crash_point
from media_assets.errors import (
    Billed,
    LedgerError,
    MediaAssetsError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger
from media_assets.ledger.admission import Wait
from media_assets.ledger.claims import Claim
from media_assets.media.conform import conformed
from media_assets.orders import Order
from media_assets.prediction import Prediction, State
from media_assets.providers.transport import Transport
from media_assets.threads import in_thread, wait_for_end

T = TypeVar("T")

Keep = Callable[[Prediction], Awaitable[None]]

_STOPPED = "stopped before it was done; run again to go on."
_MOST_CONNECTION_TRIES = 5


def is_done(prediction: Prediction) -> bool:
    """Whether a prediction has made what it was for, and says where that is."""
    return prediction.state is State.SUCCEEDED and bool(prediction.outputs)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Finish ``work`` even when canceled, and be canceled after it: money is out, so its result is kept."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_for_end(running)
        raise


class Submission:
    """The way from a claim to a prediction whose id is durable."""

    def __init__(self, claim: Claim, order: Order, ledger: Ledger, transport: Transport) -> None:
        self._claim = claim
        self._order = order
        self._purchases = ledger.purchases
        self._transport = transport
        self._is_free = order.spec.recovery is Recovery.FREE
        self.token: str | None = None
        """The attempt's, from the intent on."""

    async def prepare(self, scratch: Path) -> tuple[dict[str, str], tuple[str, ...]]:
        """Conform the input files and bring them to the provider. Free.

        Returns:
            What to refer to each by, and what was done to it, for people.
        """
        order = self._order
        try:
            if error := self._transport.refused_lately(order.request.provider):
                raise error
            files, notes = await in_thread(conformed, order.request.inputs, order.inputs, scratch)
            return await self._transport.prepare(order.request, order.spec, files), notes
        except (asyncio.CancelledError, MediaAssetsError):
            await self.release()
            raise

    async def submit(
        self, scratch: Path, references: Mapping[str, str], tell: Callable[[float], None], keep: Keep | None = None
    ) -> Prediction:
        """Send until it is accepted or refused for good; what came of it is durable. **Costs money**.

        Args:
            scratch: A folder of this purchase alone.
            references: What :meth:`prepare` returned.
            tell: Called with the fraction done, from any thread.
            keep: Stores an output that came with the reply, before a cancellation is heeded: there is no other way
                to have it again.

        Raises:
            PurchaseError: It was not accepted, or nobody knows; recorded.
            MediaError: A local model failed; recorded.
        """
        options = self._transport.options
        deadline = time.monotonic() + options.refusals_deadline_s
        backoff_s, tries = options.backoff_first_s, 0
        while True:
            token = await self._admitted()
            crash_point("intent_written")
            try:
                sending = self._send_and_keep(token, scratch, references, tell, keep)
                # A local model is stopped at once; what a provider may bill is heard to the end.
                return await (sending if self._is_free else to_the_end(sending))
            except (RateLimitedError, ProviderUnavailableError) as error:
                tries += 1
                wait_s = max(getattr(error, "retry_after_s", None) or 0.0, backoff_s)
                unreachable = isinstance(error, ProviderUnavailableError) and tries >= _MOST_CONNECTION_TRIES
                if self._is_free or unreachable or time.monotonic() + wait_s > deadline:
                    await self._fail(token, error)
                    raise
                await self._put_back(token, error, wait_s)
            backoff_s *= 2

    async def _admitted(self) -> str:
        """Write the intent once the provider has a place."""
        limits = self._transport.limits(self._order.request.provider)
        while True:
            written: list[str | Wait] = []
            try:
                await in_thread(lambda: written.append(self._purchases.write_intent(self._claim, limits)))  # noqa: B023
                if isinstance(answer := written[0], str):
                    self.token = answer
                    return answer
                await asyncio.sleep(answer.seconds)
            except asyncio.CancelledError:
                token = written[0] if written and isinstance(written[0], str) else None
                await self.release(token)
                raise

    async def _put_back(self, token: str, error: RateLimitedError | ProviderUnavailableError, wait_s: float) -> None:
        block_s = wait_s if isinstance(error, RateLimitedError) else 0.0
        try:
            await in_thread(self._purchases.write_put_back, self._claim, token, error, block_s=block_s)
            await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            await self.release()
            raise

    async def _send_and_keep(
        self,
        token: str,
        scratch: Path,
        references: Mapping[str, str],
        tell: Callable[[float], None],
        keep: Keep | None,
    ) -> Prediction:
        prediction = await self._send(token, scratch, references, tell)
        if keep is not None and is_done(prediction):
            await keep(prediction)
        return prediction

    async def _send(
        self, token: str, scratch: Path, references: Mapping[str, str], tell: Callable[[float], None]
    ) -> Prediction:
        order = self._order
        try:
            prediction = await self._transport.submit(
                order.request, order.spec, inputs=order.inputs, references=references, scratch=scratch, tell=tell
            )
        except (RateLimitedError, ProviderUnavailableError):
            raise
        except (asyncio.CancelledError, MediaAssetsError) as error:
            await self._fail(token, error)
            raise
        crash_point("submitted")
        settlement = order.settlement(prediction) if is_done(prediction) else None
        try:
            await in_thread(self._purchases.write_submitted, self._claim, token, prediction, settlement)
        except LedgerError as error:
            message = (
                f"prediction {prediction.id} was accepted by {order.request.provider}, and the ledger could not be "
                f"written: {error.message}"
            )
            raise UnknownOutcomeError(message, prediction_id=prediction.id) from error
        return prediction

    async def _fail(self, token: str, error: BaseException) -> None:
        """Record how an attempt that was sent has failed: free, billed, or nobody knows."""
        stopped = not isinstance(error, MediaAssetsError)
        known = error if isinstance(error, MediaAssetsError) else StoppedError(_STOPPED)
        if self._is_free:
            outcome = "interrupted" if isinstance(known, StoppedError) else "failed"
            await in_thread(self._purchases.write_failed, self._claim, token, known, outcome=outcome)
        elif stopped or known.billed is Billed.UNKNOWN:
            await in_thread(self._purchases.write_unknown, self._claim, known, token=token)
        else:
            settlement = None
            if known.billed is Billed.YES and isinstance(known, PurchaseError):
                failed = Prediction(id=known.prediction_id or "", state=State.FAILED, failure=known)
                settlement = self._order.settlement(failed)
            write = self._purchases.write_failed
            await in_thread(write, self._claim, token, known, outcome="failed", settlement=settlement)

    async def fail_free(self, error: BaseException) -> None:
        """Record that free work failed after it was submitted: it is simply done again."""
        if self._is_free and self.token is not None:
            await self._fail(self.token, error)

    async def release(self, token: str | None = None) -> None:
        """Record that nothing was sent; the next run begins anew."""
        stopped = StoppedError(_STOPPED)
        await in_thread(self._purchases.write_failed, self._claim, token, stopped, outcome="interrupted")
