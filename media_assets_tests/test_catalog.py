"""The catalog: what ships is whole and agrees with itself. User files are in ``test_catalog_files.py``."""

import re
import tomllib
from collections.abc import Iterator
from datetime import date, timedelta
from importlib import resources
from typing import Any

import pytest

from media_assets.catalog import Meter, ModelSpec, ParamSpec, Recovery, load_catalog
from media_assets.catalog.lengths import length_of
from media_assets.catalog.reading import KNOWN_PROVIDERS
from media_assets.errors import UnknownModelError
from media_assets.prompt import Scalar, Step
from media_assets.providers.base import Deadlines
from media_assets.providers.local import LocalAdapter
from media_assets.request import GenerationRequest

MODELS = list(load_catalog())
SHIPPED = resources.files("media_assets.catalog") / "data"
INPUT_ROLES = {"image", "video", "audio"}
ROLES = INPUT_ROLES | {
    *("prompt", "script", "seed", "width", "height", "size", "count"),
    *("length", "caption", "voice", "speed", "fit"),
}


def a_param(**fields: Any) -> ParamSpec:
    """Return a parameter with what every one has."""
    return ParamSpec.model_validate({"about": "for a test", **fields})


def _data_files() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in SHIPPED.iterdir():
        if file.name.endswith(".toml"):
            yield file.name, tomllib.loads(file.read_text(encoding="utf-8"))


NAMES = {
    "local": {"landscape", "ken-burns", "piper", "silence", "merge"},
    "replicate": {"sdxl", "flux-schnell", "flux-dev", "stable-video-diffusion"},
    "fal": {
        *("fast-sdxl", "flux-schnell", "flux-dev", "stable-video", "wan-i2v", "kling-v2.5-turbo", "hailuo-02"),
        *("kokoro", "minimax-speech-2.6"),
    },
    "openai": {"gpt-image-2", "gpt-4o-mini-tts"},
    "elevenlabs": {"multilingual-v2", "flash-v2.5"},
}


def test_the_models_are_there() -> None:
    """Their names are an interface: users write them in routes."""
    assert {f"{provider}:{name}" for provider, names in NAMES.items() for name in names} == {spec.id for spec in MODELS}


def test_who_is_known_is_who_has_a_file() -> None:
    """The list is offered to users who misspell a provider."""
    assert set(KNOWN_PROVIDERS) == set(NAMES)


def test_no_id_is_used_twice() -> None:
    """The later entry would silently replace the earlier one, price and all."""
    ids = [model["id"] for _, data in _data_files() for model in data["model"]]

    assert len(ids) == len(set(ids))


