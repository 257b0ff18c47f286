"""What fal's errors mean: two shapes of body, a few headers, and a model's own errors as answers to a result call.

When such an answer ends a prediction: ``docs/decisions/0012-completed-is-paid-for.md``.

From fal's error pages as read on 2026-11-22. A model's error has a list as ``detail``, an error of the platform a
text, and endpoints that were not migrated a text as well. ``type`` is for programs, ``msg`` only for people.
"""

import re
from collections.abc import Mapping
from typing import Any

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    InsufficientCreditError,
    ModelGoneError,
    OutputLostError,
    PredictionFailedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.prediction import Prediction
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.polled import LOOK, PolledAdapter, quantity_of
from media_assets.providers.refusals import ADVICE, Refusal, text_of
from media_assets.redact import redact_text

_CONTENT = "content_policy_violation"

_TRANSIENT = frozenset(
    {
        "internal_error",
        "request_timeout",
        "runner_connection_error",
        "runner_connection_refused",
        "runner_connection_timeout",
        "runner_disconnected",
        "runner_incomplete_response",
        "runner_scheduling_failure",
        "runner_server_error",
        "startup_timeout",
    }
)
"""Faults of the platform: the model has not answered, and another submit may succeed."""

_FAILED = _TRANSIENT | {
    "client_cancelled",
    "client_disconnected",
    "downstream_service_error",  # comes with status 400
    "downstream_service_unavailable",
    "generation_timeout",
    "internal_server_error",
    "no_media_generated",
}
"""Types that say nothing against the request."""

_OUT_OF_MONEY = re.compile(r"exhausted balance|user is locked|insufficient (?:balance|credit)", re.IGNORECASE)
"""fal has no code for it: a 403 with "User is locked. Reason: Exhausted balance." (bodies users posted in 2026)."""

_UNFINISHED = re.compile(r"still in progress", re.IGNORECASE)
"""Of a result call that came too early (status 400; third-party research of 2026)."""

_ERRORS_FROM, _NOT_FOUND, _UNPROCESSABLE, _TOO_MANY, _CANCELED, _SERVER_FAULTS = 400, 404, 422, 429, 499, 500
_NEVER_FINAL = frozenset({401, 402, 403, 408, 425, 429})
"""Of a result call: they are about the caller or the moment, not about the result, which is paid for."""


class FalErrors(PolledAdapter):
    """The half of the adapter that reads what went wrong."""

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        """Read a reply that is not a 2xx, by what the call was for.

        A result is asked for only after ``COMPLETED`` without an error, so it is there and paid for, unless the model
        itself says otherwise. Its word is a list, or a 422, or that the request was canceled: they are final. Whatever
        else a result call is answered with may be of the moment, so it is asked for again. Where that stays the same
        it says what it says (``if_it_lasts``), but for the platform's own faults: of those the status would have told.
        None of it is proof that nothing was billed, so none of it says ``rerun`` resubmit. A request that is unknown,
        though it was completed, had its result deleted.

        A cancel that came too late (400 ``ALREADY_COMPLETED``) or for an unknown id (404 ``NOT_FOUND``) is a
        ``RequestRejectedError`` with ``rerun`` resume: what became of the prediction, its state says.
        """
        if asked is not Asked.RESULT:
            return super().parse_error(reply, asked, prediction)
        refusal = self.read_refusal(reply)
        if self._is_last_word(reply, refusal):
            return self._model_error(reply, refusal, prediction)
        if reply.status == _NOT_FOUND and refusal.words == ("NOT_FOUND",):
            advice = "decide whether to buy it again"
            return self.error(OutputLostError, reply, asked, refusal, prediction, advice=advice)
        kind = RateLimitedError if reply.status == _TOO_MANY else ProviderUnavailableError
        error = self.unfinished(kind, reply, asked, refusal, prediction)
        if isinstance(error, ProviderUnavailableError):
            error.if_it_lasts = self._lasting(reply, refusal, prediction)
        return error

    def _is_last_word(self, reply: HttpReply, refusal: Refusal) -> bool:
        if reply.status in _NEVER_FINAL or not _ERRORS_FROM <= reply.status < _SERVER_FAULTS:
            return False
        if reply.status == _UNPROCESSABLE:
            return not self.is_passing(reply) or _is_told(reply)
        if reply.status == _NOT_FOUND:
            return _is_told(reply)
        return _is_list(reply, refusal) or (reply.status == _CANCELED and "client_cancelled" in refusal.words)

    def _lasting(self, reply: HttpReply, refusal: Refusal, prediction: Prediction | None) -> PurchaseError | None:
        """Return what an answer means that is the same however often it is asked for; None: nothing more."""
        if reply.status in _NEVER_FINAL or reply.status < _ERRORS_FROM or _is_platform_fault(refusal):
            return None
        if reply.status < _SERVER_FAULTS:
            is_word = _is_told(reply) or reply.status == _CANCELED
            is_early = not refusal.words and _UNFINISHED.search(refusal.message)
            return self._model_error(reply, refusal, prediction) if is_word and not is_early else None
        if not refusal.words:
            return None
        if _is_list(reply, refusal) and prediction is not None and "inference_s" in prediction.reported:
            return self._model_error(reply, refusal, prediction)
        return self.error(UnknownOutcomeError, reply, Asked.RESULT, refusal, prediction, advice=LOOK)

    def _model_error(self, reply: HttpReply, refusal: Refusal, prediction: Prediction | None) -> PurchaseError:
        kind, billed = _kind_of(refusal, reply.status), billed_of(reply)
        advice = ADVICE.get(kind, "use another model, or submit it again on purpose")
        return self.error(kind, reply, Asked.RESULT, refusal, prediction, advice=advice, billed=billed)

    def ended(self, refusal: Refusal, headers: Mapping[str, str], prediction_id: str) -> PurchaseError:
        """Return why a request that is ``COMPLETED`` with an error has failed.

        fal bills successes, and perhaps what ran before a validation failed. Nothing tells which but its units: a
        failure without any is taken as free.
        """
        kind = _kind_of(refusal, None)
        units = quantity_of(headers.get("x-fal-billable-units"))
        billed = Billed.YES if units and not _is_platform_fault(refusal) else Billed.NO
        may_retry = issubclass(kind, PredictionFailedError) and _may_retry(refusal, headers)
        rerun = Rerun.RESUBMIT if may_retry and billed is Billed.NO else None
        marks = f" ({redact_text(refusal.words[0])})" if refusal.words else ""
        said = f"failed{marks}: {redact_text(refusal.message) or 'no reason was given'}"
        return self.failure(kind, prediction_id, said, advice=_advice(kind, rerun), billed=billed, rerun=rerun)

    def read_refusal(self, reply: HttpReply) -> Refusal:
        """Read either shape of error, and those of the queue (``status``) and of the platform's API (``error``)."""
        document = reply.json()
        document = document if isinstance(document, dict) else {}
        named = text_of(document.get("error_type")) or text_of(reply.headers.get("x-fal-error-type"))
        words = (named,) if named else ()
        detail, error = document.get("detail"), document.get("error")
        if isinstance(detail, list):
            return _refusal_of_list(detail, words)
        if isinstance(error, dict):
            words = (*words, *filter(None, [text_of(error.get("type"))]))
            return Refusal(words=words, message=text_of(error.get("message")))
        status = text_of(document.get("status"))
        return Refusal(words=words or tuple(filter(None, [status])), message=text_of(detail) or text_of(error))

    def meaning_of(self, reply: HttpReply, refusal: Refusal) -> type[PurchaseError] | None:
        if reply.status in {401, 402, 403} and _OUT_OF_MONEY.search(refusal.message[:2_000]):
            return InsufficientCreditError
        return ContentRejectedError if _CONTENT in refusal.words else None


