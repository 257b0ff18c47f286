"""A run that is told to stop while it waits for what it has submitted: what is called back, what is still waited for.

Called by ``purchase.py``. What a provider is asked is in ``providers/transport/follow.py``; the policy and the time for
all this are ``on_cancel`` and ``cancel_grace_s`` of the transport's options.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim
from media_assets.orders import Order
from media_assets.providers.transport import TransportOptions
from media_assets.recall import OnCancel
from media_assets.threads import in_thread, wait_for_end

_log = logging.getLogger(__name__)

T = TypeVar("T")

_LET_GO_S = 1.0
"""How long it is waited for others that want the same purchase: who is told to stop together lets go together."""
_ASK_EVERY_S = 0.05


class Stopping:
    """Brings what was submitted to its end, as far as there is time for it once the run is told to stop."""

    def __init__(self, ledger: Ledger, options: TransportOptions) -> None:
        self._purchases = ledger.purchases
        self._options = options

    async def in_time(
        self,
        claim: Claim,
        order: Order,
        finishing: Coroutine[Any, Any, T],
        *,
        canceled: asyncio.CancelledError | None = None,
    ) -> T:
        """Return what ``finishing`` returns. When canceled, go on for the time of the clean-up, and be canceled then.

        Another cancellation does not cut that short. What is not finished in time stays open in the ledger.

        Args:
            claim: The purchase.
            order: What it is for; its recall is heeded by ``finishing``.
            finishing: Follows the prediction, and stores what it made.
            canceled: That this was canceled before it began.
        """
        running = asyncio.ensure_future(finishing)
        try:
            if canceled is not None:
                raise canceled
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await wait_for_end(asyncio.ensure_future(self._stop(claim, order, running)))
            raise

    async def _stop(self, claim: Claim, order: Order, running: "asyncio.Future[Any]") -> None:
        until = time.monotonic() + self._options.cancel_grace_s
        if await self._is_to_be_called_back(claim, order, running):
            order.recall.ask("the run was stopped", spares_running=False)
            await asyncio.wait({running}, timeout=max(until - time.monotonic(), 0.0))
        if not running.done():
            running.cancel()
            await wait_for_end(running)
        order.say(_outcome(order, running))

    async def _is_to_be_called_back(self, claim: Claim, order: Order, running: "asyncio.Future[Any]") -> bool:
        """Record that it is, before anything is sent; False where others want it, or it is left alone anyway."""
        if self._options.on_cancel is OnCancel.DETACH or not order.calls_back:
            return False
        until = time.monotonic() + min(_LET_GO_S, self._options.cancel_grace_s)
        while not running.done():
            try:
                if await in_thread(self._purchases.request_cancel, claim, plan_id=order.plan_id):
                    return True
            except MediaAssetsError as error:
                _log.warning("purchase %s is not called back: %s", claim.request_key[:12], error.message)
                return False
            if time.monotonic() >= until:
                return False
            await asyncio.wait({running}, timeout=_ASK_EVERY_S)
        return False


def _outcome(order: Order, running: "asyncio.Future[Any]") -> str:
    if running.cancelled():
        return f"left as it is at {order.request.provider}: the next run goes on with it"
    error = running.exception()
    if error is None:
        return "ended while the run was stopping, and is kept"
    return error.message if isinstance(error, MediaAssetsError) else f"ended with {type(error).__name__}"
