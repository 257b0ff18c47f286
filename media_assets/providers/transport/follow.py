"""Waiting for a prediction: polls are free and repeatable, and only a deadline ends the wait.

Ending the wait is not failing the prediction: it is still there, and a rerun goes on with it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from media_assets.catalog import ModelSpec
from media_assets.errors import Billed, PredictionTimeoutError, PurchaseError, Rerun, UnknownOutcomeError
from media_assets.prediction import Prediction, State
from media_assets.providers.base import Adapter, Asked, HttpCall, HttpReply
from media_assets.providers.transport.options import TransportOptions

_log = logging.getLogger(__name__)

_GROWTH = 1.5
_NOT_FOUND = 404
Send = Callable[[HttpCall, Asked, Prediction], Awaitable[HttpReply]]
"""Sends a call that may be sent again, and returns whatever final answer there is."""


@dataclass(kw_only=True)
class Following:
    """One prediction being waited for."""

    adapter: Adapter
    spec: ModelSpec
    options: TransportOptions
    send: Send
    on_change: Callable[[Prediction], Awaitable[None]]
    """Told of each change of state, so that it can be recorded."""
    tell: Callable[[float], None]

    async def to_the_end(self, prediction: Prediction) -> Prediction:
        """Return the prediction in its final state, with its outputs or its failure.

        Raises:
            PredictionTimeoutError: It is still not final at the model's deadline; a rerun goes on waiting.
            UnknownOutcomeError: The provider does not know it.
        """
        began = time.monotonic()
        runs_since: float | None = None
        wait_s = self.options.poll_first_s
        while not prediction.state.is_final:
            now = time.monotonic()
            if prediction.state is State.RUNNING and runs_since is None:
                runs_since = now
            if self._is_too_late(prediction, began=began, runs_since=runs_since, now=now):
                return await self._give_up(prediction)
            # Jitter keeps many waiting chains from asking in step.
            await asyncio.sleep(wait_s * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret
            wait_s = min(wait_s * _GROWTH, self.options.poll_longest_s)
            before, prediction = prediction, await self._asked(prediction, age_s=now - began)
            if prediction.progress is not None:
                self.tell(prediction.progress)
            if prediction.remote_state != before.remote_state:
                await self._changed(prediction)
        return await self._with_result(prediction)

    def _is_too_late(self, prediction: Prediction, *, began: float, runs_since: float | None, now: float) -> bool:
        if runs_since is not None:
            return now - runs_since > self.spec.run_deadline_s + self.options.deadline_grace_s
        if prediction.state is State.QUEUED:
            return now - began > self.spec.queue_deadline_s
        return now - began > self.spec.queue_deadline_s + self.spec.run_deadline_s

    async def _asked(self, prediction: Prediction, *, age_s: float) -> Prediction:
        call = self.adapter.status_call(prediction)
        if call is None:
            message = f"{self.adapter.name} cannot be asked about a prediction, and its reply was lost."
            raise UnknownOutcomeError(message, prediction_id=prediction.id)
        reply = await self.send(call, Asked.STATUS, prediction)
        if reply.status == _NOT_FOUND:
            if age_s <= self.options.not_found_grace_s:
                return prediction  # created a moment ago, and not everywhere yet
            message = (
                f"{self.adapter.name} does not know prediction {prediction.id}. It may have been billed all the same: "
                "look for it on the provider's site before it is bought again."
            )
            raise UnknownOutcomeError(message, prediction_id=prediction.id)
        if not reply.is_success:
            raise self.adapter.parse_error(reply, Asked.STATUS, prediction)
        return self.adapter.parse(reply, Asked.STATUS, prediction)

    async def _changed(self, prediction: Prediction) -> None:
        if prediction.state is State.UNKNOWN:
            _log.warning(
                "%s says %r of prediction %s, a state this version does not know; it is waited for",
                self.adapter.name,
                prediction.remote_state[:40],
                prediction.id,
            )
        await self.on_change(prediction)

    async def _with_result(self, prediction: Prediction) -> Prediction:
        if prediction.state is not State.SUCCEEDED or prediction.outputs:
            return prediction
        call = self.adapter.result_call(prediction)
        if call is None:
            return prediction
        reply = await self.send(call, Asked.RESULT, prediction)
        if reply.is_success:
            return self.adapter.parse(reply, Asked.RESULT, prediction)
        failure = self.adapter.parse_error(reply, Asked.RESULT, prediction)
        failure.http_status = reply.status
        return replace(prediction, state=State.FAILED, failure=failure)

    async def _give_up(self, prediction: Prediction) -> Prediction:
        """Stop waiting: what is still queued is called back first, since that is free."""
        if prediction.state is State.QUEUED and (call := self.adapter.cancel_call(prediction)) is not None:
            try:
                await self.send(call, Asked.CANCEL, prediction)
                now = await self._asked(prediction, age_s=0.0)
            except PurchaseError as error:
                _log.warning("calling back prediction %s: %s", prediction.id, error.message)
            else:
                if now.state.is_final:
                    return await self._with_result(now)
                prediction = now
        queued = prediction.state is State.QUEUED
        limit_s = self.spec.queue_deadline_s if queued else self.spec.run_deadline_s
        message = (
            f"prediction {prediction.id} is still {prediction.state} after {limit_s:g} s. It goes on at "
            f"{self.adapter.name}; run again to wait on: that costs nothing more."
        )
        billed = Billed.UNKNOWN if queued else Billed.YES
        raise PredictionTimeoutError(message, prediction_id=prediction.id, rerun=Rerun.RESUME, billed=billed)
