"""Small pictures of what was made, for people: in Dagster's metadata, in the gallery, in the README.

Each function returns a whole JPEG or PNG of at most ``max_bytes``, whatever it is given, because metadata is stored
with every event. Files are only read here; judging them is ``media_assets.media.judge``'s work.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from media_assets.errors import ProbeError

if TYPE_CHECKING:
    import av.container

MOST_BYTES = 15_000
"""Dagster keeps metadata in the event log, and 20 KB of base64 is what a row should grow by at most."""

_PAPER = (255, 255, 255)
_INK = (31, 41, 55)
_FAINT = (148, 156, 168)
_RULE = (226, 230, 236)
_BLUE = (47, 111, 208)
_SKY = (143, 184, 240)
_AMBER = (222, 142, 32)

_THUMBNAIL_PX = (480, 360)
_CELL_WIDTH_PX = 240
_GAP_PX = 4
_QUALITIES = (85, 75, 65, 55, 45, 35)
_SHRINK = 0.8
_LEAST_PX = 8

_WAVE_PX = (720, 160)
_WAVE_RATE_HZ = 8000
_WAVE_BLOCK = 16

_TIMELINE_WIDTH_PX = 800
_LABEL_WIDTH_PX = 90
_ROW_PX = 34
_BAR_PX = 18
_AXIS_PX = 26
_MARGIN_PX = 12
_MOST_ROWS = 20
_MOST_CHARACTERS = 200
_MOST_TICKS = 10
_LONGEST_S = 1e7
_CLOCK_FROM_S = 120
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)

_Color = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class TimelineBar:
    """One step of the chain as it is drawn."""

    label: str
    """The step: image, video, audio, merged."""
    start_s: float
    """Seconds since the chain began."""
    end_s: float
    """Seconds since the chain began; a cached step has no length and ``start_s`` alone counts."""
    note: str
    """What made it and for how much."""
    degraded: bool
    """Made by a stand-in: drawn in amber and said in words, which come first."""
    cached: bool
    """Found, not made: drawn as a tick."""


def thumbnail(image: Path, max_bytes: int = MOST_BYTES) -> bytes:
    """Return a small JPEG of a picture; what is transparent shows white.

    Raises:
        ProbeError: The file is no picture that can be read.
    """
    try:
        with Image.open(image) as opened:
            opened.draft("RGB", _THUMBNAIL_PX)
            picture = _opaque(ImageOps.exif_transpose(opened))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        message = f"{image.name} cannot be shown: {error}"
        raise ProbeError(message) from error
    picture.thumbnail(_THUMBNAIL_PX, Image.Resampling.LANCZOS)
    return _jpeg_within(picture, max_bytes)


def contact_sheet(video: Path, *, columns: int = 4, rows: int = 1, max_bytes: int = MOST_BYTES) -> bytes:
    """Return a JPEG of ``columns`` times ``rows`` evenly spaced frames, each with its time.

    Raises:
        ProbeError: The file has no picture that can be decoded.
    """
    with _opened(video, "video") as container:
        stream = container.streams.video[0]
        duration_s = _duration_s(container, stream)
        count = columns * rows
        # From the middle of each part: a film's first and last frames are often black.
        moments = [duration_s * (index + 0.5) / count for index in range(count)]
        cells = [
            _labelled(_frame_at(container, stream, moment), _clock(moment, fine=duration_s < 2 * count))
            for moment in moments
        ]
    width, height = cells[0].size
    sheet = Image.new(
        "RGB",
        (columns * (width + _GAP_PX) - _GAP_PX, rows * (height + _GAP_PX) - _GAP_PX),
        _PAPER,
    )
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        sheet.paste(cell, (column * (width + _GAP_PX), row * (height + _GAP_PX)))
    return _jpeg_within(sheet, max_bytes)


def waveform(audio: Path, max_bytes: int = MOST_BYTES) -> bytes:
    """Return a PNG of how loud a sound (or a film's sound) is over time.

    Raises:
        ProbeError: The file has no sound that can be decoded.
    """
    with _opened(audio, "audio") as container:
        peaks = _peaks(container)
    duration_s = len(peaks) * _WAVE_BLOCK / _WAVE_RATE_HZ
    picture = Image.new("RGB", _WAVE_PX, _PAPER)
    draw = ImageDraw.Draw(picture)
    left, right = _MARGIN_PX, _WAVE_PX[0] - _MARGIN_PX
    bottom = _WAVE_PX[1] - _AXIS_PX
    middle = bottom / 2
    _draw_axis(draw, duration_s, (left, right), (4, bottom))
    reach = middle - 6
    # Each column takes in whole blocks, so that no click falls between two columns.
    edges = np.linspace(0, len(peaks), right - left + 1)
    for x in range(right - left):
        part = peaks[int(edges[x]) : max(math.ceil(edges[x + 1]), int(edges[x]) + 1)]
        for magnitude, color in ((part.max(initial=0.0), _SKY), (part.mean() if part.size else 0.0, _BLUE)):
            draw.line((left + x, middle - magnitude * reach, left + x, middle + magnitude * reach), color)
    is_silent = not peaks.any()
    draw.line((left, middle, right, middle), _FAINT if is_silent else _BLUE)
    if is_silent:
        _draw_text(draw, ((left + right) / 2, middle - 12), "silence", _FAINT, anchor="mm")
    return _png_within(picture, max_bytes)


def timeline(steps: Sequence[TimelineBar], max_bytes: int = MOST_BYTES) -> bytes:
    """Return a PNG of when each step of a chain ran; the rows keep the order of ``steps``."""
    shown = steps[:_MOST_ROWS]
    left_out = len(steps) - len(shown)
    bottom = _MARGIN_PX + _ROW_PX * max(len(shown), 1) + (_ROW_PX if left_out else 0)
    picture = Image.new("RGB", (_TIMELINE_WIDTH_PX, bottom + _AXIS_PX), _PAPER)
    draw = ImageDraw.Draw(picture)
    left, right = _MARGIN_PX + _LABEL_WIDTH_PX, _TIMELINE_WIDTH_PX - _MARGIN_PX
    last_s = max((moment for step in shown for moment in _span_s(step)), default=0.0)
    _draw_axis(draw, last_s, (left, right), (_MARGIN_PX, bottom))
    scale = (right - left) / (last_s or 1.0)
    for row, step in enumerate(shown):
        _draw_step(draw, step, _MARGIN_PX + row * _ROW_PX, (left, right), scale)
    if left_out:
        _draw_text(draw, (left, bottom - _ROW_PX / 2), f"and {left_out} more", _FAINT, anchor="lm")
    return _png_within(picture, max_bytes)


def _draw_step(draw: ImageDraw.ImageDraw, step: TimelineBar, top: int, across: tuple[int, int], scale: float) -> None:
    left = across[0]
    middle = top + _ROW_PX / 2
    label = _shortened(step.label, _LABEL_WIDTH_PX - 8)
    _draw_text(draw, (_MARGIN_PX, middle), label, _INK, anchor="lm")
    start, end = (left + moment * scale for moment in _span_s(step))
    color = _AMBER if step.degraded else _BLUE
    words = ["cached" if step.cached else "", "degraded" if step.degraded else "", step.note]
    note = _line(" · ".join(word for word in words if word))
    if step.cached:
        draw.line((start, middle - _BAR_PX / 2, start, middle + _BAR_PX / 2), color, width=3)
    else:
        end = max(end, start + 3)
        draw.rounded_rectangle((start, middle - _BAR_PX / 2, end, middle + _BAR_PX / 2), radius=4, fill=color)
    _draw_note(draw, note, (start, end), across, middle)


def _draw_note(
    draw: ImageDraw.ImageDraw, note: str, bar: tuple[float, float], across: tuple[int, int], middle: float
) -> None:
    """Write a bar's note where there is room: after it, in it, before it."""
    start, end = bar
    places = (
        (across[1] - end, end + 7, _INK, "lm"),
        (end - start, start + 7, _PAPER, "lm"),
        (start - across[0], start - 7, _INK, "rm"),
    )
    wanted_px = _font(13).getlength(note) + 14
    fitting = (place for place in places if place[0] >= wanted_px)
    room_px, x, color, anchor = next(fitting, max(places, key=lambda place: place[0]))
    _draw_text(draw, (x, middle), _shortened(note, room_px - 14), color, anchor=anchor)


def _draw_axis(draw: ImageDraw.ImageDraw, last_s: float, across: tuple[int, int], down: tuple[int, int]) -> None:
    """Draw a time axis with its grid, from 0 to ``last_s`` seconds."""
    left, right = across
    top, bottom = down
    draw.line((left, bottom, right, bottom), _FAINT)
    step_s = next((step for step in _STEPS_S if last_s / step <= _MOST_TICKS), last_s / _MOST_TICKS)
    for index in range(math.floor(last_s / step_s + 1e-9) + 1 if last_s > 0 else 1):
        moment = index * step_s
        x = left + (right - left) * (moment / last_s if last_s > 0 else 0)
        draw.line((x, top, x, bottom), _RULE)
        draw.line((x, bottom, x, bottom + 4), _FAINT)
        text = f"{moment:g} s" if last_s < _CLOCK_FROM_S else _clock(moment, fine=False)
        half = _font(12).getlength(text) / 2
        within = min(max(x, left + half - _MARGIN_PX + 2), right + _MARGIN_PX - 2 - half)
        _draw_text(draw, (within, bottom + 6), text, _INK, anchor="ma", size=12)


def _draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    color: _Color,
    *,
    anchor: str,
    size: int = 13,
) -> None:
    draw.text(at, text, color, font=_font(size), anchor=anchor)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    (path,) = (Path(__file__).parent / "fonts").glob("*.ttf")
    # Raqm, the other engine, fails on some control characters (Pillow 13.0, 2026-11-23) and is not on every machine.
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text[:_MOST_CHARACTERS])
    return " ".join(printable.split())


