"""Catalog files, a user's own above all: every fault is named, with file, line and field, and a good one is used."""

import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import load_catalog
from media_assets.catalog.lines import line_of
from media_assets.catalog.reading import read_folder
from media_assets.errors import CatalogError
from media_assets.prompt import Step

ENTRY = """\
provider = "fal"
pricing_url = ""

[[model]]
id = "fal:mine"
title = "a model of mine"
step = "video"
endpoint = "me/mine"
version = "1"
recovery = "B"
run_deadline_s = 60
source = "me"
checked = 2026-11-24
length_s = { default = 5, min = 5, max = 10, choices = [5, 10] }

[model.roles]
image = "image_url"
length = "duration"

[model.params.duration]
type = "string"
default = "5"
enum = ["5", "10"]
about = "seconds"

[model.params.resolution]
type = "string"
default = "720p"
enum = [
    "480p",
    "720p",
]
about = \"\"\"
[not.a.header]
key = 1
\"\"\"

[model.accepts.image]
mimes = ["image/png"]
max_bytes = 1000

[[model.price]]
from = 2026-01-01
source = "me"
own_word = true
part = [
    { usd = "0.1", per = "request", when = { resolution = "480p" } },
    { usd = "0.2", per = "request", when = { resolution = "720p" } },
]
"""


def a_folder(tmp_path: Path, **files: str) -> Path:
    """Return a folder with these catalog files."""
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
    return tmp_path


def line(text: str, part: str) -> int:
    """Return the line on which something stands."""
    return text[: text.index(part)].count("\n") + 1


def test_a_good_file_adds_its_models(tmp_path: Path) -> None:
    """The same form as what ships, and beside it."""
    catalog = load_catalog(a_folder(tmp_path, mine=ENTRY))

    assert catalog.get("fal:mine", step=Step.VIDEO).title == "a model of mine"
    assert catalog.get("local:piper")
    assert "fal:mine" not in {spec.id for spec in load_catalog()}


def test_a_known_id_takes_the_shipped_models_place(tmp_path: Path) -> None:
    """A user's price is his own."""
    shipped = (resources.files("media_assets.catalog") / "data" / "elevenlabs.toml").read_text(encoding="utf-8")
    folder = a_folder(tmp_path, cheaper=shipped.replace('usd = "0.0001"', 'usd = "0.00001"'))

    prices = {spec.id: str(spec.price[0].usd) for spec in load_catalog(folder) if spec.provider == "elevenlabs"}

    assert prices == {"elevenlabs:multilingual-v2": "0.00001", "elevenlabs:flash-v2.5": "0.00005"}


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    """Notes and backups lie beside the files."""
    (tmp_path / "notes.txt").write_text("not TOML [", encoding="utf-8")
    (tmp_path / "mine.toml.bak").write_text("not TOML [", encoding="utf-8")

    assert read_folder(a_folder(tmp_path, mine=ENTRY))


WHERE = {
    "run_deadline_s": "[[model]]",
    "params.resolution": "[model.params.resolution]",
    "own_word": "[[model.price]]",
    "part.0.usd": "part = [",
    "model.0": "[[model]]",
}
"""On which line a fault of a field is named, where that is not the line with the fault."""


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ('step = "video"', 'step = "clip"', "model.0.step", "Input should be 'image', 'video'"),
        ("run_deadline_s = 60\n", "", "model.0.run_deadline_s", "Field required"),
        ("checked = 2026-11-24", 'checked = "soon"', "model.0.checked", "valid date"),
        ('recovery = "B"', 'recovery = "E"', "model.0.recovery", "Input should be"),
        ('id = "fal:mine"', 'id = "fal:my model"', "model.0.id", "match pattern"),
        ('id = "fal:mine"', 'id = "replicate:mine"', "model.0.id", "replicate:mine is not a model of fal"),
        ("length_s = { default = 5", "length_s = { default = 7", "model.0.length_s", "one of the choices"),
        ('default = "720p"', 'default = "1080p"', "model.0.params.resolution", "must be one of 480p, 720p"),
        ('enum = ["5", "10"]', 'choices = ["5", "10"]', "model.0.params.duration.choices", "Extra inputs"),
        ("max_bytes = 1000", "max_bytes = -1", "model.0.accepts.image.max_bytes", "greater than 0"),
        ("from = 2026-01-01", "from = 2026-13-01", "", "is not TOML: .*line"),
        ('usd = "0.1"', "usd = 0.1", "model.0.price.0.part.0.usd", "must be a text such as"),
        ('usd = "0.1"', 'usd = "-0.1"', "model.0.price.0.part.0.usd", "greater than or equal to 0"),
        ('usd = "0.1"', 'usd = "NaN"', "model.0.price.0.part.0.usd", "finite"),
        ("own_word = true", "", "model.0.price.0.own_word", "Field required"),
        ('when = { resolution = "480p" }', "when = { size = 1 }", "model.0", "there is no parameter 'size'"),
        ('when = { resolution = "480p" }', 'when = { resolution = "4k" }', "model.0", "resolution must be one of"),
        ('when = { resolution = "480p" }', 'when = { resolution = "720p" }', "model.0", "no price for resolution 480p"),
        ('title = "', "title = ", "", "is not TOML: .*line"),
    ],
)
def test_a_fault_is_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, field: str, message: str
) -> None:
    """Users write these files: "validation error" alone would cost them an evening."""
    text = ENTRY.replace(old, new, 1)
    wrong = next((part for name, part in WHERE.items() if field.endswith(name)), new)

    with pytest.raises(CatalogError) as caught:
        read_folder(a_folder(tmp_path, bad=text))

    assert re.search(
        rf"(?m)^  bad\.toml, line {line(text, wrong)}: {re.escape(field)}.*{message}", caught.value.message
    )


