"""ElevenLabs: speech, in the reply to its submit.

Protocol: ElevenLabs' OpenAPI of 2026-08-22 and its errors page as read on 2026-09-17; what is from elsewhere says so.
There is no idempotency key and no cancel. What a lost reply told may be found in the account's history, which is read
in ``elevenlabs_history.py``.
"""

import base64
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote

from media_assets.errors import (
    ContentRejectedError,
    InsufficientCreditError,
    ModelGoneError,
    PurchaseError,
    RequestRejectedError,
    UnexpectedResponseError,
)
from media_assets.prediction import Output, Prediction
from media_assets.prompt import Scalar
from media_assets.providers.base import Asked, Deadlines, HttpCall, HttpReply
from media_assets.providers.elevenlabs_history import ElevenLabsHistory
from media_assets.providers.params import nested
from media_assets.providers.refusals import Refusal, text_of
from media_assets.providers.synchronous import amount_of, is_sound
from media_assets.redact import redact_text
from media_assets.request import GenerationRequest

_FIELD = re.compile(r"\{(\w+)\}")
_SEGMENT_ENDS = re.compile(r"[/\\]")


class ElevenLabsAdapter(ElevenLabsHistory):
    """``endpoint`` is a path whose ``{name}`` takes the parameter of that name; the version is sent as ``model_id``.

    Two kinds of reply are read: sound as it is, and the JSON of ``…/with-timestamps``. The JSON lines of
    ``…/stream/with-timestamps`` are not: nothing in them tells a whole stream from a cut one.
    """

    name = "elevenlabs"
    key_env = "ELEVENLABS_API_KEY"
    # The second name is an older one that recorded clients still read; no specification has it (2026-11-24).
    id_headers = ("request-id", "history-item-id")
    # Words are matched before statuses, for out of money came as 401 too. Of the errors page and the help centre:
    # insufficient_credits, quota_exceeded, model_not_found, unsupported_model. In bodies that users posted (2025 and
    # 2026, read 2026-11-24): paid_plan_required (402: this voice is for paid plans only, another one is not),
    # content_against_policy (403), bad_prompt (400). content_policy_violation is other providers' word, unverified.
    meanings: ClassVar[Mapping[str, type[PurchaseError]]] = {
        "bad_prompt": ContentRejectedError,
        "content_against_policy": ContentRejectedError,
        "content_policy_violation": ContentRejectedError,
        "insufficient_credits": InsufficientCreditError,
        "model_not_found": ModelGoneError,
        "paid_plan_required": RequestRejectedError,
        "quota_exceeded": InsufficientCreditError,
        "unsupported_model": ModelGoneError,
    }

    def __init__(self, base_url: str = "https://api.elevenlabs.io") -> None:
        self._base_url = base_url.rstrip("/")

    @property
    def base_urls(self) -> tuple[str, ...]:
        return (self._base_url,)

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        return {"xi-api-key": api_key}

    def submit_call(self, request: GenerationRequest, *, inputs: Mapping[str, str], deadlines: Deadlines) -> HttpCall:
        """Return the one call there is. **Costs money**; ElevenLabs cannot be told a deadline.

        Raises:
            RequestRejectedError: The endpoint's address cannot be made of the parameters; nothing was sent.
        """
        del deadlines
        path, left = self._address(request.endpoint, request.params)
        body = nested({**left, **inputs}) | {"model_id": request.version}
        return HttpCall(method="POST", url=f"{self._base_url}/{path}", json_body=body)

    def _address(self, endpoint: str, params: Mapping[str, Scalar]) -> tuple[str, dict[str, Scalar]]:
        """Return the endpoint with its fields filled in, and the parameters that are left for the body."""
        in_path = _FIELD.findall(endpoint.partition("?")[0])
        named = sorted(set(_FIELD.findall(endpoint)))
        for name in named:
            self._check_field(name, params.get(name), is_in_path=name in in_path)
        address = _FIELD.sub(lambda found: quote(_written(params[found[1]]), safe=""), endpoint)
        return address.lstrip("/"), {name: value for name, value in params.items() if name not in named}

    def _check_field(self, name: str, value: Scalar | None, *, is_in_path: bool) -> None:
        """Refuse what would ask another address: quoting keeps ``/`` out, but servers read ``..`` quoted too."""
        written = "" if value is None else _written(value)
        is_bad_step = any(step in {"", ".", ".."} for step in _SEGMENT_ENDS.split(written))
        if value is None or (is_in_path and is_bad_step) or not written.isprintable():
            shown = redact_text(written, limit=80)
            message = f"{self.name} cannot be asked: {name} is {shown!r}, which makes no address; nothing was sent"
            raise RequestRejectedError(message, provider=self.name)

    def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
        """Read sound as it is, or out of JSON: which one, the reply itself says. Of the history: how an item stands."""
        if asked is Asked.STATUS and prediction is not None:
            return self.parse_item(reply, prediction)
        if not isinstance(reply, HttpReply):
            message = f"{self.name} is asked over HTTP, but the reply is {type(reply).__name__}"
            raise UnexpectedResponseError(message, provider=self.name)
        characters = amount_of(reply.headers.get("character-cost"))
        reported = {} if characters is None else {"character_cost": characters}
        if not reply.body or is_sound(reply):
            return self.finished(reply, (Output(data=reply.body),) if reply.body else (), reported)
        return self._parse_json(reply, reported)

    def _parse_json(self, reply: HttpReply, reported: Mapping[str, Decimal]) -> Prediction:
        document = reply.json()
        if not isinstance(document, dict):
            raise self.not_sound(reply)
        if document.get("detail"):
            return self.failed(reply, self.read_refusal(reply), reported)
        encoded = document.get("audio_base64")
        if not isinstance(encoded, str):
            raise self.unreadable(reply, "its JSON has no sound in audio_base64")
        try:
            sound = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            raise self.unreadable(reply, "its audio_base64 is no base64") from error
        return self.finished(reply, (Output(data=sound),) if sound else (), reported)

    def parse_error(self, reply: HttpReply, asked: Asked, prediction: Prediction | None = None) -> PurchaseError:
        """Read a reply that is not a 2xx: to a submit, or to a question for the history."""
        if asked is Asked.SUBMIT:
            return super().parse_error(reply, asked, prediction)
        return self.question_error(reply, prediction)

    def read_refusal(self, reply: HttpReply) -> Refusal:
        """Read the four forms of ``detail``: today's object, the older one, the list of a validation, and a string."""
        document = reply.json()
        detail = document.get("detail") if isinstance(document, dict) else None
        if isinstance(detail, list):
            return _refusal_of_list(detail)
        if not isinstance(detail, dict):
            return Refusal(message=text_of(detail))
        named = (text_of(detail.get(name)) for name in ("code", "status", "type"))
        return Refusal(
            words=tuple(word for word in named if word),
            message=text_of(detail.get("message")),
            fields=tuple(name for name in (text_of(detail.get("param")),) if name),
            request_id=text_of(detail.get("request_id")) or None,
        )


def _refusal_of_list(faults: list[Any]) -> Refusal:
    fields, said = list[str](), list[str]()
    for fault in faults[:20]:
        if not isinstance(fault, dict):
            continue
        place = fault.get("loc")
        steps = [str(step) for step in place if isinstance(step, str | int)] if isinstance(place, list) else []
        name = ".".join(steps[1:] if steps[:1] in (["body"], ["query"], ["path"]) else steps)
        fields += [name] if name else []
        said.append(f"{name}: {text_of(fault.get('msg'))}" if name else text_of(fault.get("msg")))
    return Refusal(message="; ".join(one for one in said if one), fields=tuple(fields))


def _written(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
