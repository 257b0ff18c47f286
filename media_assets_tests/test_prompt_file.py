"""Reading prompts: four formats, every fault with file, row and field, and any text unchanged."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.errors import PromptFileError
from media_assets.prompt import Prompt, Step
from media_assets.prompt_file import FILE_MAX_BYTES, read_prompts, read_rows, validate_prompt

SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".ndjson", ".csv")
TEXTS = {
    "emoji": "a lighthouse 🗼 with 👩‍🚒 and 🇬🇷",
    "right to left": "منارة عند الغسق \u200f(שלום)\u202e!",
    "quotes": """it's "off", «там», `here` and \\back\\slash\\""",
    "percent": '100% "off" %{n} %(key)s {key} ${HOME}',
    "filter": "drawtext=text='x':fontfile=/etc/passwd,[0:v]scale=1:-1;\\:",
    "lines": "one\ntwo\n\n\tthree",
    "yaml traps": "key: value # no comment - [a, {b: c}] & *d ! |",
    "looks like another type": "2026-01-01",
    "looks like a number": "007",
    "looks like no": "no",
    "combining": "e\u0301 ﬁ Å",
    "line separators": "a\u2028b\u2029c",
    "far planes": "𝒜𝒷 \U0010fffd",
}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows in the format that the file's ending names; values of a CSV row are texts."""
    kind = path.suffix
    if kind in {".yaml", ".yml"}:
        text = yaml.safe_dump(rows, allow_unicode=True, sort_keys=False)
    elif kind == ".json":
        text = json.dumps(rows, ensure_ascii=False, indent=1)
    elif kind == ".csv":
        buffer = io.StringIO(newline="")
        writer = csv.DictWriter(buffer, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(text.encode())
    return path


def faults(path: Path, content: str | bytes | None = None) -> list[tuple[str, str, str]]:
    """Return (where, field, message) of every problem of a file that must be refused."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PromptFileError) as caught:
        read_prompts(path)
    assert all(str(problem) in caught.value.message for problem in caught.value.problems)
    return [(problem.where, problem.field, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestEveryFormat:
    """What holds for YAML, JSON, JSONL and CSV alike."""

    def test_rows_come_in_order(self, tmp_path: Path, suffix: str) -> None:
        """Results are printed in input order, so that scripts can pair them."""
        path = write(tmp_path / f"a{suffix}", [{"key": f"k{n}", "prompt": f"p{n}"} for n in range(5)])

        assert [(one.key, one.prompt) for one in read_prompts(path)] == [(f"k{n}", f"p{n}") for n in range(5)]

    @pytest.mark.parametrize("name", TEXTS)
    def test_text_goes_through_unchanged(self, tmp_path: Path, suffix: str, name: str) -> None:
        """User text is data: no format may bend it, and nothing is to be escaped by hand."""
        text = TEXTS[name]
        path = write(tmp_path / f"a{suffix}", [{"key": "k", "prompt": text, "script": text, "caption": text}])

        (prompt,) = read_prompts(path)

        assert (prompt.prompt, prompt.script, prompt.caption) == (text, text, text)

    def test_a_byte_order_mark_is_not_part_of_the_first_field(self, tmp_path: Path, suffix: str) -> None:
        """Excel writes one into every CSV it saves as UTF-8."""
        path = write(tmp_path / f"a{suffix}", [{"prompt": "x"}])
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())

        assert read_prompts(path)[0].prompt == "x"

    def test_windows_line_ends_change_nothing(self, tmp_path: Path, suffix: str) -> None:
        """The same file from another editor must not be a second film."""
        path = write(tmp_path / f"a{suffix}", [{"prompt": "x", "script": "one"}, {"prompt": "y", "script": "two"}])
        before = read_prompts(path)
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

        assert read_prompts(path) == before

    def test_a_key_used_twice_is_a_fault_of_the_later_row(self, tmp_path: Path, suffix: str) -> None:
        """The second would silently overwrite the first one's film."""
        rows = [{"key": "a", "prompt": "x"}, {"key": "b", "prompt": "y"}, {"key": "a", "prompt": "z"}]
        ((where, field, message),) = faults(write(tmp_path / f"f{suffix}", rows))

        assert where in {f"f{suffix}, row 3", f"f{suffix}, line 3"}
        assert field == "key"
        assert "'a' is already used by" in message
        assert message.split("by ")[1].split(";")[0] == where.replace("3", "1")

    def test_equal_rows_without_keys_are_told_from_each_other(self, tmp_path: Path, suffix: str) -> None:
        """Their derived keys are equal, so one of them was a slip."""
        ((_, field, message),) = faults(write(tmp_path / f"f{suffix}", [{"prompt": "x"}, {"prompt": "x"}]))

        assert (field, "already used" in message) == ("key", True)

    def test_every_fault_of_a_file_is_named_with_row_and_field(self, tmp_path: Path, suffix: str) -> None:
        """Ten faults are one round of corrections, not ten."""
        rows = [
            {"key": "a", "prompt": "good", "seed": "1"},
            {"key": "B", "prompt": "x", "seed": "-1"},
            {"key": "c", "prompt": " ", "promt": "x"},
        ]
        found = faults(write(tmp_path / f"f{suffix}", rows))

        assert [(where.split(" ")[-1], field) for where, field, _ in found] == [
            ("2", "key"),
            ("2", "seed"),
            ("3", "prompt"),
            ("3", "promt"),
        ]

    def test_good_rows_are_kept_apart_from_bad_ones(self, tmp_path: Path, suffix: str) -> None:
        """A batch sets bad rows aside and goes on with the others."""
        rows = read_rows(write(tmp_path / f"f{suffix}", [{"key": "a", "prompt": "x"}, {"key": "b", "prompt": " "}]))

        assert [(row.prompt is None, len(row.problems)) for row in rows] == [(False, 0), (True, 1)]

    @pytest.mark.parametrize("content", ["", "\n", "\ufeff", "  \n\n"])
    def test_an_empty_file_is_refused(self, tmp_path: Path, suffix: str, content: str) -> None:
        """A batch of nothing that reports success hides a failed export."""
        ((where, _, _),) = faults(tmp_path / f"f{suffix}", content)

        assert where.endswith(f"f{suffix}")

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe", "prompt: é".encode("latin-1"), '{"prompt": "é"}'.encode("utf-16")]
    )
    def test_other_encodings_are_refused(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        """Guessing an encoding would put mojibake into a paid film."""
        ((_, _, message),) = faults(tmp_path / f"f{suffix}", content)

        assert "is not UTF-8 text (byte" in message

    def test_a_missing_file_and_a_folder_are_named(self, tmp_path: Path, suffix: str) -> None:
        """The path is the first thing that is wrong with a file."""
        (tmp_path / f"folder{suffix}").mkdir()

        for name in (f"missing{suffix}", f"folder{suffix}"):
            ((where, _, message),) = faults(tmp_path / name)
            assert where == str(tmp_path / name)
            assert "cannot be read" in message

    def test_a_huge_file_is_refused_unread(self, tmp_path: Path, suffix: str) -> None:
        """A video that was named by mistake must not fill the memory."""
        path = tmp_path / f"f{suffix}"
        with path.open("wb") as file:
            file.truncate(FILE_MAX_BYTES + 1)

        ((_, _, message),) = faults(path)

        assert "is larger than 64 MiB" in message


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({}, "prompt", "is missing"),
        ({"prompt": ""}, "prompt", "is empty"),
        ({"prompt": " \n\t "}, "prompt", "is only blank space"),
        ({"prompt": "a\0b"}, "prompt", "holds NUL"),
        ({"prompt": "a\x1bb"}, "prompt", "holds the control character U+001B"),
        ({"prompt": "a\x85b"}, "prompt", "holds the control character U+0085"),
        ({"prompt": "a\ud800b"}, "prompt", "lone surrogate (U+D800)"),
        ({"prompt": "x" * 4001}, "prompt", "4000"),
        ({"script": "x" * 20_001}, "script", "20000"),
        ({"caption": "x" * 301}, "caption", "300"),
        ({"script": ""}, "script", "is empty"),
        ({"caption": "a\0"}, "caption", "holds NUL"),
        ({"voice": "\x07"}, "voice", "control character"),
        ({"motion": " "}, "motion", "only blank"),
        ({"prompt": 5}, "prompt", "string"),
        ({"prompt": ["x"]}, "prompt", "string"),
        ({"seed": -1}, "seed", "greater than or equal to 0"),
        ({"seed": 2**32}, "seed", "4294967295"),
        ({"seed": 1.5}, "seed", "integer"),
        ({"seed": True}, "seed", "is true or false"),
        ({"size_px": [63, 512]}, "size_px.0", "64"),
        ({"size_px": [512, 4097]}, "size_px.1", "4096"),
        ({"size_px": "512"}, "size_px", "WIDTHxHEIGHT"),
        ({"size_px": [512]}, "size_px.1", "is missing"),
        ({"size_px": [True, 512]}, "size_px.0", "true or false"),
        ({"clip_s": 0}, "clip_s", "greater than 0"),
        ({"clip_s": 301}, "clip_s", "300"),
        ({"clip_s": True}, "clip_s", "true or false"),
        ({"fit": "squash"}, "fit", "hold"),
        ({"take": -1}, "take", ""),
        ({"take": True}, "take", "true or false"),
        ({"take": {"video": True}}, "take.video", "true or false"),
        ({"take": {"sound": 1}}, "take.sound", "audio"),
        ({"params": {"sound": {}}}, "params.sound", "audio"),
        ({"params": {"video": 5}}, "params.video", "dictionary"),
        ({"routes": {"video": []}}, "routes.video", "at least 1"),
        ({"routes": {"video": "local:ken-burns"}}, "routes.video", "list"),
        ({"max_cost_usd": -1}, "max_cost_usd", "greater than or equal to 0"),
        ({"max_cost_usd": "much"}, "max_cost_usd", "decimal"),
        ({"max_cost_usd": "NaN"}, "max_cost_usd", "finite"),
        ({"max_cost_usd": True}, "max_cost_usd", "true or false"),
        ({"Prompt": "x"}, "Prompt", "is not a field of a prompt. The fields are: key, prompt, script"),
    ],
    ids=ascii,
)
def test_a_bad_field_is_refused_with_its_reason(row: dict[str, Any], field: str, message: str) -> None:
    """The message is all that somebody with a spreadsheet of 200 rows has to go by."""
    whole = row if row == {} else {"prompt": "x", **row}

    with pytest.raises(PromptFileError) as caught:
        validate_prompt("row 7", whole)

    found = {problem.field: problem for problem in caught.value.problems}
    assert field in found
    assert found[field].where == "row 7"
    assert message in found[field].message
    str(caught.value).encode()  # a message that cannot be printed says nothing


