"""Cancelling a purchase at any moment: nothing paid is lost, nothing is sent twice, and others may go on with it."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from media_assets.errors import StoppedError
from media_assets.ledger import open_ledger
from media_assets.ledger.admission import Limits
from media_assets.ledger.rows import PurchaseState
from media_assets.orders import Purchased
from media_assets.recall import Recall
from media_assets_tests.canceling import CanceledAt, cancel_after, until
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.making import Shop, reserved_micro_usd
from media_assets_tests.web_shop import (
    FAST,
    KINDS,
    PRICE_USD,
    Answer,
    Service,
    WebShop,
    after,
    at_once,
    open_kind,
    open_web_shop,
)

_PATIENT = replace(FAST, backoff_first_s=60.0)
"""Waits for so long before it sends what was refused again that no test sees it do so."""
_EVERY = 1 if LONG else 4
"""Which of the awaits are tried; a run that is long enough tries all."""


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebShop]:
    with open_kind(request.param, tmp_path) as one:
        yield one


async def _canceled_at(shop: WebShop, nth: int, take: int) -> bool:
    """Buy, cancelled at the n-th await; return whether it was."""
    buying = CanceledAt(shop.buying(take=take), nth)
    try:
        await buying
    except asyncio.CancelledError:
        return True
    assert buying.awaits < nth
    return False


def test_a_cancel_at_every_await_loses_nothing_and_sends_nothing_twice(
    shop: WebShop, record_property: Callable[[str, object], None]
) -> None:
    """Ctrl-C comes at any moment, and again while the next run goes on; then somebody lets it finish."""
    takes, nth = 0, 1
    while asyncio.run(_canceled_at(shop, nth, takes)):
        for again in (1, nth):
            asyncio.run(_canceled_at(shop, again, takes))
        assert shop.buy(take=takes).artifact
        assert shop.row(takes).state is PurchaseState.SUCCEEDED
        takes += 1
        nth += _EVERY
        assert shop.service.submits == takes, "one submission a purchase"
    takes += 1

    record_property(SAMPLE, f"cancelled at {takes - 1} of about {nth - 1} awaits")
    assert nth > 25
    assert shop.shop.spent_usd() == takes * PRICE_USD
    assert reserved_micro_usd(shop.shop.home) == 0
    assert not list((shop.shop.home / "scratch").glob("*/*"))


def test_a_cancel_during_the_submission_hears_its_reply_to_the_end(tmp_path: Path) -> None:
    """What was accepted meanwhile is on record, and a rerun goes on with it."""
    late = after(0.2, lambda _nth, name: (201, {"id": name, "state": "queued"}))
    running = lambda _nth, name: (200, {"id": name, "state": "running"})  # noqa: E731
    with open_web_shop(tmp_path, Service(submit=late, status=running)) as shop:
        asyncio.run(cancel_after(shop.buying(), lambda: shop.service.submits == 1))
        heard = shop.row()
        shop.service.status = at_once
        shop.buy()

        assert (heard.state, heard.prediction_id) == (PurchaseState.SUBMITTED, "p-0")
        assert shop.service.submits == 1


@pytest.mark.parametrize("refusal", [(429, {}), None], ids=["429", "unreachable"])
def test_a_cancel_while_a_refusal_is_heard_is_no_unknown_outcome(tmp_path: Path, refusal: Answer | None) -> None:
    """Nothing was accepted, so nothing needs a person."""
    with open_web_shop(tmp_path, options=_PATIENT) as shop:
        base = shop.adapter.base
        if refusal is None:
            shop.adapter.base = "http://127.0.0.1:9"
        else:
            shop.service.submit = lambda _nth, _name: refusal
        for nth in range(1, 7):
            with contextlib.suppress(TimeoutError):
                asyncio.run(asyncio.wait_for(_canceled_at(shop, nth, take=nth), 0.3))
            assert shop.row(nth).state is PurchaseState.CANCELED
            assert set(shop.outcomes(nth)) <= {"refused", "unsent", "interrupted"}
        assert reserved_micro_usd(tmp_path) == 0

        shop.adapter.base, shop.service.submit = base, Service.submit
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql("UPDATE rate SET blocked_until = NULL")
        shop.buy(take=6)
        assert shop.row(6).state is PurchaseState.SUCCEEDED


def test_a_cancel_while_a_refusal_is_waited_out_ends_at_once(tmp_path: Path) -> None:
    looks = itertools.count()
    with open_web_shop(tmp_path, Service(submit=lambda _nth, _name: (429, {})), options=_PATIENT) as shop:
        # Some looks later, by when it rests: what is written by a thread is not known to the loop at once.
        rests = lambda: shop.outcomes() == ["refused"] and next(looks) > 25  # noqa: E731

        asyncio.run(asyncio.wait_for(cancel_after(shop.buying(), rests), 30))

        assert (shop.row().state, shop.service.submits) == (PurchaseState.CANCELED, 1)
        assert reserved_micro_usd(tmp_path) == 0


def test_a_cancel_as_what_was_sent_before_is_taken_up_again_leaves_it_to_the_next(tmp_path: Path) -> None:
    """It stands as it was, and nobody has it; the next run goes on with it."""
    queued = lambda _nth, name: (201, {"id": name, "state": "queued"})  # noqa: E731
    running = lambda _nth, name: (200, {"id": name, "state": "running"})  # noqa: E731
    with open_web_shop(tmp_path, Service(submit=queued, status=running)) as shop:
        asyncio.run(cancel_after(shop.buying(), lambda: shop.service.asked["status"] > 0))
        before = shop.row()

        for nth in range(1, 7):
            assert asyncio.run(_canceled_at(shop, nth, take=0))
            again = shop.row()
            assert (again.state, again.prediction_id) == (PurchaseState.SUBMITTED, before.prediction_id)
            assert not shop.ledger.owner.holds(before.request_key)

        shop.service.status = at_once
        shop.buy()
        assert (shop.row().state, shop.service.submits) == (PurchaseState.SUCCEEDED, 1)


def test_a_cancel_while_a_token_is_waited_for_leaves_nothing_behind(tmp_path: Path) -> None:
    """The limit a minute is the ledger's: who waits holds neither place nor money once it is told to stop."""
    options = replace(FAST, limits={"testing": Limits(per_minute=1)})
    with open_web_shop(tmp_path, options=options) as shop:
        shop.buy(take=1)
        waiting = lambda: len(shop.ledger.purchases.search()) == 2  # noqa: E731

        asyncio.run(cancel_after(shop.buying(take=2), waiting))

        assert (shop.row(2).state, shop.row(2).attempts) == (PurchaseState.CANCELED, 0)
        assert reserved_micro_usd(tmp_path) == 0
        assert shop.service.submits == 1


