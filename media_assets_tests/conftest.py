"""What holds for every test: no network beyond this machine, no settings or keys from the developer's environment."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROVIDER_KEYS = ("REPLICATE_API_TOKEN", "FAL_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY")
KEPT_VARIABLES = frozenset(
    {"MEDIA_ASSETS_LONG", "MEDIA_ASSETS_OPENAPI_DIR", "MEDIA_ASSETS_REQUIRE_BROWSER", "MEDIA_ASSETS_SCREENSHOTS"},
)
"""Switches of the tests themselves, which ``.ci/run`` sets; none is a setting of the product."""


SAMPLE = "sample"
"""The property under which a test that tries a sample records how large it was; printed at the end."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the size of every sample: a proof that tried a part must say which part."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == SAMPLE and report.when == "call":
                terminalreporter.write_line(f"sample: {value} ({report.nodeid.rpartition('::')[2]})")


class NetworkForbiddenError(OSError):
    """A test reached for the network; an OSError, so that the code under test cleans up as it would."""


@pytest.fixture(autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name in PROVIDER_KEYS or (name.startswith("MEDIA_ASSETS_") and name not in KEPT_VARIABLES):
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _no_network() -> Iterator[None]:
    attempts: list[str] = []
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(one: socket.socket, address: Any) -> None:
        if one.family in {socket.AF_INET, socket.AF_INET6} and not is_loopback(str(address[0])):
            attempts.append(str(address))
            message = f"a test connects to {address}; tests talk to loopback only"
            raise NetworkForbiddenError(message)

    def guarded_connect(one: socket.socket, address: Any) -> None:
        refuse(one, address)
        connect(one, address)

    def guarded_connect_ex(one: socket.socket, address: Any) -> int:
        refuse(one, address)
        return connect_ex(one, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield
    # The code under test may have swallowed the error, in a thread even; the test fails all the same.
    if attempts:
        pytest.fail(f"the test reached for the network: {', '.join(attempts)}")


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine; a name that would have to be looked up is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder of state for one test; it does not exist yet."""
    return tmp_path / "home"
