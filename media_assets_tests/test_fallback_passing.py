"""Routes and bad moments: what passes by itself moves no step on to its next model, and buys nothing twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from media_assets.film import Film
from media_assets.prompt import Step
from media_assets_tests.simulated import Market, hurried, open_market, paid_prompt

_FIRST, _SECOND = "fal:flux-dev", "replicate:sdxl"
_ROUTES = {"image": [_FIRST, _SECOND], "audio": ["local:silence"]}
_PROMPT = paid_prompt(routes=_ROUTES, clip_s=1.0, params={"video": {"fps": 2}})


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _assert_honest(market: Market, film: Film) -> None:
    """Hold that the ledger has the bill, and that a rerun asks nobody."""
    assert film.error is None
    with market.studio() as studio:
        rows = studio.ledger.purchases.search()
    assert sum((row.cost_micro_usd or 0 for row in rows), 0) == market.bill_usd() * 1_000_000
    asked = market.requests()
    assert market.attempt(_PROMPT).error is None
    assert market.requests() == asked


@pytest.mark.parametrize(
    ("call", "fault", "value"),
    [
        ("result", "noexec_500", "platform"),
        ("result", "noexec_500", "model"),
        ("result", "noexec_503", "platform"),
        ("result", "404_after_create", ""),
        ("result", "html", ""),
        ("download", "html", ""),
        ("download", "expired", ""),
        ("poll", "html", ""),
        ("poll", "2xx_garbage", ""),
    ],
)
def test_a_fault_that_passes_buys_nothing_else(market: Market, call: str, fault: str, value: str) -> None:
    """The picture is there and paid for; a bad moment is no reason for another model, or for a second submission."""
    market.set_faults({"provider": "fal", "call": call, "fault": fault, "value": value, "times": 1})

    film = market.attempt(_PROMPT)

    assert film.steps[Step.IMAGE].model == _FIRST
    assert [one["model"] for one in market.accepted()] == ["fal-ai/flux/dev"]
    _assert_honest(market, film)


def test_what_broke_in_the_model_itself_is_gone_round_and_not_bought_again(market: Market) -> None:
    """Fal's status says nothing of it, so only that its answer lasts tells it from a bad moment."""
    market.set_faults({"provider": "fal", "fault": "run_failed", "value": "model"})
    hasty = hurried(_FIRST, poll_error_budget_s=1.0)

    film = market.attempt(_PROMPT, models=[hasty])

    assert film.steps[Step.IMAGE].model == _SECOND
    assert len(market.accepted()) == 2
    _assert_honest(market, film)
