"""Waiting for a prediction: whatever is answered, nothing is bought twice, and only a deadline ends the wait."""

import logging
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from media_assets.errors import (
    Billed,
    KeyRejectedError,
    OutputLostError,
    PredictionFailedError,
    PredictionTimeoutError,
    ProviderUnavailableError,
    PurchaseError,
    RequestRejectedError,
    Rerun,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.making import SHOP_REQUEST, reserved_micro_usd
from media_assets_tests.web_shop import PRICE_USD, Answer, Service, WebAdapter, WebShop, open_web_shop


def _first(count: int, answer: Answer, then: str = "succeeded") -> Callable[[int, str], Answer]:
    """Answer so ``count`` times, and then with a state."""
    return lambda nth, name: answer if nth < count else (200, {"id": name, "state": then})


def _told(state: str, **more: object) -> Callable[[int, str], Answer]:
    return lambda _nth, name: (200, {"id": name, "state": state, **more})


def _assert_goes_on(shop: WebShop) -> None:
    """Hold that a rerun has what was paid for, without another submission."""
    assert shop.shop.row.state is PurchaseState.SUBMITTED
    assert reserved_micro_usd(shop.shop.home) == 500_000
    shop.service.status = _told("succeeded")
    shop.service.result = _told("succeeded")

    bought = shop.buy()

    assert bought.spent_usd == shop.shop.spent_usd() == PRICE_USD
    assert shop.service.submits == 1
    assert reserved_micro_usd(shop.shop.home) == 0


def test_unknown_right_after_it_was_created_is_waited_for(tmp_path: Path) -> None:
    """A provider's own servers do not all know of a prediction at the same moment."""
    with open_web_shop(tmp_path, Service(status=_first(2, (404, {})))) as shop:
        shop.buy()

        assert shop.service.asked["status"] >= 3
        assert shop.service.submits == 1


def test_unknown_for_a_moment_of_a_long_run_is_waited_for(tmp_path: Path) -> None:
    """A clip takes minutes, and one bad answer in all that time must not leave what is paid for behind."""

    def status(nth: int, name: str) -> Answer:
        if nth in {3, 6}:
            return 404, {}
        time.sleep(0.05)
        return 200, {"id": name, "state": "succeeded" if nth > 6 else "running"}

    with open_web_shop(tmp_path, Service(status=status)) as shop:
        assert shop.buy().spent_usd == PRICE_USD
        assert shop.service.submits == 1


@pytest.mark.parametrize("answer", [(404, {}), (200, b"<html>"), (200, b""), (200, b"[]")])
@pytest.mark.parametrize("question", ["status", "result"])
def test_an_answer_of_the_moment_is_asked_for_again(tmp_path: Path, question: str, answer: Answer) -> None:
    """It costs nothing to ask; to give up would degrade a film, or make somebody run it again."""
    service = Service()
    setattr(service, question, _first(3, answer))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        assert shop.buy().spent_usd == PRICE_USD

        assert shop.service.asked[question] == 4
        assert shop.service.submits == 1


def test_an_answer_of_the_provider_s_own_that_cannot_be_read_is_not_asked_for_again(tmp_path: Path) -> None:
    """It would be the same; to ask for two minutes would only keep a person waiting."""
    with open_web_shop(tmp_path, Service(status=lambda _nth, _name: (200, {"status": "new"}))) as shop:
        with pytest.raises(UnexpectedResponseError):
            shop.buy()

        assert shop.service.asked["status"] == 1
        _assert_goes_on(shop)


def test_unknown_for_good_is_an_unknown_outcome_that_keeps_its_id(tmp_path: Path) -> None:
    """It may have been billed: a person looks for it by this id."""
    with open_web_shop(tmp_path, Service(status=lambda _nth, _name: (404, {}))) as shop:
        with pytest.raises(UnknownOutcomeError, match=r"p-0.*before it is bought again") as caught:
            shop.buy()
        with pytest.raises(UnknownOutcomeError):
            shop.buy(retry_failed=True)

        assert caught.value.prediction_id == shop.shop.row.prediction_id == "p-0"
        assert shop.shop.row.state is PurchaseState.UNKNOWN
        assert shop.service.submits == 1
        assert reserved_micro_usd(tmp_path) == 500_000


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_provider_that_cannot_say_is_asked_for_a_while_and_then_by_a_rerun(tmp_path: Path, status: int) -> None:
    """What is paid for is not given up because nobody could be asked."""
    with open_web_shop(tmp_path, Service(status=lambda _nth, _name: (status, {}))) as shop:
        with pytest.raises(PurchaseError) as caught:
            shop.buy()

        assert shop.service.asked["status"] >= 3
        error = caught.value
        assert (error.rerun, error.billed, error.prediction_id) == (Rerun.RESUME, Billed.UNKNOWN, "p-0")
        assert (error.step, error.provider, error.model) == ("audio", "testing", "testing:silence")
        assert error.request_key == SHOP_REQUEST.key
        _assert_goes_on(shop)


def test_a_provider_that_is_gone_while_it_works_loses_nothing(tmp_path: Path) -> None:
    """No answer at all, this time."""
    with open_web_shop(tmp_path, Service()) as shop:
        base = shop.adapter.base
        shop.service.submit = lambda _nth, name: _gone(shop, name)
        with pytest.raises(ProviderUnavailableError, match=r"p-0.*not lost.*costs nothing more") as caught:
            shop.buy()

        assert (caught.value.rerun, caught.value.billed) == (Rerun.RESUME, Billed.UNKNOWN)
        shop.adapter.base = base
        _assert_goes_on(shop)


def _gone(shop: WebShop, name: str) -> Answer:
    shop.adapter.base = "http://127.0.0.1:9"
    return 201, {"id": name, "state": "queued"}


def test_a_key_that_is_refused_while_it_works_loses_nothing(tmp_path: Path) -> None:
    """Keys are changed at any moment."""
    with open_web_shop(tmp_path, Service(status=lambda _nth, _name: (401, {}))) as shop:
        with pytest.raises(KeyRejectedError) as caught:
            shop.buy()

        assert caught.value.http_status == 401
        _assert_goes_on(shop)


@pytest.mark.parametrize("status", [401, 500])
def test_a_result_that_is_refused_for_now_is_not_a_failure(tmp_path: Path, status: int) -> None:
    """A failure would be bought again, though the result is there and paid for."""
    service = Service(result=lambda _nth, _name: (status, {}))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(PurchaseError):
            shop.buy()

        _assert_goes_on(shop)


def test_a_result_that_is_refused_for_good_is_a_failure(tmp_path: Path) -> None:
    service = Service(result=lambda _nth, _name: (422, {}))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(RequestRejectedError) as caught:
            shop.buy()
        with pytest.raises(PredictionFailedError, match="failed before"):
            shop.buy()

        assert (caught.value.prediction_id, caught.value.http_status) == ("p-0", 422)
        assert shop.shop.row.state is PurchaseState.FAILED_FREE
        assert shop.service.submits == 1
        assert shop.shop.spent_usd() == 0


@pytest.mark.parametrize(
    ("said", "kind", "left", "held_micro_usd"),
    [
        (b"failed unless it lasts", PredictionFailedError, PurchaseState.FAILED_FREE, 0),
        (b"unknown unless it lasts", UnknownOutcomeError, PurchaseState.UNKNOWN, 500_000),
    ],
)
def test_a_fault_that_stays_the_same_is_believed_in_the_end(
    tmp_path: Path, said: bytes, kind: type[PurchaseError], left: PurchaseState, held_micro_usd: int
) -> None:
    service = Service(result=lambda _nth, _name: (500, said))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(kind, match="again and again") as caught:
            shop.buy()

        assert type(caught.value) is kind
        assert (caught.value.prediction_id, caught.value.http_status) == ("p-0", 500)
        assert shop.service.asked["result"] >= 2
        assert (shop.shop.row.state, reserved_micro_usd(tmp_path)) == (left, held_micro_usd)
        assert shop.service.submits == 1


def test_faults_that_differ_are_no_word_on_a_prediction(tmp_path: Path) -> None:
    """An outage looks different every time; what is said of one thing is the same whenever it is asked for."""
    service = Service(result=lambda nth, _name: (500 + 3 * (nth % 2), b"failed unless it lasts"))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(ProviderUnavailableError):
            shop.buy()

        _assert_goes_on(shop)


def test_a_result_that_was_deleted_is_paid_and_lost(tmp_path: Path) -> None:
    """It was made, so it is billed, whatever its model charges for failures."""
    service = Service(result=lambda _nth, _name: (410, {}))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True), billed_failed=False) as shop:
        for _ in range(2):
            with pytest.raises(OutputLostError):
                shop.buy(retry_failed=True)

        row = shop.shop.row
        assert (row.state, row.cost_micro_usd) == (PurchaseState.LOST_OUTPUT, 500_000)
        assert (shop.service.submits, shop.shop.spent_usd()) == (1, PRICE_USD)
        assert reserved_micro_usd(tmp_path) == 0


