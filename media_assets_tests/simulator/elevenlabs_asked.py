"""What the tests of the simulated ElevenLabs ask, and how they read its replies."""

from pathlib import Path
from typing import Any

import httpx

from media_assets.media.judge import judge_audio
from media_assets.media.probe import probe

KEY = {"xi-api-key": "simulated"}
VOICE = "21m00Tcm4TlvDq8ikWAM"
SPEAK = f"/v1/text-to-speech/{VOICE}"
HISTORY = "/v1/history"
TEXT = "The lighthouse stands on the cliff, and the boats pass it every night."
BODY = {"text": TEXT, "model_id": "eleven_multilingual_v2"}


def detail_of(reply: httpx.Response) -> Any:
    """Return what is wrong by a reply, its form checked."""
    body = reply.json()
    assert set(body) == {"detail"}
    assert reply.headers["x-trace-id"]
    return body["detail"]


def problems_of(tmp_path: Path, sound: bytes) -> tuple[str, ...]:
    """Return what our judge has against a voice that should say ``TEXT``; the file stays in ``tmp_path``."""
    path = tmp_path / "voice"
    path.write_bytes(sound)
    return judge_audio(path, probe(path), text=TEXT).problems
