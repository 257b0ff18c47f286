"""Real pictures, clips and voices for the simulator's outputs: decodable, of the exact size and length asked for.

What they show is of no interest, so they are cheap: shapes on a gradient, the same panned, and a hum in syllables.
Equal arguments make equal bytes, different seeds and texts different ones. Nothing here knows a provider.
"""

import io
import random
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame

TINY_SIDE_PX = 64
"""The longer side of what a model makes that ignores the size it was asked for."""
SHORT_S = 0.4
"""The length of a clip or a voice that broke off."""

SPEECH_CHARACTERS_PER_S = 15.0
"""How fast a simulated voice speaks at speed 1; our choice, in the middle of what the real ones do."""
_SHORTEST_SPEECH_S = 0.4
_CHARACTERS_PER_DIGIT = 4
_CHARACTERS_PER_IDEOGRAM = 3
_FIRST_IDEOGRAM = 0x2E80
"""From here up a letter is spoken as a syllable or two: the CJK blocks and those after them."""

_PILLOW_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_SHAPES = 9
_CLIP_LOOKS = 8
"""Clips are encoded in this many looks; the rest of a seed only changes a box that players skip."""
_PAN_SHARE_PER_S = 1 / 8
"""Of the clip's width. Fast enough that two pictures half a second apart differ to any judge."""

_CONTAINERS = {
    "mp3": ("mp3", "libmp3lame"),
    "wav": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "pcm": ("s16le", "pcm_s16le"),
    "ulaw": ("mulaw", "pcm_mulaw"),
    "alaw": ("alaw", "pcm_alaw"),
}
"""libav's muxer and encoder for each audio format."""
_QUICK = {"libmp3lame": {"compression_level": "9"}, "flac": {"compression_level": "0"}}
"""Encoder settings that save time where nobody listens to the difference."""
AUDIO_MIMES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
    "ulaw": "audio/basic",
    "alaw": "audio/x-alaw-basic",
}
"""Every format that :func:`speech` can make, and its content type."""
_LOOP_S = 2
_SYLLABLES_PER_LOOP = 9
_QUIETEST = 0.15
"""Of the loudest, between two syllables: a voice is never digitally silent."""
_LOUDEST = 0.5
_HARMONICS = 10


def picture(
    size_px: tuple[int, int],
    mime: str = "image/png",
    seed: int = 0,
    *,
    is_black: bool = False,
    has_alpha: bool = False,
) -> bytes:
    """Draw shapes on a gradient.

    Args:
        size_px: Width and height, met exactly.
        mime: ``image/png``, ``image/jpeg`` or ``image/webp``.
        seed: Decides colours and shapes.
        is_black: Draw nothing, as a content filter does.
        has_alpha: Leave the gradient away and let what is behind show through; not for JPEG.

    Raises:
        ValueError: The type is none of the three, or cannot have alpha.
    """
    if mime not in _PILLOW_FORMATS:
        message = f"no picture can be made as {mime!r}; known: {', '.join(_PILLOW_FORMATS)}"
        raise ValueError(message)
    if has_alpha and mime == "image/jpeg":
        message = "a JPEG cannot be transparent"
        raise ValueError(message)
    data = io.BytesIO()
    canvas = _canvas(size_px, seed, is_black=is_black, has_alpha=has_alpha)
    options = {"PNG": {"compress_level": 1}, "WEBP": {"method": 0}}.get(_PILLOW_FORMATS[mime], {"quality": 90})
    canvas.save(data, _PILLOW_FORMATS[mime], **options)
    return data.getvalue()


def tiny_size_px(size_px: tuple[int, int]) -> tuple[int, int]:
    """Return the same shape at ``TINY_SIDE_PX``, with even sides as video wants them."""
    longer_px = max(size_px)
    width_px, height_px = (max(2, 2 * round(side * TINY_SIDE_PX / longer_px / 2)) for side in size_px)
    return width_px, height_px


def _canvas(size_px: tuple[int, int], seed: int, *, is_black: bool, has_alpha: bool = False) -> Image.Image:
    if is_black:
        return Image.new("RGB", size_px)
    choose = random.Random(seed)  # noqa: S311 - colours, not secrets
    if has_alpha:
        canvas = Image.new("RGBA", size_px)
    else:
        dark = _color(choose, 20, 90)
        light = _color(choose, 150, 235)
        canvas = ImageOps.colorize(Image.linear_gradient("L").resize(size_px), dark, light)
    draw = ImageDraw.Draw(canvas)
    width_px, height_px = size_px
    for _ in range(_SHAPES):
        radius_px = choose.uniform(0.04, 0.2) * min(size_px)
        x_px, y_px = choose.uniform(0, width_px), choose.uniform(0, height_px)
        box = (x_px - radius_px, y_px - radius_px, x_px + radius_px, y_px + radius_px)
        shape = draw.ellipse if choose.random() < 0.5 else draw.rectangle  # noqa: PLR2004 - one in two
        shape(box, fill=_color(choose, 0, 255))
    # One bright shape is always there: no seed may draw a picture that looks empty.
    draw.ellipse((width_px * 0.4, height_px * 0.3, width_px * 0.6, height_px * 0.7), fill=_color(choose, 200, 255))
    return canvas