def test_each_file_holds_its_providers_models() -> None:
    """The provider is read from the id; the file says where a price page is looked up."""
    for name, data in _data_files():
        assert name == f"{data['provider']}.toml"
        assert {model["id"].partition(":")[0] for model in data["model"]} == {data["provider"]}


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.id)
class TestEveryModel:
    """What holds for each entry that ships."""

    def test_its_id_can_be_written_in_a_route(self, spec: ModelSpec) -> None:
        """A comma or a blank in a name would break ``--route`` and CSV files."""
        assert re.fullmatch(r"[a-z]+:[a-z0-9][a-z0-9.-]*", spec.id)

    def test_its_provider_is_known(self, spec: ModelSpec) -> None:
        """A model nobody can ask fails after the plan said yes."""
        assert spec.provider in KNOWN_PROVIDERS

    def test_every_default_is_explicit_and_allowed(self, spec: ModelSpec) -> None:
        """A default left to the provider changes when the provider likes."""
        for name, param in spec.params.items():
            assert param.accept(param.default) == param.default, name
            assert type(param.accept(param.default)) is type(param.default), name

    def test_ranges_have_both_ends(self, spec: ModelSpec) -> None:
        """A number with one bound cannot be explained in the error message."""
        for name, param in spec.params.items():
            assert (param.min is None) == (param.max is None), name

    def test_its_roles_are_known_and_name_one_parameter_each(self, spec: ModelSpec) -> None:
        """A misspelt role would silently leave the prompt out of the request."""
        assert set(spec.roles) <= ROLES
        assert len(set(spec.roles.values())) == len(spec.roles)

    def test_it_has_a_price_with_a_source_and_a_day(self, spec: ModelSpec) -> None:
        """A figure without a source is a rumour."""
        assert spec.title
        assert spec.source
        assert spec.price
        for row in spec.price:
            assert row.parts
            assert row.from_day <= date(2026, 11, 24)
            assert (row.checked or spec.checked) <= date(2026, 11, 24)

    def test_its_default_clip_is_long_enough_to_be_let_through(self, spec: ModelSpec) -> None:
        """The judge refuses less than a second; a default at that bound is refused for a frame."""
        if spec.step is Step.VIDEO and spec.recovery is not Recovery.FREE:
            length_s = length_of(spec, {})

            assert length_s is not None
            assert length_s >= 2

    def test_what_a_role_reads_and_a_price_counts_can_be_known(self, spec: ModelSpec) -> None:
        """A price by something the request does not say could never be estimated."""
        meters = {part.per for row in spec.price for part in row.parts}
        assert Meter.CHARACTER not in meters or "script" in spec.roles
        assert not meters & {Meter.IMAGE, Meter.MEGAPIXEL} or "count" in spec.roles
        assert Meter.MEGAPIXEL not in meters or "width" in spec.roles
        assert Meter.OUTPUT_S not in meters or length_of(spec, {}) is not None

    def test_voices_say_how_fast_they_speak(self, spec: ModelSpec) -> None:
        """The narration's length is estimated before it is bought."""
        if spec.step is Step.AUDIO and spec.recovery is not Recovery.FREE:
            assert spec.characters_per_s
            assert "speed" in spec.roles
            assert spec.params[spec.roles["speed"]].default == 1.0

    def test_clips_say_what_pictures_they_take(self, spec: ModelSpec) -> None:
        """A picture of the wrong size or kind is found out by the provider after it was paid for."""
        if spec.step is Step.VIDEO and spec.recovery is not Recovery.FREE:
            assert spec.accepts["image"].sizes is not None
            assert {"image/png", "image/jpeg"} <= set(spec.accepts["image"].mimes)
            assert not spec.accepts["image"].alpha

    def test_it_says_what_is_billed_when(self, spec: ModelSpec) -> None:
        """Who pays for a failure differs from provider to provider."""
        assert spec.billing.endswith((".", ")"))
        assert (spec.billed_failed or spec.billed_canceled) == (spec.recovery is not Recovery.FREE)

    def test_its_successors_are_in_the_catalog(self, spec: ModelSpec) -> None:
        """A refusal that names what does not exist sends the user from one error to the next."""
        for successor in spec.successors:
            assert load_catalog().get(successor, step=spec.step).lifetime(spec.retires or date.max) == "alive"

    def test_its_entry_survives_being_written_down(self, spec: ModelSpec) -> None:
        """Tests and users change an entry by dumping it, and reading it again."""
        assert ModelSpec.model_validate(spec.model_dump(by_alias=True, mode="json")) == spec
        assert ModelSpec.model_validate(spec.model_dump()) == spec

    def test_free_recovery_is_for_free_models_only(self, spec: ModelSpec) -> None:
        """What is done again after a crash must cost nothing, or it is paid for twice."""
        if spec.recovery is Recovery.FREE:
            assert [part.usd for row in spec.price for part in row.parts if part.usd] == []


def test_every_local_model_can_be_called() -> None:
    """The catalog names an endpoint, the adapter a function: a slip shows only when somebody waits for a film."""
    for spec in MODELS:
        if spec.provider == "local":
            request = GenerationRequest(
                step=spec.step, provider="local", model=spec.id, endpoint=spec.endpoint, version="1", params={}
            )
            assert LocalAdapter().submit_call(request, inputs={}, deadlines=Deadlines(queue_s=1, run_s=1))


@pytest.mark.parametrize("step", Step)
def test_every_step_can_be_made_for_nothing(step: Step) -> None:
    """A fresh clone has no key."""
    assert [spec.id for spec in MODELS if spec.step is step and spec.recovery is Recovery.FREE]


