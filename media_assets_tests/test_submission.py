"""One submission a purchase, whatever is refused or answered oddly."""

import asyncio
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from media_assets.artifact import MediaKind
from media_assets.errors import (
    ArtifactError,
    Billed,
    InsufficientCreditError,
    KeyRejectedError,
    OutputLostError,
    PredictionFailedError,
    ProbeError,
    ProviderUnavailableError,
    PurchaseError,
    RequestRejectedError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger import open_ledger
from media_assets.ledger.admission import Limits
from media_assets.ledger.rows import PurchaseState
from media_assets.prediction import Prediction
from media_assets.providers.base import Asked
from media_assets.providers.transport import Transport
from media_assets.providers.transport.spool import Spool
from media_assets.simulator.media import picture
from media_assets_tests.canceling import cancel_after, until
from media_assets_tests.making import SHOP_REQUEST, Shop, reserved_micro_usd
from media_assets_tests.web_shop import (
    FAST,
    KEY,
    KINDS,
    PRICE_USD,
    SIGNATURE,
    SOUND,
    Service,
    WebAdapter,
    WebShop,
    after,
    at_once,
    open_kind,
    open_web_shop,
)


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebShop]:
    with open_kind(request.param, tmp_path) as one:
        yield one


def test_a_provider_that_cannot_be_reached_is_tried_a_few_times(tmp_path: Path) -> None:
    """Nothing was sent, and the message may say so."""
    with open_web_shop(tmp_path) as shop:
        base, shop.adapter.base = shop.adapter.base, "http://127.0.0.1:9"
        with pytest.raises(ProviderUnavailableError, match="Nothing was sent"):
            shop.buy()
        assert shop.outcomes() == ["unsent"] * 4 + ["failed"]
        assert (shop.row().state, reserved_micro_usd(tmp_path)) == (PurchaseState.FAILED_FREE, 0)

        shop.adapter.base = base
        shop.buy()
        assert (shop.service.submits, shop.shop.spent_usd()) == (1, PRICE_USD)


def test_refusals_for_now_do_not_use_up_the_tries_of_a_connection(tmp_path: Path) -> None:
    """They are other troubles, with a deadline of their own."""
    service = Service(submit=lambda nth, name: (429, {}) if nth < 8 else (201, {"id": name, "state": "queued"}))
    with open_web_shop(tmp_path, service, options=replace(FAST, backoff_first_s=0.001)) as shop:
        shop.buy()

        assert shop.outcomes() == ["refused"] * 8 + ["accepted"]


def test_a_refusal_for_now_holds_back_every_process(tmp_path: Path) -> None:
    """The limit is the account's: a neighbour that goes on makes it worse."""
    options = replace(FAST, limits={"testing": Limits(concurrency=9)}, backoff_first_s=0.4)
    service = Service(submit=lambda nth, name: (429, {}) if nth == 0 else (201, {"id": name, "state": "queued"}))
    with open_web_shop(tmp_path, service, options=options) as shop, open_ledger(tmp_path) as neighbour:
        other = replace(shop, shop=Shop(tmp_path, neighbour))

        async def both() -> int:
            first = asyncio.ensure_future(shop.buying(take=1))
            await until(lambda: shop.outcomes(1) == ["refused"])
            second = asyncio.ensure_future(other.buying(take=2))
            await asyncio.sleep(0.15)
            sent_early = service.submits
            await asyncio.gather(first, second)
            return sent_early

        assert asyncio.run(both()) == 1
        assert service.submits == 3


def test_a_download_that_fails_after_a_reply_that_came_once_is_not_another_submission(tmp_path: Path) -> None:
    """The reply says where the sound is; that it cannot be had is no reason to pay for another."""
    service = Service(submit=at_once, sound=lambda _nth, _name: (503, b""))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(answers_once=True), download_deadline_s=0.5) as shop:
        with pytest.raises(ProviderUnavailableError):
            shop.buy()
        with pytest.raises(OutputLostError, match="paid and lost"):
            shop.buy(retry_failed=True)

        assert service.submits == 1
        assert (shop.row().state, shop.shop.spent_usd()) == (PurchaseState.LOST_OUTPUT, PRICE_USD)
        assert reserved_micro_usd(tmp_path) == 0


