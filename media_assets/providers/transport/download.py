"""Bringing a finished output to this machine: guarded, hashed while it streams, tried again while that can help.

By now the output is paid for. So every failure says ``billed`` yes, and a rerun goes on where this one stopped, except
where the provider no longer has the file.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from media_assets.crash_points import crash_point
from media_assets.errors import (
    Billed,
    OutputLostError,
    ProviderUnavailableError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.media.sniff import HEAD_BYTES
from media_assets.providers.transport.addresses import Address, Allowed, Resolver, Target, look_up, resolve
from media_assets.providers.transport.hashed_file import HashedFile
from media_assets.providers.transport.quiet import quietly
from media_assets.providers.transport.reply_body import BodyError, Pace, TooLargeError, read_body
from media_assets.providers.transport.retry_after import wait_s
from media_assets.providers.transport.stages import Stages
from media_assets.providers.transport.wire import check_headers, fresh_client, headers_of, reason_of

_GONE = 410
_REFUSED = frozenset({401, 403, 404})
"""Of a file that expired or was removed, and of one that is so fresh that it is not everywhere yet."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 425, 429})
_SERVER_ERROR = 500

_ADDRESSES_TRIED = 4
"""Of one host, in one attempt: enough for a broken IPv6 and a dead server."""

Objection = Callable[[bytes], str | None]
"""Says of a file's first ``HEAD_BYTES`` why they are of no file; the sentence lacks its subject."""

_RERUN = "Run again: it is fetched then, and nothing is bought twice."


