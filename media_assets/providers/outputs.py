"""What a prediction made, in all the forms that providers say it: read here, and only here.

A list of URLs, one URL, ``{images: [{url}]}``, ``{video: {url}}``, ``{audio: …}``, ``{data: [{b64_json | url}]}``, a
file object, bytes, hex, ``data:`` URIs, and these inside each other. Whether a URL may be asked and whether bytes are
a medium is decided later, where they are downloaded and probed.
"""

import base64
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from media_assets.media.sniff import HEAD_BYTES, sniff
from media_assets.prediction import Output
from media_assets.providers.base import MOST_REPLY_BYTES

OutputsIn = Callable[[Any], tuple[Output, ...]]
"""Reads what a prediction made; raises ``UnreadableOutputError`` where that cannot be done."""

MAX_INLINE_BYTES = MOST_REPLY_BYTES
"""The most that one output inside a reply may have, decoded: nothing that came is refused."""

_DEEPEST = 8
"""No provider nests its outputs deeper than four (2026-11); a reply of 1,000 levels must not exhaust the stack."""

_CONTAINERS = (
    "video",
    "videos",
    "images",
    "image",
    "audio",
    "audio_file",
    "audio_url",
    "video_url",
    "image_url",
    "media",
    "data",
    "output",
    "outputs",
    "file",
    "files",
)
"""Fields that hold outputs, the best first: the first that holds any is taken.

From fal's endpoint types of 2025-12 and 2026-08 and OpenAI's specification of 2026-08-21. Previews (``thumbnail``,
``spritesheet``) are not among them.
"""
_NEVER_OUTPUTS = frozenset({"detail", "docs", "error", "errors", "logs", "message", "status"})

_URL = re.compile(r"https?://[^\s/?#\\]+(?:[/?#][^\s\\]*)?")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NOT_IN_URI = re.compile(rb"[^!-~]")


class UnreadableOutputError(ValueError):
    """What a provider calls its output can be neither fetched nor decoded; the message holds none of its content."""


def outputs_of(value: Any) -> tuple[Output, ...]:
    """Return every output in a provider's value, in its order; none where it holds nothing (null, empty, ``[null]``).

    A text without URL is hex if it is the value of a field for sound, or if its bytes begin like a medium we handle.
    An object without a known field is read only if exactly one of its fields is a file or a URL.

    Raises:
        UnreadableOutputError: Something in it is no output.
    """
    return tuple(_read(value, depth=0))


def every_output_of(value: Any) -> tuple[Output, ...]:
    """Return every file that a provider's value names, each once, in its order: of a model that nobody here knows.

    Which of them is *the* output is not asked. Words, numbers, and what is broken or nested too deep are passed over.
    """
    return tuple(dict.fromkeys(_every(value, depth=0)))


def _every(value: Any, *, depth: int) -> Iterator[Output]:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        # Words may begin like a data URI, and be none.
        with contextlib.suppress(UnreadableOutputError):
            yield from _read_text(value, is_sound=False)
    elif isinstance(value, list):
        for item in value:
            yield from _every(item, depth=depth + 1)
    elif isinstance(value, Mapping):
        with contextlib.suppress(UnreadableOutputError):
            yield from _inline(_from_base64(value.get("b64_json", "")))
        for name, held in value.items():
            if name not in _NEVER_OUTPUTS:
                yield from _every(held, depth=depth + 1)


def _read(value: Any, *, depth: int, is_sound: bool = False) -> Iterator[Output]:
    if depth > _DEEPEST:
        message = f"it is nested deeper than {_DEEPEST} levels"
        raise UnreadableOutputError(message)
    if isinstance(value, str):
        yield from _read_text(value, is_sound=is_sound)
    elif isinstance(value, bytes):
        yield from _inline(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _read(item, depth=depth + 1, is_sound=is_sound)
    elif isinstance(value, Mapping):
        yield from _read_object(value, depth=depth)
    elif value is not None:
        message = f"it is {type(value).__name__}, and no file or URL"
        raise UnreadableOutputError(message)


def _read_object(value: Mapping[str, Any], *, depth: int) -> list[Output]:
    if encoded := value.get("b64_json"):
        return list(_inline(_from_base64(encoded)))
    if value.get("url"):
        return list(_read(_reference(value["url"]), depth=depth + 1))
    for name in _CONTAINERS:
        if found := list(_read(value.get(name), depth=depth + 1, is_sound=name.startswith("audio"))):
            return found
    if not value or any(name in value for name in ("b64_json", "url", *_CONTAINERS)):
        return []
    named = [name for name, held in value.items() if name not in _NEVER_OUTPUTS and _is_reference(held)]
    if len(named) != 1:
        fields = ", ".join(sorted(map(str, named or value))[:10])
        message = f"it is an object of which {'several fields' if named else 'no field'} may be the output: {fields}"
        raise UnreadableOutputError(message)
    return list(_read(value[named[0]], depth=depth + 1))


def _is_reference(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.get("url")
    return isinstance(value, str) and (_URL.fullmatch(value) is not None or _is_data_uri(value))


def _reference(value: Any) -> str:
    if _is_reference(value) and isinstance(value, str):
        return value
    message = "its url is no http or data URL"
    raise UnreadableOutputError(message)


def _is_data_uri(text: str) -> bool:
    return text[:5].lower() == "data:"


def _read_text(text: str, *, is_sound: bool) -> Iterator[Output]:
    if _URL.fullmatch(text) and text.isprintable():
        yield Output(url=text)
    elif _is_data_uri(text):
        yield from _inline(_from_data_uri(text))
    elif text:
        yield from _inline(_from_hex(text, is_sound=is_sound))


def _inline(content: bytes) -> Iterator[Output]:
    _check_size(len(content))
    if content:
        yield Output(data=content)


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_INLINE_BYTES:
        message = f"it has {size_bytes} bytes inside the reply; at most {MAX_INLINE_BYTES} are read"
        raise UnreadableOutputError(message)


def _from_hex(text: str, *, is_sound: bool) -> bytes:
    head = text[: 2 * HEAD_BYTES]
    if _HEX.fullmatch(head) and (is_sound or sniff(bytes.fromhex(head))) and _HEX.fullmatch(text):
        _check_size(len(text) // 2)
        return bytes.fromhex(text)
    message = "it is text, and no URL or file"
    raise UnreadableOutputError(message)


def _from_base64(encoded: Any) -> bytes:
    if not isinstance(encoded, str | bytes):
        message = f"it is {type(encoded).__name__} where base64 belongs"
        raise UnreadableOutputError(message)
    _check_size(len(encoded) * 3 // 4 - 2)
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        message = "its base64 is broken or cut short"
        raise UnreadableOutputError(message) from error


def _from_data_uri(uri: str) -> bytes:
    """Decode ``data:[type][;base64],content`` (RFC 2397), strictly: what was damaged on its way is no output."""
    head, comma, rest = uri.partition(",")
    content = rest.encode("utf-8", "surrogatepass")
    if not comma or _NOT_IN_URI.search(content) or _BROKEN_ESCAPE.search(content):
        message = "its data URI is broken or cut short"
        raise UnreadableOutputError(message)
    _check_size(len(content) // 3)  # each byte takes at most three characters
    plain = unquote_to_bytes(content) if b"%" in content else content
    return _from_base64(plain) if head.lower().endswith(";base64") else plain
