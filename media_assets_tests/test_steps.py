"""Drafts: which request each step makes of a prompt, complete in every parameter, and how long its result will be."""

from typing import Any

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.media.spoken_text import estimate_speech_s
from media_assets.prompt import Prompt, Step
from media_assets.request import InputRef, derived_seed
from media_assets.simulator.media import speech_s
from media_assets.steps import (
    Draft,
    Picture,
    draft_audio,
    draft_image,
    draft_merged,
    draft_video,
    expected_voice_s,
)

SCRIPT = "The lighthouse keeper climbs the stairs at dusk. He lights the lamp and watches the quiet sea."
IMAGE_KEY, VIDEO_KEY, AUDIO_KEY = "a" * 64, "b" * 64, "c" * 64


def a_prompt(**fields: Any) -> Prompt:
    """Return a prompt with a script, with some fields changed."""
    return Prompt.model_validate({"key": "k", "prompt": "a lighthouse", "script": SCRIPT, **fields})


def model(name: str, **changes: Any) -> ModelSpec:
    """Return a built-in model, with some fields of its entry changed."""
    spec = load_catalog().get(f"local:{name}")
    return ModelSpec.model_validate(spec.model_dump(by_alias=True, mode="json") | changes)


def picture_of(prompt: Prompt) -> Picture:
    """Return the picture as it would be made."""
    return Picture(request_key=IMAGE_KEY, size_px=prompt.size_px)


def video(prompt: Prompt, **changes: Any) -> Draft:
    """Return the draft of the stand-in clip."""
    return draft_video(prompt, model("ken-burns", **changes), voice=model("piper"), picture=picture_of(prompt))


def audio(prompt: Prompt, *, clip_s: float = 8.0, match_clip: bool = False, **changes: Any) -> Draft:
    """Return the draft of the built-in voice."""
    return draft_audio(prompt, model("piper", **changes), clip_s=clip_s, match_clip=match_clip)


def faults(draft: Draft) -> list[tuple[str, str]]:
    """Return step and field of each problem."""
    return [(problem.where, problem.field) for problem in draft.problems]


