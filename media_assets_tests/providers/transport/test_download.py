"""Bringing a paid output here: whole and hashed, or gone, or a clear word on what to do."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from media_assets.errors import (
    ConfigurationError,
    OutputLostError,
    ProviderUnavailableError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.providers.transport.addresses import Allowed
from media_assets.providers.transport.download import DownloadLimits, download
from media_assets_tests.providers.transport.downloads import (
    BODY,
    LIMITS,
    SECRET,
    answers,
    assert_paid_and_kept_out_of_sight,
    chunked,
    cut,
    drip,
    fetch,
    reset,
    scripts,
    silent,
    until_closed,
    whole,
)
from media_assets_tests.providers.transport.raw_server import Connection, RawServer, unused_port


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return where the file goes."""
    return tmp_path / "output"


@pytest.mark.parametrize("script", [whole, chunked, until_closed])
def test_file_is_whole_and_hashed(script: Callable[[Connection], None], target: Path) -> None:
    with RawServer(script) as server:
        got = fetch(server, target)

    assert target.read_bytes() == BODY
    assert (got.path, got.sha256, got.size_bytes) == (target, hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert got.content_type == ("video/mp4" if script is whole else "")
    assert server.connections == 1


def test_request_is_the_signed_url_as_it_was_given(target: Path) -> None:
    """A signature covers the very spelling of a path and a query."""
    path = "/a%2Fb/c+d~e.png?X-Amz-Signature=ab%2Bcd%3D&x=[1]&y=a/b:c@d&z=;,!$'()*&empty="
    with RawServer(whole) as server:
        allowed = Allowed.of([server.url], [])
        asyncio.run(download(server.url + path, target, allowed=allowed, limits=LIMITS))

    (request,) = server.requests
    assert (request.method, request.path) == ("GET", path)
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers


def test_credentials_are_sent_where_they_are_given_for(target: Path) -> None:
    asked: list[str] = []

    def headers_for(host: str) -> Mapping[str, str]:
        asked.append(host)
        return {"Authorization": "Bearer x"}

    with RawServer(whole) as server:
        fetch(server, target, headers_for=headers_for)

    assert asked == ["127.0.0.1"]
    assert server.requests[0].headers["authorization"] == "Bearer x"


def test_credentials_that_are_no_header_are_not_shown(target: Path) -> None:
    with RawServer(whole) as server, pytest.raises(ConfigurationError) as caught:
        fetch(server, target, headers_for=lambda _: {"Authorization": f"{SECRET}\n"})

    assert SECRET not in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize("at", [0, 1, len(BODY) // 2, len(BODY) - 1])
def test_a_file_cut_short_is_fetched_anew(at: int, target: Path) -> None:
    with RawServer(scripts(cut(at), whole)) as server:
        got = fetch(server, target)

    assert target.read_bytes() == BODY
    assert (got.sha256, got.size_bytes) == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert server.connections == 2


PASSING = [
    pytest.param(reset, id="reset"),
    pytest.param(lambda _: None, id="closed"),
    pytest.param(drip, id="dripped"),
    pytest.param(answers("408 Request Timeout"), id="408"),
    pytest.param(answers("425 Too Early"), id="425"),
    pytest.param(answers("429 Too Many Requests", headers="Retry-After: 0\r\n"), id="429"),
    pytest.param(answers("500 Oh"), id="500"),
    pytest.param(answers("503 Busy", b"<html>nginx</html>"), id="503"),
    pytest.param(answers("599 Odd"), id="599"),
    pytest.param(answers("200 OK", b"x", "Content-Encoding: gzip\r\n"), id="bad-gzip"),
    pytest.param(lambda connection: connection.send(b"garbage\r\n\r\n"), id="no-http"),
]


@pytest.mark.parametrize("script", PASSING)
def test_a_passing_fault_is_tried_again(script: Callable[[Connection], None], target: Path) -> None:
    with RawServer(scripts(script, whole)) as server:
        fetch(server, target)

    assert target.read_bytes() == BODY
    assert server.connections == 2


@pytest.mark.parametrize("script", [*PASSING, pytest.param(cut(5), id="cut")])
def test_a_lasting_fault_ends_after_the_attempts(script: Callable[[Connection], None], target: Path) -> None:
    with RawServer(script) as server, pytest.raises(ProviderUnavailableError) as caught:
        fetch(server, target)

    assert server.connections == LIMITS.attempts
    assert_paid_and_kept_out_of_sight(caught.value, target)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_is_gone_is_a_persons_decision(status: int, target: Path) -> None:
    script = answers(f"{status} No", b"<Error><Code>AccessDenied</Code></Error>")
    with RawServer(script) as server, pytest.raises(OutputLostError, match=f"answered {status}") as caught:
        fetch(server, target)

    assert server.connections == (1 if status == 410 else LIMITS.refusals)
    assert_paid_and_kept_out_of_sight(caught.value, target, rerun=Rerun.ASK)


def test_a_file_that_is_still_refused_at_the_last_attempt_is_lost(target: Path) -> None:
    """However few attempts there were: a refusal is the provider's word, and not a fault of the line."""
    limits = replace(LIMITS, attempts=3, refusals=3)
    script = scripts(answers("503 Service Unavailable"), answers("503 Service Unavailable"), answers("404 Not Found"))
    with RawServer(script) as server, pytest.raises(OutputLostError, match="answered 404") as caught:
        fetch(server, target, limits=limits)

    assert server.connections == 3
    assert_paid_and_kept_out_of_sight(caught.value, target, rerun=Rerun.ASK)


@pytest.mark.parametrize("location", ["https://[half", ""])
def test_a_redirect_that_leads_nowhere_is_said(location: str, target: Path) -> None:
    """Broken on their side; the file is paid for, and a rerun looks for it again."""
    script = answers("302 Found", headers=f"Location: {location}\r\n")
    with RawServer(script) as server, pytest.raises(UnexpectedResponseError, match="without saying where to") as caught:
        fetch(server, target)

    assert server.connections == 1
    assert_paid_and_kept_out_of_sight(caught.value, target)


def test_a_file_that_is_not_there_yet_is_waited_for(target: Path) -> None:
    limits = DownloadLimits(deadline_s=10, first_wait_s=0.01)
    with RawServer(scripts(answers("404 Not Found"), answers("503 Busy"), answers("403 Forbidden"), whole)) as server:
        fetch(server, target, limits=limits)

    assert target.read_bytes() == BODY
    assert server.connections == 4


def _no_page(head: bytes) -> str | None:
    return "is a page" if head.startswith(b"<") else None


def test_what_is_refused_by_its_first_bytes_is_tried_again(target: Path) -> None:
    """A whole body with a good status, and still not what was asked for; its bytes may come one by one."""

    def dripping(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        for byte in b"<p>":
            time.sleep(0.02)
            connection.send(bytes([byte]))

    with RawServer(scripts(dripping, whole)) as server:
        fetch(server, target, refuse=_no_page)
    assert target.read_bytes() == BODY
    assert server.connections == 2

    target.unlink()
    with RawServer(dripping) as server, pytest.raises(UnexpectedResponseError, match="finished output is a page") as no:
        fetch(server, target, refuse=_no_page)
    assert server.connections == LIMITS.attempts
    assert_paid_and_kept_out_of_sight(no.value, target)


def test_the_waits_for_it_grow(target: Path) -> None:
    limits = DownloadLimits(deadline_s=10, first_wait_s=0.1)
    began = time.monotonic()
    with RawServer(answers("404 Not Found")) as server, pytest.raises(OutputLostError):
        fetch(server, target, limits=limits)

    assert time.monotonic() - began >= 0.3
    assert server.connections == limits.refusals == 3


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content", "304 Not Modified", "400 Bad", "418 Tea"])
def test_an_answer_we_do_not_know_is_not_a_file(status: str, target: Path) -> None:
    with RawServer(answers(status)) as server, pytest.raises(UnexpectedResponseError) as caught:
        fetch(server, target)

    assert server.connections == 1
    assert_paid_and_kept_out_of_sight(caught.value, target)


def _endless(connection: Connection) -> None:
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.send(bytes(65_536))


@pytest.mark.parametrize("script", [whole, chunked, _endless], ids=["announced", "chunked", "endless"])
def test_too_large_is_said_at_once(script: Callable[[Connection], None], target: Path) -> None:
    limits = DownloadLimits(deadline_s=10, max_bytes=len(BODY) - 1)
    with RawServer(script) as server, pytest.raises(UnexpectedResponseError, match=r"too large.*2999999") as caught:
        fetch(server, target, limits=limits)

    assert server.connections == 1
    assert_paid_and_kept_out_of_sight(caught.value, target)


def test_exactly_the_largest_size_is_fine(target: Path) -> None:
    with RawServer(chunked) as server:
        assert fetch(server, target, limits=DownloadLimits(deadline_s=10, max_bytes=len(BODY))).size_bytes == len(BODY)


def test_a_byte_at_a_time_is_too_slow(target: Path) -> None:
    """A read timeout would never end it: it starts again with each byte."""
    limits = DownloadLimits(deadline_s=60, floor_bytes_per_s=1_000, floor_grace_s=0.3, attempts=1)
    began = time.monotonic()
    with RawServer(drip) as server, pytest.raises(ProviderUnavailableError, match="less than 1000 bytes/s") as caught:
        fetch(server, target, limits=limits)

    assert time.monotonic() - began < 5
    assert_paid_and_kept_out_of_sight(caught.value, target)


@pytest.mark.parametrize("script", [silent, lambda connection: connection.wait()], ids=["no-head", "no-read"])
def test_a_server_that_says_nothing_is_left(script: Callable[[Connection], None], target: Path) -> None:
    limits = DownloadLimits(deadline_s=60, floor_grace_s=0.1, connect_s=0.5, attempts=2, first_wait_s=0.01)
    with RawServer(script) as server, pytest.raises(ProviderUnavailableError, match="did not answer in time") as caught:
        fetch(server, target, limits=limits)

    assert server.connections == 2
    assert_paid_and_kept_out_of_sight(caught.value, target)


def test_the_deadline_covers_all_attempts(target: Path) -> None:
    limits = DownloadLimits(deadline_s=0.5, attempts=1_000, first_wait_s=0.01, longest_wait_s=0.02, floor_grace_s=5)
    began = time.monotonic()
    said = r"within 0\.5 s; the last attempt: .* answered 503"
    script = scripts(answers("503 Busy"), silent)
    with RawServer(script) as server, pytest.raises(ProviderUnavailableError, match=said) as caught:
        fetch(server, target, limits=limits)

    assert time.monotonic() - began < 3
    assert_paid_and_kept_out_of_sight(caught.value, target)


@pytest.mark.parametrize("hint", ["0.3", "date"])
def test_retry_after_is_waited_for(hint: str, target: Path) -> None:
    value = formatdate(time.time() + 3, usegmt=True) if hint == "date" else hint
    limits = DownloadLimits(deadline_s=10, first_wait_s=0.0, longest_wait_s=0.3)
    began = time.monotonic()
    with RawServer(scripts(answers("429 No", headers=f"Retry-After: {value}\r\n"), whole)) as server:
        fetch(server, target, limits=limits)

    assert 0.29 < time.monotonic() - began < 3


def test_a_wait_beyond_the_deadline_is_not_begun(target: Path) -> None:
    limits = DownloadLimits(deadline_s=5, longest_wait_s=600)
    began = time.monotonic()
    script = answers("503 No", headers="Retry-After: 300\r\n")
    with RawServer(script) as server, pytest.raises(ProviderUnavailableError, match="answered 503"):
        fetch(server, target, limits=limits)

    assert time.monotonic() - began < 3
    assert server.connections == 1


def test_nobody_there(target: Path) -> None:
    base = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(ProviderUnavailableError, match="ConnectError") as caught:
        asyncio.run(download(f"{base}/?{SECRET}", target, allowed=Allowed.of([base], []), limits=LIMITS))

    assert_paid_and_kept_out_of_sight(caught.value, target)


def test_what_was_there_before_is_replaced(target: Path) -> None:
    target.write_bytes(bytes(2 * len(BODY)))
    with RawServer(whole) as server:
        fetch(server, target)

    assert target.read_bytes() == BODY


def test_no_url_reaches_a_log(caplog: pytest.LogCaptureFixture, target: Path) -> None:
    caplog.set_level(logging.DEBUG)
    elsewhere = answers("302 Found", headers=f"Location: /y?sig={SECRET}\r\n")
    with RawServer(scripts(answers("503 Busy", headers=f"X: {SECRET}\r\n"), elsewhere, whole)) as server:
        fetch(server, target, headers_for=lambda _: {"Authorization": SECRET})

    assert server.connections == 3
    assert SECRET not in caplog.text
    assert [one.name for one in caplog.records if one.name.startswith(("httpx", "httpcore"))] == []
