"""Who holds a place at a provider: what is open there, and not what has ended and only waits for us."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import PredictionTimeoutError, UnexpectedResponseError
from media_assets.ledger.admission import Limits
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.providers import scripted
from media_assets_tests.web_shop import FAST, Answer, Service, WebAdapter, open_web_shop

_ONE = replace(FAST, limits={"testing": Limits(concurrency=1)})


def _first(answer: Answer) -> Callable[[int, str], Answer]:
    return lambda _nth, name: answer if name == "p-0" else (200, {"id": name, "state": "succeeded"})


def test_a_result_that_cannot_be_read_holds_no_place(tmp_path: Path) -> None:
    """It has ended at the provider: a few of them would keep every other purchase waiting for half an hour."""
    service = Service(result=_first((200, b"<html>")))
    with open_web_shop(tmp_path, service, options=_ONE, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(UnexpectedResponseError):
            shop.buy(take=1)
        asyncio.run(asyncio.wait_for(shop.buying(take=2), 10))

        assert shop.row(1).state is PurchaseState.SUBMITTED
        assert (shop.row(1).progress, shop.row(2).state) == (1.0, PurchaseState.SUCCEEDED)


def test_an_output_that_cannot_be_read_holds_no_place(tmp_path: Path) -> None:
    """Where it comes with the state itself, the same holds."""
    script = scripted.ReplicateScript(stands=lambda _nth: {"status": "succeeded", "output": "no URL"})
    options = replace(scripted.FAST, limits={"replicate": Limits(concurrency=1)})
    spec = load_catalog().get("replicate:flux-schnell")
    with scripted.scripted(tmp_path, script, options=options) as provider:
        first, second = (provider.buy(spec, take=take) for take in range(2))

    assert isinstance(first.error, UnexpectedResponseError)
    assert (first.row.state, first.row.progress) == (PurchaseState.SUBMITTED, 1.0)
    assert second.posts == 1


def test_what_goes_on_at_the_provider_keeps_its_place(tmp_path: Path) -> None:
    """Though nobody waits for it any more, and though it says that it is all but done."""
    running = {"id": "p-0", "state": "running", "progress": 1.0}
    with open_web_shop(tmp_path, Service(status=_first((200, running))), options=_ONE, run_deadline_s=0.05) as shop:
        with pytest.raises(PredictionTimeoutError):
            shop.buy(take=1)
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(shop.buying(take=2), 1))

        assert shop.service.submits == 1
