"""ElevenLabs' history: how speech whose reply was lost is found, asked about, and downloaded without paying again.

From ElevenLabs' OpenAPI document of 2026-08-22. The history shows text, voice, model, settings and format of a piece of
speech, not its seed: two takes of one text look alike. It has speech only ("Music and SFX generations are not
included"), and nothing that was made with ``enable_logging=false``. Not known: how late an item appears, whether it
does when the client has left, and whether its ``request_id`` is the header of the reply (taken as so).
"""

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from media_assets.errors import Billed, OutputLostError, PurchaseError, RateLimitedError, Rerun, UnexpectedResponseError
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Asked, Deadlines, HttpCall, HttpReply
from media_assets.providers.list_reading import (
    UnreadableEntryError,
    kind_of_refusal,
    moment_of,
    page_of,
    second_after,
    second_before,
    wanted_text,
)
from media_assets.providers.listing import BillLine, BillPage, Listed, ListedPage
from media_assets.providers.matching import is_same
from media_assets.providers.refusals import ADVICE, seconds_of, text_of
from media_assets.providers.synchronous import SynchronousAdapter
from media_assets.redact import redact_text
from media_assets.request import GenerationRequest

HISTORY = "history"
"""The URL of a prediction that was found in the history: where it is asked about."""

_SPEECH = "v1/text-to-speech"
_PAGE = 100
_MADE_WITHIN = timedelta(minutes=15)
"""Speech may be dated by its end; longer than this nobody waits for a reply."""
_STATES: Mapping[str, State] = {"created": State.SUCCEEDED, "processing": State.RUNNING, "deleted": State.FAILED}
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ACCESS = (401, 402, 403)
_OFF = frozenset({"false", "0", "off", "no"})
_LATER = "run again to go on with it: that costs nothing more"
_FREE = "nothing was bought by asking"


