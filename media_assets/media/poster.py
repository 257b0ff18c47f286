"""A film's poster: one frame of it, small enough that a page can hold hundreds.

Only for films of our own making: they are decoded in this process.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from media_assets.errors import ProbeError
from media_assets.media.probe import DECODER_THREADS, opened_streams, picture_stream

if TYPE_CHECKING:
    from PIL.Image import Image

_LONGEST_SIDE_PX = 640
_QUALITY = 72
_WHERE = 1 / 3
"""Of the film: its first and last frames often show less."""
_MOST_FRAMES = 50
"""Decoded after the key frame before that place: enough to leave a fade behind, and a film takes some 50 ms."""


def poster(film: Path) -> bytes:
    """Return a WebP of a frame near the first third of an MP4. Blocks; free.

    Raises:
        ProbeError: No frame can be decoded.
    """
    with opened_streams(film, "video/mp4") as container:
        stream = picture_stream(container)
        found = None
        if stream is not None and stream.codec_context is not None:
            stream.thread_type = "AUTO"
            stream.thread_count = DECODER_THREADS
            wanted = (stream.start_time or 0) + int((stream.duration or 0) * _WHERE)
            container.seek(wanted, stream=stream)
            for count, frame in enumerate(container.decode(stream), start=1):
                found = frame
                if count == _MOST_FRAMES or (frame.pts is not None and frame.pts >= wanted):
                    break
        if found is None:
            message = f"{film.name} cannot be shown: no frame of it can be decoded."
            raise ProbeError(message)
        scale = min(_LONGEST_SIDE_PX / max(found.width, found.height), 1.0)
        size_px = (max(round(found.width * scale), 1), max(round(found.height * scale), 1))
        picture: Image = found.to_image(width=size_px[0], height=size_px[1])  # type: ignore[no-untyped-call]
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=_QUALITY, method=4)
    return data.getvalue()
