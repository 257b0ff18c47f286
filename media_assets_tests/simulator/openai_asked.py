"""What the tests of the simulated OpenAI ask, and how they read its errors."""

from typing import Any

import httpx

KEY = {"Authorization": "Bearer sk-simulated"}
IMAGES, SPEECH = "/images/generations", "/audio/speech"
TEXT = "The lighthouse stands on the cliff, and the boats pass it every night."
IMAGE = {"model": "gpt-image-2", "prompt": "a lighthouse at night"}
VOICE = {"model": "gpt-4o-mini-tts", "input": TEXT, "voice": "alloy"}


def error_of(reply: httpx.Response) -> dict[str, Any]:
    """Return the error that a reply carries, its form checked."""
    body = reply.json()
    assert set(body) == {"error"}
    assert {"message", "type", "param", "code"} <= set(body["error"])
    assert reply.headers["x-request-id"].startswith("req_")
    error: dict[str, Any] = body["error"]
    return error
