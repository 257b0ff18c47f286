"""The plan: the whole chain and every reason why it cannot be made, before the first cent."""

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from media_assets.errors import PlanError
from media_assets.media._ffmpeg import ffmpeg_path
from media_assets.plan import Plan
from media_assets.prompt import Prompt, Step
from media_assets.settings import Settings
from media_assets.studio import Studio, open_studio

SCRIPT = "The lighthouse keeper climbs the stairs at dusk. He lights the lamp and watches the quiet sea."
TODAY = date(2026, 11, 23)


@pytest.fixture
def studio(home: Path) -> Iterator[Studio]:
    """Return an open studio with the default settings."""
    with open_studio(home, today=lambda: TODAY) as one:
        yield one


@pytest.fixture
def _ask_again_for_ffmpeg() -> Iterator[None]:
    ffmpeg_path.cache_clear()
    yield
    ffmpeg_path.cache_clear()


def a_prompt(**fields: Any) -> Prompt:
    """Return a prompt with a script, with some fields changed."""
    return Prompt.model_validate({"key": "k", "prompt": "a lighthouse", "script": SCRIPT, **fields})


def plan_of(studio: Studio, prompt: Prompt, *, upgrade: bool = False) -> Plan:
    """Return the plan."""
    return asyncio.run(studio.plan(prompt, upgrade=upgrade))


def planned_with(home: Path, prompt: Prompt, today: date = TODAY, **settings: Any) -> Plan:
    """Return the plan under some settings."""
    with open_studio(home, Settings(**settings).studio_options(), today=lambda: today) as studio:
        return plan_of(studio, prompt)


def faults(plan: Plan) -> set[tuple[str, str]]:
    """Return step and field of each problem."""
    return {(str(problem.where), problem.field) for problem in plan.problems}


class TestWholeChain:
    """What a plan says of a prompt that can be made."""

    def test_it_has_the_form_that_scripts_read(self, studio: Studio) -> None:
        """The contract of ``plan --json``, field by field."""
        shown = json.loads(json.dumps(plan_of(studio, a_prompt(seed=7, clip_s=5)).as_dict()))

        durations = [step.pop("duration_s") for step in shown["steps"]]
        free = {"estimate_usd": "0", "cached": False, "in_flight": False}
        picture = {"seed": 7, "width": 1024, "height": 576}
        assert shown == {
            "key": "k",
            "ok": True,
            "problems": [],
            "warnings": [],
            "estimate_usd": {"min": "0", "max": "0"},
            "steps": [
                {"step": "image", "model": "local:landscape", "params": picture | {"prompt": "a lighthouse"}, **free},
                {
                    "step": "video",
                    "model": "local:ken-burns",
                    "params": picture | {"duration_s": 5, "fps": 24, "zoom": 1.18},
                    **free,
                },
                {
                    "step": "audio",
                    "model": "local:piper",
                    "params": {"script": SCRIPT, "voice": "joe", "speed": 1.0},
                    **free,
                },
                {"step": "merged", "model": "local:merge", "params": {"fit": "hold"}, **free},
            ],
        }
        image_s, clip_s, voice_s, film_s = durations
        assert image_s is None
        assert clip_s == 5
        assert 4 < voice_s < 9
        assert film_s == pytest.approx(max(clip_s, voice_s))

    def test_without_a_script_the_film_is_silent_whatever_voice_is_configured(self, studio: Studio) -> None:
        """Nothing to say needs no voice, and buys none."""
        plan = plan_of(studio, a_prompt(script=None, routes={"audio": ["local:piper"]}))

        assert plan.problems == ()
        assert [step.model for step in plan.steps if step.step is Step.AUDIO] == ["local:silence"]

    def test_the_prompts_route_wins_over_the_configured_one(self, home: Path) -> None:
        """One film may need another voice than the rest of the batch."""
        plan = planned_with(home, a_prompt(routes={"audio": ["local:silence"]}), route_audio=["local:piper"])

        assert [step.model for step in plan.steps if step.step is Step.AUDIO] == ["local:silence"]

    def test_after_video_sets_the_voices_speed(self, home: Path) -> None:
        """The plan shows the parameters that would be sent, this one included."""
        plan = planned_with(home, a_prompt(clip_s=5), audio_timing="after_video")

        (voice,) = [step for step in plan.steps if step.step is Step.AUDIO]
        assert plan.problems == ()
        assert voice.params["speed"] != 1.0
        assert voice.duration_s == pytest.approx(5, rel=0.1)

    def test_plans_are_equal_however_often_they_are_made(self, studio: Studio) -> None:
        """A key that depended on the hour would buy everything again every hour."""
        assert plan_of(studio, a_prompt()) == plan_of(studio, a_prompt())