def test_a_state_nobody_knows_is_waited_for_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A provider's new word must neither lose the money nor fill the log."""
    caplog.set_level(logging.WARNING)
    with open_web_shop(tmp_path, Service(status=_first(5, (200, {"id": "p-0", "state": "hibernating"})))) as shop:
        shop.buy()

    warnings = [record.getMessage() for record in caplog.records if "hibernating" in record.getMessage()]
    assert len(warnings) == 1
    assert "p-0" in warnings[0]


def test_a_state_nobody_knows_ends_at_the_deadline(tmp_path: Path) -> None:
    service = Service(status=_told("hibernating" * 10))
    with open_web_shop(tmp_path, service, queue_deadline_s=0.05, run_deadline_s=0.05) as shop:
        with pytest.raises(PredictionTimeoutError, match="run again to wait on") as caught:
            shop.buy()

        assert (caught.value.billed, caught.value.rerun) == (Billed.UNKNOWN, Rerun.RESUME)
        assert shop.shop.row.remote_state == ("hibernating" * 10)[:40], "no longer than the column"
        assert shop.service.asked["cancel"] == 0
        _assert_goes_on(shop)


def test_a_run_that_takes_too_long_is_left_to_end(tmp_path: Path) -> None:
    """It is paid for: a cancel would throw that away."""
    with open_web_shop(tmp_path, Service(status=_told("running")), run_deadline_s=0.05) as shop:
        with pytest.raises(PredictionTimeoutError, match="still running") as caught:
            shop.buy()

        assert caught.value.billed is Billed.YES
        assert shop.service.asked["cancel"] == 0
        _assert_goes_on(shop)