class TestParameters:
    """Every request is complete: nothing is left to the provider's defaults."""

    def test_picture(self) -> None:
        """Text, seed and size, in the model's own names."""
        draft = draft_image(a_prompt(seed=7, size_px="640x512"), model("landscape"))

        assert dict(draft.request.params) == {"prompt": "a lighthouse", "seed": 7, "width": 640, "height": 512}
        assert (draft.request.step, draft.request.provider, draft.request.model) == (
            Step.IMAGE,
            "local",
            "local:landscape",
        )
        assert draft.request.inputs == ()
        assert draft.length_s is None
        assert draft.problems == ()

    def test_clip(self) -> None:
        """The picture is named by the request that made it, so the chain can be written down beforehand."""
        draft = video(a_prompt(seed=7, clip_s=5, caption="The keeper"))

        assert dict(draft.request.params) == {
            "fps": 24,
            "zoom": 1.18,
            "seed": 7,
            "width": 1024,
            "height": 576,
            "duration_s": 5.0,
            "caption": "The keeper",
        }
        assert draft.request.inputs == (InputRef(role="image", request_key=IMAGE_KEY),)

    def test_voice(self) -> None:
        """The voice of the prompt is in the model's words, its absence is the model's default."""
        assert dict(audio(a_prompt()).request.params) == {"voice": "joe", "speed": 1.0, "script": SCRIPT}

    def test_film(self) -> None:
        """What the film is made of, and how."""
        draft = draft_merged(a_prompt(fit="trim"), model("merge"), video_key=VIDEO_KEY, audio_key=AUDIO_KEY)

        assert dict(draft.request.params) == {"fit": "trim"}
        assert draft.request.input_keys() == {"video": VIDEO_KEY, "audio": AUDIO_KEY}

    def test_silent_track(self) -> None:
        """A stand-in for a voice is as long as the voice would have been."""
        draft = draft_audio(a_prompt(), model("silence"), clip_s=8)

        assert dict(draft.request.params) == {"duration_s": round(estimate_speech_s(SCRIPT), 2)}

    @pytest.mark.parametrize("step", [Step.IMAGE, Step.VIDEO])
    def test_a_seed_that_is_not_given_is_derived(self, step: Step) -> None:
        """A repeatable free result, and a lost paid one that can be recognised."""
        draft = draft_image(a_prompt(), model("landscape")) if step is Step.IMAGE else video(a_prompt())

        assert draft.request.params["seed"] == derived_seed("a lighthouse", step, 0)

    def test_take_is_each_steps_own(self) -> None:
        """It makes an equal request a new purchase, and changes the derived seed with it."""
        draft = video(a_prompt(take={"video": 3}))

        assert (draft.request.take, audio(a_prompt(take={"video": 3})).request.take) == (3, 0)
        assert draft.request.params["seed"] == derived_seed("a lighthouse", Step.VIDEO, 3)

    def test_parameters_of_the_prompt_win_over_defaults_in_the_models_type(self) -> None:
        """A CSV cell brings "30"; the request must be the one that 30 makes."""
        text, number = (video(a_prompt(params={"video": {"fps": fps}})) for fps in ("30", 30))

        assert text.request.params["fps"] == 30
        assert text.request.key == number.request.key
        assert text.problems == ()

    def test_speed_as_a_parameter_is_kept(self) -> None:
        """The role's own value would otherwise overwrite what the person asked for."""
        draft = audio(a_prompt(params={"audio": {"speed": 1.2}}))

        assert draft.request.params["speed"] == 1.2
        assert draft.length_s == pytest.approx(expected_voice_s(SCRIPT, model("piper"), speed=1.2))

    @pytest.mark.parametrize(
        ("params", "field", "message"),
        [
            ({"fsp": 30}, "fsp", "Did you mean fps?"),
            ({"brightness": 1}, "brightness", "It has: fps, zoom."),
            ({"fps": 61}, "fps", "must be from 1 to 60, not 61"),
            ({"fps": "fast"}, "fps", "must be"),
            ({"zoom": 5}, "zoom", "must be from 1.02 to 2, not 5"),
            ({"seed": 3}, "seed", "is set from the prompt itself (seed), not as a parameter of local:ken-burns"),
            ({"duration_s": 3}, "duration_s", "is set from the prompt itself (length)"),
        ],
    )
    def test_a_parameter_that_cannot_be_used_is_a_problem(
        self, params: dict[str, Any], field: str, message: str
    ) -> None:
        """A provider ignores what it does not know, and bills the film that nobody wanted."""
        (problem,) = video(a_prompt(params={"video": params})).problems

        assert (problem.where, problem.field) == (Step.VIDEO, field)
        assert message in problem.message

    def test_every_bad_parameter_is_named(self) -> None:
        """One round of corrections."""
        assert faults(video(a_prompt(params={"video": {"fps": 0, "zoom": 9, "x": 1}}, clip_s=300.0, seed=1))) == [
            (Step.VIDEO, "fps"),
            (Step.VIDEO, "zoom"),
            (Step.VIDEO, "x"),
        ]

    def test_a_voice_the_model_does_not_have_is_a_problem(self) -> None:
        """The names of voices belong to the model."""
        (problem,) = audio(a_prompt(voice="jane")).problems

        assert problem.field == "voice"
        assert "must be one of joe, not 'jane'" in problem.message

    def test_another_step_is_not_concerned(self) -> None:
        """Parameters are given by step."""
        assert audio(a_prompt(params={"video": {"nonsense": 1}})).problems == ()


