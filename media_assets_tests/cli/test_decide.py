"""A person's word on what no program may decide: listed, decided, recorded, and what the next run makes of it."""

import getpass
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets_tests.cli.running import Cli
from media_assets_tests.simulated import FAST, Market, open_market

PICTURE = ("generate", "--prompt", "a red barn", "--key", "barn", "--only", "image")
_NOBODYS = "00000000-0000-4000-8000-000000000000"
"""A prediction's id that the provider does not know."""


@pytest.fixture
def market(home: Path) -> Iterator[Market]:
    with open_market(home) as market:
        yield market


@pytest.fixture
def cli(market: Market, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(market.home, capsys)


class _Bought:
    """A picture whose outcome is unknown, and the commands in its surroundings."""

    def __init__(self, market: Market, cli: Cli, model: str, *more: str, fault: str = "exec_and_drop") -> None:
        self._cli = cli
        self._environment = {**market.simulator.environment(), **FAST, "MEDIA_ASSETS_NOT_FOUND_GRACE_S": "0"}
        self._route = ("--route", f"image={model}")
        market.set_faults({"call": "submit", "fault": fault})
        self.first = self(*PICTURE, *self._route, *more)
        market.set_faults()
        self.key = self("ledger", "list", "--json").only()["request_key"]

    def __call__(self, *arguments: str) -> Any:
        return self._cli(*arguments, **self._environment)

    def again(self, *more: str) -> Any:
        return self(*PICTURE, *self._route, *more)


def test_what_is_unknown_is_listed_with_what_to_do(market: Market, cli: Cli) -> None:
    """OpenAI keeps no list: a person has to look."""
    one = _Bought(market, cli, "openai:gpt-image-2")

    assert one.first.code == 5
    shown = one("ledger", "unknown")
    assert (shown.code, one.key[:12] in shown.out) == (0, True)
    assert "ledger write-off" in shown.err
    assert one("ledger", "unknown", "--json").only()["state"] == "UNKNOWN"
    assert one.again().code == 5
    assert market.posts() == 1


def test_no_wait_ends_with_its_own_code(market: Market, cli: Cli) -> None:
    """The next run finds it; this one has no time."""
    one = _Bought(market, cli, "replicate:sdxl", "--no-wait")

    assert one.first.code == 5
    assert one.again().code == 0
    assert market.posts() == 1


def test_a_written_off_purchase_counts_and_can_be_bought_anew(market: Market, cli: Cli) -> None:
    """It was billed and is gone: the money is spent, and a retry is a new decision."""
    one = _Bought(market, cli, "openai:gpt-image-2")

    told = one("ledger", "write-off", one.key[:8], "--cost-usd", "0.05", "--json")

    assert told.only()["state"] == "FAILED_PAID"
    assert told.only()["cost_usd"] == "0.05"
    assert one.again().code == 4
    assert market.posts() == 1
    assert one.again("--retry-failed").code == 0
    assert market.posts() == 2
    assert "write-off" in one("ledger", "show", one.key).out


def test_what_never_arrived_is_submitted_again_on_a_persons_word(market: Market, cli: Cli) -> None:
    """They have looked, and it is not there."""
    one = _Bought(market, cli, "openai:gpt-image-2", fault="noexec_500")

    assert one("ledger", "resubmit", one.key).code == 0
    assert one("ledger", "unknown").out == ""
    assert one.again().code == 0
    assert (market.posts(), len(market.accepted())) == (2, 1)


def test_an_adopted_prediction_is_fetched_and_not_bought(market: Market, cli: Cli) -> None:
    """Its id is on the provider's site."""
    one = _Bought(market, cli, "fal:flux-schnell", "--no-wait")
    (accepted,) = market.accepted()

    assert one("ledger", "adopt", one.key, accepted["id"]).code == 0
    assert one.again().code == 0
    assert market.posts() == 1
    assert one("ledger", "list", "--json").only()["prediction_id"] == accepted["id"]


def test_a_wrong_prediction_is_not_resubmitted_and_the_right_one_can_be_adopted(market: Market, cli: Cli) -> None:
    """An id with a slip in it is not known to the provider; that says nothing of what was billed."""
    one = _Bought(market, cli, "fal:flux-schnell", "--no-wait")
    (accepted,) = market.accepted()
    assert one("ledger", "adopt", one.key, _NOBODYS).code == 0
    assert one.again().code == 5, "the provider does not know it"

    refused = one("ledger", "resubmit", one.key)

    assert refused.code == 2
    assert f"was accepted as prediction {_NOBODYS}" in refused.err
    assert one("ledger", "list", "--json").only()["state"] == "UNKNOWN"
    assert one("ledger", "adopt", one.key, accepted["id"]).code == 0
    assert one.again().code == 0
    assert market.posts() == 1
    assert Decimal(one("ledger", "list", "--json").only()["cost_usd"]) == market.bill_usd()


def test_what_was_accepted_and_not_billed_is_bought_anew_once_it_is_written_off(market: Market, cli: Cli) -> None:
    """The way that a refused resubmit points to, where the provider's site shows that it cost nothing."""
    one = _Bought(market, cli, "fal:flux-schnell", "--no-wait", fault="noexec_500")
    one("ledger", "adopt", one.key, _NOBODYS)
    assert one.again().code == 5
    assert one("ledger", "resubmit", one.key).code == 2

    assert one("ledger", "write-off", one.key, "--cost-usd", "0").code == 0

    assert one.again().code == 4, "it is not bought by itself"
    assert one.again("--retry-failed").code == 0
    assert (market.posts(), len(market.accepted())) == (2, 1)
    assert Decimal(one("ledger", "list", "--json").only()["cost_usd"]) == market.bill_usd()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("adopt", "p1"), "no way to fetch a prediction by its id"),
        (("write-off", "--cost-usd", "-1"), "must be an amount"),
        (("accept",), "only a file that was bought"),
    ],
)
def test_a_decision_that_makes_no_sense_changes_nothing(
    market: Market, cli: Cli, command: tuple[str, ...], says: str
) -> None:
    """Said before anything is written."""
    one = _Bought(market, cli, "openai:gpt-image-2")
    name, *more = command

    ended = one("ledger", name, one.key, *more)

    assert (ended.code, says in ended.err) == (2, True), ended.err
    assert one("ledger", "list", "--json").only()["state"] == "UNKNOWN"


