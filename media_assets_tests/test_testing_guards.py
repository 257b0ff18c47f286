"""The plugin's guards and fixtures in pytest runs of their own: nobody gets out, and everything is the test's own."""

import json
import re

import pytest

from media_assets.settings import KEY_FIELDS

pytest_plugins = ["pytester"]


def _run(pytester: pytest.Pytester, code: str) -> tuple[dict[str, list[str]], str]:
    """Run tests under the plugin; return the words that pytest's summary has for each, and all it printed.

    In a process of its own: a run within this one would take the modules it imports out again, and what is imported
    a second time later on is no longer what others hold (httpx does not know the errors of a second httpcore).
    """
    pytester.makepyfile(code)
    with pytest.MonkeyPatch.context() as patch:
        # Under CI, pytest repeats each failure in its summary, and what is counted here would be there twice.
        for name in ("CI", "BUILD_NUMBER"):
            patch.delenv(name, raising=False)
        run = pytester.runpytest_subprocess("-rA", "-p", "media_assets.testing", "-p", "no:cacheprovider", timeout=60)
    words: dict[str, list[str]] = {}
    for word, name in re.findall(
        r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) \S+?::(\S+)", run.stdout.str(), re.MULTILINE
    ):
        words.setdefault(name.rpartition("::")[2], []).append(word)
    return words, run.stdout.str()


REACHING_OUT = """
import asyncio, contextlib, socket, threading, urllib.request
from socket import create_connection, getaddrinfo
import httpx, pytest

quietly = contextlib.suppress(OSError, httpx.HTTPError)

def test_address():
    with quietly:
        create_connection(("192.0.2.1", 9), timeout=1)

def test_code():
    with socket.socket() as one, quietly:
        one.connect_ex(("192.0.2.1", 9))

def test_v6():
    with socket.socket(socket.AF_INET6) as one, quietly:
        one.connect(("2001:db8::1", 9))

def test_name():
    with quietly:
        getaddrinfo("api.replicate.com", 443)

def test_old_name():
    with quietly:
        socket.gethostbyname("api.replicate.com")

def test_datagram():
    with socket.socket(type=socket.SOCK_DGRAM) as one, quietly:
        one.sendto(b"", ("192.0.2.1", 53))

def test_client():
    with quietly:
        httpx.get("https://api.replicate.com")

def test_library():
    with quietly:
        urllib.request.urlopen("https://api.replicate.com")

def test_loop():
    async def ask():
        with quietly:
            await asyncio.open_connection("api.replicate.com", 443)
    asyncio.run(ask())

def test_thread():
    one = threading.Thread(target=test_address)
    one.start()
    one.join()

@pytest.mark.xfail
def test_expected():
    with quietly:
        create_connection(("192.0.2.1", 9))
    assert False

def test_loud():
    create_connection(("192.0.2.1", 9))

def test_skipped():
    test_address()
    pytest.skip("not today")

@pytest.fixture(scope="session")
def early():
    test_address()

def test_session(early):
    pass

@pytest.fixture
def late():
    yield
    test_address()

def test_late(late):
    pass

def test_innocent():
    pass
"""


def test_whoever_reaches_out_fails_even_when_the_error_is_swallowed(pytester: pytest.Pytester) -> None:
    """A retry loop swallows errors, a thread loses them, and an expected failure hides them."""
    words, printed = _run(pytester, REACHING_OUT)

    assert words.pop("test_innocent") == ["PASSED"]
    assert words.pop("test_session") == ["ERROR"]
    assert sorted(words.pop("test_late")) == ["ERROR", "PASSED"]
    assert len(words) == 13
    assert [name for name, became in words.items() if became != ["FAILED"]] == []
    assert printed.count("the test reached for the network: ") == 15


def test_this_machine_can_be_reached(pytester: pytest.Pytester) -> None:
    """Servers, databases and the simulator are on it; and who serves asks for the machine's own name."""
    words, printed = _run(
        pytester,
        """
        import asyncio, socket

        def test_loopback():
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(("localhost", server.getsockname()[1])).close()

        def test_everywhere():
            socket.getaddrinfo("0.0.0.0", 80)
            socket.getaddrinfo(None, 80, flags=socket.AI_PASSIVE)
            socket.getfqdn()

        def test_datagram():
            with socket.socket(type=socket.SOCK_DGRAM) as one:
                one.sendto(b"", ("127.0.0.1", 9))

        def test_pair():
            for one in socket.socketpair():
                one.close()
            asyncio.run(asyncio.sleep(0))
        """,
    )

    assert len(words) == 4, printed
    assert [name for name, became in words.items() if became != ["PASSED"]] == [], printed


