"""Files that attack their reader: a refusal with a reason, quickly, and never another exception."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.errors import PromptFileError
from media_assets.prompt_file import read_prompts, read_rows

HEX = "0x" + "f" * 6000
"""YAML reads it without limit, but Python refuses to write it in decimal."""


def refused(path: Path) -> str:
    """Return the message with which a file is refused; it must be one that can be printed."""
    with pytest.raises(PromptFileError) as caught:
        read_prompts(path)
    caught.value.message.encode()
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list as a field", "? [a]\n: b\nprompt: x"),
        ("mapping as a field", "? {a: 1}\n: b\nprompt: x"),
        ("no such truth", "prompt: !!bool maybe"),
        ("no such time", "prompt: !!timestamp soon"),
        ("empty integer", 'prompt: x\nseed: !!int ""'),
        ("empty float", 'prompt: x\nclip_s: !!float ""'),
        ("month 13", "prompt: 2026-13-45"),
        ("sexagesimal beyond floats", f"prompt: x\nseed: 1{':00' * 200}.0"),
        ("bits without digits", "prompt: x\nseed: 0b_"),
        ("set of a list", "!!set [a]"),
        ("map of a text", "prompt: !!map x"),
        ("bad base64", 'prompt: !!binary "é"'),
        ("bytes", 'prompt: !!binary "AAE="'),
        ("bytes beside a key", 'key: k\nprompt: !!binary "AAE="'),
        ("bytes as a script", 'prompt: x\nscript: !!binary "AAE="'),
        ("unknown anchor", "prompt: *nothing"),
        ("tabs", "prompt:\n\tx: y"),
        ("raw NUL", "prompt: a\0b"),
        ("alias of itself", "prompt: x\nparams: &a\n  video: *a"),
        ("list of itself", "prompt: x\nroutes: &a [*a]"),
        ("huge seed", f"prompt: x\nseed: {HEX}"),
        ("huge key", f"prompt: x\nkey: {HEX}"),
        ("huge prompt", f"prompt: {HEX}"),
        ("huge take", f"prompt: x\ntake: {HEX}"),
        ("huge size", f"prompt: x\nsize_px: [{HEX}, 4]"),
        ("huge length", f"prompt: x\nclip_s: {HEX}"),
        ("huge cap", f"prompt: x\nmax_cost_usd: {HEX}"),
        ("huge parameter", f"prompt: x\nparams: {{video: {{fps: {HEX}}}}}"),
        ("huge field name", f"prompt: x\n? {HEX}\n: 1"),
    ],
    ids=lambda value: value if "\n" not in value and len(value) < 30 else "",
)
def test_yaml_traps_are_refused(tmp_path: Path, name: str, content: str) -> None:
    """PyYAML raises what it likes for these; a sensor that dies of one file reads no other."""
    path = tmp_path / "f.yaml"
    path.write_text(content, encoding="utf-8")

    assert "f.yaml" in refused(path), name


@pytest.mark.parametrize(
    "content",
    [
        '{"prompt": "x", "seed": ' + "9" * 5000 + "}",
        '{"prompt": "x", "seed": ' + "9" * 4000 + "}",
        '{"prompt": "x", "clip_s": ' + "9" * 4000 + "}",
        '{"prompt": "x", "clip_s": 1e999}',
        '{"prompt": "x", "max_cost_usd": "1e999999999"}',
        '{"prompt": "x", "size_px": "' + "9" * 5000 + 'x10"}',
        '{"prompt": "x", "seed": ' + "1" * 100_000 + "}",
        '{"prompt": "x", "key": "\\ud800"}',
        '{"prompt": "x", "\\ud800": 1}',
        '{"prompt": "x", "\\ud800": 1, "\\ud800": 2}',
        '{"prompt": "x", "params": {"\\ud800": {"a": 1}}}',
        '{"prompt": "x", "take": {"\\ud800": 1}}',
        '{"prompt": "x", "fit": "\\ud800"}',
        '{"prompt": "\\ud83d"}',
    ],
    ids=lambda content: content[:40],
)
def test_json_traps_are_refused(tmp_path: Path, content: str) -> None:
    """Half a character or a number of 5000 digits must end in a message, not in a traceback."""
    path = tmp_path / "f.json"
    path.write_text(content, encoding="utf-8")

    assert "f.json" in refused(path)


@pytest.mark.parametrize(
    ("suffix", "depth"),
    [
        *((suffix, depth) for suffix in (".json", ".jsonl") for depth in (50, 200, 400, 600, 800, 980, 5000, 100_000)),
        *((".yaml", depth) for depth in (50, 200, 400, 600, 980, 5000)),
    ],
)
def test_deep_nesting_is_refused(tmp_path: Path, suffix: str, depth: int) -> None:
    """The parser and our own walk over the row give up at different depths; neither may end the process."""
    path = tmp_path / f"f{suffix}"
    path.write_text('{"prompt": "x", "params": ' + "[" * depth + "]" * depth + "}", encoding="utf-8")

    assert f"f{suffix}" in refused(path)


_LIMITED = """
import resource, sys
from pathlib import Path
from media_assets.errors import PromptFileError
from media_assets.prompt_file import read_prompts
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
try:
    read_prompts(Path(sys.argv[1]))
except PromptFileError as error:
    sys.exit(len(error.message) > 100_000)
sys.exit(3)
"""


@pytest.mark.parametrize("field", ["extra", "params", "prompt"])
def test_a_billion_laughs_are_refused_within_seconds_and_a_gigabyte(tmp_path: Path, field: str) -> None:
    """A kilobyte of aliases stands for 10^9 values; whoever can drop a file into the inbox could stop the service."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path = tmp_path / "f.yaml"
    path.write_text("\n".join(["prompt: x", *lines, f"{field}: *a8"][field == "prompt" :]), encoding="utf-8")

    done = subprocess.run([sys.executable, "-c", _LIMITED, str(path)], timeout=20, check=False, capture_output=True)

    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".jsonl", ".csv"])
@given(content=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    """Nothing but PromptFileError ever leaves the reader."""
    _read(tmp_path_factory, suffix, content)


_WORDS = [
    *(
        "prompt",
        "key",
        "script",
        "params",
        "take",
        "size_px",
        "seed",
        ": ",
        ":",
        "\n",
        "  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
    ),
    *(
        '"',
        "'",
        "&a",
        " *a",
        "!!int ",
        "!!bool ",
        "!!set ",
        "!!omap ",
        "!!float ",
        "<<",
        "?",
        "|",
        ">",
        "---\n",
        "#",
        "=",
    ),
    *(
        "0x",
        "1:00",
        "2026-01-01",
        "null",
        "true",
        "yes",
        "\\ud800",
        "NaN",
        "1e999",
        "x",
        "é",
        "\0",
        "\r",
        "\u2028",
        "%",
    ),
]


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".jsonl", ".csv"])
@given(words=st.lists(st.sampled_from(_WORDS), max_size=40))
@settings(max_examples=200, deadline=None)
def test_pieces_of_syntax_in_any_order_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, words: list[str]
) -> None:
    """Random bytes rarely come past the first character; these reach the constructors and the validators."""
    _read(tmp_path_factory, suffix, "".join(words).encode())


def _read(tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        rows = read_rows(path)
    except PromptFileError as error:
        str(error).encode()
        return
    for row in rows:
        assert (row.prompt is None) == bool(row.problems)
        "\n".join(map(str, row.problems)).encode()
        if row.prompt is not None:
            assert len(row.prompt.digest) == 64
