"""``reconcile``: the providers' own bills against the ledger, and what it says where they do not agree."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.catalog import load_catalog
from media_assets.ledger import open_ledger
from media_assets.ledger.schema import attempt, purchase
from media_assets_tests.cli.running import Cli, Ended
from media_assets_tests.providers.buying import buy
from media_assets_tests.simulated import FAST, Market, open_market

_CATALOG = load_catalog()


@pytest.fixture
def market(home: Path) -> Iterator[Market]:
    with open_market(home) as market:
        yield market


class _Books:
    """A home with purchases, and the command in its surroundings."""

    def __init__(self, market: Market, cli: Cli) -> None:
        self.market = market
        self._cli = cli

    def buy(self, model: str, take: int = 0, *, home: Path | None = None) -> str:
        """Buy, in this home or in a stranger's; return the request key."""
        market = self.market if home is None else replace(self.market, home=home)
        return buy(market, _CATALOG.get(model), take=take).row.request_key

    def __call__(self, *options: str, **changes: str) -> Ended:
        return self._cli("reconcile", *options, **{**self.market.simulator.environment(), **FAST, **changes})

    def told(self, *options: str) -> dict[str, Any]:
        return self(*options, "--json").only()

    def change(self, *statements: sa.Executable) -> None:
        with open_ledger(self.market.home) as ledger, ledger.database.write() as connection:
            for one in statements:
                connection.execute(one)


@pytest.fixture
def books(market: Market, capsys: pytest.CaptureFixture[str]) -> _Books:
    return _Books(market, Cli(market.home, capsys))


def test_every_bill_that_can_be_read_agrees(books: _Books) -> None:
    """And what has none is said to have none, in place of being called fine."""
    for model in ("fal:flux-schnell", "replicate:sdxl", "elevenlabs:flash-v2.5", "openai:gpt-image-2"):
        books.buy(model)

    ended = books("--json")
    said = books()

    told = {one["provider"]: one for one in ended.objects()}
    assert (ended.code, said.code) == (0, 0)
    assert {name: (one["basis"], one["agrees"]) for name, one in told.items()} == {
        "fal": ("money", True),
        "replicate": ("usage", True),
        "elevenlabs": ("usage", True),
        "openai": ("nothing", None),
    }
    for name in ("fal", "replicate", "elevenlabs"):
        (matched,) = told[name]["matched"]
        assert matched["difference_usd"] == "0"
        assert told[name]["ledger_usd"] == told[name]["billed_usd"] != "0"
        assert told[name]["unbilled"] == told[name]["unclaimed"] == told[name]["others"] == []
    assert told["openai"]["billed_usd"] is None
    assert "openai  not compared; it tells nothing of single predictions" in said.out


@pytest.mark.parametrize("model", ["fal:flux-schnell", "replicate:sdxl", "elevenlabs:flash-v2.5"])
def test_what_no_purchase_has_is_an_alarm(books: _Books, tmp_path: Path, model: str) -> None:
    """Paid for twice, or lost, or somebody else's: whoever looks at it knows what to do."""
    provider = model.partition(":")[0]
    books.buy(model)
    books.buy(model, 1, home=tmp_path / "stranger")

    alarm, shared = books("--provider", provider), books("--provider", provider, "--shared")
    told = books.told("--provider", provider)

    assert (alarm.code, shared.code) == (6, 0)
    assert "DOES NOT AGREE" in alarm.out
    assert f"media-assets rescue --provider {provider}" in alarm.out
    assert "ledger adopt" in alarm.out
    assert (len(told["matched"]), len(told["unclaimed"]), told["agrees"]) == (1, 1, False)


def test_what_was_never_asked_for_here_is_somebody_elses(books: _Books, tmp_path: Path) -> None:
    """An account may serve other programs: another model's line says nothing of ours."""
    books.buy("fal:flux-schnell")
    books.buy("fal:flux-dev", home=tmp_path / "stranger")

    told = books.told("--provider", "fal")

    assert (told["agrees"], told["unclaimed"], len(told["others"])) == (True, [], 1)


