"""Replicate: any model by version, or its official models by name; predictions are polled.

Protocol: Replicate's OpenAPI of 2026-04-09, its documentation and recorded replies as read on 2026-11-22. There is no
idempotency key: a lost reply can only be looked for in the account's list. Inputs and outputs are deleted about an
hour after completion.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from media_assets.catalog.spec import SHORTEST_COMPUTE_S
from media_assets.errors import (
    Billed,
    ContentRejectedError,
    ModelGoneError,
    OutputLostError,
    PredictionFailedError,
    PurchaseError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Asked, Deadlines, HttpCall, HttpReply, InputFile, Part
from media_assets.providers.list_reading import page_of
from media_assets.providers.listing import Listed, ListedPage
from media_assets.providers.outputs import OutputsIn, outputs_of
from media_assets.providers.params import nested
from media_assets.providers.polled import PolledAdapter, id_of, quantities, quantity_of, state_word
from media_assets.providers.refusals import ADVICE, Refusal, text_of
from media_assets.providers.replicate_list import is_version_of, list_url, listed_of, next_of
from media_assets.redact import redact_text
from media_assets.request import GenerationRequest

OFFICIAL = "official"
"""The version of a model that Replicate keeps up to date itself and that has no version of its own."""

_STATES: Mapping[str, State] = {
    "starting": State.QUEUED,
    "processing": State.RUNNING,
    "succeeded": State.SUCCEEDED,
    "failed": State.FAILED,
    "canceled": State.CANCELED,
    "aborted": State.CANCELED,
}
"""``aborted``, since 2025-10: its deadline passed before it started. Replicate's own SDK 1.0.7 does not know it."""

_MODEL = re.compile(r"(?!\.+/)[\w.-]+/(?!\.+$)[\w.-]+", re.ASCII)
_VERSION = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PROGRESS = re.compile(r"(?<!\d)(\d{1,3})%\|")
_LOG_TAIL = 4_000
_UNPROCESSABLE = 422
_REJECTED_CONTENT = re.compile(r"\bE005\b|flagged as sensitive|\bNSFW\b", re.IGNORECASE)
"""From error bodies that users posted in 2026 (E005) and SDXL's own text; there is no code for it."""
_SHORTEST_RUN_S = Decimal("0.001")
"""What ran for less has not run: a recorded reply of one that was canceled in the queue tells of 3e-06 s (the tests of
replicate-python, read 2026-11-22)."""
_RESETS_IN = re.compile(r"resets? in ~?(\d{1,6}(?:\.\d{1,3})?) ?s")


