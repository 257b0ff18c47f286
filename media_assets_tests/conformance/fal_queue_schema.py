"""fal's queue as JSON Schema, in our own words: fal publishes no OpenAPI document of it that can be had from here.

Written from fal's documentation (queue, errors, lifecycle) and the code of its Python client 1.0.3, read on 2026-11-22.
Objects are closed, so that neither side can invent a field; what sources disagree on is said where it stands.
"""

from collections.abc import Mapping
from typing import Any, Final

from media_assets_tests.conformance.specification import schema_faults

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_URL: Final[Schema] = {"type": "string", "pattern": "^https?://[^ ]+$"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


SUBMITTED: Final = _object(
    {
        "request_id": TEXT,
        "response_url": _URL,
        "status_url": {**_URL, "pattern": "^https?://.+/requests/[^/]+/status$"},
        "cancel_url": {**_URL, "pattern": "^https?://.+/requests/[^/]+/cancel$"},
        "queue_position": _COUNT,
    },
    # On one page of the documentation, not on another.
    {"status": {"const": "IN_QUEUE"}, "gateway_request_id": TEXT},
)

_LINE: Final = _object(
    {"message": {"type": "string"}, "timestamp": TEXT, "level": TEXT}, {"source": TEXT, "labels": {"type": "object"}}
)
_LOGS: Final[Schema] = {"anyOf": [{"type": "null"}, {"type": "array", "items": _LINE}]}
"""Must be there, even as null: the client fails without the key."""
_SAME: Final = {"request_id": TEXT, "response_url": _URL}
_METRICS: Final = _object({}, {"inference_time": {"type": "number", "minimum": 0}})

QUEUED: Final = _object({"status": {"const": "IN_QUEUE"}, **_SAME, "queue_position": _COUNT})
RUNNING: Final = _object({"status": {"const": "IN_PROGRESS"}, **_SAME, "logs": _LOGS})
COMPLETED: Final = _object(
    {"status": {"const": "COMPLETED"}, **_SAME, "logs": _LOGS, "metrics": _METRICS},
    {"error": TEXT, "error_type": TEXT},
)

CANCELED: Final = _object({"status": {"const": "CANCELLATION_REQUESTED"}})
TOO_LATE: Final = _object({"status": {"const": "ALREADY_COMPLETED"}})
UNKNOWN_REQUEST: Final = _object({"status": {"const": "NOT_FOUND"}})

_MODEL_FAULT: Final = _object(
    {
        "loc": {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
        "msg": TEXT,
        "type": TEXT,
        "url": _URL,
    },
    {"ctx": {"type": "object"}, "input": {}},
)
MODEL_ERROR: Final = _object({"detail": {"type": "array", "items": _MODEL_FAULT, "minItems": 1}})
"""From the model: its result call is answered with it."""
PLATFORM_ERROR: Final = _object({"detail": TEXT}, {"error_type": TEXT})
"""From the platform. Some have no ``error_type``, such as that of an empty account."""

TOKEN: Final = _object({"token": TEXT, "token_type": TEXT, "base_url": _URL, "expires_at": TEXT})
UPLOADED: Final = _object({"access_url": _URL})
INITIATED: Final = _object({"upload_url": _URL, "file_url": _URL})

REPLIES: Final[Mapping[tuple[str, int], tuple[Schema, ...]]] = {
    ("submit", 200): (SUBMITTED,),
    ("submit", 400): (PLATFORM_ERROR,),
    ("submit", 401): (PLATFORM_ERROR,),
    ("submit", 403): (PLATFORM_ERROR,),
    ("submit", 404): (PLATFORM_ERROR,),
    ("submit", 429): (PLATFORM_ERROR,),
    ("submit", 500): (PLATFORM_ERROR,),
    ("submit", 503): (PLATFORM_ERROR,),
    ("status", 202): (QUEUED, RUNNING),
    ("status", 200): (COMPLETED,),
    ("status", 404): (UNKNOWN_REQUEST,),
    ("result", 400): (PLATFORM_ERROR,),
    ("result", 404): (UNKNOWN_REQUEST,),
    ("result", 422): (MODEL_ERROR,),
    ("result", 499): (PLATFORM_ERROR,),
    ("result", 500): (PLATFORM_ERROR,),
    ("result", 504): (PLATFORM_ERROR,),
    ("cancel", 202): (CANCELED,),
    ("cancel", 400): (TOO_LATE,),
    ("cancel", 404): (UNKNOWN_REQUEST,),
    ("token", 200): (TOKEN,),
    ("upload", 200): (UPLOADED,),
    ("initiate", 200): (INITIATED,),
}
"""What a call may be answered with, by status; a result's 200 is the model's own object."""


def faults(call: str, status: int, body: Any) -> list[str]:
    """Return what is wrong with a reply; nothing if it fits one of the schemas of its call and status."""
    schemas = REPLIES.get((call, status))
    if schemas is None:
        return [f"{call} is never answered with {status}"]
    found = [schema_faults(schema, body) for schema in schemas]
    return min(found, key=len)
