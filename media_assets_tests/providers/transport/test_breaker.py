"""When a provider is not asked for a while, and for how long: a refused account, or silence to several in a row."""

import pytest

from media_assets.errors import (
    InsufficientCreditError,
    KeyRejectedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    UnknownOutcomeError,
)
from media_assets.providers.transport.breaker import Breaker

_UNREACHED = ProviderUnavailableError("it could not be reached.", provider="fal")
_UNHEARD = UnknownOutcomeError("its reply was lost.", provider="fal")


class _Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def breaker(clock: _Clock) -> Breaker:
    return Breaker(refused_s=300.0, outage_s=60.0, now_s=clock)


def _silence(breaker: Breaker, *keys: str, error: PurchaseError = _UNHEARD) -> None:
    for key in keys:
        breaker.came("fal", key, error)


@pytest.mark.parametrize("error", [_UNREACHED, _UNHEARD])
def test_five_purchases_in_a_row_without_an_answer_are_an_outage(
    breaker: Breaker, clock: _Clock, error: PurchaseError
) -> None:
    """Nothing is sent for a minute, at that provider alone, and the reason says so; one more silence is enough then."""
    _silence(breaker, "a", "b", "c", "d", error=error)
    assert breaker.refused_lately("fal") is None
    _silence(breaker, "e", error=error)

    refused = breaker.refused_lately("fal")
    assert isinstance(refused, ProviderUnavailableError)
    assert "fal was not asked, and nothing was sent: 5 purchases in a row had no answer" in refused.message
    assert error.message in refused.message
    assert breaker.refused_lately("replicate") is None

    clock.now_s += 60.0
    assert breaker.refused_lately("fal") is None
    _silence(breaker, "f", error=error)
    assert breaker.refused_lately("fal") is not None


@pytest.mark.parametrize("heard", [None, RateLimitedError("later."), PurchaseError("no such model.")])
def test_any_answer_ends_an_outage(breaker: Breaker, heard: PurchaseError | None) -> None:
    """A refusal is an answer."""
    _silence(breaker, "a", "b", "c", "d")
    breaker.came("fal", "e", heard)
    _silence(breaker, "f", "g", "h", "i")

    assert breaker.refused_lately("fal") is None


def test_one_purchase_that_is_sent_again_and_again_is_no_outage(breaker: Breaker) -> None:
    _silence(breaker, *["a"] * 20)

    assert breaker.refused_lately("fal") is None


@pytest.mark.parametrize("refusal", [KeyRejectedError("no."), InsufficientCreditError("empty.")])
def test_a_refused_account_is_left_alone_for_longer(breaker: Breaker, clock: _Clock, refusal: PurchaseError) -> None:
    """Each purchase gets an error of its own, for whose purchase it was is written into it."""
    breaker.came("fal", "a", refusal)

    first, second = breaker.refused_lately("fal"), breaker.refused_lately("fal")
    assert first is not second
    assert type(first) is type(refusal)
    assert "fal was not asked, because it refused a moment ago" in str(first)
    clock.now_s += 299.0
    assert breaker.refused_lately("fal") is not None
    clock.now_s += 1.0
    assert breaker.refused_lately("fal") is None