def _color(choose: random.Random, lowest: int, highest: int) -> tuple[int, int, int]:
    return choose.randint(lowest, highest), choose.randint(lowest, highest), choose.randint(lowest, highest)


def clip(
    size_px: tuple[int, int],
    *,
    fps: int,
    frames: int | None = None,
    duration_s: float | None = None,
    seed: int = 0,
    is_black: bool = False,
) -> bytes:
    """Make a silent H.264 MP4 in which the picture pans.

    Costs about 0.2 s of CPU for 5 s of 1280 x 720 the first time, nothing afterwards.

    Args:
        size_px: Width and height, both even (H.264 with 4:2:0 colour knows no others).
        fps: Whole frames a second.
        frames: How many; or give ``duration_s``.
        duration_s: The length, met to the nearest frame.
        seed: Decides what is shown.
        is_black: Show nothing, as a content filter does.

    Raises:
        ValueError: An odd side, or not exactly one of ``frames`` and ``duration_s``.
    """
    if (frames is None) == (duration_s is None):
        message = "give a clip either frames or duration_s"
        raise ValueError(message)
    if size_px[0] % 2 or size_px[1] % 2:
        message = f"a clip needs even sides, not {size_px[0]} x {size_px[1]}"
        raise ValueError(message)
    count = frames if frames is not None else round((duration_s or 0) * fps)
    encoded = _encoded_clip(size_px, fps, max(count, 1), seed % _CLIP_LOOKS, is_black)
    return encoded + _skipped_box(seed)


def _skipped_box(seed: int) -> bytes:
    """Return an MP4 box that players skip (ISO 14496-12, ``free``), so that no two seeds make equal bytes."""
    payload = str(seed).encode()
    return (8 + len(payload)).to_bytes(4, "big") + b"free" + payload


