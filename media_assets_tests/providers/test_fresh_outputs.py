"""An output that is refused where it is said to be: looked for again, under its address and a fresh one, then lost."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import KeyRejectedError, OutputLostError, ProviderUnavailableError
from media_assets.ledger.rows import PurchaseState
from media_assets.simulator.media import picture
from media_assets_tests.conformance.our_requests import PICTURE_PX
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.buying import Bought
from media_assets_tests.providers.scripted import FAST, ID, ReplicateScript, answer_json, fal_queue, scripted
from media_assets_tests.providers.transport.raw_server import Connection, Received
from media_assets_tests.simulated import hurried

_SPEC = load_catalog().get("replicate:flux-schnell")
_PICTURE = (200, picture(PICTURE_PX, seed=1))
_MOST = 3
"""Times that one address is tried."""


def _made(*paths: str) -> Any:
    """Say that it succeeded, with its output at one path after the other; the last stays."""
    return lambda nth: {"status": "succeeded", "output": paths[min(nth, len(paths) - 1)]}


def _assert_bought(one: Bought) -> None:
    assert one.error is None
    assert (one.row.state, one.posts) == (PurchaseState.SUCCEEDED, 1)


def _assert_lost(one: Bought, home: Path) -> None:
    """Paid once, settled, and a person's to decide."""
    assert isinstance(one.error, OutputLostError)
    assert (one.row.state, one.posts) == (PurchaseState.LOST_OUTPUT, 1)
    assert (one.row.cost_micro_usd, reserved_micro_usd(home)) == (3_000, 0)


@pytest.mark.parametrize("statuses", list(itertools.product([401, 403, 404], repeat=2)))
def test_a_fresh_output_may_be_refused_for_a_moment(tmp_path: Path, statuses: tuple[int, int]) -> None:
    """A file that was made a moment ago is not everywhere yet; nothing is lost by asking for it again."""
    script = ReplicateScript(
        stands=_made("/a"), files={"/a": lambda nth: (statuses[nth], b"") if nth < len(statuses) else _PICTURE}
    )
    with scripted(tmp_path, script) as provider:
        _assert_bought(provider.buy(_SPEC))

    assert script.asked["/a"] == _MOST
    assert script.asked[f"/predictions/{ID}"] == 1


def test_an_address_that_expired_is_asked_for_anew(tmp_path: Path) -> None:
    """Signatures are short-lived, and the prediction has a fresh one."""
    script = ReplicateScript(
        stands=_made("/old", "/new"), files={"/old": lambda _nth: (403, b""), "/new": lambda _nth: _PICTURE}
    )
    with scripted(tmp_path, script) as provider:
        _assert_bought(provider.buy(_SPEC))

    assert (script.asked["/old"], script.asked["/new"]) == (_MOST, 1)


def test_a_file_that_is_said_to_be_gone_is_asked_for_anew_at_once(tmp_path: Path) -> None:
    script = ReplicateScript(
        stands=_made("/old", "/new"), files={"/old": lambda _nth: (410, b""), "/new": lambda _nth: _PICTURE}
    )
    with scripted(tmp_path, script) as provider:
        _assert_bought(provider.buy(_SPEC))

    assert script.asked["/old"] == 1


@pytest.mark.parametrize("paths", [("/a",), ("/a", "/b", "/c")], ids=["one address", "fresh ones"])
def test_what_is_refused_under_a_fresh_address_too_is_lost(tmp_path: Path, paths: tuple[str, ...]) -> None:
    """Once: a provider that hands out addresses for ever must not be asked for ever."""
    refused = dict.fromkeys(paths, lambda _nth: (404, b""))
    script = ReplicateScript(stands=_made(*paths), files=refused)
    with scripted(tmp_path, script) as provider:
        one = provider.buy(_SPEC)
        _assert_lost(one, tmp_path)
        asked = script.asked.total()
        again = provider.buy(_SPEC)

    assert [script.asked[path] for path in paths] == [_MOST, _MOST, 0][: len(paths)]
    assert script.asked[f"/predictions/{ID}"] == 2
    assert (again.posts, script.asked.total()) == (0, asked)