def test_what_a_canceled_purchase_leaves_open_another_process_goes_on_with(tmp_path: Path) -> None:
    """A server lives for weeks: others must not wait for its end to have what it gave up."""
    with open_web_shop(tmp_path, Service(status=lambda _nth, name: (200, {"id": name, "state": "running"}))) as shop:
        asyncio.run(cancel_after(shop.buying(), lambda: shop.service.asked["status"] > 2))
        shop.service.status = at_once
        with open_ledger(tmp_path) as neighbour:
            other = replace(shop, shop=Shop(tmp_path, neighbour))

            bought = asyncio.run(asyncio.wait_for(other.buying(), 10))

        assert bought.prediction_id == "p-0"
        assert shop.service.submits == 1
        assert shop.shop.spent_usd() == PRICE_USD


_NO_ROOM = {
    "cancel": (
        "CREATE TRIGGER no_cancel BEFORE UPDATE OF cancel_requested_at ON purchase "
        "WHEN NEW.cancel_requested_at IS NOT NULL BEGIN INSERT INTO there_is_no_room VALUES (1); END"
    ),
    "interest": (
        "CREATE TRIGGER no_interest BEFORE UPDATE OF until ON interest "
        "BEGIN INSERT INTO there_is_no_room VALUES (1); END"
    ),
}


def test_what_cannot_be_recorded_is_not_called_back_and_the_run_ends_all_the_same(tmp_path: Path) -> None:
    """A cancel that nobody knows of would look like a provider's own; a full disk must not keep a run from ending."""
    queued = lambda _nth, name: (200, {"id": name, "state": "queued"})  # noqa: E731
    with open_web_shop(tmp_path, Service(status=queued)) as shop:
        with shop.ledger.database.write() as connection:
            for trigger in _NO_ROOM.values():
                connection.exec_driver_sql(trigger)
        asyncio.run(cancel_after(shop.buying(), lambda: shop.service.asked["status"] > 2))

        assert shop.service.asked["cancel"] == 0
        assert (shop.row().state, shop.row().owner) == (PurchaseState.SUBMITTED, "")
        with shop.ledger.database.write() as connection:
            for name in _NO_ROOM:
                connection.exec_driver_sql(f"DROP TRIGGER no_{name}")
        shop.service.status = at_once
        shop.buy()
        assert shop.service.submits == 1


