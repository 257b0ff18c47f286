"""Which refusals keep a provider from being asked for a while: those of the account, not those of one model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import InsufficientCreditError, KeyRejectedError, PurchaseError, RequestRejectedError
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.buying import Bought
from media_assets_tests.providers.scripted import answer_json, scripted
from media_assets_tests.providers.sync_replies import elevenlabs_error, openai_error
from media_assets_tests.providers.transport.raw_server import Connection, Received

_CATALOG = load_catalog()
_TWO_MODELS = {
    "replicate": ("replicate:flux-schnell", "replicate:flux-dev"),
    "fal": ("fal:flux-schnell", "fal:flux-dev"),
    "openai": ("openai:gpt-image-2", "openai:gpt-4o-mini-tts"),
    "elevenlabs": ("elevenlabs:flash-v2.5", "elevenlabs:multilingual-v2"),
}


def _both(home: Path, provider: str, status: int, body: Mapping[str, Any]) -> tuple[Bought, Bought]:
    """Buy of two models of one provider, which refuses everything so."""

    def refuse(connection: Connection, _request: Received) -> None:
        answer_json(connection, body, status=f"{status} Refused")

    with scripted(home, refuse) as shop:
        first, second = (shop.buy(_CATALOG.get(model)) for model in _TWO_MODELS[provider])
    assert first.posts == 1
    assert first.row.state is not PurchaseState.FAILED_PAID
    assert reserved_micro_usd(home) == 0
    return first, second


@pytest.mark.parametrize("provider", _TWO_MODELS)
@pytest.mark.parametrize("body", [{}, {"detail": "You do not have access to this model."}], ids=["bare", "text"])
def test_a_model_that_may_not_be_used_says_nothing_of_the_next(tmp_path: Path, provider: str, body: Any) -> None:
    """One gated model in a route would have kept all others of its provider from being asked for five minutes."""
    first, second = _both(tmp_path, provider, 403, body)

    assert type(first.error) is type(second.error) is KeyRejectedError
    assert second.posts == 1


@pytest.mark.parametrize(
    ("provider", "status", "body", "raised"),
    [
        *((provider, 401, {}, KeyRejectedError) for provider in _TWO_MODELS),
        *((provider, 402, {}, InsufficientCreditError) for provider in _TWO_MODELS),
        ("fal", 403, {"detail": "User is locked. Reason: Exhausted balance."}, InsufficientCreditError),
        ("openai", 403, openai_error(code="billing_not_active"), InsufficientCreditError),
        ("openai", 429, openai_error(code="insufficient_quota"), InsufficientCreditError),
        ("elevenlabs", 401, elevenlabs_error("quota_exceeded"), InsufficientCreditError),
    ],
)
def test_an_account_that_is_refused_is_not_asked_again_for_a_while(
    tmp_path: Path, provider: str, status: int, body: Mapping[str, Any], raised: type[PurchaseError]
) -> None:
    """Whatever the model, it would be refused alike."""
    first, second = _both(tmp_path, provider, status, body)

    assert type(first.error) is type(second.error) is raised
    assert "was not asked" in str(second.error)
    assert second.posts == 0


def test_content_that_is_refused_with_403_is_no_word_on_the_key(tmp_path: Path) -> None:
    first, second = _both(tmp_path, "elevenlabs", 403, elevenlabs_error("content_against_policy"))

    assert not isinstance(first.error, RequestRejectedError)
    assert second.posts == 1