def test_a_missing_prompt_is_one_fault() -> None:
    """The key is derived from the prompt: naming it too sends people looking for a field they need not give."""
    with pytest.raises(PromptFileError) as caught:
        validate_prompt("row 1", {"script": "x"})

    assert [problem.field for problem in caught.value.problems] == ["prompt"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.yaml", "prompt: x\nprompt: y\n", "line 2, column 1: the field 'prompt' is given twice"),
        ("f.yaml", "prompt: x\nparams:\n  video: {a: 1, a: 2}\n", "line 3, column 17: the field 'a' is given twice"),
        ("f.json", '{"prompt": "x", "prompt": "y"}', "the field 'prompt' is given twice"),
        ("f.json", '{"prompt": "x", "params": {"video": {"a": 1, "a": 2}}}', "the field 'a' is given twice"),
        ("f.jsonl", '{"prompt": "x", "prompt": "y"}', "the field 'prompt' is given twice"),
        ("f.csv", "prompt,prompt\nx,y\n", "a column is named twice"),
        ("f.csv", "prompt, prompt\nx,y\n", "twice"),
        ("f.csv", "prompt,take,take.video\nx,1,2\n", "contradict"),
        ("f.csv", "prompt,take.video,take\nx,1,2\n", "contradict"),
        ("f.csv", 'prompt\n"x', "unexpected end of data"),
        ("f.csv", "prompt\nx,y\n", "1 more cells than the heading has columns"),
        ("f.csv", "prompt;script\nx;y\n", "prompt;script: is not a field"),
        ("f.yaml", "prompt: [x\n", "line 2, column 1"),
        ("f.yaml", "prompt: x: y\n", "line 1, column 10"),
        ("f.yaml", "just a text\n", "is a text, but a prompt is a mapping"),
        ("f.yaml", "- prompt: x\n- 5\n", "row 2: is a number, but"),
        ("f.yaml", "prompt: x\n---\n- prompt: ' '\n", "document 2, row 1: prompt: is only blank"),
        ("f.yaml", "prompt: 2026-01-01\n", "prompt: Input should be a valid string"),
        (
            "f.yaml",
            "prompt: x\nscript: no\n",
            "put it in quotes if it is text (it is False)",
        ),
        ("f.yaml", "prompt: x\nkey: yes\n", "key: "),
        ("f.yaml", "prompt: x\nseed: on\n", "seed: is true or false, but a number is wanted"),
        ("f.yaml", "prompt: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        ("f.json", "[]", "holds no prompt"),
        ("f.json", "null", "is empty"),
        ("f.json", '{"prompt": "x"', "line 1 column 15"),
        ("f.json", '{"prompt": "x", "clip_s": NaN}', "clip_s: Input should be a finite number"),
        ("f.jsonl", '{"prompt": "x"}\n{oops}\n[1]\n', "line 2: is not well-formed JSON"),
        ("f.jsonl", '{"prompt": "x"}\n{oops}\n[1]\n', "line 3: is a list"),
        ("f.txt", "prompt: x", "has the ending '.txt'; prompts are read from .yaml, .yml, .json"),
        ("f", "prompt: x", "has the ending ''"),
    ],
    ids=ascii,
)
def test_a_malformed_file_is_refused_with_the_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    """A silent last-one-wins would make the film that nobody asked for."""
    assert message in "\n".join(": ".join(part for part in fault if part) for fault in faults(tmp_path / name, content))