def _shortened(text: str, width_px: float) -> str:
    """Cut one line of text to a width, with an ellipsis."""
    line = _line(text)
    font = _font(13)
    if font.getlength(line) <= width_px:
        return line
    while line and font.getlength(line + "…") > width_px:
        line = line[:-1]
    return f"{line.rstrip()}…" if line else ""


def _span_s(step: TimelineBar) -> tuple[float, float]:
    """Return a step's start and end as they can be drawn: finite, in order, whole milliseconds."""
    start, end = (
        round(min(max(moment, 0.0), _LONGEST_S), 3) if math.isfinite(moment) else 0.0
        for moment in (step.start_s, step.end_s)
    )
    return (start, start) if step.cached else (start, max(start, end))


def _clock(seconds: float, *, fine: bool) -> str:
    if fine:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _opaque(picture: Image.Image) -> Image.Image:
    """Return ``picture`` in RGB, over white where it is transparent."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    paper = Image.new("RGBA", layer.size, (*_PAPER, 255))
    return Image.alpha_composite(paper, layer).convert("RGB")


def _labelled(picture: Image.Image, text: str) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    x, y = 5, picture.height - 5
    box = draw.textbbox((x, y), text, font=_font(13), anchor="lb")
    draw.rectangle((box[0] - 3, box[1] - 3, box[2] + 3, box[3] + 3), fill=(0, 0, 0))
    _draw_text(draw, (x, y), text, _PAPER, anchor="lb")
    return picture


@contextmanager
def _opened(path: Path, kind: str) -> "Iterator[av.container.InputContainer]":
    """Open a file that has a stream of ``kind``; PyAV's errors become ours, also those of the decoding."""
    # 90 ms to import, and nobody who only draws a timeline needs it.
    import av  # noqa: PLC0415

    try:
        with av.open(str(path), metadata_errors="replace", options={"protocol_whitelist": "file"}) as container:
            if not any(stream.type == kind for stream in container.streams):
                message = f"{path.name} cannot be shown: it has no {kind}"
                raise ProbeError(message)
            yield container
    except av.FFmpegError as error:
        message = f"{path.name} cannot be shown: {error.strerror}"
        raise ProbeError(message) from error


