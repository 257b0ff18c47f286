"""Output files: signed, expiring, and wrong in every way that a download can be."""

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from media_assets.simulator.files import RECENT_BYTES, StoredFile
from media_assets_tests.simulator.asking import Asking, asking

CONTENT = bytes(range(256)) * 4


@pytest.fixture(scope="module")
def shared() -> Iterator[Asking]:
    with asking("", {}, time_scale=1.0) as one:
        yield one


@pytest.fixture
def files(shared: Asking) -> Asking:
    shared.begin()
    return shared


def _stored(files: Asking, kept_s: float = 3600, provider: str = "fal") -> tuple[StoredFile, str]:
    world = files.simulator.world
    stored = world.files.put(
        CONTENT, provider=provider, name="a b.png", mime="image/png", expires_s=world.clock.now_s() + kept_s, model="m"
    )
    return stored, world.files.link(stored)


def test_a_link_brings_the_bytes_without_any_key(files: Asking) -> None:
    reply = files.client.get(_stored(files)[1])

    assert (reply.status_code, reply.content) == (200, CONTENT)
    assert reply.headers["content-type"] == "image/png"


@pytest.mark.parametrize("provider", ["replicate", "fal", "openai", "elevenlabs"])
def test_a_link_works_until_it_expires(files: Asking, provider: str) -> None:
    _, link = _stored(files, kept_s=60, provider=provider)

    fresh = files.client.get(link)
    files.advance(61)
    late = files.client.get(link)

    assert (fresh.status_code, late.status_code) == (200, 403)
    assert late.headers["content-type"] == "application/xml"
    assert "<Code>AccessDenied</Code>" in late.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("signature=", "signature=0"),
        ("expires=1", "expires=9"),
        ("expires=1", "expires=nan&x="),
        ("?", "?x="),
        ("fal", "openai"),
    ],
)
def test_a_forged_link_brings_nothing(files: Asking, old: str, new: str) -> None:
    _, link = _stored(files)

    reply = files.client.get(link.replace(old, new))

    assert reply.status_code == 403
    assert CONTENT not in reply.content


def test_a_file_that_is_gone_is_not_found(files: Asking) -> None:
    stored, link = _stored(files)

    files.simulator.world.files.remove(stored.id)

    assert files.client.get(link).status_code == 404


def test_bytes_are_made_once_and_only_when_wanted(files: Asking) -> None:
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"made"

    shelf = files.simulator.world.files
    link = shelf.link(shelf.put(make, provider="fal", name="x", mime="image/png"))
    before = len(made)

    contents = [files.client.get(link).content for _ in range(3)]

    assert (before, made) == (0, [1])
    assert contents == [b"made"] * 3


def test_a_truncated_download_breaks_off(files: Asking) -> None:
    files.fault("truncate")

    with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
        files.client.get(_stored(files)[1])


@pytest.mark.parametrize(
    ("fault", "status", "mime"),
    [
        ("html", 200, "text/html; charset=utf-8"),
        ("wrong_mime", 200, "text/plain"),
        ("expired", 403, "application/xml"),
        ("noexec_503", 503, "application/xml"),
    ],
)
def test_a_download_can_be_something_else(files: Asking, fault: str, status: int, mime: str) -> None:
    files.fault(fault, call="download", model="m")

    reply = files.client.get(_stored(files)[1])

    assert (reply.status_code, reply.headers["content-type"]) == (status, mime)
    assert (reply.content == CONTENT) == (fault == "wrong_mime")


def test_a_redirect_leads_where_no_downloader_may_go(files: Asking) -> None:
    files.fault("redirect_private", times=1)
    link = _stored(files)[1]

    default = files.client.get(link, follow_redirects=False)
    files.fault("redirect_private", value="http://127.0.0.1:1/canary")
    chosen = files.client.get(link, follow_redirects=False)

    assert (default.status_code, default.headers["location"]) == (302, "http://169.254.169.254/latest/meta-data/")
    assert chosen.headers["location"] == "http://127.0.0.1:1/canary"


def test_what_was_made_long_ago_is_made_again_and_not_kept(files: Asking) -> None:
    """A batch of ten thousand films must not fill the simulator's memory with their pictures."""
    made: list[int] = []
    shelf = files.simulator.world.files

    def make(number: int) -> bytes:
        made.append(number)
        return number.to_bytes() * (RECENT_BYTES // 4)

    stored = [shelf.put(partial(make, number), provider="fal", name="x", mime="image/png") for number in range(6)]

    kept = [shelf.content(one)[:1] for one in stored]
    shelf.content(stored[5])
    again = shelf.content(stored[0])[:1]

    assert kept == [bytes([number]) for number in range(6)]
    assert again == kept[0]
    assert made == [0, 1, 2, 3, 4, 5, 0]
