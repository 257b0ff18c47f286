"""The guards that every other test relies on."""

import os
import socket

import pytest

from media_assets.testing import is_loopback

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - compared, not bound
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("api.replicate.com", False),
        ("localhost.example.org", False),
    ],
)
def test_only_this_machine_counts_as_loopback(host: str, expected: bool) -> None:  # noqa: FBT001
    """A name that resolves to loopback today can resolve elsewhere tomorrow."""
    assert is_loopback(host) is expected


def test_a_server_on_loopback_can_be_reached() -> None:
    """The simulator and the webserver live there."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_reaching_out_fails_the_test_even_when_the_code_swallows_the_error(pytester: pytest.Pytester) -> None:
    """One forgotten loopback URL could spend money, and a retry loop would hide it."""
    pytester.makeconftest("from media_assets_tests.conftest import _no_network")
    pytester.makepyfile(
        """
        import contextlib, socket

        def test_swallows():
            with contextlib.suppress(OSError):
                socket.create_connection(("192.0.2.1", 9), timeout=1)

        def test_stays_here():
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname()).close()
        """
    )

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*the test reached for the network: ('192.0.2.1', 9)*"])


@pytest.mark.parametrize("name", ["MEDIA_ASSETS_HOME", "MEDIA_ASSETS_LEDGER_URL", "FAL_KEY", "REPLICATE_API_TOKEN"])
def test_the_developers_own_settings_do_not_reach_a_test(pytester: pytest.Pytester, name: str) -> None:
    """A test on somebody's real ledger, or with a real key, is the accident that costs money."""
    pytester.makeconftest("from media_assets_tests.conftest import _no_settings_from_outside")
    pytester.makepyfile(f"import os\ndef test_gone():\n    assert {name!r} not in os.environ")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "from outside")
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
        assert os.environ[name] == "from outside"

    result.assert_outcomes(passed=1)
