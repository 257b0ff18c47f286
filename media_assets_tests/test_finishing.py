"""What was made: brought to its end by the next run, or told to be lost or bad, and why; never guessed."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, ArtifactStore
from media_assets.catalog import Recovery
from media_assets.errors import (
    Billed,
    LedgerError,
    OutputLostError,
    PredictionFailedError,
    ProbeError,
    ProviderUnavailableError,
    PurchaseError,
    SpeechError,
    StorageError,
    UnknownOutcomeError,
)
from media_assets.ledger import open_ledger
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import attempt
from media_assets.prediction import Prediction, State
from media_assets.providers.base import LocalArguments, LocalReply
from media_assets.providers.transport import Transport
from media_assets.providers.transport.spool import Spool
from media_assets_tests.making import SHOP_REQUEST, OwnProvider, Shop, reserved_micro_usd
from media_assets_tests.web_shop import FAST, PRICE_USD, Service, WebAdapter, WebShop, open_web_shop

_PRICE_MICRO_USD = int(PRICE_USD * 1_000_000)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_ledger(tmp_path) as ledger:
        yield Shop(tmp_path, ledger)


def _die_with_the_reply(shop: WebShop, *, settled: bool) -> None:
    """Leave a purchase as a process leaves it that wrote down its prediction, and died before it had the file."""
    with open_ledger(shop.shop.home) as ledger:
        claim = ledger.purchases.claim(
            SHOP_REQUEST,
            recovery=Recovery.NONE,
            prompt_key="cheap",
            plan_id=shop.shop.plan(str(PRICE_USD)),
            estimate_micro_usd=_PRICE_MICRO_USD,
        )
        assert isinstance(claim, Claim)
        token = ledger.purchases.write_intent(claim)
        paid = Settlement(cost_micro_usd=_PRICE_MICRO_USD) if settled else None
        ledger.purchases.write_submitted(claim, token, Prediction(id="p-0", state=State.SUCCEEDED), paid)


@pytest.mark.parametrize("attempt_is_there", [True, False])
@pytest.mark.parametrize(
    ("settled", "raised", "left"),
    [
        (True, OutputLostError, PurchaseState.LOST_OUTPUT),
        (False, UnknownOutcomeError, PurchaseState.UNKNOWN),
    ],
)
def test_a_reply_that_was_lost_with_its_process_is_not_paid_for_again(
    tmp_path: Path, raised: type[PurchaseError], left: PurchaseState, *, settled: bool, attempt_is_there: bool
) -> None:
    """The provider answers once; its reply is gone, even if somebody has tidied up the ledger's attempts."""
    with open_web_shop(tmp_path, adapter=WebAdapter(answers_once=True)) as shop:
        _die_with_the_reply(shop, settled=settled)
        if not attempt_is_there:
            with shop.ledger.database.write() as connection:
                connection.execute(sa.delete(attempt))

        with pytest.raises(raised) as caught:
            shop.buy()
        with pytest.raises(PurchaseError):
            shop.buy(retry_failed=True)

        assert (caught.value.prediction_id, shop.row().state) == ("p-0", left)
        assert shop.service.submits == 0
        assert shop.shop.spent_usd() == (PRICE_USD if settled else 0)
        assert reserved_micro_usd(tmp_path) == (0 if settled else _PRICE_MICRO_USD)


_NO_END = (
    "CREATE TRIGGER no_end BEFORE UPDATE OF duration_s ON purchase BEGIN INSERT INTO there_is_no_room VALUES (1); END"
)


@pytest.mark.parametrize(
    ("billed", "told", "left", "spent_usd"),
    [
        ("yes", Billed.YES, PurchaseState.FAILED_PAID, PRICE_USD),
        ("no", Billed.NO, PurchaseState.FAILED_FREE, Decimal(0)),
        ("unknown", Billed.YES, PurchaseState.FAILED_PAID, PRICE_USD),
    ],
)
def test_a_failure_in_the_one_reply_that_cannot_be_recorded_is_read_again_by_the_next_run(
    tmp_path: Path, billed: str, told: Billed, left: PurchaseState, spent_usd: Decimal
) -> None:
    """The provider can be asked nothing more: what its reply leaves open counts as billed."""
    failed = {"id": "p-0", "state": "failed", "error": "out of memory", "billed": billed}
    service = Service(submit=lambda _nth, _name: (200, failed))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(answers_once=True)) as shop:
        spooling = replace(shop, transport=Transport({"testing": shop.adapter}, FAST, Spool(tmp_path / "spool")))
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql(_NO_END)
        with pytest.raises(LedgerError):
            spooling.buy()
        held = (shop.row().state, reserved_micro_usd(tmp_path), len(list((tmp_path / "spool").iterdir())))
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql("DROP TRIGGER no_end")
        with pytest.raises(PredictionFailedError, match="out of memory") as caught:
            spooling.buy()

        assert held == (PurchaseState.SUBMITTED, _PRICE_MICRO_USD, 1)
        assert (caught.value.billed, caught.value.prediction_id) == (told, "p-0")
        assert (shop.row().state, shop.shop.spent_usd(), service.submits) == (left, spent_usd, 1)
        assert reserved_micro_usd(tmp_path) == 0
        spooling.transport.close()