def test_a_misspelt_provider_gets_the_list(tmp_path: Path) -> None:
    """Its models could never be asked."""
    text = ENTRY.replace('"fal"', '"fall"').replace("fal:mine", "fall:mine")

    with pytest.raises(
        CatalogError, match=r"bad\.toml, line 1: provider: nobody knows 'fall'\. There are: local, replicate, fal, "
    ):
        read_folder(a_folder(tmp_path, bad=text))


def test_every_fault_of_every_file_is_named_at_once(tmp_path: Path) -> None:
    """One run, all faults."""
    first = ENTRY.replace('step = "video"', 'step = "x"').replace("max_bytes = 1000", 'max_bytes = "x"')
    folder = a_folder(tmp_path, a=first, b="[", c=ENTRY, d=ENTRY.replace("checked", "chequed"))

    with pytest.raises(CatalogError) as caught:
        read_folder(folder)

    named = re.findall(r"(?m)^  (\w\.toml), line (\d+): ([\w.]*)", caught.value.message)
    assert named == [
        ("a.toml", "7", "model.0.step"),
        ("a.toml", str(line(ENTRY, "max_bytes")), "model.0.accepts.image.max_bytes"),
        ("b.toml", "1", "is"),
        ("d.toml", "4", "model.0.checked"),
        ("d.toml", "13", "model.0.chequed"),
    ]


def test_a_model_that_is_written_down_twice_is_refused(tmp_path: Path) -> None:
    """Which price holds would depend on the names of the files."""
    folder = a_folder(tmp_path, a=ENTRY, b=ENTRY)

    with pytest.raises(CatalogError, match=r"b\.toml, line 5: model\.0\.id: fal:mine is written down twice"):
        read_folder(folder)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """A file saved in another encoding."""
    (tmp_path / "latin.toml").write_bytes('title = "Grüße"'.encode("latin-1"))

    with pytest.raises(CatalogError, match=r"latin\.toml: cannot be read: .*utf-8"):
        read_folder(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A misspelt setting must not silently mean no models."""
    with pytest.raises(CatalogError, match=r"the catalog folder .*nowhere cannot be read: No such file"):
        load_catalog(tmp_path / "nowhere")


def test_a_file_without_models_adds_none(tmp_path: Path) -> None:
    """The beginning of a file is no fault."""
    assert read_folder(a_folder(tmp_path, empty='provider = "fal"\npricing_url = ""\nmodel = []\n')) == ()


class TestLines:
    """Where something stands in a TOML text."""

    @pytest.mark.parametrize(
        ("path", "stands"),
        [
            (("provider",), 'provider = "fal"'),
            (("model", 0), "[[model]]"),
            (("model", 0, "title"), "title = "),
            (("model", 0, "length_s", "default"), "length_s = "),
            (("model", 0, "params", "resolution"), "[model.params.resolution]"),
            (("model", 0, "params", "resolution", "enum", 1), 'enum = [\n    "480p"'),
            (("model", 0, "params", "resolution", "about"), 'about = """'),
            (("model", 0, "price", 0, "from"), "from = "),
            (("model", 0, "price", 0, "part", 1, "usd"), "part = ["),
            (("model", 0, "nothing", "of", "this"), "[[model]]"),
        ],
    )
    def test_a_path_is_found(self, path: tuple[str | int, ...], stands: str) -> None:
        """Inside a list or an inline table, at the key that holds it; what is missing, at the table around it."""
        assert line_of(ENTRY, path) == line(ENTRY, stands)

    def test_items_of_lists_are_counted(self) -> None:
        """The second model's second price is not the first's first."""
        text = '[[a]]\n[[a.b]]\nc = 1\n[[a.b]]\nc = 2\n\n[[a]]\n[[a.b]]\nc = 3\n[[a.b]]\n"c" = 4\n'

        found = [line_of(text, ("a", model, "b", price, "c")) for model in (0, 1) for price in (0, 1)]
        assert found == [3, 5, 9, 11]

    def test_dotted_and_quoted_keys_are_read(self) -> None:
        """A parameter named ``a.b`` is one word; ``a.b = 1`` is two."""
        text = '[m."a.b"]\nx.y = 1\n'

        assert line_of(text, ("m", "a.b")) == 1
        assert line_of(text, ("m", "a.b", "x", "y")) == 2
        assert line_of(text, ("m", "a")) == 1

    @pytest.mark.parametrize(
        "value", ['"""\n[[m]]\nname = 1\n"""', '[\n["x"],\n]', "[ # one [\n]", '[\n"]",\n["x"]\n]']
    )
    def test_what_a_value_holds_is_no_key(self, value: str) -> None:
        """A text or a list over several lines may hold what looks like a header."""
        text = f"[[m]]\nlong = {value}\nname = 2\n"

        assert line_of(text, ("m", 0, "name")) == text.count("\n")

    def test_every_key_of_what_ships_is_found_where_it_stands(self) -> None:
        """The scan is no parser, but it must agree with one on the files as they are written."""
        folder = resources.files("media_assets.catalog") / "data"
        for file in folder.iterdir():
            if file.name.endswith(".toml"):
                text = file.read_text(encoding="utf-8")
                lines = text.splitlines()
                for path in _leaves(tomllib.loads(text)):
                    found = lines[line_of(text, path) - 1]
                    assert found.startswith((f"{path[-1]} =", f'"{path[-1]}" =')) or "= {" in found or "= [" in found, (
                        path
                    )


def _leaves(data: Any, around: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every single value."""
    if isinstance(data, dict | list):
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(value, (*around, name))
    else:
        yield around