@pytest.mark.parametrize(
    "then", [{"status": "succeeded", "output": None, "data_removed": True}, {"status": "succeeded"}]
)
def test_what_the_prediction_has_no_more_is_lost(tmp_path: Path, then: Mapping[str, Any]) -> None:
    first = {"status": "succeeded", "output": "/a"}
    script = ReplicateScript(stands=lambda nth: then if nth else first, files={"/a": lambda _nth: (403, b"")})
    with scripted(tmp_path, script) as provider:
        _assert_lost(provider.buy(_SPEC), tmp_path)


def test_a_provider_that_cannot_be_asked_just_now_loses_nothing(tmp_path: Path) -> None:
    """Whether there is a fresh address is not known then: the next run asks."""
    down = True
    files = {"/old": lambda _nth: (403, b""), "/new": lambda _nth: _PICTURE}

    def answer(connection: Connection, request: Received) -> None:
        if down and script.asked["/old"] == _MOST:
            answer_json(connection, {}, status="503 Busy")
        else:
            script(connection, request)

    script = ReplicateScript(stands=_made("/old", "/new"), files=files)
    with scripted(tmp_path, answer) as provider:
        one = provider.buy(hurried("replicate:flux-schnell", poll_error_budget_s=0.1))
        down = False
        again = provider.buy(_SPEC)

    assert isinstance(one.error, ProviderUnavailableError)
    assert (one.row.state, one.row.cost_micro_usd) == (PurchaseState.DONE, 3_000)
    assert again.error is None
    assert (again.posts, again.row.cost_micro_usd) == (0, 3_000)


def test_a_key_that_is_refused_meanwhile_loses_nothing(tmp_path: Path) -> None:
    def answer(connection: Connection, request: Received) -> None:
        if script.asked["/a"]:
            answer_json(connection, {}, status="401 Unauthorized")
        else:
            script(connection, request)

    script = ReplicateScript(stands=_made("/a"), files={"/a": lambda _nth: (401, b"")})
    with scripted(tmp_path, answer) as provider:
        one = provider.buy(_SPEC)

    assert isinstance(one.error, KeyRejectedError)
    assert one.row.state is PurchaseState.DONE


def test_a_result_of_its_own_is_asked_for_again(tmp_path: Path) -> None:
    """Fal's outputs are in an answer apart from the state."""
    results = itertools.count()

    def result(connection: Connection, request: Received) -> None:
        if request.path == "/old":
            connection.reply(b"", status="403 Forbidden")
            return
        path = "/new" if next(results) else "/old"
        answer_json(connection, {"images": [{"url": f"http://{request.headers['host']}{path}"}]})

    with scripted(tmp_path, fal_queue(result, files={"/new": _PICTURE[1]})) as provider:
        _assert_bought(provider.buy(load_catalog().get("fal:flux-schnell")))


def test_a_reply_that_comes_once_cannot_be_asked_again(tmp_path: Path) -> None:
    """OpenAI's older models answer with an address."""

    def answer(connection: Connection, request: Received) -> None:
        if request.method == "POST":
            answer_json(connection, {"data": [{"url": f"http://{request.headers['host']}/a"}]}, x_request_id="req_1")
        else:
            connection.reply(b"", status="404 Not Found")

    with scripted(tmp_path, answer) as provider:
        one = provider.buy(load_catalog().get("openai:gpt-image-2"))

    assert isinstance(one.error, OutputLostError)
    assert (one.row.state, one.posts) == (PurchaseState.LOST_OUTPUT, 1)
    assert len(provider.server.requests) == 1 + _MOST


def test_the_waits_are_those_of_the_settings(tmp_path: Path) -> None:
    """A second and two by default; here a hundredth of that."""
    script = ReplicateScript(stands=_made("/a"), files={"/a": lambda _nth: (404, b"")})
    with scripted(tmp_path, script, options=replace(FAST, backoff_first_s=0.4)) as provider:
        one = provider.buy(hurried("replicate:flux-schnell", download_deadline_s=0.5))

    assert isinstance(one.error, OutputLostError), "a wait that would pass the deadline is not begun"
    assert script.asked["/a"] == 2
