"""ElevenLabs' refusals, in all the shapes that ``detail`` comes in.

By default the object of its page of errors (read 2026-09-17). A fault rule's ``value`` asks for another: ``legacy`` for
the object of two fields that public issues still show, with the statuses it had; ``list`` for FastAPI's list, which
faults of validation always have; ``text`` for a bare sentence, as frameworks answer.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from media_assets.simulator.calls import Faces
from media_assets.simulator.faults import Fault

SHAPES: Final = ("legacy", "list", "text")
"""What a rule's ``value`` may ask for."""

_LEGACY: Final[Mapping[str, tuple[int, str]]] = {
    "insufficient_credits": (401, "quota_exceeded"),
    "concurrent_limit_exceeded": (429, "too_many_concurrent_requests"),
    "missing_api_key": (401, "needs_authorization"),
}
"""Status and name where the legacy form had others than today's."""

_TYPES: Final[Mapping[int, str]] = {
    400: "validation_error",
    401: "authentication_error",
    402: "payment_required",
    403: "authorization_error",
    404: "not_found",
    429: "rate_limit_error",
    503: "service_unavailable",
}
_INTERNAL: Final = "internal_error"


class ElevenLabsFaces(Faces):
    """ElevenLabs' refusals, in one shape of ``detail``."""

    provider = "elevenlabs"

    def __init__(self, shape: str = "") -> None:
        """Speak in a shape of ``SHAPES``, or in today's."""
        self._shape = shape

    def as_told(self, fault: Fault) -> "ElevenLabsFaces":
        return ElevenLabsFaces(fault.value) if fault.value in SHAPES else self

    def refuse_key(self, request: Request) -> Response | None:
        key = request.headers.get("xi-api-key", "")
        if not key:
            return self.refusal(401, "missing_api_key", "An API key is needed: send it as xi-api-key.")
        if "invalid" in key or not key.isprintable() or " " in key:
            return self.refusal(401, "invalid_api_key", "Invalid API key.")
        return None

    def server_error(self, status: int) -> Response:
        code = _TYPES.get(status, _INTERNAL)
        return self.refusal(status, code, "An error occurred on our side. Please try again later.")

    def throttled(self, wait_s: float | None) -> Response:
        wait = "" if wait_s is None else f" Try again in {wait_s:g} seconds."
        return self.refusal(429, "rate_limit_exceeded", f"Too many requests.{wait}")

    def too_many_at_once(self, limit: int) -> Response:
        """Return the 429 of a subscription that has ``limit`` requests under way."""
        message = f"Too many concurrent requests. Your subscription allows {limit}."
        return self.refusal(429, "concurrent_limit_exceeded", message)

    def bad_request(self) -> Response:
        return self.refusal(400, "invalid_request", "The request cannot be done as it is.", param="text")

    def gone(self, model: str) -> Response:
        """Return what a submission to an unknown or retired model gets; its status is unverified (2026-11-22)."""
        message = f"A model with ID {model} does not exist or is no longer served."
        return self.refusal(404, "model_not_found", message, param="model_id")

    def out_of_money(self) -> Response:
        return self.refusal(402, "insufficient_credits", "This request exceeds your remaining credits.")

    def content_rejected(self) -> Response:
        """Return the refusal of a content policy.

        Status 403 and its legacy name are what several public programs check for (read 2026-11-22); no page of
        ElevenLabs was found that names them.
        """
        message = "The text may violate our Terms of Service and has been blocked."
        return self.refusal(403, "content_against_policy", message, param="text")

    def voice_not_found(self, voice_id: str) -> Response:
        """Return what an unknown voice gets."""
        return self.refusal(404, "voice_not_found", f"A voice with ID {voice_id} was not found.", param="voice_id")

    def history_item_not_found(self, item_id: str) -> Response:
        """Return what an unknown item of the history gets."""
        message = f"A history item with ID {item_id} was not found."
        return self.refusal(404, "history_item_not_found", message, param="history_item_id")

    def too_long(self, length: int, limit: int) -> Response:
        """Return what a text beyond its model's limit gets."""
        message = f"This request's text has {length} characters and exceeds the limit of {limit} characters."
        return self.refusal(400, "max_character_limit_exceeded", message, param="text")

    def misfits(self, errors: list[dict[str, Any]]) -> Response:
        """Return FastAPI's 422, whatever the shape: its validation never had another."""
        return _reply(422, errors)

    def refusal(self, status: int, code: str, message: str, *, param: str | None = None) -> Response:
        """Return an error.

        Args:
            status: Of today; the legacy shape may have another.
            code: Today's name of what is wrong.
            message: For people.
            param: The field that is to blame.
        """
        legacy_status, legacy_name = _LEGACY.get(code, (status, code))
        if self._shape == "legacy":
            return _reply(legacy_status, {"status": legacy_name, "message": message})
        if self._shape == "list":
            return _reply(status, [{"loc": ["body", *([param] if param else [])], "msg": message, "type": code}])
        if self._shape == "text":
            return _reply(status, message)
        detail = {
            "type": _TYPES.get(status, _INTERNAL),
            "code": code,
            "message": message,
            "status": legacy_name,
            "request_id": new_id(),
        }
        return _reply(status, detail | ({"param": param} if param else {}))


def new_id() -> str:
    """Return an id of a request or an item of the history: 20 letters and digits, as ElevenLabs' are."""
    return uuid4().hex[:20]


def common_headers() -> dict[str, str]:
    """Return what every reply carries."""
    return {"x-trace-id": uuid4().hex, "x-region": "us-central1"}


def _reply(status: int, detail: Any) -> Response:
    return JSONResponse({"detail": detail}, status, headers=common_headers())