def _duration_s(container: "av.container.InputContainer", stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000


def _frame_at(container: "av.container.InputContainer", stream: Any, moment_s: float) -> Image.Image:
    """Return the frame shown at ``moment_s`` (the last one, if the film ends before), ``_CELL_WIDTH_PX`` wide."""
    start = stream.start_time or 0
    wanted = start + int(moment_s / stream.time_base) if stream.time_base else start
    container.seek(wanted, stream=stream)
    found = None
    for frame in container.decode(stream):
        if found is not None and frame.pts is not None and frame.pts > wanted:
            break
        found = frame
    if found is None:
        message = f"{Path(container.name).name} cannot be shown: no frame at {moment_s:.1f} s can be decoded"
        raise ProbeError(message)
    height = max(round(_CELL_WIDTH_PX * found.height / found.width), _LEAST_PX)
    picture: Image.Image = found.to_image(width=_CELL_WIDTH_PX, height=min(height, 2 * _CELL_WIDTH_PX))
    return picture


def _peaks(container: "av.container.InputContainer") -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return the greatest magnitude of each 2 ms, float32 within 0..1."""
    from av.audio.resampler import AudioResampler  # noqa: PLC0415 - as in _opened

    resampler = AudioResampler(format="s16", layout="mono", rate=_WAVE_RATE_HZ)
    blocks: list[Any] = []
    rest = np.zeros(0, np.int16)

    def take(frames: Any) -> None:
        nonlocal rest
        samples = np.concatenate([rest, *(frame.to_ndarray().reshape(-1) for frame in frames)])
        whole = len(samples) // _WAVE_BLOCK * _WAVE_BLOCK
        blocks.append(np.abs(samples[:whole].reshape(-1, _WAVE_BLOCK).astype(np.int32)).max(axis=1, initial=0))
        rest = samples[whole:]

    for frame in container.decode(audio=0):
        take(resampler.resample(frame))
    take(resampler.resample(None))
    return (np.concatenate(blocks) / 32768).astype(np.float32)


def _jpeg_within(picture: Image.Image, max_bytes: int) -> bytes:
    def encode(candidate: Image.Image, quality: int) -> bytes:
        target = io.BytesIO()
        candidate.save(target, "JPEG", quality=quality, optimize=True)
        return target.getvalue()

    return _within(picture, max_bytes, _QUALITIES, encode)


def _png_within(picture: Image.Image, max_bytes: int) -> bytes:
    def encode(candidate: Image.Image, colors: int) -> bytes:
        target = io.BytesIO()
        # Flat drawings need few colours, and an eighth of the bytes.
        candidate.quantize(colors, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            target, "PNG", optimize=True
        )
        return target.getvalue()

    return _within(picture, max_bytes, (64, 24, 12), encode)


def _within(
    picture: Image.Image,
    max_bytes: int,
    settings: Sequence[int],
    encode: Callable[[Image.Image, int], bytes],
) -> bytes:
    """Encode with the first setting that fits, then smaller and smaller.

    Raises:
        ValueError: Not even the smallest picture fits; 1000 bytes always do.
    """
    candidate = picture
    while True:
        for setting in settings:
            data = encode(candidate, setting)
            if len(data) <= max_bytes:
                return data
        if min(candidate.size) <= 1:
            message = f"no picture fits in {max_bytes} bytes"
            raise ValueError(message)
        size = (max(int(candidate.width * _SHRINK), 1), max(int(candidate.height * _SHRINK), 1))
        candidate = picture.resize(size, Image.Resampling.LANCZOS)
