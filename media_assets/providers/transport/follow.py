"""Waiting for a prediction: polls are free and repeatable, and only a deadline ends the wait.

Ending the wait is not failing the prediction: it is still there, and a rerun goes on with it. What is called back is
waited for as well: a cancel is a request, and only the state that the provider tells afterwards says what came of it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from media_assets.catalog import ModelSpec
from media_assets.crash_points import crash_point
from media_assets.errors import (
    Billed,
    OutputLostError,
    PredictionTimeoutError,
    ProviderUnavailableError,
    PurchaseError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.prediction import Prediction, State
from media_assets.providers.base import Adapter, Asked, HttpCall, HttpReply
from media_assets.providers.transport.options import TransportOptions
from media_assets.recall import OnCancel, Recall

_log = logging.getLogger(__name__)

_GROWTH = 1.5
_NOT_FOUND = 404


async def consent() -> bool:
    """Let every cancel be sent."""
    return True


def _tell_nobody(_fraction: float) -> None:
    """Tell nobody of progress: it is over."""


async def _no_change(_prediction: Prediction) -> None:
    """Record nothing: what is asked again has been recorded, or is nobody's purchase."""


Ask = Callable[[HttpCall, Asked, Prediction], Awaitable[Prediction | HttpReply]]
"""Sends a call that may be sent again; returns what the answer says of the prediction, or a refusal that is final.

The answer to a cancel is returned as it came: what became of the prediction, its state says.
"""


