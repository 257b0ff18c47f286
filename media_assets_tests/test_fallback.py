"""Routes: which failures move on to the next model, which hold, and that the bill is what the ledger says."""

import asyncio
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.errors import (
    BudgetExceededError,
    InsufficientCreditError,
    MediaAssetsError,
    ProviderUnavailableError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.film import Film
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Prompt, Step
from media_assets.studio import MakeOptions
from media_assets_tests.making import purchases, reserved_micro_usd
from media_assets_tests.simulated import Market, hurried, open_market, paid_prompt

FIRST, SECOND = "replicate:sdxl", "fal:flux-schnell"


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def _picture(*models: str, **changes: Any) -> Prompt:
    """Return a prompt whose picture is paid for and whose rest is free."""
    routes = {"image": list(models), "audio": ["local:silence"]}
    return paid_prompt(routes=routes, clip_s=1.0, params={"video": {"fps": 2}}, **changes)


def _assert_honest(market: Market, film: Film) -> None:
    """Hold that nothing was paid twice, that the ledger has the bill, and that a rerun asks nobody."""
    assert film.error is None
    bill = market.bill_usd()
    with market.studio() as studio:
        rows = studio.ledger.purchases.search()
    assert sum((row.cost_micro_usd or 0 for row in rows), 0) == bill * 1_000_000
    asked = market.requests()
    again = market.attempt(paid_prompt(**film_prompt(film)))
    assert again.error is None
    assert market.requests() == asked
    assert {step: result.degraded for step, result in again.steps.items()} == {
        step: result.degraded for step, result in film.steps.items()
    }


_PROMPTS: dict[str, dict[str, Any]] = {}


def film_prompt(film: Film) -> dict[str, Any]:
    """Return what the film was asked for."""
    return _PROMPTS[film.key]


def _attempt(market: Market, prompt: Prompt, **how: Any) -> Film:
    _PROMPTS[prompt.key] = prompt.model_dump(mode="json", exclude_unset=True)
    return market.attempt(prompt, **how)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("insufficient_credit", "InsufficientCreditError"),
        ("retired_404", "ModelGoneError"),
        ("400", "RequestRejectedError"),
        ("run_failed", "PredictionFailedError"),
        ("aborted", "PredictionFailedError"),
        ("content_rejected", "ContentRejectedError"),
        ("moderation_after_run", "ContentRejectedError"),
        ("black_output", "JudgeError"),
        ("tiny_output", "JudgeError"),
    ],
)
def test_the_next_model_makes_it(market: Market, fault: str, reason: str) -> None:
    """One provider's trouble is no reason to go without a film, and a paid stand-in is none."""
    market.set_faults({"provider": "replicate", "fault": fault})

    film = _attempt(market, _picture(FIRST, SECOND))

    assert film.error is None
    image = film.steps[Step.IMAGE]
    assert (image.model, image.degraded) == (SECOND, False)
    assert image.reason is not None
    assert image.reason.startswith(f"fallback: {reason}")
    assert [one["provider"] for one in market.accepted()].count("fal") == 1
    _assert_honest(market, film)