@dataclass(frozen=True, kw_only=True)
class DownloadLimits:
    """How long, how much and how often."""

    deadline_s: float
    """Seconds for everything, waits between attempts included."""
    max_bytes: int = 2_000_000_000
    floor_bytes_per_s: float = 10_000.0
    """An attempt whose body comes more slowly than this over ``floor_grace_s`` is given up."""
    floor_grace_s: float = 20.0
    connect_s: float = 10.0
    max_redirects: int = 3
    attempts: int = 5
    refusals: int = 3
    """Times that a file is refused (401, 403, 404) before it counts as lost."""
    first_wait_s: float = 0.5
    """Before the second attempt, at most: the waits are random, and their bound doubles each time."""
    longest_wait_s: float = 20.0
    """Also the longest wait that a provider may ask for."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """A file that came whole."""

    path: Path
    sha256: str
    size_bytes: int
    content_type: str
    """As the server said, in lower case without parameters; empty if it did not. Never to be believed."""


def no_objection(head: bytes) -> str | None:
    """Take a file however it begins."""
    del head
    return None


def no_headers(host: str) -> Mapping[str, str]:
    """Send no credentials to anybody."""
    del host
    return {}


async def download(
    url: str,
    target: Path,
    *,
    allowed: Allowed,
    headers_for: Callable[[str], Mapping[str, str]] = no_headers,
    limits: DownloadLimits,
    refuse: Objection = no_objection,
    resolver: Resolver = look_up,
    verify: ssl.SSLContext | None = None,
) -> Downloaded:
    """Download a finished output to ``target``, which is there only if this returns. Free of charge.

    Each hop, the first and every redirect, is checked against ``allowed``, looked up once, and connected to at the
    very address that was checked. No proxy is used. The file is not synced: the store does that with its own copy.

    Args:
        url: From a provider's reply; may be signed, and is never in a message or a log.
        target: A file in a folder of this purchase alone; what is there is overwritten.
        allowed: Where outputs of this provider may come from.
        headers_for: Returns the credentials for a host; asked for each hop, and only for hosts that are allowed.
        limits: How long, how much and how often.
        refuse: Says of a body's first bytes why they are of no file, if so; then it is tried again.
        resolver: Looks up host names.
        verify: Which certificates to trust; certifi's without it.

    Raises:
        OutputLostError: The provider no longer has it (410), or refuses it time and again (401, 403, 404).
        UnexpectedResponseError: The address is not followed, there are too many redirects, the file is too large, or
            the answer is one we do not know, or is refused time and again.
        ProviderUnavailableError: It could not be had in time, or in as many attempts as there were.
        StorageError: It cannot be written.
        ConfigurationError: The credentials cannot be written as HTTP headers.
    """
    one = _Download(
        target,
        allowed=allowed,
        headers_for=headers_for,
        limits=limits,
        refuse=refuse,
        resolver=resolver,
        verify=verify,
    )
    try:
        with quietly():
            async with asyncio.timeout(limits.deadline_s):
                return await one.run(url)
    except TimeoutError:
        message = f"a finished output did not arrive within {limits.deadline_s:g} s{one.last_fault}. {_RERUN}"
        raise ProviderUnavailableError(message, rerun=Rerun.RESUME, billed=Billed.YES) from None
    except UnexpectedResponseError as error:
        error.billed = Billed.YES
        raise


class _AgainError(Exception):
    """An attempt that failed in a way another may not."""

    def __init__(self, reason: str, *, hint_s: float | None = None) -> None:
        super().__init__(reason)
        self.hint_s = hint_s


class _RefusedError(_AgainError):
    """The file was refused, as one is that is gone."""


class _NoFileError(_AgainError):
    """What came is no file."""


class _Download:
    """One download, through all its attempts."""

    def __init__(
        self,
        target: Path,
        *,
        allowed: Allowed,
        headers_for: Callable[[str], Mapping[str, str]],
        limits: DownloadLimits,
        refuse: Objection,
        resolver: Resolver,
        verify: ssl.SSLContext | None,
    ) -> None:
        self._target = target
        self._allowed = allowed
        self._headers_for = headers_for
        self._limits = limits
        self._refuse = refuse
        self._resolver = resolver
        self._verify = verify
        self._jitter = wait_random_exponential(multiplier=limits.first_wait_s, max=limits.longest_wait_s)
        self._refusals = 0
        self.last_fault = ""

    async def run(self, url: str) -> Downloaded:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_AgainError),
            wait=self._wait,
            # A wait that would end after the deadline is not begun: the fault is known now.
            stop=stop_after_attempt(self._limits.attempts) | stop_before_delay(self._limits.deadline_s),
            reraise=True,
        )
        try:
            return await retrying(self._attempt, url)
        except _RefusedError as error:
            raise OutputLostError(str(error)) from None
        except _NoFileError as error:
            message = f"{error}. {_RERUN}"
            raise UnexpectedResponseError(message) from None
        except _AgainError as error:
            message = f"a finished output could not be downloaded: {error}. {_RERUN}"
            raise ProviderUnavailableError(message, rerun=Rerun.RESUME, billed=Billed.YES) from None

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        hint_s = error.hint_s if isinstance(error, _AgainError) else None
        return max(self._jitter(state), hint_s or 0.0)

    async def _attempt(self, url: str) -> Downloaded:
        try:
            return await self._follow(url)
        except _RefusedError as error:
            self._refusals += 1
            if self._refusals >= self._limits.refusals:
                raise OutputLostError(str(error)) from None
            error.hint_s = self._limits.first_wait_s * 2 ** (self._refusals - 1)
            self.last_fault = f"; the last attempt: {error}"
            raise
        except _AgainError as error:
            self.last_fault = f"; the last attempt: {error}"
            raise

    async def _follow(self, url: str) -> Downloaded:
        for _ in range(self._limits.max_redirects + 1):
            target = self._allowed.check(url)
            try:
                addresses = await resolve(target, self._resolver)
            except OSError as error:
                message = f"{target.host} could not be looked up ({type(error).__name__})"
                raise _AgainError(message) from None
            found = await self._ask(target, addresses)
            if isinstance(found, Downloaded):
                return found
            url = _joined(url, found, target.host)
        message = f"a finished output was redirected more than {self._limits.max_redirects} times"
        raise UnexpectedResponseError(message)

    async def _ask(self, target: Target, addresses: list[Address]) -> Downloaded | str:
        """Return the file, or the address of a redirect."""
        try:
            async with fresh_client(self._verify) as client:
                response = await self._connect(client, target, addresses)
                async with contextlib.aclosing(response):
                    _refuse_failure(target.host, response, self._limits.longest_wait_s)
                    if response.status_code in _REDIRECTS:
                        return headers_of(response).get("location", "")
                    return await self._receive(target, response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, BodyError) as error:
            # Without the cause: it holds the request, with its URL and its credentials.
            message = f"{target.host}: {reason_of(error)}"
            raise _AgainError(message) from None

    async def _connect(self, client: httpx.AsyncClient, target: Target, addresses: list[Address]) -> httpx.Response:
        """Return the reply's head, from the first address that answers."""
        credentials = self._headers_for(target.host)
        check_headers(credentials)
        headers = {**credentials, "host": target.host_header, "connection": "close"}
        failed: httpx.HTTPError | None = None
        for address in addresses[:_ADDRESSES_TRIED]:
            stages = Stages()
            request = client.build_request(
                "GET",
                target.url_at(address),
                headers=headers,
                timeout=httpx.Timeout(None, connect=self._limits.connect_s),
                # The name for the certificate, since the URL has the address.
                extensions={"sni_hostname": target.host, "trace": stages.trace},
            )
            try:
                async with asyncio.timeout(self._limits.connect_s + self._limits.floor_grace_s):
                    return await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
            except TimeoutError:
                message = f"{target.host} did not answer in time"
                raise _AgainError(message) from None
            finally:
                await stages.close_half_open()
        raise failed or httpx.ConnectError("no address to try")

    async def _receive(self, target: Target, response: httpx.Response) -> Downloaded:
        pace = Pace(floor_bytes_per_s=self._limits.floor_bytes_per_s, grace_s=self._limits.floor_grace_s)
        file = HashedFile(self._target)
        head = bytearray()
        try:
            await file.open()
            async with contextlib.aclosing(read_body(response, pace=pace, max_bytes=self._limits.max_bytes)) as pieces:
                async for piece in pieces:
                    head += piece[: HEAD_BYTES - len(head)]
                    await file.add(piece)
                    crash_point("dl.first_byte")
            if why := self._refuse(bytes(head)):
                message = f"what {target.host} sent in the place of a finished output {why}"
                raise _NoFileError(message)
            await file.finish()
        except TooLargeError as error:
            message = f"a finished output at {target.host} is too large to be fetched: {error}."
            raise UnexpectedResponseError(message) from None
        finally:
            await file.discard_unless_finished()
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Downloaded(path=self._target, sha256=file.sha256, size_bytes=file.size_bytes, content_type=content_type)


def _joined(url: str, location: str, host: str) -> str:
    try:
        if location:
            return urljoin(url, location)
    except ValueError:  # a bracket that does not close
        pass
    message = f"{host} redirects a finished output without saying where to"
    raise UnexpectedResponseError(message)


def _refuse_failure(host: str, response: httpx.Response, cap_s: float) -> None:
    """Raise unless the reply is a file or a redirect."""
    status = response.status_code
    if status == _GONE or status in _REFUSED:
        message = (
            f"{host} answered {status} when asked for a finished output: its address has expired, or the file was "
            "removed. It is paid for; whether to buy it again is for you to decide."
        )
        raise OutputLostError(message) if status == _GONE else _RefusedError(message)
    if status in _TRY_AGAIN or status >= _SERVER_ERROR:
        hint_s = wait_s(response.headers, None, now=datetime.now(UTC), cap_s=cap_s)
        message = f"{host} answered {status}"
        raise _AgainError(message, hint_s=hint_s)
    if status != HTTPStatus.OK and status not in _REDIRECTS:
        message = (
            f"{host} answered {status} when asked for a finished output, which this version does not know. {_RERUN}"
        )
        raise UnexpectedResponseError(message)
