"""Media as the vendors' packages hand them out, decoded to the end: a file that only looks like one is no output."""

import io
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from PIL import Image


class Clip(NamedTuple):
    """A decoded clip."""

    size_px: tuple[int, int]
    frames: int
    fps: float


def picture_px(data: bytes) -> tuple[int, int]:
    """Decode a picture and return width and height; a picture of one colour is refused."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert len(picture.convert("RGB").getcolors(maxcolors=2) or "many") > 1, "the picture has one colour"
        return picture.size


def clip(data: bytes) -> Clip:
    """Decode every frame of a clip."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Clip((stream.width, stream.height), len(frames), float(stream.average_rate or Fraction(0)))


def voice_s(data: bytes) -> float:
    """Decode a voice and return its seconds; silence is refused."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        assert max(float(np.abs(frame.to_ndarray()).max()) for frame in frames) > 0, "the voice is silent"
        return float(sum(frame.samples for frame in frames) / (stream.rate or 1))


def pcm_s(data: bytes, rate_hz: int) -> float:
    """Return the seconds of bare 16-bit samples, which no header describes; silence is refused."""
    samples = np.frombuffer(data, np.int16)
    assert samples.any(), "the voice is silent"
    return len(samples) / rate_hz