class TestProblems:
    """Every reason why not, at once."""

    def test_a_good_plan_lets_go_on(self, studio: Studio) -> None:
        """``require`` stands between a plan and the first POST."""
        plan_of(studio, a_prompt()).require()

    def test_all_problems_are_found_in_one_plan(self, home: Path) -> None:
        """A person who mends one fault at a time gives up before the film."""
        prompt = a_prompt(
            prompt="x",
            script="Привет, маяк",
            size_px="256x256",
            fit="stretch",
            clip_s=60,
            params={"video": {"fsp": 30}, "audio": {"speed": 9}},
        )

        plan = planned_with(home, prompt, min_free_mb=10**9)

        expected = {
            ("", "disk"),
            ("image", "size_px"),
            ("video", "fsp"),
            ("audio", "script"),
            ("audio", "speed"),
            ("merged", "fit"),
        }
        assert faults(plan) == expected
        with pytest.raises(PlanError) as caught:
            plan.require()
        assert set(caught.value.problems) == set(plan.problems)
        assert all(str(problem) in caught.value.message for problem in plan.problems)

    def test_an_unknown_model_hides_no_other_problem(self, home: Path) -> None:
        """The other steps can be checked all the same."""
        prompt = a_prompt(
            script="Привет",
            size_px="256x256",
            fit="stretch",
            clip_s=60,
            routes={"image": ["local:landscap"]},
            params={"video": {"fsp": 30}},
        )

        plan = planned_with(home, prompt, min_free_mb=10**9)

        assert faults(plan) == {
            ("", "disk"),
            ("image", "route"),
            ("image", "size_px"),
            ("video", "fsp"),
            ("audio", "script"),
            ("merged", "fit"),
        }

    def test_every_unknown_model_of_a_route_is_named(self, studio: Studio) -> None:
        """The fallback is needed on the day when the first model is down, which is too late for a misspelling."""
        plan = plan_of(studio, a_prompt(routes={"image": ["local:landscape", "fal:fluks"], "video": ["local:piper"]}))

        assert faults(plan) == {("image", "route"), ("video", "route")}
        with pytest.raises(PlanError, match=r"no model is called 'fal:fluks'"):
            plan.require()

    def test_a_picture_too_small_to_build_on_is_refused_beforehand(self, home: Path) -> None:
        """The judge would refuse it after it was paid for."""
        assert faults(planned_with(home, a_prompt(size_px="512x511"))) == {("image", "size_px")}
        assert faults(planned_with(home, a_prompt(size_px="512x512"))) == set()
        assert faults(planned_with(home, a_prompt(size_px="64x64"), min_image_side_px=64)) == set()

    def test_too_little_disk_says_how_much_and_where(self, home: Path) -> None:
        """A film that fails while it is stored has been paid for."""
        plan = planned_with(home, a_prompt(), min_free_mb=10**9)

        (problem,) = plan.problems
        assert problem.field == "disk"
        assert "1000000000 MB are needed (min_free_mb)" in problem.message
        assert str(home) in problem.message

    @pytest.mark.usefixtures("_ask_again_for_ffmpeg")
    def test_no_ffmpeg_is_found_before_anything_is_bought(
        self, studio: Studio, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The merge comes last, when everything else is paid for."""
        monkeypatch.setenv("MEDIA_ASSETS_FFMPEG", "/nowhere/ffmpeg")

        (problem,) = plan_of(studio, a_prompt()).problems

        assert problem.field == "ffmpeg"
        assert "MEDIA_ASSETS_FFMPEG is '/nowhere/ffmpeg'" in problem.message

    def test_a_stretch_out_of_range_is_refused_beforehand(self, studio: Studio) -> None:
        """Both lengths are known before either is bought."""
        assert faults(plan_of(studio, a_prompt(fit="stretch", clip_s=60))) == {("merged", "fit")}
        assert faults(plan_of(studio, a_prompt(fit="stretch", clip_s=6))) == set()

    def test_a_stretch_counts_with_the_speed_that_will_be_spoken(self, home: Path) -> None:
        """At another speed the voice has another length: refusing it loses a film, accepting it the price of one."""
        slow = a_prompt(fit="stretch", clip_s=5, params={"audio": {"speed": 0.7}})
        matched = a_prompt(fit="stretch", clip_s=3.9)

        assert faults(planned_with(home, slow)) == {("merged", "fit")}
        assert faults(planned_with(home, matched)) == {("merged", "fit")}
        assert faults(planned_with(home, matched, audio_timing="after_video")) == set()

    def test_a_day_without_a_price_is_a_problem_of_every_step(self, home: Path) -> None:
        """Unpriced is refused, never counted as zero."""
        plan = planned_with(home, a_prompt(), today=date(2025, 1, 1))

        assert faults(plan) == {(str(step), "model") for step in Step}
        assert "has no price for 2025-01-01" in plan.problems[0].message

    def test_no_problem_is_named_twice(self, home: Path) -> None:
        """Two checks may find one fault."""
        plan = planned_with(home, a_prompt(size_px="64x64", script="灯台"))

        assert len(plan.problems) == len(set(plan.problems))