def test_a_failure_in_the_one_reply_is_recorded_though_it_is_canceled(tmp_path: Path) -> None:
    """It cannot be asked for again."""
    failed = {"id": "p-0", "state": "failed", "error": "out of memory", "billed": "yes"}
    late = after(0.1, lambda _nth, _name: (200, failed))
    with open_web_shop(tmp_path, Service(submit=late), adapter=WebAdapter(answers_once=True)) as shop:
        asyncio.run(cancel_after(shop.buying(), lambda: shop.service.submits == 1))

        assert (shop.row().state, shop.shop.spent_usd()) == (PurchaseState.FAILED_PAID, PRICE_USD)
        assert reserved_micro_usd(tmp_path) == 0
        with pytest.raises(PredictionFailedError, match=r"failed before.*out of memory"):
            shop.buy()
        assert shop.service.submits == 1


def test_an_id_that_was_given_before_is_held(tmp_path: Path) -> None:
    """Two purchases cannot have one prediction; whether the second was billed, nobody knows."""
    same = Service(submit=lambda _nth, _name: (201, {"id": "same", "state": "queued"}))
    with open_web_shop(tmp_path, same) as shop:
        shop.buy(take=1)
        with pytest.raises(UnknownOutcomeError, match=r"same.*belongs to another purchase.*not sent again") as caught:
            shop.buy(take=2)
        with pytest.raises(UnknownOutcomeError, match="same"):
            shop.buy(take=2)

        assert caught.value.prediction_id == "same"
        assert (shop.row(2).state, shop.outcomes(2)) == (PurchaseState.UNKNOWN, ["ambiguous"])
        assert same.submits == 2
        assert shop.shop.spent_usd() == PRICE_USD
        assert reserved_micro_usd(tmp_path) == 500_000


def test_an_id_that_was_given_before_does_not_cost_an_output_that_came_with_it(tmp_path: Path) -> None:
    """The id of a reply that comes once is only a name."""
    same = Service(submit=lambda _nth, _name: (200, {"id": "same", "state": "succeeded"}))
    with open_web_shop(tmp_path, same, adapter=WebAdapter(answers_once=True)) as shop:
        assert shop.buy(take=1).artifact == shop.buy(take=2).artifact

        assert shop.row(2).prediction_id != shop.row(1).prediction_id == "same"
        assert shop.shop.spent_usd() == 2 * PRICE_USD


def test_an_accepted_submission_that_cannot_be_read_is_held_with_all_that_is_known(shop: WebShop) -> None:
    """A provider that changed its form bills all the same."""
    shop.service.submit = lambda _nth, _name: (201, b"<html>Welcome</html>")

    with pytest.raises(UnexpectedResponseError):
        shop.buy()
    with pytest.raises(UnknownOutcomeError):
        shop.buy(retry_failed=True)

    assert shop.row().state is PurchaseState.UNKNOWN
    assert shop.service.submits == 1
    assert reserved_micro_usd(shop.shop.home) == 500_000


_DISK_FULL = (
    "CREATE TRIGGER disk_full BEFORE UPDATE OF prediction_id ON purchase WHEN NEW.prediction_id IS NOT NULL "
    "BEGIN INSERT INTO there_is_no_room VALUES (1); END"
)


def test_a_ledger_that_fails_after_the_submission_is_no_reason_to_send_again(
    tmp_path: Path,
) -> None:
    """A full disk comes at the worst moment: the message is then the only place where the id is."""
    with open_web_shop(tmp_path) as shop:
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql(_DISK_FULL)
        with pytest.raises(UnknownOutcomeError) as caught:
            shop.buy()
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER disk_full")

        assert "p-0" in caught.value.message
        assert "Nothing was sent" not in caught.value.message
        with pytest.raises(UnknownOutcomeError):
            shop.buy()
        assert shop.service.submits == 1
        assert reserved_micro_usd(tmp_path) == 500_000