class TestClipLength:
    """How long the moving picture is to be."""

    @pytest.mark.parametrize("clip_s", [1, 4, 299.5, 300])
    def test_a_wanted_length_within_the_models_range_is_taken(self, clip_s: float) -> None:
        """What the person says goes first, whatever the voice needs."""
        draft = video(a_prompt(clip_s=clip_s))

        assert draft.request.params["duration_s"] == draft.length_s == clip_s
        assert draft.problems == ()

    @pytest.mark.parametrize("clip_s", [0.5, 0.85])
    def test_a_length_the_model_cannot_make_is_a_problem(self, clip_s: float) -> None:
        """The model would make another one, and bill it."""
        (problem,) = video(a_prompt(clip_s=clip_s)).problems

        assert problem.field == "clip_s"
        assert problem.message == f"local:ken-burns makes 1 to 300 s, not {clip_s:g} s"

    def test_stand_in_lasts_a_little_longer_than_the_voice_will(self) -> None:
        """The estimate may be short; a clip that ends before the voice stands still."""
        voice_s = estimate_speech_s(SCRIPT)
        assert voice_s > 4

        assert video(a_prompt()).length_s == pytest.approx(voice_s * 1.15 + 0.5, abs=0.01)

    @pytest.mark.parametrize("script", ["Hello.", None])
    def test_stand_in_lasts_four_seconds_at_least(self, script: str | None) -> None:
        """A film of one second is no film."""
        assert video(a_prompt(script=script)).length_s == 4

    def test_stand_in_lasts_five_minutes_at_most(self) -> None:
        """Beyond, the last picture is held: drawing an hour of motion would take a night."""
        assert video(a_prompt(script="A quiet sea at night. " * 900)).length_s == 300

    def test_a_model_that_does_not_follow_the_voice_has_its_default(self) -> None:
        """A paid clip must not grow, and cost more, with the script."""
        assert video(a_prompt(), length_follows_voice=False).length_s == 4

    def test_length_is_that_of_the_voice_that_will_speak(self) -> None:
        """Another provider's voice is slower or faster than ours."""
        slow = model("piper", characters_per_s=5)
        draft = draft_video(a_prompt(), model("ken-burns"), voice=slow, picture=picture_of(a_prompt()))

        assert draft.length_s == pytest.approx(len(SCRIPT) / 5 * 1.15 + 0.5, abs=0.01)

    def test_length_has_no_float_noise(self) -> None:
        """The length is in the request key."""
        length_s = video(a_prompt()).length_s

        assert length_s == round(length_s or 0, 2)


class TestVoice:
    """How the script is spoken."""

    @pytest.mark.parametrize("clip_s", [5.0, 5.5, 6.0, 7.0, 8.0])
    def test_after_video_the_speed_is_chosen_so_that_both_last_equally_long(self, clip_s: float) -> None:
        """Speech and clip differ by at most a tenth, or the plan says so."""
        draft = audio(a_prompt(), clip_s=clip_s, match_clip=True)
        matched = abs((draft.length_s or 0) - clip_s) <= clip_s * 0.1

        assert 0.7 <= float(draft.request.params["speed"]) <= 1.3
        assert matched == (draft.problems == ())

    def test_some_clip_can_be_matched_by_another_speed_than_one(self) -> None:
        """Guards the table above, which a voice that never changes its speed could pass."""
        wanted_s = estimate_speech_s(SCRIPT) / 1.2

        draft = audio(a_prompt(), clip_s=wanted_s, match_clip=True)

        assert draft.problems == ()
        assert float(draft.request.params["speed"]) == pytest.approx(1.2, abs=0.05)
        assert draft.length_s == pytest.approx(wanted_s, rel=0.1)

    @pytest.mark.parametrize("clip_s", [2.0, 60.0])
    def test_a_clip_no_speed_can_match_is_a_problem(self, clip_s: float) -> None:
        """Speech at three times its speed is understood by nobody."""
        draft = audio(a_prompt(), clip_s=clip_s, match_clip=True)

        (problem,) = draft.problems
        assert (problem.where, problem.field) == (Step.AUDIO, "script")
        assert "0.7 to 1.3" in problem.message
        assert "audio_timing: parallel" in problem.message

    def test_a_seed_is_sent_where_the_voice_takes_one(self) -> None:
        """A lost reply is found again by it in the account's history. The prompt's own comes first."""
        paid = load_catalog().get("elevenlabs:multilingual-v2")

        def seed(**fields: Any) -> object:
            return draft_audio(a_prompt(**fields), paid, clip_s=5).request.params["seed"]

        assert seed() == derived_seed(SCRIPT, Step.AUDIO, 0)
        assert seed(take={"audio": 2}) == derived_seed(SCRIPT, Step.AUDIO, 2)
        assert seed(seed=7) == 7

    def test_another_picture_buys_no_other_voice(self) -> None:
        """What is said has not changed: a seed from the picture's words would make it another purchase."""
        paid = load_catalog().get("elevenlabs:multilingual-v2")
        keys = {draft_audio(a_prompt(prompt=prompt), paid, clip_s=5).request.key for prompt in ("a barn", "a mill")}

        assert len(keys) == 1

    @pytest.mark.parametrize("name", ["openai:gpt-4o-mini-tts", "fal:kokoro", "local:piper", "local:silence"])
    def test_a_voice_without_a_seed_is_no_fault(self, name: str) -> None:
        """The seed is for the picture first; that most voices have none is not worth a warning for every film."""
        draft = draft_audio(a_prompt(seed=7), load_catalog().get(name), clip_s=5)

        assert "seed" not in draft.request.params
        assert (draft.problems, draft.notes) == ((), ())

    @pytest.mark.parametrize("script", [SCRIPT, "Call 0800 123 456 789 now", "猫が寝ている" * 9, "Привет, как дела"])
    @pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
    def test_a_paid_voice_is_expected_to_last_as_long_as_it_does(self, script: str, speed: float) -> None:
        """A clip that follows the voice, and a speed that follows the clip, are worth as much as this estimate."""
        paid = load_catalog().get("openai:gpt-4o-mini-tts")

        assert expected_voice_s(script, paid, speed=speed) == pytest.approx(speech_s(script, speed), rel=0.1)

    def test_in_parallel_the_clip_does_not_matter(self) -> None:
        """The voice is bought beside the clip, and its key must not wait for it."""
        assert audio(a_prompt(), clip_s=2).request.key == audio(a_prompt(), clip_s=60).request.key

    @pytest.mark.parametrize(
        ("script", "named"),
        [("Привет", "П р и в е т"), ("灯台です", "灯"), ("…!?", ""), ("🎬", ""), ("Hello שלום", "ש")],
    )
    def test_what_cannot_be_spoken_is_a_problem(self, script: str, named: str) -> None:
        """A voice that skips letters says something else; the letters are named, and a way out offered."""
        (problem,) = audio(a_prompt(script=script)).problems

        assert (problem.where, problem.field) == (Step.AUDIO, "script")
        assert all(letter in problem.message for letter in named.split())
        assert "local:silence" in problem.message

    @pytest.mark.parametrize("script", ["Élan vital, naïve café.", 'It\'s 100% "off"!', "Łódź — Ærø"])
    def test_latin_with_accents_is_spoken(self, script: str) -> None:
        """Half of Europe writes with them."""
        assert audio(a_prompt(script=script)).problems == ()

    def test_a_silent_track_takes_any_script(self) -> None:
        """It is the way out that the problem above offers."""
        assert draft_audio(a_prompt(script="灯台"), model("silence"), clip_s=4).problems == ()

    def test_a_model_for_every_writing_system_takes_any_script(self) -> None:
        """Only a model that says what it can speak is held to it."""
        assert audio(a_prompt(script="灯台です"), writing_systems=[]).problems == ()


