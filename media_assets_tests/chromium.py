"""Debian's chromium for the tests that look at a page: nothing is downloaded, and where there is none they say so."""

import contextlib
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

_ARGUMENTS = [
    "--no-sandbox",  # the tests may run as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start it, or skip the test; fail where MEDIA_ASSETS_REQUIRE_BROWSER=1 says that there has to be one."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("MEDIA_ASSETS_REQUIRE_BROWSER") == "1":
            pytest.fail("MEDIA_ASSETS_REQUIRE_BROWSER=1, and there is no chromium on PATH")
        pytest.skip("no chromium on PATH: the page is not looked at (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