@pytest.mark.parametrize(
    ("sound", "mime", "extension"),
    [
        (SOUND[:1000], "audio/wav", "wav"),
        (picture((64, 64), seed=1)[:500], "image/png", "png"),
        (b"GIF89a" + bytes(50), "application/octet-stream", "bin"),
        (bytes(range(256)) * 8, "application/octet-stream", "bin"),
    ],
)
def test_a_paid_file_that_cannot_be_read_is_kept_for_a_person(
    shop: WebShop, sound: bytes, mime: str, extension: str
) -> None:
    """It is all that the money brought: somebody may know how to open it, or show it to the provider."""
    shop.service.sound = lambda _nth, _name: (200, sound)

    with pytest.raises(ProbeError):
        shop.buy()
    with pytest.raises(PredictionFailedError, match="failed before"):
        shop.buy()

    row = shop.row()
    assert row.state is PurchaseState.FAILED_PAID
    assert (shop.service.submits, shop.shop.spent_usd()) == (1, PRICE_USD)
    assert reserved_micro_usd(shop.shop.home) == 0
    assert row.artifact is not None
    assert shop.shop.store.local_path(row.artifact).read_bytes() == sound
    info = row.artifact.info
    assert (info.kind, info.mime, info.extension) == (MediaKind.AUDIO, mime, extension)


def test_a_store_that_cannot_be_written_is_fetched_into_again(tmp_path: Path) -> None:
    """A full disk costs another download, not another purchase."""
    with open_web_shop(tmp_path) as shop:
        shop.shop.store.root.mkdir()
        in_the_way = [shop.shop.store.root / f"{number:02x}" for number in range(256)]
        for path in in_the_way:
            path.touch()
        with pytest.raises(ArtifactError):
            shop.buy()
        failed = shop.row().state
        for path in in_the_way:
            path.unlink()

        shop.buy()

        assert failed is PurchaseState.DONE
        assert (shop.service.submits, shop.service.asked["sound"], shop.shop.spent_usd()) == (1, 2, PRICE_USD)


@pytest.mark.parametrize(("status", "raised"), [(401, KeyRejectedError), (402, InsufficientCreditError)])
def test_a_refused_account_is_asked_once_and_again_once_it_may_have_been_mended(
    tmp_path: Path, status: int, raised: type[PurchaseError]
) -> None:
    """Two hundred prompts would be two hundred refusals; and topping up must be all there is to do."""
    service = Service(submit=lambda _nth, _name: (status, {}))
    options = replace(FAST, breaker_s=0.5, limits={"testing": Limits(concurrency=1)})
    with open_web_shop(tmp_path, service, options=options) as shop:

        async def many() -> list[BaseException]:
            each = (shop.buying(take=take) for take in range(10))
            return [one for one in await asyncio.gather(*each, return_exceptions=True) if isinstance(one, Exception)]

        errors = asyncio.run(many())

        assert len(errors) == 10
        assert {type(error) for error in errors} == {raised}
        keys = [error.request_key for error in errors if isinstance(error, PurchaseError)]
        assert keys == [replace(SHOP_REQUEST, take=take).key for take in range(10)], "each error names its own"
        assert sum("was not asked" in str(error) for error in errors) == 9
        assert service.submits == 1
        assert reserved_micro_usd(tmp_path) == 0

        service.submit = Service.submit
        asyncio.run(asyncio.sleep(0.5))
        for take in range(10):
            shop.buy(take=take)
        assert shop.shop.spent_usd() == 10 * PRICE_USD


