"""What the transport does where a provider cannot be asked, called back or fetched from: nothing is sent on a guess."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from media_assets.errors import (
    Billed,
    PredictionTimeoutError,
    Rerun,
    StorageError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.ledger.rows import PurchaseState
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import HttpCall
from media_assets.recall import Recall
from media_assets_tests.providers.transport.raw_server import RawServer
from media_assets_tests.web_shop import KEY, SOUND, Service, WebAdapter, at_once, open_web_shop

_QUEUED = Prediction(id="p-7", state=State.QUEUED)


@dataclass
class Elsewhere(WebAdapter):
    """Asks about its predictions at another address than its own."""

    there: str = ""

    def status_call(self, prediction: Prediction) -> HttpCall | None:
        return HttpCall(method="GET", url=f"{self.there}/status/{prediction.id}")


@dataclass
class NeverCanceled(WebAdapter):
    """Has no way to cancel."""

    def cancel_call(self, prediction: Prediction) -> HttpCall | None:
        return None


async def _tell_nobody(_prediction: Prediction) -> None:
    """Record nothing."""


def test_the_key_goes_to_the_providers_own_address_alone(tmp_path: Path) -> None:
    """A reply names where to ask on; one that leads elsewhere would hand the key to whoever answers there."""
    with (
        RawServer(Service()) as elsewhere,
        open_web_shop(tmp_path, adapter=Elsewhere(there=elsewhere.url)) as shop,
    ):
        with pytest.raises(UnexpectedResponseError, match="not its own; the key is not sent there") as caught:
            shop.buy()

        assert elsewhere.connections == 0
        assert KEY not in str(caught.value)
        assert (shop.service.submits, shop.row().state) == (1, PurchaseState.SUBMITTED)


def test_a_prediction_that_cannot_be_asked_about_is_undecided(tmp_path: Path) -> None:
    """Its only reply is lost: nothing says that it was not billed."""
    with open_web_shop(tmp_path, adapter=WebAdapter(answers_once=True)) as shop:
        with pytest.raises(UnknownOutcomeError, match="cannot be asked") as caught:
            asyncio.run(shop.transport.follow(_QUEUED, shop.spec, tell=print, on_change=_tell_nobody))

        assert (caught.value.prediction_id, caught.value.billed) == ("p-7", Billed.UNKNOWN)
        assert shop.service.asked.total() == 0


def test_what_cannot_be_canceled_is_left_in_its_queue(tmp_path: Path) -> None:
    """There is nothing to call back with; a rerun goes on waiting for the same prediction."""
    service = Service(status=lambda _nth, name: (200, {"id": name, "state": "queued"}))
    with open_web_shop(tmp_path, service, adapter=NeverCanceled(), queue_deadline_s=0.05) as shop:
        with pytest.raises(PredictionTimeoutError, match="run again to wait on"):
            shop.buy()
        shop.service.status = at_once
        shop.buy()

        assert (shop.service.asked["cancel"], shop.service.submits) == (0, 1)


def test_calling_back_what_cannot_be_canceled_waits_for_its_end(tmp_path: Path) -> None:
    """Ctrl-C does not unpay it: what it makes is kept."""
    recall = Recall()

    def status(nth: int, name: str) -> tuple[int, dict[str, str]]:
        return 200, {"id": name, "state": "succeeded" if nth > 3 else "queued"}

    async def follow() -> Prediction:
        recall.ask("it was interrupted", spares_running=True)
        return await shop.transport.follow(_QUEUED, shop.spec, tell=print, on_change=_tell_nobody, recall=recall)

    with open_web_shop(tmp_path, Service(status=status), adapter=NeverCanceled(), cancel="queued") as shop:
        ended = asyncio.run(follow())

        assert ended.state is State.SUCCEEDED
        assert not recall.is_heeded
        assert shop.service.asked["cancel"] == 0


def test_an_output_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A prediction may have fewer files than were asked for."""
    one = Prediction(id="p-7", state=State.SUCCEEDED, outputs=(Output(data=SOUND),))
    with open_web_shop(tmp_path) as shop:
        path = asyncio.run(shop.transport.fetch(one, shop.spec, tmp_path))
        with pytest.raises(UnexpectedResponseError, match="p-7 succeeded without an output"):
            asyncio.run(shop.transport.fetch(one, shop.spec, tmp_path, n=1))

    assert path.read_bytes() == SOUND


def test_an_output_in_a_reply_that_cannot_be_written_is_paid_for(tmp_path: Path) -> None:
    """Whoever runs again has it from the spooled reply, once there is room."""
    one = Prediction(id="p-7", state=State.SUCCEEDED, outputs=(Output(data=SOUND),))
    with open_web_shop(tmp_path) as shop, pytest.raises(StorageError, match="Make room") as caught:
        asyncio.run(shop.transport.fetch(one, shop.spec, tmp_path / "missing"))

    assert caught.value.billed is Billed.YES


def test_an_output_whose_prediction_is_forgotten_keeps_its_first_error(tmp_path: Path) -> None:
    """The address leads to words, and the provider does not know the prediction any more: both say nothing new."""
    service = Service(sound=lambda _nth, _name: (200, b"<html>"))
    service.status = lambda nth, name: at_once(nth, name) if nth == 0 else (404, {})
    with open_web_shop(tmp_path, service) as shop:
        with pytest.raises(UnexpectedResponseError, match="in the place of a finished output") as caught:
            shop.buy()

        assert (caught.value.rerun, caught.value.billed) == (Rerun.RESUME, Billed.YES)
        assert shop.row().state is PurchaseState.DONE