class ElevenLabsHistory(SynchronousAdapter):
    """The half of the adapter that finds and fetches what was made before."""

    sends_key_with_downloads = True
    # An item may be "processing", but of what kind of work that is said is not told: it is not relied on.
    lists_running = False
    # How late an item appears is not said; 15 minutes after its end is our assumption (2026-11-22).
    list_lag_s = 900.0

    _base_url: str

    @abstractmethod
    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        """Return the one call there is; what it says is what the history is compared with."""

    @property
    def download_hosts(self) -> tuple[str, ...]:
        """The adapter's own host: the history keeps the sound there."""
        parts = urlsplit(self._base_url)
        host = parts.hostname or ""
        return (host,) if parts.scheme == "https" and re.fullmatch(r"[a-z0-9.-]*[a-z][a-z0-9.-]*", host) else ()

    def lists(self, request: GenerationRequest) -> bool:
        """Whether the history would show it: speech only, and not where its log is turned off."""
        path, sent = self._sent(request)
        return path.startswith(f"{_SPEECH}/") and str(sent.get("enable_logging", True)).lower() not in _OFF

    def list_call(
        self, *, endpoints: Sequence[str], since: datetime, until: datetime, page: str | None
    ) -> HttpCall | None:
        """Return the call that lists the account's history, newest first; free."""
        del endpoints
        query = {
            "page_size": _PAGE,
            "date_after_unix": int(second_before(since).timestamp()),
            "date_before_unix": int(second_after(until + _MADE_WITHIN).timestamp()),
        }
        after = {"start_after_history_item_id": page} if page else {}
        return HttpCall(method="GET", url=f"{self._base_url}/v1/history?{urlencode(query | after)}")

    def parse_list(self, reply: HttpReply) -> ListedPage:
        document = self._document(reply, Asked.LIST)
        return page_of(
            _items(document, self._unread(Asked.LIST)),
            self._listed,
            id_field="history_item_id",
            next_page=lambda: _next_of(document),
        )

    def bill_call(
        self, *, since: datetime, until: datetime, page: str | None, endpoints: Sequence[str] = ()
    ) -> HttpCall | None:
        """Return the call that reads what was counted: the history, which says characters and no money; free."""
        return self.list_call(endpoints=endpoints, since=since, until=until, page=page)

    def parse_bill(self, reply: HttpReply) -> BillPage:
        document = self._document(reply, Asked.BILL)
        return page_of(
            _items(document, self._unread(Asked.BILL)),
            self._bill_line,
            id_field="history_item_id",
            next_page=lambda: _next_of(document),
        )

    def is_of(self, request: GenerationRequest, listed: Listed, *, digests: Collection[str] = ()) -> bool:
        """Whether an item can be a request's: the same text (but for white space), voice and model, where shown."""
        del digests  # speech is made of no files
        if not self.is_same_model(request, listed):
            return False
        shown, (_, sent) = listed.input, self._sent(request)
        if shown is None:
            return True
        return _plain(shown.get("text")) == _plain(sent.get("text")) and shown.get("voice_id") in {
            None,
            sent.get("voice_id"),
        }

    def is_surely_of(self, request: GenerationRequest, listed: Listed, *, digests: Collection[str] = ()) -> bool:
        """Whether an item is one of such a request: settings and format are the same too, where sent and shown.

        The seed is never shown, so another take of the same text passes as well.
        """
        shown, (_, sent) = listed.input, self._sent(request)
        if shown is None or not self.is_of(request, listed, digests=digests):
            return False
        settings, wanted = shown.get("voice_settings", {}), sent.get("voice_settings", {})
        formats = {shown.get("output_format"), sent.get("output_format")} - {None}
        return len(formats) <= 1 and all(
            is_same(value, settings[name]) for name, value in wanted.items() if settings.get(name) is not None
        )

    def is_same_model(self, request: GenerationRequest, listed: Listed) -> bool:
        is_speech = request.endpoint.lstrip("/").startswith(f"{_SPEECH}/") and listed.source in {"", "TTS"}
        return is_speech and listed.version in {None, request.version}

    def _sent(self, request: GenerationRequest) -> tuple[str, dict[str, Any]]:
        """Return the path that a request is sent to, and its parameters by their names in the history."""
        call = self.submit_call(request, inputs={}, deadlines=Deadlines(queue_s=0, run_s=0))
        parts = urlsplit(call.url.removeprefix(self._base_url))
        path = parts.path.lstrip("/")
        voice = path.removeprefix(f"{_SPEECH}/").partition("/")[0]
        return path, {**dict(parse_qsl(parts.query)), **(call.json_body or {}), "voice_id": unquote(voice)}

    def known(self, request: GenerationRequest, prediction_id: str) -> Prediction | None:
        """Return an item of the history by its id, as one to ask about."""
        del request
        if not _ID.fullmatch(prediction_id):
            return None
        url = f"{self._base_url}/v1/history/{prediction_id}"
        return Prediction(id=prediction_id, state=State.UNKNOWN, urls={HISTORY: url})

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        """Return the question for an item of the history; None for a prediction that was never found there."""
        url = prediction.urls.get(HISTORY)
        return None if url is None else HttpCall(method="GET", url=url)

    def parse_item(self, reply: Any, prediction: Prediction) -> Prediction:
        """Read how an item of the history stands; its sound is had from the history, with the key.

        Raises:
            UnexpectedResponseError: It cannot be read; a rerun asks again.
        """
        entry = self._document(reply, Asked.STATUS, prediction)
        try:
            found = self._listed(entry)
        except UnreadableEntryError as error:
            raise self._unread(Asked.STATUS, str(error), prediction) from error
        url = found.prediction.urls[HISTORY]
        if url != prediction.urls.get(HISTORY):
            raise self._unread(Asked.STATUS, "it tells of another item", prediction)
        state = found.prediction.state
        failure = None
        if state is State.FAILED:
            message = (
                f"prediction {prediction.id} at {self.name} was deleted from the history; it is billed: "
                "decide whether to buy it again"
            )
            failure = OutputLostError(message, provider=self.name, prediction_id=prediction.id)
        return Prediction(
            id=prediction.id,
            state=state,
            remote_state=found.prediction.remote_state,
            outputs=(Output(url=f"{url}/audio"),) if state is State.SUCCEEDED else (),
            failure=failure,
            urls=prediction.urls,
            reported=found.prediction.reported,
        )

    def question_error(self, reply: HttpReply, prediction: Prediction | None) -> PurchaseError:
        """Read a reply to a question that is not a 2xx: it may be asked again, and says nothing of what was bought."""
        refusal = self.read_refusal(reply)
        kind = kind_of_refusal(reply, self.meaning_of(refusal))
        about = f" about prediction {prediction.id}" if prediction else ""
        marks = redact_text(", ".join([f"status {reply.status}", *refusal.words[:1]]))
        said = redact_text(refusal.message) or "nothing that can be read"
        is_access = reply.status in _ACCESS and kind in ADVICE
        advice = f"{ADVICE[kind]}; " if is_access else ""
        error = kind(
            f"{self.name} answered a question{about} with {marks}: {said}; {advice}{_LATER if prediction else _FREE}",
            provider=self.name,
            prediction_id=prediction.id if prediction else None,
            billed=Billed.UNKNOWN if prediction else Billed.NO,
            rerun=None if is_access and prediction is None else Rerun.RESUME,
        )
        if isinstance(error, RateLimitedError):
            error.retry_after_s = seconds_of(reply.headers)
        return error

    def _document(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Mapping[str, Any]:
        document = reply.json() if isinstance(reply, HttpReply) else None
        if isinstance(document, dict):
            return document
        raise self._unread(asked, "its body is no JSON object", prediction)

    def _unread(
        self, asked: Asked, reason: str = "its history is no list", prediction: Prediction | None = None
    ) -> UnexpectedResponseError:
        about = f" about prediction {prediction.id}" if prediction else ""
        return UnexpectedResponseError(
            f"{self.name} answered a question ({asked}){about}, but {reason}; {_LATER if prediction else _FREE}",
            provider=self.name,
            prediction_id=prediction.id if prediction else None,
            billed=Billed.UNKNOWN if prediction else Billed.NO,
            rerun=Rerun.RESUME,
        )

    def _listed(self, entry: Mapping[str, Any]) -> Listed:
        item = wanted_text(entry, "history_item_id")
        word = wanted_text(entry, "state")
        request_id = text_of(entry.get("request_id"))
        if not _ID.fullmatch(item):
            message = "its id is none of an item"
            raise UnreadableEntryError(message)
        state = _STATES.get(word, State.UNKNOWN)
        count = _count(entry)
        # The ledger knows speech by the header of its reply, which the history calls request_id.
        own = request_id if _ID.fullmatch(request_id) else item
        return Listed(
            prediction=Prediction(
                id=own,
                state=state,
                remote_state=word,
                urls={HISTORY: f"{self._base_url}/v1/history/{quote(item, safe='')}"},
                reported={} if count is None else {"character_cost": count},
            ),
            created_at=moment_of(entry.get("date_unix")),
            endpoint=_SPEECH,
            version=text_of(entry.get("model_id")) or None,
            input=_input_of(entry),
            ended=state.is_final,
            source=text_of(entry.get("source")),
            other_ids=() if own == item else (item,),
        )

    def _bill_line(self, entry: Mapping[str, Any]) -> BillLine:
        listed, count = self._listed(entry), _count(entry)
        if count is None:
            message = "its counts of characters are no numbers"
            raise UnreadableEntryError(message)
        return BillLine(
            prediction_id=listed.prediction.id,
            endpoint=listed.endpoint,
            at=listed.created_at,
            units=count,
            unit="character",
        )


def _items(document: Mapping[str, Any], unread: UnexpectedResponseError) -> list[Any]:
    items = document.get("history")
    if isinstance(items, list):
        return items
    raise unread


def _next_of(document: Mapping[str, Any]) -> str | None:
    more, last = document.get("has_more"), text_of(document.get("last_history_item_id"))
    if not more:
        return None
    if _ID.fullmatch(last):
        return last
    message = "it says that there is more, and not how to ask for it"
    raise UnreadableEntryError(message)


def _input_of(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was asked for, by the names of the request; None where not even the text is shown."""
    if entry.get("dialogue"):
        return {"dialogue": entry["dialogue"]}
    text = text_of(entry.get("text"))
    if not text:
        return None
    settings = entry.get("settings")
    shown = {
        "text": text,
        "voice_id": text_of(entry.get("voice_id")) or None,
        "output_format": text_of(entry.get("output_format")) or None,
        "voice_settings": settings if isinstance(settings, Mapping) else None,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _plain(text: Any) -> str:
    """Return a text as it is compared: in one form of Unicode, with single spaces; it may be stored so."""
    return " ".join(unicodedata.normalize("NFC", text_of(text)).split())


def _count(entry: Mapping[str, Any]) -> Decimal | None:
    """Return the characters that an item was counted as; None where the two counts do not say."""
    before, after = entry.get("character_count_change_from"), entry.get("character_count_change_to")
    if type(before) is not int or type(after) is not int or not 0 <= after - before < 10**12:
        return None
    return Decimal(after - before)