@dataclass(kw_only=True)
class Following:
    """One prediction being waited for."""

    adapter: Adapter
    spec: ModelSpec
    options: TransportOptions
    ask: Ask
    on_change: Callable[[Prediction], Awaitable[None]] = _no_change
    """Told of each change of state, so that it can be recorded."""
    tell: Callable[[float], None] = _tell_nobody
    recall: Recall = field(default_factory=Recall)
    """Heeded between two questions."""
    before_cancel: Callable[[], Awaitable[bool]] = consent
    """Told before a cancel is sent because of ``recall``, so that it can be recorded; False: it is not to be sent."""
    _recall_is_seen: bool = field(default=False, init=False)
    _unknown_since: float | None = field(default=None, init=False)
    """Since when the provider says that it does not know the prediction; None: it knows it."""

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
                return await self._give_up(prediction, now - began)
            is_first = await self._pause(wait_s)
            wait_s = self.options.poll_first_s if is_first else min(wait_s * _GROWTH, self.options.poll_longest_s)
            before, prediction = prediction, await self._asked(prediction)
            crash_point("poll.each")
            if prediction.progress is not None:
                self.tell(prediction.progress)
            if prediction.remote_state != before.remote_state:
                await self._changed(prediction)
            if self._recall_is_seen:
                await self._heed_recall(prediction)
        return await self._with_result(prediction)

    async def _pause(self, wait_s: float) -> bool:
        """Wait until it is asked next: at once, and True, when the prediction is called back meanwhile."""
        # Jitter keeps many waiting chains from asking in step.
        jittered_s = wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret
        if self._recall_is_seen:
            await asyncio.sleep(jittered_s)
            return False
        await self.recall.wait(jittered_s)
        self._recall_is_seen = self.recall.is_asked
        return self._recall_is_seen

    async def _heed_recall(self, prediction: Prediction) -> None:
        """Have a prediction canceled that nobody waits for, where the policy says so and as it stands just now.

        Where the provider does not take it, it is sent again after the next question.
        """
        if self.recall.is_heeded or not self._may_be_canceled(prediction.state):
            return
        try:
            if await self.before_cancel():
                self.recall.is_heeded = await self._send_cancel(prediction)
        except PurchaseError as error:
            _log.warning("calling back prediction %s: %s", prediction.id, error.message)

    def _may_be_canceled(self, state: State) -> bool:
        policy = self.options.on_cancel
        if policy is OnCancel.DETACH or self.spec.cancel == "none" or state.is_final:
            return False
        if state is State.QUEUED:
            return True
        is_asked_for = policy is OnCancel.CANCEL_ALWAYS and not self.recall.spares_running
        return is_asked_for and self.spec.cancel == "running"

    async def once_more(self, prediction: Prediction) -> Prediction:
        """Ask again about a prediction that has succeeded, for its outputs as they stand now.

        Raises:
            UnknownOutcomeError: The provider does not know it any more.
            PurchaseError: It cannot be asked just now.
        """
        known = await self._asked(replace(prediction, outputs=()))
        return await self._with_result(known)

    def _is_too_late(self, prediction: Prediction, *, began: float, runs_since: float | None, now: float) -> bool:
        if runs_since is not None:
            return now - runs_since > self.spec.run_deadline_s + self.options.deadline_grace_s
        if prediction.state is State.QUEUED:
            return now - began > self.spec.queue_deadline_s
        return now - began > self.spec.queue_deadline_s + self.spec.run_deadline_s

    async def _asked(self, prediction: Prediction) -> Prediction:
        call = self.adapter.status_call(prediction)
        if call is None:
            message = f"{self.adapter.name} cannot be asked about a prediction, and its reply was lost."
            raise UnknownOutcomeError(message, prediction_id=prediction.id)
        answer = await self.ask(call, Asked.STATUS, prediction)
        if isinstance(answer, Prediction):
            self._unknown_since = None
            return answer
        if answer.status != _NOT_FOUND:
            raise self._error(answer, Asked.STATUS, prediction)
        if self._may_be_found():
            return prediction
        message = (
            f"{self.adapter.name} does not know prediction {prediction.id}. It may have been billed all the same: "
            "look for it on the provider's site before it is bought again."
        )
        raise UnknownOutcomeError(message, prediction_id=prediction.id)

    def _may_be_found(self) -> bool:
        """Whether a provider that does not know a prediction may know it in a moment: its servers are many."""
        now = time.monotonic()
        self._unknown_since = now if self._unknown_since is None else self._unknown_since
        return now - self._unknown_since <= self.options.not_found_grace_s

    def _error(self, reply: HttpReply, asked: Asked, prediction: Prediction) -> PurchaseError:
        error = self.adapter.parse_error(reply, asked, prediction)
        error.http_status = reply.status
        return error

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
        failure = await self._result(call, prediction)
        if isinstance(failure, Prediction):
            return failure
        if failure.rerun is Rerun.RESUME or isinstance(failure, UnknownOutcomeError):
            raise failure  # about the caller or the moment: no word on the prediction, which is paid for
        return replace(prediction, state=State.FAILED, failure=failure)

    async def _result(self, call: HttpCall, prediction: Prediction) -> Prediction | PurchaseError:
        """Return the result, or why there is none, once that is no matter of the moment."""
        wait_s = self.options.poll_first_s
        self._unknown_since = None
        while True:
            try:
                answer = await self.ask(call, Asked.RESULT, prediction)
            except ProviderUnavailableError as error:
                if error.if_it_lasts is None:
                    raise
                return error.if_it_lasts
            except OutputLostError as lost:
                return lost
            if isinstance(answer, Prediction):
                return answer
            if answer.status != _NOT_FOUND or not self._may_be_found():
                return self._error(answer, Asked.RESULT, prediction)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * _GROWTH, self.options.poll_longest_s)

    async def _give_up(self, prediction: Prediction, waited_s: float) -> Prediction:
        """Stop waiting: what is still queued is called back first, since that is free.

        What runs is paid for, so it is left to end, but for one case: where it is paid by the second, nothing else than
        its deadline bounds what was reserved for it, and a provider that does not keep that deadline is told to stop.
        """
        is_unbounded = self.spec.paid_by_time and self.spec.cancel == "running"
        if prediction.state is State.QUEUED or is_unbounded:
            prediction = await self._called_back(prediction)
            if prediction.state.is_final:
                return await self._with_result(prediction)
        message = (
            f"prediction {prediction.id} is still {prediction.state} after {waited_s:.0f} s, and is waited for no "
            f"longer. It may go on at {self.adapter.name}; run again to wait on: that costs nothing more."
        )
        billed = Billed.YES if prediction.state is State.RUNNING else Billed.UNKNOWN
        raise PredictionTimeoutError(
            message, provider=self.adapter.name, prediction_id=prediction.id, rerun=Rerun.RESUME, billed=billed
        )

    async def _called_back(self, prediction: Prediction) -> Prediction:
        """Cancel a prediction, and return how it stands once that shows, or as it stood."""
        if self.adapter.cancel_call(prediction) is None:
            return prediction
        until = time.monotonic() + self.options.deadline_grace_s
        wait_s = self.options.poll_first_s
        try:
            await self._send_cancel(prediction)
            while not (prediction := await self._asked(prediction)).state.is_final:
                # A cancel is a request: it takes a moment, and may come too late.
                if time.monotonic() >= until:
                    break
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * _GROWTH, self.options.poll_longest_s)
        except PurchaseError as error:
            _log.warning("calling back prediction %s: %s", prediction.id, error.message)
        else:
            await self._changed(prediction)
        return prediction

    async def _send_cancel(self, prediction: Prediction) -> bool:
        """Ask the provider to cancel; return whether it was sent and taken. What comes of it, the state says."""
        call = self.adapter.cancel_call(prediction)
        if call is None:
            return False
        crash_point("cancel.before_send")
        answer = await self.ask(call, Asked.CANCEL, prediction)
        crash_point("cancel.after_send")
        return isinstance(answer, Prediction) or answer.is_success
