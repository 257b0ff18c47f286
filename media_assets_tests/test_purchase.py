"""One purchase from request to artifact: bought at most once, whoever asks, fails, dies or cancels."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import Recovery
from media_assets.errors import (
    ArtifactError,
    JudgeError,
    MediaAssetsError,
    OutputLostError,
    PredictionFailedError,
    RequestRejectedError,
    SpeechError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger import open_ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseState
from media_assets.orders import Purchased
from media_assets.providers.base import LocalArguments
from media_assets_tests.making import (
    SHOP_PRICE_USD,
    SHOP_REQUEST,
    SILENCE_IS_BAD,
    OwnProvider,
    Shop,
    leftovers,
    reserved_micro_usd,
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_ledger(tmp_path) as ledger:
        yield Shop(tmp_path, ledger)


@pytest.fixture
def neighbour(shop: Shop) -> Iterator[Shop]:
    """Open the same home as another process would."""
    with open_ledger(shop.home) as ledger:
        yield Shop(shop.home, ledger)


def _die_while_buying(shop: Shop) -> None:
    """Leave a paid purchase as a process leaves it that is killed right after it sent."""
    claim = shop.ledger.purchases.claim(
        SHOP_REQUEST,
        recovery=Recovery.NONE,
        prompt_key="cheap",
        plan_id=shop.plan(SHOP_PRICE_USD),
        estimate_micro_usd=500_000,
    )
    assert isinstance(claim, Claim)
    shop.ledger.purchases.write_intent(claim)
    shop.ledger.owner.close()


def _raise(error: MediaAssetsError) -> Callable[[str, LocalArguments], None]:
    def before(_endpoint: str, _arguments: LocalArguments) -> None:
        raise error

    return before


@pytest.mark.parametrize("paid", [False, True])
def test_what_is_bought_is_there_the_second_time(shop: Shop, *, paid: bool) -> None:
    """The promise in its simplest form: ask twice, pay once."""
    first, second = shop.buy(paid=paid), shop.buy(paid=paid)

    assert shop.provider.submits == {"silence": 1}
    assert (first.cached, second.cached) == (False, True)
    assert first.artifact == second.artifact
    assert shop.store.verify(first.artifact)
    price = Decimal(SHOP_PRICE_USD if paid else 0)
    assert (first.cost_usd, first.spent_usd) == (price, price)
    assert (second.cost_usd, second.spent_usd) == (price, Decimal(0))
    assert shop.spent_usd() == price
    assert (shop.row.state, shop.row.attempts) == (PurchaseState.SUCCEEDED, 1)


def test_nothing_of_the_work_is_left_behind(shop: Shop) -> None:
    """A thousand films must not fill the disk with scratch folders."""
    shop.buy()

    mine = shop.ledger.owner.id
    assert set(leftovers(shop.home)) <= {f"owners/{mine}.lock", f"scratch/{mine}"}
    assert list((shop.home / "scratch").glob("*/*")) == []


def test_two_coroutines_that_want_the_same_buy_it_once(shop: Shop) -> None:
    """Two prompts of a batch often share a picture."""

    async def both() -> tuple[Purchased, Purchased]:
        return await asyncio.gather(shop.buying(paid=True), shop.buying(paid=True))

    bought = asyncio.run(both())

    assert shop.provider.submits == {"silence": 1}
    assert sorted(one.cached for one in bought) == [False, True]
    assert shop.spent_usd() == Decimal(SHOP_PRICE_USD)
    assert reserved_micro_usd(shop.home) == 0


def test_another_process_waits_for_the_one_at_work_and_takes_what_it_made(shop: Shop, neighbour: Shop) -> None:
    """The UI and a terminal ask for the same film at the same time."""
    at_work, go_on = threading.Event(), threading.Event()

    def hold(_endpoint: str, _arguments: LocalArguments) -> None:
        at_work.set()
        assert go_on.wait(20)

    shop.provider.before = hold

    async def both() -> tuple[Purchased, Purchased, bool]:
        working = asyncio.ensure_future(shop.buying(paid=True))
        await asyncio.to_thread(at_work.wait, 20)
        waiting = asyncio.ensure_future(neighbour.buying(paid=True))
        await asyncio.sleep(0.2)
        had_to_wait = not waiting.done()
        go_on.set()
        return await working, await waiting, had_to_wait

    made, taken, had_to_wait = asyncio.run(both())

    assert had_to_wait
    assert (made.cached, taken.cached) == (False, True)
    assert made.artifact == taken.artifact
    assert not neighbour.provider.submits


def test_a_free_failure_is_tried_again_by_the_next_run(shop: Shop) -> None:
    """It costs nothing, and the reason may have been a full disk."""
    shop.provider.before = _raise(SpeechError("no voice"))
    with pytest.raises(SpeechError, match="no voice"):
        shop.buy()
    failed = shop.row

    shop.provider.before = OwnProvider.before
    shop.buy()

    assert (failed.state, failed.error and failed.error["class"]) == (PurchaseState.FAILED_FREE, "SpeechError")
    assert (shop.row.state, shop.row.attempts, shop.row.error) == (PurchaseState.SUCCEEDED, 2, None)


def test_a_refused_paid_request_is_not_sent_again_by_itself(shop: Shop) -> None:
    """A nightly batch would otherwise send a refused prompt every night."""
    shop.provider.before = _raise(RequestRejectedError("too rude"))
    with pytest.raises(RequestRejectedError):
        shop.buy(paid=True)

    with pytest.raises(PredictionFailedError, match=r"failed before.*too rude.*--retry-failed") as caught:
        shop.buy(paid=True)

    assert caught.value.request_key == SHOP_REQUEST.key
    assert shop.provider.submits == {"silence": 1}
    assert shop.spent_usd() == 0
    assert reserved_micro_usd(shop.home) == 0
    with pytest.raises(RequestRejectedError):
        shop.buy(paid=True, retry_failed=True)
    assert shop.provider.submits == {"silence": 2}


def test_a_paid_file_that_is_not_good_enough_is_kept_and_not_bought_again(shop: Shop) -> None:
    """It is paid for; buying another is a person's wish, and costs a second time."""
    with pytest.raises(JudgeError, match="silent"):
        shop.buy(paid=True, question=SILENCE_IS_BAD)
    with pytest.raises(PredictionFailedError, match="silent"):
        shop.buy(paid=True, question=SILENCE_IS_BAD)

    row = shop.row
    assert row.state is PurchaseState.FAILED_PAID
    assert row.artifact is not None
    assert shop.store.verify(row.artifact)
    assert (shop.provider.submits["silence"], shop.spent_usd()) == (1, Decimal(SHOP_PRICE_USD))

    shop.buy(paid=True, retry_failed=True)
    assert (shop.provider.submits["silence"], shop.spent_usd()) == (2, 2 * Decimal(SHOP_PRICE_USD))


