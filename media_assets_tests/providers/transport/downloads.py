"""What the tests of downloads share: servers' scripts, and what holds for every failure."""

import asyncio
import random
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from media_assets.errors import (
    Billed,
    MediaAssetsError,
    Rerun,
)
from media_assets.providers.transport.addresses import Allowed
from media_assets.providers.transport.download import Downloaded, DownloadLimits, download
from media_assets_tests.providers.transport.raw_server import Connection, RawServer

SECRET = "CANARY-55e0"  # noqa: S105
BODY = random.Random(7).randbytes(3_000_000)  # noqa: S311 - not a secret
LIMITS = DownloadLimits(
    deadline_s=10,
    floor_bytes_per_s=1_000,
    floor_grace_s=0.6,
    attempts=3,
    first_wait_s=0.01,
    longest_wait_s=0.02,
)


def fetch(server: RawServer, target: Path, *, limits: DownloadLimits = LIMITS, **options: Any) -> Downloaded:
    """Download from a server that is the loopback base, by a signed URL."""
    allowed = Allowed.of([server.url], [])
    return asyncio.run(download(f"{server.url}/x.mp4?sig={SECRET}", target, allowed=allowed, limits=limits, **options))


def whole(connection: Connection) -> None:
    connection.read_request()
    connection.reply(BODY, headers="Content-Type: Video/MP4; codecs=avc1\r\n")


def scripts(*each: Callable[[Connection], None]) -> Callable[[Connection], None]:
    """Return a script that does one thing on each connection, and the last one from then on."""
    left = list(each)
    lock = threading.Lock()

    def script(connection: Connection) -> None:
        with lock:
            one = left.pop(0) if len(left) > 1 else left[0]
        one(connection)

    return script


def answers(status: str, body: bytes = b"", headers: str = "") -> Callable[[Connection], None]:
    """Return a script that answers a request."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.reply(body, status=status, headers=headers)

    return script


def chunked(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(BODY), 100_000):
        part = BODY[at : at + 100_000]
        connection.send(b"%x\r\n%b\r\n" % (len(part), part))
    connection.send(b"0\r\n\r\n")


def until_closed(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.0 200 OK\r\n\r\n" + BODY)


def cut(at: int) -> Callable[[Connection], None]:
    """Return a script that sends so many bytes of the body."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:at])

    return script


def drip(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    connection.drip(BODY[:5000], every_s=0.05)


def silent(connection: Connection) -> None:
    connection.read_request()
    connection.wait()


def reset(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def assert_paid_and_kept_out_of_sight(error: MediaAssetsError, target: Path, *, rerun: Rerun = Rerun.RESUME) -> None:
    """Assert what holds for every failure: money is gone, no secret is told, and nothing lies about."""
    assert (error.rerun, error.billed) == (rerun, Billed.YES)
    assert SECRET not in "".join(traceback.format_exception(error))
    assert "127.0.0.1" in error.message or "finished output" in error.message
    assert not target.exists()
