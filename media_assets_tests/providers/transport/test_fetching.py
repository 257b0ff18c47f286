"""Words in the place of a finished output: they pass, or the output is looked for again, or left for a rerun."""

from collections.abc import Callable
from pathlib import Path

import pytest

from media_assets.errors import Billed, OutputLostError, Rerun, UnexpectedResponseError
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.web_shop import PRICE_USD, SOUND, Answer, Service, WebAdapter, WebShop, at_once, open_web_shop

_WORDS = {
    "page": b"<!DOCTYPE html><html><body>Please wait</body></html>",
    "JSON": b'{"error": "later"}',
    "XML": b"<?xml version='1.0'?><Error>AccessDenied</Error>",
    "text": b"not yet",
    "nothing": b"",
}
_SEVERAL = pytest.mark.parametrize("words", _WORDS.values(), ids=_WORDS)
_MOST = 5
"""Times that one address is tried."""


def _first(count: int, answer: Answer) -> Callable[[int, str], Answer]:
    return lambda nth, _name: answer if nth < count else (200, SOUND)


def _always(answer: Answer) -> Callable[[int, str], Answer]:
    return lambda _nth, _name: answer


def _assert_paid_once(shop: WebShop) -> None:
    assert shop.service.submits == 1
    assert shop.shop.spent_usd() == PRICE_USD
    assert reserved_micro_usd(shop.shop.home) == 0


@_SEVERAL
@pytest.mark.parametrize("times", [1, _MOST - 1])
def test_words_that_pass_are_waited_for(tmp_path: Path, words: bytes, times: int) -> None:
    """The file is there: nobody should have to run anything again, or decide anything."""
    with open_web_shop(tmp_path, Service(sound=_first(times, (200, words)))) as shop:
        assert shop.buy().spent_usd == PRICE_USD

        assert shop.service.asked["sound"] == times + 1
        assert shop.row().state is PurchaseState.SUCCEEDED
        _assert_paid_once(shop)


@_SEVERAL
def test_words_that_last_are_left_for_a_rerun(tmp_path: Path, words: bytes) -> None:
    """They are no file, and no word on the file either: it is paid for, and may be there tomorrow."""
    with open_web_shop(tmp_path, Service(sound=_always((200, words)))) as shop:
        with pytest.raises(UnexpectedResponseError, match=r"in the place of a finished output is.*Run again") as caught:
            shop.buy()

        error = caught.value
        assert (error.rerun, error.billed, error.prediction_id) == (Rerun.RESUME, Billed.YES, "p-0")
        assert (shop.service.asked["sound"], shop.service.asked["status"]) == (_MOST, 2)
        assert (shop.row().state, shop.row().artifact) == (PurchaseState.DONE, None)
        _assert_paid_once(shop)

        shop.service.sound = _always((200, SOUND))
        assert shop.buy().spent_usd == 0
        assert shop.row().state is PurchaseState.SUCCEEDED
        _assert_paid_once(shop)


def test_an_address_that_leads_to_words_is_asked_for_anew(tmp_path: Path) -> None:
    """Not every host answers with 403 for what has expired."""
    service = Service(sound=lambda _nth, name: (200, SOUND if name == "new" else _WORDS["page"]))
    service.status = lambda nth, name: (200, {"id": name, "state": "succeeded", "at": "new" if nth else "old"})
    with open_web_shop(tmp_path, service) as shop:
        shop.buy()

        assert (shop.service.asked["status"], shop.service.asked["sound"]) == (2, _MOST + 1)
        _assert_paid_once(shop)


def test_a_prediction_that_says_that_its_output_is_gone_is_believed(tmp_path: Path) -> None:
    service = Service(sound=_always((200, _WORDS["page"])))
    service.result = lambda nth, name: at_once(nth, name) if nth < 1 else (410, {})
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(OutputLostError):
            shop.buy()

        assert shop.row().state is PurchaseState.LOST_OUTPUT
        _assert_paid_once(shop)


def test_a_provider_that_answers_once_has_one_address(tmp_path: Path) -> None:
    service = Service(submit=at_once, sound=_first(2, (200, _WORDS["page"])))
    with open_web_shop(tmp_path, service, adapter=WebAdapter(answers_once=True)) as shop:
        shop.buy()

        assert (shop.service.asked["sound"], shop.service.asked["status"]) == (3, 0)
        _assert_paid_once(shop)


def test_an_output_whose_prediction_nobody_knows_any_more_is_lost(tmp_path: Path) -> None:
    """Asked for another address, the provider cannot tell of it, and goes on so: what the first address said stands."""
    service = Service(sound=_always((403, b"")))
    service.result = lambda nth, name: at_once(nth, name) if nth < 1 else (503, b"unless it lasts")
    with open_web_shop(tmp_path, service, adapter=WebAdapter(result_apart=True)) as shop:
        with pytest.raises(OutputLostError) as caught:
            shop.buy()

        assert (caught.value.prediction_id, shop.row().state) == ("p-0", PurchaseState.LOST_OUTPUT)
        assert service.asked["result"] > 1
        _assert_paid_once(shop)
