"""Read what a file is from its bytes: never from its name, and without trusting its header further than needed.

In process, for files we hold. Bytes that a provider has just sent are probed by the same functions in a child
process with limits. Whether a file is *good enough* is decided in ``judge``; what its first bytes say, in
``sniff``; how its picture is timed, in ``picture``.
"""

import contextlib
import math
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import ProbeError
from media_assets.media.sniff import (
    DEMUXERS,
    EXTENSIONS,
    HEAD_BYTES,
    describe_cut,
    describe_unknown,
    sniff,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream
    from PIL.Image import Image

MAX_PIXELS = 80_000_000
"""More pixels than this are refused before anything is decoded (8192 x 8192 is 67 million).

Below the 89 million at which Pillow itself begins to warn.
"""

_PILLOW_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
_AS_SOUND = {
    "video/mp4": "audio/mp4",
    "video/quicktime": "audio/mp4",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
}
_AS_PICTURE = {"audio/mp4": "video/mp4", "audio/ogg": "video/ogg"}

_LATE_S = 0.25
"""How much earlier than announced a stream may end before the file counts as cut short."""
DECODER_THREADS = 2
"""Two cores are what the smallest machine we support has."""

_MICROSECONDS = 1_000_000
_ORIENTATION_TAG = 0x0112
_TURNED_ORIENTATIONS = (5, 6, 7, 8)


def probe(path: Path) -> MediaInfo:
    """Read a file's facts.

    Lengths are those of what a player shows: header values where they are exact, else what the packets add up
    to (an MP3 without a length tag, a stream of raw AAC and a WAV written to a pipe announce a guess or nothing).

    Raises:
        ProbeError: The file is empty, of a type we do not handle, damaged or cut short. The message says which.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        message = f"{path.name} cannot be read: {error.strerror}."
        raise ProbeError(message) from error
    mime = sniff(head)
    if mime is None:
        message = f"{path.name} {describe_unknown(head)}."
        raise ProbeError(message)
    if cut := describe_cut(path, mime):
        message = f"{path.name} ({mime}) is cut short: {cut}."
        raise ProbeError(message)
    if mime in _PILLOW_FORMATS:
        return _probe_image(path, mime, size_bytes)
    return _probe_streams(path, mime, size_bytes)


def decode_check(path: Path, info: MediaInfo) -> None:
    """Decode enough of a file to be sure that it is whole: an image and a sound fully, a video's two ends.

    Raises:
        ProbeError: Something cannot be decoded, or the file ends before its announced end.
    """
    if info.kind is MediaKind.IMAGE:
        with opened_image(path, info.mime) as image:
            image.load()
        return
    if info.kind is MediaKind.VIDEO and info.video_duration_s is not None:
        _check_end(path, info.video_duration_s, _video_end_s(path, info), fps=info.fps)
    if info.kind is MediaKind.AUDIO and info.audio_duration_s is not None:
        _check_end(path, info.audio_duration_s, _audio_end_s(path, info), fps=None)


@contextlib.contextmanager
def opened_image(path: Path, mime: str) -> Iterator["Image"]:
    """Open an image of a sniffed type with that type's decoder only.

    Raises:
        ProbeError: On opening, and for whatever Pillow says of the file inside the ``with`` block.
    """
    # Pillow costs 40 ms to import: only who touches pictures pays.
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    if mime == "image/webp":
        # Otherwise Pillow would load all its 45 readers to find this one: 110 ms.
        from PIL import WebPImagePlugin  # noqa: F401, PLC0415
    try:
        with Image.open(path, formats=[_PILLOW_FORMATS[mime]]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ProbeError(_too_many_pixels(path, image.width, image.height))
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"{path.name} announces more pixels than the {MAX_PIXELS:,} that are accepted."
        raise ProbeError(message) from error
    except MemoryError as error:
        raise ProbeError(needs_too_much(path)) from error
    except UnidentifiedImageError as error:
        message = f"{path.name} begins like {mime} but is not one: it is damaged."
        raise ProbeError(message) from error
    except (OSError, SyntaxError, ValueError) as error:
        doubt = f", or {_too_much_memory()}" if _is_perhaps_memory(error) else ""
        message = f"{path.name} ({mime}) is damaged or cut short{doubt}: {error}."
        raise ProbeError(message) from error


@contextlib.contextmanager
def opened_streams(path: Path, mime: str) -> Iterator["InputContainer"]:
    """Open a video or sound with the demuxer of its sniffed type; nothing but this file can be opened by it.

    Raises:
        ProbeError: On opening, and for whatever libav says of the file inside the ``with`` block.
    """
    # PyAV costs 90 ms to import: only who touches video or sound pays.
    import av  # noqa: PLC0415

    try:
        with av.open(
            f"file:{path.absolute()}",
            format=DEMUXERS[mime],
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container:
            yield container
    except MemoryError as error:
        raise ProbeError(needs_too_much(path)) from error
    except av.FFmpegError as error:
        message = f"{path.name} ({mime}) is damaged or cut short: {error.strerror}."
        raise ProbeError(message) from error


def needs_too_much(path: Path) -> str:
    """Say that a file could not be decoded within the memory this process may use."""
    return f"{path.name} {_too_much_memory()} to be decoded: it is not built on."


def _too_much_memory() -> str:
    limit_bytes = resource.getrlimit(resource.RLIMIT_AS)[0]
    allowed = "there is" if limit_bytes == resource.RLIM_INFINITY else f"{limit_bytes >> 20} MB"
    return f"needed more memory than {allowed}"


def _is_perhaps_memory(error: Exception) -> bool:
    """Whether Pillow uses the same words for a damaged file and for one it has no memory for."""
    is_limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return is_limited and str(error).startswith(("broken data stream", "could not create decoder"))


def _too_many_pixels(path: Path, width_px: int, height_px: int) -> str:
    return f"{path.name} is {width_px} x {height_px} pixels: more than the {MAX_PIXELS:,} that are accepted."


def _probe_image(path: Path, mime: str, size_bytes: int) -> MediaInfo:
    with opened_image(path, mime) as image:
        width_px, height_px = image.size
        if image.getexif().get(_ORIENTATION_TAG) in _TURNED_ORIENTATIONS:
            width_px, height_px = height_px, width_px
        has_alpha = image.has_transparency_data
    return MediaInfo(
        kind=MediaKind.IMAGE,
        mime=mime,
        extension=EXTENSIONS[mime],
        size_bytes=size_bytes,
        width_px=width_px,
        height_px=height_px,
        has_alpha=has_alpha,
    )


def _probe_streams(path: Path, mime: str, size_bytes: int) -> MediaInfo:
    with opened_streams(path, mime) as container:
        picture = picture_stream(container)
        sound = container.streams.audio[0] if container.streams.audio else None
        if picture is None and sound is None:
            message = f"{path.name} ({mime}) holds neither a picture nor a sound."
            raise ProbeError(message)
        for name, stream in (("picture", picture), ("sound", sound)):
            if stream is not None and stream.codec_context is None:
                message = f"{path.name} ({mime}) is damaged or unknown: nothing here can decode its {name}."
                raise ProbeError(message)
        if picture is not None and picture.width * picture.height > MAX_PIXELS:
            raise ProbeError(_too_many_pixels(path, picture.width, picture.height))
        lengths_s = _lengths_s(path, container, mime, size_bytes)
        facts: dict[str, Any] = {}
        if picture is not None:
            facts |= _picture_facts(picture, lengths_s)
        if sound is not None:
            facts |= _sound_facts(sound, lengths_s)
    mime = (_AS_SOUND if picture is None else _AS_PICTURE).get(mime, mime)
    duration_s = max(facts.get("video_duration_s", 0.0), facts.get("audio_duration_s", 0.0))
    if duration_s <= 0 or facts.get("video_duration_s") == 0:
        message = f"{path.name} ({mime}) is empty: it has a header and nothing in it."
        raise ProbeError(message)
    return MediaInfo(
        kind=MediaKind.AUDIO if picture is None else MediaKind.VIDEO,
        mime=mime,
        extension=EXTENSIONS[mime],
        size_bytes=size_bytes,
        duration_s=duration_s,
        **facts,
    )


def picture_stream(container: "InputContainer") -> "VideoStream | None":
    """Return the moving picture of an opened file, if it has one; a song's cover is none."""
    from av.stream import Disposition  # noqa: PLC0415 - av is loaded by whoever opened the container

    moving = (stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic)
    return next(moving, None)


def _picture_facts(picture: "VideoStream", lengths_s: dict[int, float]) -> dict[str, Any]:
    rate = picture.average_rate or picture.guessed_rate
    return {
        "width_px": picture.width,
        "height_px": picture.height,
        "fps": round(float(rate), 4) if rate else None,
        "video_codec": picture.codec_context.codec.canonical_name,
        "video_duration_s": round(lengths_s.get(picture.index, 0.0), 6),
    }


def _sound_facts(sound: "AudioStream", lengths_s: dict[int, float]) -> dict[str, Any]:
    return {
        "sample_rate_hz": sound.codec_context.sample_rate,
        "channels": sound.codec_context.channels,
        "audio_codec": sound.codec_context.codec.canonical_name,
        "audio_duration_s": round(lengths_s.get(sound.index, 0.0), 6),
    }


def _lengths_s(path: Path, container: "InputContainer", mime: str, size_bytes: int) -> dict[int, float]:
    """Return each stream's length in seconds by stream index.

    An MP4's index tells lengths and where the last byte is, so that nothing needs to be read. Any other file is
    read through (not decoded): that finds the true end, and a cut.
    """
    streams = [stream for stream in container.streams if stream.type in {"video", "audio"}]
    indexed = DEMUXERS[mime] == "mov" and all(_announced_s(stream) for stream in streams)
    if indexed and all(len(stream.index_entries) for stream in streams):
        last_byte = max(entry.pos + entry.size for stream in streams for entry in stream.index_entries)
        if last_byte > size_bytes:
            message = f"{path.name} ({mime}) is cut short: {last_byte} bytes announced, {size_bytes} there."
            raise ProbeError(message)
        return {stream.index: _announced_s(stream) for stream in streams}
    announced_s = _trusted_length_s(container, mime)
    ends_s = _packet_ends_s(container)
    if announced_s is None:
        return ends_s
    longest_s = max(ends_s.values(), default=0.0)
    if longest_s < announced_s - max(_LATE_S, announced_s * 0.01):
        message = f"{path.name} ({mime}) is cut short: {announced_s:.2f} s announced, {longest_s:.2f} s there."
        raise ProbeError(message)
    # An MP3's packets include the encoder's padding; the others' do not.
    return dict.fromkeys(ends_s, announced_s) if mime == "audio/mpeg" else ends_s


def _announced_s(stream: "Stream") -> float:
    if not stream.duration or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def _trusted_length_s(container: "InputContainer", mime: str) -> float | None:
    """Return the length the header announces, unless it is only a guess from the bit rate."""
    if mime in {"audio/aac", "audio/wav"} or container.duration is None:
        return None
    # Only an MP3 with a length tag knows its encoder's delay, which libav reports as a start time.
    if mime == "audio/mpeg" and not container.streams.audio[0].start_time:
        return None
    return container.duration / _MICROSECONDS


def _packet_ends_s(container: "InputContainer") -> dict[int, float]:
    """Return where each stream's last packet ends, counted from where the first of all begins."""
    ends_s: dict[int, float] = {}
    starts_s = math.inf
    for packet in container.demux():
        if packet.pts is not None and packet.time_base is not None:
            start_s = float(packet.pts * packet.time_base)
            end_s = start_s + float((packet.duration or 0) * packet.time_base)
            # What begins before 0 is an encoder's run-in and is not played.
            starts_s = min(starts_s, max(start_s, 0.0))
            ends_s[packet.stream.index] = max(ends_s.get(packet.stream.index, 0.0), end_s)
    return {index: end_s - starts_s for index, end_s in ends_s.items()}


def _check_end(path: Path, announced_s: float, found_s: float, fps: float | None) -> None:
    """Refuse a stream whose last decoded moment is clearly before its announced end."""
    allowed_s = max(_LATE_S, 2 / fps if fps else 0.0)
    if found_s < announced_s - allowed_s:
        message = f"{path.name} ends at {found_s:.2f} s of {announced_s:.2f} s: it is damaged or cut short."
        raise ProbeError(message)


def _audio_end_s(path: Path, info: MediaInfo) -> float:
    with opened_streams(path, info.mime) as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(stream))
        return samples / stream.codec_context.sample_rate


def _video_end_s(path: Path, info: MediaInfo) -> float:
    """Decode the first second and everything after the last key frame; return where the picture ends."""
    with opened_streams(path, info.mime) as container:
        stream = picture_stream(container)
        if stream is None or info.video_duration_s is None:  # pragma: no cover - probe saw it
            return 0.0
        stream.thread_type = "AUTO"
        stream.thread_count = DECODER_THREADS
        last_s = 0.0
        for frame in container.decode(stream):
            last_s = frame.time or 0.0
            if last_s >= 1:
                break
        if info.video_duration_s > 1:
            container.seek(int((info.video_duration_s - 1) * _MICROSECONDS))
            for frame in container.decode(stream):
                last_s = max(last_s, frame.time or 0.0)
        return last_s + (1 / info.fps if info.fps else 0.0)
