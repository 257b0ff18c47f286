"""When a call leaves this machine: what is asked before it does, and the true word on whether anything left."""

import asyncio
import contextlib
import socket
import time
from typing import Any

import httpx
import pytest

from media_assets.errors import StorageError
from media_assets.providers.base import HttpCall, HttpReply
from media_assets.providers.transport.stages import Stages
from media_assets.providers.transport.wire import (
    ExchangeLimits,
    NotSentError,
    ReplyLostError,
    _Watch,
    exchange,
    make_client,
)
from media_assets_tests.canceling import until
from media_assets_tests.providers.transport.raw_server import Connection, RawServer
from media_assets_tests.providers.transport.test_wire import LIMITS, ask


def test_before_sending_comes_after_connecting_and_before_the_first_byte() -> None:
    seen: list[str] = []

    def listening(connection: Connection) -> None:
        seen.append("connected")
        with contextlib.suppress(TimeoutError):
            connection.read_request()
        seen.append("received")
        connection.reply()

    def ready() -> None:
        time.sleep(0.2)  # long enough for a byte to arrive, had one left
        seen.append("before_sending")

    with RawServer(listening) as server:
        ask(server.url, before_sending=ready)

    assert seen == ["connected", "before_sending", "before_sending", "received"]


def test_nothing_leaves_if_before_sending_fails() -> None:
    received: list[bytes] = []

    def refuse() -> None:
        message = "the intent cannot be written"
        raise StorageError(message)

    with RawServer(lambda connection: received.append(connection.read_some())) as server:
        with pytest.raises(StorageError, match="the intent cannot be written"):
            ask(server.url, before_sending=refuse)
        deadline = time.monotonic() + 5
        while not received and time.monotonic() < deadline:
            time.sleep(0.01)

    assert received == [b""]


def test_who_is_not_to_send_any_more_keeps_the_body_back() -> None:
    """A process that was frozen after its headers may have been taken over from; without its body a request is none."""
    asked: list[bool] = []
    received: list[bytes] = []

    def once() -> None:
        asked.append(True)
        if len(asked) > 1:
            message = "another one took over"
            raise StorageError(message)

    def read_to_the_end(connection: Connection) -> None:
        received.extend(iter(connection.read_some, b""))
        connection.wait_for_end()

    with RawServer(read_to_the_end) as server:
        with pytest.raises(ReplyLostError, match="another one took over"):
            ask(server.url, before_sending=once)
        assert server.ended.wait(5)

    assert b"".join(received).startswith(b"POST / HTTP/1.1\r\n")
    assert b"".join(received).endswith(b"\r\n\r\n"), "the head alone"


def test_cancelling_closes_the_connection() -> None:
    async def cancelled() -> None:
        call = HttpCall(method="POST", url=server.url)
        task = asyncio.ensure_future(exchange(call, headers={}, limits=LIMITS))
        await until(lambda: bool(server.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def never(connection: Connection) -> None:
        connection.read_request()
        connection.wait_for_end()

    with RawServer(never) as server:
        asyncio.run(cancelled())
        assert server.ended.wait(5)

    assert len(server.requests) == 1


def test_a_stage_we_do_not_know_counts_as_sending() -> None:
    """An update of the library that renames its stages must cost a question to a person, not a second purchase."""
    stages = Stages()
    asyncio.run(stages.trace("connection.start_tls.started", {}))
    asyncio.run(stages.trace("http4.flush.started", {}))

    watch = _Watch("POST", stages, asyncio.Timeout(None))
    assert isinstance(watch.failure("x", httpx.ConnectError("x")), ReplyLostError)


def test_no_word_of_any_stage_counts_as_sending() -> None:
    """A library that stops telling of its stages must not make us send twice either."""
    watch = _Watch("POST", Stages(), asyncio.Timeout(None))
    assert isinstance(watch.failure("x", httpx.ReadError("x")), ReplyLostError)


def test_a_shared_client_that_has_no_place_has_not_sent() -> None:
    def hold(connection: Connection) -> None:
        connection.read_request()
        connection.wait(1.2)
        connection.reply()

    async def crowd(url: str) -> list[HttpReply | BaseException]:
        limits = ExchangeLimits(deadline_s=10, connect_s=0.6)
        async with make_client(max_connections=1) as client:
            calls = (
                exchange(HttpCall(method="GET", url=url), headers={}, limits=limits, client=client) for _ in range(2)
            )
            return await asyncio.gather(*calls, return_exceptions=True)

    with RawServer(hold) as server:
        first, second = asyncio.run(crowd(server.url))

    assert isinstance(first, HttpReply)
    assert isinstance(second, NotSentError)
    assert len(server.requests) == 1


def test_an_unknown_name_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotSentError, match=r"POST to provider\.invalid was not sent: .*Name or service not known"):
        ask("http://provider.invalid/")
