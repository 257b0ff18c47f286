"""Tiny real files for tests: pictures from numpy, sounds from the wave module, clips from ffmpeg."""

import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from media_assets.media._ffmpeg import run_ffmpeg
from media_assets.media.work import Work

Pixels = NDArray[np.uint8]


def textured(width_px: int, height_px: int, *, seed: int = 1) -> Pixels:
    """Return a colourful picture with soft detail, shape (height, width, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (height_px // 16 + 1, width_px // 16 + 1, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width_px, height_px), Image.Resampling.BICUBIC))


def night_scene(width_px: int, height_px: int) -> Pixels:
    """Return a dark sky with a few hundred stars and a small moon: mean luma under 4 of 255."""
    pixels = np.full((height_px, width_px, 3), (0, 0, 3), np.uint8)
    random = np.random.default_rng(2)
    for _ in range(200):
        y, x = random.integers(0, height_px - 2), random.integers(0, width_px - 2)
        pixels[y : y + 2, x : x + 2] = random.integers(120, 255)
    pixels[40:64, 60:84] = (230, 230, 210)
    return pixels


def tone(seconds: float, *, rate_hz: int = 22_050, level: float = 0.5, hz: float = 440) -> NDArray[np.float32]:
    """Return a sine, float32, shape (samples,), range ±level."""
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def speech_like(seconds: float, *, rate_hz: int = 22_050, level: float = 0.5) -> NDArray[np.float32]:
    """Return noise in syllables with sharp peaks: as loud, and as hard to limit, as speech."""
    count = round(seconds * rate_hz)
    noise = np.random.default_rng(3).normal(0, 0.2, count)
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(count) / rate_hz)
    sound = np.clip(noise * syllables, -1, 1)
    sound[:: rate_hz // 5] = 1
    return (level * sound).astype(np.float32)


def write_wav(path: Path, samples: NDArray[np.float32], *, rate_hz: int = 22_050, channels: int = 1) -> Path:
    """Write a 16-bit WAV with the same sound in every channel."""
    frames = np.repeat((samples * 32_767).astype("<i2"), channels)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(frames.tobytes())
    return path


def encode(target: Path, *arguments: str, feed: Iterable[bytes] | None = None) -> Path:
    """Run ffmpeg with its own small folder for messages."""
    work = Work(scratch=target.parent)
    run_ffmpeg([*arguments, str(target.absolute())], deadline_s=60, work=work, feed=feed)
    return target


H264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")


def moving_clip(
    target: Path, *, fps: str = "24", seconds: float = 2, size: str = "160x120", sound_s: float = 0, more: str = ""
) -> Path:
    """Encode ffmpeg's moving test picture, with a tone when ``sound_s`` is not 0.

    Args:
        target: The file; its extension chooses the container.
        fps: Pictures a second, as ffmpeg reads it.
        seconds: Length of the picture.
        size: Width x height.
        sound_s: Length of the sound.
        more: Further output options, separated by blanks.
    """
    inputs = ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={fps}:d={seconds}"]
    if sound_s:
        inputs += ["-f", "lavfi", "-i", f"sine=f=440:d={sound_s}:r=44100"]
    return encode(target, *inputs, *H264, *more.split())


def clip_of(target: Path, pictures: Iterable[Pixels], *, fps: int = 12, crf: int = 23) -> Path:
    """Encode pictures of one size."""
    pictures = list(pictures)
    height, width, _ = pictures[0].shape
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "pipe:0")
    return encode(target, *raw, *H264, "-crf", str(crf), feed=(picture.tobytes() for picture in pictures))
