"""The janitor: what killed runs left behind is brought to its end, and nothing is submitted."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import Catalog, Recovery, load_catalog
from media_assets.errors import DefectError
from media_assets.ledger import open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Prompt, Step
from media_assets.recall import OnCancel
from media_assets.recovery.janitor import Cleared, Janitor, Outcome, intention
from media_assets.studio import MakeOptions, Studio, open_studio
from media_assets_tests.canceling import until
from media_assets_tests.conformance.our_requests import drafted
from media_assets_tests.making import OWN, SHOP_REQUEST, Shop, purchases, reserved_micro_usd, studio_on
from media_assets_tests.providers.buying import buy
from media_assets_tests.recovery.cleaning import clean
from media_assets_tests.simulated import Market, open_market, paid_prompt


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def test_what_was_only_reserved_is_given_back(market: Market) -> None:
    """The studio does that as it opens; the janitor says so."""
    with market.studio() as studio:
        plan_id = "died"
        request = drafted(studio.planner.catalog.get("replicate:sdxl")).request
        caps = [Cap("prompt:child", 1_000_000, "cap")]
        studio.ledger.prompts.open_plan(plan_id, "child", amounts={Step.IMAGE: 10_000}, caps=caps)
        studio.ledger.purchases.claim(
            request, recovery=Recovery.LISTED, prompt_key="child", plan_id=plan_id, estimate_micro_usd=10_000
        )
    assert reserved_micro_usd(market.home) == 10_000

    (one,) = clean(market)

    assert (one.was, one.row.state, one.outcome) == (PurchaseState.RESERVED, PurchaseState.CANCELED, Outcome.RELEASED)
    assert reserved_micro_usd(market.home) == 0


def test_a_retry_that_was_not_sent_has_failed_as_it_had(market: Market) -> None:
    """A person asked for it again, and the run died before it was."""
    market.set_faults({"call": "submit", "fault": "run_failed"})
    with market.studio() as studio:
        asyncio.run(studio.attempt(_picture(), wanted={Step.IMAGE}))
        (row,) = studio.ledger.purchases.search()
        claim = studio.ledger.purchases.claim(
            row.request(),
            recovery=row.recovery,
            prompt_key="paid",
            plan_id="died",
            estimate_micro_usd=0,
            retry_failed=True,
        )
        assert isinstance(claim, Claim)
        before = row.state

    (one,) = clean(market)

    assert (one.was, one.outcome, one.row.state) == (PurchaseState.RESERVED, Outcome.RELEASED, before)


def test_our_own_defect_with_one_purchase_ends_no_other(home: Path) -> None:
    """As with a provider that this version has no adapter for."""
    with open_ledger(home) as ledger:
        shop = Shop(home, ledger)
        claim = ledger.purchases.claim(
            SHOP_REQUEST, recovery=Recovery.NONE, prompt_key="a", plan_id=shop.plan("0.5"), estimate_micro_usd=500_000
        )
        assert isinstance(claim, Claim)
        ledger.purchases.write_intent(claim)
    cleared: list[Cleared] = []
    with open_studio(home) as studio:
        asyncio.run(Janitor(studio).clear(studio.ledger.purchases.unfinished(), cleared.append))

    (one,) = cleared

    assert isinstance(one.error, DefectError)
    assert (one.outcome, one.row.state) == (Outcome.OPEN, PurchaseState.SUBMITTING)


def test_what_would_be_done_is_told_of_every_state(market: Market) -> None:
    _leave_open(market, "queue_stuck")
    with open_ledger(market.home) as ledger:
        (row,) = ledger.purchases.unfinished()
        told = [
            intention(replace(row, **changes), ledger)
            for changes in (
                {},
                {"cancel_requested_at": "2026-11-30"},
                {"state": PurchaseState.RESERVED},
                {"recovery": Recovery.FREE},
                {"prediction_id": None},
                {"prediction_id": None, "recovery": Recovery.NONE},
                {"owner": ledger.owner.id},
            )
        ]

    assert told == [
        f"ask replicate for prediction {row.prediction_id}, and keep what it made",
        f"call prediction {row.prediction_id} back if it is free, else keep what it makes",
        "release it",
        "release it",
        "look for it in replicate's list",
        "hold it, unless its reply is here: replicate keeps no list",
        "leave it to the run that works on it",
    ]


def test_what_costs_nothing_is_not_made_again_by_the_janitor(home: Path) -> None:
    """Nobody waits for it: a run that wants it makes it."""
    with Shop(home, open_ledger(home)).ledger as ledger:
        shop = Shop(home, ledger)
        claim = ledger.purchases.claim(
            SHOP_REQUEST, recovery=Recovery.FREE, prompt_key="a", plan_id=shop.plan("0"), estimate_micro_usd=0
        )
        assert isinstance(claim, Claim)
        ledger.purchases.write_intent(claim)
    cleared: list[Cleared] = []
    with studio_on(home, models=OWN) as studio:
        asyncio.run(Janitor(studio).clear(studio.ledger.purchases.unfinished(), cleared.append))

    (one,) = cleared

    assert (one.was, one.outcome) == (PurchaseState.SUBMITTING, Outcome.RELEASED)
    assert (one.row.state, one.row.artifact) == (PurchaseState.CANCELED, None)


def test_what_a_living_run_works_on_is_left_alone(market: Market) -> None:
    """Its lock says that it lives."""
    market.set_faults({"call": "submit", "fault": "run_stuck"})

    async def both() -> list[Cleared]:
        with market.studio() as studio:
            running = asyncio.ensure_future(studio.attempt(_picture(), wanted={Step.IMAGE}))
            await until(lambda: any(row.prediction_id for row in studio.ledger.purchases.unfinished()))
            rows = studio.ledger.purchases.unfinished()
            cleared: list[Cleared] = []
            assert intention(rows[0], studio.ledger) == "leave it to the run that works on it"
            await Janitor(studio).clear(rows, cleared.append)
            running.cancel()
            await asyncio.wait({running})
            return cleared

    (one,) = asyncio.run(both())

    assert one.outcome is Outcome.AT_WORK
    assert one.row.state is PurchaseState.SUBMITTED


def _picture(model: str = "replicate:sdxl", **changes: Any) -> Any:
    return paid_prompt(routes={"image": [model], "audio": ["local:silence"]}, clip_s=1.0, **changes)


def _leave_unknown(market: Market, prompt: Prompt, fault: str = "exec_and_drop", step: Step = Step.IMAGE) -> None:
    """Let a run end without knowing what came of its submission."""
    market.set_faults({"call": "submit", "fault": fault, "times": 1})
    with market.studio(settle_lag_s=60.0) as studio:
        asyncio.run(studio.attempt(prompt, wanted={step}, options=MakeOptions(waits=False)))
    market.set_faults()


def _leave_done(market: Market, prompt: Prompt, *faults: str) -> None:
    """Let a run end when a picture is made and paid for, and not fetched."""
    with market.studio() as studio:
        spec = studio.planner.catalog.get("replicate:sdxl").model_copy(update={"download_deadline_s": 0.2})
        studio.planner.catalog = Catalog([*studio.planner.catalog, spec])
        spoilt = [{"call": "submit", "fault": fault} for fault in faults]
        market.set_faults(*spoilt, {"call": "download", "fault": "noexec_500"})
        asyncio.run(studio.attempt(prompt, wanted={Step.IMAGE}))
    market.set_faults()
    assert purchases(market.home)[Step.IMAGE].state is PurchaseState.DONE


def test_what_was_released_is_bought_by_the_next_run_and_what_was_finished_is_not(market: Market) -> None:
    _leave_unknown(market, _picture(key="a"), "noexec_500")
    _leave_unknown(market, _picture(key="b", seed=5))

    assert {one.row.prompt_key: one.outcome for one in clean(market)} == {"a": Outcome.RELEASED, "b": Outcome.FINISHED}

    posts = market.posts()
    with market.studio() as studio:
        films = [
            asyncio.run(studio.attempt(_picture(**row), wanted={Step.IMAGE}))
            for row in ({"key": "a"}, {"key": "b", "seed": 5})
        ]
    assert [film.error for film in films] == [None, None]
    assert market.posts() == posts + 1
    assert films[1].spent_usd == 0


def test_one_purchases_trouble_stops_no_other(market: Market) -> None:
    """A model that is gone from the catalog, a provider that is out: the rest is cleared all the same."""
    _leave_unknown(market, _picture(key="a"))
    _leave_unknown(market, _picture("fal:flux-schnell", key="b"))
    _leave_unknown(market, _picture("openai:gpt-image-2", key="c"))
    with market.studio() as studio:
        known = Catalog(spec for spec in studio.planner.catalog if spec.provider != "fal")

    outcomes = {one.row.provider: one for one in clean(market, models=known)}

    assert {name: one.outcome for name, one in outcomes.items()} == {
        "replicate": Outcome.FINISHED,
        "fal": Outcome.HELD,
        "openai": Outcome.HELD,
    }
    assert "no model is called 'fal:flux-schnell'" in outcomes["fal"].why


def _leave_open(market: Market, fault: str | None = None) -> None:
    """Let a run end while its picture is made."""
    market.set_faults(*([{"call": "submit", "fault": fault}] if fault else []))

    async def begin(studio: Studio) -> None:
        running = asyncio.ensure_future(studio.attempt(_picture(), wanted={Step.IMAGE}))
        await until(lambda: any(row.prediction_id for row in studio.ledger.purchases.unfinished()))
        running.cancel()
        await asyncio.wait({running})

    with market.studio(on_cancel=OnCancel.DETACH) as studio:
        asyncio.run(begin(studio))
    market.set_faults()


def _want_back(market: Market) -> None:
    """Let a run die right after it has written down that its picture is to be called back."""
    with open_ledger(market.home) as ledger:
        (row,) = ledger.purchases.unfinished()
        claim = ledger.purchases.claim(
            row.request(), recovery=row.recovery, prompt_key="paid", plan_id="gone", estimate_micro_usd=0
        )
        assert isinstance(claim, Claim)
        assert ledger.purchases.request_cancel(claim, plan_id="gone")


@pytest.mark.parametrize(
    ("pinned", "outcome"), [("this", Outcome.FAILED), ("another", Outcome.FINISHED), ("none", Outcome.FINISHED)]
)
def test_of_a_model_without_a_choice_of_size_the_prompt_says_which_is_needed(
    market: Market, pinned: str, outcome: Outcome
) -> None:
    """What the model makes is a square; the prompt wants it wide. Without the prompt nobody knows."""
    spec = load_catalog().get("replicate:sdxl")
    roles = {role: name for role, name in spec.roles.items() if role not in {"width", "height"}}
    square = spec.model_copy(update={"roles": roles, "sizes": None})
    market.set_faults({"call": "download", "fault": "noexec_500"})
    if pinned == "none":
        buy(market, square.model_copy(update={"download_deadline_s": 0.2}), take=0)
    else:
        with market.studio(models=[square]) as studio:
            asyncio.run(studio.attempt(_picture(), wanted={Step.IMAGE}))
            prompt = _picture() if pinned == "this" else _picture(prompt="another")
            studio.ledger.prompts.pin([prompt], source="test")
    market.set_faults()

    (one,) = clean(market, models=Catalog([*load_catalog(), square]))

    assert one.outcome is outcome, one.why


def test_what_a_stopped_run_wanted_called_back_is_while_that_is_free(market: Market) -> None:
    """It waits in the provider's queue; and that it is canceled is written once the provider says so."""
    _leave_open(market, "queue_stuck")
    _want_back(market)

    (one,) = clean(market)

    assert (one.outcome, one.row.state) == (Outcome.CALLED_BACK, PurchaseState.CANCELED), one.why
    assert (market.posts(), market.bill_usd()) == (1, Decimal(0))
    assert reserved_micro_usd(market.home) == 0