def test_what_is_decided_cannot_be_decided_again(market: Market, cli: Cli) -> None:
    """Two people, or one twice: the second is told how it stands."""
    one = _Bought(market, cli, "openai:gpt-image-2")
    one("ledger", "write-off", one.key)

    ended = one("ledger", "resubmit", one.key)

    assert ended.code == 2
    assert "there is nothing to decide" in ended.err


def test_a_file_that_was_refused_can_be_accepted(market: Market, cli: Cli) -> None:
    """It is black because the picture is of a night; it was paid for, and is fine."""
    environment = {**market.simulator.environment(), **FAST}
    market.set_faults({"fault": "black_output"})
    refused = cli(*PICTURE, "--route", "image=replicate:sdxl", **environment)
    assert refused.code == 4
    key = cli("ledger", "list", "--json").only()["request_key"]

    assert cli("ledger", "accept", key).code == 0

    taken = cli(*PICTURE, "--route", "image=replicate:sdxl", "--json", **environment)
    assert taken.code == 0
    note = taken.only()["steps"][0]["notes"][-1]
    assert note.startswith("accepted by a person, though ")
    assert "it is black" in note
    assert getpass.getuser() not in note, "a gallery shows notes to everybody"
    assert market.posts() == 1


def test_a_run_may_decide_beforehand(market: Market, cli: Cli) -> None:
    """A policy is typed, or refused with the policies there are."""
    one = _Bought(market, cli, "openai:gpt-image-2")

    refused = one.again("--unknown", "guess")
    assert refused.code == 2
    assert "hold, resubmit_if_cheap, fallback" in refused.err
    assert one.again("--unknown", "resubmit-if-cheap").code == 5, (
        "the worst case is above MEDIA_ASSETS_RESUBMIT_MAX_USD"
    )
    assert market.posts() == 1
