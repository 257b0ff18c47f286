"""The page in a real browser: on a phone from a file, on a desk from a server; by keyboard; with axe-core.

axe-core is put in by the browser's own debugger (``page.evaluate``), to which no policy of a page applies: the page is
looked at with its content security policy in force, and what that refuses is counted.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from media_assets_tests.chromium import chromium
from media_assets_tests.gallery.showroom import FALLBACK, FILM_KEYS, HOSTILE_KEY, PLAIN, UNFINISHED, write

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

_COUNT = len(FILM_KEYS) + len(UNFINISHED)
_TARGET_PX = 44
_AXE = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
_REMEMBER_REFUSALS = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@dataclass
class Visit:
    """A page that is looked at, and whatever it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)

    @classmethod
    def to(cls, context: BrowserContext, url: str) -> "Visit":
        """Open a page and listen from its first byte on."""
        visit = cls(context.new_page())
        visit.page.set_default_timeout(15_000)
        visit.page.add_init_script(_REMEMBER_REFUSALS)
        visit.page.on(
            "console", lambda message: visit.complaints.append(f"{message.text} {message.location.get('url')}")
        )
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on("dialog", lambda dialog: visit.complaints.append(f"dialog: {dialog.message}"))
        visit.page.on("request", lambda request: visit.asked_for.append(request.url))
        visit.page.goto(url)
        return visit

    def card(self, key: str) -> Locator:
        """Return a film's card."""
        return self.page.locator("#films article", has=self.page.get_by_role("heading", name=key, exact=True))

    def axe(self) -> None:
        """Let axe-core look at all of it."""
        size = self.page.viewport_size
        assert size is not None
        height_px = int(self.page.evaluate("document.documentElement.scrollHeight"))
        self.page.set_viewport_size({"width": size["width"], "height": height_px + 2000})
        found = Axe().run(self.page, options=_AXE)
        self.page.set_viewport_size(size)
        assert found.violations_count == 0, found.generate_report()


@contextlib.contextmanager
def _visit(
    browser: Browser, url: str, *, size_px: tuple[int, int], scheme: Literal["light", "dark"], **how: Any
) -> Iterator[Visit]:
    viewport = {"width": size_px[0], "height": size_px[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **how)  # type: ignore[arg-type]
    try:
        yield Visit.to(context, url)
    finally:
        context.close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base calls it so
        return


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_on_a_phone_from_a_file(browser: Browser, showroom: Path) -> None:
    """As it lies in the home: nothing is served, everything is seen, and nothing is too small for a thumb."""
    url = write(showroom).page.as_uri()
    with _visit(browser, url, size_px=(390, 844), scheme="light", is_mobile=True, has_touch=True) as visit:
        page = visit.page
        expect(page.get_by_role("heading", name="Gallery", exact=True)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for target in page.locator("a.button, summary, input, select").all():
            box = target.bounding_box()
            assert box is None or box["height"] >= _TARGET_PX, target.inner_text()
        video = visit.card(PLAIN).locator("video")
        video.scroll_into_view_if_needed()
        expect(video).to_have_attribute("poster", video.get_attribute("data-poster") or "")
        _play(visit, video)
        assert "gnp.exe" in visit.card(HOSTILE_KEY).inner_text()
        visit.axe()

        assert visit.complaints == []
        assert page.evaluate("window.refused") == []
        assert all(url.startswith(showroom.as_uri()) for url in visit.asked_for)


def test_at_a_desk_from_a_server_by_keyboard(browser: Browser, home: Path, tmp_path: Path) -> None:
    """Uploaded to anywhere: found and played without a mouse."""
    write(home, out=tmp_path / "site")
    with (
        _served(tmp_path / "site") as url,
        _visit(browser, url, size_px=(1360, 900), scheme="dark") as visit,
    ):
        page = visit.page
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the films")).to_be_focused()
        expect(page.get_by_role("link", name="Skip to the films")).to_be_in_viewport()
        page.keyboard.press("Tab")
        expect(page.get_by_role("searchbox", name="Search")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        visit.axe()

        page.keyboard.type("SECOND fallback")
        expect(page.get_by_role("status")).to_have_text(f"1 of {_COUNT} shown")
        expect(visit.card(FALLBACK)).to_be_visible()
        expect(visit.card(PLAIN)).to_be_hidden()
        expect(page.get_by_text("No prompt is like that.")).to_be_visible()

        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        video = visit.card(FALLBACK).locator("video")
        expect(video).to_be_focused()
        page.keyboard.press("Space")
        _has_moved(visit, video)

        page.get_by_role("combobox", name="Show").select_option("failed")
        expect(page.get_by_role("status")).to_have_text(f"0 of {_COUNT} shown")
        page.get_by_role("searchbox", name="Search").fill("failed")
        expect(page.get_by_role("status")).to_have_text(f"1 of {_COUNT} shown")
        expect(page.get_by_role("heading", name="failed", exact=True)).to_be_visible()

        assert visit.complaints == []
        assert page.evaluate("window.refused") == []
        assert all(one.startswith(url) for one in visit.asked_for)


def test_the_policy_is_in_force(browser: Browser, showroom: Path) -> None:
    """What the other tests count as nothing would be seen: this one does what a hostile prompt would like to do."""
    with _visit(browser, write(showroom).page.as_uri(), size_px=(800, 600), scheme="light") as visit:
        visit.page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "window.ran = true";
                document.body.append(script);
                const picture = document.createElement("img");
                picture.setAttribute("onerror", "window.ran = true");
                picture.src = "http://127.0.0.1:9/x.png";
                document.body.append(picture);
                picture.dispatchEvent(new Event("error"));
            }"""
        )
        visit.page.wait_for_function("window.refused.length >= 3")

        assert visit.page.evaluate("window.ran") is None
        assert set(visit.page.evaluate("window.refused")) == {"script-src-elem", "script-src-attr", "img-src"}


def _play(visit: Visit, video: Locator) -> None:
    video.evaluate("video => { video.muted = true; return video.play(); }")
    _has_moved(visit, video)


def _has_moved(visit: Visit, video: Locator) -> None:
    visit.page.wait_for_function("video => video.currentTime > 0.1", arg=video.element_handle())
    assert video.evaluate("video => video.error === null && video.videoWidth") == 64
