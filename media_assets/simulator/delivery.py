"""Replies that go wrong on their way: dropped, reset, cut short, dripping, or never sent.

ASGI has no word for a connection that ends without a reply, so the server's protocol class (``server.py``) hands its
transport to the application in the scope's state, and these responses end it themselves.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from media_assets.simulator.clock import Clock

TRANSPORT: Final = "transport"
"""Key of the scope's state under which the protocol class keeps the connection's transport."""

_LINGER_OFF = struct.pack("ii", 1, 0)


class Dropped(Response):
    """No reply: the connection is closed, or reset."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        transport = scope["state"][TRANSPORT]
        if self._reset:
            # With lingering off, the kernel answers with RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        transport.abort()
        await _until_gone(receive)


class Hanging(Response):
    """No reply: the connection stays open until the client leaves, or the simulator ends."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - nothing is sent
        await _first(_until_gone(receive), self._clock.sleep(float("inf")))
        scope["state"][TRANSPORT].abort()
        await _until_gone(receive)


class Truncated(Response):
    """A reply whose headers promise a whole body and whose connection ends after half of it."""

    def __init__(self, whole: Response) -> None:
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = whole.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["state"][TRANSPORT].close()
        await _until_gone(receive)


class Dripping(Response):
    """A whole reply whose body comes one byte a virtual second."""

    def __init__(self, whole: Response, clock: Clock) -> None:
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = whole.raw_headers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _first(_until_gone(receive), self._drip(send))
        scope["state"][TRANSPORT].close()
        await _until_gone(receive)

    async def _drip(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        if not body:
            await send({"type": "http.response.body", "body": b""})
        for at in range(len(body)):
            await self._clock.sleep(1.0)
            if self._clock.stopped:
                return
            await send({"type": "http.response.body", "body": body[at : at + 1], "more_body": at + 1 < len(body)})


async def whole(response: Response) -> Response:
    """Return the response with its body in one piece, a streamed one read to its end."""
    if not isinstance(response, StreamingResponse):
        return response
    body = b"".join([_as_bytes(chunk) async for chunk in _chunks(response)])
    gathered = Response(body, response.status_code)
    kept = [(name, value) for name, value in response.raw_headers if name.lower() != b"content-length"]
    gathered.raw_headers = [*kept, (b"content-length", str(len(body)).encode())]
    return gathered


def _chunks(response: StreamingResponse) -> AsyncIterator[Any]:
    return aiter(response.body_iterator)


def _as_bytes(chunk: Any) -> bytes:
    return chunk.encode() if isinstance(chunk, str) else bytes(chunk)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _first(*waiting: Any) -> None:
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
