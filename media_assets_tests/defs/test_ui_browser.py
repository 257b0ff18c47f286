"""``media-assets ui`` in a real browser: a day of a person who clicks, from the form to the film in the gallery.

With ``MEDIA_ASSETS_SCREENSHOTS=FOLDER`` the same run takes the README's screenshots, of the prompt in ``prompts/``.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from playwright.sync_api import Page, expect

from media_assets_tests.chromium import chromium
from media_assets_tests.conftest import LONG
from media_assets_tests.defs.deployment import SHIPPED, deploy
from media_assets_tests.defs.webserver import free_port
from media_assets_tests.simulated import FAST, Market, open_market

pytestmark = [pytest.mark.browser, pytest.mark.webserver, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = os.environ.get("MEDIA_ASSETS_SCREENSHOTS")
_START_S, _RUN_S, _CLICK_S = 90, 120, 30
_SLOW_S = 8.0
"""How long the paid picture takes: longer than it takes to find the button Terminate."""
_FORM = "/locations/media_assets/jobs/submit_prompt/playground"
_FILM_GROUP = "/locations/media_assets/asset-groups/film/lineage"
"""Where the chain is drawn: among several groups each is folded up."""
_QUICK = {"size_px": "512x512", "clip_s": 1, "params": {"video": {"fps": 4}}}
_BAD, _SLOW = "night-4", "slow"


def _prompts() -> Iterator[dict[str, Any]]:
    """Yield ten: one that is bought and takes a while, and one whose provider has no key."""
    for number in range(9):
        routes = {"image": ["openai:gpt-image-2"]} if f"night-{number}" == _BAD else {}
        yield {
            "key": f"night-{number}",
            "prompt": f"Night {number}",
            "script": "Good night.",
            "routes": routes,
            **_QUICK,
        }
    yield {"key": _SLOW, "prompt": "A slow barn", "routes": {"image": ["replicate:sdxl"]}, **_QUICK}


@dataclass(frozen=True)
class Project:
    """A project folder as a user has it, and the shell in which he types."""

    folder: Path
    environment: Mapping[str, str]
    is_on_postgres: bool


@pytest.fixture(scope="module", params=("sqlite", "postgres") if LONG else ("sqlite",))
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make the two Dagster files and ten prompts; on Postgres, which has the ledger too, as ``deploy/`` says."""
    folder = tmp_path_factory.mktemp("project")
    deployment = deploy(request.getfixturevalue("server")) if request.param == "postgres" else None
    for path in (ROOT / "workspace.yaml", SHIPPED if deployment else ROOT / "dagster.yaml"):
        shutil.copy(path, folder)
    (folder / "prompts").mkdir()
    lines = "".join(f"{json.dumps(prompt)}\n" for prompt in _prompts())
    (folder / "prompts" / "nights.jsonl").write_text(lines, encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER_", "MEDIA_"))}
    return Project(folder, own | dict(deployment.environment if deployment else {}), deployment is not None)


@pytest.fixture(scope="module")
def market(project: Project) -> Iterator[Market]:
    with open_market(project.folder / ".media_assets", latency_s={"replicate": (_SLOW_S, _SLOW_S)}) as market:
        yield market


@pytest.fixture(scope="module")
def ui(project: Project, market: Market) -> Iterator[str]:
    """Run ``media-assets ui`` in the project, and end it as Ctrl-C does."""
    port = free_port()
    bought = {name: value for name, value in market.simulator.environment().items() if name != "OPENAI_API_KEY"}
    with (project.folder / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [_program(), "ui", "--port", str(port)],
            cwd=project.folder,
            env={**project.environment, **bought, **FAST},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, process, project.folder / "ui.log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


def _program() -> Path:
    return Path(sys.executable).parent / "media-assets"


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
    """Open Dagster in Debian's chromium; nothing is downloaded."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 850}, base_url=ui)
        page.set_default_timeout(_CLICK_S * 1000)
        expect.set_options(timeout=_CLICK_S * 1000)
        yield page


def _shoot(page: Page, name: str) -> None:
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def test_a_day_of_clicking(page: Page, ui: str, market: Market, project: Project) -> None:
    """The form, Materialize, Terminate, a backfill with a bad prompt among ten, and the film in the gallery."""
    _submit(page, _form_fields())
    _materialize(page, "lighthouse")
    _see_the_film(page)

    _materialize(page, _SLOW)
    _until(lambda: market.posts() == 1)
    _terminate(page)
    assert [one["state"] for one in market.accepted()] != ["succeeded"]

    _backfill(page)
    assert [one["state"] for one in market.accepted()] == ["succeeded"], "what the terminated run had bought"
    _see_the_gallery(page, ui, project)
    assert (market.home / "ledger.db").exists() is not project.is_on_postgres


def _form_fields() -> dict[str, Any]:
    """Return the prompt of ``prompts/``, as far as the form goes; smaller, unless it is for the README."""
    prompt = yaml.safe_load((ROOT / "prompts" / "lighthouse.yaml").read_text(encoding="utf-8"))
    fields = {name: prompt[name] for name in ("key", "prompt", "script")}
    return fields if SCREENSHOTS else {**fields, "script": "The light turns.", "size": "512x512"}


def _submit(page: Page, fields: dict[str, Any]) -> None:
    """Fill in the form of the job ``submit_prompt``; the prompt becomes a partition."""
    page.goto(_FORM)
    page.locator(".CodeMirror-lines").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(yaml.safe_dump({"ops": {"submit": {"config": {**fields, "make": False}}}}))
    _shoot(page, "submit-prompt")
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible(timeout=_RUN_S * 1000)


def _materialize(page: Page, key: str) -> None:
    """Select one partition of the four assets, and launch."""
    page.goto(_FILM_GROUP)
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_text("Select a partition").click()
    page.keyboard.type(key)
    page.get_by_text("Select all (1)").click()
    page.keyboard.press("Escape")
    _launch(page, "Launch 1 run")


def _launch(page: Page, name: str) -> None:
    """Click, and wait until it was taken: leaving the page before would call it off."""
    page.get_by_role("button", name=name).click()
    expect(page.get_by_text("Launch runs to materialize")).to_have_count(0)


def _see_the_film(page: Page) -> None:
    """All four are materialized, with their pictures and their numbers as plots."""
    for asset in ("image", "video", "audio", "merged"):
        _open_materialized(page, f"/assets/{asset}?view=partitions&partition=lighthouse")
        picture = page.locator("img[src^='data:image/']").first
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") > 30
    _shoot(page, "merged")

    page.get_by_text("[Show Markdown]").nth(1).click()
    timeline = page.locator("img[src^='data:image/png']").last
    expect(timeline).to_be_visible()
    assert timeline.evaluate("image => image.naturalWidth") > 300

    page.goto("/assets/merged?view=overview")
    page.get_by_role("button", name="Plots").click()
    expect(page.get_by_text("cost_usd", exact=True)).to_be_visible()
    assert page.locator("canvas").count() > 3


def _open_materialized(page: Page, url: str) -> None:
    """Open a partition until the run has reported it, just after the film is there; the page does not ask again."""
    ends_at = time.monotonic() + _RUN_S
    while True:
        page.goto(url)
        with contextlib.suppress(AssertionError):
            return expect(page.get_by_text("Materialized", exact=True).first).to_be_visible(timeout=5000)
        assert time.monotonic() < ends_at, f"not reported within {_RUN_S} s"


def _terminate(page: Page) -> None:
    """End the newest run; it says what still runs at the provider, and that the next run goes on with it."""
    page.goto("/runs")
    page.get_by_role("link", name="View", exact=True).first.click()
    page.wait_for_url("**/runs/*-*")
    page.get_by_role("button", name="Terminate").first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Terminate")).click()
    expect(page.get_by_text("RUN_CANCELED")).to_be_visible(timeout=_RUN_S * 1000)
    page.keyboard.press("Escape")


def _backfill(page: Page) -> None:
    """All at once, what is there included: nine of the ten are made, and the tenth says what it lacks."""
    page.goto(_FILM_GROUP)
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="All", exact=True).click()
    expect(page.get_by_text("11 partitions selected")).to_be_visible()
    _launch(page, "Launch backfill")
    expect(page.get_by_text("90% filled (1 failed)")).to_have_count(4, timeout=_RUN_S * 1000)
    _shoot(page, "lineage")

    page.goto(f"/assets/image?view=partitions&partition={_BAD}")
    expect(page.get_by_text("Materialized (10)")).to_be_visible()
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    page.get_by_text("View logs").first.click()
    expect(page.get_by_text("OPENAI_API_KEY").first).to_be_visible()


def _see_the_gallery(page: Page, ui: str, project: Project) -> None:
    """Write the page, open it, and play the film."""
    command = [str(_program()), "gallery", "--dagster-url", ui, "--json"]
    place: dict[str, Any] = {"cwd": project.folder, "env": project.environment}
    done = subprocess.run(command, **place, capture_output=True, text=True, check=True)
    page.goto(Path(json.loads(done.stdout)["page"]).as_uri())
    card = page.locator("#films article", has=page.get_by_role("heading", name="lighthouse", exact=True))
    video = card.locator("video")
    _shoot(page, "gallery")
    video.scroll_into_view_if_needed()
    video.evaluate("video => { video.muted = true; return video.play(); }")
    page.wait_for_function("video => video.currentTime > 0.1", arg=video.element_handle())
    card.get_by_role("link", name=re.compile("Dagster")).click()
    expect(page.get_by_text("Materialized", exact=True).first).to_be_visible()


def _until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + _RUN_S
    while not holds():
        assert time.monotonic() < ends_at, f"not within {_RUN_S} s"
        time.sleep(0.1)