def test_a_provider_that_is_down_is_gone_round(market: Market) -> None:
    """Nothing was sent, so nothing can have been billed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        film = _attempt(market, _picture(FIRST, SECOND), replicate_base_url=closed)

    assert film.steps[Step.IMAGE].model == SECOND
    assert market.posts("replicate") == 0
    _assert_honest(market, film)


def test_a_provider_that_stays_overloaded_is_gone_round(market: Market) -> None:
    """After as long as the setting says, and never by sending what was accepted again."""
    market.set_faults({"provider": "replicate", "fault": "429_header", "seconds": 0})

    film = _attempt(market, _picture(FIRST, SECOND), refusals_deadline_s=0.2)

    assert film.steps[Step.IMAGE].model == SECOND
    assert market.posts("replicate") >= 2
    assert [one["provider"] for one in market.accepted()] == ["fal"]
    _assert_honest(market, film)


@pytest.mark.parametrize("fault", ["queue_stuck", "run_stuck"])
def test_a_model_that_is_too_slow_is_gone_round(market: Market, fault: str) -> None:
    """What is still queued is called back, free; what already runs goes on, and keeps its reservation."""
    market.set_faults({"provider": "fal", "model": "fal-ai/flux/dev", "fault": fault})
    slow = hurried("fal:flux-dev", queue_deadline_s=0.3, run_deadline_s=0.3)

    film = _attempt(market, _picture("fal:flux-dev", SECOND), models=[slow], deadline_grace_s=0.1)

    assert film.error is None
    assert film.steps[Step.IMAGE].model == SECOND
    assert [one["model"] for one in market.accepted()] == ["fal-ai/flux/dev", "fal-ai/flux/schnell"]
    held = reserved_micro_usd(market.home)
    assert (held > 0) == (fault == "run_stuck"), "what still runs may still be billed"
    assert film.spent_usd == market.bill_usd()
    asked = market.requests()
    assert _attempt(market, _picture("fal:flux-dev", SECOND)).error is None
    assert market.requests() == asked


def test_a_queue_longer_than_a_run_is_waited_in(tmp_path: Path) -> None:
    """The deadline that fal is told is one to start by: a short run is no reason to leave a long queue."""
    short = hurried("fal:flux-dev", run_deadline_s=0.4, queue_deadline_s=20)
    prompts = [_picture("fal:flux-dev", key=f"film-{take}", take=take) for take in range(3)]
    with open_market(tmp_path / "home", latency_s={"fal": (0.5, 0.5)}, at_once={"fal": 1}) as market:
        with market.studio(models=[short]) as studio:

            async def all_of_them() -> list[Film]:
                return await asyncio.gather(*map(studio.attempt, prompts))

            films = asyncio.run(all_of_them())

        assert [film.error for film in films] == [None] * 3
        assert market.posts() == 3


@pytest.mark.parametrize("fault", ["exec_and_drop", "exec_and_500", "2xx_garbage"])
def test_a_paid_model_does_not_follow_an_unknown_outcome(market: Market, fault: str) -> None:
    """The first may have been billed: buying another is a person's decision, so the film is held."""
    market.set_faults({"provider": "replicate", "call": "submit", "fault": fault})

    film = _attempt(market, _picture(FIRST, SECOND), options=MakeOptions(waits=False))

    assert isinstance(film.error, UnknownOutcomeError | UnexpectedResponseError)
    assert market.posts() == 1
    assert purchases(market.home)[Step.IMAGE].state is PurchaseState.UNKNOWN


def test_a_free_model_follows_an_unknown_outcome(market: Market) -> None:
    """The film is finished openly degraded, and the purchase stays listed until somebody resolves it."""
    market.set_faults({"provider": "replicate", "fault": "exec_and_drop"})

    film = _attempt(market, _picture(FIRST, "local:landscape"))

    assert film.error is None
    assert film.steps[Step.IMAGE].model == "local:landscape"
    assert film.steps[Step.IMAGE].reason == "unknown_outcome"
    with market.studio() as studio:
        states = {row.model: row.state for row in studio.ledger.purchases.search()}
    assert states[FIRST] is PurchaseState.UNKNOWN
    asked = market.requests()
    assert _attempt(market, _picture(FIRST, "local:landscape")).error is None
    assert market.requests() == asked


def test_a_stand_in_is_declared_and_can_be_upgraded(market: Market) -> None:
    """A still picture that moves is no clip; once the model is back, only that step and what follows is made anew."""
    market.set_faults({"provider": "fal", "fault": "run_failed"})
    prompt = paid_prompt(script=None, routes={"image": [FIRST], "video": ["fal:kling-v2.5-turbo", "local:ken-burns"]})
    film = _attempt(market, prompt)
    assert film.steps[Step.VIDEO].degraded
    assert film.degraded
    _assert_honest(market, film)
    market.set_faults()

    better = market.make(prompt, options=MakeOptions(upgrade=True))

    assert better.steps[Step.VIDEO].model == "fal:kling-v2.5-turbo"
    assert not better.degraded
    assert better.steps[Step.IMAGE].cached
    assert [one["provider"] for one in market.accepted()] == ["replicate", "fal", "fal"]