def test_a_queue_that_takes_too_long_is_left_free_of_charge(tmp_path: Path) -> None:
    """The cancel takes a moment to show; then nothing is owed, and a rerun may try anew."""
    canceled = {"id": "p-0", "state": "canceled", "error": "canceled"}
    service = Service()
    service.status = lambda _nth, name: (
        (200, canceled)
        if service.asked["cancel"] and _nth > asked_before[0] + 2
        else (200, {"id": name, "state": "queued"})
    )
    asked_before = [0]

    def cancel(_nth: int, name: str) -> Answer:
        asked_before[0] = service.asked["status"]
        return 200, {"id": name, "state": "queued"}

    service.cancel = cancel
    with open_web_shop(tmp_path, service, queue_deadline_s=0.05) as shop:
        with pytest.raises(PredictionFailedError, match="canceled") as caught:
            shop.buy()

        assert (caught.value.billed, caught.value.prediction_id) == (Billed.NO, "p-0")
        assert shop.service.asked["cancel"] == 1
        assert shop.shop.row.state is PurchaseState.FAILED_FREE
        assert shop.shop.spent_usd() == 0
        assert reserved_micro_usd(tmp_path) == 0


def test_a_cancel_that_comes_too_late_brings_what_was_made(tmp_path: Path) -> None:
    """It is paid for now, so it is kept."""
    service = Service(cancel=lambda _nth, _name: (400, {}))
    service.status = lambda _nth, name: (
        200,
        {"id": name, "state": "succeeded" if service.asked["cancel"] else "queued"},
    )
    with open_web_shop(tmp_path, service, queue_deadline_s=0.05) as shop:
        assert shop.buy().spent_usd == PRICE_USD
        assert shop.service.submits == 1


