"""What each way to fail means for a submit: not sent, or lost. The line that decides whether money is spent twice."""

import asyncio
import contextlib
import os
import socket
import time
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.providers.base import HttpCall
from media_assets.providers.transport.wire import ExchangeLimits, NotSentError, ReplyLostError, exchange
from media_assets_tests.conftest import LONG
from media_assets_tests.providers.transport.raw_server import (
    Connection,
    RawServer,
    full_port,
    trusting,
    unused_port,
)

EXAMPLES = 500 if LONG else 25
"""Of twenty replies each."""
SHORT = ExchangeLimits(deadline_s=0.8)
CONNECTING = ExchangeLimits(deadline_s=10, connect_s=0.3)
LIMITS = ExchangeLimits(deadline_s=10, max_bytes=1_000_000, floor_bytes_per_s=1_000, floor_grace_s=0.3)
AT_MOST_S = 5.0
"""Beyond any limit that a test sets, with room for a busy machine."""


def submit(url: str, *, limits: ExchangeLimits = LIMITS, body: bytes = b"{}") -> tuple[Exception, bool]:
    """Send a POST that must fail; return how it did, and whether ``before_sending`` was called."""
    called: list[bool] = []
    call = HttpCall(method="POST", url=url, content=body)
    began = time.monotonic()
    with pytest.raises((NotSentError, ReplyLostError)) as caught:
        asyncio.run(
            exchange(call, headers={}, limits=limits, before_sending=lambda: called.append(True), verify=trusting())
        )
    assert time.monotonic() - began < AT_MOST_S
    return caught.value, bool(called)


def _silent(connection: Connection) -> None:
    connection.wait()


def _plain_answer(connection: Connection) -> None:
    connection.read_some()
    connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def _close_in_handshake(connection: Connection) -> None:
    connection.read_some()


def _reset_in_handshake(connection: Connection) -> None:
    connection.read_some()
    connection.reset()


@pytest.mark.parametrize(
    ("script", "limits"),
    [
        pytest.param(_plain_answer, LIMITS, id="plain-http-on-the-port"),
        pytest.param(_close_in_handshake, LIMITS, id="closed-in-handshake"),
        pytest.param(_reset_in_handshake, LIMITS, id="reset-in-handshake"),
        pytest.param(_silent, CONNECTING, id="handshake-slower-than-connecting-may-be"),
        pytest.param(_silent, SHORT, id="deadline-in-handshake"),
    ],
)
def test_no_tls_means_not_sent(script: Callable[[Connection], None], limits: ExchangeLimits) -> None:
    with RawServer(script) as server:
        error, called = submit(server.url.replace("http:", "https:"), limits=limits)

    assert isinstance(error, NotSentError), error
    assert (called, server.connections) == (False, 1)


@pytest.mark.parametrize("host", ["127.0.0.1"], ids=["another-name"])
def test_a_wrong_certificate_means_not_sent(host: str) -> None:
    received: list[bytes] = []
    with RawServer(lambda connection: received.append(connection.read_some()), tls=True) as server:
        error, called = submit(f"https://{host}:{server.port}/")

    assert isinstance(error, NotSentError), error
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert (called, [data for data in received if data]) == (False, [])


def test_an_unknown_issuer_means_not_sent() -> None:
    """Without ``verify`` only certifi's issuers count."""
    with RawServer(_silent, tls=True) as server:
        call = HttpCall(method="POST", url=f"https://localhost:{server.port}/", content=b"{}")
        with pytest.raises(NotSentError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(exchange(call, headers={}, limits=LIMITS))


def test_a_handshake_that_is_given_up_leaves_no_connection_open() -> None:
    """The library forgets the socket of a canceled handshake; many of them would use up what a process may open."""
    with RawServer(Connection.wait_for_end) as server:
        submit(server.url.replace("http:", "https:"), limits=SHORT)
        assert server.ended.wait(2)


def test_a_refused_connection_means_not_sent() -> None:
    error, called = submit(f"http://127.0.0.1:{unused_port()}/")

    assert isinstance(error, NotSentError), error
    assert not called


@pytest.mark.parametrize("limits", [CONNECTING, SHORT], ids=["connect_s", "deadline"])
@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux leaves connections to a full queue hanging")
def test_a_connection_that_never_stands_means_not_sent(limits: ExchangeLimits) -> None:
    with full_port() as port:
        error, called = submit(f"http://127.0.0.1:{port}/", limits=limits)

    assert isinstance(error, NotSentError), error
    assert not called


def test_a_look_up_beyond_the_deadline_means_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: object, **__: object) -> None:
        time.sleep(1.2)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    error, called = submit("http://provider.invalid/", limits=SHORT)

    assert isinstance(error, NotSentError), error
    assert not called


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "127.0.0.1/x",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://\ud800/",
        "http://127.0.0.1/\ud800",
        "http://",
        "http://a b/",
        "",
    ],
    ids=["scheme", "no-scheme", "bracket", "port", "surrogate-host", "surrogate-path", "no-host", "space", "empty"],
)
def test_what_is_no_address_means_not_sent(url: str) -> None:
    error, called = submit(url)

    assert isinstance(error, NotSentError), error
    assert not called


