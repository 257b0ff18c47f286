"""OpenAI's stream of speech events, read as a whole: ``speech.audio.delta`` for each piece, ``speech.audio.done`` last.

Only this form of a speech reply says what it used. Names and shapes: OpenAI's specification of 2026-08-21
(openai/openai-openapi@f85dbe2). The framing is that of server-sent events (WHATWG HTML, "Server-sent events").
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines would also cut at U+2028, which JSON may hold
_END_MARK = "[DONE]"


class _BrokenStreamError(ValueError):
    """A stream that no reader could make sense of."""


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What a stream of speech events said."""

    audio: bytes
    is_whole: bool
    """Whether ``speech.audio.done`` came: without it, the sound may lack its end."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    """The provider's own report of a failure inside the stream, in the form of its error bodies."""


def read_speech(body: bytes) -> Speech:
    """Read a stream that has ended.

    Raises:
        ValueError: An event that is not the last is no JSON object, or a piece of sound is no base64.
    """
    pieces: list[bytes] = []
    usage: Any = None
    error: Mapping[str, Any] | None = None
    is_whole = False
    for event in _json_events(body):
        error = error or _error_in(event)
        kind = event.get("type")
        if kind == "speech.audio.delta":
            pieces.append(_decoded(event.get("audio")))
        elif kind == "speech.audio.done":
            is_whole = True
            usage = event.get("usage")
    return Speech(
        audio=b"".join(pieces), is_whole=is_whole, usage=usage if isinstance(usage, dict) else {}, error=error
    )


def _error_in(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    error = event.get("error")
    if error is None and event.get("type") != "error":
        return None
    return error if isinstance(error, dict) else {"message": error or event.get("message")}


def _decoded(audio: Any) -> bytes:
    if not isinstance(audio, str):
        message = f"a piece of sound is {type(audio).__name__}, not text"
        raise _BrokenStreamError(message)
    return base64.b64decode(audio, validate=True)


def _json_events(body: bytes) -> Iterator[dict[str, Any]]:
    for number, (name, data, is_closed) in enumerate(_events(body), 1):
        if data == _END_MARK:
            continue
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            if not is_closed:  # the stream was cut inside an event: its absence is what there is to report
                return
            event = None
        if not isinstance(event, dict):
            message = f"event {number} is no JSON object"
            raise _BrokenStreamError(message)
        yield {"type": name, **event}


def _events(body: bytes) -> Iterator[tuple[str, str, bool]]:
    """Yield name, data and whether the empty line that ends an event was there."""
    name, data = "", list[str]()
    for line in _LINE_END.split(body.decode("utf-8", errors="replace").removeprefix("\ufeff")):
        field_name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, "\n".join(data), True
            name, data = "", []
        elif field_name == "data":
            data.append(value)
        elif field_name == "event":
            name = value
    if data:
        yield name, "\n".join(data), False