def test_a_paid_submission_whose_process_died_is_never_sent_again(shop: Shop, neighbour: Shop) -> None:
    """Nobody knows whether it was billed: it is held with its budget until a person decides, never guessed."""
    _die_while_buying(shop)

    for how in ({}, {}, {"retry_failed": True}):
        with pytest.raises(UnknownOutcomeError) as caught:
            neighbour.buy(paid=True, **how)
        assert caught.value.request_key == SHOP_REQUEST.key

    assert not neighbour.provider.submits
    assert (neighbour.row.state, neighbour.row.attempts) == (PurchaseState.UNKNOWN, 1)
    assert reserved_micro_usd(shop.home) == 500_000
    assert neighbour.ledger.prompts.close_dead_plans() == 1
    assert reserved_micro_usd(shop.home) == 500_000


def test_an_answer_that_was_lost_keeps_its_reservation(shop: Shop) -> None:
    """The commonest undecided outcome is not a crash but a connection that broke after sending."""
    shop.provider.before = _raise(UnknownOutcomeError("the connection broke"))

    for _ in range(2):
        with pytest.raises(UnknownOutcomeError):
            shop.buy(paid=True, retry_failed=True)

    assert shop.provider.submits == {"silence": 1}
    assert shop.row.state is PurchaseState.UNKNOWN
    assert reserved_micro_usd(shop.home) == 500_000


def test_an_answer_nobody_understands_is_not_a_reason_to_send_again(shop: Shop) -> None:
    """A provider that renamed a field has accepted, and bills, every single one."""
    shop.provider.before = _raise(UnexpectedResponseError("no field id"))

    for _ in range(2):
        with pytest.raises(MediaAssetsError):
            shop.buy(paid=True)

    assert shop.provider.submits == {"silence": 1}


def _cancel_while_the_model_runs(shop: Shop, *, paid: bool) -> None:
    running = threading.Event()

    def until_stopped(_endpoint: str, arguments: LocalArguments) -> None:
        running.set()
        # What is paid for is not told to stop: it breaks off by itself, and nobody knows what was made by then.
        assert arguments.work.stop.wait(0.2 if paid else 20), "broken off"
        arguments.work.check()

    shop.provider.before = until_stopped

    async def cancel_soon() -> None:
        buying = asyncio.ensure_future(shop.buying(paid=paid))
        await asyncio.to_thread(running.wait, 20)
        buying.cancel()
        await buying

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel_soon())
    shop.provider.before = OwnProvider.before


