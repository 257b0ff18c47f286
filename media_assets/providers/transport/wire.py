"""One HTTP exchange: a call goes out once, and a whole reply comes back, or the word on whether anything left.

Whether a submit may be sent again hangs on that word, so it is not read from exception types alone: the HTTP library
tells of each stage of a request, and nothing has left only while it has told of connecting and of nothing else.
"""

import asyncio
import contextlib
import functools
import io
import json
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from media_assets.crash_points import crash_point
from media_assets.errors import ConfigurationError
from media_assets.providers.base import HttpCall, HttpReply
from media_assets.providers.transport.quiet import quietly
from media_assets.providers.transport.reply_body import BodyError, Pace, TooLargeError, read_body
from media_assets.providers.transport.stages import HeldBackError, Stages

USER_AGENT = "media-assets"

_OURS_ALONE = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})
"""Headers that say how a message is framed and routed; a caller that could set them could break both."""

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"([\x21-\x7e]+([ \t]+[\x21-\x7e]+)*)?")

_LONGEST_REASON = 200
_LAST_PORT = 65_535


class NotSentError(Exception):
    """Nothing of the call has left: it may be sent again without a second thought."""


class ReplyLostError(Exception):
    """The call, or a part of it, may have left, and no whole reply came back: a submit must not be sent again."""

    def __init__(self, message: str, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The status, where the head of a reply came."""
        self.headers = headers or {}
        """The reply's headers, where they came, with names in lower case: the provider's request id may be there."""

    @property
    def is_success(self) -> bool:
        """Whether the head of a reply came, and is a 2xx."""
        return self.status is not None and httpx.codes.is_success(self.status)


class ReplyTooLargeError(ReplyLostError):
    """A reply came, and was given up because its body is larger than is taken."""


@dataclass(frozen=True, kw_only=True)
class ExchangeLimits:
    """How long and how much."""

    deadline_s: float
    """Seconds for everything, from the look-up of the name to the last byte."""
    body_s: float = 0.0
    """Seconds that the body of a 2xx may take from its head on, where that is later than the deadline: whatever it
    holds is paid for by then."""
    connect_s: float = 10.0
    max_bytes: int = 64_000_000
    floor_bytes_per_s: float = 100.0
    """The slowest that a body may come once it has begun."""
    floor_grace_s: float = 30.0


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Raised before a connection stands; every other error may come after, as far as one can know."""


@dataclass
class _Watch:
    """What is known of one exchange when it fails."""

    where: str
    stages: Stages
    deadline: asyncio.Timeout
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    late: str = ""
    """What is said when the deadline passes."""

    def failure(self, reason: str, error: Exception | None = None) -> NotSentError | ReplyLostError:
        """Return what a failure means; what nobody told us of counts as sent."""
        unsent = self.stages.connecting or isinstance(error, _NEVER_SENT)
        if unsent and not self.stages.may_have_left:
            return NotSentError(f"{self.where} was not sent: {reason}")
        kind = ReplyTooLargeError if isinstance(error, TooLargeError) else ReplyLostError
        message = f"{self.where} may have been sent, and no whole reply came: {reason}"
        return kind(message, status=self.status, headers=self.headers)

    def wait_for_body(self, seconds: float) -> None:
        """Give the body some time of its own."""
        until = asyncio.get_running_loop().time() + seconds
        if until > (self.deadline.when() or until):
            self.deadline.reschedule(until)
            self.late = f"its body did not come within {seconds:g} s"


async def exchange(
    call: HttpCall,
    *,
    headers: Mapping[str, str],
    limits: ExchangeLimits,
    client: httpx.AsyncClient | None = None,
    before_sending: Callable[[], None] | None = None,
    is_submit: bool = False,
    verify: ssl.SSLContext | None = None,
) -> HttpReply:
    """Send a call once and read its reply, whatever its status. A submit **costs money**.

    Redirects are not followed and cookies not kept. A proxy is not used, even where the environment names one: it
    would see keys and could answer in the provider's place. A body longer than its ``Content-Length`` ends there
    (RFC 9112 §6.3): the reply is whole, and the rest is dropped with the connection.

    Args:
        call: What to send; its own headers give way to ``headers``.
        headers: What is added, credentials above all; never in an error or a log.
        limits: How long and how much.
        client: A shared one from :func:`make_client`, for calls that may be repeated. Without it the call goes over
            a connection of its own, so that no connection that died idle makes a submit's outcome unknown.
        before_sending: Called when the connection stands, right before the first byte leaves; if it raises, nothing
            has left. Called again before the body: if it raises only then, the body stays here, and the reply counts
            as lost. A shared connection that already stands does not change that.
        is_submit: Whether it is the call that spends: its stages are crash points.
        verify: Which certificates to trust; certifi's without it. Ignored with ``client``.

    Raises:
        NotSentError: Nothing left this machine.
        ReplyLostError: Something may have left; a ``ReplyTooLargeError`` where a reply came and is too large.
        ConfigurationError: The call cannot be written as HTTP; nothing left.
    """
    request = _Outgoing.of(call, headers, closing=client is None)
    del headers  # some reporters of errors show the variables of every frame, and here is the key
    where, late = f"{call.method} to {_host_of(call.url)}", f"the deadline of {limits.deadline_s:g} s has passed"
    watch = _Watch(where, Stages(before_sending, is_submit=is_submit), asyncio.timeout(limits.deadline_s), late=late)
    if is_submit:
        crash_point("post.before_connect")
    try:
        with quietly():
            async with (
                watch.deadline,
                contextlib.nullcontext(client) if client else fresh_client(verify) as sender,
            ):
                return await _send(sender, request, limits, watch)
    # Without the cause: it holds the request, with its URL and its key.
    except TimeoutError:
        raise watch.failure(watch.late) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, BodyError, HeldBackError) as error:
        raise watch.failure(reason_of(error), error) from None
    finally:
        await watch.stages.close_half_open()


