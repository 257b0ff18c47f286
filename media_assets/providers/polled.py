"""What the providers share that are asked again and again: a submit begins a prediction, and its state is polled.

The id is everything: with it, an answer that cannot be read costs another question, never another submit. So an error
that is no final word on a prediction says ``rerun`` resume and ``billed`` unknown, whatever its class says elsewhere.
"""

import re
from abc import abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from media_assets.errors import (
    Billed,
    InsufficientCreditError,
    KeyRejectedError,
    ModelGoneError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.media.sniff import HEAD_BYTES
from media_assets.prediction import Prediction
from media_assets.providers.base import Adapter, Asked, HttpReply
from media_assets.providers.list_reading import kind_of_refusal
from media_assets.providers.refusals import ADVICE, REFUSED, Refusal, describe_answer, seconds_of
from media_assets.redact import redact_text

IS_BILLED: Mapping[Billed, str] = {
    Billed.NO: "it is not billed",
    Billed.YES: "it is billed",
    Billed.UNKNOWN: "it may be billed",
}

_WHAT: Mapping[Asked, str] = {
    Asked.SUBMIT: "a submit",
    Asked.STATUS: "a question for the state",
    Asked.RESULT: "a question for the result",
    Asked.CANCEL: "a cancel",
    Asked.UPLOAD: "an upload",
    Asked.LIST: "a question for its list",
    Asked.BILL: "a question for its bill",
}
LISTS = frozenset({Asked.LIST, Asked.BILL})
"""What is asked of an account, not of one prediction: free, and no word on what is paid for."""
_LATER = "run again to go on with it: that costs nothing more"
LOOK = "it may have been carried out and billed: look for it on the provider's site before it is bought again"

_REFUSED_SUBMIT: Mapping[int, type[PurchaseError]] = {**REFUSED, 404: ModelGoneError}
_ACCESS: Mapping[int, type[PurchaseError]] = {status: REFUSED[status] for status in (401, 402, 403)}
_TRY_AGAIN = frozenset({408, 425})
_SERVER_FAULTS = 500
_NOT_FOUND, _TOO_MANY = 404, 429

_LONGEST_ID = 200
_QUANTITY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?")
_LARGEST_QUANTITY = 10**12


def quantity_of(value: Any) -> Decimal | None:
    """Return what a provider says it used; None where that is no number from 0 to 10^12.

    Replicate reports times such as 3e-06 s.
    """
    if not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    quantity = Decimal(text) if _QUANTITY.fullmatch(text) else None
    return quantity if quantity is not None and quantity <= _LARGEST_QUANTITY else None


def quantities(**named: Any) -> dict[str, Decimal]:
    """Return those values that are quantities."""
    read = {name: quantity_of(value) for name, value in named.items()}
    return {name: quantity for name, quantity in read.items() if quantity is not None}


def id_of(value: Any) -> str | None:
    """Return the id in a reply, which is kept however odd it is; None where there is none."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return (_verbatim(text, limit=_LONGEST_ID) or None) if isinstance(text, str) else None


def state_word(value: str) -> str:
    """Return the provider's word for a state, as it is kept and shown."""
    return _verbatim(value, limit=100)


def _verbatim(text: str, *, limit: int) -> str:
    return text if text.isprintable() and len(text) <= limit else redact_text(text, limit=limit)


class PolledAdapter(Adapter):
    """The half of an adapter that reads refusals, for a provider whose predictions take their time."""

    @abstractmethod
    def read_refusal(self, reply: HttpReply) -> Refusal:
        """Read an error body; an unreadable one gives an empty refusal."""

    @abstractmethod
    def meaning_of(self, reply: HttpReply, refusal: Refusal) -> type[PurchaseError] | None:
        """Return what a refusal's words mean, where they say more than the status."""

    def wait_s(self, reply: HttpReply) -> float | None:
        """Return the seconds that a reply asks to wait."""
        return seconds_of(reply.headers)

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        """Read a reply that is not a 2xx, by what the call was for.

        A submit: refused and not billed, or ``UnknownOutcomeError``. An upload: nothing is billed. A cancel that came
        too late, or for an unknown id, is a ``RequestRejectedError`` with ``rerun`` resume: ask for the state. Of a
        list or a bill: it cannot be read, and nothing is billed by asking.
        """
        refusal = self.read_refusal(reply)
        if asked in LISTS:
            return self._list_error(reply, asked, refusal)
        if asked is Asked.SUBMIT:
            return self._submit_error(reply, refusal)
        if asked is Asked.UPLOAD:
            return self._upload_error(reply, refusal)
        return self._question_error(reply, asked, refusal, prediction)

    def _submit_error(self, reply: HttpReply, refusal: Refusal) -> PurchaseError:
        if reply.status not in _REFUSED_SUBMIT:
            return self.error(UnknownOutcomeError, reply, Asked.SUBMIT, refusal, advice=LOOK)
        kind = self.meaning_of(reply, refusal) or _REFUSED_SUBMIT[reply.status]
        return self.error(kind, reply, Asked.SUBMIT, refusal, billed=Billed.NO)

    def _upload_error(self, reply: HttpReply, refusal: Refusal) -> PurchaseError:
        if reply.status not in REFUSED:
            again = self.is_passing(reply)
            kind: type[PurchaseError] = ProviderUnavailableError if again else UnexpectedResponseError
            advice = "nothing was bought; run again"
            return self.error(kind, reply, Asked.UPLOAD, refusal, advice=advice, billed=Billed.NO, rerun=Rerun.RESUBMIT)
        kind = self.meaning_of(reply, refusal) or REFUSED[reply.status]
        return self.error(kind, reply, Asked.UPLOAD, refusal, billed=Billed.NO)

    def _list_error(self, reply: HttpReply, asked: Asked, refusal: Refusal) -> PurchaseError:
        kind = kind_of_refusal(reply, self.meaning_of(reply, refusal))
        is_access = reply.status in _ACCESS and kind in ADVICE
        advice = f"{ADVICE[kind]}; nothing was bought by asking" if is_access else "nothing was bought by asking"
        rerun = None if is_access else Rerun.RESUME
        return self.error(kind, reply, asked, refusal, advice=advice, billed=Billed.NO, rerun=rerun)

    def _question_error(
        self, reply: HttpReply, asked: Asked, refusal: Refusal, prediction: Prediction | None
    ) -> PurchaseError:
        if reply.status == _NOT_FOUND and asked is not Asked.CANCEL:
            return self.error(UnknownOutcomeError, reply, asked, refusal, prediction, advice=LOOK)
        if reply.status == _TOO_MANY:
            kind: type[PurchaseError] = RateLimitedError
        elif self.is_passing(reply):
            kind = ProviderUnavailableError
        elif reply.status in _ACCESS:
            meaning = self.meaning_of(reply, refusal)
            kind = meaning if meaning in {InsufficientCreditError, KeyRejectedError} else _ACCESS[reply.status]
        elif asked is Asked.CANCEL and reply.status in range(400, _SERVER_FAULTS):
            kind = RequestRejectedError
        else:
            kind = UnexpectedResponseError
        return self.unfinished(kind, reply, asked, refusal, prediction)

    def unfinished(
        self,
        kind: type[PurchaseError],
        reply: HttpReply,
        asked: Asked,
        refusal: Refusal,
        prediction: Prediction | None,
    ) -> PurchaseError:
        """Return an error that is no final word on the prediction: the same question may be asked again."""
        meaning = self.meaning_of(reply, refusal) or _ACCESS.get(reply.status)
        said = ADVICE[meaning] if meaning and reply.status in _ACCESS else "the prediction is not lost"
        return self.error(
            kind,
            reply,
            asked,
            refusal,
            prediction,
            advice=f"{said}; {_LATER}",
            billed=Billed.UNKNOWN,
            rerun=Rerun.RESUME,
        )

    def is_passing(self, reply: HttpReply) -> bool:
        """Whether a GET may simply be sent again: a fault of the server, or a page from something in front of it."""
        is_page = reply.body[:HEAD_BYTES].lstrip().startswith(b"<") and reply.status != _NOT_FOUND
        return reply.status >= _SERVER_FAULTS or reply.status in _TRY_AGAIN or (is_page and not reply.is_success)

    def error(
        self,
        kind: type[PurchaseError],
        reply: HttpReply,
        asked: Asked,
        refusal: Refusal,
        prediction: Prediction | None = None,
        *,
        advice: str | None = None,
        billed: Billed | None = None,
        rerun: Rerun | None = None,
    ) -> PurchaseError:
        """Return the error that tells of a reply."""
        marks = [f"status {reply.status}", *refusal.words[:1], *refusal.fields[:10]]
        nothing = "no reason was given" if reply.json() is not None else f"its body {describe_answer(reply.body)}"
        said = redact_text(refusal.message) or nothing
        about = f" about prediction {prediction.id}" if prediction else ""
        error = kind(
            f"{self.name} answered {_WHAT[asked]}{about} with {redact_text(', '.join(marks))}: {said}; "
            f"{advice or ADVICE[kind]}",
            provider=self.name,
            prediction_id=prediction.id if prediction else None,
            billed=billed,
            rerun=rerun,
        )
        if isinstance(error, RateLimitedError):
            error.retry_after_s = self.wait_s(reply)
        return error

    def failure(
        self,
        kind: type[PurchaseError],
        prediction_id: str,
        said: str,
        *,
        advice: str,
        billed: Billed,
        rerun: Rerun | None = None,
    ) -> PurchaseError:
        """Return why a prediction ended without an output.

        Args:
            kind: The class of the error.
            prediction_id: Which prediction.
            said: What happened, to follow "prediction … at replicate"; the provider's words in it are redacted.
            advice: What to do.
            billed: Whether it cost money.
            rerun: What a rerun would do; None: what the class says.
        """
        message = f"prediction {prediction_id} at {self.name} {said}; {IS_BILLED[billed]}: {advice}"
        return kind(message, provider=self.name, prediction_id=prediction_id, billed=billed, rerun=rerun)

    def unexpected(
        self, asked: Asked, reason: str, prediction_id: str | None, *, billed: Billed = Billed.UNKNOWN
    ) -> UnexpectedResponseError:
        """Return the error for a 2xx that cannot be read; with an id, a rerun asks again, and lists can always be."""
        about = f" about prediction {prediction_id}" if prediction_id else ""
        advice = _LATER if prediction_id else LOOK
        if asked in LISTS:
            advice, billed = "nothing was bought by asking", Billed.NO
        return UnexpectedResponseError(
            f"{self.name} answered {_WHAT[asked]}{about}, but {redact_text(reason)}; {advice}",
            provider=self.name,
            prediction_id=prediction_id,
            billed=billed,
            rerun=Rerun.RESUME if prediction_id or asked in LISTS else Rerun.ASK,
        )

    def document(self, reply: Any, asked: Asked, prediction: Prediction | None) -> dict[str, Any]:
        """Return the JSON object in a reply.

        Raises:
            UnexpectedResponseError: There is none.
        """
        known = prediction.id if prediction else None
        if not isinstance(reply, HttpReply):
            raise self.unexpected(asked, f"not over HTTP: with {type(reply).__name__}", known)
        document = reply.json()
        if not isinstance(document, dict):
            unread = describe_answer(reply.body)
            reason = unread if document is None else f"is {type(document).__name__}, not an object"
            raise self.unexpected(asked, f"its body {reason}", known)
        return document
