"""One exchange against servers that misbehave: a whole reply, or the true word on whether anything left."""

import asyncio
import email
import hashlib
import zlib
from collections.abc import Mapping
from email import policy
from typing import Any

import pytest

from media_assets.errors import ConfigurationError
from media_assets.providers.base import HttpCall, HttpReply, Part
from media_assets.providers.transport.wire import (
    ExchangeLimits,
    exchange,
    make_client,
)
from media_assets_tests.providers.transport.raw_server import Connection, RawServer, Received, trusting

SECRET = "CANARY-7d1f"  # noqa: S105
LIMITS = ExchangeLimits(deadline_s=10)


def answer(connection: Connection) -> None:
    connection.read_request()
    connection.reply(b'{"id":"p-1"}', status="201 Created", headers="X-Request-ID: r-1\r\nContent-Type: a/b\r\n")


def ask(
    url: str,
    *,
    call: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    limits: ExchangeLimits = LIMITS,
    **options: Any,
) -> HttpReply:
    """Send one call, by default a POST of a small JSON body."""
    given = {"method": "POST", "json_body": {"a": 1}, **(call or {})}
    return asyncio.run(exchange(HttpCall(url=url, **given), headers=headers or {}, limits=limits, **options))


def sent(*, headers: Mapping[str, str] | None = None, **call: Any) -> Received:
    """Return what the server received of a call."""
    with RawServer(answer) as server:
        ask(server.url + "/v1/x?y=1", call={"json_body": None, **call}, headers=headers)
    return server.requests[0]


def test_reply_is_whole_with_lower_case_names() -> None:
    with RawServer(answer) as server:
        reply = ask(server.url)

    assert (reply.status, reply.json()) == (201, {"id": "p-1"})
    assert reply.headers["x-request-id"] == "r-1"
    assert {name for name in reply.headers if name != name.lower()} == set()


def test_json_is_compact_utf8() -> None:
    request = sent(json_body={"prompt": "Fjäll \U0001f3d4", "n": [1, 2.5, None, True]})

    assert request.body == '{"prompt":"Fjäll \U0001f3d4","n":[1,2.5,null,true]}'.encode()
    assert request.headers["content-type"] == "application/json"
    assert (request.method, request.path) == ("POST", "/v1/x?y=1")


def test_nothing_is_asked_for_that_would_have_to_be_unpacked_or_kept_open() -> None:
    headers = sent(json_body={}, headers={"Authorization": "Bearer x"}).headers

    assert headers["accept-encoding"] == "identity"
    assert headers["connection"] == "close"
    assert headers["user-agent"] == "media-assets"
    assert headers["authorization"] == "Bearer x"
    assert "cookie" not in headers


def test_raw_content_keeps_its_type() -> None:
    request = sent(method="PUT", content=b"\x00\xff", headers={"Content-Type": "image/png"})

    assert (request.method, request.body, request.headers["content-type"]) == ("PUT", b"\x00\xff", "image/png")


def test_added_headers_win_whatever_their_case() -> None:
    with RawServer(answer) as server:
        ask(server.url, call={"headers": {"AUTHORIZATION": "theirs", "X-B": "1"}}, headers={"Authorization": "ours"})

    assert server.requests[0].headers["authorization"] == "ours"
    assert server.requests[0].headers["x-b"] == "1"


def test_get_has_no_body() -> None:
    request = sent(method="GET")

    assert (request.method, request.body) == ("GET", b"")
    assert "content-type" not in request.headers


def test_parts_are_a_multipart_form() -> None:
    parts = (
        Part(name="metadata", content=b'{"a":"\xc3\xa4"}', content_type="application/json"),
        Part(name="content", content=bytes(range(256)), content_type="image/png", filename='a"b\r\n.png'),
    )

    request = sent(parts=parts, headers={"content-type": "multipart/form-data"})

    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    first, second = email.message_from_bytes(head + request.body, policy=policy.HTTP).iter_parts()
    assert (first.get_param("name", header="content-disposition"), first.get_filename()) == ("metadata", None)
    assert (first.get_content_type(), first.get_payload(decode=True)) == ("application/json", parts[0].content)
    assert (second.get_content_type(), second.get_payload(decode=True)) == ("image/png", parts[1].content)
    assert second.get_filename() == "a%22b%0D%0A.png"


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", object(), {1, 2}],
    ids=["nan", "inf", "lone-surrogate", "object", "set"],
)
def test_what_is_no_json_is_refused_before_sending(value: object) -> None:
    with RawServer(answer) as server, pytest.raises(ConfigurationError, match="cannot be written as JSON"):
        ask(server.url, call={"json_body": {"a": value}})

    assert server.connections == 0


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}\r\nX-A: b", f" {SECRET}", f"{SECRET}\x00", f"“{SECRET}”"])
def test_a_key_that_is_no_header_is_refused_without_being_shown(value: str) -> None:
    with RawServer(answer) as server, pytest.raises(ConfigurationError, match="authorization") as caught:
        ask(server.url, headers={"Authorization": value})

    assert SECRET not in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "Accept-Encoding"])