def test_a_csv_has_nested_fields_by_dots(tmp_path: Path) -> None:
    """A spreadsheet can say everything a YAML file can."""
    path = tmp_path / "f.csv"
    path.write_text(
        "prompt,size_px,seed,take.video,params.video.fps,routes.image,script\n"
        'x,640x480,4,2,30,"fal:flux-dev, local:landscape",\n'
    )

    (prompt,) = read_prompts(path)

    assert prompt == Prompt(
        key=prompt.key,
        prompt="x",
        size_px=(640, 480),
        seed=4,
        take={Step.VIDEO: 2},
        params={Step.VIDEO: {"fps": "30"}},
        routes={Step.IMAGE: ["fal:flux-dev", "local:landscape"]},
    )


def test_yaml_documents_and_lists_can_be_mixed(tmp_path: Path) -> None:
    """One file a film, or one file a season."""
    path = tmp_path / "f.yaml"
    path.write_text("# season 1\nprompt: a\n---\n- prompt: b\n- prompt: c\n---\n")

    assert [one.prompt for one in read_prompts(path)] == ["a", "b", "c"]


def test_yaml_anchors_share_fields_between_rows(tmp_path: Path) -> None:
    """Merge keys are how a YAML user avoids writing one size forty times."""
    path = tmp_path / "f.yaml"
    path.write_text("- &first {prompt: a, seed: 4}\n- <<: *first\n  prompt: b\n")

    assert [(one.prompt, one.seed) for one in read_prompts(path)] == [("a", 4), ("b", 4)]


def test_derived_keys_are_the_same_in_every_format(tmp_path: Path) -> None:
    """Moving from YAML to JSON must not make every film again."""
    row = {"prompt": "маяк at dusk", "script": "x"}

    keys = {read_prompts(write(tmp_path / f"f{suffix}", [row]))[0].key for suffix in SUFFIXES}

    assert len(keys) == 1


@given(text=st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_refused_or_goes_through_unchanged(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """There is no third way: a text that arrives changed makes, and pays for, another film."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"prompt": text, "script": text}))

    (row,) = read_rows(path)
    if row.prompt is None:
        assert {problem.field for problem in row.problems} <= {"prompt", "script"}
        return
    prompt = row.prompt

    expected = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    assert (prompt.prompt, prompt.script) == (expected, expected)
    for suffix in (".yaml", ".csv", ".jsonl"):
        other = write(path.with_suffix(suffix), [{"prompt": expected, "script": expected}])
        assert [(one.prompt, one.script) for one in read_prompts(other)] == [(expected, expected)]
