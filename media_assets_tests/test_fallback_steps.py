"""Routes of the clip and the voice: each way to fail moves on to the next model, or holds, as it does for a picture."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets.errors import UnknownOutcomeError
from media_assets.film import Film
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Prompt, Step
from media_assets.studio import MakeOptions
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.simulated import Market, hurried, open_market, paid_prompt

FIRSTS = {Step.VIDEO: "fal:stable-video", Step.AUDIO: "elevenlabs:flash-v2.5"}
SECONDS = {Step.VIDEO: "replicate:stable-video-diffusion", Step.AUDIO: "openai:gpt-4o-mini-tts"}
STAND_INS = {Step.VIDEO: "local:ken-burns", Step.AUDIO: "local:silence"}
STEPS = pytest.mark.parametrize("step", list(FIRSTS), ids=str)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _prompt(step: Step, *models: str) -> Prompt:
    """Return a prompt of which only one step is made, and what it needs is free."""
    return paid_prompt(
        script="Look up." if step is Step.AUDIO else None,
        params={"video": {"fps": 10}} if STAND_INS[Step.VIDEO] in models else {},
        size_px=(1024, 576),
        routes={"image": ["local:landscape"], "video": ["local:ken-burns"], str(step): list(models)},
    )


def _attempt(market: Market, step: Step, prompt: Prompt, *, waits: bool = True, **studio: Any) -> Film:
    with market.studio(**studio) as one:
        return asyncio.run(one.attempt(prompt, wanted=[step], options=MakeOptions(waits=waits)))


def _provider(model: str) -> str:
    return model.partition(":")[0]


def _assert_second_makes_it(market: Market, step: Step, film: Film, *, reason: str, first: str) -> None:
    """Hold that the film has the second model's file, says why, cost what is billed, and is found by a rerun."""
    second = SECONDS[step]
    assert film.error is None
    made = film.steps[step]
    assert (made.model, made.degraded) == (second, False)
    assert made.reason is not None
    assert made.reason.startswith(f"fallback: {reason}")
    assert [one["provider"] for one in market.accepted()].count(_provider(second)) == 1
    assert film.cost_usd == film.spent_usd == market.bill_usd()
    asked = market.requests()
    again = _attempt(market, step, _prompt(step, first, second))
    assert again.steps[step].cached
    assert market.requests() == asked


@STEPS
@pytest.mark.parametrize(
    ("fault", "reason", "settings"),
    [
        ("429_header", "RateLimitedError", {"refusals_deadline_s": 0.1}),
        ("content_rejected", "ContentRejectedError", {}),
        ("insufficient_credit", "InsufficientCreditError", {}),
        ("retired_404", "ModelGoneError", {}),
    ],
)
def test_the_next_model_makes_it(market: Market, step: Step, fault: str, reason: str, settings: dict[str, Any]) -> None:
    """Overloaded, moderating, out of credit or retired: one provider's trouble is no reason to go without."""
    first = FIRSTS[step]
    market.set_faults({"provider": _provider(first), "call": "submit", "fault": fault, "seconds": 0})

    film = _attempt(market, step, _prompt(step, first, SECONDS[step]), **settings)

    _assert_second_makes_it(market, step, film, reason=reason, first=first)


@STEPS
def test_a_provider_that_is_down_is_gone_round(market: Market, step: Step) -> None:
    """Nothing was sent, so nothing can have been billed."""
    first = FIRSTS[step]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}"
        addresses = [name for name in type(market.settings).model_fields if name.endswith("_url")]
        down: dict[str, Any] = {name: closed for name in addresses if name.startswith(_provider(first))}

        # A clip's picture is brought to the provider first, for as long as the model is asked how it stands.
        patience = hurried(first, poll_error_budget_s=0.2)
        film = _attempt(market, step, _prompt(step, first, SECONDS[step]), models=[patience], **down)

    assert market.posts(_provider(first)) == 0
    _assert_second_makes_it(market, step, film, reason="ProviderUnavailableError", first=first)


@STEPS
def test_a_model_that_is_too_slow_is_gone_round(market: Market, step: Step) -> None:
    """What never began is called back, free. A voice that answers at once has no queue; fal's voices have."""
    first = {Step.VIDEO: FIRSTS[Step.VIDEO], Step.AUDIO: "fal:kokoro"}[step]
    market.set_faults({"provider": "fal", "fault": "queue_stuck"})
    slow = hurried(first, queue_deadline_s=0.2)

    film = _attempt(market, step, _prompt(step, first, SECONDS[step]), models=[slow], deadline_grace_s=0.1)

    assert reserved_micro_usd(market.home) == 0
    _assert_second_makes_it(market, step, film, reason="", first=first)


@STEPS
def test_a_reply_that_is_lost_holds_a_paid_model_and_lets_a_free_one_on(market: Market, step: Step) -> None:
    """The first may have been billed: a second purchase is a person's decision, a stand-in costs nothing."""
    first = FIRSTS[step]
    market.set_faults({"provider": _provider(first), "call": "submit", "fault": "exec_and_drop"})

    # Nobody waits until the provider's list can be believed, so that nothing is found out here.
    held = _attempt(market, step, _prompt(step, first, SECONDS[step]), waits=False, settle_lag_s=60)
    stood_in = _attempt(market, step, _prompt(step, first, STAND_INS[step]), settle_lag_s=60)

    assert isinstance(held.error, UnknownOutcomeError)
    assert stood_in.error is None
    made = stood_in.steps[step]
    assert (made.model, made.degraded, made.reason) == (STAND_INS[step], True, "unknown_outcome")
    assert market.posts() == 1
    with market.studio() as studio:
        states = {row.model: row.state for row in studio.ledger.purchases.search()}
    assert states[first] is PurchaseState.UNKNOWN