@pytest.mark.parametrize("swallowed", [True, False], ids=["swallowed", "loud"])
def test_a_test_file_that_reaches_out_while_it_is_imported_ends_the_run(
    pytester: pytest.Pytester, *, swallowed: bool
) -> None:
    """A client made at the top of a module is the commonest one of all."""
    caught = "OSError" if swallowed else "KeyError"
    pytester.makepyfile(
        f"import socket\ntry:\n    socket.create_connection(('192.0.2.1', 9))\nexcept {caught}:\n    pass\n"
        "def test_anything(): pass"
    )

    result = pytester.runpytest_inprocess("-p", "media_assets.testing", "-p", "no:cacheprovider")

    assert result.ret != 0
    result.assert_outcomes(errors=0 if swallowed else 1)
    assert re.search(r"192\.0\.2\.1", result.stdout.str() + result.stderr.str())


OUTSIDE = {
    **{field.upper(): "real" for field in KEY_FIELDS.values()},
    "FAL_KEY_SECRET": "real",
    "https_proxy": "http://127.0.0.1:3128",
    "MEDIA_ASSETS_HOME": "/real",
    "MEDIA_ASSETS_LEDGER_URL": "postgresql://real",
    "media_assets_max_cost_usd": "1000",
}


def test_keys_proxies_and_settings_from_outside_are_gone_and_come_back(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Child processes inherit an environment in which there is nothing to pay with; a test's own values stay."""
    for name, value in OUTSIDE.items():
        monkeypatch.setenv(name, value)
    pytester.makeconftest(
        """
        import atexit, json, os, pathlib
        os.environ["FAL_KEY"] = "read from a file"
        atexit.register(lambda: pathlib.Path("afterwards.json").write_text(json.dumps(dict(os.environ))))
        """
    )

    words, printed = _run(
        pytester,
        f"""
        import dataclasses, os, pytest
        from media_assets.settings import load_settings

        os.environ["OPENAI_API_KEY"] = "read while collecting"

        @pytest.fixture(autouse=True)
        def own(monkeypatch):
            monkeypatch.setenv("MEDIA_ASSETS_MAX_IN_FLIGHT", "3")

        def test_gone():
            assert not {set(OUTSIDE)!r} & set(os.environ)
            settings = load_settings()
            assert (settings.keys(), settings.home, settings.max_in_flight) == ({{}}, None, 3)
            assert set(dataclasses.asdict(settings.endpoints()).values()) == {{"http://127.0.0.1:9"}}
        """,
    )

    assert words == {"test_gone": ["PASSED"]}, printed
    now = json.loads((pytester.path / "afterwards.json").read_text(encoding="utf-8"))
    assert {name: now.get(name) for name in OUTSIDE} == {**OUTSIDE, "FAL_KEY": "read from a file"}


def test_the_fixtures_give_a_studio_that_buys_from_the_simulator(pytester: pytest.Pytester) -> None:
    """Keys, addresses and home: all of the test's own, and another one's in the next test."""
    words, printed = _run(
        pytester,
        """
        import asyncio, dataclasses, pytest
        from media_assets.prompt import Prompt, Step
        from media_assets.settings import load_settings
        from media_assets.simulator.server import SimulatorOptions

        ROUTES = {"image": ["replicate:flux-schnell"]}
        PROMPT = Prompt.model_validate({"key": "cat", "prompt": "a cat", "routes": ROUTES})

        @pytest.mark.parametrize("turn", [1, 2])
        def test_buys(simulator, studio, media_home, tmp_path, turn):
            settings = load_settings()
            assert settings.home == studio.home == media_home
            assert tmp_path in media_home.parents
            assert set(settings.keys()) == {"replicate", "fal", "openai", "elevenlabs"}
            assert all(url.startswith(simulator.url + "/") for url in dataclasses.asdict(settings.endpoints()).values())
            film = asyncio.run(studio.make(PROMPT, wanted=[Step.IMAGE]))
            assert film.cost_usd == simulator.bill_usd > 0
            assert simulator.posts() == 1

        class TestOther:
            @pytest.fixture
            def simulator_options(self):
                return SimulatorOptions(time_scale=0.001)

            def test_options(self, simulator):
                assert simulator._world.options.time_scale == 0.001

        def test_day(media_today):
            from media_assets.catalog import load_catalog
            for spec in load_catalog():
                assert spec.lifetime(media_today) != "retired"
                assert all(price.from_day <= media_today for price in spec.price)
        """,
    )

    assert set(words) == {"test_buys[1]", "test_buys[2]", "test_options", "test_day"}, printed
    assert all(became == ["PASSED"] for became in words.values()), printed