def test_strict_fails_with_the_first_model(market: Market) -> None:
    """Who wants this model or none says so."""
    market.set_faults({"provider": "replicate", "fault": "400"})

    film = _attempt(market, _picture(FIRST, SECOND), strict=True)

    assert isinstance(film.error, MediaAssetsError)
    assert market.accepted() == []


_FIFTY = [_picture(FIRST, key=f"p-{seed}", seed=seed) for seed in range(50)]


def test_an_empty_account_is_asked_once(market: Market) -> None:
    """Fifty prompts that all fail alike would be fifty refused submissions."""
    market.set_faults({"provider": "replicate", "fault": "insufficient_credit"})
    with market.studio() as studio:

        async def one_after_the_other() -> list[Film]:
            return [await studio.attempt(prompt) for prompt in _FIFTY]

        films = asyncio.run(one_after_the_other())

    assert {type(film.error) for film in films} == {InsufficientCreditError}
    assert market.posts("replicate") == 1


@pytest.mark.parametrize("places", [1, 3])
def test_a_crowd_asks_an_empty_account_no_oftener_than_it_has_places(market: Market, places: int) -> None:
    """Only those that are on their way when the first refusal comes; whoever waits for a place is not sent."""
    market.set_faults({"provider": "replicate", "fault": "insufficient_credit"})
    with market.studio(replicate_concurrency=places) as studio:

        async def at_once() -> list[Film]:
            return [film async for film in studio.stream(_FIFTY)]

        films = asyncio.run(at_once())

    assert {type(film.error) for film in films} == {InsufficientCreditError}
    assert 1 <= market.posts("replicate") <= places


def test_a_fallback_beyond_the_cap_is_not_bought(market: Market) -> None:
    """The cap holds for the second model as for the first."""
    market.set_faults({"provider": "fal", "fault": "400"})

    film = _attempt(market, _picture("fal:flux-schnell", "fal:flux-dev", max_cost_usd=Decimal("0.01")))

    assert isinstance(film.error, BudgetExceededError)
    assert market.accepted() == []


def test_the_error_is_the_first_model_s_when_the_second_cannot_be_asked(market: Market) -> None:
    """A hint to set FAL_KEY is no answer to why Replicate refused."""
    market.set_faults({"provider": "replicate", "fault": "400"})

    film = _attempt(market, _picture(FIRST, SECOND), fal_key=None)

    assert film.error is not None
    assert type(film.error).__name__ == "RequestRejectedError"
    assert "replicate" in film.error.message


def test_what_another_prompt_bought_needs_no_key(market: Market) -> None:
    """Two prompts share a picture; the second is made after the key was taken away."""
    _attempt(market, _picture(FIRST, seed=3))

    film = _attempt(market, _picture(FIRST, seed=3, key="other"), replicate_api_token=None)

    assert film.error is None
    assert market.posts() == 1


def test_a_tight_cap_does_not_keep_what_is_paid_for_away(market: Market) -> None:
    """The money for it is reserved already; to want it twice would leave a paid picture with the provider."""
    market.set_faults({"provider": "fal", "call": "poll", "fault": "poll_5xx"})
    prompt = _picture("fal:flux-dev", max_cost_usd=Decimal("0.03"))
    waiting = _attempt(market, prompt, models=[hurried("fal:flux-dev", poll_error_budget_s=0.2)])
    assert isinstance(waiting.error, ProviderUnavailableError)
    market.set_faults()

    film = _attempt(market, prompt)

    assert film.error is None
    assert len(market.accepted()) == 1
    assert film.cost_usd == market.bill_usd() == Decimal("0.025")
    assert reserved_micro_usd(market.home) == 0


