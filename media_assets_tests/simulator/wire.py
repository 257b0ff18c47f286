"""Talking to a simulator byte by byte, where an HTTP client would hide what came over the wire."""

import json
import socket
from dataclasses import dataclass
from typing import Any

from media_assets.simulator.server import Simulator

KEYS = {
    "replicate": {"Authorization": "Bearer r8_x"},
    "fal": {"Authorization": "Key a:b"},
    "openai": {"Authorization": "Bearer sk-x"},
    "elevenlabs": {"xi-api-key": "x"},
}

SUBMITS: dict[str, tuple[str, dict[str, Any]]] = {
    "replicate": ("/replicate/v1/models/black-forest-labs/flux-schnell/predictions", {"input": {"prompt": "a boat"}}),
    "fal": ("/fal-queue/fal-ai/flux/schnell", {"prompt": "a boat"}),
    "openai": ("/openai/v1/images/generations", {"model": "gpt-image-2", "prompt": "a boat", "size": "1024x1024"}),
    "elevenlabs": (
        "/elevenlabs/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM",
        {"text": "a boat", "model_id": "eleven_multilingual_v2"},
    ),
}
"""A submission that each provider accepts."""


@dataclass
class Heard:
    """What came back, to the end of the connection or of the patience."""

    raw: bytes
    ending: str
    """``closed``, ``reset`` or ``silence``."""

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode()

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def header(self, name: str) -> str:
        lines = dict(line.split(": ", 1) for line in self.head.split("\r\n")[1:])
        return {key.lower(): value for key, value in lines.items()}[name.lower()]


def say(
    simulator: Simulator, method: str, path: str, *, headers: dict[str, str], body: Any = None, patience_s: float = 5.0
) -> Heard:
    """Send one request with ``Connection: close`` and listen until the connection ends or nothing more comes."""
    content = b"" if body is None else json.dumps(body).encode()
    host, port = simulator.url.removeprefix("http://").split(":")
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Connection: close",
        f"Content-Length: {len(content)}",
    ]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((host, int(port)), timeout=patience_s) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        return _listen(connection)


def submit(simulator: Simulator, provider: str, *, patience_s: float = 5.0) -> Heard:
    """Send one submission that would be accepted."""
    path, body = SUBMITS[provider]
    return say(simulator, "POST", path, headers=KEYS[provider], body=body, patience_s=patience_s)


def _listen(connection: socket.socket) -> Heard:
    raw = b""
    while True:
        try:
            more = connection.recv(65_536)
        except TimeoutError:
            return Heard(raw, "silence")
        except ConnectionResetError:
            return Heard(raw, "reset")
        if not more:
            return Heard(raw, "closed")
        raw += more