def test_framing_is_not_for_callers(name: str) -> None:
    with RawServer(answer) as server, pytest.raises(ValueError, match="may not set"):
        ask(server.url, headers={name: "5"})

    assert server.connections == 0


def test_a_call_has_one_body() -> None:
    with pytest.raises(ValueError, match="at most one body"):
        ask("http://127.0.0.1:1", call={"content": b"x"})


def test_body_may_begin_late() -> None:
    """Some providers answer 200 at once and then begin to work: killing that would make a paid outcome unknown."""

    def head_first(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        connection.wait(0.4)
        connection.send(b"done")

    with RawServer(head_first) as server:
        limits = ExchangeLimits(deadline_s=10, floor_bytes_per_s=1000, floor_grace_s=0.1)
        assert ask(server.url, limits=limits).body == b"done"


def test_surplus_after_the_announced_length_is_dropped() -> None:
    """RFC 9112 §6.3: the length ends the reply. An accepted submission must not become unknown for a stray byte."""

    def too_much(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 500 No\r\n\r\n")

    with RawServer(too_much) as server:
        reply = ask(server.url)

    assert (reply.status, reply.body) == (201, b"{}")


def test_interim_replies_are_passed_over() -> None:
    def early_hints(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        connection.reply(b"ok")

    with RawServer(early_hints) as server:
        assert ask(server.url).body == b"ok"


@pytest.mark.parametrize("location", ["https://[", "data:text/plain,x", "http://h:99999999/", "///", "\xff", "h://h/h"])
def test_a_location_that_is_no_address_loses_no_reply(location: str) -> None:
    """The HTTP library reads it even where it follows none, and fails."""

    def redirect(connection: Connection) -> None:
        connection.read_request()
        connection.reply(b"{}", status="303 See Other", headers=f"Location: {location}\r\n")

    with RawServer(redirect) as server:
        reply = ask(server.url)

    assert (reply.status, reply.body) == (303, b"{}")
    assert "location" in reply.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    """A 307 would send the paid POST a second time, and the key to whoever is named."""
    with RawServer(answer) as elsewhere:

        def redirect(connection: Connection) -> None:
            connection.read_request()
            connection.reply(status=f"{status} Over There", headers=f"Location: {elsewhere.url}/\r\n")

        with RawServer(redirect) as server:
            assert ask(server.url).status == status

    assert (server.connections, elsewhere.connections) == (1, 0)


@pytest.mark.parametrize(("wbits", "name"), [(31, "gzip"), (15, "deflate")])
def test_a_reply_that_is_compressed_all_the_same_is_unpacked(wbits: int, name: str) -> None:
    """Nobody asked for it, but the prediction's id is in there."""
    # Comes in several chunks, each of which unpacks to several pieces.
    body = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() * 300 for n in range(2_000))
    packer = zlib.compressobj(wbits=wbits)
    packed = packer.compress(body) + packer.flush()

    def packing(connection: Connection) -> None:
        connection.read_request()
        connection.reply(packed, headers=f"Content-Encoding: {name}\r\n")

    with RawServer(packing) as server:
        assert ask(server.url).body == body


def test_each_call_has_a_connection_of_its_own() -> None:
    with RawServer(answer) as server:
        for _ in range(3):
            ask(server.url)

    assert server.connections == 3


def test_a_shared_client_keeps_its_connection_and_no_cookies() -> None:
    def answer_often(connection: Connection) -> None:
        while True:
            connection.read_request()
            connection.reply(headers="Set-Cookie: session=1; Path=/\r\n")

    async def several(url: str) -> None:
        async with make_client() as client:
            for _ in range(3):
                call = HttpCall(method="GET", url=url)
                await exchange(call, headers={}, limits=LIMITS, client=client)

    with RawServer(answer_often) as server:
        asyncio.run(several(server.url))

    assert (server.connections, len(server.requests)) == (1, 3)
    assert not any("cookie" in request.headers for request in server.requests)
    assert "close" not in {request.headers.get("connection") for request in server.requests}


def test_a_proxy_from_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would see the key, and a submit could get its answer from a stranger."""
    with RawServer(answer) as proxy, RawServer(answer) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        ask(server.url)

    assert (proxy.connections, server.connections) == (0, 1)


def test_tls_is_checked_against_the_name() -> None:
    with RawServer(answer, tls=True) as server:
        reply = ask(f"https://localhost:{server.port}", verify=trusting())

    assert reply.status == 201
