"""fal: models behind a queue; a prediction is polled, and its result is a call of its own.

Protocol: fal's documentation and Python client 1.0.3 as read on 2026-11-22; how errors are read is in
``fal_errors.py``, lists and bills in ``fal_platform.py``. There is no idempotency key. Three things are unlike anywhere
else: the model's input is the whole body, ``COMPLETED`` is said of failures too, and the URLs to ask on must be taken
from the reply to the submit (the documentation and the official clients build them differently).
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from media_assets.errors import (
    Billed,
    ContentRejectedError,
    PredictionFailedError,
    RequestRejectedError,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Asked, Deadlines, HttpCall, HttpReply, InputFile
from media_assets.providers.fal_platform import ENDPOINT, NAMESPACES, REQUEST_ID, FalPlatform
from media_assets.providers.outputs import OutputsIn, outputs_of
from media_assets.providers.params import nested
from media_assets.providers.polled import id_of, quantities, quantity_of, state_word
from media_assets.providers.refusals import ADVICE, Refusal, text_of
from media_assets.request import GenerationRequest

_STATES: Mapping[str, State] = {
    "IN_QUEUE": State.QUEUED,
    "IN_PROGRESS": State.RUNNING,
    "COMPLETED": State.SUCCEEDED,
}
"""All there are; ``COMPLETED`` with an error is a failure."""

_URLS: Mapping[str, tuple[str, str]] = {
    "status": ("status_url", "/status"),
    "result": ("response_url", ""),
    "cancel": ("cancel_url", "/cancel"),
}
"""What the reply to a submit calls each URL, and how the official clients build it where it is missing."""

_MEDIA_HOST = "fal.media"
_LONGEST_URL = 2_000
_TOKEN = re.compile(r"[!-~]{1,10000}")


class FalAdapter(FalPlatform):
    """``endpoint`` is the app's id with its sub-path, such as ``fal-ai/flux/schnell``; the version is not sent."""

    name = "fal"
    key_env = "FAL_KEY"
    output_hosts = (_MEDIA_HOST, f"*.{_MEDIA_HOST}")
    # At least 7 days, says the documentation's FAQ; another page of it says for ever (both 2026-11-22).
    outputs_kept_s = 7 * 86_400.0
    # Nothing says that inputs may be data: URIs (2026-11-22), so every file is uploaded.
    data_uri_max_bytes = 0

    def __init__(
        self,
        queue_url: str = "https://queue.fal.run",
        rest_url: str = "https://rest.fal.ai",
        api_url: str = "https://api.fal.ai/v1",
        outputs_in: OutputsIn = outputs_of,
    ) -> None:
        self._outputs_in = outputs_in
        self._queue_url = queue_url.rstrip("/")
        self._rest_url = rest_url.rstrip("/")
        self._api_url = api_url.rstrip("/")

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (self._queue_url, self._rest_url, self._api_url)

    def platform_urls(self) -> tuple[str, str]:
        return self._api_url, self._queue_url

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Key {api_key}"}

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        """Return the call that puts a request into fal's queue. **Costs money** once it succeeds.

        ``X-Fal-Request-Timeout`` is a deadline to *start* by (documentation and Python client, where it is called
        ``start_timeout``, 2026-11-22): what waits longer fails, free. fal cannot be told one for the run. fal's own
        retries and its fall-back to
        another provider's model are turned off: what ran is what was asked for, once.

        Raises:
            RequestRejectedError: The catalog's endpoint is no app of fal's; nothing was sent.
        """
        if not ENDPOINT.fullmatch(request.endpoint):
            message = (
                f"{self.name} cannot be asked: the endpoint {request.endpoint!r} is no app id such as owner/app; "
                "nothing was sent. Correct the catalog entry."
            )
            raise RequestRejectedError(message, provider=self.name)
        return HttpCall(
            method="POST",
            url=f"{self._queue_url}/{request.endpoint}",
            json_body=nested({**request.params, **inputs}),
            headers={
                "X-Fal-Request-Timeout": str(float(deadlines.queue_s)),
                "X-Fal-No-Retry": "1",
                "x-app-fal-disable-fallback": "true",
            },
        )

    def where_to_ask(self, prediction: Prediction, request: GenerationRequest) -> Prediction:
        """Build the URLs that a reply left out as the official clients do, from the app and the request's id."""
        root = self._root(request.endpoint.split("/"), prediction.id)
        if root is None:
            # Then nobody can ask; what the reply said of the state must not pass for the end of it.
            return prediction if prediction.urls else replace(prediction, state=State.UNKNOWN)
        return replace(prediction, urls={**_built(root), **prediction.urls})

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        """Return the question for the state; None where no URL is known."""
        return self._call("GET", prediction, "status")

    def result_call(self, prediction: Prediction) -> HttpCall | None:
        return self._call("GET", prediction, "result")

    def cancel_call(self, prediction: Prediction) -> HttpCall | None:
        return self._call("PUT", prediction, "cancel")

    def _call(self, method: str, prediction: Prediction, name: str) -> HttpCall | None:
        url = prediction.urls.get(name)
        return None if url is None else HttpCall(method=method, url=url)

    def upload(self, file: InputFile) -> Generator[HttpCall, HttpReply, str]:
        """Put a file into fal's storage: a token first, then the bytes. Free; **the file's URL is public**."""
        url = f"{self._rest_url}/storage/auth/token?storage_type=fal-cdn-v3"
        granted = self.document((yield HttpCall(method="POST", url=url, json_body={})), Asked.UPLOAD, None)
        scheme, token, base = (text_of(granted.get(name)) for name in ("token_type", "token", "base_url"))
        if not (_TOKEN.fullmatch(scheme) and _TOKEN.fullmatch(token) and self._takes_files(base)):
            raise self.unexpected(Asked.UPLOAD, "it grants no upload to fal's storage", None, billed=Billed.NO)
        reply = yield HttpCall(
            method="POST",
            url=f"{base.rstrip('/')}/files/upload",
            content=file.content,
            headers={
                "Authorization": f"{scheme} {token}",
                "Content-Type": file.mime,
                "X-Fal-File-Name": file.filename,
            },
            with_key=False,
        )
        stored = text_of(self.document(reply, Asked.UPLOAD, None).get("access_url"))
        if not stored.startswith(("https://", "http://")):
            raise self.unexpected(Asked.UPLOAD, "it names no URL of the file", None, billed=Billed.NO)
        return stored

    def _takes_files(self, url: str) -> bool:
        """Whether the user's file may go there: to fal's storage, or to the address that fal is asked at."""
        origin = _origin_of(url)
        if origin is None or origin in {_origin_of(base) for base in self.base_urls}:
            return origin is not None
        scheme, host, _ = origin
        return scheme == "https" and (host == _MEDIA_HOST or host.endswith(f".{_MEDIA_HOST}"))

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        """Read a reply.

        ``COMPLETED`` without an error is ``SUCCEEDED`` *without outputs*, here alone: they are what
        :meth:`result_call` asks for, and its reply is ``SUCCEEDED`` with outputs, or ``FAILED``. An accepted cancel
        changes nothing yet: a request that runs may still complete, and be billed.
        """
        if asked is Asked.CANCEL and prediction is not None:
            return prediction
        if asked is Asked.RESULT:
            return self._parse_result(reply, prediction)
        document = self.document(reply, asked, prediction)
        found = id_of(document.get("request_id"))
        known = prediction or (Prediction(id=found, state=State.UNKNOWN) if found else None)
        if known is None:
            raise self.unexpected(asked, "it names no request", None)
        if found not in {None, known.id}:
            raise self.unexpected(asked, "it tells of another request", known.id)
        if asked is Asked.SUBMIT:
            known = replace(known, urls=self._urls(document, known.id))
        return self._stand(document, reply.headers, asked, known)

    def _stand(
        self, document: Mapping[str, Any], headers: Mapping[str, str], asked: Asked, known: Prediction
    ) -> Prediction:
        word = document.get("status", "IN_QUEUE" if asked is Asked.SUBMIT else None)
        if asked is Asked.SUBMIT and not isinstance(word, str):
            word = ""  # an odd word must not cost the URLs, without which the prediction is lost
        if not isinstance(word, str) or (asked is Asked.STATUS and not word):
            raise self.unexpected(asked, f"its status is {type(word).__name__}", known.id)
        state = _STATES.get(word, State.UNKNOWN)
        position = document.get("queue_position")
        is_position = isinstance(position, int) and not isinstance(position, bool) and 0 <= position < 10**9
        metrics = document.get("metrics")
        used = quantities(inference_s=metrics.get("inference_time") if isinstance(metrics, dict) else None)
        stands = replace(
            known,
            state=state,
            remote_state=state_word(word),
            queue_position=position if is_position and state is State.QUEUED else None,
            reported={**known.reported, **used},
        )
        error, kind = document.get("error"), text_of(document.get("error_type"))
        if state is not State.SUCCEEDED or not (error or kind):
            return stands
        refusal = Refusal(words=(kind,) if kind else (), message=text_of(error))
        return replace(stands, state=State.FAILED, failure=self.ended(refusal, headers, known.id))

    def _parse_result(self, reply: Any, prediction: Prediction | None) -> Prediction:
        """Read what a model made.

        A result without an output is a failure that fal bills as a success, unless its units say 0 (documentation:
        "only successful results", 2026-11-22; of this case it says nothing). So is a picture that fal's checker
        flagged, which comes out black.
        """
        document = self.document(reply, Asked.RESULT, prediction)
        if prediction is None:
            raise self.unexpected(Asked.RESULT, "nobody knows which request it is of", None)
        units = quantity_of(reply.headers.get("x-fal-billable-units"))
        reported = {**prediction.reported} if units is None else {**prediction.reported, "billable_units": units}
        finished = replace(
            prediction, state=State.SUCCEEDED, remote_state="COMPLETED", queue_position=None, reported=reported
        )
        flags = document.get("has_nsfw_concepts")
        if isinstance(flags, list) and flags[:1] == [True]:
            said, kind = "succeeded, but its picture was flagged as unsafe", ContentRejectedError
            failure = self.failure(kind, prediction.id, said, advice=ADVICE[kind], billed=Billed.YES)
            return replace(finished, state=State.FAILED, failure=failure)
        outputs = self._outputs(document, prediction)
        if outputs:
            return replace(finished, outputs=outputs)
        billed = Billed.NO if units is not None and not units else Billed.YES
        failure = self.failure(
            PredictionFailedError,
            prediction.id,
            "succeeded without an output",
            advice="change the request, or submit it again on purpose",
            billed=billed,
        )
        return replace(finished, state=State.FAILED, failure=failure)

    def _outputs(self, document: Mapping[str, Any], known: Prediction) -> tuple[Output, ...]:
        try:
            return self._outputs_in(document)
        except ValueError as error:
            raise self.unexpected(Asked.RESULT, f"its output cannot be read: {error}", known.id) from error

    def _urls(self, document: Mapping[str, Any], request_id: str) -> dict[str, str]:
        """Return where to ask on, as far as it is known: as the reply says, else as the official clients build it."""
        given = {name: text_of(document.get(field)) for name, (field, _) in _URLS.items()}
        urls = {name: self._own(url, request_id) for name, url in given.items() if url}
        root = next((found for url in urls.values() if (found := self._short_form(url, request_id))), None)
        return {**({} if root is None else _built(root)), **urls}

    def _own(self, url: str, request_id: str) -> str:
        """Return a URL that is fal's own, without a query, which has nothing to say here and is not to be stored.

        Raises:
            UnexpectedResponseError: It leads elsewhere.
        """
        origin = _origin_of(url)
        if origin is None or origin != _origin_of(self._queue_url):
            raise self.unexpected(Asked.SUBMIT, "the URLs to ask on are not fal's own", request_id)
        return re.split(r"[?#]", url, maxsplit=1)[0]

    def _short_form(self, url: str, request_id: str) -> str | None:
        """Return the URL of a request without the app's sub-path, made of another URL of the same reply."""
        app, mark, _ = url.partition("/requests/")
        if not mark or not app.startswith(f"{self._queue_url}/"):
            return None
        return self._root(app.removeprefix(f"{self._queue_url}/").split("/"), request_id)

    def _root(self, steps: Sequence[str], request_id: str) -> str | None:
        """Return the URL of a request under its app, without what follows the app in an endpoint's path."""
        length = 3 if steps[0] in NAMESPACES else 2
        if len(steps) < length or not REQUEST_ID.fullmatch(request_id):
            return None
        return "/".join((self._queue_url, *steps[:length], "requests", quote(request_id, safe="")))


def _built(root: str) -> dict[str, str]:
    return {name: root + suffix for name, (_, suffix) in _URLS.items()}


def _origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port; None where the URL is none, or hides where it leads."""
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > _LONGEST_URL:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return None
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)