@functools.cache
def _certificates() -> ssl.SSLContext:
    # Read once: it takes tens of milliseconds, and a fresh connection must not pay that each time.
    return httpx.create_ssl_context(trust_env=False)


def fresh_client(verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """Return a client for one request over one connection of its own."""
    return _client(verify, httpx.Limits(max_connections=1, max_keepalive_connections=0))


def make_client(
    *, max_connections: int = 20, keepalive_s: float = 30.0, verify: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    """Return a client that keeps connections open, for calls that may be repeated; its owner closes it.

    Args:
        max_connections: Connections at the same time; further calls wait for one, at most their ``connect_s``.
        keepalive_s: Seconds after which an idle connection is not used again.
        verify: Which certificates to trust; certifi's without it.
    """
    limits = httpx.Limits(
        max_connections=max_connections, max_keepalive_connections=max_connections, keepalive_expiry=keepalive_s
    )
    return _client(verify, limits)


def _client(verify: ssl.SSLContext | None, limits: httpx.Limits) -> httpx.AsyncClient:
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return httpx.AsyncClient(
        event_hooks={"response": [_put_location_aside]},
        verify=verify or _certificates(),
        http1=True,
        http2=False,
        trust_env=False,
        follow_redirects=False,
        limits=limits,
        cookies=no_cookies,
        headers={"user-agent": USER_AGENT, "accept-encoding": "identity"},
    )


async def _put_location_aside(response: httpx.Response) -> None:
    # httpx prepares the next request of a redirect even where it follows none, and fails on a Location it cannot read:
    # a whole reply would be lost.
    if "location" in response.headers:
        response.extensions["location"] = response.headers.pop("location")


def headers_of(response: httpx.Response) -> dict[str, str]:
    """Return the headers of a reply to one of our clients, with names in lower case."""
    aside = {"location": response.extensions["location"]} if "location" in response.extensions else {}
    return {**dict(response.headers.items()), **aside}


def reason_of(error: Exception) -> str:
    """Return what went wrong in few words, without the bytes of a broken reply that httpx quotes after a colon."""
    text = str(error)
    if isinstance(error, httpx.ProtocolError):
        text = text.partition(":")[0]
    return f"{text[:_LONGEST_REASON]} ({type(error).__name__})".strip()


def check_headers(headers: Mapping[str, str]) -> None:
    """Check headers before anything is sent; names and values may hold printable ASCII only.

    Raises:
        ConfigurationError: One cannot be sent, most often a key with a line break; the value is not in the message.
        ValueError: One is ours to set.
    """
    for name, value in headers.items():
        if name.lower() in _OURS_ALONE:
            message = f"a call may not set the header {name}"
            raise ValueError(message)
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            message = (
                f"the header {name[:_LONGEST_REASON]!r} cannot be sent: it holds characters that HTTP does not allow. "
                "If it carries a key, look for a line break, a space or a typographic character in the key."
            )
            raise ConfigurationError(message)


def _host_of(url: str) -> str:
    """Return the host of a URL that can be connected to.

    Raises:
        NotSentError: It is none; the library would fail on some of them in ways that nobody catches.
    """
    try:
        parsed = httpx.URL(url)
        usable = (
            parsed.scheme in {"http", "https"}
            and _HOST.fullmatch(parsed.raw_host) is not None
            and (parsed.port or 1) <= _LAST_PORT
        )
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        message = "the call was not sent: its address is no http or https URL"
        raise NotSentError(message)
    return parsed.host


@dataclass(frozen=True, kw_only=True)
class _Outgoing:
    """A call, written out as far as can be without a connection."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    """The arguments of httpx that hold the body."""

    @classmethod
    def of(cls, call: HttpCall, added: Mapping[str, str], *, closing: bool) -> "_Outgoing":
        headers = {name.lower(): value for given in (call.headers, added) for name, value in given.items()}
        check_headers(headers)
        body = _body_of(call)
        if "files" in body:
            headers.pop("content-type", None)  # httpx writes it, with the boundary
        elif call.json_body is not None:
            headers.setdefault("content-type", "application/json")
        if closing:
            headers["connection"] = "close"
        return cls(method=call.method, url=call.url, headers=headers, body=body)


def _body_of(call: HttpCall) -> dict[str, Any]:
    if sum((call.json_body is not None, call.content is not None, bool(call.parts))) > 1:
        message = "a call has at most one body"
        raise ValueError(message)
    if call.json_body is not None:
        return {"content": _as_json(call.json_body)}
    if call.parts:
        return {"files": [(part.name, (part.filename, part.content, part.content_type)) for part in call.parts]}
    return {"content": call.content} if call.content is not None else {}


def _as_json(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        # Python would write NaN and lone surrogates; they are no JSON, and each provider reads them in its own way.
        message = f"the request cannot be written as JSON ({type(error).__name__}): look for NaN or broken text in it."
        raise ConfigurationError(message) from None


async def _send(client: httpx.AsyncClient, call: _Outgoing, limits: ExchangeLimits, watch: _Watch) -> HttpReply:
    request = client.build_request(
        call.method,
        call.url,
        headers=call.headers,
        # Reading and writing are held by the deadline and the byte-rate floor.
        timeout=httpx.Timeout(None, connect=limits.connect_s, pool=limits.connect_s),
        extensions={"trace": watch.stages.trace},
        **call.body,
    )
    response = await client.send(request, stream=True)
    pace = Pace(floor_bytes_per_s=limits.floor_bytes_per_s, grace_s=limits.floor_grace_s, from_first_byte=True)
    async with (
        contextlib.aclosing(response),
        contextlib.aclosing(read_body(response, pace=pace, max_bytes=limits.max_bytes)) as pieces,
    ):
        watch.status, watch.headers = response.status_code, headers_of(response)
        if response.is_success:
            watch.wait_for_body(limits.body_s)
        body = io.BytesIO()  # hands its bytes out without another copy, which a bytearray does not
        async for piece in pieces:
            body.write(piece)
    return HttpReply(status=watch.status, headers=watch.headers, body=body.getvalue())