def _close_at_once(connection: Connection) -> None:
    del connection


def _reset_at_first_byte(connection: Connection) -> None:
    connection.read_some()
    connection.reset()


def _close_after_head(connection: Connection) -> None:
    connection.read_head()


def _close_after_request(connection: Connection) -> None:
    connection.read_request()


def _reset_after_request(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def _silence_after_request(connection: Connection) -> None:
    connection.read_request()
    connection.wait()


def sends(data: bytes, then: Callable[[Connection], None] = _close_at_once) -> Callable[[Connection], None]:
    """Return a script that reads a request, sends these bytes, and goes on with ``then``."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(data)
        then(connection)

    return script


_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_GZIP = zlib.compressobj(wbits=31)
_BOMB = _GZIP.compress(bytes(50_000_000)) + _GZIP.flush()


def _gzip(data: bytes) -> bytes:
    return _OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def _drip(connection: Connection) -> None:
    connection.read_request()
    connection.send(_OK + b"Content-Length: 5000\r\n\r\n")
    connection.drip(b"x" * 5000, every_s=0.05)


def _burst_then_drip(connection: Connection) -> None:
    connection.read_request()
    connection.send(_OK + b"Content-Length: 500000\r\n\r\n" + b"x" * 400_000)
    connection.drip(b"x" * 100_000, every_s=0.05)


def _drip_head(connection: Connection) -> None:
    connection.read_request()
    connection.drip(_OK + b"X: y\r\n" * 1000, every_s=0.05)


def _endless_interim(connection: Connection) -> None:
    connection.read_request()
    while True:
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.wait(0.01)


def _endless_body(connection: Connection) -> None:
    connection.read_request()
    connection.send(_CHUNKED)
    while True:
        connection.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")


LOST = [
    pytest.param(_close_at_once, LIMITS, None, id="closed-right-after-accept"),
    pytest.param(_reset_at_first_byte, LIMITS, None, id="reset-at-first-byte"),
    pytest.param(_close_after_head, LIMITS, None, id="closed-after-head"),
    pytest.param(_close_after_request, LIMITS, None, id="closed-after-request"),
    pytest.param(_reset_after_request, LIMITS, None, id="reset-after-request"),
    pytest.param(_silence_after_request, SHORT, None, id="silence"),
    pytest.param(_drip_head, SHORT, None, id="dripped-head"),
    pytest.param(_endless_interim, SHORT, None, id="endless-interim-replies"),
    pytest.param(sends(b"HTTP/1.1 201 Cre"), LIMITS, None, id="torn-status-line"),
    pytest.param(sends(_OK + b"Content-Le"), LIMITS, None, id="torn-head"),
    pytest.param(sends(b"<html>502</html>\r\n\r\n"), LIMITS, None, id="no-http"),
    pytest.param(sends(b"HTTP/2 200\r\n\r\n"), LIMITS, None, id="http-2"),
    pytest.param(sends(_OK + b"A: " + b"b" * 200_000 + b"\r\n\r\n"), LIMITS, None, id="head-of-200-kB"),
    pytest.param(sends(_OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), LIMITS, None, id="two-lengths"),
    pytest.param(sends(_OK + b"Content-Length: -5\r\n\r\nhello"), LIMITS, None, id="negative-length"),
    pytest.param(sends(_OK + b"Content-Length: 5\r\n\r\nhell"), LIMITS, 200, id="one-byte-short"),
    pytest.param(sends(_OK + b"Content-Length: 5\r\n\r\n"), LIMITS, 200, id="no-body"),
    pytest.param(sends(_OK + b"Content-Length: 5\r\n\r\nhell", Connection.reset), LIMITS, 200, id="reset-in-body"),
    pytest.param(sends(_OK + b"Content-Length: 5\r\n\r\nhell", _silent), SHORT, 200, id="silence-in-body"),
    pytest.param(sends(_OK + b"Content-Length: 5\r\n\r\nhell", _silent), LIMITS, 200, id="stalled-body"),
    pytest.param(sends(_CHUNKED + b"5\r\nhello\r\n"), LIMITS, 200, id="chunks-without-end"),
    pytest.param(sends(_CHUNKED + b"5\r\nhel"), LIMITS, 200, id="torn-chunk"),
    pytest.param(sends(_CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), LIMITS, 200, id="bad-chunk-size"),
    pytest.param(sends(_CHUNKED + b"5\r\nhelloXX0\r\n\r\n"), LIMITS, 200, id="bad-chunk-end"),
    pytest.param(_drip, LIMITS, 200, id="dripped-body"),
    pytest.param(_burst_then_drip, LIMITS, 200, id="burst-then-drip"),
    pytest.param(_endless_body, LIMITS, 200, id="endless-body"),
    pytest.param(sends(_OK + b"Content-Length: 1000001\r\n\r\n", _silent), LIMITS, 200, id="announced-too-long"),
    pytest.param(sends(_gzip(_BOMB)), LIMITS, 200, id="gzip-bomb"),
    pytest.param(sends(_gzip(_BOMB[:100])), LIMITS, 200, id="torn-gzip"),
    pytest.param(sends(_gzip(b"no gzip at all")), LIMITS, 200, id="bad-gzip"),
    pytest.param(sends(_gzip(zlib.compress(b"{}") + b"x")), LIMITS, 200, id="surplus-after-gzip"),
    pytest.param(sends(_OK + b"Content-Encoding: br\r\nContent-Length: 1\r\n\r\nx"), LIMITS, 200, id="brotli"),
]


@pytest.mark.parametrize(("script", "limits", "status"), LOST)
def test_a_connection_that_stood_means_lost(
    script: Callable[[Connection], None], limits: ExchangeLimits, status: int | None
) -> None:
    """Exactly one connection too: nothing below us sends again."""
    with RawServer(script) as server:
        error, called = submit(server.url, limits=limits)

    assert isinstance(error, ReplyLostError), error
    assert error.status == status
    assert (called, server.connections) == (True, 1)


def test_a_reset_right_after_accept_is_judged_by_whether_sending_was_begun() -> None:
    """The reset may come while we still connect, or a moment later; both words are true in their own case only."""
    with RawServer(Connection.reset) as server:
        for _ in range(30):
            error, called = submit(server.url)
            assert isinstance(error, ReplyLostError if called else NotSentError), error


def test_a_body_that_nobody_reads_means_lost() -> None:
    """The head has left, and part of the body: enough for a provider to begin."""
    with RawServer(_silent) as server:
        error, called = submit(server.url, limits=SHORT, body=bytes(30_000_000))

    assert isinstance(error, ReplyLostError), error
    assert called


def test_garbage_inside_tls_means_lost() -> None:
    """The HTTP library lets this one out as a bare ssl.SSLError."""
    with RawServer(lambda _: None) as server:

        def garbage(connection: Connection) -> None:
            connection.start_tls().read_request()
            connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
            connection.wait(1)

        server.script = garbage
        error, called = submit(f"https://localhost:{server.port}/")

    assert isinstance(error, ReplyLostError), error
    assert (called, len(server.requests)) == (True, 1)


def test_a_bomb_is_not_unpacked_to_its_end() -> None:
    tracemalloc.start()
    try:
        with RawServer(sends(_gzip(_BOMB))) as server:
            submit(server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10_000_000  # it unpacks to 50,000,000


def test_a_torn_reply_keeps_what_names_the_prediction() -> None:
    """With the provider's request id a person, or a reconciler, can find what was bought."""
    script = sends(b"HTTP/1.1 201 Created\r\nX-Fal-Request-Id: r-1\r\nContent-Length: 50\r\n\r\n{")
    with RawServer(script) as server:
        error, _ = submit(server.url)

    assert isinstance(error, ReplyLostError)
    assert (error.status, error.headers["x-fal-request-id"]) == (201, "r-1")


_REPLY = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"HTTP/1.1 ",
                b"HTTP/1.0 ",
                b"200 OK\r\n",
                b"303 See Other\r\nLocation: https://[\r\n",
                b"101 Switch\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
                b"Content-Length: 5\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Content-Encoding: gzip\r\n",
                b"Set-Cookie: a=b; Domain=.test; Expires=x\r\n",
                b"\r\n",
                b"5\r\nhello\r\n",
                b"0\r\n\r\n",
                b"hello",
            ]
        ),
        st.binary(max_size=30),
    ),
    max_size=9,
).map(b"".join)


@pytest.mark.sample(f"{EXAMPLES:,} of 500 times 20 random replies")
@settings(max_examples=EXAMPLES, deadline=None)
@given(replies=st.lists(st.one_of(_REPLY, _REPLY.map(b"HTTP/1.1 200 OK\r\n".__add__)), min_size=20, max_size=20))
def test_whatever_bytes_come_it_is_a_reply_or_lost(replies: list[bytes]) -> None:
    """Nothing else may get out: an error that nobody expects would not say that money may be gone."""

    async def every(url: str) -> None:
        for _ in replies:
            call = HttpCall(method="POST", url=url, content=b"{}")
            with contextlib.suppress(ReplyLostError):
                await exchange(call, headers={}, limits=LIMITS)

    left = list(replies)

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(left.pop())

    with RawServer(script) as server:
        asyncio.run(every(server.url))

    assert server.connections == len(replies)
