"""Reading the body of a reply that may be endless, slow, cut short or a bomb."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import httpx

_PIECE_BYTES = 1 << 20


class BodyError(Exception):
    """A body that cannot be used; the message says why and holds nothing of it."""


class TooLargeError(BodyError):
    """More bytes than were allowed."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The slowest that a body may come: ``floor_bytes_per_s``, measured over ``grace_s``.

    A read timeout starts again with each byte, so that a byte a second never meets it; this one does not.
    """

    floor_bytes_per_s: float
    grace_s: float
    from_first_byte: bool = False
    """Whether the wait for the first byte is free: some providers send headers first and then begin to work."""


async def read_body(response: httpx.Response, *, pace: Pace, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, decoded, in pieces of at most 1 MB.

    We ask for no encoding; a reply that is compressed all the same is unpacked, and its size counts unpacked.

    Raises:
        TooLargeError: It has, or announces, more than ``max_bytes``.
        BodyError: It is slower than ``pace``, or its encoding is unknown or broken.
        httpx.HTTPError: The connection broke, or the body is not as long as announced.
    """
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    decoder = _decoder(response.headers.get("content-encoding", ""))
    size = 0
    async with contextlib.aclosing(_paced(response, pace)) as chunks:
        async for chunk in chunks:
            for piece in decoder.feed(chunk):
                size += len(piece)
                if size > max_bytes:
                    raise _too_large(max_bytes)
                yield piece
    decoder.end()


def _too_large(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {max_bytes} bytes")


async def _paced(response: httpx.Response, pace: Pace) -> AsyncGenerator[bytes, None]:
    """Yield what comes; only the time spent waiting for it counts, not what its reader does between."""
    loop = asyncio.get_running_loop()
    quota = pace.floor_bytes_per_s * pace.grace_s
    missing: float = quota
    left_s = None if pace.from_first_byte else pace.grace_s
    async with contextlib.aclosing(_raw(response)) as chunks:
        while True:
            began = loop.time()
            try:
                async with asyncio.timeout(left_s):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                message = f"the body came at less than {pace.floor_bytes_per_s:g} bytes/s for {pace.grace_s:g} s"
                raise BodyError(message) from None
            if chunk is None:
                return
            missing -= len(chunk)
            if missing <= 0 or left_s is None:
                missing, left_s = quota, pace.grace_s
            else:
                left_s -= loop.time() - began
            yield chunk


async def _raw(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    async for chunk in response.aiter_raw():
        yield chunk


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> None:
        """Accept any end."""


class _Inflating:
    """gzip and deflate, a piece at a time: 64 kB can unpack to 64 MB."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=47)  # 32 + 15: tell gzip and zlib apart by their headers

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            try:
                piece = self._inflate.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise _broken() from None
            data = self._inflate.unconsumed_tail
            yield piece
        if self._inflate.unused_data:
            raise _broken()

    def end(self) -> None:
        # Nothing is held back at the end of a whole body: what is behind its last byte, a checksum, was read as well.
        if not self._inflate.eof:
            raise _broken()


def _broken() -> BodyError:
    return BodyError("the body's compression is broken or cut short")


def _decoder(content_encoding: str) -> _Identity | _Inflating:
    encoding = content_encoding.strip().lower()
    if encoding in {"", "identity"}:
        return _Identity()
    if encoding in {"gzip", "x-gzip", "deflate"}:
        return _Inflating()
    message = "the body is compressed in a way that was not asked for"
    raise BodyError(message)