def test_what_runs_by_then_is_paid_for_and_kept(tmp_path: Path) -> None:
    with open_market(tmp_path / "home", latency_s={"replicate": (0.5, 0.6)}) as market:
        _leave_open(market)
        _want_back(market)

        (one,) = clean(market)

        assert one.outcome is Outcome.FINISHED, one.why
        assert Decimal(one.row.cost_micro_usd or 0) / 1_000_000 == market.bill_usd()


def test_a_janitor_that_is_stopped_calls_nothing_back(market: Market) -> None:
    """It wanted nothing for itself; the next one, or a run, goes on."""
    _leave_open(market, "queue_stuck")

    async def stopped(studio: Studio) -> None:
        (row,) = studio.ledger.purchases.unfinished()
        polls = sum(market.simulator.world.received().values())
        working = asyncio.ensure_future(Janitor(studio).clear([row], lambda _one: None))
        await until(lambda: sum(market.simulator.world.received().values()) > polls + 1)
        working.cancel()
        await asyncio.wait({working})
        assert working.cancelled()

    with market.studio() as studio:
        asyncio.run(stopped(studio))

    with open_ledger(market.home) as ledger:
        (after,) = ledger.purchases.unfinished()
    assert (after.state, after.owner) == (PurchaseState.SUBMITTED, "")


