"""What the providers share that answer at once: the reply to the submit holds the output, or says why there is none.

There is nothing to poll and nothing to fetch again. So a refusal is believed only where its status says that no work
was begun, and whatever cannot be read is money that may be gone: a person decides, never a second submit.
"""

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    PredictionFailedError,
    PurchaseError,
    RateLimitedError,
    Rerun,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.media.sniff import HEAD_BYTES, describe_unknown
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Adapter, Asked, HttpReply
from media_assets.providers.refusals import ADVICE, REFUSED, Refusal, seconds_of
from media_assets.redact import redact_text

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_DIGESTED_BYTES = 65_536
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f]")
_SOUND_TYPES = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def amount_of(value: Any) -> Decimal | None:
    """Return what a provider says it used; None where that is no plain number from 0 on, of at most 12 digits."""
    written = str(value).strip() if isinstance(value, int | float | str) else ""
    return Decimal(written) if _AMOUNT.fullmatch(written) else None


def reply_id(reply: HttpReply, headers: Sequence[str]) -> str:
    """Return the id of what a reply brought: the first usable header, else a digest.

    The ledger wants one id a purchase, and two takes may bring the same bytes: so the digest covers the headers
    (date, trace ids) and the length too. The same reply, read again from its spool file, has the same id.
    """
    for name in headers:
        if _ID.fullmatch(reply.headers.get(name, "")):
            return reply.headers[name]
    digest = hashlib.sha256(repr(sorted(reply.headers.items())).encode("utf-8", "backslashreplace"))
    digest.update(b"%d:" % len(reply.body) + reply.body[:_DIGESTED_BYTES])
    return f"reply-{digest.hexdigest()[:16]}"


def is_sound(reply: HttpReply) -> bool:
    """Whether a body may be sound: not empty, not declared to be something else, and not text.

    Whether it really is sound is decided where files are probed; here an error page must not pass for one.
    """
    mime = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return bool(reply.body) and (mime.startswith("audio/") or mime in _SOUND_TYPES) and not _is_text(reply.body)


def _is_text(body: bytes) -> bool:
    head = body[:HEAD_BYTES]
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a character that the end of the head cuts in two
            return False
        text = head[: error.start].decode("utf-8")
    return not _CONTROLS.search(text)


