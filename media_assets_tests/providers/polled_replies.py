"""Replies of Replicate and fal, in the shapes of recordings, documentation and users' reports; the values are invented.

What is assembled from documentation alone, and was never seen as exact bytes, is said so.
"""

from typing import Any

REPLICATE = "https://api.replicate.com/v1"
VERSION = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
ID = "gm3qorzdhgbfurvjtvhg6dckhu"
PICTURE = "https://replicate.delivery/pbxt/a/out-0.png"
CLIP = "https://replicate.delivery/pbxt/b/out.mp4"

SPARSE: dict[str, Any] = {
    "id": ID,
    "model": "stability-ai/sdxl",
    "version": VERSION,
    "input": {"prompt": "x"},
    "logs": "",
    "error": None,
    "status": "starting",
    "created_at": "2026-01-01T00:00:00.000Z",
    "urls": {"get": f"{REPLICATE}/predictions/{ID}", "cancel": f"{REPLICATE}/predictions/{ID}/cancel"},
}
"""The recorded body of a 201: no output, no metrics, no data_removed."""

STARTING = SPARSE | {"output": None, "data_removed": False}
PROCESSING = STARTING | {
    "status": "processing",
    "started_at": "2026-01-01T00:00:01.000Z",
    "logs": "Using seed: 1\n  0%|          | 0/50 [00:00<?, ?it/s]\r 34%|###4      | 17/50 [00:01<00:02, 9.1it/s]",
}
_ENDED = PROCESSING | {"completed_at": "2026-01-01T00:00:07.000Z"}
SUCCEEDED = _ENDED | {
    "status": "succeeded",
    "output": [PICTURE],
    "metrics": {"predict_time": 5.524512, "total_time": 5.6},
}
FAILED = _ENDED | {
    "status": "failed",
    "error": "CUDA out of memory. Tried to allocate 2.00 GiB",
    "metrics": {"predict_time": 2.1, "total_time": 2.3},
}
CANCELED = _ENDED | {
    "status": "canceled",
    "logs": None,
    "metrics": {"predict_time": 3e-06, "total_time": 0.135578},
}
ABORTED = STARTING | {
    "status": "aborted",
    "started_at": None,
    "completed_at": "2026-01-01T00:01:00.000Z",
    "deadline": "2026-01-01T00:01:00.000Z",
}
"""Assembled from the documentation."""
REMOVED = SUCCEEDED | {"input": {}, "output": None, "logs": "", "data_removed": True}
"""Assembled from the documentation."""

SENSITIVE = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"

NO_MONEY = {
    "title": "Insufficient credit",
    "detail": "You have insufficient credit to run this model. Go to https://replicate.com/account/billing#billing",
    "status": 402,
}
NO_KEY = {"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}
NO_VERSION = {
    "title": "Invalid version or not permitted",
    "detail": "The specified version does not exist (or perhaps you don't have permission to use it?)",
    "status": 422,
}
NO_INPUT = {
    "title": "Input validation failed",
    "detail": "- input: prompt is required\n- input.num_inference_steps: Must be less than or equal to 4\n",
    "status": 422,
    "invalid_fields": [
        {"type": "required", "field": "input", "description": "prompt is required"},
        {"type": "number_lte", "field": "input.num_inference_steps", "description": "Must be less than or equal to 4"},
    ],
}
THROTTLED = {"detail": "Request was throttled. Your rate limit resets in ~30s."}
THROTTLED_WITH_WAIT = THROTTLED | {"status": 429, "retry_after": 5}
NOT_FOUND = {"detail": "The requested resource could not be found.", "status": 404}

FILE = {
    "id": "file1",
    "name": "a.png",
    "content_type": "image/png",
    "size": 5,
    "urls": {"get": f"{REPLICATE}/files/file1"},
}

QUEUE = "https://queue.fal.run"
FAL_ID = "764cabcf-b745-4b3e-ae38-1200304cf45b"
ROOT = f"{QUEUE}/fal-ai/flux/requests/{FAL_ID}"
FAL_URLS = {"status": f"{ROOT}/status", "result": ROOT, "cancel": f"{ROOT}/cancel"}
FAL_PICTURE = "https://v3.fal.media/files/lion/a.jpeg"

SUBMITTED: dict[str, Any] = {
    "request_id": FAL_ID,
    "response_url": ROOT,
    "status_url": f"{ROOT}/status",
    "cancel_url": f"{ROOT}/cancel",
    "queue_position": 0,
    "status": "IN_QUEUE",
}
IN_QUEUE: dict[str, Any] = {
    "status": "IN_QUEUE",
    "request_id": FAL_ID,
    "queue_position": 2,
    "response_url": ROOT,
}
IN_PROGRESS: dict[str, Any] = {"status": "IN_PROGRESS", "request_id": FAL_ID, "response_url": ROOT, "logs": None}
COMPLETED: dict[str, Any] = {
    "status": "COMPLETED",
    "request_id": FAL_ID,
    "response_url": ROOT,
    "logs": [{"message": "done", "timestamp": "2026-01-01T00:00:00Z", "level": "INFO", "source": "USER"}],
    "metrics": {"inference_time": 3.2},
}
TIMED_OUT = COMPLETED | {"error": "Request timed out", "error_type": "request_timeout"}

IMAGES: dict[str, Any] = {
    "images": [{"url": FAL_PICTURE, "content_type": "image/jpeg", "width": 1024, "height": 768}],
    "timings": {"inference": 0.5},
    "seed": 7,
    "has_nsfw_concepts": [False],
    "prompt": "x",
}
VIDEO: dict[str, Any] = {"video": {"url": "https://v3.fal.media/files/b.mp4", "file_size": 5}, "seed": 7}
AUDIO: dict[str, Any] = {"audio": {"url": "https://v3.fal.media/files/c.mp3"}, "duration_ms": 1234}

LOCKED = {"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}
TOO_EARLY = {"detail": "Request is still in progress"}


def model_error(kind: str, *place: str | int, message: str = "no") -> dict[str, Any]:
    """Return the body of a model's own error."""
    fault = {
        "loc": ["body", *place],
        "msg": message,
        "type": kind,
        "url": f"https://docs.fal.ai/errors/#{kind}",
        "ctx": {"min_height": 64},
        "input": "x",
    }
    return {"detail": [fault]}


def platform_error(kind: str, message: str = "no") -> dict[str, Any]:
    """Return the body of an error of the platform."""
    return {"detail": message, "error_type": kind}


FAL_LISTED: dict[str, Any] = {
    "request_id": FAL_ID,
    "endpoint_id": "fal-ai/flux/schnell",
    "started_at": "2026-01-01T00:00:05Z",
    "sent_at": "2026-01-01T00:00:01Z",
    "ended_at": "2026-01-01T00:00:08Z",
    "status_code": 200,
    "duration": 7.8,
    "json_input": {"prompt": "x"},
    "json_output": {"images": [{"url": FAL_PICTURE}]},
}
"""An entry of the account's requests; this and the next after the examples of the platform's OpenAPI document."""

FAL_CHARGE: dict[str, Any] = {
    "request_id": FAL_ID,
    "endpoint_id": "fal-ai/flux/dev",
    "timestamp": "2025-01-15T10:30:45Z",
    "output_units": 2,
    "unit_price": 0.025,
    "percent_discount": 10,
    "cost_subtotal": 0.05,
    "cost_discount": 0.005,
    "cost_total": 0.045,
    "cost_estimate_nano_usd": 45000000,
}