def test_what_a_failed_model_cost_is_part_of_the_film(market: Market) -> None:
    """Five cents for nothing are five cents; a sum that leaves them out is not what the card is charged."""
    market.set_faults({"provider": "replicate", "fault": "black_output"})

    film = _attempt(market, _picture(FIRST, SECOND))

    image = film.steps[Step.IMAGE]
    assert image.failed_usd > 0
    assert film.cost_usd == film.spent_usd == market.bill_usd() > image.failed_usd
    again = _attempt(market, _picture(FIRST, SECOND))
    assert (again.cost_usd, again.steps[Step.IMAGE].failed_usd) == (film.cost_usd, image.failed_usd)
    assert again.spent_usd == 0


def test_what_a_step_cost_that_was_never_made_is_told(market: Market) -> None:
    """The film failed, the money is gone all the same; a rerun has spent nothing of it."""
    market.set_faults({"fault": "black_output"})

    film = _attempt(market, _picture(FIRST, SECOND))

    assert film.error is not None
    assert film.cost_usd == film.spent_usd == market.bill_usd() > 0
    told = next(step for step in film.as_dict(home=market.home)["steps"] if step["step"] == "image")
    assert Decimal(told["failed_usd"]) == Decimal(told["spent_usd"]) == market.bill_usd()
    again = _attempt(market, _picture(FIRST, SECOND))
    assert (again.cost_usd, again.spent_usd) == (film.cost_usd, Decimal(0))


def test_parameters_are_the_first_model_s(market: Market) -> None:
    """30 steps are right for SDXL and refused by Schnell: its own default makes the film, and that is told."""
    market.set_faults({"provider": "replicate", "fault": "400"})
    given = {"num_inference_steps": 30, "scheduler": "DDIM"}
    prompt = _picture(FIRST, SECOND).model_copy(update={"params": {Step.IMAGE: given, Step.VIDEO: {"fps": 2}}})

    film = _attempt(market, prompt)

    assert film.error is None
    image = film.steps[Step.IMAGE]
    assert image.model == SECOND
    assert market.accepted()[0]["input"]["num_inference_steps"] == 4
    assert any("num_inference_steps" in note and "its default, 4" in note for note in image.notes)
    assert any("scheduler" in note and "left out" in note for note in image.notes)
    assert market.attempt(prompt).steps[Step.IMAGE].notes == image.notes


def test_a_voice_is_the_first_model_s(market: Market) -> None:
    """Every provider has speakers of its own; a film with another one is better than none, and says so."""
    market.set_faults({"provider": "openai", "fault": "400"})
    routes = {"image": ["local:landscape"], "video": ["local:ken-burns"]}
    audio = ["openai:gpt-4o-mini-tts", "fal:kokoro"]

    film = _attempt(market, paid_prompt(routes=routes | {"audio": audio}, voice="coral", clip_s=1.0))

    assert film.error is None
    assert film.steps[Step.AUDIO].model == "fal:kokoro"
    assert any("'coral'" in note and "af_heart" in note for note in film.steps[Step.AUDIO].notes)


@pytest.mark.parametrize(
    ("step", "paid", "stand_in"),
    [(Step.IMAGE, FIRST, "local:landscape"), (Step.AUDIO, "elevenlabs:flash-v2.5", "local:piper")],
)
def test_a_free_model_in_a_paid_one_s_place_is_a_stand_in(market: Market, step: Step, paid: str, stand_in: str) -> None:
    """What was paid for is not what is shown, so it is declared, and made again once the model is back."""
    market.set_faults({"provider": paid.partition(":")[0], "fault": "400"})
    routes = {"image": ["local:landscape"], "audio": ["local:silence"], str(step): [paid, stand_in]}
    prompt = paid_prompt(routes={**routes, "video": ["local:ken-burns"]}, params={"video": {"fps": 2}})

    assert _attempt(market, prompt).steps[step].degraded
    market.set_faults()

    better = market.make(prompt, options=MakeOptions(upgrade=True)).steps[step]
    assert (better.model, better.degraded) == (paid, False)
