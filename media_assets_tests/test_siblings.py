"""One step has failed for good: what only waits for the film is called back, what runs is kept, nothing is begun."""

import asyncio
import contextlib
from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.errors import BudgetExceededError, RequestRejectedError
from media_assets.film import Film
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prompt import Step
from media_assets.recall import OnCancel
from media_assets.siblings import Siblings
from media_assets.standing import MADE_FROM
from media_assets.studio import ALL_STEPS, MakeOptions, Studio
from media_assets_tests.canceling import until
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.simulated import Market, open_market, paid_prompt

IMAGE, VIDEO, AUDIO, MERGED = Step

REFUSED = {"provider": "elevenlabs", "call": "submit", "fault": "400"}
STUCK = {"provider": "replicate", "model": "stability-ai/sdxl", "fault": "queue_stuck"}
LATER = {"provider": "elevenlabs", "call": "submit", "fault": "429_header", "seconds": 1.5, "times": 1}
"""So that the picture is submitted before the voice is refused."""


@pytest.mark.parametrize(
    ("wanted", "failed", "useless"),
    [
        (ALL_STEPS, [AUDIO], {IMAGE, VIDEO, MERGED}),
        (ALL_STEPS, [IMAGE], {VIDEO, AUDIO, MERGED}),
        ({MERGED}, [VIDEO], {IMAGE, AUDIO, MERGED}),
        ({IMAGE, VIDEO, AUDIO}, [AUDIO], {MERGED}),
        ({IMAGE, VIDEO, AUDIO}, [IMAGE], {VIDEO, MERGED}),
        ({VIDEO, AUDIO}, [AUDIO, VIDEO], {IMAGE, MERGED}),
        ({VIDEO}, [VIDEO], {IMAGE, AUDIO, MERGED}),
    ],
)
def test_only_what_serves_nothing_any_more_is_called_back(
    wanted: Collection[Step], failed: list[Step], useless: set[Step]
) -> None:
    """Who asks for the film wants nothing else; who asks for single steps wants each of them."""
    siblings = Siblings(wanted, MADE_FROM.__getitem__)

    for step in failed:
        siblings.failed(step)

    assert {step for step, recall in siblings.recalls.items() if recall.is_asked} == useless


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home", latency_s={"replicate": (2.5, 2.5)}) as market:
        yield market


def _cancels(market: Market) -> int:
    rows = market.ask("/_sim/requests")["requests"]
    return sum(row["count"] for row in rows if row["call"] == "cancel")


def _rows(market: Market) -> dict[str, PurchaseRow]:
    with market.studio() as studio:
        return {row.step: row for row in studio.ledger.purchases.search()}


def _spent_usd(market: Market) -> Decimal:
    query = "SELECT COALESCE(SUM(spent_micro_usd), 0) FROM budget WHERE scope LIKE 'day:%'"
    with market.studio() as studio, studio.ledger.database.read() as connection:
        return Decimal(connection.exec_driver_sql(query).scalar_one()) / 1_000_000


def test_what_is_queued_is_called_back_and_a_rerun_buys_it_once(market: Market) -> None:
    """The voice is refused: a picture for a film that cannot be made is not paid for."""
    market.set_faults(LATER, REFUSED, STUCK)

    film = market.attempt(paid_prompt())

    assert isinstance(film.error, RequestRejectedError)
    assert "called back, free, because the audio failed" in film.stopped[IMAGE]
    rows = _rows(market)
    assert {step: row.state for step, row in rows.items()} == {
        "image": PurchaseState.CANCELED,
        "audio": PurchaseState.FAILED_FREE,
    }
    told = {step["step"]: step["reason"] for step in film.as_dict(home=market.home)["steps"]}
    assert told["image"] == film.stopped[IMAGE]
    assert (_cancels(market), reserved_micro_usd(market.home)) == (1, 0)
    assert market.bill_usd() == 0

    market.set_faults()
    mended = market.make(paid_prompt(script="The barn stands where the long road ends."))

    assert [one["state"] for one in market.accepted()].count("succeeded") == 3
    assert len(market.accepted()) == 4
    assert mended.cost_usd == market.bill_usd() == _spent_usd(market)


@pytest.mark.parametrize(
    "faults",
    [
        (LATER, {"provider": "replicate", "call": "submit", "fault": "content_rejected"}),
        (LATER, REFUSED, STUCK),
    ],
    ids=["the picture", "the voice"],
)
def test_nothing_is_bought_for_a_film_that_has_failed_for_good(
    market: Market, faults: tuple[dict[str, Any], ...]
) -> None:
    """P5: what was not begun, or called back, when a step failed is not bought by a rerun, which ends as the first."""
    market.set_faults(*faults)
    first = market.attempt(paid_prompt())
    bill, posts = market.bill_usd(), market.posts()
    market.set_faults()

    again = market.attempt(paid_prompt())

    assert first.error is not None
    assert again.error is not None
    assert first.error.message in again.error.message
    assert (market.bill_usd(), market.posts(), reserved_micro_usd(market.home)) == (bill, posts, 0)
    film = market.make(paid_prompt(), options=MakeOptions(retry_failed=True))
    assert film.cost_usd == market.bill_usd() == _spent_usd(market)


