"""What was made: brought to its end by the next run, or told to be lost or bad, and why; never guessed."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, ArtifactStore
from media_assets.catalog import Recovery
from media_assets.errors import (
    OutputLostError,
    ProbeError,
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
from media_assets_tests.making import SHOP_REQUEST, OwnProvider, Shop, reserved_micro_usd
from media_assets_tests.web_shop import PRICE_USD, WebAdapter, WebShop, open_web_shop

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
