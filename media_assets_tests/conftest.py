"""What holds for every test: no network beyond this machine, no settings or keys from the developer's environment."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets.testing import no_network

PROVIDER_KEYS = ("REPLICATE_API_TOKEN", "FAL_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY")
KEPT_VARIABLES = frozenset(
    {"MEDIA_ASSETS_LONG", "MEDIA_ASSETS_OPENAPI_DIR", "MEDIA_ASSETS_REQUIRE_BROWSER", "MEDIA_ASSETS_SCREENSHOTS"},
)
"""Switches of the tests themselves, which ``.ci/run`` sets; none is a setting of the product."""


SAMPLE = "sample"
"""The property under which a test that tries a sample records how large it was; printed at the end."""


LONG_FILES_FIRST = frozenset(
    {
        "test_crash.py",
        "test_fallback.py",
        "test_film.py",
        "test_hostile_films.py",
        "test_media_webserver.py",
        "test_paid_films.py",
        "test_postgres.py",
        "test_program.py",
        "test_resume.py",
        "test_run_blocking_webserver.py",
        "test_secrets.py",
        "test_submission_count.py",
        "test_transport.py",
        "test_ui_browser.py",
    }
)
"""Files of few tests that wait long, for servers and child processes; at the end they would leave one core idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that both processes end at about the same time."""
    items.sort(key=lambda item: item.path.name not in LONG_FILES_FIRST)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the size of every sample: a proof that tried a part must say which part."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == SAMPLE and report.when == "call":
                terminalreporter.write_line(f"sample: {value} ({report.nodeid.rpartition('::')[2]})")


@pytest.fixture(autouse=True, scope="session")
def _signals_for_servers() -> None:
    """Servers that outlive a test inherit no ignored signal either."""
    _reset_signals()


@pytest.fixture(autouse=True)
def _signals_as_python_has_them() -> None:
    """Whoever starts the tests may ignore SIGINT (``&``, ``nohup``), and Dagster takes SIGTERM for SIGINT for good."""
    _reset_signals()


def _reset_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name in PROVIDER_KEYS or (name.startswith("MEDIA_ASSETS_") and name not in KEPT_VARIABLES):
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    with no_network():
        yield


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder of state for one test; it does not exist yet."""
    return tmp_path / "home"
