"""Which URLs are followed: the user's base URLs, and of a stranger's only what is surely an output."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.errors import Billed, ConfigurationError, Rerun, UnexpectedResponseError
from media_assets.providers.transport.addresses import (
    Allowed,
    Target,
    check_base_url,
    same_origin,
)
from media_assets_tests.conftest import LONG

EXAMPLES = 5_000 if LONG else 200
BASE = "http://127.0.0.1:8765/replicate/v1"
ALLOWED = Allowed.of(["https://api.example.test/v1", BASE], ["files.example.test", "*.cdn.example.test", "bücher.test"])
SECRET = "CANARY-91c2"  # noqa: S105


@pytest.mark.parametrize(
    "url",
    [
        "https://api.replicate.com/v1",
        "https://api.replicate.com/v1/",
        "https://queue.fal.run",
        "https://gateway.corp.test:8443/fal/queue",
        "https://10.0.0.7/v1",
        "HTTPS://API.Example.Test",
        "http://127.0.0.1:8000/openai/v1",
        "http://127.8.9.10",
        "http://localhost:8000",
        "http://localhost.:8000/",
        "http://[::1]:8000/x",
    ],
)
def test_base_url_may_be_https_or_loopback(url: str) -> None:
    check_base_url("MEDIA_ASSETS_FAL_QUEUE_URL", url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.replicate.com/v1",
        "//api.replicate.com",
        "https:/api.replicate.com",
        "https://",
        "https:///v1",
        "http://api.replicate.com/v1",
        "http://192.168.1.5:8000",
        "http://0.0.0.0:8000",
        "http://127.1:8000",
        "http://0x7f000001:8000",
        "http://2130706433",
        "http://[::ffff:127.0.0.1]:8000",
        "http://localhost.example.test",
        "http://127.0.0.1.example.test",
        "https://127.1/",
        "https://api.replicate.com:0",
        "https://api.replicate.com:70000",
        "https://api.replicate.com:",
        "https://api.replicate.com:443x",
        "https://a..b/",
        f"https://{'a' * 64}.test",
        f"https://user:{SECRET}@api.replicate.com/v1",
        f"https://api.replicate.com/v1?key={SECRET}",
        f"https://api.replicate.com/v1#{SECRET}",
        "https://api.replicate.com/v1#",
        "https://api.replicate.com/v1?",
        "https://api.replicate.com\\@evil.test/",
        "https://api.replicate.com/ v1",
        "https://api.replicate.com/v1\n",
        "ftp://api.replicate.com",
        "https://[::1",
        "https://[fe80::1%25eth0]/",
    ],
)
def test_other_base_urls_are_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^MEDIA_ASSETS_FAL_QUEUE_URL cannot be used: ") as caught:
        check_base_url("MEDIA_ASSETS_FAL_QUEUE_URL", url)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "base", "same"),
    [
        ("https://api.example.test/v1/predictions/1", "https://api.example.test/v1", True),
        ("https://API.example.test.:443/x?y=1#z", "https://api.example.test/v1", True),
        ("http://api.example.test/v1", "https://api.example.test/v1", False),
        ("https://api.example.test:8443/", "https://api.example.test/", False),
        ("https://api.example.test.evil.test/", "https://api.example.test/", False),
        ("https://evil.test/https://api.example.test/", "https://api.example.test/", False),
        ("https://api.example.test@evil.test/", "https://api.example.test/", False),
        ("https://api.example.test\\@evil.test/", "https://api.example.test/", False),
        ("http://127.0.0.1:8766/", BASE, False),
        ("http://localhost:8765/", BASE, False),
        ("nonsense", "nonsense", False),
    ],
)
def test_same_origin_is_scheme_host_and_port(url: str, base: str, *, same: bool) -> None:
    assert same_origin(url, base) is same


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://files.example.test/a/b.png?X-Sig=a%2Fb+c~", "files.example.test", "/a/b.png?X-Sig=a%2Fb+c~"),
        ("https://files.example.test", "files.example.test", "/"),
        ("https://files.example.test?sig=1", "files.example.test", "/?sig=1"),
        ("https://files.example.test:443/x", "files.example.test", "/x"),
        ("HTTPS://FILES.Example.Test/X", "files.example.test", "/X"),
        ("https://files.example.test./x", "files.example.test", "/x"),
        ("https://v3.cdn.example.test/x", "v3.cdn.example.test", "/x"),
        ("https://a.b.cdn.example.test/x", "a.b.cdn.example.test", "/x"),
        ("https://BÜCHER.test/x", "xn--bcher-kva.test", "/x"),
        ("https://xn--bcher-kva.test/x", "xn--bcher-kva.test", "/x"),
        # Full-width letters fold to the same name, and the folded name is what is asked for.
        ("https://ｆiles.example.test/x", "files.example.test", "/x"),
        ("https://files.example.test/x@y:z", "files.example.test", "/x@y:z"),
    ],
)
def test_known_hosts_are_allowed_in_one_normal_form(url: str, host: str, path: str) -> None:
    assert ALLOWED.check(url) == Target(scheme="https", host=host, port=443, path=path)


def test_a_loopback_base_allows_its_own_port() -> None:
    target = ALLOWED.check("http://127.0.0.1:8765/files/x.png?sig=1")

    assert target == Target(
        scheme="http", host="127.0.0.1", port=8765, path="/files/x.png?sig=1", is_loopback_base=True
    )
    assert target.host_header == "127.0.0.1:8765"


REFUSED = [
    ("http://files.example.test/x", "https"),
    ("ftp://files.example.test/x", "ftp: is not https"),
    ("file:///etc/passwd", "file: is not https"),
    ("data:text/plain,hello", "data: is not https"),
    ("javascript:alert(1)", "javascript: is not https"),
    ("//files.example.test/x", "no https URL"),
    ("/x.png", "no https URL"),
    ("", "no https URL"),
    ("https:files.example.test", "no https URL"),
    ("https:///files.example.test/", "host"),
    ("https://evil.test/x", "no known host"),
    ("https://api.example.test/x", "no known host"),
    ("https://cdn.example.test/x", "no known host"),
    ("https://evilfiles.example.test/x", "no known host"),
    ("https://files.example.test.evil.test/x", "no known host"),
    ("https://xcdn.example.test/x", "no known host"),
    ("https://.cdn.example.test/x", "valid name"),
    ("https://a..cdn.example.test/x", "valid name"),
    ("https://files.example.test../x", "valid name"),
    ("https://files.example.test:22/x", "port 22"),
    ("https://files.example.test:80/x", "port 80"),
    ("https://files.example.test:0443443/x", "host and port"),
    ("https://files.example.test:/x", "host and port"),
    ("https://files.example.test:-1/x", "host and port"),
    ("https://user@files.example.test/x", "user name"),
    ("https://user:pass@files.example.test/x", "user name"),
    ("https://files.example.test@evil.test/x", "user name"),
    ("https://files.example.test#@evil.test/x", "fragment"),
    ("https://evil.test#@files.example.test/x", "fragment"),
    ("https://files.example.test\\@evil.test/x", "backslash"),
    ("https://evil.test\\.files.example.test/x", "backslash"),
    ("https://files.example.test%2f@evil.test/x", "user name"),
    ("https://files.example.test%00.evil.test/x", "host and port"),
    ("https://files.example.test/x y", "space"),
    ("https://files.example.test/x\r\nHost: evil.test", "space"),
    ("https://files.example.test\t/x", "space"),
    ("https://files.example.test/\u202e", "space"),
    ("https://files.example.test/\ud800", "space"),
    (" https://files.example.test/x", "space"),
    ("https://fіles.example.test/x", "no known host"),  # a Cyrillic letter
    ("https://127.0.0.1/x", "IP address"),
    ("https://127.0.0.1:8765/x", "IP address"),
    ("http://127.0.0.1:8766/x", "http, not https"),
    ("http://localhost:8765/x", "http, not https"),
    ("https://127.1/x", "odd form"),
    ("https://2130706433/x", "odd form"),
    ("https://0x7f000001/x", "odd form"),
    ("https://0x7f.1/x", "odd form"),
    ("https://0177.0.0.1/x", "odd form"),
    ("https://①②⑦.0.0.1/x", "IP address"),
    ("https://169.254.169.254/latest/meta-data", "IP address"),
    ("https://[::1]/x", "IP address"),
    ("https://[::ffff:169.254.169.254]/x", "IP address"),
    ("https://[64:ff9b::a9fe:a9fe]/x", "IP address"),
    ("https://[fd00:ec2::254]/x", "IP address"),
    ("https://[::1%25lo]/x", "host and port"),
    ("https://[files.example.test]/x", "host and port"),
    ("https://[12345::]/x", "host and port"),
    ("https://" + "a" * 20_000, "characters"),
]


@pytest.mark.parametrize(("url", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_every_other_address_is_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(UnexpectedResponseError, match="an address that is not followed: ") as caught:
        ALLOWED.check(url)

    assert reason in str(caught.value)
    assert caught.value.rerun is Rerun.RESUME
    assert caught.value.billed is not Billed.NO


def test_a_refusal_shows_no_secret() -> None:
    for url in (
        f"https://evil.test/{SECRET}?sig={SECRET}",
        f"https://u:{SECRET}@files.example.test/",
        f"data:{SECRET}",
        SECRET,
        SECRET.partition("-")[0],
        f"{SECRET.partition('-')[0]}://{SECRET}",
        f"https://files.example.test/?{SECRET}#",
    ):
        with pytest.raises(UnexpectedResponseError) as caught:
            ALLOWED.check(url)
        assert "CANARY" not in str(caught.value)
    assert SECRET not in repr(ALLOWED.check(f"https://files.example.test/?sig={SECRET}"))


@pytest.mark.parametrize("host", ["*", "*.", "", "a b", "http://x.test", "*.*.test"])
def test_an_allow_list_holds_names(host: str) -> None:
    with pytest.raises(ValueError, match=r"name|host"):
        Allowed.of([], [host])


_TOKENS = [
    "https://",
    "http://",
    "//",
    "/",
    "\\",
    "@",
    ":",
    "#",
    "?",
    "%",
    ".",
    "..",
    "[",
    "]",
    "[::1]",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    ":443",
    ":8765",
    ":22",
    "user:",
    "files.example.test",
    "evil.test",
    "x.cdn.example.test",
    "%40",
    "%2e",
    "\t",
    "\x00",
    "。",
    "ｅ",
    "xn--",
]
_TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(_TOKENS),
        max_size=9,
    ).map("".join),
)


@pytest.mark.sample(f"{EXAMPLES:,} of 5,000 random addresses")
@settings(max_examples=EXAMPLES, deadline=None)
@given(url=st.one_of(_TEXT, _TEXT.map("https://files.example.test".__add__), _TEXT.map("https://".__add__)))
def test_what_passes_leads_where_another_reader_would_go_too(url: str) -> None:
    """The standard library reads URLs in its own way; where it would go elsewhere, we must not go at all."""
    try:
        target = ALLOWED.check(url)
    except UnexpectedResponseError:
        return

    assert target.host in {"files.example.test", "127.0.0.1", "xn--bcher-kva.test"} or target.host.endswith(
        ".cdn.example.test"
    )
    read = urlsplit(url)
    host = (read.hostname or "").encode("idna").decode().removesuffix(".")
    assert (read.scheme, host, read.port or 443) == (target.scheme, target.host, target.port)
    assert (read.username, read.password, read.fragment) == (None, None, "")