def test_a_queue_that_cannot_be_left_goes_on(tmp_path: Path) -> None:
    service = Service(status=_told("queued"), cancel=lambda _nth, _name: (500, {}))
    with open_web_shop(tmp_path, service, queue_deadline_s=0.05) as shop:
        with pytest.raises(PredictionTimeoutError, match="still queued") as caught:
            shop.buy()

        assert caught.value.billed is Billed.UNKNOWN
        _assert_goes_on(shop)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[float] = []
    running = (200, {"id": "p-0", "state": "running", "progress": 0.25})
    with open_web_shop(tmp_path, Service(status=_first(2, running))) as shop:
        shop.buy(tell=told.append)

    assert told == [0.25, 0.25]


@pytest.mark.parametrize(
    ("billed", "model_charges", "charged"),
    [("no", True, 0), ("yes", False, 1), ("unknown", True, 1), ("unknown", False, 0)],
)
def test_a_failure_costs_what_the_provider_says_it_does(
    tmp_path: Path, billed: str, charged: int, *, model_charges: bool
) -> None:
    service = Service(status=_told("failed", error="out of memory", billed=billed))
    with open_web_shop(tmp_path, service, billed_failed=model_charges) as shop:
        with pytest.raises(PredictionFailedError, match="out of memory") as caught:
            shop.buy()

        assert caught.value.prediction_id == "p-0"
        assert shop.shop.spent_usd() == charged * PRICE_USD
        paid = (PurchaseState.FAILED_PAID, Billed.YES)
        assert (shop.shop.row.state, caught.value.billed) == (
            paid if charged else (PurchaseState.FAILED_FREE, Billed.NO)
        )
        assert reserved_micro_usd(tmp_path) == 0


def test_a_failure_that_was_paid_for_adds_up_with_its_retry(tmp_path: Path) -> None:
    with open_web_shop(tmp_path, Service(status=_told("failed", error="x", billed="yes"))) as shop:
        with pytest.raises(PredictionFailedError):
            shop.buy()
        shop.service.status = _told("succeeded")

        bought = shop.buy(retry_failed=True)

        assert (bought.spent_usd, bought.cost_usd, shop.shop.spent_usd()) == (PRICE_USD, 2 * PRICE_USD, 2 * PRICE_USD)
        assert shop.service.submits == 2


def test_success_without_an_output_is_a_failure_that_is_paid_for(tmp_path: Path) -> None:
    with open_web_shop(tmp_path, Service(status=_told("succeeded", output=False))) as shop:
        with pytest.raises(PredictionFailedError, match="without an output"):
            shop.buy()

        assert shop.shop.row.state is PurchaseState.FAILED_PAID
        assert shop.shop.spent_usd() == PRICE_USD


def test_an_answer_nobody_can_read_keeps_the_prediction(tmp_path: Path) -> None:
    with open_web_shop(tmp_path, Service(status=lambda _nth, _name: (200, b"<html>"))) as shop:
        with pytest.raises(UnexpectedResponseError) as caught:
            shop.buy()

        assert caught.value.prediction_id == "p-0"
        _assert_goes_on(shop)


def test_a_cost_above_what_was_reserved_is_recorded_in_full(tmp_path: Path) -> None:
    """Money that is gone is never hidden by a reservation that was too small."""
    with open_web_shop(tmp_path) as shop:
        assert shop.buy(estimate_usd="0.10").spent_usd == PRICE_USD

        assert (shop.shop.spent_usd(), reserved_micro_usd(tmp_path)) == (Decimal("0.5"), 0)
