"""The disk under a download: full, missing, stalled; and nothing is left on it that is not whole."""

import asyncio
import errno
import os
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from media_assets.errors import (
    StorageError,
)
from media_assets.providers.transport.addresses import Allowed
from media_assets.providers.transport.download import DownloadLimits, download
from media_assets_tests.providers.transport.downloads import (
    BODY,
    answers,
    assert_paid_and_kept_out_of_sight,
    fetch,
    whole,
)
from media_assets_tests.providers.transport.raw_server import Connection, RawServer


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return where the file goes."""
    return tmp_path / "output"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("size", [10, len(BODY)], ids=["at-the-end", "in-the-middle"])
def test_a_full_disk_is_said_with_advice(size: int, target: Path) -> None:
    target.symlink_to("/dev/full")
    script = answers("200 OK", BODY[:size])
    with RawServer(script) as server, pytest.raises(StorageError, match=r"the disk is full\. Make room") as caught:
        fetch(server, target)

    assert server.connections == 1
    assert not target.is_symlink()
    assert Path("/dev/full").exists()
    assert_paid_and_kept_out_of_sight(caught.value, target)


def test_a_folder_that_is_not_there_is_said(target: Path) -> None:
    with RawServer(whole) as server, pytest.raises(StorageError, match=os.strerror(errno.ENOENT)):
        fetch(server, target / "no" / "such")

    assert server.connections == 1


def test_cancelling_leaves_nothing_behind(target: Path) -> None:
    def half(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:2_000_000])
        connection.wait_for_end()

    def wait_for_bytes() -> None:
        give_up = time.monotonic() + 10
        while not (target.exists() and target.stat().st_size) and time.monotonic() < give_up:
            time.sleep(0.01)
        assert target.stat().st_size

    async def cancelled(url: str) -> None:
        limits = DownloadLimits(deadline_s=30)
        task = asyncio.ensure_future(download(url, target, allowed=Allowed.of([url], []), limits=limits))
        await asyncio.to_thread(wait_for_bytes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with RawServer(half) as server:
        asyncio.run(cancelled(server.url))
        assert server.ended.wait(5)

    assert not target.exists()


def test_a_stalled_disk_does_not_stall_the_loop(target: Path) -> None:
    """The disk is a pipe that nobody reads until the loop has gone on: were the loop stalled, nobody ever would."""
    os.mkfifo(target)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(target.read_bytes()))
    beats = 0

    async def beside() -> None:
        nonlocal beats
        while beats < 20:
            beats += 1
            await asyncio.sleep(0.01)
        reader.start()

    async def both(url: str) -> None:
        limits = DownloadLimits(deadline_s=15)
        beating = asyncio.ensure_future(beside())
        await download(url, target, allowed=Allowed.of([url], []), limits=limits)
        await beating

    def free_it() -> None:
        # So that the fault would be a failure, not a hang.
        if not reader.ident:
            reader.start()

    guard = threading.Timer(5, free_it)
    guard.start()
    with RawServer(whole) as server:
        asyncio.run(both(server.url))
    guard.cancel()
    reader.join(10)

    assert beats == 20
    assert read == [BODY]


def test_memory_does_not_grow_with_the_file(target: Path) -> None:
    size = 64_000_000
    block = BODY[:1_000_000]

    def large(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            connection.send(block)

    with RawServer(large) as server:
        fetch(server, target)  # what is loaded once does not count
        tracemalloc.start()
        try:
            got = fetch(server, target)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert got.size_bytes == target.stat().st_size == size
    assert peak < 10_000_000
