"""Input pictures, really fetched and decoded: a model cannot work on what it cannot read.

Only what the simulator itself holds is fetched (uploads and outputs) and ``data:`` URIs. It never opens a connection:
a picture anywhere else is answered as a provider answers a URL it cannot reach.
"""

import base64
import binascii
import io
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from PIL import Image, UnidentifiedImageError

from media_assets.simulator.files import StoredFile
from media_assets.simulator.world import World

_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_REPLICATE_FILES: Final = "/replicate/v1/files/"


class UnreachableError(Exception):
    """There is nothing at the URL that the simulator could fetch."""


class UnreadableError(Exception):
    """What was fetched is no picture."""


def stored_at(world: World, url: str) -> StoredFile | None:
    """Return the file of this simulator that a URL names, or None."""
    path = urlsplit(url).path
    if path.startswith(_REPLICATE_FILES):
        return world.files.get(path.removeprefix(_REPLICATE_FILES).removesuffix("/download"))
    return world.files.by_url(url)


def picture_size_px(world: World, url: str) -> tuple[int, int]:
    """Fetch and decode an input picture; return its width and height. Takes a moment: call it off the event loop.

    Raises:
        UnreachableError: There is no such file, or not any more.
        UnreadableError: It is no picture.
    """
    content = _content(world, url)
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            image.load()
            return image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableError(str(error)) from error


def _content(world: World, url: str) -> bytes:
    if url.startswith("data:"):
        return _data(url)
    try:
        stored = stored_at(world, url)
    except ValueError as error:
        raise UnreachableError(str(error)) from error
    if stored is None or stored.expires_s <= world.clock.now_s():
        message = "no such file"
        raise UnreachableError(message)
    return world.files.content(stored)


def _data(url: str) -> bytes:
    head, _, body = url.partition(",")
    if not head.endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableError(str(error)) from error
