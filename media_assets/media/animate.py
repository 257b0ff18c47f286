"""Moving a still picture: a slow pan and zoom (Ken Burns), with a caption that stays where it is.

Does not belong here: drawing the picture (`media_assets.media.draw`) or the caption
(`media_assets.media.caption`), and joining clips with sound (`media_assets.media.merge`).

ffmpeg's zoompan moves by whole pixels and trembles (0.65 px rms against 0.01 px here, measured
2026-11-22), so Pillow cuts each frame out of the picture at fractions of a pixel and pipes it to ffmpeg.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from media_assets.errors import ConformError, MediaAssetsError
from media_assets.media._ffmpeg import INPUT_OPTIONS, THREADS, run_ffmpeg
from media_assets.media.caption import caption_overlay, undrawable
from media_assets.media.work import Work

_FORMATS = ("PNG", "JPEG", "WEBP")
_LEAST_PX = 2
_MOST_ZOOM = 4.0
_STRAIGHT_S = 20.0
"""Up to this length a clip is one straight move; a longer one would creep, so it circles instead."""
_ORBIT_S = 32.0
_SWELL_S = 26.0
"""Periods of the circle and of the zoom of a long clip; unequal, so that it hardly repeats itself."""
_TRAVEL = 0.22
"""At most this part of the frame is panned over in one move, however tall or wide the picture is."""

_Planes = tuple[Image.Image, Image.Image, Image.Image]
_Box = tuple[float, float, float, float]
_Camera = Callable[[int], _Box]


def write_ken_burns(
    image: Path,
    target: Path,
    *,
    size_px: tuple[int, int],
    fps: int,
    duration_s: float,
    zoom: float,
    seed: int,
    caption: str | None,
    work: Work,
    deadline_s: float,
) -> str | None:
    """Make a clip of ``image`` in which the camera never stands still.

    The picture fills the frame: what does not fit its shape is cut off, nothing is distorted. Frames are
    made one at a time, so memory does not grow with the length. Equal arguments give equal bytes.

    Args:
        image: A PNG, JPEG or WebP; it is turned upright as its EXIF data says.
        target: Where the MP4 goes (H.264, yuv420p, BT.709); absolute. Nothing is left there on failure.
        size_px: Width and height; odd ones are rounded down, because yuv420p has only even ones.
        fps: Frames a second, a whole number.
        duration_s: Seconds; the clip has ``round(duration_s * fps)`` frames, at least one.
        zoom: How much larger the picture is at its largest than at its smallest, above 1 to 4.
        seed: Chooses the direction of the move.
        caption: Drawn over every frame at the same place; None or blank for no caption.
        work: Asked before each frame whether to stop, told after it how far it is.
        deadline_s: Seconds of wall time for the encoding.

    Returns:
        None, or why the caption was left out (:func:`media_assets.media.caption.undrawable`).

    Raises:
        ConformError: ``image`` cannot be read, or the arguments make no clip.
        FfmpegError: The encoding failed or passed its deadline.
        StoppedError: ``work.stop`` was set.
    """
    _check_arguments(size_px, fps, duration_s, zoom)
    frame_px = (size_px[0] // 2 * 2, size_px[1] // 2 * 2)
    frames = max(1, round(duration_s * fps))
    work.check()
    picture = _sharp_enough(_read_picture(image), frame_px, zoom)
    camera = _camera(picture.size, frame_px, frames=frames, fps=fps, zoom=zoom, seed=seed)
    problem = undrawable(caption) if caption else None
    overlay = None if not caption or problem else _Overlay.of(caption_overlay(caption, frame_px))
    try:
        run_ffmpeg(
            _arguments(target, frame_px, fps),
            deadline_s=deadline_s,
            work=work,
            feed=_frames(_as_yuv(picture), camera, overlay, frames=frames, frame_px=frame_px, work=work),
        )
    except MediaAssetsError:
        target.unlink(missing_ok=True)
        raise
    return problem


def _check_arguments(size_px: tuple[int, int], fps: int, duration_s: float, zoom: float) -> None:
    problems = [
        message
        for wrong, message in (
            (min(size_px) < _LEAST_PX, f"a frame of {size_px[0]}x{size_px[1]} px is too small"),
            (fps < 1, f"{fps} frames a second is too few"),
            (not 0 < duration_s < math.inf, f"a clip cannot be {duration_s:g} s long"),
            (not 1 < zoom <= _MOST_ZOOM, f"a zoom of {zoom:g} is not above 1 and at most {_MOST_ZOOM:g}"),
        )
        if wrong
    ]
    if problems:
        raise ConformError("moving a picture: " + "; ".join(problems) + ".")


def _read_picture(path: Path) -> Image.Image:
    """Read a picture upright, as RGB; what is transparent becomes white."""
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith("I"):
            # Pillow clips 16-bit greys at 255 when it makes them RGB.
            grey = np.asarray(upright, np.uint32) >> 8
            upright = Image.fromarray(grey.astype(np.uint8))
        if upright.has_transparency_data:
            layer = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        return upright.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        message = (
            f"moving the picture {path.name}: it cannot be read ({error}). "
            f"It has to be a whole {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} file."
        )
        raise ConformError(message) from error


def _sharp_enough(picture: Image.Image, frame_px: tuple[int, int], zoom: float) -> Image.Image:
    """Shrink a picture that has more pixels than the closest frame shows: frames are cut out faster."""
    cover = max(frame_px[0] / picture.width, frame_px[1] / picture.height)
    if cover * zoom >= 1:
        return picture
    size = (math.ceil(picture.width * cover * zoom), math.ceil(picture.height * cover * zoom))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _as_yuv(picture: Image.Image) -> _Planes:
    """Convert to BT.709 planes of studio range, all of the picture's size.

    Done once here instead of for each frame in ffmpeg: half of the bytes go through the pipe. Source of
    the numbers: ITU-R BT.709-6 (2015), sections 3.2 to 3.4.
    """
    red, green, blue = (np.asarray(band, np.float32) for band in picture.split())
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    planes = (
        16 + luma * (219 / 255),
        128 + (blue - luma) * (224 / 255 / 1.8556),
        128 + (red - luma) * (224 / 255 / 1.5748),
    )
    y, u, v = (Image.fromarray((plane + 0.5).astype(np.uint8)) for plane in planes)
    return y, u, v


def _camera(
    picture_px: tuple[int, int],
    frame_px: tuple[int, int],
    *,
    frames: int,
    fps: int,
    zoom: float,
    seed: int,
) -> _Camera:
    """Return what says which part of the picture (left, top, right, bottom) frame ``n`` shows."""
    cover = min(picture_px[0] / frame_px[0], picture_px[1] / frame_px[1])
    widest_px = (frame_px[0] * cover, frame_px[1] * cover)
    chance = random.Random(seed)  # noqa: S311 - a camera move, not a secret
    angle = 2 * math.pi * chance.random()
    inwards = chance.random() < 0.6  # noqa: PLR2004 - a little more often towards the subject

    def box(frame: int) -> _Box:
        if frames <= _STRAIGHT_S * fps:
            progress = frame / max(1, frames - 1)
            scale, across, down = _straight(progress if inwards else 1 - progress, zoom, angle)
        else:
            scale, across, down = _orbit(frame / fps if inwards else -frame / fps, zoom, angle)
        corners = []
        for side_px, wide_px, aim in zip(picture_px, widest_px, (across, down), strict=True):
            window_px = wide_px / scale
            free_px = side_px - window_px
            reach_px = min(free_px, 2 * _TRAVEL * wide_px) / 2
            low_px = min(max(free_px / 2 + aim * reach_px, 0.0), free_px)
            corners.append((low_px, low_px + window_px))
        (left, right), (top, bottom) = corners
        return (left, top, min(right, picture_px[0]), min(bottom, picture_px[1]))

    return box


def _straight(progress: float, zoom: float, angle: float) -> tuple[float, float, float]:
    """Return scale and aim (-1..1 across and down) of one move, slow at its ends but never still."""
    eased = 0.5 * progress + 0.5 * progress * progress * (3 - 2 * progress)
    aim = 0.8 * (2 * eased - 1)
    # Equal factors in equal times look like an even speed; the widest view keeps some room to pan.
    return zoom ** (0.25 + 0.75 * eased), aim * math.cos(angle), aim * math.sin(angle)


def _orbit(time_s: float, zoom: float, angle: float) -> tuple[float, float, float]:
    """Return scale and aim of a circling move whose speed never falls to nothing, however long it is."""
    turn = angle + 2 * math.pi * time_s / _ORBIT_S
    swell = 0.5 - 0.5 * math.cos(2 * math.pi * time_s / _SWELL_S)
    return zoom ** (0.4 + 0.6 * swell), 0.8 * math.cos(turn), 0.8 * math.sin(turn)


@dataclass(frozen=True)
class _Overlay:
    """A grey overlay as planes: only its rows that are not transparent."""

    top_px: int
    """Even, so that the chroma rows lie on whole pixels."""
    luma: Image.Image
    luma_mask: Image.Image
    chroma_mask: Image.Image

    @classmethod
    def of(cls, overlay: Image.Image) -> "_Overlay | None":
        """Build from an RGBA picture in which R = G = B; None if all of it is transparent."""
        bounds = overlay.getchannel("A").getbbox()
        if bounds is None:
            return None
        top_px = bounds[1] // 2 * 2
        band = overlay.crop((0, top_px, *overlay.size))
        mask = band.getchannel("A")
        return cls(
            top_px=top_px,
            luma=band.getchannel("R").point([round(16 + n * 219 / 255) for n in range(256)]),
            luma_mask=mask,
            chroma_mask=mask.reduce(2),
        )

    def put_on(self, planes: _Planes) -> None:
        """Lay the overlay over a frame's planes, in place."""
        luma, *chroma = planes
        luma.paste(self.luma, (0, self.top_px), self.luma_mask)
        for plane in chroma:
            plane.paste(128, (0, self.top_px // 2), self.chroma_mask)


def _frames(
    picture: _Planes,
    camera: _Camera,
    overlay: _Overlay | None,
    *,
    frames: int,
    frame_px: tuple[int, int],
    work: Work,
) -> Iterator[bytes]:
    half_px = (frame_px[0] // 2, frame_px[1] // 2)
    y, u, v = picture
    for frame in range(frames):
        work.check()
        box = camera(frame)
        planes = (
            y.resize(frame_px, Image.Resampling.BICUBIC, box),
            u.resize(half_px, Image.Resampling.BILINEAR, box),
            v.resize(half_px, Image.Resampling.BILINEAR, box),
        )
        if overlay:
            overlay.put_on(planes)
        yield b"".join(plane.tobytes() for plane in planes)
        work.tell((frame + 1) / frames)


def _arguments(target: Path, frame_px: tuple[int, int], fps: int) -> list[str]:
    inputs = [f for name, value in INPUT_OPTIONS.items() for f in (f"-{name}", str(value))]
    return [
        *inputs,
        *("-f", "rawvideo", "-pix_fmt", "yuv420p"),
        *("-video_size", f"{frame_px[0]}x{frame_px[1]}", "-framerate", str(fps), "-i", "pipe:0"),
        # Said of the frames, not only of the file: otherwise a newer ffmpeg may convert them.
        *("-vf", "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"),
        *("-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709"),
        *("-color_trc", "bt709", "-chroma_sample_location", "center"),
        *("-g", str(2 * fps), "-threads", str(THREADS)),
        *("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
        *("-movflags", "+faststart", "-f", "mp4", str(target)),
    ]
