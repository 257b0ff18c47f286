"""A pytest plugin for tests of your own pipelines: simulated providers, tiny media, and no way to a real provider.

Use it as ``pytest_plugins = ["media_assets.testing"]`` in the ``conftest.py`` at the top of your tests, or as
``pytest -p media_assets.testing``. It is no entry point: that media_assets is installed changes nobody's pytest runs.

In every test that runs under the plugin, the keys, proxies and settings of the environment are gone, the providers'
addresses lead nowhere, and whoever reaches beyond loopback gets an error and fails the test, swallowed or not. Python's
own sockets are held. What cannot be held from here: sockets of child processes (they inherit the clean environment, and
that is all) and of C libraries that bring their own, such as libpq, ffmpeg inside PyAV, or uvloop.

PYTEST_DONT_REWRITE: there is no assertion in here.
"""

import functools
import socket
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import date
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

try:
    import pytest
except ImportError as missing:
    _NO_PYTEST = "media_assets.testing is a plugin of pytest, which media_assets does not bring: install pytest."
    raise ImportError(_NO_PYTEST, name=missing.name) from missing

from media_assets.catalog import load_catalog
from media_assets.errors import ConfigurationError
from media_assets.providers.endpoints import Endpoints
from media_assets.settings import KEY_FIELDS, Settings, load_settings
from media_assets.simulator.bill import bill, prices
from media_assets.simulator.options import PROVIDERS, SimulatorOptions

if TYPE_CHECKING:
    from media_assets.simulator.server import Simulator
    from media_assets.simulator.submissions import Submission
    from media_assets.studio import Studio

__all__ = ["NetworkForbiddenError", "SimulatedProviders", "no_network", "tiny_clip", "tiny_image", "tiny_voice"]

_PREFIX: Final = Settings.model_config.get("env_prefix", "")

NOWHERE: Final = "http://127.0.0.1:9"
"""Where the providers are without a simulator: the discard port, on which only root could listen."""

_FOREIGN: Final = (
    *(field.upper() for field in KEY_FIELDS.values()),
    # Read by the providers' own SDKs besides: fal-client 1.0.3, openai 3.54.0.
    *("FAL_KEY_ID", "FAL_KEY_SECRET", "OPENAI_ADMIN_KEY"),
    # A proxy on loopback would be let through, and would go on to the provider.
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
)

_FAST: Final = {"POLL_INTERVAL_S": "0.02", "RETRY_INTERVAL_S": "0.02", "SETTLE_LAG_S": "0.1", "MIN_FREE_MB": "0"}
"""Short waits, of which none is left out; and a full disk is no reason for a test to fail."""

_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
_SENDING: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOKING_UP: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})

_VOICE_FORMATS: Final = {"mp3": "mp3", "wav": "wav", "flac": "flac", "ogg": "opus", "opus": "opus", "aac": "aac"}
_PICTURE_MIMES: Final = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}


class NetworkForbiddenError(OSError):
    """A test reached for the network; an OSError, so that the code under test cleans up as it would."""


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine; a name that would have to be looked up is not."""
    number = _number(host)
    return host == "localhost" if number is None else number.is_loopback


def _number(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


class _Guard:
    """Refuses what reaches beyond loopback, and remembers it."""

    def __init__(self) -> None:
        self._reached: list[str] = []

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        reached = _reached(event, arguments)
        if reached is not None:
            self._reached.append(reached)
            message = f"a test reaches for {reached}; tests talk to loopback only"
            raise NetworkForbiddenError(message)

    def complaint(self) -> str | None:
        """Return what was reached for since this was asked last; whether the error was swallowed is all one."""
        told, self._reached = self._reached, []
        return f"the test reached for the network: {', '.join(told)}" if told else None


def _reached(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event in _SENDING:
        one, address = arguments
        is_here = one.family not in _INTERNET or address is None or is_loopback(_text(address[0]))
        return None if is_here else str(address)
    # A number needs no looking up, and servers ask for their own machine's name.
    host = _text(arguments[0]).lower()
    is_here = _number(host) is not None or host in {"", "localhost", socket.gethostname().lower()}
    return None if is_here else f"the address of {host}"


def _text(host: Any) -> str:
    return bytes(host).decode("ascii", "replace") if isinstance(host, bytes | bytearray) else str(host or "")


_guards: Final[list[_Guard]] = []
"""The last one is in force: a pytest run within a test has its own."""


@functools.cache
def _listen() -> None:
    # Audit events come from below the socket module, so that no reference taken early and no patch goes round them.
    # A hook cannot be taken out again (PEP 578); without a guard it does nothing.
    def heard(event: str, arguments: tuple[Any, ...], guards: list[_Guard] = _guards) -> None:
        if guards and (event in _SENDING or event in _LOOKING_UP):
            for guard in guards[-1:]:
                guard.look(event, arguments)

    sys.addaudithook(heard)


@contextmanager
def _guarded() -> Iterator[_Guard]:
    _listen()
    guard = _Guard()
    _guards.append(guard)
    try:
        yield guard
    finally:
        _guards.remove(guard)


@contextmanager
def no_network() -> Iterator[None]:
    """Let nothing in this process reach beyond loopback; fail the test at the end if anything tried.

    The plugin does this around every test; it is here for those who use its parts by themselves.
    """
    with _guarded() as guard:
        yield
    if complaint := guard.complaint():
        pytest.fail(complaint)


def _clean_environment(patch: pytest.MonkeyPatch) -> None:
    """Take away keys, proxies and all settings of media_assets, and let the providers' addresses lead nowhere."""
    for name in {*_FOREIGN, *(_PREFIX + setting for setting in Settings.model_fields)}:
        for spelling in (name.upper(), name.lower()):
            patch.delenv(spelling, raising=False)
    for address in fields(Endpoints):
        patch.setenv((_PREFIX + address.name).upper(), NOWHERE)