def test_what_its_provider_has_forgotten_before_it_was_fetched_is_paid_and_lost(tmp_path: Path) -> None:
    """It had succeeded, and was settled: whether it is bought once more is for a person to decide."""
    service = Service(sound=lambda _nth, _name: (503, b""))
    with open_web_shop(tmp_path, service, download_deadline_s=0.3) as shop:
        with pytest.raises(ProviderUnavailableError):
            shop.buy()
        had = (shop.row().state, shop.shop.spent_usd())
        service.status, service.sound = lambda _nth, _name: (404, {}), Service.sound

        for _ in range(2):
            with pytest.raises(OutputLostError, match="testing no longer knows prediction p-0") as caught:
                shop.buy(retry_failed=True)
            assert (caught.value.billed, caught.value.prediction_id) == (Billed.YES, "p-0")

        assert had == (PurchaseState.DONE, PRICE_USD)
        assert (shop.row().state, shop.shop.spent_usd()) == (PurchaseState.LOST_OUTPUT, PRICE_USD)
        assert service.submits == 1
        assert reserved_micro_usd(tmp_path) == 0


@pytest.mark.parametrize("paid", [False, True])
def test_a_file_of_our_own_that_cannot_be_read_is_a_failure(shop: Shop, *, paid: bool) -> None:
    """A fault of the model: nobody was paid for it outside, and nothing of it is kept."""

    def spoil(_endpoint: str, reply: LocalReply) -> None:
        reply.path.write_bytes(b"nothing that plays")

    shop.provider.after = spoil
    with pytest.raises(ProbeError):
        shop.buy(paid=paid)

    assert shop.row.artifact is None


def test_a_machine_that_is_at_fault_for_a_model_is_named(shop: Shop) -> None:
    """Running again mends it, once the disk has room."""

    def full(_endpoint: str, _arguments: LocalArguments) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shop.provider.before = full
    with pytest.raises(StorageError, match=r"the disk is full\. Make room"):
        shop.buy()
    shop.provider.before = OwnProvider.before
    shop.buy()

    assert shop.row.state is PurchaseState.SUCCEEDED


class _Returned(Shop):
    """A shop in whose store another process makes a file again right after it was missed."""

    content = b""

    @property
    def store(self) -> ArtifactStore:
        shop = self

        class Store(ArtifactStore):
            def has(self, artifact: Artifact) -> bool:
                there = super().has(artifact)
                if not there:
                    self.path(artifact).write_bytes(shop.content)
                return there

        return Store(self.home / "artifacts")


def test_a_lost_file_that_somebody_makes_again_meanwhile_is_taken(shop: Shop) -> None:
    """It was missed before the purchase was claimed: what is there by then need not be made twice."""
    first = shop.buy()
    late = _Returned(shop.home, shop.ledger, shop.provider)
    late.content = shop.store.path(first.artifact).read_bytes()
    shop.store.path(first.artifact).unlink()

    again = late.buy()

    assert (again.cached, again.artifact, shop.provider.submits["silence"]) == (True, first.artifact, 1)
    assert shop.row.state is PurchaseState.SUCCEEDED
    assert shop.store.verify(first.artifact)


def test_a_ledger_that_fails_while_a_purchase_is_given_up_hides_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """What ended it is raised, and the purchase stays with this process until that ends."""

    def fail(_endpoint: str, _arguments: LocalArguments) -> None:
        with shop.ledger.database.write() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER no_owner BEFORE UPDATE OF owner ON purchase "
                "BEGIN INSERT INTO there_is_no_room VALUES (1); END"
            )
        message = "the voice is hoarse"
        raise SpeechError(message)

    shop.provider.before = fail
    with pytest.raises(SpeechError, match="hoarse"):
        shop.buy()

    assert "stays with this process until it ends" in caplog.text
