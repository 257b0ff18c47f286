"""What a reply means, or that there was none: the errors and predictions of one exchange."""

from datetime import UTC, datetime

from media_assets.errors import (
    Billed,
    MediaAssetsError,
    OutputLostError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.prediction import Prediction, State
from media_assets.providers.base import Adapter, Asked, HttpReply
from media_assets.providers.transport.retry_after import wait_s
from media_assets.providers.transport.wire import ReplyTooLargeError
from media_assets.request import GenerationRequest

_LONGEST_RETRY_AFTER_S = 600.0


def unanswered(adapter: Adapter, error: Exception, known: Prediction | None) -> ProviderUnavailableError:
    """Return the error for a call that costs nothing and had no answer."""
    if known is None:
        message = f"{adapter.name} did not answer: {error}. Nothing was bought."
        return ProviderUnavailableError(message, provider=adapter.name)
    message = (
        f"{adapter.name} did not answer when asked about prediction {known.id}: {error}. The prediction is not lost; "
        "run again to go on with it: that costs nothing more."
    )
    return ProviderUnavailableError(
        message, provider=adapter.name, prediction_id=known.id, rerun=Rerun.RESUME, billed=Billed.UNKNOWN
    )


REFUSED = frozenset({400, 401, 402, 403, 404, 413, 415, 422, 429})
"""Statuses of a submit that say: not accepted. Every other one leaves open whether work began, 503 included."""


def read_submit_reply(adapter: Adapter, reply: HttpReply, request: GenerationRequest) -> Prediction:
    """Return the prediction that a reply to a submit tells of.

    Raises:
        PurchaseError: It was refused, or nobody knows; ``billed`` says which.
    """
    if reply.is_success:
        return read_submitted(adapter, reply, request)
    if reply.status not in REFUSED:
        undecided = unknown(adapter, f"it answered with status {reply.status}")
        undecided.http_status = reply.status
        raise undecided
    refusal = read_refused(adapter, reply, Asked.SUBMIT, None)
    refusal.billed = Billed.NO
    raise refusal


def read_submitted(adapter: Adapter, reply: HttpReply, request: GenerationRequest) -> Prediction:
    """Return the prediction that a 2xx to a submit tells of."""
    try:
        return adapter.where_to_ask(adapter.parse(reply, Asked.SUBMIT), request)
    except MediaAssetsError as error:
        # It was accepted, so it may have been billed, whatever the adapter made of it.
        error.billed = Billed.UNKNOWN
        if isinstance(error, PurchaseError):
            error.http_status = reply.status
            if error.prediction_id is not None:
                known = Prediction(id=error.prediction_id, state=State.UNKNOWN, remote_state="unread")
                known = adapter.where_to_ask(known, request)
                if adapter.status_call(known) is not None:
                    return known
        raise


def read_refused(adapter: Adapter, reply: HttpReply, asked: Asked, known: Prediction | None) -> PurchaseError:
    """Return what a reply that is not a 2xx says."""
    error = adapter.parse_error(reply, asked, known)
    error.http_status = reply.status
    if isinstance(error, RateLimitedError):
        error.retry_after_s = wait_s(
            reply.headers, error.retry_after_s, now=datetime.now(UTC), cap_s=_LONGEST_RETRY_AFTER_S
        )
    if isinstance(error, ProviderUnavailableError) and error.if_it_lasts is not None:
        error.if_it_lasts.http_status = reply.status
    return error


def unknown(adapter: Adapter, reason: str) -> UnknownOutcomeError:
    """Return the error for a submit that was sent, and of which nobody knows what came."""
    message = (
        f"the submission to {adapter.name} was sent, and {reason}. It may have been accepted and billed, so it is not "
        "sent again: look for it on the provider's site."
    )
    return UnknownOutcomeError(message, provider=adapter.name)


def too_large(adapter: Adapter, error: ReplyTooLargeError, known: Prediction | None) -> OutputLostError:
    """Return the error for an output inside a reply that is larger than is taken: it was made, and is paid for."""
    name = known.id if known is not None else adapter.named_in(error.headers)
    message = (
        f"{adapter.name} made the output{f' of {name}' if name else ''}, and it was not taken: {error}. "
        "It is paid for; ask for less in one request, and decide whether to buy it again."
    )
    lost = OutputLostError(message, provider=adapter.name, prediction_id=name)
    lost.http_status = error.status
    return lost