_patch_key: Final = pytest.StashKey[pytest.MonkeyPatch]()
_guard_key: Final = pytest.StashKey[_Guard]()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Clean the environment once every ``conftest.py`` has had its say, and put it back at the end."""
    patch = config.stash[_patch_key] = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    _clean_environment(patch)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Guard the import of test modules, and clean up what they read from a ``.env`` file."""
    with _guarded() as guard:
        result = yield
    _clean_environment(session.config.stash[_patch_key])
    if complaint := guard.complaint():
        raise pytest.UsageError(complaint.replace("the test", "a test file, while it was collected,"))
    return result


# Hooks, not an autouse fixture: fixtures of a wider scope, and some of the user's own, are set up before that.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Guard a test with all its fixtures."""
    with _guarded() as guard:
        item.stash[_guard_key] = guard
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what reached for the network: the test, its set-up or its clean-up, whatever else became of it."""
    report = yield
    if complaint := item.stash[_guard_key].complaint():
        report.longrepr = f"{report.longreprtext}\n\n{complaint}" if report.failed else complaint
        report.outcome = "failed"
    return report


class SimulatedProviders:
    """The providers of one test, at ``url``: what goes wrong, what was bought, and what it costs."""

    def __init__(self, simulator: "Simulator") -> None:
        self.url = simulator.url
        self._world = simulator.world

    def fail_times(
        self,
        n: int,
        *,
        provider: str | None = None,
        model: str | None = None,
        call: str = "submit",
        fault: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Let the next ``n`` calls of a kind fail, after those that earlier rules let fail.

        Args:
            n: How many; 0 lets none fail.
            provider: replicate, fal, openai or elevenlabs; None for all.
            model: A model of the catalog such as ``replicate:sdxl``, or the provider's own name for it; None for all.
            call: submit, poll, result, cancel, upload, download or list.
            fault: A name from ``simulator.faults.FAULTS``. None: a refusal that is safe to repeat, 429 (download: 503).
            seconds: For faults that take time, virtual seconds; a 429 asks to wait 0 when not given.

        Raises:
            ConfigurationError: There is no such fault, provider or model, or it cannot happen to such a call.
        """
        fault = fault or ("noexec_503" if call == "download" else "429_header")
        if seconds is None and fault.startswith("429"):
            seconds = 0.0
        rule = {"provider": provider, "model": model, "call": call, "fault": fault, "seconds": seconds, "times": n}
        if n:
            self._world.faults.replace([*self._left(), _rule(rule)])

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Let these things go wrong from now on, and nothing else; without rules, nothing.

        Args:
            rules: ``{provider, model, call, fault, times, probability, seconds, value}``, only ``fault`` is needed; the
                first that fits a call and is not used up decides. ``model`` is written as for :meth:`fail_times`.

        Raises:
            ConfigurationError: As :meth:`fail_times`; the old rules stay.
        """
        self._world.faults.replace([_rule(rule) for rule in rules])

    def _left(self) -> list[dict[str, Any]]:
        """Return the rules in force, less what they have done already: replacing them begins their counts anew."""
        left = []
        for rule in self._world.faults.listing():
            fired = rule.pop("fired")
            if "times" in rule:
                rule["times"] -= fired
            if rule.get("times", 1) > 0:
                left.append(rule)
        return left

    @property
    def submissions(self) -> "tuple[Submission, ...]":
        """Every submission that was accepted, oldest first, with its input as it was sent."""
        self._world.settle()
        return self._world.submissions.all()

    @property
    def bill_usd(self) -> Decimal:
        """What all of it costs, by the simulator's own prices."""
        return Decimal(bill(self.submissions)["total_usd"])

    def posts(self, provider: str | None = None) -> int:
        """Return how many submissions were sent to a provider, or to all; accepted or not."""
        return self.requests(provider, call="submit")

    def requests(self, provider: str | None = None, *, call: str | None = None) -> int:
        """Return how many HTTP requests were sent; ``call`` as for :meth:`fail_times`, None for all."""
        received = [(kind, count) for kind, count in self._world.received().items() if kind.provider]
        return sum(n for kind, n in received if provider in (None, kind.provider) and call in (None, kind.call))

    def advance(self, seconds: float) -> None:
        """Let virtual time pass at once: runs end, URLs expire.

        Raises:
            ConfigurationError: Time does not run backwards.
        """
        self._world.clock.advance(seconds)
        self._world.settle()


