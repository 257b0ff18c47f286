"""``./dev bench submissions [--markdown]``: how many submissions one call sends when its reply goes wrong.

The vendors' own packages and our purchases, against the simulator, which counts. The packages' timeouts are set by
their own options, and ``time.sleep`` is skipped while they run: it changes how long they wait between tries, not how
often they try. Our purchases wait as their settings say.
"""

import contextlib
import importlib.metadata
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import httpx
import openai
from elevenlabs import ElevenLabs
from elevenlabs.core.api_error import ApiError
from fal_client import FalClientError, SyncClient
from replicate.client import Client
from replicate.exceptions import ReplicateError

from media_assets_tests.conformance.fal_sdk import hosts_at
from media_assets_tests.providers.buying import buy
from media_assets_tests.simulated import Market, hurried, open_market

_TIMEOUT_S = 0.4
_LATE_S = 3.0
_REFUSALS = 2
_SDXL = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
_VOICE = "21m00Tcm4TlvDq8ikWAM"
_ERRORS = (ReplicateError, FalClientError, ApiError, openai.OpenAIError, httpx.HTTPError)
_TAKES = itertools.count()

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "dropped": {"fault": "exec_and_drop"},
    "late": {"fault": "reply_late", "seconds": _LATE_S},
    "reset": {"fault": "reset_before_headers"},
    "cut": {"fault": "exec_and_truncate"},
    "500": {"fault": "exec_and_500"},
    "503": {"fault": "noexec_503"},
    "503 page": {"fault": "exec_and_503_nginx"},
    "400": {"fault": "400"},
    "429": {"fault": "429_header", "seconds": 0.1, "times": _REFUSALS},
}
"""By the heading of its column."""

LEGEND = f"""\
dropped: the connection ends without a reply; late: the reply comes after {_LATE_S:g} s, and is waited for
{_TIMEOUT_S:g} s; reset: the connection is reset before any header; cut: the reply ends in the middle of its body;
500: the provider's own error, though the work was accepted; 503: the same, and it was not; 503 page: a gateway's
page that names nginx, though the work was accepted; 400: a refusal; 429: {_REFUSALS} refusals for now, then open.
Each cell: submissions sent / submissions accepted, which is what may be billed. One was wanted."""


class Counted(NamedTuple):
    """What one call did."""

    posts: int
    accepted: int

    def __str__(self) -> str:
        return f"{self.posts}/{self.accepted}"


class Caller(NamedTuple):
    """Something that submits once, or should."""

    name: str
    call: Callable[[], object]


def main(arguments: list[str]) -> int:
    """Print the table; with ``--markdown`` as docs/submissions.md has it."""
    if set(arguments) - {"--markdown"}:
        print("usage: ./dev bench submissions [--markdown]", file=sys.stderr)
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as home, open_market(Path(home)) as market, _callers(market) as callers:
        rows = {one.name: [_count(market, one, rule) for rule in FAULTS.values()] for one in callers}
    _print(rows, is_markdown="--markdown" in arguments)
    print(f"\n{LEGEND}\nMeasured on {datetime.now(UTC):%Y-%m-%d} in {time.monotonic() - began:.0f} s.")
    return 0


def _count(market: Market, caller: Caller, rule: Mapping[str, Any]) -> Counted:
    market.set_faults({"call": "submit", **rule})
    posts, accepted = market.posts(), len(market.accepted())
    caller.call()
    return Counted(market.posts() - posts, len(market.accepted()) - accepted)


@contextlib.contextmanager
def _callers(market: Market) -> Iterator[list[Caller]]:
    with contextlib.ExitStack() as stack:
        packages = [Caller(name, _patiently(call)) for name, call in _packages(market, stack).items()]
        models = ("replicate:flux-schnell", "fal:flux-schnell", "openai:gpt-image-2", "elevenlabs:flash-v2.5")
        yield [*packages, *(Caller(f"media-assets, {model}", _our_own(market, model)) for model in models)]


def _patiently(call: Callable[[], object]) -> Callable[[], None]:
    """Return the call without the pauses between its tries and without its error."""

    def patiently() -> None:
        with mock.patch("time.sleep"), contextlib.suppress(*_ERRORS):
            call()

    return patiently


def _packages(market: Market, stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    url = market.simulator.url
    timeout = httpx.Timeout(_TIMEOUT_S)
    replicate = Client(api_token="r8_simulated", base_url=f"{url}/replicate", timeout=timeout)  # noqa: S106 - no secret
    stack.enter_context(contextlib.closing(replicate._client))  # noqa: SLF001 - the package closes nothing itself
    stack.enter_context(hosts_at(market.simulator))
    fal = SyncClient(key="simulated:key", default_timeout=_TIMEOUT_S)
    stack.enter_context(contextlib.closing(fal._client))  # noqa: SLF001
    own = stack.enter_context(openai.OpenAI(api_key="sk-simulated", base_url=f"{url}/openai/v1", timeout=_TIMEOUT_S))
    eleven = ElevenLabs(api_key="simulated", base_url=f"{url}/elevenlabs", timeout=_TIMEOUT_S)
    picture, voice = {"prompt": "a red barn"}, {"voice_id": _VOICE, "text": "Look up."}
    calls: dict[tuple[str, str], Callable[[], object]] = {
        ("replicate", "predictions.create"): lambda: replicate.predictions.create(version=_SDXL, input=picture),
        ("fal-client", "submit"): lambda: fal.submit("fal-ai/flux/schnell", picture),
        ("openai", "images.generate"): lambda: own.images.generate(model="gpt-image-2", size="256x256", **picture),
        ("openai", "audio.speech.create"): lambda: own.audio.speech.create(
            model="gpt-4o-mini-tts", voice="alloy", input="Look up."
        ),
        ("elevenlabs", "text_to_speech.convert"): lambda: list(eleven.text_to_speech.convert(**voice)),
        ("elevenlabs", "convert_with_timestamps"): lambda: eleven.text_to_speech.convert_with_timestamps(**voice),
    }
    return {f"{package} {importlib.metadata.version(package)} {what}": call for (package, what), call in calls.items()}


def _our_own(market: Market, model: str) -> Callable[[], None]:
    def once() -> None:
        buy(market, hurried(model, post_deadline_s=_TIMEOUT_S), take=next(_TAKES))

    return once


def _print(rows: Mapping[str, list[Counted]], *, is_markdown: bool) -> None:
    if is_markdown:
        print(f"| one call | {' | '.join(FAULTS)} |\n|---|{'---:|' * len(FAULTS)}")
        for name, counts in rows.items():
            cells = [f"**{one}**" if one.accepted > 1 else str(one) for one in counts]
            print(f"| {name} | {' | '.join(cells)} |")
        return
    width = max(map(len, rows))
    print(f"{'one call':{width}} {' '.join(f'{name:>8}' for name in FAULTS)}")
    for name, counts in rows.items():
        print(f"{name:{width}} {' '.join(f'{one!s:>8}' for one in counts)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
