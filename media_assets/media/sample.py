"""Decode a little of a file and measure it: how bright, how moving, how loud.

Numbers only; what they mean is decided in ``judge``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from media_assets.artifact import MediaInfo
from media_assets.media.probe import (
    DECODER_THREADS,
    opened_image,
    opened_streams,
    picture_stream,
)

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.video.frame import VideoFrame
    from PIL.Image import Image

SILENCE_DBFS = -120.0
"""What digital silence is reported as, so that no number is infinite."""

_SAMPLE_WIDTH_PX = 320
"""Small enough to be cheap, large enough that a star of a night scene stays brighter than black."""
_SAMPLES_PER_S = 2.0
_READ_THROUGH_S = 60.0
"""Up to this length a video is decoded fully; a longer one at its key frames, which come every few seconds."""
_LONGEST_KEY_DISTANCE_S = 20.0
"""A long video with fewer key frames than this is decoded fully after all."""
_WINDOW_S = 0.1
_LEVEL_RATE_HZ = 16_000
_LOUDEST = 1e5
"""What samples are cut to, 100 dB above full scale: a file of floats may hold anything, infinity included."""

_BLACK_LEVEL = 24
"""Of 255. A picture whose brightest thousandth is not above this in any colour shows nothing on a screen."""
_STILL_MEAN = 1.5
_STILL_PEAK = 24.0
"""Two samples show the same picture when neither their mean difference (of 255) nor that of the most changed
thousandth is above these. Measured 2026-11-22: a still picture that x264 encodes at crf 18 to 45 stays below 1.2
and 18; a thing of 8 px that moves in a still picture of 320 px reaches 235, a night scene zoomed by 3 % 79."""

_STRIP_PX = 256
_GREY_16_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")

_LUMA_SHARES = (np.float32(0.299), np.float32(0.587), np.float32(0.114))

Pixels = NDArray[np.uint8]
"""Shape (height, width, 3), RGB."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one picture looks like; levels are 0..255."""

    mean_luma: float
    luma_std: float
    color_std: float
    """Standard deviation of the colour channel that varies most: 0 is one flat colour."""
    brightest: float
    """The level that a thousandth of the pixels exceed in the brightest channel."""

    @property
    def is_black(self) -> bool:
        """Whether nothing can be seen; a night scene has its lights."""
        return self.brightest <= _BLACK_LEVEL


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the samples of a video look like, and how they differ over time."""

    looks: tuple[Look, ...]
    motion_mean: float
    """Mean difference (of 255) between a sample and the one before."""
    frozen_s: float
    """The longest time without a change, from the first to the last sample that look the same."""
    sampled_s: float
    """The time from the first sample to the last; ``frozen_s`` is never longer."""
    ends_s: float | None
    """Where the last decoded picture ends; None when not all were decoded."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How loud a sound is, in dB below full scale; never below ``SILENCE_DBFS``."""

    rms_dbfs: float
    peak_dbfs: float
    window_dbfs: tuple[float, ...]
    """The level of each tenth of a second."""
    duration_s: float
    """What was decoded."""