def _rule(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule with the provider's own name for its model; one that names nobody would never fire."""
    rule = {name: value for name, value in given.items() if value is not None}
    model, provider = rule.get("model"), rule.get("provider")
    if not isinstance(model, str):
        return rule
    wanted = {model}
    if ":" in model:
        spec = load_catalog().get(model)
        # Some providers take a model in the path, others by the name that the catalog has as its version.
        wanted, provider = {spec.endpoint, spec.version}, provider or spec.provider
    for known_provider, known in prices():
        if provider in (None, known_provider) and known in wanted:
            return {**rule, "provider": known_provider, "model": known}
    message = f"model: the simulator has no {model!r} at {provider or 'any provider'}."
    raise ConfigurationError(message)


@pytest.fixture
def media_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of state of the test's own, ``MEDIA_ASSETS_HOME``; it does not exist yet."""
    home = tmp_path / "media_home"
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(home))
    return home


@pytest.fixture
def simulator_options() -> SimulatorOptions:
    """Return how the simulator behaves: runs of at most 0.05 s. Override it to have another."""
    return SimulatorOptions(latency_s=dict.fromkeys(PROVIDERS, (0.0, 0.05)))


@pytest.fixture
def simulator(
    simulator_options: SimulatorOptions, media_home: Path, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[SimulatedProviders]":
    """Run the providers' simulator; the environment points at it, with keys and short waits, and at ``media_home``."""
    del media_home  # what was bought for nothing must be in nobody's own ledger
    from media_assets.simulator.server import running_simulator  # noqa: PLC0415 - a server takes long to import

    with running_simulator(simulator_options) as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        for name, value in _FAST.items():
            monkeypatch.setenv(_PREFIX + name, value)
        yield SimulatedProviders(running)


@pytest.fixture
def media_today() -> date:
    """Return the day on which the studio buys: that of the catalog's newest price, whatever the calendar says."""
    return max(price.from_day for spec in load_catalog() for price in spec.price)


@pytest.fixture
def studio(simulator: SimulatedProviders, media_home: Path, media_today: date) -> "Iterator[Studio]":
    """Open a studio that buys from the simulator, with settings as the environment has them."""
    del simulator
    from media_assets.studio import open_studio  # noqa: PLC0415

    with open_studio(media_home, load_settings().studio_options(), today=lambda: media_today) as opened:
        yield opened


def tiny_image(path: Path, *, size_px: tuple[int, int] = (64, 64), seed: int = 0) -> Path:
    """Write a picture that is neither black nor blank, in milliseconds; ``.png``, ``.jpg`` or ``.webp``."""
    from media_assets.simulator.media import picture  # noqa: PLC0415

    path.write_bytes(picture(size_px, _by_suffix(path, _PICTURE_MIMES), seed))
    return path


def tiny_clip(
    path: Path, *, size_px: tuple[int, int] = (64, 64), duration_s: float = 1.0, fps: int = 8, seed: int = 0
) -> Path:
    """Write a silent H.264 clip in which something moves; ``.mp4``, both sides even."""
    from media_assets.simulator.media import clip  # noqa: PLC0415

    _by_suffix(path, {"mp4": "mp4"})
    path.write_bytes(clip(size_px, fps=fps, duration_s=duration_s, seed=seed))
    return path


def tiny_voice(path: Path, *, text: str = "A tiny voice.", duration_s: float | None = None) -> Path:
    """Write a hum in syllables, mono, 24 kHz, as long as the text would take; ``.mp3``, ``.wav``, ``.flac``, ..."""
    from media_assets.simulator.media import speech, speech_s  # noqa: PLC0415

    seconds = speech_s(text) if duration_s is None else duration_s
    path.write_bytes(speech(text, seconds, _by_suffix(path, _VOICE_FORMATS)))
    return path


def _by_suffix(path: Path, known: Mapping[str, str]) -> str:
    if (suffix := path.suffix.lower().removeprefix(".")) not in known:
        message = f"{path.name} cannot be made; its name must end in one of .{', .'.join(known)}."
        raise ConfigurationError(message)
    return known[suffix]
