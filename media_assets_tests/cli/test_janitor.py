"""``janitor`` as it is typed: what it says, what it leaves alone, and its exit codes."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets_tests.canaries import KEYS, find_in_folder, find_in_texts, lines, marked_simulators
from media_assets_tests.cli.running import Cli, Ended, start
from media_assets_tests.simulated import FAST, Market, open_market


class Home:
    """A home whose runs ended too early, and the command line on it."""

    def __init__(self, market: Market, cli: Cli) -> None:
        self.market = market
        self._cli = cli
        self.environment = {**market.simulator.environment(), **FAST}

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        return self._cli(*arguments, **{**self.environment, **environment})

    def leave_unknown(self, model: str, key: str, fault: str = "exec_and_drop") -> None:
        self.market.set_faults({"call": "submit", "fault": fault})
        picture = ("--prompt", key, "--key", key, "--only", "image", "--route", f"image={model}", "--no-wait")
        assert self("generate", *picture, MEDIA_ASSETS_SETTLE_LAG_S="60").code == 5
        self.market.set_faults()

    def states(self) -> dict[str, str]:
        return {row["prompt_key"]: row["state"] for row in self("ledger", "list", "--json").objects()}


@pytest.fixture
def one(home: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Home]:
    with open_market(home) as market:
        yield Home(market, Cli(home, capsys))


def test_where_nothing_was_made_nothing_is_made(cli: Cli) -> None:
    ended = cli("janitor")

    assert (ended.code, ended.out) == (0, "")
    assert "nothing made yet" in ended.err
    assert not cli.home.exists()


def test_what_is_open_is_cleared_and_told(one: Home) -> None:
    """Found, it is fetched; never arrived, it is released; both have come to an end."""
    one.leave_unknown("replicate:sdxl", "barn")
    one.leave_unknown("replicate:sdxl", "mill", "noexec_500")
    posts = one.market.posts()

    ended = one("janitor")

    assert ended.code == 0
    assert "1 finished, 1 released" in ended.err
    assert "nothing was submitted" in ended.err
    assert [name in ended.out for name in ("barn", "finished", "mill", "released")] == [True] * 4
    assert one.states() == {"barn": "SUCCEEDED", "mill": "CANCELED"}
    assert one.market.posts() == posts
    again = one("janitor")
    assert (again.code, again.out, "nothing is open" in again.err) == (0, "", True)
    assert "nothing is open" in one("janitor", "--dry-run").err


def test_what_is_waited_for_is_said(one: Home) -> None:
    one.leave_unknown("replicate:sdxl", "barn")

    ended = one("janitor", MEDIA_ASSETS_SETTLE_LAG_S="3")

    assert (ended.code, "until replicate's list tells" in ended.err) == (0, True)


def test_no_wait_holds_it_and_ends_with_its_own_code(one: Home) -> None:
    one.leave_unknown("replicate:sdxl", "barn")

    ended = one("janitor", "--no-wait", "--json", MEDIA_ASSETS_SETTLE_LAG_S="60")

    told = ended.only()
    assert ended.code == 5
    assert (told["was"], told["state"], told["outcome"]) == ("UNKNOWN", "UNKNOWN", "held")
    assert "replicate can be asked what came of it in" in told["why"]
    assert one.states() == {"barn": "UNKNOWN"}


def test_an_interrupt_leaves_what_is_waited_for_as_it_is(one: Home) -> None:
    one.leave_unknown("replicate:sdxl", "barn")
    surroundings: dict[str, Any] = {**one.environment, "MEDIA_ASSETS_HOME": one.market.home}

    with start("janitor", **{**surroundings, "MEDIA_ASSETS_SETTLE_LAG_S": "60"}) as janitor:
        assert janitor.stderr is not None
        assert "until replicate's list tells" in janitor.stderr.readline()
        janitor.send_signal(signal.SIGINT)
        out, err = janitor.communicate(timeout=60)

    assert (janitor.returncode, out) == (130, "")
    assert "interrupted; 0 of 1 done with" in err
    assert one.states() == {"barn": "UNKNOWN"}


def test_json_is_one_object_for_each_purchase(one: Home) -> None:
    one.leave_unknown("replicate:sdxl", "barn")
    one.leave_unknown("openai:gpt-image-2", "mill")

    ended = one("janitor", "--json")

    told = {line["prompt_key"]: line for line in ended.objects()}
    assert ended.code == 5
    assert (told["barn"]["outcome"], told["barn"]["error"]) == ("finished", None)
    assert told["barn"]["cost_usd"] is not None
    assert (told["mill"]["outcome"], told["mill"]["error"]["class"]) == ("held", "UnknownOutcomeError")


def test_a_dry_run_changes_and_asks_nothing(one: Home) -> None:
    one.leave_unknown("replicate:sdxl", "barn")
    one.leave_unknown("openai:gpt-image-2", "mill")
    requests = one.market.requests()

    ended = one("janitor", "--dry-run")
    told = {line["prompt_key"]: line["would"] for line in one("janitor", "--dry-run", "--json").objects()}

    assert (ended.code, "barn" in ended.out) == (0, True)
    assert told == {
        "barn": "look for it in replicate's list",
        "mill": "hold it, unless its reply is here: openai keeps no list",
    }
    assert one.states() == {"barn": "UNKNOWN", "mill": "UNKNOWN"}
    assert one.market.requests() == requests


def test_without_a_key_nobody_is_asked(one: Home) -> None:
    """The variable is named, and what is open stays so."""
    one.leave_unknown("fal:flux-schnell", "barn")
    requests = one.market.requests()

    ended = one("janitor", FAL_KEY="")

    assert ended.code == 5
    assert "FAL_KEY is not set" in ended.out
    assert one.market.requests() == requests


def test_what_does_not_get_on_has_a_code_of_its_own(one: Home) -> None:
    """Made, paid for, and not to be had just now; nor without a key."""
    down = {"call": "download", "fault": "noexec_503"}
    one.market.set_faults(down)
    assert (
        one("generate", "--prompt", "x", "--key", "x", "--only", "image", "--route", "image=fal:flux-schnell").code == 4
    )
    assert one.states() == {"x": "DONE"}

    assert one("janitor").code == 4
    assert one("janitor", FAL_KEY="").code == 2
    one.market.set_faults()
    assert one("janitor").code == 0
    assert one.states() == {"x": "SUCCEEDED"}


def test_no_secret_is_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished picture's address is signed, and every question carries a key."""
    with marked_simulators(), open_market(home) as market:
        one = Home(market, Cli(home, capsys))
        for model, key in (("replicate:sdxl", "a"), ("fal:flux-schnell", "b"), ("openai:gpt-image-2", "c")):
            one.leave_unknown(model, key)
        ended: Any = one("janitor", "--json", **KEYS)
        plain = one("janitor", **KEYS)

    found = find_in_texts(out=ended.out, err=ended.err, plain=plain.out, told=plain.err) + find_in_folder(home)
    assert not found, lines(found)