def image_look(path: Path, info: MediaInfo) -> Look:
    """Decode an image fully and measure it as the next model sees it: transparent parts black, 16 bit made 8.

    Raises:
        ProbeError: It cannot be decoded to its end.
    """
    with opened_image(path, info.mime) as image:
        image.load()
        # Only large images lose detail here: below twice the sample width the factor is 1.
        factor = max(image.width // (2 * _SAMPLE_WIDTH_PX), 1)
        height_px = factor * max(_STRIP_PX // factor, 1)
        # In strips, so that a large picture is held in memory once and not three times.
        strips = (
            image.crop((0, top, image.width, min(top + height_px, image.height)))
            for top in range(0, image.height, height_px)
        )
        return _look(np.concatenate([np.asarray(_as_rgb(strip).reduce(factor)) for strip in strips]))


def _as_rgb(image: "Image") -> "Image":
    if image.mode in _GREY_16_BIT_MODES:
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        image = image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    if image.has_transparency_data:
        from PIL.Image import alpha_composite, new  # noqa: PLC0415 - loaded by whoever opened the image

        return alpha_composite(new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def video_motion(path: Path, info: MediaInfo) -> Motion:
    """Decode a short video fully and a long one at its key frames; measure about two pictures a second.

    Raises:
        ProbeError: It cannot be decoded.
    """
    duration_s = info.video_duration_s or 0.0
    if duration_s > _READ_THROUGH_S:
        motion = _motion(path, info, keys_only=True)
        if len(motion.looks) > duration_s / _LONGEST_KEY_DISTANCE_S:
            return motion
    return _motion(path, info, keys_only=False)


def _motion(path: Path, info: MediaInfo, *, keys_only: bool) -> Motion:
    looks: list[Look] = []
    times_s: list[float] = []
    differences: list[float] = []
    anchor: Pixels | None = None
    previous: Pixels | None = None
    anchor_s = frozen_s = ends_s = 0.0
    for time_s, pixels in _samples(path, info, keys_only=keys_only):
        if pixels is None:
            ends_s = max(ends_s, time_s)
            continue
        times_s.append(time_s)
        looks.append(_look(pixels))
        if previous is not None:
            differences.append(float(_difference(previous, pixels).mean()))
        if anchor is None or _has_changed(anchor, pixels):
            # Compared with where the stillness began: a slow zoom changes little from one sample to the next.
            anchor, anchor_s = pixels, time_s
        frozen_s = max(frozen_s, time_s - anchor_s)
        previous = pixels
    return Motion(
        looks=tuple(looks),
        motion_mean=sum(differences) / len(differences) if differences else 0.0,
        frozen_s=frozen_s,
        sampled_s=times_s[-1] - times_s[0] if times_s else 0.0,
        ends_s=None if keys_only else ends_s,
    )


def sound_levels(path: Path, info: MediaInfo) -> Levels:
    """Decode a sound fully and measure it; channels are mixed to one.

    Raises:
        ProbeError: It cannot be decoded to its end.
    """
    powers: list[float] = []
    counts: list[int] = []
    peak = 0.0
    for block in _sound_blocks(path, info):
        powers.append(float(np.square(block).mean()))
        counts.append(block.size)
        peak = max(peak, float(np.abs(block).max()))
    total = sum(counts)
    power = sum(p * n for p, n in zip(powers, counts, strict=True)) / total if total else 0.0
    return Levels(
        rms_dbfs=_power_db(power),
        peak_dbfs=_power_db(peak * peak),
        window_dbfs=tuple(_power_db(p) for p in powers),
        duration_s=total / _LEVEL_RATE_HZ,
    )


def _power_db(power: float) -> float:
    return max(10 * float(np.log10(power)), SILENCE_DBFS) if power > 0 else SILENCE_DBFS


def _look(pixels: Pixels) -> Look:
    # Not as a product of matrices: OpenBLAS takes 30 MB for its first one, and ends the process if it cannot.
    luma = np.zeros(pixels.shape[:2], np.float32)
    for channel, share in enumerate(_LUMA_SHARES):
        luma += pixels[..., channel] * share
    return Look(
        mean_luma=float(luma.mean()),
        luma_std=float(luma.std()),
        color_std=float(pixels.reshape(-1, 3).std(axis=0, dtype=np.float32).max()),
        brightest=_exceeded_by_a_thousandth(pixels.max(axis=2)),
    )


def _exceeded_by_a_thousandth(levels: NDArray[np.uint8] | NDArray[np.int16]) -> float:
    """Return the 99.9th percentile; ``np.percentile`` would load numpy.ma, which takes 50 ms."""
    ordered = np.sort(levels, axis=None)
    position = 0.999 * (ordered.size - 1)
    below = int(position)
    low, high = float(ordered[below]), float(ordered[min(below + 1, ordered.size - 1)])
    return low + (high - low) * (position - below)


def _difference(one: Pixels, other: Pixels) -> NDArray[np.int16]:
    difference: NDArray[np.int16] = np.abs(one.astype(np.int16) - other).max(axis=2)
    return difference


def _has_changed(one: Pixels, other: Pixels) -> bool:
    difference = _difference(one, other)
    return bool(difference.mean() > _STILL_MEAN or _exceeded_by_a_thousandth(difference) > _STILL_PEAK)


def _samples(path: Path, info: MediaInfo, *, keys_only: bool) -> Iterator[tuple[float, Pixels | None]]:
    """Yield (time, pixels) of each sample, and (end, None) for every decoded picture."""
    from av.video.reformatter import VideoReformatter  # noqa: PLC0415 - PyAV costs 90 ms to import

    frame_s = 1 / info.fps if info.fps else 0.0
    shrink = VideoReformatter()
    next_s = 0.0
    for frame in _frames(path, info, keys_only=keys_only):
        time_s = frame.time or 0.0
        yield time_s + frame_s, None
        if time_s >= next_s:
            next_s = time_s + 1 / _SAMPLES_PER_S
            width_px = min(_SAMPLE_WIDTH_PX, frame.width)
            height_px = max(round(frame.height * width_px / frame.width), 1)
            small = shrink.reformat(frame, width_px, height_px, format="rgb24", interpolation="AREA")
            yield time_s, np.asarray(small.to_ndarray(), dtype=np.uint8)


def _frames(path: Path, info: MediaInfo, *, keys_only: bool) -> Iterator["VideoFrame"]:
    with opened_streams(path, info.mime) as container:
        stream = picture_stream(container)
        if stream is None:  # pragma: no cover - probe saw it
            return
        stream.thread_type = "AUTO"
        stream.thread_count = DECODER_THREADS
        if keys_only:
            stream.codec_context.skip_frame = "NONKEY"
        yield from container.decode(stream)


def _sound_blocks(path: Path, info: MediaInfo) -> Iterator[NDArray[np.float32]]:
    """Yield a tenth of a second at a time: float32, shape (samples,), full scale ±1.0, at 16 kHz."""
    from av.audio.resampler import AudioResampler  # noqa: PLC0415 - PyAV costs 90 ms to import

    with opened_streams(path, info.mime) as container:
        frames = container.decode(container.streams.audio[0])
        # A resampler takes one form of sound only, and a stream may change its own: AAC does when SBR sets in.
        for _, alike in groupby(frames, key=lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
            resampler = AudioResampler(
                format="flt",
                layout="mono",
                rate=_LEVEL_RATE_HZ,
                frame_size=int(_LEVEL_RATE_HZ * _WINDOW_S),
            )
            for frame in _and_none(alike):
                for block in resampler.resample(frame):
                    samples = np.asarray(block.to_ndarray(), dtype=np.float32).reshape(-1)
                    yield np.clip(np.nan_to_num(samples), -_LOUDEST, _LOUDEST)


def _and_none(frames: Iterable["AudioFrame"]) -> Iterator["AudioFrame | None"]:
    """Pass all frames on, then the None that flushes a resampler."""
    yield from frames
    yield None