def test_there_is_one_silent_stand_in_for_a_film_without_script() -> None:
    """The plan takes the first one it finds."""
    assert [spec.id for spec in MODELS if spec.silent] == ["local:silence"]


@pytest.mark.parametrize(
    ("fields", "given", "expected"),
    [
        ({"type": "integer", "default": 1}, 5, 5),
        ({"type": "integer", "default": 1}, 5.0, 5),
        ({"type": "integer", "default": 1}, "5", 5),
        ({"type": "integer", "default": 1}, " 5 ", 5),
        ({"type": "integer", "default": 1}, "-5", -5),
        ({"type": "integer", "default": 1, "min": 1, "max": 5}, 5, 5),
        ({"type": "number", "default": 1}, 5, 5.0),
        ({"type": "number", "default": 1}, "0.25", 0.25),
        ({"type": "number", "default": 1, "min": 0.5, "max": 2}, "0.5", 0.5),
        ({"type": "boolean", "default": True}, False, False),
        ({"type": "boolean", "default": True}, "FALSE", False),
        ({"type": "boolean", "default": True}, "true", True),
        ({"type": "string", "default": ""}, "a b", "a b"),
        ({"type": "string", "default": ""}, 5, "5"),
        ({"type": "string", "default": "a", "enum": ["a", "b"]}, "b", "b"),
        ({"type": "integer", "default": 1, "enum": [1, 2]}, "2", 2),
    ],
)
def test_values_are_taken_in_the_parameters_own_type(fields: dict[str, Any], given: Scalar, expected: Scalar) -> None:
    """CSV cells and the command line bring texts; the provider refuses ``"5"`` where it wants 5."""
    accepted = a_param(**fields).accept(given)

    assert accepted == expected
    assert type(accepted) is type(expected)


@pytest.mark.parametrize(
    ("fields", "given", "message"),
    [
        ({"type": "integer", "default": 1}, 5.5, "must be .*integer, not 5.5"),
        ({"type": "integer", "default": 1}, "five", "must be .*integer, not 'five'"),
        ({"type": "integer", "default": 1}, True, "must be .*integer, not True"),
        ({"type": "integer", "default": 1}, "", "must be .*integer"),
        ({"type": "integer", "default": 1}, "nan", "must be .*integer"),
        ({"type": "integer", "default": 1}, "1e999", "must be .*integer"),
        ({"type": "integer", "default": 1}, 10**400, "must be .*integer"),
        ({"type": "number", "default": 1}, "nan", "must be .*number"),
        ({"type": "number", "default": 1}, "inf", "must be .*number"),
        ({"type": "number", "default": 1}, "-inf", "must be .*number"),
        ({"type": "number", "default": 1}, False, "must be .*number, not False"),
        ({"type": "boolean", "default": True}, "yes", "must be .*boolean, not 'yes'"),
        ({"type": "boolean", "default": True}, 1, "must be .*boolean, not 1"),
        ({"type": "integer", "default": 1, "min": 1, "max": 5}, 6, "must be from 1 to 5, not 6"),
        ({"type": "integer", "default": 1, "min": 1, "max": 5}, "0", "must be from 1 to 5, not 0"),
        ({"type": "number", "default": 1, "min": 0.5, "max": 2}, 0.49, "must be from 0.5 to 2, not 0.49"),
        ({"type": "string", "default": "a", "enum": ["a", "b"]}, "c", "must be one of a, b, not 'c'"),
        ({"type": "string", "default": "a", "enum": ["a", "b"]}, "A", "must be one of a, b, not 'A'"),
        ({"type": "integer", "default": 1, "min": 1}, 0, "1"),
        ({"type": "integer", "default": 1, "max": 5}, 6, "5"),
    ],
)
def test_values_out_of_type_or_range_are_refused_in_words(fields: dict[str, Any], given: Scalar, message: str) -> None:
    """The message goes into the plan as it is, next to the parameter's name."""
    with pytest.raises(ValueError, match=message):
        a_param(**fields).accept(given)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "integer", "default": 9, "min": 1, "max": 5},
        {"type": "string", "default": "c", "enum": ["a", "b"]},
        {"type": "integer", "default": "many"},
        {"type": "integer"},
        {"type": "colour", "default": "red"},
        {"type": "integer", "default": 1, "minimum": 0},
    ],
)
def test_a_parameter_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    """It would otherwise be found by the first person whose film needs it."""
    with pytest.raises(ValueError, match="validation error"):
        a_param(**fields)


