"""Replies of the providers that answer at once, as their specifications and users' reports show them."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from media_assets.prompt import Scalar, Step
from media_assets.providers.base import Deadlines, HttpReply
from media_assets.request import GenerationRequest

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
MP3 = b"\xff\xfb\x90\x64" + bytes(range(255, -1, -1)) * 4
DEADLINES = Deadlines(queue_s=900, run_s=60)
CANARIES = (
    "sk-proj-canary0123456789abcdefghij",
    "sk_canary0123456789abcdefghijklmnopqrstuv",
    "signature=canary",
    "canarytoken",
)
"""Secrets as a provider might repeat them in an error; none may come through."""


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def reply_of(body: Any = b"", status: int = 200, **headers: str) -> HttpReply:
    """Return a reply; a dict or list becomes JSON with its content type, and ``_`` in header names a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict | list):
        return HttpReply(
            status=status, headers={"content-type": "application/json"} | named, body=json.dumps(body).encode()
        )
    return HttpReply(status=status, headers=named, body=body)


def request_to(
    provider: str, endpoint: str, *, version: str, params: Mapping[str, Scalar], step: Step = Step.AUDIO
) -> GenerationRequest:
    return GenerationRequest(
        step=step, provider=provider, model=f"{provider}:any", endpoint=endpoint, version=version, params=params
    )


def event(data: Any, *, end: str = "\n", name: str = "") -> str:
    """Return one server-sent event."""
    lines = [f"event: {name}"] if name else []
    return "".join(line + end for line in [*lines, f"data: {json.dumps(data)}", ""])


def delta(content: bytes) -> dict[str, Any]:
    return {"type": "speech.audio.delta", "audio": base64_of(content)}


DONE = {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}}

STREAM = (event(delta(MP3[:500])) + event(delta(MP3[500:])) + event(DONE)).encode()

IMAGE_USAGE = {
    "input_tokens": 12,
    "output_tokens": 1056,
    "total_tokens": 1068,
    "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
    "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0},
}

IMAGES = {
    "created": 1760000000,
    "data": [{"b64_json": base64_of(PNG)}],
    "background": "opaque",
    "output_format": "png",
    "quality": "medium",
    "size": "1024x1024",
    "usage": IMAGE_USAGE,
}

TIMESTAMPS = {
    "audio_base64": base64_of(MP3),
    "alignment": {
        "characters": ["H", "i"],
        "character_start_times_seconds": [0.0, 0.1],
        "character_end_times_seconds": [0.1, 0.2],
    },
    "normalized_alignment": None,
}


def openai_error(message: str = "no", kind: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None} | more}


def elevenlabs_error(code: str, message: str = "no", **more: Any) -> dict[str, Any]:
    return {"detail": {"type": "some_error", "code": code, "message": message, "status": code} | more}


def elevenlabs_old_error(status: str, message: str = "no") -> dict[str, Any]:
    return {"detail": {"status": status, "message": message}}


HISTORY_ITEM: dict[str, Any] = {
    "history_item_id": "ja9xsmfGhxYcymxGcOGB",
    "request_id": "BF0BZg4IwLGBlaVjv9Im",
    "voice_id": "21m00Tcm4TlvDq8ikWAM",
    "voice_name": "Rachel",
    "voice_category": "premade",
    "model_id": "eleven_multilingual_v2",
    "text": "Hello, world!",
    "date_unix": 1714650306,
    "character_count_change_from": 17189,
    "character_count_change_to": 17231,
    "content_type": "audio/mpeg",
    "state": "created",
    "settings": {"similarity_boost": 0.5, "stability": 0.71, "style": 0, "use_speaker_boost": True},
    "source": "TTS",
    "output_format": "mp3_44100_128",
}
"""An item of ElevenLabs' history, after the example of its OpenAPI document."""