def test_a_canceled_free_purchase_says_so_and_is_made_by_the_next_run(shop: Shop) -> None:
    """Ctrl-C in the middle of a film is an everyday thing."""
    _cancel_while_the_model_runs(shop, paid=False)
    canceled = shop.row

    shop.buy()

    assert (canceled.state, canceled.attempts) == (PurchaseState.CANCELED, 1)
    outcomes = [attempt["outcome"] for attempt in shop.ledger.purchases.attempts(SHOP_REQUEST.key)]
    assert outcomes == ["interrupted", "accepted"]
    assert not list((shop.home / "scratch").glob("*/*"))


def _buy_and_cancel_after(shop: Shop, delay_s: float, **how: Any) -> None:
    async def cancel_soon() -> None:
        buying = asyncio.ensure_future(shop.buying(**how))
        await asyncio.sleep(delay_s)
        buying.cancel()
        await buying

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(cancel_soon())


@pytest.mark.parametrize("paid", [False, True])
def test_a_cancel_at_any_moment_is_made_good_by_the_next_run(shop: Shop, *, paid: bool) -> None:
    """Ctrl-C comes between any two lines; what was not sent by then is made, and what was sent is not sent again."""
    for milliseconds in range(40):
        before = shop.provider.submits["silence"]
        _buy_and_cancel_after(shop, milliseconds / 1000, paid=paid, take=milliseconds)
        was_sent = shop.provider.submits["silence"] > before
        with contextlib.suppress(UnknownOutcomeError) if paid and was_sent else contextlib.nullcontext():
            shop.buy(paid=paid, take=milliseconds)

        assert not paid or shop.provider.submits["silence"] == before + 1

    rows = shop.ledger.purchases.search()
    unknown = [row for row in rows if row.state is PurchaseState.UNKNOWN]
    assert {row.state for row in rows} <= {PurchaseState.SUCCEEDED, *(row.state for row in unknown)}
    assert bool(unknown) <= paid
    price_micro_usd = 500_000 if paid else 0
    assert shop.spent_usd() * 1_000_000 + reserved_micro_usd(shop.home) == price_micro_usd * len(rows), "all accounted"
    assert list((shop.home / "scratch").glob("*/*")) == []


def test_a_canceled_paid_purchase_that_was_sent_is_not_sent_again(shop: Shop) -> None:
    """The provider goes on working, and billing, whatever we stopped waiting for."""
    _cancel_while_the_model_runs(shop, paid=True)

    with pytest.raises(UnknownOutcomeError):
        shop.buy(paid=True)

    assert shop.provider.submits == {"silence": 1}


def test_a_lost_free_file_is_made_again_under_its_key(shop: Shop) -> None:
    """Deleting a file by hand must not be fatal."""
    first = shop.buy()
    shop.store.path(first.artifact).unlink()

    again = shop.buy()

    assert (again.cached, again.attempts, again.artifact) == (False, 2, first.artifact)
    assert shop.store.verify(again.artifact)


def test_two_processes_that_miss_the_same_file_make_it_once(shop: Shop, neighbour: Shop) -> None:
    """The first one's remake is the other one's hit."""
    shop.store.path(shop.buy().artifact).unlink()

    async def both() -> tuple[Purchased, Purchased]:
        return await asyncio.gather(shop.buying(), neighbour.buying())

    bought = asyncio.run(both())

    assert shop.provider.submits["silence"] + neighbour.provider.submits["silence"] == 2
    assert sorted(one.cached for one in bought) == [False, True]


def test_a_lost_paid_file_is_not_bought_again_by_itself(shop: Shop) -> None:
    """The money is gone once; whether it is spent again is a person's decision."""
    shop.store.path(shop.buy(paid=True).artifact).unlink()

    with pytest.raises(OutputLostError, match="new take"):
        shop.buy(paid=True, retry_failed=True)

    assert shop.provider.submits == {"silence": 1}
    assert shop.spent_usd() == Decimal(SHOP_PRICE_USD)


def test_progress_is_told_while_the_work_goes_on(shop: Shop) -> None:
    """Someone watches a bar."""

    def halfway(_endpoint: str, arguments: LocalArguments) -> None:
        arguments.work.tell(0.5)

    shop.provider.before = halfway
    told: list[float] = []

    shop.buy(tell=told.append)

    assert told == [0.5]


def test_a_store_that_cannot_be_written_fails_free_and_is_made_good(shop: Shop) -> None:
    """The store's error must reach the ledger, so that the next run knows where to begin."""
    in_the_way = [shop.store.root / f"{number:02x}" for number in range(256)]
    shop.store.root.mkdir()
    for path in in_the_way:
        path.touch()
    with pytest.raises(ArtifactError):
        shop.buy()
    failed = shop.row.state

    for path in in_the_way:
        path.unlink()
    shop.buy()

    assert failed is PurchaseState.FAILED_FREE
    assert shop.row.state is PurchaseState.SUCCEEDED
