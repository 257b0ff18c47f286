"""The catalog: what ships is whole, and what breaks the schema is named with file and field."""

import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from media_assets import catalog
from media_assets.catalog import Catalog, ModelSpec, ParamSpec, Recovery, load_catalog
from media_assets.errors import CatalogError, UnknownModelError
from media_assets.prompt import Scalar, Step
from media_assets.providers.local import LocalAdapter
from media_assets.providers.transport import ADAPTERS
from media_assets.request import GenerationRequest

MODELS = list(load_catalog())
SHIPPED = resources.files("media_assets.catalog") / "data"
INPUT_ROLES = {"image", "video", "audio"}
ROLES = INPUT_ROLES | {"prompt", "script", "seed", "width", "height", "length", "caption", "voice", "speed", "fit"}


def a_param(**fields: Any) -> ParamSpec:
    """Return a parameter with what every one has."""
    return ParamSpec.model_validate({"about": "for a test", **fields})


def _data_files() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in SHIPPED.iterdir():
        if file.name.endswith(".toml"):
            yield file.name, tomllib.loads(file.read_text(encoding="utf-8"))


def test_built_in_models_are_there() -> None:
    """Their names are an interface: users write them in routes."""
    expected = {"local:landscape", "local:ken-burns", "local:piper", "local:silence", "local:merge"}

    assert expected <= {spec.id for spec in MODELS}


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

    def test_its_provider_has_an_adapter(self, spec: ModelSpec) -> None:
        """A model nobody can ask fails after the plan said yes."""
        assert spec.provider in ADAPTERS

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

    def test_it_has_a_price_with_a_source(self, spec: ModelSpec) -> None:
        """A figure without a source is a rumour."""
        assert spec.source
        assert spec.title
        for row in spec.price:
            assert row.usd >= 0
            assert row.source

    def test_its_limits_make_sense(self, spec: ModelSpec) -> None:
        """A default outside the model's own range would fail every plan."""
        assert spec.run_deadline_s > 0
        if spec.length_s is not None:
            assert 0 < spec.length_s.min <= spec.length_s.default <= spec.length_s.max

    def test_free_recovery_is_for_free_models_only(self, spec: ModelSpec) -> None:
        """What is done again after a crash must cost nothing, or it is paid for twice."""
        if spec.recovery is Recovery.FREE:
            assert [row.usd for row in spec.price if row.usd] == []


def test_every_local_model_can_be_called() -> None:
    """The catalog names an endpoint, the adapter a function: a slip shows only when somebody waits for a film."""
    for spec in MODELS:
        if spec.provider == "local":
            request = GenerationRequest(
                step=spec.step, provider="local", model=spec.id, endpoint=spec.endpoint, version="1", params={}
            )
            assert LocalAdapter().submit_call(request)


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


ENTRY = (SHIPPED / "local.toml").read_text(encoding="utf-8").partition('[[model]]\nid = "local:ken-burns"')[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('step = "image"', 'step = "picture"', r"bad\.toml: model\.0\.step: "),
        ("run_deadline_s = 300\n", "", r"bad\.toml: model\.0\.run_deadline_s: Field required"),
        ('usd = "0"', "usd = 0.0", r"bad\.toml: model\.0\.price\.0\.usd: "),
        ('usd = "0"', 'usd = "free"', r"bad\.toml: model\.0\.price\.0\.usd: "),
        ('per = "request"', 'per = "smile"', r"bad\.toml: model\.0\.price\.0\.per: "),
        ("own_word = true", 'own_word = true\nnote = "x"', r"bad\.toml: model\.0\.price\.0\.note: Extra"),
        ('provider = "local"', 'supplier = "local"', r"bad\.toml: provider: Field required"),
        ('recovery = "free"', 'recovery = "E"', r"bad\.toml: model\.0\.recovery: "),
        ('title = "', "title = ", r"bad\.toml is not TOML: .*line"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Users add their own files: "validation error" alone would cost them an evening."""
    assert old in ENTRY
    file = tmp_path / "bad.toml"
    file.write_text(ENTRY.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(CatalogError, match=message):
        catalog._read(file)


def test_every_fault_of_a_file_is_named_at_once(tmp_path: Path) -> None:
    """One run, all faults."""
    file = tmp_path / "bad.toml"
    file.write_text(ENTRY.replace('step = "image"', 'step = "x"').replace('per = "request"', 'per = "x"'))

    with pytest.raises(CatalogError, match=r"(?s)model\.0\.step.*model\.0\.price\.0\.per"):
        catalog._read(file)


@pytest.mark.parametrize("usd", ['"-1"', '"NaN"', '"Infinity"'])
def test_a_price_is_a_finite_amount(tmp_path: Path, usd: str) -> None:
    """A negative price would make room under every cap."""
    file = tmp_path / "bad.toml"
    file.write_text(ENTRY.replace('usd = "0"', f"usd = {usd}"), encoding="utf-8")

    with pytest.raises(CatalogError, match="usd"):
        catalog._read(file)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    """Guards the table above: the entry it breaks is whole before it is broken."""
    file = tmp_path / "good.toml"
    file.write_text(ENTRY, encoding="utf-8")

    assert [spec.id for spec in Catalog(catalog._read(file))] == ["local:landscape"]
