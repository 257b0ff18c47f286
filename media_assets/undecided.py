"""What became of a submission that nobody heard of: its reply was lost, or its process died. Called by ``purchase.py``.

    a spooled reply → read it · the provider's list shows it → adopt it · the complete list does not, and is old
    enough → it was never accepted, and may be sent again · anything else → UNKNOWN, for a person to decide

Nothing here costs money, and nothing is concluded from silence before ``settle_lag_s`` has passed since the last moment
at which the submission could have arrived.
"""

import asyncio
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from media_assets.catalog import Recovery
from media_assets.crash_points import crash_point
from media_assets.errors import (
    Billed,
    MediaAssetsError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    UnknownOutcomeError,
)
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim, PredictionTakenError
from media_assets.ledger.clock import elapsed_s
from media_assets.ledger.lookups import Attempt
from media_assets.orders import Order
from media_assets.prediction import Prediction
from media_assets.providers.base import Adapter
from media_assets.providers.listing import Listed, Listing
from media_assets.providers.transport import Transport
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)

_MARGIN = timedelta(hours=1)
"""By which a provider's clock and ours may differ: what is older than the submission by more is not looked at."""
_OLDEST = timedelta(days=30)
"""What is older is not looked for: no provider keeps what it would be known by."""


def can_be_cleared_up(transport: Transport, order: Order) -> bool:
    """Whether a provider can say what came of a submission whose reply was lost."""
    return order.spec.recovery is Recovery.LISTED and transport.adapter(order.request.provider).lists(order.request)


def _passed_s(attempt: Attempt) -> float:
    return elapsed_s(attempt.clock_mark) if attempt.clock_mark else math.inf


