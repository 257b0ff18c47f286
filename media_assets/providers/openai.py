"""OpenAI: pictures and speech, each in the reply to its submit.

Protocol: OpenAI's specification of 2026-08-21 (openai/openai-openapi@f85dbe2) and its documentation as read on
2026-11-22. There is no idempotency key, no cancel and no way to fetch a lost reply again.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from media_assets.errors import (
    ContentRejectedError,
    InsufficientCreditError,
    KeyRejectedError,
    ModelGoneError,
    PurchaseError,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction
from media_assets.providers.base import Asked, Deadlines, HttpCall, HttpReply
from media_assets.providers.outputs import outputs_of
from media_assets.providers.params import nested
from media_assets.providers.refusals import REFUSED, Refusal, text_of
from media_assets.providers.speech_events import read_speech
from media_assets.providers.synchronous import SynchronousAdapter, amount_of, is_sound
from media_assets.request import GenerationRequest


class OpenAIAdapter(SynchronousAdapter):
    """``endpoint`` is ``images/generations`` or ``audio/speech``; the version is the name sent as ``model``.

    Speech reports what it used only with ``stream_format`` ``sse``; without it, the reply is the sound alone.
    """

    name = "openai"
    key_env = "OPENAI_API_KEY"
    id_headers = ("x-request-id",)
    # The billing_* words are not in OpenAI's specification; they are in bodies that users posted (GitHub issues of
    # 2023 and 2024, read 2026-11-24).
    meanings: ClassVar[Mapping[str, type[PurchaseError]]] = {
        "billing_hard_limit_reached": InsufficientCreditError,
        "billing_not_active": InsufficientCreditError,
        "content_policy_violation": ContentRejectedError,
        "insufficient_quota": InsufficientCreditError,
        "invalid_api_key": KeyRejectedError,
        "model_not_found": ModelGoneError,
        "moderation_blocked": ContentRejectedError,
    }
    refused: ClassVar[Mapping[int, type[PurchaseError]]] = {**REFUSED, 404: ModelGoneError}

    def __init__(self, base_url: str = "https://api.openai.com/v1") -> None:
        self._base_url = base_url.rstrip("/")

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (self._base_url,)

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        """Return the one call there is. **Costs money**; OpenAI cannot be told a deadline."""
        del deadlines
        body = nested({**request.params, **inputs}) | {"model": request.version}
        return HttpCall(method="POST", url=f"{self._base_url}/{request.endpoint}", json_body=body)

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        """Read pictures as JSON, speech as events, or sound as it is; which one, the reply itself says."""
        del asked, prediction
        if not isinstance(reply, HttpReply):
            message = f"{self.name} is asked over HTTP, but the reply is {type(reply).__name__}"
            raise UnexpectedResponseError(message, provider=self.name)
        if not reply.body:
            return self.finished(reply, ())
        if _is_event_stream(reply):
            return self._parse_speech(reply)
        if is_sound(reply):
            return self.finished(reply, (Output(data=reply.body),))
        return self._parse_images(reply)

    def _parse_speech(self, reply: HttpReply) -> Prediction:
        try:
            speech = read_speech(reply.body)
        except ValueError as error:
            raise self.unreadable(reply, f"its stream cannot be read: {error}") from error
        reported = _reported(
            text_in_tokens=speech.usage.get("input_tokens"), audio_out_tokens=speech.usage.get("output_tokens")
        )
        if speech.error is not None:
            return self.failed(reply, _refusal_of(speech.error), reported)
        if not speech.is_whole:
            raise self.unreadable(reply, "its stream ended before speech.audio.done, so the sound may lack its end")
        return self.finished(reply, (Output(data=speech.audio),) if speech.audio else (), reported)

    def _parse_images(self, reply: HttpReply) -> Prediction:
        document = reply.json()
        if not isinstance(document, dict):
            raise self.not_sound(reply)
        if isinstance(document.get("error"), dict):
            return self.failed(reply, _refusal_of(document["error"]), _image_usage(document.get("usage")))
        if not isinstance(document.get("data", []), list | None):
            raise self.unreadable(reply, f"its data is {type(document['data']).__name__}, not a list")
        return self.finished(reply, self._pictures(reply, document.get("data")), _image_usage(document.get("usage")))

    def _pictures(self, reply: HttpReply, items: Any) -> tuple[Output, ...]:
        try:
            return outputs_of({"data": items})
        except ValueError as error:
            raise self.unreadable(reply, f"its pictures cannot be read: {error}") from error

    def read_refusal(self, reply: HttpReply) -> Refusal:
        document = reply.json()
        error = document.get("error") if isinstance(document, dict) else None
        return _refusal_of(error) if isinstance(error, dict) else Refusal(message=text_of(error))


def _is_event_stream(reply: HttpReply) -> bool:
    declared = reply.headers.get("content-type", "").lower().startswith("text/event-stream")
    return declared or reply.body.startswith((b"data:", b"event:"))


def _refusal_of(error: Mapping[str, Any]) -> Refusal:
    words = tuple(word for word in (text_of(error.get("code")), text_of(error.get("type"))) if word)
    fields = tuple(name for name in (text_of(error.get("param")),) if name)
    return Refusal(words=words, message=text_of(error.get("message")), fields=fields)


def _reported(**used: Any) -> dict[str, Decimal]:
    amounts = {name: amount_of(value) for name, value in used.items()}
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _image_usage(usage: Any) -> dict[str, Decimal]:
    """Return the tokens by kind. Where the kinds are not told apart, all input is text and all output picture.

    That is what a generation without input pictures is; ``output_tokens_details`` is missing in the older of the
    specification's two forms, whose ``output_tokens`` are "image tokens".
    """
    usage = _object(usage)
    came_in, went_out = _object(usage.get("input_tokens_details")), _object(usage.get("output_tokens_details"))
    return _reported(
        text_in_tokens=came_in.get("text_tokens", usage.get("input_tokens")),
        image_in_tokens=came_in.get("image_tokens"),
        image_out_tokens=went_out.get("image_tokens", usage.get("output_tokens")),
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
