"""What OpenAI's two endpoints take, and what their input is found wrong with.

Fields, limits and values: the OpenAPI file of 2026-08-21 and the SDK 3.54.0. The status, ``type`` and ``param`` of an
error are documented; its ``code`` and wording follow what the live service was seen to say, and may differ in detail.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

IMAGE_MODEL: Final = "gpt-image-2"
SPEECH_MODEL: Final = "gpt-4o-mini-tts"

VOICES: Final = (
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
)
_MULTIPLE_OF_PX: Final = 16
_LONGEST_SIDE_PX: Final = 3840
_MOST_PIXELS: Final = 3840 * 2160
_STEEPEST: Final = 3
"""Longer side by shorter side."""

IMAGE_TOKENS: Final = {"low": 272, "medium": 1056, "high": 4160}
"""Of a picture of 1024 x 1024 by quality; other sizes in proportion to their pixels, rounded up.

The simulator's own rule. The medium figure is the one of OpenAI's documented example of a reply (2026-08-21); the
others keep the ratio between qualities that its prices of gpt-image-1-mini show.
"""
AUDIO_TOKENS_PER_S: Final = 20
"""The simulator's own rule, rounded up: OpenAI does not say how many tokens a second of speech has (2026-11-22)."""
_CHARACTERS_PER_TOKEN: Final = 4


@dataclass(frozen=True)
class Problem:
    """Why an input is refused."""

    message: str
    param: str
    code: str


@dataclass(frozen=True, kw_only=True)
class BodyField:
    """What one field of the body may be."""

    kind: type = str
    required: bool = False
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    """For a text, its greatest length."""


IMAGE_FIELDS: Final[Mapping[str, BodyField]] = {
    "model": BodyField(required=True),
    "prompt": BodyField(required=True, high=32_000),
    "n": BodyField(kind=int, low=1, high=10),
    "size": BodyField(),
    "quality": BodyField(choices=("low", "medium", "high", "auto")),
    "background": BodyField(choices=("transparent", "opaque", "auto")),
    "output_format": BodyField(choices=("png", "jpeg", "webp")),
    "output_compression": BodyField(kind=int, low=0, high=100),
    "moderation": BodyField(choices=("low", "auto")),
    "stream": BodyField(kind=bool),
    "partial_images": BodyField(kind=int, low=0, high=3),
    "user": BodyField(),
    "safety_identifier": BodyField(),
}
"""Of ``images/generations`` for GPT image models; ``response_format`` and ``style`` are none of theirs."""

SPEECH_FIELDS: Final[Mapping[str, BodyField]] = {
    "model": BodyField(required=True),
    "input": BodyField(required=True, high=4_096),
    "voice": BodyField(kind=object, required=True),
    "instructions": BodyField(high=4_096),
    "response_format": BodyField(choices=("mp3", "opus", "aac", "flac", "wav", "pcm")),
    "speed": BodyField(kind=float, low=0.25, high=4.0),
    "stream_format": BodyField(choices=("sse", "audio")),
}
"""Of ``audio/speech``."""

_KINDS: Final = {str: "a string", int: "an integer", float: "a decimal", bool: "a boolean"}


def image_problem(given: Mapping[str, Any]) -> Problem | None:
    """Return what is wrong with a request for pictures; None when nothing is."""
    return next(_image_problems(given), None)


def speech_problem(given: Mapping[str, Any]) -> Problem | None:
    """Return what is wrong with a request for speech; None when nothing is."""
    return next(_speech_problems(given), None)


def size_px(given: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height of the pictures asked for; a square of 1024 where the model may choose."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", given.get("size") or "")
    return (int(found[1]), int(found[2])) if found else (1024, 1024)


def quality(given: Mapping[str, Any]) -> str:
    """Return the quality of the pictures asked for; medium where the model may choose."""
    asked = given.get("quality") or "auto"
    return "medium" if asked == "auto" else str(asked)


def text_tokens(*texts: str | None) -> int:
    """Return how many tokens texts have, each rounded up: a quarter of its characters, the simulator's own rule."""
    return sum(math.ceil(len(text) / _CHARACTERS_PER_TOKEN) for text in texts if text)


