"""Which addresses a name may have: those of the public internet, and of a loopback base those of loopback."""

import asyncio
from ipaddress import ip_address

import pytest

from media_assets.errors import UnexpectedResponseError
from media_assets.providers.transport.addresses import Allowed, is_public, look_up, resolve

ALLOWED = Allowed.of([], ["files.example.test"])

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "2606:4700::1111",
    "2001:4860:4860::8888",
]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


def _answering(*addresses: str) -> list[str]:
    async def resolver(host: str, port: int) -> list[str]:
        assert (host, port) == ("files.example.test", 443)
        return list(addresses)

    return [str(one) for one in asyncio.run(resolve(ALLOWED.check("https://files.example.test/x"), resolver))]


def test_public_addresses_are_used_in_their_order() -> None:
    assert _answering(*PUBLIC) == PUBLIC
    assert all(is_public(ip_address(one)) for one in PUBLIC)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_one_address_off_the_public_internet_refuses_them_all(address: str) -> None:
    """Half a forged answer is a forged answer."""
    with pytest.raises(UnexpectedResponseError, match=r"files\.example\.test is not followed.*public internet"):
        _answering("1.1.1.1", address)


def test_an_answer_that_is_no_address_is_refused() -> None:
    with pytest.raises(UnexpectedResponseError, match="not followed"):
        _answering("localhost")


def test_no_address_at_all_is_a_fault_of_the_look_up() -> None:
    with pytest.raises(OSError, match=r"files\.example\.test has no address"):
        _answering()


@pytest.mark.parametrize(
    ("answer", "fits"), [("127.0.0.1", True), ("::1", True), ("1.1.1.1", False), ("10.0.0.1", False)]
)
def test_a_loopback_base_stays_on_loopback(answer: str, *, fits: bool) -> None:
    """A hosts file can send localhost anywhere."""

    async def resolver(host: str, port: int) -> list[str]:
        assert (host, port) == ("localhost", 80)
        return [answer]

    target = Allowed.of(["http://localhost/v1"], []).check("http://localhost/x")
    if fits:
        assert asyncio.run(resolve(target, resolver)) == [ip_address(answer)]
        return
    with pytest.raises(UnexpectedResponseError, match="not loopback"):
        asyncio.run(resolve(target, resolver))


def test_an_address_in_a_base_url_needs_no_look_up() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        message = "asked"
        raise AssertionError(message)

    target = Allowed.of(["http://[::1]:8765"], []).check("http://[0:0::1]:8765/x")

    assert asyncio.run(resolve(target, resolver)) == [ip_address("::1")]
    assert (target.host_header, target.url_at(ip_address("::1"))) == ("[::1]:8765", "http://[::1]:8765/x")


def test_the_systems_resolver_is_asked() -> None:
    found = asyncio.run(look_up("localhost", 80))

    assert found
    assert all(ip_address(one).is_loopback for one in found)
    assert len(found) == len(set(found))