def billed_of(reply: HttpReply) -> Billed:
    """Say whether a failed result is billed: 5xx never, else only where fal reports units.

    That a 5xx is the result, and not of the moment, is for the caller to know. The documentation says that a 422 may be
    charged if GPU time was used, and not how to tell (2026-11-22).
    """
    units = quantity_of(reply.headers.get("x-fal-billable-units"))
    return Billed.YES if units and reply.status < _SERVER_FAULTS else Billed.NO


def _is_told(reply: HttpReply) -> bool:
    """Whether a reply is in fal's own words, and not of something in front of it."""
    document = reply.json()
    told = isinstance(document, dict) and (document.get("detail") or document.get("error_type"))
    return bool(told or reply.headers.get("x-fal-error-type"))


def _is_list(reply: HttpReply, refusal: Refusal) -> bool:
    """Whether a reply has the shape of a model's own error: a list of faults with their types."""
    document = reply.json()
    return isinstance(document, dict) and isinstance(document.get("detail"), list) and bool(refusal.words)


def _is_platform_fault(refusal: Refusal) -> bool:
    return any(word in _TRANSIENT for word in refusal.words)


def _kind_of(refusal: Refusal, status: int | None) -> type[PurchaseError]:
    if _CONTENT in refusal.words:
        return ContentRejectedError
    is_failure = status is None or status >= _CANCELED or any(word in _FAILED for word in refusal.words)
    if is_failure:
        return PredictionFailedError
    # A queue takes requests for paths that the app does not have; its own web framework then says 404 (our reading).
    return ModelGoneError if status == _NOT_FOUND else RequestRejectedError


def _may_retry(refusal: Refusal, headers: Mapping[str, str]) -> bool:
    """Whether another submit may succeed: fal's header decides; where it is missing, the type does.

    fal advises against a retry after a deadline of the caller's own, which passed in the queue. But it is free, and
    the queue may be shorter then.
    """
    if headers.get("x-fal-request-timeout-type", "").strip().lower() == "user":
        return True
    told = headers.get("x-fal-retryable", "").strip().lower()
    if told in {"true", "false", "1", "0"}:
        return told in {"true", "1"}
    return _is_platform_fault(refusal) or "client_cancelled" in refusal.words


def _advice(kind: type[PurchaseError], rerun: Rerun | None) -> str:
    if rerun is Rerun.RESUBMIT:
        return "a rerun submits it again"
    return ADVICE.get(kind, "change the request or use another model")


def _refusal_of_list(faults: list[Any], words: tuple[str, ...]) -> Refusal:
    fields, said, types = list[str](), list[str](), list[str]()
    for fault in faults[:20]:
        if not isinstance(fault, dict):
            continue
        place = fault.get("loc")
        steps = [str(step) for step in place[:10] if isinstance(step, str | int)] if isinstance(place, list) else []
        name = ".".join(steps[1:] if steps[:1] == ["body"] else steps)
        message = text_of(fault.get("msg"))
        fields += [name] if name else []
        said.append(f"{name}: {message}" if name else message)
        types += [text_of(fault.get("type"))] if text_of(fault.get("type")) else []
    return Refusal(words=(*types, *words), message="; ".join(said), fields=tuple(fields))
