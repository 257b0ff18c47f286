"""No URL and no header of a call is in a log or in an error."""

import asyncio
import logging
import traceback

import httpx
import pytest

from media_assets.providers.base import HttpCall, HttpReply
from media_assets.providers.transport.wire import (
    ExchangeLimits,
    NotSentError,
    ReplyLostError,
    exchange,
)
from media_assets_tests.providers.transport.raw_server import Connection, RawServer

SECRET = "CANARY-7d1f"  # noqa: S105
LIMITS = ExchangeLimits(deadline_s=10)


def ask(url: str) -> HttpReply:
    """Send a POST with a secret in each of its parts."""
    call = HttpCall(method="POST", url=f"{url}/{SECRET}?sig={SECRET}", json_body={"p": SECRET})
    return asyncio.run(exchange(call, headers={"Authorization": SECRET}, limits=LIMITS))


def _redirect_with_secrets(connection: Connection) -> None:
    connection.read_request()
    connection.reply(
        status="302 Found", headers=f"Location: https://h/?sig={SECRET}\r\nSet-Cookie: {SECRET}=1\r\nX: {SECRET}\r\n"
    )


def test_no_url_and_no_header_reaches_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """The HTTP library logs URLs at INFO and reply headers at DEBUG."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        caplog.set_level(logging.DEBUG, logger=name)

    with RawServer(_redirect_with_secrets) as server:
        ask(server.url)

    assert [record.name for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []
    assert SECRET not in caplog.text


def test_others_who_use_the_library_keep_their_logs(caplog: pytest.LogCaptureFixture) -> None:
    """The proof that the test above could fail: without us, the same lines are there."""
    caplog.set_level(logging.DEBUG)

    with RawServer(_redirect_with_secrets) as server:
        ask(server.url)
        httpx.get(f"{server.url}/{SECRET}", trust_env=False)

    assert {"httpx", "httpcore.http11", "httpcore.connection"} <= {record.name for record in caplog.records}
    assert SECRET in caplog.text


@pytest.mark.parametrize("scheme", ["http", "https"], ids=["lost", "not-sent"])
def test_no_url_and_no_header_is_in_an_error(scheme: str) -> None:
    def read_and_close(connection: Connection) -> None:
        connection.read_some()

    with RawServer(read_and_close) as server, pytest.raises((NotSentError, ReplyLostError)) as caught:
        ask(f"{scheme}://127.0.0.1:{server.port}")

    assert isinstance(caught.value, NotSentError if scheme == "https" else ReplyLostError)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert "127.0.0.1" in str(caught.value)
