"""Where a download goes: never anywhere but to the provider's own hosts on the public internet, whoever asks."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from media_assets.errors import Billed, ProviderUnavailableError, Rerun, UnexpectedResponseError
from media_assets.providers.transport.addresses import Allowed
from media_assets.providers.transport.download import Downloaded, DownloadLimits, download
from media_assets_tests.providers.transport.internet import Internet, internet
from media_assets_tests.providers.transport.raw_server import Connection, RawServer, trusting

__all__ = ["internet"]

FILES, OTHER, CDN = "93.184.216.34", "93.184.216.35", "93.184.216.36"
LIMITS = DownloadLimits(deadline_s=10, attempts=2, first_wait_s=0.01, longest_wait_s=0.02)
BASE_PORT = 9


def answer(connection: Connection) -> None:
    connection.read_request()
    connection.reply(b"a picture", headers="Content-Type: image/png\r\n")


def redirect(location: str, status: str = "302 Found") -> Callable[[Connection], None]:
    """Return a script that sends whoever asks elsewhere."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode())

    return script


@pytest.fixture
def files(internet: Internet) -> Iterator[RawServer]:
    """Serve files.example.test, with TLS."""
    with RawServer(answer, tls=True) as server:
        internet.names["files.example.test"] = [[FILES]]
        internet.servers[FILES] = server
        yield server


@pytest.fixture
def cdn(internet: Internet) -> Iterator[RawServer]:
    """Serve cdn.example.test, with TLS."""
    with RawServer(answer, tls=True) as server:
        internet.names["cdn.example.test"] = [[CDN]]
        internet.servers[CDN] = server
        yield server


@pytest.fixture
def canary() -> Iterator[RawServer]:
    """Serve what must never be asked for: something on this machine."""
    with RawServer(answer) as server:
        yield server


def fetch(url: str, target: Path, internet: Internet, **options: Any) -> Downloaded:
    """Download as if from a provider with two hosts for its outputs, and a loopback base on another port."""
    allowed = Allowed.of([f"http://127.0.0.1:{BASE_PORT}/v1"], ["files.example.test", "cdn.example.test"])
    given = {"limits": LIMITS, "resolver": internet.resolver, "verify": trusting(), **options}
    return asyncio.run(download(url, target, allowed=allowed, **given))


def test_the_name_is_asked_for_at_the_address_that_was_checked(
    files: RawServer, internet: Internet, tmp_path: Path
) -> None:
    got = fetch("https://files.example.test/a.png?sig=1", tmp_path / "x", internet)

    assert got.path.read_bytes() == b"a picture"
    assert internet.connected == [(FILES, 443)]
    assert files.requests[0].headers["host"] == "files.example.test"
    assert files.requests[0].path == "/a.png?sig=1"


def test_rebinding_changes_nothing(files: RawServer, canary: RawServer, internet: Internet, tmp_path: Path) -> None:
    """First public, then private: a second look-up would lead to this machine."""
    internet.names["files.example.test"] = [[FILES], ["127.0.0.1"]]

    fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert internet.looked_up == ["files.example.test"]
    assert internet.connected == [(FILES, 443)]
    assert canary.connections == 0


def test_each_attempt_checks_its_own_look_up(files: RawServer, internet: Internet, tmp_path: Path) -> None:
    """A second attempt may look up again, so it must check again."""
    internet.names["files.example.test"] = [[OTHER], ["127.0.0.1"]]  # at the first nobody answers

    with pytest.raises(UnexpectedResponseError, match="public internet"):
        fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert internet.connected == [(OTHER, 443)]


def test_the_certificate_is_checked_for_the_name(files: RawServer, internet: Internet, tmp_path: Path) -> None:
    """Pinning must not cost the proof of who answers."""
    with RawServer(answer, tls=True) as impostor:
        internet.names["other.example.test"] = [[OTHER]]
        internet.servers[OTHER] = impostor
        allowed = Allowed.of([], ["other.example.test"])
        with pytest.raises(ProviderUnavailableError, match=r"CERTIFICATE_VERIFY_FAILED.*other\.example\.test"):
            asyncio.run(
                download(
                    "https://other.example.test/a.png",
                    tmp_path / "x",
                    allowed=allowed,
                    limits=LIMITS,
                    resolver=internet.resolver,
                    verify=trusting(),
                )
            )

    assert impostor.requests == []


