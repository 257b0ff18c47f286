"""What the user's policy makes of a submission of unknown outcome: it is recorded, and the budget counts it."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import Recovery
from media_assets.errors import BudgetExceededError, ProviderUnavailableError, PurchaseError, UnknownOutcomeError
from media_assets.film import Film
from media_assets.ledger.decisions import POLICY
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step
from media_assets.routes import UnknownPolicy
from media_assets.studio import MakeOptions
from media_assets_tests.making import purchases, reserved_micro_usd
from media_assets_tests.simulated import Market, hurried, open_market, paid_prompt

_UNLISTED, _LISTED = "openai:gpt-image-2", "replicate:sdxl"
_CHEAP: dict[str, Any] = {"unknown_policy": "resubmit_if_cheap", "resubmit_max_usd": "1"}
_LOST: dict[str, Any] = {"provider": "openai", "call": "submit", "fault": "exec_and_drop"}


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _image(market: Market, *models: str, options: MakeOptions | None = None, **settings: Any) -> Film:
    prompt = paid_prompt(routes={"image": list(models or (_UNLISTED,))})
    with market.studio(**settings) as studio:
        return asyncio.run(studio.attempt(prompt, wanted={Step.IMAGE}, options=options))


def _row(market: Market) -> PurchaseRow:
    return purchases(market.home)[Step.IMAGE]


def _decided(market: Market) -> list[tuple[str, str]]:
    with market.studio() as studio:
        (row,) = studio.ledger.purchases.search()
        return [(one["what"], one["who"]) for one in studio.ledger.decisions.of(row.request_key)]


@pytest.mark.parametrize(("fault", "accepted"), [("exec_and_drop", 2), ("noexec_500", 1), ("2xx_garbage", 2)])
def test_a_cheap_one_is_sent_once_more_and_counted_twice(market: Market, fault: str, accepted: int) -> None:
    """Nobody will ever know of the first, so it counts as billed, at its worst case."""
    market.set_faults({**_LOST, "fault": fault, "times": 1})

    film = _image(market, **_CHEAP)

    assert film.error is None
    assert (market.posts(), len(market.accepted())) == (2, accepted)
    row, made = _row(market), film.steps[Step.IMAGE]
    worst_usd = from_micro_usd(row.estimate_micro_usd)
    assert made.cost_usd == made.spent_usd > worst_usd
    assert made.cost_usd >= market.bill_usd()
    assert any("it was sent once more" in note for note in made.notes)
    assert _decided(market) == [("resubmit", POLICY)]
    assert reserved_micro_usd(market.home) == 0
    assert _image(market).steps[Step.IMAGE].notes == made.notes
    assert market.posts() == 2


def test_what_is_not_cheap_is_held(market: Market) -> None:
    """The amount is the worst case of the purchase, not what it may really cost."""
    market.set_faults({**_LOST, "times": 1})
    cheap_usd = "0.0001"

    film = _image(market, **{**_CHEAP, "resubmit_max_usd": cheap_usd})

    assert isinstance(film.error, UnknownOutcomeError)
    assert market.posts() == 1
    assert from_micro_usd(_row(market).estimate_micro_usd) > Decimal(cheap_usd)


def test_it_is_sent_once_more_and_never_again(market: Market) -> None:
    """A provider that loses every reply would be paid without end."""
    market.set_faults(_LOST)

    film = _image(market, **_CHEAP)
    again = _image(market, **_CHEAP)

    assert isinstance(film.error, UnknownOutcomeError)
    assert isinstance(again.error, UnknownOutcomeError)
    assert market.posts() == 2
    row = _row(market)
    assert row.state is PurchaseState.UNKNOWN
    assert row.cost_micro_usd == row.estimate_micro_usd == reserved_micro_usd(market.home)


def test_what_was_held_before_is_sent_once_more_by_a_run_that_says_so(market: Market) -> None:
    """The policy of a run goes before the setting."""
    market.set_faults({**_LOST, "times": 1})
    held = _image(market, resubmit_max_usd="1")
    assert isinstance(held.error, UnknownOutcomeError)

    film = _image(market, options=MakeOptions(unknown=UnknownPolicy.RESUBMIT_IF_CHEAP), resubmit_max_usd="1")

    assert film.error is None
    assert market.posts() == 2


def test_where_the_first_leaves_no_room_for_a_second_nothing_is_sent(market: Market) -> None:
    """Both worst cases count, and the cap holds."""
    market.set_faults({**_LOST, "times": 1})
    worst_usd = Decimal("0.2")
    with market.studio() as studio:
        plan = asyncio.run(studio.plan(paid_prompt(routes={"image": [_UNLISTED]})))
        worst_usd = next(step.estimate_usd for step in plan.steps if step.step is Step.IMAGE)

    film = _image(market, **_CHEAP, max_cost_usd=str(worst_usd * Decimal("1.5")))

    assert isinstance(film.error, BudgetExceededError)
    assert market.posts() == 1
    assert reserved_micro_usd(market.home) == 0


def test_what_a_list_can_tell_is_asked_before_anything_is_sent_again(market: Market) -> None:
    """The policy is for what nobody can know."""
    market.set_faults({**_LOST, "provider": "replicate", "times": 1})

    waiting = _image(market, _LISTED, **_CHEAP)

    assert waiting.error is None
    assert market.posts() == 1
    assert _decided(market) == []


def test_who_does_not_wait_for_the_list_sends_nothing_again(market: Market) -> None:
    """The list will tell in a moment."""
    market.set_faults({**_LOST, "provider": "replicate", "times": 1})

    film = _image(market, _LISTED, options=MakeOptions(waits=False), **_CHEAP, settle_lag_s=60.0)

    assert isinstance(film.error, UnknownOutcomeError)
    assert market.posts() == 1


@pytest.mark.parametrize(
    ("fault", "raised", "left"),
    [
        ("404_after_create", UnknownOutcomeError, PurchaseState.UNKNOWN),
        ("noexec_500", ProviderUnavailableError, PurchaseState.SUBMITTED),
    ],
    ids=["not known", "not answered"],
)
def test_what_can_be_asked_about_is_not_sent_again(
    market: Market, fault: str, raised: type[PurchaseError], left: PurchaseState
) -> None:
    """Its id is known: the next run asks once more, free, even of a model that no list shows."""
    market.set_faults({"provider": "replicate", "call": "poll", "fault": fault})
    unlisted = hurried(_LISTED, poll_error_budget_s=0.1).model_copy(update={"recovery": Recovery.NONE})

    film = _image(market, _LISTED, models=[unlisted], not_found_grace_s=0.0, **_CHEAP)

    assert isinstance(film.error, raised)
    held = _row(market)
    assert (held.state, held.prediction_id) == (left, market.accepted()[0]["id"])
    assert reserved_micro_usd(market.home) == held.estimate_micro_usd
    assert _decided(market) == []
    market.set_faults()
    again = _image(market, _LISTED, models=[unlisted], **_CHEAP)
    assert again.error is None
    assert (market.posts(), again.cost_usd) == (1, market.bill_usd())


def test_fallback_buys_from_the_next_and_keeps_the_budget_of_the_first(market: Market) -> None:
    """Both worst cases are reserved, and what came of the first stays open."""
    market.set_faults({**_LOST, "times": 1})

    film = _image(market, _UNLISTED, _LISTED, unknown_policy="fallback")

    assert film.error is None
    made = film.steps[Step.IMAGE]
    assert (made.model, made.degraded, made.reason) == (_LISTED, False, "unknown_outcome")
    assert (market.posts("openai"), market.posts("replicate")) == (1, 1)
    with market.studio() as studio:
        open_ = [row for row in studio.ledger.purchases.search() if row.state is PurchaseState.UNKNOWN]
    assert [row.model for row in open_] == [_UNLISTED]
    assert reserved_micro_usd(market.home) == open_[0].estimate_micro_usd
    asked = market.requests()
    assert _image(market, _UNLISTED, _LISTED).error is None
    assert market.requests() == asked


def test_without_room_for_both_the_unknown_one_is_what_is_told(market: Market) -> None:
    """Money that may be in flight needs a person; that there is none for the next model does not say so."""
    market.set_faults({**_LOST, "times": 1})
    with market.studio() as studio:
        plan = asyncio.run(studio.plan(paid_prompt(routes={"image": [_UNLISTED]})))
        worst_usd = next(step.estimate_usd for step in plan.steps if step.step is Step.IMAGE)

    film = _image(market, _UNLISTED, _LISTED, unknown_policy="fallback", max_cost_usd=str(worst_usd))

    assert isinstance(film.error, UnknownOutcomeError)
    assert market.posts() == 1


def test_by_default_it_is_held(market: Market) -> None:
    """The control: nobody has decided anything, so nothing is bought in its place."""
    market.set_faults({**_LOST, "times": 1})

    film = _image(market, _UNLISTED, _LISTED)

    assert isinstance(film.error, UnknownOutcomeError)
    assert market.posts() == 1
