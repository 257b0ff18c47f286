"""What holds for every test: no network beyond this machine, no settings or keys from the developer's environment."""

import gc
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from media_assets.testing import no_network

PROVIDER_KEYS = ("REPLICATE_API_TOKEN", "FAL_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY")
KEPT_VARIABLES = frozenset(
    {"MEDIA_ASSETS_LONG", "MEDIA_ASSETS_OPENAPI_DIR", "MEDIA_ASSETS_REQUIRE_BROWSER", "MEDIA_ASSETS_SCREENSHOTS"},
)
"""Switches of the tests themselves, which ``.ci/run`` sets; none is a setting of the product."""


_GARBAGE_THRESHOLD = 50_000
"""New objects before Python looks for garbage. At its own 700 that takes a sixth of what the simulation does."""

SAMPLE = "sample"
"""The property, and the mark, with which a test that tries a sample says how large it is; printed at the end."""
COUNT = "count"
"""The property with which a test says how much there is of something that must not grow; printed beside the samples."""

LONG = os.environ.get("MEDIA_ASSETS_LONG") == "1"
"""Whether ``./dev check-long`` runs."""

# The gate tries the same examples every time, so that it never fails for a change that is not to blame. The long proof
# tries others each time, by a seed that it prints, and says of a failure how to see it again.
hypothesis.settings.register_profile("gate", derandomize=True)
hypothesis.settings.register_profile("long", print_blob=True)
hypothesis.settings.load_profile("long" if LONG else "gate")

LONG_FILES_FIRST = (
    "test_arrivals.py",
    "test_crash.py",
    "test_crash_matrix.py",
    "test_single_flight.py",
    "test_crash_signals.py",
    "test_ui_browser.py",
    "test_media_webserver.py",
    "test_secrets.py",
    "test_run_blocking_webserver.py",
    "test_program.py",
    "test_first_half.py",
    "test_second_half.py",
    "test_paid_films.py",
    "test_interrupts.py",
    "test_fallback.py",
    "test_examples.py",
    "test_submission_canceled.py",
    "test_batch.py",
    "test_backfill.py",
    "test_jobs.py",
    "test_in_flight.py",
    "test_sync.py",
    "test_checks.py",
    "test_submission_count.py",
    "test_many_hosts.py",
    "test_film.py",
    "test_media_runs.py",
    "test_postgres.py",
    "test_transport.py",
    "test_commit_cuts.py",
    "test_hostile_films.py",
    "test_races.py",
)
"""Files whose tests take long or wait long, for servers and child processes, the longest first; at the end they would
leave the other cores idle."""

NOT_MEASURED = re.compile(
    r"(conformance|defs|gallery|media|report|simulation|simulator)/"
    r"|providers/test_\w+_fuzz"
    r"|test_(catalog|crash|layering|paid|plan|pricing|prompt_file|secrets|single_flight|style)"
)
"""Tests that are not measured for coverage, which takes half as long again: they are not about the purchase protocol,
or try it by examples that change with every commit, so that what they run through is no two times the same."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, so that all processes end at about the same time."""
    places = {name: place for place, name in enumerate(LONG_FILES_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    tests = Path(__file__).parent
    for item in items:
        if NOT_MEASURED.match(item.path.relative_to(tests).as_posix()):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Leave what is imported and collected out of every later look for garbage: it stays, and there is much of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure nothing where nothing is to be measured, in the gate's processes too.

    pytest-cov 7 begins two measurements in a process of pytest-xdist. It pauses one of them, and the other goes on.
    """
    if item.get_closest_marker("no_cover") and item.config.pluginmanager.hasplugin("_cov"):
        sys.settrace(None)
        threading.settrace(None)
    return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Record the sample of a test that cannot do so itself: Hypothesis calls its body many times."""
    for mark in item.iter_markers(SAMPLE):
        item.user_properties.append((SAMPLE, mark.args[0]))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the size of every sample: a proof that tried a part must say which part; and every count."""
    told = Counter(
        (name, value, report.nodeid.rpartition("::")[2].partition("[")[0])
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in report.user_properties
        if name in {SAMPLE, COUNT} and report.when == "call"
    )
    for (name, value, test), count in told.items():
        times = f", {count} tests" if count > 1 else ""
        terminalreporter.write_line(f"{name}: {value} ({test}{times})")


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