@pytest.mark.parametrize("policy", list(OnCancel))
def test_what_runs_is_finished_and_nothing_is_begun(market: Market, policy: OnCancel) -> None:
    """It is paid for, whatever the policy of Ctrl-C is; the clip, which costs most, is not bought."""
    market.set_faults(LATER, REFUSED)

    film = market.attempt(paid_prompt(), on_cancel=policy)

    assert isinstance(film.error, RequestRejectedError)
    assert list(film.steps) == [IMAGE]
    assert "not submitted, because the audio failed" in film.stopped[VIDEO]
    assert [one["model"] for one in market.accepted()] == ["stability-ai/sdxl"]
    assert _cancels(market) == 0
    assert film.cost_usd == market.bill_usd() == _spent_usd(market)
    assert reserved_micro_usd(market.home) == 0


@pytest.mark.parametrize(
    ("wanted", "settings"),
    [({IMAGE, AUDIO}, {}), (ALL_STEPS, {"on_cancel": OnCancel.DETACH})],
    ids=["wanted for itself", "detach"],
)
def test_what_is_wanted_for_itself_or_detached_goes_on(
    market: Market, wanted: set[Step], settings: dict[str, Any]
) -> None:
    market.set_faults(LATER, REFUSED, STUCK)
    failed = asyncio.Event()

    async def run(studio: Studio) -> None:
        loop = asyncio.get_running_loop()

        def watch(event: Any) -> None:
            if (event.step, event.what) == (AUDIO, "failed"):
                loop.call_soon_threadsafe(failed.set)

        making = asyncio.ensure_future(studio.attempt(paid_prompt(), wanted=wanted, on_event=watch))
        await asyncio.wait_for(failed.wait(), 60)
        await until(lambda: any(row.prediction_id for row in studio.ledger.purchases.search()))
        await asyncio.sleep(0.3)
        assert not making.done()
        assert _cancels(market) == 0
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making

    with market.studio(**settings) as studio:
        asyncio.run(run(studio))


def test_what_waits_for_a_place_is_not_submitted(market: Market) -> None:
    """It would take a place, and money, from a film that can still be made."""
    market.set_faults({"provider": "replicate", "fault": "run_stuck"}, REFUSED)
    busy = paid_prompt(key="busy", prompt="a blue barn", script=None)

    async def run(studio: Studio) -> Film:
        making = asyncio.ensure_future(studio.attempt(busy))
        await until(lambda: any(row.prediction_id for row in studio.ledger.purchases.search()))
        film = await asyncio.wait_for(studio.attempt(paid_prompt()), 60)
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await making
        return film

    with market.studio(replicate_concurrency=1, cancel_grace_s=0.1) as studio:
        film = asyncio.run(run(studio))
        rows = studio.ledger.purchases.search(prompt_key="paid")

    assert "not submitted" in film.stopped[IMAGE]
    assert {(row.step, row.state, row.attempts) for row in rows if row.step == "image"} == {
        ("image", PurchaseState.CANCELED, 0)
    }
    assert market.posts("replicate") == 1


@pytest.mark.parametrize(
    ("fault", "settings", "sent"),
    [
        ({"fault": "reply_late", "seconds": 4}, {}, True),
        ({"fault": "exec_and_hang"}, {"post_deadline_s": 4.0}, True),
        ({"fault": "noexec_503"}, {"settle_lag_s": 4.0}, False),
    ],
    ids=["its reply comes", "its reply is lost", "it never arrived"],
)
def test_what_was_being_sent_is_heard_of_first(
    market: Market, fault: dict[str, Any], settings: dict[str, Any], *, sent: bool
) -> None:
    """It may be paid for: what came of it is found out, and what was accepted and runs is kept."""
    market.set_faults(LATER, REFUSED, {"provider": "replicate", "call": "submit", "times": 1, **fault})

    film = market.attempt(paid_prompt(), **settings)

    assert isinstance(film.error, RequestRejectedError)
    assert (IMAGE in film.steps) is sent
    assert ("not submitted" in film.stopped.get(IMAGE, "")) is not sent
    assert (len(market.accepted()), market.posts("replicate")) == (int(sent), 1)
    assert film.cost_usd == market.bill_usd() == _spent_usd(market)
    assert reserved_micro_usd(market.home) == 0


def test_what_a_cap_puts_off_calls_nothing_back(market: Market) -> None:
    """It has not failed: once there is room it goes on, and then the picture is wanted."""
    market.set_faults(REFUSED)
    prompt = paid_prompt(
        routes={**paid_prompt().routes, "audio": ["elevenlabs:flash-v2.5", "elevenlabs:multilingual-v2"]}
    )
    with market.studio() as studio:
        need = asyncio.run(studio.plan(prompt)).estimate_usd

    film = market.attempt(prompt.model_copy(update={"max_cost_usd": need}), budget_wait_s=0)

    assert isinstance(film.error, BudgetExceededError)
    assert film.stopped == {}
    assert list(film.steps) == [IMAGE, VIDEO]