def test_a_provider_that_is_down_leaves_it_open(market: Market) -> None:
    """Paid for and not had: the next janitor goes on with it."""
    _leave_done(market, _picture())
    with market.studio() as studio:
        spec = studio.planner.catalog.get("replicate:sdxl").model_copy(update={"poll_error_budget_s": 0.1})
        impatient = Catalog([*studio.planner.catalog, spec])
    market.set_faults({"call": "poll", "fault": "noexec_500"})

    (one,) = clean(market, models=impatient)

    assert (one.outcome, one.row.state) == (Outcome.OPEN, PurchaseState.DONE)
    market.set_faults()
    assert clean(market)[0].outcome is Outcome.FINISHED
    assert market.posts() == 1


def test_a_clip_is_known_by_the_picture_it_was_made_of(market: Market) -> None:
    """Two takes of a picture, and a clip of each with the same words: the file's name tells which clip is whose."""
    routes = {"image": ["fal:flux-schnell"], "video": ["fal:stable-video"]}
    prompt, other = (paid_prompt(routes=routes, script=None, take={"image": take}) for take in (0, 1))
    elsewhere = Market(market.home.with_name("other"), market.simulator, market.settings)
    with elsewhere.studio() as studio:
        assert asyncio.run(studio.attempt(other, wanted={Step.VIDEO})).error is None
    with market.studio() as studio:
        assert asyncio.run(studio.attempt(prompt, wanted={Step.IMAGE})).error is None
    _leave_unknown(market, prompt, "noexec_500", Step.VIDEO)

    (one,) = clean(market, waits=False, settle_lag_s=0.0)

    assert (one.row.step, one.outcome) == ("video", Outcome.HELD), one.why
    assert "fal can be asked what came of it in" in one.why


@pytest.mark.parametrize("fault", ["black_output", "tiny_output"])
def test_what_comes_is_judged_as_a_rerun_would(market: Market, fault: str) -> None:
    """The question is asked again of the request alone; a file that is not good enough is kept."""
    _leave_done(market, _picture(), fault)

    (one,) = clean(market)

    assert (one.outcome, one.row.state) == (Outcome.FAILED, PurchaseState.FAILED_PAID), one.why
    assert one.row.artifact is not None
