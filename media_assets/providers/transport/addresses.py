"""Which addresses are asked at all: base URLs are the user's word, every other URL is a stranger's.

A provider's reply names URLs to download from, and a redirect names more. They are followed only over https, to the
provider's known hosts, and only where those hosts really are on the public internet: otherwise a forged or hacked
reply could make this machine read its own network (SSRF). Names are looked up once, here, and the connection goes to
the address that was checked, so that a second look-up cannot give another answer (DNS rebinding).

A loopback base URL (the simulator, a local proxy) is the one exception: its own scheme, host and port are allowed.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, NoReturn, Self

from media_assets.errors import ConfigurationError, UnexpectedResponseError

Address = IPv4Address | IPv6Address

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Looks up a host for a port; returns IP addresses, or raises OSError."""

_LONGEST_URL = 16_384
_DEFAULT_PORTS = {"http": 80, "https": 443}

_NAMED_SCHEMES = ("blob", "data", "file", "ftp", "gs", "javascript", "s3")

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?P<fragment>#.*)?")
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[^:\[\]%]{1,1000}))(?P<port>:[0-9]{1,5})?")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMERIC_END = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
"""A last label that old resolvers read as part of an IPv4 address: 127.1, 2130706433, 0x7f000001, 0177.0.0.1."""

_NOT_PUBLIC = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata there
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: holds an IPv4 address of anybody's choice
        "3fff::/20",
    )
)
"""IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890; as of 2024-10-22), which the standard library follows
differently from one Python to the next. Where the registry allows a part of a block, we still refuse the block."""

_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_IPV6_UNICAST = ip_network("2000::/3")
"""All that IANA has given out for hosts; mapped, NAT64 (64:ff9b::), unique local and link-local are outside of it."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a checked URL leads, taken apart once, so that nobody has to read the URL a second time in another way."""

    scheme: str
    host: str
    """In lower case, as ASCII, without a trailing dot; an IPv6 address has no brackets."""
    port: int
    path: str = field(default="/", repr=False)
    """Path and query, as given; may be signed."""
    is_loopback_base: bool = False

    @property
    def host_header(self) -> str:
        """What the ``Host`` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def url_at(self, address: Address) -> str:
        """Return the URL with the address in the place of the host."""
        host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class _RefusedError(ValueError):
    """Why a URL is not used; worded to follow a colon, without anything secret."""


class _Parts(NamedTuple):
    scheme: str
    host: str
    port: int
    rest: str
    fragment: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


def check_base_url(setting: str, url: str) -> None:
    """Check a base URL that the user has set.

    Args:
        setting: Its name, for the message.
        url: https with any host, or http with a loopback host; a path prefix is fine.

    Raises:
        ConfigurationError: Anything else; the message holds no part of the URL but its host.
    """
    try:
        parts = _parts(url)
        if "?" in parts.rest or parts.fragment:
            _refuse("it has a query or a fragment")
        if parts.scheme == "http" and not _is_loopback(parts.host):
            _refuse(f"http to {parts.host} would send the key in the clear")
    except _RefusedError as error:
        message = f"{setting} cannot be used: {error}. Give https://HOST[:PORT][/PREFIX], or http for a loopback host."
        raise ConfigurationError(message) from None


def same_origin(url: str, base_url: str) -> bool:
    """Whether two URLs have the same scheme, host and port: only where they have does a key go along."""
    try:
        return _parts(url).origin == _parts(base_url).origin
    except _RefusedError:
        return False


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Where outputs may be downloaded from."""

    origins: frozenset[tuple[str, str, int]]
    """Scheme, host and port of the loopback base URLs."""
    hosts: frozenset[str]
    parents: frozenset[str]
    """Names whose subdomains are allowed, at any depth; not the names themselves."""

    @classmethod
    def of(cls, base_urls: Iterable[str], hosts: Iterable[str]) -> Self:
        """Build from an adapter's base URLs and output hosts.

        Args:
            base_urls: Checked ones; only those on loopback open anything.
            hosts: ``host``, or ``*.host`` for its subdomains.

        Raises:
            ValueError: One of them is no URL or no name.
        """
        bases = [_parts(url) for url in base_urls]
        names = list(hosts)
        return cls(
            origins=frozenset(base.origin for base in bases if _is_loopback(base.host)),
            hosts=frozenset(_name(name) for name in names if not name.startswith("*.")),
            parents=frozenset(_name(name[2:]) for name in names if name.startswith("*.")),
        )

    def check(self, url: str) -> Target:
        """Return where a provider's URL leads, if it may be followed.

        Raises:
            UnexpectedResponseError: It may not; the message holds no part of the URL but scheme, host and port.
        """
        try:
            parts = _parts(url)
            if parts.fragment:
                _refuse(f"it has a fragment, at {parts.host}")
            known = parts.origin in self.origins
            if not known:
                self._check_stranger(parts)
        except _RefusedError as error:
            message = f"the provider named an address that is not followed: {error}"
            raise UnexpectedResponseError(message) from None
        path = parts.rest if parts.rest.startswith("/") else f"/{parts.rest}"
        return Target(scheme=parts.scheme, host=parts.host, port=parts.port, path=path, is_loopback_base=known)

    def _check_stranger(self, parts: _Parts) -> None:
        if parts.scheme != "https":
            _refuse(f"it is http, not https, at {parts.host}")
        if _as_address(parts.host) is not None:
            _refuse(f"{parts.host} is an IP address, not a name")
        if parts.port != _DEFAULT_PORTS["https"]:
            _refuse(f"port {parts.port} of {parts.host} is not 443")
        labels = parts.host.split(".")
        if parts.host not in self.hosts and not self.parents & {
            ".".join(labels[number:]) for number in range(1, len(labels))
        }:
            _refuse(f"{parts.host} is no known host for this provider's outputs")


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def resolve(target: Target, resolver: Resolver = look_up) -> list[Address]:
    """Return the addresses of a target, each fit to be connected to.

    Raises:
        UnexpectedResponseError: One of them is not on the public internet (for a loopback base: not loopback).
        OSError: The name cannot be looked up.
    """
    literal = _as_address(target.host)
    found = [str(literal)] if literal is not None else await resolver(target.host, target.port)
    if not found:
        message = f"{target.host} has no address"
        raise OSError(message)
    addresses = [_as_address(text) for text in found]
    fit = [one for one in addresses if one and (one.is_loopback if target.is_loopback_base else is_public(one))]
    if len(fit) < len(found):
        message = (
            f"{target.host} is not followed: one of its addresses is not "
            f"{'loopback' if target.is_loopback_base else 'on the public internet'}. "
            "Check this machine's DNS; a rerun tries again."
        )
        raise UnexpectedResponseError(message)
    return fit


