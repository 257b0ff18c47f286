"""Bringing the files a request builds on to its provider: inside the request where they are small, uploaded else."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

from media_assets.errors import RequestRejectedError, StorageError
from media_assets.media.sniff import EXTENSIONS, HEAD_BYTES, sniff
from media_assets.providers.base import Adapter, HttpCall, HttpReply, InputFile

Send = Callable[[HttpCall], Awaitable[HttpReply]]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"an input file could not be read: {error.strerror}. Nothing was bought."
        raise StorageError(message) from error


async def as_reference(adapter: Adapter, path: Path, send: Send) -> str:
    """Return the URL or ``data:`` URI under which ``adapter``'s provider can read a file. Free.

    Raises:
        RequestRejectedError: The provider takes no such file.
        PurchaseError: The upload failed; nothing was bought.
    """
    content = await asyncio.to_thread(_read, path)
    mime = sniff(content[:HEAD_BYTES]) or "application/octet-stream"
    # Only what may fit is encoded: a clip would be copied twice for nothing.
    if len(content) < adapter.data_uri_max_bytes:
        data_uri = f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
        if len(data_uri) <= adapter.data_uri_max_bytes:
            return data_uri
    # The name a provider shows is ours: it holds nothing of the user's folders.
    file = InputFile(content=content, mime=mime, filename=f"{path.stem[:16]}.{EXTENSIONS.get(mime, 'bin')}")
    steps = adapter.upload(file)
    if steps is None:
        message = f"{adapter.name} takes no files."
        raise RequestRejectedError(message, provider=adapter.name)
    try:
        call = next(steps)
        while True:
            call = steps.send(await send(call))
    except StopIteration as end:
        return str(end.value)