class SynchronousAdapter(Adapter):
    """The half of an adapter that reads replies, for a provider that answers at once."""

    id_headers: ClassVar[tuple[str, ...]]
    """Headers that name the reply, the best first."""
    meanings: ClassVar[Mapping[str, type[PurchaseError]]]
    """The provider's words that say more than the status."""
    refused: ClassVar[Mapping[int, type[PurchaseError]]] = REFUSED
    """What a status means where no word says more."""

    @property
    def answers_once(self) -> bool:
        return True

    def named_in(self, headers: Mapping[str, str]) -> str | None:
        return next((headers[name] for name in self.id_headers if _ID.fullmatch(headers.get(name, ""))), None)

    @abstractmethod
    def read_refusal(self, reply: HttpReply) -> Refusal:
        """Read an error body; an unreadable one gives an empty refusal."""

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        """Read a reply to a submit that is not a 2xx: a refusal that cost nothing, or an outcome nobody knows."""
        del asked
        refusal = self.read_refusal(reply)
        if reply.status not in self.refused:
            return self._unknown_outcome(reply, refusal, prediction)
        kind = self.meaning_of(refusal) or self.refused[reply.status]
        error = kind(self._told(reply, refusal, ADVICE[kind]), provider=self.name, billed=Billed.NO)
        if isinstance(error, RateLimitedError):
            error.retry_after_s = seconds_of(reply.headers)
        return error

    def meaning_of(self, refusal: Refusal) -> type[PurchaseError] | None:
        """Return what the most specific known word means."""
        return next((self.meanings[word] for word in refusal.words if word in self.meanings), None)

    def finished(
        self, reply: HttpReply, outputs: tuple[Output, ...], reported: Mapping[str, Decimal] | None = None
    ) -> Prediction:
        """Return the prediction of a reply that was read: succeeded, or failed where it brought nothing.

        Whether a reply without an output is billed is documented by neither provider (looked for 2026-11-22). It is
        taken as billed where the reply itself says that something was used, and is nobody's knowledge elsewhere.

        Raises:
            UnexpectedResponseError: Neither an output nor a word of what was used.
        """
        found = reply_id(reply, self.id_headers)
        reported = dict(reported or {})
        if outputs:
            return Prediction(id=found, state=State.SUCCEEDED, outputs=outputs, reported=reported)
        if not any(reported.values()):
            raise self.unreadable(reply, "it brought no output")
        failure = PredictionFailedError(
            f"{self.name} answered with status {reply.status} and says what it used, but brought no output; "
            "it is billed: ask the provider, or submit it again on purpose",
            provider=self.name,
            prediction_id=found,
            billed=Billed.YES,
        )
        return Prediction(id=found, state=State.FAILED, failure=failure, reported=reported)

    def failed(self, reply: HttpReply, refusal: Refusal, reported: Mapping[str, Decimal] | None = None) -> Prediction:
        """Return the prediction of a 2xx whose body reports a failure: work had begun, so it may be billed.

        Where it says what was used, it is billed by that, which may be nothing; else nobody knows, and it is counted
        (`docs/decisions/0011`).
        """
        found = reply_id(reply, self.id_headers)
        used = dict(reported or {})
        is_moderation = self.meaning_of(refusal) is ContentRejectedError
        advice = ADVICE[ContentRejectedError] if is_moderation else "look at the account's usage before buying it again"
        kind = ContentRejectedError if is_moderation else PredictionFailedError
        counted = "what it says it used is billed" if used else "it may be billed, and is counted as billed"
        failure = kind(
            self._told(reply, refusal, f"{counted}; {advice}"),
            provider=self.name,
            prediction_id=found,
            billed=Billed.YES if used else Billed.UNKNOWN,
            rerun=Rerun.ASK,
        )
        return Prediction(id=found, state=State.FAILED, failure=failure, reported=used)

    def unreadable(self, reply: HttpReply, reason: str) -> UnexpectedResponseError:
        """Return the error for a 2xx that cannot be read: perhaps billed, and nowhere to be fetched again."""
        return UnexpectedResponseError(
            f"{self.name} answered with status {reply.status}, but {redact_text(reason)}; "
            "it may be billed: look at the account's usage before buying it again",
            provider=self.name,
            prediction_id=reply_id(reply, self.id_headers),
            billed=Billed.UNKNOWN,
            rerun=Rerun.ASK,
        )

    def not_sound(self, reply: HttpReply) -> UnexpectedResponseError:
        """Return the error for a 2xx whose body is something else than what was bought."""
        return self.unreadable(reply, f"its body {describe_unknown(reply.body[:HEAD_BYTES])}")

    def _unknown_outcome(self, reply: HttpReply, refusal: Refusal, prediction: Prediction | None) -> PurchaseError:
        named = next((reply.headers[name] for name in self.id_headers if name in reply.headers), refusal.request_id)
        known = prediction.id if prediction else named if named and _ID.fullmatch(named) else None
        advice = "it may have been carried out and billed: look at the account's usage before buying it again"
        return UnknownOutcomeError(self._told(reply, refusal, advice), provider=self.name, prediction_id=known)

    def _told(self, reply: HttpReply, refusal: Refusal, advice: str) -> str:
        marks = [f"status {reply.status}", *refusal.words[:1], *refusal.fields]
        said = redact_text(refusal.message)
        said = f"said: {said}" if said else f"its body {describe_unknown(reply.body[:HEAD_BYTES])}"
        return f"{self.name} answered a submit with {redact_text(', '.join(marks))} and {said}; {advice}"
