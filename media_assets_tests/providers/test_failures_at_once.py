"""A 2xx that tells of a failure, from a provider that answers once: work was begun, so it is never counted as free."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import Billed, ContentRejectedError, PredictionFailedError, PurchaseError
from media_assets.ledger.rows import PurchaseState
from media_assets.pricing import to_micro_usd
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.buying import Bought
from media_assets_tests.providers.scripted import Answer, Scripted, answer_json, scripted
from media_assets_tests.providers.sync_replies import (
    DONE,
    IMAGE_USAGE,
    MP3,
    delta,
    elevenlabs_error,
    event,
    openai_error,
)
from media_assets_tests.providers.transport.raw_server import Connection, Received

_CATALOG = load_catalog()
_LATE = openai_error("the server had an error", "server_error")
_NOTHING = {"input_tokens": 0, "output_tokens": 0}


def _events(*events: Mapping[str, Any]) -> Answer:
    def answer(connection: Connection, _request: Received) -> None:
        body = "".join(event(one) for one in events).encode()
        connection.reply(body, headers="Content-Type: text/event-stream\r\nX-Request-Id: req_1\r\n")

    return answer


def _json(document: Mapping[str, Any], **headers: str) -> Answer:
    return lambda connection, _request: answer_json(connection, document, **headers)


def _buy(provider: Scripted, model: str) -> Bought:
    one = provider.buy(_CATALOG.get(model))
    again = provider.buy(_CATALOG.get(model))
    assert (one.posts, again.posts) == (1, 0), "what failed is not tried again by itself"
    assert reserved_micro_usd(provider.home) == 0
    return one


@pytest.mark.parametrize(
    ("model", "answer", "usd"),
    [
        # 14 tokens of text at 0.60 USD a million, and 101 of sound at 12.
        ("openai:gpt-4o-mini-tts", _events(delta(MP3), _LATE, DONE), "0.0012204"),
        # 12 tokens of text at 5 USD a million, and 1056 of picture at 30.
        ("openai:gpt-image-2", _json({**_LATE, "usage": IMAGE_USAGE}), "0.03174"),
        # 54 characters at 0.05 USD a thousand: the header counts credits, which are half as many.
        ("elevenlabs:flash-v2.5", _json(elevenlabs_error("internal_error"), character_cost="27"), "0.0027"),
    ],
)
def test_a_failure_that_says_what_it_used_is_paid_by_that(tmp_path: Path, model: str, answer: Answer, usd: str) -> None:
    with scripted(tmp_path, answer) as provider:
        one = _buy(provider, model)

    assert isinstance(one.error, PredictionFailedError)
    assert one.error.billed is Billed.YES
    assert one.row.state is PurchaseState.FAILED_PAID
    assert one.row.reported
    assert one.row.cost_micro_usd == to_micro_usd(Decimal(usd))


@pytest.mark.parametrize(
    ("model", "answer", "raised"),
    [
        ("openai:gpt-4o-mini-tts", _events(delta(MP3), _LATE), PredictionFailedError),
        ("openai:gpt-image-2", _json(_LATE), PredictionFailedError),
        ("openai:gpt-image-2", _json(openai_error("no", code="moderation_blocked")), ContentRejectedError),
        ("elevenlabs:multilingual-v2", _json(elevenlabs_error("internal_error")), PredictionFailedError),
    ],
)
def test_a_failure_that_says_nothing_of_it_costs_its_worst_case(
    tmp_path: Path, model: str, answer: Answer, raised: type[PurchaseError]
) -> None:
    """It failed, that is known; only whether it is billed is not, and nobody can be asked."""
    with scripted(tmp_path, answer) as provider:
        one = _buy(provider, model)

    assert isinstance(one.error, raised)
    assert "counted as billed" in str(one.error)
    assert (one.error.billed, one.row.state) == (Billed.YES, PurchaseState.FAILED_PAID)
    assert one.row.cost_micro_usd == one.row.estimate_micro_usd > 0


def test_a_failure_that_says_it_used_nothing_is_free(tmp_path: Path) -> None:
    """That is the provider's own word."""
    with scripted(tmp_path, _events(_LATE, {**DONE, "usage": _NOTHING})) as provider:
        one = _buy(provider, "openai:gpt-4o-mini-tts")

    assert (one.row.state, one.row.cost_micro_usd) == (PurchaseState.FAILED_FREE, 0)
    assert one.row.error is not None
    assert one.row.error["billed"] == "no"