@lru_cache(maxsize=64)
def _encoded_clip(size_px: tuple[int, int], fps: int, frames: int, look: int, is_black: bool) -> bytes:  # noqa: FBT001 - the cache's key
    import av  # noqa: PLC0415 - PyAV costs 90 ms to import

    data = io.BytesIO()
    with av.open(data, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        options = {"preset": "ultrafast", "crf": "30", "threads": "1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height = size_px
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        for frame in _panned(_canvas(size_px, look, is_black=is_black), fps, frames):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return data.getvalue()


def _panned(canvas: Image.Image, fps: int, frames: int) -> Iterator["VideoFrame"]:
    from av.video.frame import VideoFrame  # noqa: PLC0415 - PyAV costs 90 ms to import

    width_px, height_px = canvas.size
    flat = (
        VideoFrame.from_ndarray(np.asarray(canvas), format="rgb24").reformat(format="yuv420p").to_ndarray().reshape(-1)
    )
    luma_size, chroma_size = width_px * height_px, width_px * height_px // 4
    luma, blue, red = np.split(flat, [luma_size, luma_size + chroma_size])
    planes = [luma.reshape(height_px, width_px)]
    planes += [plane.reshape(height_px // 2, width_px // 2) for plane in (blue, red)]
    step_px = max(2, 2 * round(width_px * _PAN_SHARE_PER_S / fps / 2))
    for number in range(frames):
        shift_px = number * step_px % width_px
        moved = [np.roll(plane, -shift_px * plane.shape[1] // width_px, axis=1).reshape(-1) for plane in planes]
        frame = VideoFrame.from_ndarray(np.concatenate(moved).reshape(-1, width_px), format="yuv420p")
        frame.pts = number
        frame.time_base = Fraction(1, fps)
        yield frame


def speech_s(text: str, speed: float = 1.0) -> float:
    """Return how long a simulated voice takes for a text, in seconds.

    ``SPEECH_CHARACTERS_PER_S`` letters and spaces; a digit is spoken as a word, an ideogram as a syllable or two,
    punctuation not at all.
    """
    characters = len(text.split())
    for character in text:
        if character.isdecimal():
            characters += _CHARACTERS_PER_DIGIT
        elif character.isalpha():
            characters += _CHARACTERS_PER_IDEOGRAM if ord(character) >= _FIRST_IDEOGRAM else 1
    return max(characters / SPEECH_CHARACTERS_PER_S / speed, _SHORTEST_SPEECH_S)


def speech(
    text: str,
    seconds: float,
    audio_format: str = "mp3",
    sample_rate_hz: int = 24_000,
    *,
    bit_rate_bps: int | None = None,
    is_silent: bool = False,
) -> bytes:
    """Hum in syllables, mono, for a given time; the text only decides pitch and vowels.

    Args:
        text: What is pretended to be said.
        seconds: The length; :func:`speech_s` gives the likely one. MP3, AAC and Opus add up to 0.1 s of padding.
        audio_format: A key of ``AUDIO_MIMES``; ``pcm`` is headerless signed 16 bit little-endian.
        sample_rate_hz: As the encoder allows: Opus 8, 12, 16, 24 or 48 kHz.
        bit_rate_bps: For MP3, AAC and Opus; None for the encoder's own choice.
        is_silent: Return digital silence of the same length.

    Raises:
        ValueError: An unknown format.
    """
    if audio_format not in _CONTAINERS:
        message = f"no voice can be made as {audio_format!r}; known: {', '.join(_CONTAINERS)}"
        raise ValueError(message)
    look = 0 if is_silent else zlib.crc32(text.encode("utf-8", "surrogatepass"))
    samples = max(round(seconds * sample_rate_hz), 1)
    return _encoded_speech(_Sound(look, samples, audio_format, sample_rate_hz, bit_rate_bps, is_silent))


class _Sound(NamedTuple):
    """All that decides a voice's bytes."""

    look: int
    samples: int
    audio_format: str
    sample_rate_hz: int
    bit_rate_bps: int | None
    is_silent: bool


@lru_cache(maxsize=32)
def _encoded_speech(sound: _Sound) -> bytes:
    import av  # noqa: PLC0415 - PyAV costs 90 ms to import
    from av.audio.stream import AudioStream  # noqa: PLC0415

    muxer, codec = _CONTAINERS[sound.audio_format]
    data = io.BytesIO()
    with av.open(data, "w", format=muxer, options={"fflags": "+bitexact"}) as container:
        options = {"flags": "+bitexact"} | _QUICK.get(codec, {})
        stream = container.add_stream(codec, rate=sound.sample_rate_hz, layout="mono", options=options)
        if not isinstance(stream, AudioStream):  # pragma: no cover - PyAV's stub says any stream
            message = f"{codec} is no audio encoder"
            raise TypeError(message)
        if sound.bit_rate_bps is not None:
            stream.bit_rate = sound.bit_rate_bps
        for frame in _repeated(sound):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return data.getvalue()


def _repeated(sound: _Sound) -> Iterator["AudioFrame"]:
    from av.audio.frame import AudioFrame  # noqa: PLC0415 - PyAV costs 90 ms to import

    loop = _silence(sound.sample_rate_hz) if sound.is_silent else _syllables(sound.look, sound.sample_rate_hz)
    for start in range(0, sound.samples, loop.size):
        part = np.ascontiguousarray(loop[: sound.samples - start].reshape(1, -1))
        frame = AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate = sound.sample_rate_hz
        frame.pts = start
        frame.time_base = Fraction(1, sound.sample_rate_hz)
        yield frame


def _silence(sample_rate_hz: int) -> NDArray[np.int16]:
    return np.zeros(_LOOP_S * sample_rate_hz, dtype=np.int16)


def _syllables(look: int, sample_rate_hz: int) -> NDArray[np.int16]:
    """Return ``_LOOP_S`` seconds that can be repeated without a click: every frequency fits a whole number of times."""
    choose = random.Random(look)  # noqa: S311 - a pitch, not a secret
    pitch_hz = choose.randint(90 * _LOOP_S, 220 * _LOOP_S) / _LOOP_S
    time_s = np.arange(_LOOP_S * sample_rate_hz) / sample_rate_hz
    syllable = (time_s * _SYLLABLES_PER_LOOP / _LOOP_S).astype(np.int64)
    vowels = np.array([[choose.random() for _ in range(_SYLLABLES_PER_LOOP)] for _ in range(_HARMONICS)])
    wave = np.zeros_like(time_s)
    for number in range(1, _HARMONICS + 1):
        if number * pitch_hz < sample_rate_hz / 2:
            wave += vowels[number - 1][syllable] / number * np.sin(2 * np.pi * number * pitch_hz * time_s)
    position = time_s * _SYLLABLES_PER_LOOP / _LOOP_S % 1
    wave *= _QUIETEST + (1 - _QUIETEST) * np.sin(np.pi * position) ** 2
    scaled: NDArray[np.int16] = (wave / np.abs(wave).max() * _LOUDEST * np.iinfo(np.int16).max).astype(np.int16)
    return scaled