def test_strangers_certificates_are_not_trusted_by_default(
    files: RawServer, internet: Internet, tmp_path: Path
) -> None:
    with pytest.raises(ProviderUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch("https://files.example.test/a.png", tmp_path / "x", internet, verify=None)

    assert files.requests == []


def test_a_dead_address_gives_way_to_the_next(files: RawServer, internet: Internet, tmp_path: Path) -> None:
    """Broken IPv6 is common, and pinning takes the system's own way around it."""
    internet.names["files.example.test"] = [["2606:4700::1112", OTHER, FILES]]

    fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert internet.connected == [("2606:4700::1112", 443), (OTHER, 443), (FILES, 443)]
    assert internet.looked_up == ["files.example.test"]


def test_an_unknown_name_is_tried_again_then_said(internet: Internet, tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailableError, match=r"files\.example\.test could not be looked up") as caught:
        fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert internet.looked_up == ["files.example.test"] * 2
    assert caught.value.billed is Billed.YES


@pytest.mark.parametrize("status", ["301 A", "302 A", "303 A", "307 A", "308 A"])
def test_a_redirect_to_an_allowed_host_is_followed(
    status: str, files: RawServer, cdn: RawServer, internet: Internet, tmp_path: Path
) -> None:
    files.script = redirect("https://cdn.example.test/b.png?sig=2", status)

    got = fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert got.path.read_bytes() == b"a picture"
    assert internet.looked_up == ["files.example.test", "cdn.example.test"]
    assert cdn.requests[0].path == "/b.png?sig=2"
    assert cdn.requests[0].headers["host"] == "cdn.example.test"


def test_each_hop_gets_the_credentials_of_its_own_host(
    files: RawServer, cdn: RawServer, internet: Internet, tmp_path: Path
) -> None:
    files.script = redirect("//cdn.example.test/b.png")

    def headers_for(host: str) -> Mapping[str, str]:
        return {"Authorization": "Bearer x"} if host == "files.example.test" else {}

    fetch("https://files.example.test/a.png", tmp_path / "x", internet, headers_for=headers_for)

    assert files.requests[0].headers["authorization"] == "Bearer x"
    assert "authorization" not in cdn.requests[0].headers


def test_three_redirects_are_followed(files: RawServer, internet: Internet, tmp_path: Path) -> None:
    def counting(connection: Connection) -> None:
        request = connection.read_request()
        number = int(request.path[2:])
        if number == 3:
            connection.reply(b"a picture")
        else:
            connection.reply(status="302 Found", headers=f"Location: n{number + 1}\r\n")

    files.script = counting

    fetch("https://files.example.test/n0", tmp_path / "x", internet)

    assert [request.path for request in files.requests] == ["/n0", "/n1", "/n2", "/n3"]


@pytest.mark.parametrize("location", ["/again", "", "https://files.example.test/a.png"], ids=["loop", "empty", "self"])
def test_redirects_without_end_are_left(location: str, files: RawServer, internet: Internet, tmp_path: Path) -> None:
    files.script = redirect(location)

    with pytest.raises(UnexpectedResponseError, match="redirect") as caught:
        fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert files.connections == (4 if location else 1)
    assert (caught.value.billed, caught.value.rerun) == (Billed.YES, Rerun.RESUME)
    assert not (tmp_path / "x").exists()


# The thirty forms, and some more: how each tries to reach the canary on {port} of this machine, or another place
# that is none of a provider's business.
FORMS = [
    "https://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/",
    "https://localhost:{port}/",
    "http://localhost:{port}/",
    "https://127.1:{port}/",
    "https://127.0.1:{port}/",
    "https://0x7f000001:{port}/",
    "https://0x7f.0.0.1:{port}/",
    "https://0177.0.0.1:{port}/",
    "https://2130706433:{port}/",
    "https://0:{port}/",
    "https://0.0.0.0:{port}/",
    "https://[::1]:{port}/",
    "https://[::]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://[::ffff:7f00:1]:{port}/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b::7f00:1]:{port}/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://100.100.100.200/latest/meta-data/",
    "http://files.example.test/",
    "https://files.example.test:22/",
    "https://files.example.test:{port}/",
    "https://files.example.test@127.0.0.1:{port}/",
    "https://files.example.test:pass@127.0.0.1:{port}/",
    "https://files.example.test%40127.0.0.1:{port}/",
    "https://127.0.0.1:{port}#@files.example.test/",
    "https://files.example.test#@127.0.0.1:{port}/",
    "https://127.0.0.1:{port}\\@files.example.test/",
    "https://127.0.0.1:{port}?@files.example.test/",
    "https://①②⑦.⓪.⓪.①:{port}/",
    "https://127。0。0。1:{port}/",
    "https://fіles.example.test/",
    "https://files.example.test.127.0.0.1.nip.test/",
    "https://127.0.0.1.:{port}/",
    "https://localhost.:{port}/",
    "https://metadata.google.internal/",
    "//127.0.0.1:{port}/",
    "https:/127.0.0.1:{port}/",
    "https:\\\\127.0.0.1:{port}/",
    "http:127.0.0.1:{port}",
    "https://files.example.test\r\nHost: 127.0.0.1:{port}/",
    "\thttps://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_GET",
    "ftp://127.0.0.1:{port}/",
    "data:text/html,<script>1</script>",
    "file:///etc/passwd",
    "file://127.0.0.1/etc/passwd",
    "jar:https://127.0.0.1:{port}/!/",
]


IN_A_HEADER = [form for form in FORMS if "\r" not in form]


def _assert_refused(url: str, target: Path, internet: Internet) -> None:
    began = time.monotonic()
    with pytest.raises(UnexpectedResponseError) as caught:
        fetch(url, target, internet)

    assert time.monotonic() - began < 5
    assert "not followed" in caught.value.message
    assert (caught.value.billed, caught.value.rerun) == (Billed.YES, Rerun.RESUME)
    assert not target.exists()


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_no_form_of_url_reaches_what_it_should_not(
    form: str, canary: RawServer, internet: Internet, tmp_path: Path
) -> None:
    """Every name leads to the canary here, so that only the policy can keep a form from it."""
    internet.names = {name: [["127.0.0.1"]] for name in ("localhost", "files.example.test", "metadata.google.internal")}

    _assert_refused(form.format(port=canary.port), tmp_path / "x", internet)

    assert (canary.connections, internet.connected) == (0, [])


@pytest.mark.parametrize("form", IN_A_HEADER, ids=range(len(IN_A_HEADER)))
def test_no_redirect_reaches_what_it_should_not(
    form: str, files: RawServer, canary: RawServer, internet: Internet, tmp_path: Path
) -> None:
    location = form.format(port=canary.port)
    files.script = redirect(location)

    _assert_refused_or_harmless(location, tmp_path / "x", internet)

    assert canary.connections == 0
    assert {host for host, _ in internet.connected} == {FILES}


def _assert_refused_or_harmless(location: str, target: Path, internet: Internet) -> None:
    """A relative form stays on the host that sent it, and ends there as the loop it is."""
    with pytest.raises(UnexpectedResponseError) as caught:
        fetch("https://files.example.test/a.png", target, internet)

    assert "not followed" in caught.value.message or "redirect" in caught.value.message, location
    assert caught.value.billed is Billed.YES
    assert not target.exists()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ],
)
@pytest.mark.parametrize("hop", ["first", "redirect", "among-public-ones"])
def test_an_allowed_name_with_an_address_inside_is_not_followed(
    address: str, hop: str, files: RawServer, internet: Internet, tmp_path: Path
) -> None:
    url = "https://cdn.example.test/a.png"
    internet.names["cdn.example.test"] = [[FILES, address] if hop == "among-public-ones" else [address]]
    if hop == "redirect":
        files.script = redirect(url)
        url = "https://files.example.test/a.png"

    _assert_refused(url, tmp_path / "x", internet)

    assert internet.connected == ([(FILES, 443)] if hop == "redirect" else [])


def test_a_loopback_base_does_not_open_its_neighbours(canary: RawServer, internet: Internet, tmp_path: Path) -> None:
    """Its own port only: another service of this machine is as private as one of the network."""
    with RawServer(redirect(f"{canary.url}/")) as base:
        allowed = Allowed.of([base.url], [])
        with pytest.raises(UnexpectedResponseError, match="not followed"):
            asyncio.run(download(f"{base.url}/x", tmp_path / "x", allowed=allowed, limits=LIMITS))

    assert (base.connections, canary.connections) == (1, 0)


def test_a_loopback_base_on_ipv6_works(tmp_path: Path) -> None:
    try:
        server = RawServer(answer, host="::1").__enter__()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        allowed = Allowed.of([server.url], [])
        got = asyncio.run(download(f"{server.url}/x", tmp_path / "x", allowed=allowed, limits=LIMITS))
    finally:
        server.__exit__()

    assert got.size_bytes == len(b"a picture")
    assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


def test_a_proxy_from_the_environment_is_not_used(
    files: RawServer, canary: RawServer, internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look names up anew, and the pinned address would mean nothing."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, canary.url)

    fetch("https://files.example.test/a.png", tmp_path / "x", internet)

    assert (files.connections, canary.connections) == (1, 0)