def image_tokens(given: Mapping[str, Any]) -> int:
    """Return how many tokens one of the pictures asked for has."""
    width_px, height_px = size_px(given)
    return math.ceil(IMAGE_TOKENS[quality(given)] * width_px * height_px / 1024**2)


def audio_tokens(seconds: float) -> int:
    """Return how many tokens a speech has."""
    # Rounded to a microsecond first: a float's last bit must not cost a token.
    return math.ceil(round(seconds * AUDIO_TOKENS_PER_S, 6))


def _image_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _field_problems(IMAGE_FIELDS, given)
    size = given.get("size") or "auto"
    if size != "auto" and not _is_size(size):
        message = (
            f"Invalid value: '{size}'. Supported values are 'auto' and WIDTHxHEIGHT with sides divisible by 16, an "
            "aspect ratio between 1:3 and 3:1 and at most 3840x2160 pixels."
        )
        yield Problem(message, "size", "invalid_value")
    if given.get("background") == "transparent" and given.get("output_format") == "jpeg":
        message = "Transparent background is not supported with output format 'jpeg'."
        yield Problem(message, "background", "invalid_value")


def _is_size(size: str) -> bool:
    if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", size):
        return False
    sides = size_px({"size": size})
    return (
        all(side % _MULTIPLE_OF_PX == 0 for side in sides)
        and max(sides) <= min(_LONGEST_SIDE_PX, _STEEPEST * min(sides))
        and sides[0] * sides[1] <= _MOST_PIXELS
    )


def _speech_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _field_problems(SPEECH_FIELDS, given)
    voice = given["voice"]
    is_own = isinstance(voice, dict) and set(voice) == {"id"} and str(voice["id"]).startswith("voice_")
    if voice not in VOICES and not is_own:
        known = ", ".join(f"'{name}'" for name in VOICES)
        yield Problem(f"Invalid value: '{voice}'. Supported values are: {known}.", "voice", "invalid_value")


def _field_problems(fields: Mapping[str, BodyField], given: Mapping[str, Any]) -> Iterator[Problem]:
    for name, field in fields.items():
        if field.required and given.get(name) is None:
            yield Problem(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    for name, value in given.items():
        if name not in fields:
            yield Problem(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
        elif value is not None:
            yield from _value_problems(name, fields[name], value)


def _value_problems(name: str, field: BodyField, value: Any) -> Iterator[Problem]:
    if not _is_of(field.kind, value):
        message = f"Invalid type for '{name}': expected {_KINDS[field.kind]}, but got {_shown(value)} instead."
        yield Problem(message, name, "invalid_type")
    elif field.kind is str:
        yield from _text_problems(name, field, value)
    elif field.low is not None and field.high is not None and not field.low <= value <= field.high:
        yield _out_of_range(name, field, value)


def _text_problems(name: str, field: BodyField, value: str) -> Iterator[Problem]:
    if field.choices and value not in field.choices:
        known = ", ".join(f"'{choice}'" for choice in field.choices)
        yield Problem(f"Invalid value: '{value}'. Supported values are: {known}.", name, "invalid_value")
    if field.required and not value:
        yield Problem(f"Invalid '{name}': empty string.", name, "empty_string")
    if field.high is not None and len(value) > field.high:
        message = (
            f"Invalid '{name}': string too long. Expected a string with maximum length {field.high}, but got a "
            f"string with length {len(value)} instead."
        )
        yield Problem(message, name, "string_above_max_length")


def _out_of_range(name: str, field: BodyField, value: float) -> Problem:
    word = "integer" if field.kind is int else "decimal"
    is_below = field.low is not None and value < field.low
    bound, wanted = ("below minimum", f">= {field.low}") if is_below else ("above maximum", f"<= {field.high}")
    message = f"Invalid '{name}': {word} {bound} value. Expected a value {wanted}, but got {value} instead."
    return Problem(message, name, f"{word}_{'below_min' if is_below else 'above_max'}_value")


def _is_of(kind: type, value: Any) -> bool:
    if kind is object:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, kind)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    return {str: "a string", int: "an integer", float: "a decimal", list: "an array", dict: "an object"}[type(value)]
