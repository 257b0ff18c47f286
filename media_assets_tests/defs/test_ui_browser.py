"""``media-assets ui`` in a real browser: the prompt is there, four assets are materialized, pictures are seen.

With ``MEDIA_ASSETS_SCREENSHOTS=FOLDER`` the same run takes the README's screenshots, of the prompt in ``prompts/``.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, expect

from media_assets_tests.chromium import chromium
from media_assets_tests.defs.webserver import free_port

pytestmark = [pytest.mark.browser, pytest.mark.webserver, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = os.environ.get("MEDIA_ASSETS_SCREENSHOTS")
_START_S, _RUN_S = 90, 90
_FILM_GROUP = "/locations/media_assets/asset-groups/film/lineage"
"""Where the chain is drawn: among several groups each is folded up."""
_QUICK_PROMPT = """\
key: lighthouse
prompt: A lighthouse at dusk
script: The light turns.
size_px: 512x512
clip_s: 1
params: {video: {fps: 4}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project folder as a user has it: the two Dagster files and a prompt."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "prompts").mkdir()
    if SCREENSHOTS:
        shutil.copy(ROOT / "prompts" / "lighthouse.yaml", folder / "prompts")
    else:
        (folder / "prompts" / "lighthouse.yaml").write_text(_QUICK_PROMPT, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def ui(project: Path) -> Iterator[str]:
    """Run ``media-assets ui`` in the project, and end it as Ctrl-C does."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "MEDIA_"))}
    with (project / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).parent / "media-assets", "ui", "--port", str(port)],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, project / "ui.log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends_at = time.monotonic() + _START_S
    while time.monotonic() < ends_at:
        try:
            with urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - loopback
                return
        except (URLError, OSError):
            assert process.poll() is None, log.read_text(errors="replace")[-3000:]
            time.sleep(0.3)
    pytest.fail(f"the UI did not start within {_START_S} s:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def page(ui: str) -> Iterator[Page]:
    """Open the lineage page in Debian's chromium; nothing is downloaded."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 850})
        page.set_default_timeout(30_000)
        page.goto(f"{ui}/asset-groups")
        yield page


def _shoot(page: Page, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def test_the_four_assets_are_materialized_with_pictures_by_clicking(page: Page, ui: str, project: Path) -> None:
    """The whole way of a new user: open, Materialize all, look."""
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Launch 1 run").click()
    _wait_for_film(project)

    _open_materialized(page, f"{ui}/assets/merged?view=partitions&partition=lighthouse")
    picture = page.locator("img[src^='data:image/']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 30
    _shoot(page, "merged")

    page.get_by_text("[Show Markdown]").nth(1).click()
    timeline = page.locator("img[src^='data:image/png']").last
    expect(timeline).to_be_visible()
    assert timeline.evaluate("image => image.naturalWidth") > 300
    _shoot(page, "timeline")

    page.goto(f"{ui}{_FILM_GROUP}")
    expect(page.get_by_text("100% filled")).to_have_count(4, timeout=30_000)
    _shoot(page, "lineage")


def _open_materialized(page: Page, url: str) -> None:
    """Open a partition until the run has reported it, just after the film is there; the page does not ask again."""
    ends_at = time.monotonic() + _RUN_S
    while True:
        page.goto(url)
        with contextlib.suppress(AssertionError):
            return expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()
        assert time.monotonic() < ends_at, f"not reported within {_RUN_S} s"


def _wait_for_film(project: Path) -> None:
    film = project / ".media_assets" / "films" / "lighthouse.mp4"
    ends_at = time.monotonic() + _RUN_S
    while not film.is_file():
        assert time.monotonic() < ends_at, f"no film within {_RUN_S} s"
        time.sleep(0.2)
