"""An account that never used this project: predictions submitted over plain HTTP, as anybody's script does."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from media_assets.simulator.server import Simulator

SDXL = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"

_SUBMISSIONS: Mapping[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "replicate": (
        "/replicate/v1/predictions",
        {"Authorization": "Bearer r8_simulated"},
        {"version": SDXL, "input": {"prompt": "a stranger's barn", "num_outputs": 2}},
    ),
    "fal": (
        "/fal-queue/fal-ai/flux/schnell",
        {"Authorization": "Key simulated:key"},
        {"prompt": "a stranger's mill", "num_images": 1},
    ),
    "elevenlabs": (
        "/elevenlabs/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM",
        {"xi-api-key": "simulated"},
        {"text": "A stranger speaks.", "model_id": "eleven_multilingual_v2"},
    ),
}


def submit(simulator: Simulator, http: httpx.Client, providers: Iterable[str] = tuple(_SUBMISSIONS)) -> None:
    """Submit one thing to each provider."""
    for provider in providers:
        path, headers, body = _SUBMISSIONS[provider]
        http.post(simulator.url + path, headers=headers, json=body).raise_for_status()
