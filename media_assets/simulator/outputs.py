"""What a prediction makes: described at once, made when somebody wants the bytes.

A voice takes about ``media.SPEECH_CHARACTERS_PER_S`` characters a second, divided by its speed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from media_assets.simulator.media import AUDIO_MIMES, SHORT_S, clip, picture, speech, speech_s, tiny_size_px

SUFFIXES: Final[Mapping[str, str]] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

SPOILED: Final = frozenset({"black_output", "silent_output", "tiny_output", "short_output"})
"""The faults that spoil an output; each concerns the kinds of media that it names."""


@dataclass(frozen=True)
class Output:
    """One file that a prediction makes."""

    mime: str
    suffix: str
    make: Callable[[], bytes]
    facts: Mapping[str, Any]
    """For the log and the bill: see ``submissions.Submission.outcome``."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a model was asked for, once it has been checked."""

    values: Mapping[str, Any]
    """Every field, defaults filled in."""
    picture_px: tuple[int, int] | None
    """Size of the input picture."""
    seed: int
    """Decides what the media look like."""
    spoiled: str = ""
    """One of ``SPOILED``, or ""."""


def pictures(order: Order, count: int, size_px: tuple[int, int], mime: str) -> list[Output]:
    """Describe pictures."""
    if order.spoiled == "tiny_output":
        size_px = tiny_size_px(size_px)
    is_black = order.spoiled == "black_output"
    facts = {"kind": "image", "width_px": size_px[0], "height_px": size_px[1]}
    return [
        Output(mime, SUFFIXES[mime], partial(picture, size_px, mime, order.seed + at, is_black=is_black), facts)
        for at in range(count)
    ]


def clip_of(order: Order, size_px: tuple[int, int], fps: int, frames: int) -> list[Output]:
    """Describe one clip."""
    if order.spoiled == "tiny_output":
        size_px = tiny_size_px(size_px)
    if order.spoiled == "short_output":
        frames = max(round(SHORT_S * fps), 1)
    make = partial(clip, size_px, fps=fps, frames=frames, seed=order.seed, is_black=order.spoiled == "black_output")
    facts = {
        "kind": "video",
        "width_px": size_px[0],
        "height_px": size_px[1],
        "frames": frames,
        "duration_s": round(frames / fps, 6),
    }
    return [Output("video/mp4", "mp4", make, facts)]


def voice_of(
    order: Order, said: str, *, speed: float, audio_format: str, sample_rate_hz: int, bit_rate_bps: int | None = None
) -> list[Output]:
    """Describe one voice."""
    seconds = SHORT_S if order.spoiled == "short_output" else speech_s(said, speed)
    is_silent = order.spoiled == "silent_output"
    make = partial(speech, said, seconds, audio_format, sample_rate_hz, bit_rate_bps=bit_rate_bps, is_silent=is_silent)
    facts = {"kind": "audio", "duration_s": round(seconds, 6)}
    return [Output(AUDIO_MIMES[audio_format], audio_format, make, facts)]


def even(side_px: float) -> int:
    """Return the nearest even number of pixels, at least 2: what H.264 takes."""
    return max(2, 2 * round(side_px / 2))