@pytest.mark.parametrize(("factor", "code"), [(1_009_000, 0), (1_011_000, 6)])
def test_one_per_cent_is_let_pass_and_no_more(books: _Books, factor: int, code: int) -> None:
    """Rounding is no alarm; a wrong price is one."""
    books.buy("fal:flux-schnell")
    books.change(sa.update(purchase).values(cost_micro_usd=3_000 * factor // 1_000_000))

    ended = books("--provider", "fal")

    assert ended.code == code
    assert "-0.0000" in ended.out, "the difference is shown"


def test_what_is_not_on_the_bill_counts_once_it_should_be_there(books: _Books) -> None:
    """A bill is late; what is still missing after that was counted too much."""
    books.buy("fal:flux-schnell")
    key = books.buy("fal:flux-schnell", 1)
    mine = {"request_key": key}
    books.change(
        sa.update(purchase).filter_by(**mine).values(prediction_id="gone"),
        sa.update(attempt).filter_by(**mine).values(prediction_id="gone"),
    )
    books.change(sa.update(purchase).filter_by(**mine).values(cost_micro_usd=9_000))

    young = books.told("--provider", "fal", "--shared")
    books.change(sa.update(purchase).filter_by(**mine).values(updated_at="2026-01-01T00:00:00.000000+00:00"))
    old = books.told("--provider", "fal", "--shared")

    assert [(one["request_key"], one["why_not"]) for one in young["unbilled"]] == [
        (key, "it may not be on the bill yet")
    ]
    assert (young["agrees"], old["agrees"]) == (True, False)
    assert [(one["ledger_usd"], one["billed_usd"]) for one in old["unbilled"]] == [("0.009", "0")]
    assert len(old["unclaimed"]) == 1


def test_all_that_one_purchase_was_billed_for_belongs_to_it(books: _Books) -> None:
    """A retry of what failed and was paid for is a second line on the bill, and one row in the ledger."""
    first, second = books.buy("fal:flux-schnell"), books.buy("fal:flux-schnell", 1)
    books.change(
        sa.update(attempt).filter_by(request_key=second).values(request_key=first, n=2),
        sa.delete(purchase).filter_by(request_key=second),
        sa.update(purchase).values(cost_micro_usd=6_000),
    )

    told = books.told("--provider", "fal")

    assert (told["agrees"], told["unclaimed"]) == (True, [])
    assert [len(one["prediction_ids"]) for one in told["matched"]] == [2]


def test_a_bill_that_cannot_be_had_is_no_agreement(books: _Books) -> None:
    """Fal wants an admin's key for its bill; the others are compared all the same."""
    books.buy("fal:flux-schnell")
    books.buy("replicate:sdxl")

    ended = books("--json", FAL_KEY="nobodys")

    told = {one["provider"]: one for one in ended.objects()}
    assert ended.code == 4
    assert told["fal"]["error"]["class"] == "KeyRejectedError"
    assert told["replicate"]["agrees"] is True
    assert "fal" in ended.err


@pytest.mark.parametrize(
    "options", [("--provider", "midjourney"), ("--since", "yesterday"), ("--since", "90d"), ("--provider", "local")]
)
def test_what_makes_no_sense_is_refused(books: _Books, options: tuple[str, ...]) -> None:
    """Before anybody is asked."""
    ended = books(*options)

    assert (ended.code, ended.out, books.market.requests()) == (2, "", 0)
    assert options[1] in ended.err


def test_without_a_key_it_is_said(books: _Books, capsys: pytest.CaptureFixture[str]) -> None:
    """What was bought there once is not simply left out."""
    books.buy("replicate:sdxl")
    cli = Cli(books.market.home, capsys)

    named, all_of_them = cli("reconcile", "--provider", "replicate"), cli("reconcile")

    assert (named.code, all_of_them.code) == (2, 0)
    assert "REPLICATE_API_TOKEN" in named.err
    assert "replicate was not asked for its bill" in all_of_them.err
