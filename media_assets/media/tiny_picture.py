"""Pictures so small that Dagster shows them in a table cell instead of behind a button.

The limit is the viewer's, not ours: markdown of 1,000 characters or more is folded away (dagster-webserver 1.13.27,
seen 2026-11-23), which leaves some 700 bytes for the picture.
"""

import io
from collections.abc import Sequence

from PIL import Image

TINY_BYTES = 700
_WIDTHS_PX = (192, 176, 160, 144, 128, 112, 96, 80, 64, 48)
_QUALITIES = (40, 25, 15, 8)


def tiny_picture(
    picture: bytes,
    *,
    max_bytes: int = TINY_BYTES,
    widths_px: Sequence[int] = _WIDTHS_PX,
    qualities: Sequence[int] = _QUALITIES,
) -> bytes:
    """Return a WebP of at most ``max_bytes``: the widest that fits, and of those the best.

    Args:
        picture: A PNG or JPEG of our own making.
        max_bytes: At least 300, which the smallest picture fits.
        widths_px: What is tried, the widest first.
        qualities: What is tried at each width, the best first.
    """
    with Image.open(io.BytesIO(picture), formats=["PNG", "JPEG"]) as opened:
        source = opened.convert("RGB")
    smallest = b""
    for width in widths_px:
        height = max(round(width * source.height / source.width), 1)
        small = source.resize((width, height), Image.Resampling.LANCZOS)
        for quality in qualities:
            smallest = _as_webp(small, quality)
            if len(smallest) <= max_bytes:
                return smallest
    message = f"no picture of {max_bytes} bytes can be made of this one; the smallest has {len(smallest)}"
    raise ValueError(message)


def _as_webp(picture: Image.Image, quality: int) -> bytes:
    data = io.BytesIO()
    picture.save(data, "WEBP", quality=quality, method=6)
    return data.getvalue()
