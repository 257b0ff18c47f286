"""What the janitor makes of runs that were killed, one at each stage; and of itself beside others at work."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import UnknownOutcomeError
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Step
from media_assets.recovery.janitor import Cleared, Outcome
from media_assets_tests.children import Child, run_children
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.making import leftovers, purchases, reserved_micro_usd
from media_assets_tests.market_child import BUY, CLEAN
from media_assets_tests.providers.buying import buy
from media_assets_tests.recovery.cleaning import clean
from media_assets_tests.simulated import Market, open_market

_SLOW = {"MEDIA_ASSETS_POST_DEADLINE_S": "1"}
"""Silence of a list is a proof after this; the product's minute is too long for a test."""

_KILLED: Mapping[tuple[str, str], Outcome] = {
    ("replicate:sdxl", "intent.after"): Outcome.RELEASED,
    ("replicate:sdxl", "post.after_body_sent"): Outcome.FINISHED,
    ("replicate:sdxl", "id_save.after"): Outcome.FINISHED,
    ("replicate:sdxl", "done.after"): Outcome.FINISHED,
    ("replicate:sdxl", "dl.mid"): Outcome.FINISHED,
    ("fal:flux-schnell", "post.first_byte"): Outcome.FINISHED,
    ("fal:flux-schnell", "spool.after_fsync"): Outcome.FINISHED,
    ("openai:gpt-image-2", "post.after_body_sent"): Outcome.HELD,
    ("openai:gpt-image-2", "spool.after_fsync"): Outcome.FINISHED,
    ("elevenlabs:flash-v2.5", "id_save.after"): Outcome.FINISHED,
    ("elevenlabs:flash-v2.5", "spool.after_fsync"): Outcome.FINISHED,
}
"""Where a run died, and what the janitor makes of what it left."""


def child(market: Market, call: str, point: str = "", **arguments: Any) -> Child:
    environment = {**market.simulator.environment(), **_SLOW}
    given = {"home": str(market.home), "environment": environment, **arguments}
    return Child(call, given, {"MEDIA_ASSETS_CRASH_AT": point})


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Market, dict[tuple[str, str], Cleared], int]]:
    """Return a home where many runs died, what the janitor made of it, and how often it submitted."""
    with open_market(home_with_ledger(tmp_path_factory.mktemp("market") / "home")) as market:
        chains = [
            [child(market, BUY, point, model=model, take=take)] for take, (model, point) in enumerate(_KILLED, start=1)
        ]
        assert all(ended.was_killed for (ended,) in run_children(chains, at_once=4))
        posts = market.posts()
        cleared = {one.row.take: one for one in clean(market)}
        yield market, {case: cleared[take] for take, case in enumerate(_KILLED, start=1)}, market.posts() - posts


@pytest.mark.parametrize("case", _KILLED, ids="-".join)
def test_what_a_killed_run_left_is_brought_to_its_end(
    swept: tuple[Market, dict[tuple[str, str], Cleared], int], case: tuple[str, str]
) -> None:
    """Paid for, it is fetched; never arrived, its money is free; undecidable, it is held with its reason."""
    _, cleared, _ = swept
    one = cleared[case]

    assert one.outcome is _KILLED[case], one.why
    assert (one.row.artifact is not None) == (one.outcome is Outcome.FINISHED)
    assert (one.why == "") == (one.outcome is Outcome.FINISHED)


def test_the_janitor_spends_nothing_and_the_books_balance(
    swept: tuple[Market, dict[tuple[str, str], Cleared], int],
) -> None:
    """What it fetched was paid for by the runs that died; what nobody can know keeps its money."""
    market, cleared, posts = swept
    held = next(one.row for one in cleared.values() if one.outcome is Outcome.HELD)
    cost = sum(one.row.cost_micro_usd or 0 for one in cleared.values())
    unknown = next(
        Decimal(line["usd"])
        for line in market.ask("/_sim/bill")["lines"]
        if line["model"] == held.request().version and line["usd"]
    )

    assert posts == 0
    assert Decimal(cost) / 1_000_000 == market.bill_usd() - unknown
    assert reserved_micro_usd(market.home) == held.estimate_micro_usd
    assert leftovers(market.home) == []


def test_janitors_and_reruns_at_the_same_time_buy_once(market: Market) -> None:
    """Whoever has the claim works on it; the others wait, or leave it alone."""
    market.set_faults({"call": "submit", "fault": "exec_and_drop", "times": 1})
    spec = load_catalog().get("replicate:sdxl")
    assert isinstance(buy(market, spec, take=0, settle_lag_s=60.0).error, UnknownOutcomeError)
    rerun = child(market, BUY, model=spec.id)
    chains = [[child(market, CLEAN)], [rerun], [child(market, CLEAN)]]

    ended = run_children(chains, at_once=len(chains))

    assert [one.exit_code for (one,) in ended] == [0, 0, 0]
    assert (market.posts(), len(market.accepted())) == (1, 1)
    row = purchases(market.home)[Step.IMAGE]
    assert row.state is PurchaseState.SUCCEEDED
    assert Decimal(row.cost_micro_usd or 0) / 1_000_000 == market.bill_usd()
