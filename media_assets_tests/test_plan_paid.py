"""The plan of a paid chain: every reason why it cannot be made, at once, before anything is sent."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from media_assets.errors import BudgetExceededError, PlanError
from media_assets.plan import Plan
from media_assets.prompt import Prompt
from media_assets.settings import Settings
from media_assets_tests.own_model_file import OWN_MODEL, OWN_MODEL_FILE
from media_assets_tests.simulated import PAID_ROUTES, Market, hurried, open_market, paid_prompt


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("plans")) as market:
        yield market


def plan_of(market: Market, prompt: Prompt, *, today: date | None = None, **changes: Any) -> Plan:
    """Return the plan, on another day if one is given."""
    with market.studio(**changes) as studio:
        on_day = replace(studio, today=lambda: today) if today else studio
        return asyncio.run(on_day.plan(prompt))


def told(plan: Plan) -> dict[tuple[str, str], str]:
    """Return the problems by step and field."""
    return {(str(problem.where), problem.field): problem.message for problem in plan.problems}


def warned(plan: Plan) -> dict[tuple[str, str], str]:
    """Return the warnings by step and field."""
    return {(str(warning.where), warning.field): warning.message for warning in plan.warnings}


def test_everything_that_is_wrong_is_told_at_once(market: Market) -> None:
    """A chain that fails at its last joint has paid for all the others."""
    prompt = paid_prompt(
        routes={
            "image": ["replicate:sdxl"],
            "video": ["fal:kling-v2.5-turbo"],
            "audio": ["openai:gpt-4o-mini-tts"],
        },
        clip_s=60,
        size_px=(4096, 1024),
        script="word " * 1000,
        max_cost_usd=Decimal("0.01"),
        params={"image": {"num_inference_steps": 9000, "nonsense": 1}},
    )

    plan = plan_of(market, prompt, fal_key=None, openai_api_key=None, min_free_mb=10**12, replicate_api_token=None)

    problems = told(plan)
    assert set(problems) >= {
        ("", "disk"),
        ("", "budget"),
        ("image", "key"),
        ("image", "num_inference_steps"),
        ("image", "nonsense"),
        ("video", "key"),
        ("video", "clip_s"),
        ("audio", "key"),
        ("audio", "script"),
    }
    assert "FAL_KEY" in problems["video", "key"]
    assert "max_cost_usd" in problems["", "budget"]
    assert "5 or 10" in problems["video", "clip_s"]
    assert market.requests() == 0


def test_a_picture_that_would_lose_too_much_is_refused(market: Market) -> None:
    """A banner cropped to a square is another picture; how much may go is a setting."""
    prompt = paid_prompt(
        size_px=(2048, 512), routes={"image": ["local:landscape"], "video": ["replicate:stable-video-diffusion"]}
    )

    assert ("video", "size_px") in told(plan_of(market, prompt, max_crop=0.5))
    assert ("video", "size_px") not in told(plan_of(market, prompt, max_crop=0.6))


def test_a_picture_that_would_be_blown_up_is_refused(market: Market) -> None:
    """Enlarging invents nothing: the clip would be as blurred as it is large."""
    prompt = paid_prompt(
        size_px=(256, 144), routes={"image": ["local:landscape"], "video": ["replicate:stable-video-diffusion"]}
    )

    faults = told(plan_of(market, prompt, min_image_side_px=64))

    assert "blown up 4.0 times" in faults["video", "size_px"]


def test_a_retired_model_names_its_successors(market: Market) -> None:
    """Shut down at the provider: nothing is sent to find that out."""
    prompt = paid_prompt(routes={"audio": ["openai:gpt-4o-mini-tts"]})

    before = plan_of(market, prompt, today=date(2026, 11, 24))
    soon = plan_of(market, prompt, today=date(2026, 12, 20))
    after = plan_of(market, prompt, today=date(2027, 1, 6))

    assert ("audio", "model") not in warned(before) | told(before)
    assert "retires on 2027-01-06" in warned(soon)["audio", "model"]
    assert "elevenlabs:" in told(after)["audio", "model"]


def test_an_unpriced_model_is_refused_unless_a_price_is_assumed(market: Market) -> None:
    """What has no price would count as free."""
    unpriced = hurried("fal:kokoro").model_copy(update={"price": ()})
    prompt = paid_prompt(routes={"audio": ["fal:kokoro"]})

    refused = plan_of(market, prompt, models=[unpriced])
    assumed = plan_of(market, prompt, models=[unpriced], assume_usd="0.25")

    assert "MEDIA_ASSETS_ASSUME_USD" in told(refused)["audio", "model"]
    assert not told(assumed)
    assert "MEDIA_ASSETS_ASSUME_USD" in warned(assumed)["audio", "price"]
    (audio,) = [step for step in assumed.steps if step.step == "audio"]
    assert (audio.least_usd, audio.estimate_usd) == (Decimal("0.25"), Decimal("0.25"))


def test_prices_that_are_hearsay_or_old_are_marked(market: Market) -> None:
    """A quote is as good as its source, so the source is told."""
    plan = plan_of(market, paid_prompt(), today=date(2027, 6, 1))

    prices = [warning.message for warning in plan.warnings if warning.field == "price"]
    assert any("replicate:sdxl is not the provider's own word" in message for message in prices)
    assert any("replicate:sdxl was read more than 90 days ago" in message for message in prices)


def test_a_second_model_without_a_key_is_a_warning(market: Market) -> None:
    """It could not take over; that is worth knowing, and no reason to refuse."""
    prompt = paid_prompt(routes={"image": ["replicate:sdxl", "fal:fast-sdxl"]})

    plan = plan_of(market, prompt, fal_key=None)

    assert not told(plan)
    assert "FAL_KEY" in warned(plan)["image", "route"]


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("zq:xw\nvj", "a line break"),
        ("zq:xw\rvj", "a line break"),
        ("zq:xw vj", "white space"),
        ("zq:xw\tvj", "white space"),
        ("zq:xw\x00vj", "a control character"),
        ("zq:xw\x7fvj", "a control character"),
        ("zq:xw\u2013vj", "a character that is not ASCII"),
        ("zq:xw\udcffvj", "a character that is not ASCII"),
        ("\ufeffzq:xwvj", "a character that is not ASCII"),
        ("zq xw\nvj\n", "white space and a line break"),
    ],
)
def test_a_key_that_no_header_can_carry_is_a_problem_of_every_step_that_needs_it(
    market: Market, key: str, fault: str
) -> None:
    """Found out at the submit, it would have let the other steps be bought first."""
    prompt = paid_prompt(routes={**PAID_ROUTES, "video": ["fal:kling-v2.5-turbo"], "audio": ["fal:kokoro"]})

    plan = plan_of(market, prompt, fal_key=SecretStr(key))

    problems = told(plan)
    assert set(problems) == {("video", "key"), ("audio", "key")}
    assert all(f"FAL_KEY holds {fault}; copy the key" in message for message in problems.values())
    assert not any(part in message for message in problems.values() for part in ("zq", "xw", "vj"))


def test_nothing_is_bought_when_a_later_step_has_an_unusable_key(tmp_path: Path) -> None:
    """P4 in the making, not only in the plan: no provider is asked for anything."""
    with open_market(tmp_path) as market:
        film = market.attempt(paid_prompt(), elevenlabs_api_key=SecretStr("two words"))

        assert isinstance(film.error, PlanError)
        assert "ELEVENLABS_API_KEY holds white space" in film.error.message
        assert market.requests() == 0


@pytest.mark.parametrize("key", ["", " ", "\n", "\t \r\n"])
def test_a_blank_key_is_a_missing_one(market: Market, key: str) -> None:
    """An empty line of a file says: none."""
    plan = plan_of(market, paid_prompt(), elevenlabs_api_key=SecretStr(key))

    assert told(plan) == {
        ("audio", "key"): "elevenlabs:multilingual-v2 needs a key: ELEVENLABS_API_KEY is not set",
    }


def test_white_space_around_a_key_is_not_of_it(market: Market) -> None:
    """A key read from a file ends in a line break."""
    assert not told(plan_of(market, paid_prompt(), elevenlabs_api_key=SecretStr(" sk_mine\r\n")))


def test_a_second_model_with_an_unusable_key_is_a_warning(market: Market) -> None:
    """It could not take over either."""
    prompt = paid_prompt(routes={**PAID_ROUTES, "image": ["replicate:sdxl", "fal:fast-sdxl"]})

    plan = plan_of(market, prompt, fal_key=SecretStr("two words"))

    assert not told(plan)
    assert "FAL_KEY holds white space" in warned(plan)["image", "route"]


def test_the_range_spans_what_it_may_cost(market: Market) -> None:
    """Compute time is not known beforehand: nothing at best, the whole deadline at worst."""
    plan = plan_of(market, paid_prompt())

    by_step = {str(step.step): (step.least_usd, step.estimate_usd) for step in plan.steps}
    assert by_step["image"] == (Decimal(0), Decimal("0.084"))
    assert by_step["video"] == (Decimal(0), Decimal("0.252"))
    assert plan.as_dict()["estimate_usd"] == {
        "min": format(plan.least_usd, "f"),
        "max": format(plan.estimate_usd, "f"),
    }


def test_a_plan_under_the_cap_only_is_refused_as_such(market: Market) -> None:
    """Scripts tell "pay more" (3) from "write it differently" (2) by the exit code."""
    plan = plan_of(market, paid_prompt(max_cost_usd=Decimal("0.01")))

    with pytest.raises(BudgetExceededError):
        plan.require()
    with pytest.raises(PlanError):
        plan_of(market, paid_prompt(max_cost_usd=Decimal("0.01"), params={"image": {"no": 1}})).require()


def test_what_is_there_needs_no_key_and_no_price(tmp_path: Path) -> None:
    """A finished film is shown for ever, whatever happened to accounts, prices and models."""
    with open_market(tmp_path) as market:
        market.make(paid_prompt())
        nothing = dict.fromkeys(("replicate_api_token", "elevenlabs_api_key"))

        plan = plan_of(market, paid_prompt(), today=date(2031, 1, 1), **nothing)
        film = market.attempt(paid_prompt(), **nothing)

    assert not plan.problems
    assert not plan.warnings
    assert plan.estimate_usd == 0
    assert film.error is None


def test_a_changed_catalog_default_buys_nothing(tmp_path: Path) -> None:
    """A finished step keeps the parameters it was made with; so does what is made from it."""
    with open_market(tmp_path) as market:
        market.make(paid_prompt())
        asked = market.requests()
        sdxl = hurried("replicate:sdxl")
        steps = sdxl.params["num_inference_steps"].model_copy(update={"default": 25})
        changed = sdxl.model_copy(update={"params": {**sdxl.params, "num_inference_steps": steps}, "version": "f" * 64})

        film = market.attempt(paid_prompt(), models=[changed])

        assert film.spent_usd == 0
        assert market.requests() == asked


def test_every_setting_of_a_plan_is_an_option() -> None:
    """A bound that cannot be configured is no configured bound."""
    settings = Settings.model_construct(
        max_crop=0.1, max_enlargement=1.5, strict=True, assume_usd="0.5"
    ).plan_settings()

    assert (settings.max_crop, settings.max_enlargement, settings.strict) == (0.1, 1.5, True)
    assert settings.assume_usd == Decimal("0.5")


def test_a_model_file_of_the_user_can_be_planned(market: Market, tmp_path: Path) -> None:
    """A new model is a file in a folder."""
    (tmp_path / "own.toml").write_text(OWN_MODEL_FILE, encoding="utf-8")
    prompt = paid_prompt(key="own", routes={"audio": [OWN_MODEL]})

    plan = plan_of(market, prompt, catalog_folder=tmp_path)

    assert not plan.problems
    (audio,) = [step for step in plan.steps if step.step == "audio"]
    assert audio.estimate_usd == Decimal("0.00002") * len(prompt.script or "")


def test_what_a_later_model_would_leave_undone_is_warned_of(market: Market) -> None:
    """A route that looks like a safety net and is none is worse than no net."""
    prompt = paid_prompt(
        routes={
            "image": ["replicate:sdxl", "fal:flux-schnell"],
            "video": ["fal:kling-v2.5-turbo", "local:ken-burns"],
            "audio": ["openai:gpt-4o-mini-tts", "local:piper"],
        },
        script="\u041c\u0430\u044f\u043a \u0441\u0442\u043e\u0438\u0442.",
        caption="The harbour",
        params={"image": {"num_inference_steps": 30}},
    )

    plan = plan_of(market, prompt)

    assert plan.problems == ()
    warnings = [str(warning) for warning in plan.warnings]
    assert any("num_inference_steps" in one and "fal:flux-schnell" in one for one in warnings)
    assert any("local:piper cannot take over: script" in one for one in warnings)
    assert "video: caption: fal:kling-v2.5-turbo has no use for it" in warnings


def test_a_parameter_of_a_later_model_is_none_of_the_first(market: Market) -> None:
    """Each model of a route takes its own; what none of them has is a slip of the pen."""
    routes = {"image": ["replicate:sdxl"], "video": ["replicate:stable-video-diffusion", "local:ken-burns"]}
    params = {"video": {"motion_bucket_id": 90, "zoom": 1.3, "zom": 2}}

    plan = plan_of(market, paid_prompt(routes=routes, script=None, params=params))

    assert set(told(plan)) == {("video", "zom")}


def test_another_size_than_was_asked_for_is_told(market: Market) -> None:
    """Who asked for 1024x576 and gets something else should know before it is bought."""
    plan = plan_of(market, paid_prompt(size_px=(1001, 601)))

    assert "in place of 1001x601" in warned(plan)["image", "size_px"]


@pytest.mark.parametrize("voice", ["../../v1/user", "Rachel?x=1", "", "21m00Tcm4TlvDq8ikWAM/stream"])
def test_a_speaker_that_is_no_id_is_refused(market: Market, voice: str) -> None:
    """It becomes part of the address that is asked."""
    plan = plan_of(market, paid_prompt(params={"audio": {"voice_id": voice}}))

    assert "must be the id of a speaker" in told(plan)["audio", "voice_id"]


def test_a_model_named_twice_is_refused(market: Market) -> None:
    """It would answer the second time as it did the first: the net has a hole."""
    plan = plan_of(market, paid_prompt(routes={"image": ["replicate:sdxl", "replicate:sdxl"]}))

    assert told(plan)["image", "route"] == "replicate:sdxl is named more than once"


def test_an_unknown_later_model_is_told_with_the_nearest(market: Market) -> None:
    """It would be met only once the first has failed."""
    plan = plan_of(market, paid_prompt(routes={"image": ["replicate:sdxl", "fal:flux-shnell"]}))

    assert "fal:flux-schnell" in told(plan)["image", "route"]