class ReplicateAdapter(PolledAdapter):
    """``endpoint`` is ``owner/name``; the version is 64 hex digits, or ``official``."""

    name = "replicate"
    key_env = "REPLICATE_API_TOKEN"
    output_hosts = ("replicate.delivery", "*.replicate.delivery")
    sends_key_with_downloads = True
    # Deleted about an hour after completion (OpenAPI document of 2026-04-09).
    outputs_kept_s = 3_600.0
    # "data: URI up to 256 KB" (documentation, 2026-11-22). We read KB as 1,000 bytes and measure the whole URI.
    data_uri_max_bytes = 256_000
    # The list is of all states, by creation. How late it is, nobody says: 2 minutes is our assumption (2026-11-22).
    lists_running = True
    list_lag_s = 120.0
    # Inputs go an hour after completion (OpenAPI document of 2026-04-09); we count from the submission, less 5 minutes.
    list_window_s = 3_300.0

    def __init__(self, base_url: str = "https://api.replicate.com/v1", outputs_in: OutputsIn = outputs_of) -> None:
        self._base_url = base_url.rstrip("/")
        self._outputs_in = outputs_in

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (self._base_url,)

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        """Return the call that creates a prediction. **Costs money**.

        The deadline is counted from creation, in whole seconds, and 5 s is the least that Replicate takes. The catalog
        has none below where that would cost more than was reserved.

        Raises:
            RequestRejectedError: The catalog's endpoint or version is none of Replicate's; nothing was sent.
        """
        body: dict[str, Any] = {"input": nested({**request.params, **inputs})}
        if not _MODEL.fullmatch(request.endpoint):
            reason = f"the endpoint {request.endpoint!r} is not owner/name"
            raise self._not_sent(reason)
        if request.version == OFFICIAL:
            path = f"models/{request.endpoint}/predictions"
        elif _VERSION.fullmatch(request.version):
            path, body = "predictions", {"version": request.version, **body}
        else:
            reason = f"the version {request.version!r} is neither 64 hex digits nor {OFFICIAL!r}"
            raise self._not_sent(reason)
        cancel_after_s = max(int(deadlines.run_s), SHORTEST_COMPUTE_S)
        headers = {"Cancel-After": f"{cancel_after_s}s"}
        return HttpCall(method="POST", url=f"{self._base_url}/{path}", json_body=body, headers=headers)

    def _not_sent(self, reason: str) -> RequestRejectedError:
        message = f"{self.name} cannot be asked: {reason}; nothing was sent. Correct the catalog entry."
        return RequestRejectedError(message, provider=self.name)

    def status_call(self, prediction: Prediction) -> HttpCall:
        return HttpCall(method="GET", url=self._url_of(prediction))

    def cancel_call(self, prediction: Prediction) -> HttpCall:
        return HttpCall(method="POST", url=f"{self._url_of(prediction)}/cancel")

    def _url_of(self, prediction: Prediction) -> str:
        self._check_id(prediction.id)
        return f"{self._base_url}/predictions/{quote(prediction.id, safe='')}"

    def _check_id(self, prediction_id: str) -> None:
        if not _ID.fullmatch(prediction_id):
            reason = "its id is none of Replicate's, so it cannot be asked about"
            raise self.unexpected(Asked.SUBMIT, reason, prediction_id)

    def upload(self, file: InputFile) -> Generator[HttpCall, HttpReply, str]:
        """Put a file among the account's files, where it stays for hours. Free."""
        part = Part(name="content", content=file.content, content_type=file.mime, filename=file.filename)
        reply = yield HttpCall(method="POST", url=f"{self._base_url}/files", parts=(part,))
        urls = self.document(reply, Asked.UPLOAD, None).get("urls")
        url = text_of(urls.get("get")) if isinstance(urls, dict) else ""
        if not url.startswith(("https://", "http://")):
            raise self.unexpected(Asked.UPLOAD, "it names no URL of the file", None, billed=Billed.NO)
        return url

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        """Read a prediction; all three calls answer with one, and recorded ones lack fields the specification wants.

        A success without an output is a failure that is billed: ``OutputLostError`` where Replicate says that it
        deleted the output, else ``PredictionFailedError``. An answer to a cancel that cannot be read changes nothing:
        the state is asked for next.
        """
        if asked is Asked.CANCEL and prediction is not None:
            try:
                return self._parse(self.document(reply, asked, prediction), asked, prediction)
            except UnexpectedResponseError:
                return prediction
        return self._parse(self.document(reply, asked, prediction), asked, prediction)

    def _parse(self, document: Mapping[str, Any], asked: Asked, prediction: Prediction | None) -> Prediction:
        found = id_of(document.get("id"))
        known = prediction.id if prediction else found
        if known is None:
            raise self.unexpected(asked, "it names no prediction", None)
        self._check_id(known)
        if found not in {None, known}:
            raise self.unexpected(asked, "it tells of another prediction", known)
        word = document.get("status")
        if not isinstance(word, str) or not word:
            raise self.unexpected(asked, f"its status is {type(word).__name__}", known)
        state = _STATES.get(word, State.UNKNOWN)
        outputs = self._outputs(document, asked, known) if state is State.SUCCEEDED else ()
        failure = self._failure(document, word, known) if state.is_final and not outputs else None
        metrics = document.get("metrics")
        used = metrics if isinstance(metrics, dict) else {}
        return Prediction(
            id=known,
            state=State.FAILED if failure and state is State.SUCCEEDED else state,
            remote_state=state_word(word),
            outputs=outputs,
            failure=failure,
            progress=_progress_of(document.get("logs")) if state is State.RUNNING else None,
            reported=quantities(compute_s=used.get("predict_time"), total_s=used.get("total_time")),
        )

    def _outputs(self, document: Mapping[str, Any], asked: Asked, known: str) -> tuple[Output, ...]:
        try:
            return self._outputs_in(document.get("output"))
        except ValueError as error:
            raise self.unexpected(asked, f"its output cannot be read: {error}", known, billed=Billed.YES) from error

    def _failure(self, document: Mapping[str, Any], word: str, known: str) -> PurchaseError:
        if word == "succeeded" and document.get("data_removed") is True:
            said = "succeeded, but its output was deleted, as all are about an hour after completion"
            return self.failure(
                OutputLostError, known, said, advice="decide whether to buy it again", billed=Billed.YES
            )
        if word == "succeeded":
            said = "succeeded without an output"
            advice = "ask the model's owner, or submit it again on purpose"
            return self.failure(PredictionFailedError, known, said, advice=advice, billed=Billed.YES)
        if word == "failed":
            return self._failed(document, known)
        billed = Billed.NO if word == "aborted" else _billed(document, unless_told=Billed.NO)
        said = "passed its deadline before it started" if word == "aborted" else "was canceled, or passed its deadline"
        rerun = Rerun.RESUBMIT if billed is Billed.NO else Rerun.NEVER
        advice = "a rerun submits it again" if billed is Billed.NO else "submit it again on purpose"
        return self.failure(PredictionFailedError, known, said, advice=advice, billed=billed, rerun=rerun)

    def _failed(self, document: Mapping[str, Any], known: str) -> PurchaseError:
        error = text_of(document.get("error"))
        is_content = _REJECTED_CONTENT.search(error[:10_000])
        kind = ContentRejectedError if is_content else PredictionFailedError
        advice = ADVICE[ContentRejectedError] if is_content else "change the request or use another model"
        said = f"failed: {redact_text(error) or 'no reason was given'}"
        billed = _billed(document, unless_told=Billed.UNKNOWN)
        return self.failure(kind, known, said, advice=advice, billed=billed)

    def list_call(
        self, *, endpoints: Sequence[str], since: datetime, until: datetime, page: str | None
    ) -> HttpCall | None:
        """Return the call that lists the account's predictions, of all models and from the website too; free."""
        del endpoints
        return HttpCall(method="GET", url=list_url(self._base_url, since=since, until=until, page=page))

    def parse_list(self, reply: HttpReply) -> ListedPage:
        document = self.document(reply, Asked.LIST, None)
        results = document.get("results")
        if not isinstance(results, list):
            reason = f"its results are {type(results).__name__}, not a list"
            raise self.unexpected(Asked.LIST, reason, None)
        return page_of(
            results,
            lambda entry: listed_of(entry, _STATES),
            id_field="id",
            next_page=lambda: next_of(document.get("next")),
        )

    def is_same_model(self, request: GenerationRequest, listed: Listed) -> bool:
        """Whether endpoint and version can be those of a request, which is never made on Replicate's website."""
        is_ours = listed.endpoint == request.endpoint and listed.source != "web"
        return is_ours and is_version_of(request.version, listed.version)

    def read_refusal(self, reply: HttpReply) -> Refusal:
        document = reply.json()
        if not isinstance(document, dict):
            return Refusal()
        named = document.get("invalid_fields")
        listed = named[:20] if isinstance(named, list) else []
        fields = [text_of(one.get("field")) for one in listed if isinstance(one, dict)]
        return Refusal(
            words=tuple(word for word in (text_of(document.get("title")),) if word),
            message=text_of(document.get("detail")) or text_of(document.get("title")),
            fields=tuple(field for field in fields if field),
        )

    def meaning_of(self, reply: HttpReply, refusal: Refusal) -> type[PurchaseError] | None:
        """Tell a version that does not exist (or may not be used) from an input that is wrong: both are 422."""
        told = " ".join((*refusal.words, refusal.message[:1_000])).lower()
        is_version = "invalid version" in told or "specified version does not exist" in told
        return ModelGoneError if is_version and reply.status == _UNPROCESSABLE else None

    def wait_s(self, reply: HttpReply) -> float | None:
        document = reply.json()
        fields = document if isinstance(document, dict) else {}
        told = quantity_of(fields.get("retry_after"))
        if told is None and (found := _RESETS_IN.search(text_of(fields.get("detail"))[:1_000])):
            told = quantity_of(found[1])
        by_header = super().wait_s(reply)
        return by_header if by_header is not None else None if told is None else float(told)


def _billed(document: Mapping[str, Any], *, unless_told: Billed) -> Billed:
    """Say whether a prediction without an output is billed: for the seconds it ran, where its model is so priced.

    Documented for canceled ones (changelog of 2025-10-16); that failed ones pay alike is not, and is taken as so. Some
    bodies do not tell whether it ran: one that failed may have, one that was canceled in the queue had not.
    """
    metrics = document.get("metrics")
    ran_s = quantity_of(metrics.get("predict_time")) if isinstance(metrics, dict) else None
    if ran_s is not None:
        return Billed.YES if ran_s >= _SHORTEST_RUN_S else Billed.NO
    return Billed.YES if document.get("started_at") else unless_told


def _progress_of(logs: Any) -> float | None:
    """Return the fraction done: the last percentage of a tqdm bar, which is all that Replicate tells."""
    found = _PROGRESS.findall(text_of(logs)[-_LOG_TAIL:])
    return min(int(found[-1]), 100) / 100 if found else None