class TestSilentFilm:
    """Without a script nothing is missing: a silent film is a wish."""

    def test_the_track_is_as_long_as_the_clip(self) -> None:
        """It pads nothing and cuts nothing."""
        draft = draft_audio(a_prompt(script=None), model("silence"), clip_s=4.004)

        assert dict(draft.request.params) == {"duration_s": 4.0}
        assert draft.length_s == 4.004

    def test_the_film_is_the_clip_alone(self) -> None:
        """A clip's own sound, if it has any, is kept instead of a silent track."""
        draft = draft_merged(a_prompt(script=None), model("merge"), video_key=VIDEO_KEY, audio_key=AUDIO_KEY)

        assert draft.request.input_keys() == {"video": VIDEO_KEY}


def test_the_chain_is_written_down_before_anything_is_made() -> None:
    """Each step's key holds its inputs' keys, so a new picture is a new clip and a new film, but not a new voice."""

    def keys(prompt: Prompt) -> dict[Step, str]:
        image = draft_image(prompt, model("landscape")).request.key
        picture = Picture(request_key=image, size_px=prompt.size_px)
        clip = draft_video(prompt, model("ken-burns"), voice=model("piper"), picture=picture).request.key
        voice = audio(prompt).request.key
        film = draft_merged(prompt, model("merge"), video_key=clip, audio_key=voice).request.key
        return {Step.IMAGE: image, Step.VIDEO: clip, Step.AUDIO: voice, Step.MERGED: film}

    before, after = keys(a_prompt()), keys(a_prompt(take={"image": 1}))

    assert {step for step in Step if before[step] != after[step]} == {Step.IMAGE, Step.VIDEO, Step.MERGED}