class _CancelAtTheEnd(logging.Handler):
    """Cancels a task when it is told that something was bought: its last step, right before it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.buying: asyncio.Task[Purchased] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.buying is not None and record.getMessage().startswith("bought"):
            self.buying.cancel()


def test_a_cancel_that_comes_as_it_ends_keeps_what_was_bought(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to be called back any more, and that is what people are told."""
    caplog.set_level(logging.INFO, logger="media_assets.purchase")
    said: list[str] = []
    stop = _CancelAtTheEnd()

    async def run(shop: WebShop) -> None:
        stop.buying = asyncio.ensure_future(shop.buying(say=said.append))
        with pytest.raises(asyncio.CancelledError):
            await stop.buying

    with open_web_shop(tmp_path) as shop:
        logger = logging.getLogger("media_assets.purchase")
        logger.addHandler(stop)
        try:
            asyncio.run(run(shop))
        finally:
            logger.removeHandler(stop)

        assert said == ["ended while the run was stopping, and is kept"]
        assert (shop.row().state, shop.row().cancel_requested_at) == (PurchaseState.SUCCEEDED, None)
        assert (shop.shop.spent_usd(), reserved_micro_usd(tmp_path)) == (PRICE_USD, 0)
        assert shop.buy().cached
        assert (shop.service.submits, shop.service.asked["cancel"]) == (1, 0)


@pytest.mark.parametrize("refusal", [(404, {}), (500, {})], ids=["not known yet", "a fault of the moment"])
def test_a_cancel_that_is_not_taken_is_sent_again(tmp_path: Path, refusal: Answer) -> None:
    """It is free, and may be repeated; what it was for still costs money if it is left to begin."""
    service = Service()
    last = 3 if refusal[0] == 404 else 12
    service.cancel = lambda nth, name: refusal if nth < last else (200, {"id": name, "state": "queued"})
    service.status = lambda _nth, name: (
        (200, {"id": name, "state": "canceled", "error": "canceled"})
        if service.asked["cancel"] > last
        else (200, {"id": name, "state": "queued"})
    )
    with open_web_shop(tmp_path, service, options=replace(FAST, cancel_grace_s=60.0)) as shop:
        asyncio.run(cancel_after(shop.buying(), lambda: shop.service.asked["status"] > 2))

        assert shop.row().state is PurchaseState.CANCELED
        assert shop.service.asked["cancel"] == last + 1
        assert reserved_micro_usd(tmp_path) == 0


def test_what_a_failed_chain_shares_with_another_is_called_back_only_when_that_lets_go(tmp_path: Path) -> None:
    """Somebody else's film can still be made of it."""
    service = Service()
    service.status = lambda _nth, name: (
        (200, {"id": name, "state": "canceled", "error": "canceled"})
        if service.asked["cancel"]
        else (200, {"id": name, "state": "queued"})
    )

    async def run(shop: WebShop) -> None:
        recall = Recall()
        first = asyncio.ensure_future(shop.buying(recall=recall))
        await until(lambda: service.asked["status"] > 2)
        second = asyncio.ensure_future(shop.buying())
        query = "SELECT COUNT(*) FROM interest WHERE until IS NULL"

        def both_wait() -> bool:
            with shop.ledger.database.read() as connection:
                return bool(connection.exec_driver_sql(query).scalar_one() == 2)

        await until(both_wait)
        recall.ask("the audio failed", spares_running=True)
        asked = service.asked["status"]
        await until(lambda: service.asked["status"] > asked + 5)
        assert service.asked["cancel"] == 0
        second.cancel()
        with pytest.raises(StoppedError, match="called back, free, because the audio failed"):
            await first

    with open_web_shop(tmp_path, service) as shop:
        asyncio.run(run(shop))

        assert service.asked["cancel"] == 1
        assert shop.row().state is PurchaseState.CANCELED