def is_public(address: Address) -> bool:
    """Whether an address is one of a host on the public internet, by our own table."""
    if isinstance(address, IPv6Address) and address not in _IPV6_UNICAST:
        return False
    return not any(address in block for block in _NOT_PUBLIC)


def _parts(url: str) -> _Parts:
    """Take a URL apart strictly: what two readers could read in two ways is refused."""
    if len(url) > _LONGEST_URL:
        _refuse(f"it has more than {_LONGEST_URL} characters")
    if "\\" in url or " " in url or not url.isprintable():
        _refuse("it holds a space, a backslash or a control character")
    match = _URL.fullmatch(url)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _DEFAULT_PORTS:
        # "data:" and "file:" are worth naming; anything else could be the beginning of a secret.
        known = next((one for one in _NAMED_SCHEMES if url.lower().startswith(f"{one}:")), None)
        _refuse(f"{known}: is not https" if known else "it is no https URL")
    if "@" in match["authority"]:
        _refuse("it holds a user name")
    authority = _AUTHORITY.fullmatch(match["authority"])
    if authority is None:
        _refuse("it has no valid host and port")
    port = int(authority["port"][1:]) if authority["port"] else _DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65_535:  # noqa: PLR2004 - the ports there are
        _refuse(f"there is no port {port}")
    host = _v6(authority["v6"]) if authority["v6"] else _name(authority["name"])
    return _Parts(scheme, host, port, match["rest"], match["fragment"] or "")


def _v6(text: str) -> str:
    address = _as_address(text)
    if address is None:
        _refuse("it has no valid host and port")
    return str(address)


def _name(host: str) -> str:
    """Return a host name or IPv4 address in the one form that is compared and connected to."""
    try:
        # IDNA folds case, full-width letters and other dots; what is asked for is the folded name, never the original.
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        name = ""
    if not _NAME.fullmatch(name):
        _refuse("its host is no valid name")
    if _NUMERIC_END.fullmatch(name) and _as_address(name) is None:
        _refuse(f"{name} is an odd form of an IP address")
    return name


def _as_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _as_address(host)
    return host == "localhost" if address is None else any(address in block for block in _LOOPBACK)


def _refuse(reason: str) -> NoReturn:
    raise _RefusedError(reason)