def test_an_accepted_submission_whose_translation_fails_otherwise_is_held_too(tmp_path: Path) -> None:
    """Whatever an adapter raises once the provider has said yes, the money may be out."""

    class Stumbling(WebAdapter):
        def parse(self, reply: Any, asked: Asked, prediction: Prediction | None = None) -> Prediction:
            message = "the sound in the reply could not be written"
            raise ArtifactError(message)

    with open_web_shop(tmp_path, adapter=Stumbling()) as shop:
        with pytest.raises(ArtifactError) as caught:
            shop.buy()
        with pytest.raises(UnknownOutcomeError):
            shop.buy(retry_failed=True)

        assert caught.value.billed is Billed.UNKNOWN
        assert (shop.service.submits, shop.row().state) == (1, PurchaseState.UNKNOWN)
        assert reserved_micro_usd(tmp_path) == 500_000


_NO_WORD_OF_A_FAILURE = (
    "CREATE TRIGGER no_word BEFORE UPDATE OF state ON purchase WHEN NEW.state = 'FAILED_FREE' "
    "BEGIN SELECT RAISE(ABORT, 'there is no room'); END"
)


def test_a_refusal_that_cannot_be_recorded_is_read_again_by_the_next_run(tmp_path: Path) -> None:
    """Its raw reply is kept until the ledger has it, so that it need not be taken for one of unknown outcome."""
    service = Service(submit=lambda _nth, _name: (422, {}))
    with open_web_shop(tmp_path, service) as shop:
        spooling = replace(shop, transport=Transport({"testing": shop.adapter}, FAST, Spool(tmp_path / "spool")))
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql(_NO_WORD_OF_A_FAILURE)
        with pytest.raises(RequestRejectedError):
            spooling.buy()
        held = (shop.row().state, len(list((tmp_path / "spool").iterdir())))
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER no_word")
        with pytest.raises(RequestRejectedError):
            spooling.buy()

        assert held == (PurchaseState.SUBMITTING, 1)
        assert (shop.row().state, service.submits) == (PurchaseState.FAILED_FREE, 1)
        assert reserved_micro_usd(tmp_path) == 0
        spooling.transport.close()


_FAULTS: dict[str, Callable[[Service], None]] = {
    "refused": lambda service: setattr(service, "submit", lambda _nth, _name: (422, {})),
    "429": lambda service: setattr(service, "submit", lambda _nth, _name: (429, {})),
    "500": lambda service: setattr(service, "submit", lambda _nth, _name: (500, {})),
    "unread": lambda service: setattr(service, "submit", lambda _nth, _name: (200, b"?")),
    "forgotten": lambda service: setattr(service, "status", lambda _nth, _name: (404, {})),
    "down": lambda service: setattr(service, "status", lambda _nth, _name: (503, {})),
    "expired": lambda service: setattr(service, "sound", lambda _nth, _name: (403, b"")),
    "overloaded": lambda service: setattr(service, "sound", lambda _nth, _name: (503, b"")),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_an_error_says_whose_it_is_and_holds_no_secret(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read in a log, in a UI and in a bug report; and it crosses processes."""
    caplog.set_level(logging.DEBUG)
    service = Service()
    _FAULTS[fault](service)
    options = replace(FAST, refusals_deadline_s=0.05)
    with open_web_shop(tmp_path, service, options=options, download_deadline_s=0.5) as shop:
        with pytest.raises(PurchaseError) as caught:
            shop.buy()
        row = shop.row()

    error = caught.value
    assert (error.step, error.provider, error.model) == ("audio", "testing", "testing:silence")
    assert error.request_key == row.request_key
    assert error.prediction_id == row.prediction_id
    assert (row.prediction_id is None) == (fault in {"refused", "429", "500", "unread"})
    passed_on = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert vars(passed_on) == vars(error)
    shown = [str(error), repr(error), "".join(traceback.format_exception(error)), str(row), caplog.text]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert [one for one in shown if KEY in one or SIGNATURE in one] == []
    if fault not in {"refused", "429"}:
        assert "Nothing was sent" not in str(error)