@dataclass(kw_only=True)
class Undecided:
    """One purchase whose last submission has no recorded outcome."""

    claim: Claim
    order: Order
    ledger: Ledger
    transport: Transport

    @property
    def _adapter(self) -> Adapter:
        return self.transport.adapter(self.order.request.provider)

    @property
    def _digests(self) -> list[str]:
        """Of the files that the request builds on: the store names them so."""
        return [path.stem for path in self.order.inputs.values()]

    async def clear_up(self) -> Prediction | None:
        """Find out what came of the submission; the finding is recorded.

        Returns:
            The prediction, whose id is durable now; None where the submission was provably never accepted, so that
            the purchase is as before it and may be submitted again.

        Raises:
            UnknownOutcomeError: Nobody can know, or not yet and the order does not wait; recorded.
            PurchaseError: The spooled reply was a refusal; recorded.
        """
        attempt = await in_thread(self.ledger.purchases.last_attempt, self.claim.request_key)
        if attempt is None:
            await self._give_up("there is no record of the submission.", None)
        try:
            if (read := await self._spooled(attempt)) is not None:
                return read
        except RateLimitedError:
            return None
        if not can_be_cleared_up(self.transport, self.order):
            reason = (
                f"{self.order.request.provider} keeps no list in which it could be found; whether it was billed is "
                "unknown, so it is not sent again."
            )
            await self._give_up(reason, attempt)
        return await self._from_the_list(attempt)

    async def _spooled(self, attempt: Attempt) -> Prediction | None:
        """Read the reply that came and was not recorded."""
        try:
            read = await in_thread(self.transport.read_spooled, self.order.request, attempt.token)
        except RateLimitedError as error:
            await self._put_back(attempt, error)
            raise
        except PurchaseError as error:
            if error.billed is not Billed.NO:
                return None  # a reply that nobody can read: what it stands for may be in the list
            await in_thread(self.ledger.purchases.write_failed, self.claim, attempt.token, error, outcome="failed")
            raise
        if read is None:
            return None
        try:
            await self._adopt(attempt, read)
        except PredictionTakenError:
            # One whose input looks the same found it in the list, and took it for its own: that one's may be ours.
            return None
        return read

    async def _adopt(self, attempt: Attempt, prediction: Prediction) -> None:
        await in_thread(self.ledger.purchases.write_submitted, self.claim, attempt.token, prediction)
        crash_point("adopted")
        _log.info("purchase %s goes on with prediction %s", self.claim.request_key[:12], prediction.id)

    async def _from_the_list(self, attempt: Attempt) -> Prediction | None:
        """Look for the submission in the provider's list, until it is there or its absence is a proof."""
        while True:
            left_s, _ = self._left_s(attempt)
            await self._wait(attempt, left_s)
            # Reckoned before the list is read: what it does not show later says nothing of earlier.
            _, proof_left_s = self._left_s(attempt)
            listing = await self._listing(attempt)
            candidates = await self._candidates(listing)
            if candidates:
                return await self._only(attempt, candidates)
            if not listing.complete:
                reason = f"{self.order.request.provider}'s list could not be read to its end."
                await self._give_up(reason, attempt, is_last_word=False)
            if proof_left_s <= 0:
                provider = self.order.request.provider
                message = f"{provider}'s list shows that the submission never arrived; it is sent again."
                await self._put_back(attempt, ProviderUnavailableError(message, provider=provider))
                return None
            await self._wait(attempt, proof_left_s, longest_s=self.transport.options.settle_lag_s)

    def _left_s(self, attempt: Attempt) -> tuple[float, float]:
        """Return the seconds until the list is worth asking, and until what it does not show was never accepted."""
        spec = self.order.spec
        # What its process died of may still have been sent until its deadline; what ended, ended then.
        may_arrive_s = 0.0 if attempt.has_ended else self.transport.post_deadline_s(spec)
        settled_s = may_arrive_s + self.transport.options.settle_lag_s
        # A list of what has ended shows a submission only once it can be waiting and running no longer.
        works_s = 0.0 if self._adapter.lists_running else spec.queue_deadline_s + spec.run_deadline_s
        passed_s = _passed_s(attempt)
        return settled_s - passed_s, settled_s + works_s - passed_s

    async def _wait(self, attempt: Attempt, left_s: float, *, longest_s: float = math.inf) -> None:
        if left_s <= 0:
            return
        provider = self.order.request.provider
        if not self.order.waits:
            reason = f"{provider} can be asked what came of it in {left_s:.0f} s; run again then."
            await self._give_up(reason, attempt, is_last_word=False)
        self.order.say(f"waits {left_s:.0f} s until {provider}'s list tells what came of a submission without a reply")
        async with self.order.aside():
            await asyncio.sleep(min(left_s, longest_s))

    async def _listing(self, attempt: Attempt) -> Listing:
        now = datetime.now(UTC)
        passed_s = min(_passed_s(attempt), _OLDEST.total_seconds())
        since = now - timedelta(seconds=passed_s) - _MARGIN
        request = self.order.request
        try:
            return await self.transport.list_predictions(
                request.provider, endpoints=[request.endpoint], since=since, until=now + _MARGIN
            )
        except MediaAssetsError as error:
            reason = f"{request.provider}'s list could not be had: {error.message}"
            await self._give_up(reason, attempt, is_last_word=False)

    async def _candidates(self, listing: Listing) -> list[Listed]:
        """Return what may have become of the submission, and is nobody else's."""
        request = self.order.request
        alike = [one for one in listing.items if self._adapter.is_of(request, one, digests=self._digests)]
        ids = {one.prediction.id for one in alike} | {other for one in alike for other in one.other_ids}
        taken = await in_thread(self.ledger.purchases.ids_taken, request.provider, ids)
        return [one for one in alike if not taken & {one.prediction.id, *one.other_ids}]

    async def _only(self, attempt: Attempt, candidates: list[Listed]) -> Prediction:
        """Return the one prediction that must be it, or give up."""
        request = self.order.request
        (first, *more) = candidates
        if more or not self._adapter.is_surely_of(request, first, digests=self._digests):
            ids = ", ".join(one.prediction.id for one in candidates[:5])
            reason = f"{request.provider} lists {len(candidates)} that it may have become ({ids}), and not which."
            await self._give_up(reason, attempt)
        prediction = first.to_follow()
        await self._adopt(attempt, prediction)
        return prediction

    async def _put_back(self, attempt: Attempt, error: PurchaseError) -> None:
        """Record that the submission was provably not accepted."""
        await in_thread(self.ledger.purchases.write_put_back, self.claim, attempt.token, error, block_s=0.0)
        crash_point("cleared")

    async def _give_up(self, reason: str, attempt: Attempt | None, *, is_last_word: bool = True) -> NoReturn:
        message = (
            f"a submission was sent and no reply was recorded: {reason} It keeps its budget. Look on the provider's "
            f"site, then use `media-assets ledger adopt|resubmit|write-off {self.claim.request_key[:12]}`."
        )
        row = self.claim.row
        error = UnknownOutcomeError(message, prediction_id=row.prediction_id if row else None)
        error.is_last_word = is_last_word
        token = attempt.token if attempt is not None and attempt.outcome is None else None
        await in_thread(self.ledger.purchases.write_unknown, self.claim, error, token=token)
        raise error