def test_a_models_entry_is_found_by_id_and_step() -> None:
    """Routes are checked per step."""
    assert load_catalog().get("local:piper", step=Step.AUDIO).title


def test_a_misspelt_model_gets_a_suggestion() -> None:
    """Nobody remembers whether it was kenburns or ken-burns."""
    with pytest.raises(UnknownModelError, match=r"no model is called 'local:kenburns'. Did you mean local:ken-burns"):
        load_catalog().get("local:kenburns", step=Step.VIDEO)


def test_a_name_like_no_other_gets_the_list() -> None:
    """A suggestion out of the blue misleads more than a list."""
    with pytest.raises(UnknownModelError, match=r"There are: .*local:landscape.*local:merge"):
        load_catalog().get("§")


def test_a_suggestion_serves_the_step_that_is_asked_for() -> None:
    """Offering a voice for a picture would cost the user another round."""
    with pytest.raises(UnknownModelError) as caught:
        load_catalog().get("local:pipe", step=Step.VIDEO)

    assert "local:ken-burns" in caught.value.message
    assert "piper" not in caught.value.message


def test_a_model_of_another_step_is_refused_with_those_that_fit() -> None:
    """The commonest slip is the right model in the wrong route."""
    with pytest.raises(UnknownModelError, match=r"local:piper makes the step audio, not image.*local:landscape"):
        load_catalog().get("local:piper", step=Step.IMAGE)


RETIRED = "openai:gpt-4o-mini-tts"


@pytest.mark.parametrize(
    ("days_before", "lifetime"),
    [(365, "alive"), (31, "alive"), (30, "retiring"), (1, "retiring"), (0, "retired"), (-1, "retired")],
)
def test_a_model_is_warned_about_for_thirty_days_and_then_refused(days_before: int, lifetime: str) -> None:
    """On the day of its end nobody knows the hour: it counts as gone."""
    spec = load_catalog().get(RETIRED)

    assert spec.retires == date(2027, 1, 6)
    assert spec.lifetime(date(2027, 1, 6) - timedelta(days=days_before)) == lifetime


def test_a_model_without_an_end_lives() -> None:
    """Only what a provider has announced is refused."""
    assert load_catalog().get("local:piper").lifetime(date(2099, 1, 1)) == "alive"


def test_voices_are_the_choices_of_the_voice_parameter() -> None:
    """Empty where any name is taken, or where nobody speaks."""
    catalog = load_catalog()

    assert len(catalog.get("fal:kokoro").voices) == 20
    assert "alloy" in catalog.get("openai:gpt-4o-mini-tts").voices
    assert catalog.get("elevenlabs:flash-v2.5").voices == ()
    assert catalog.get("local:landscape").voices == ()


@pytest.mark.parametrize(
    ("name", "params", "speed"),
    [
        ("openai:gpt-4o-mini-tts", {"speed": 0.25}, 0.25),
        ("openai:gpt-4o-mini-tts", {}, 1.0),
        ("fal:minimax-speech-2.6", {"voice_setting.speed": 2}, 2.0),
        ("local:silence", {"speed": 3}, 1.0),
        ("openai:gpt-4o-mini-tts", {"speed": 0}, 1.0),
        ("openai:gpt-4o-mini-tts", {"speed": "fast"}, 1.0),
        ("openai:gpt-4o-mini-tts", {"speed": True}, 1.0),
    ],
)
def test_the_speed_of_a_request_is_a_factor(name: str, params: dict[str, Scalar], speed: float) -> None:
    """Prices and the judge divide by it, also where a user's own entry allows what is none."""
    assert load_catalog().get(name).speed_of(params) == speed
