"""Options become prompts, and every fault of the command line is told at once."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.cli.asked import Asked, read_asked, steps_of
from media_assets.errors import PromptFileError
from media_assets.prompt import Fit, Prompt, Step
from media_assets.prompt_file import read_prompts


def _ask(prompt: str | None = "a boat", **options: Any) -> Asked:
    lists = {name: options.pop(name) for name in ("takes", "routes", "params", "file") if name in options}
    return Asked(fields={"prompt": prompt, **options}, **lists)


def _one(asked: Asked) -> Prompt:
    (prompt,) = read_asked(asked)
    return prompt


def _faults(asked: Asked) -> str:
    with pytest.raises(PromptFileError) as caught:
        read_asked(asked)
    return str(caught.value)


def _file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_every_option_reaches_its_field() -> None:
    """An option that is read and then dropped makes a film nobody asked for."""
    prompt = _one(
        _ask(
            key="boat",
            script="Hello.",
            motion="drift",
            caption="A boat",
            voice="joe",
            seed="7",
            size_px="640x512",
            clip_s="2.5",
            fit="loop",
            max_cost_usd="1.25",
            takes=["video=3"],
            routes=["audio=local:piper, local:silence"],
            params=["video.fps=12", "video.zoom=1.5"],
        )
    )

    assert prompt == Prompt(
        key="boat",
        prompt="a boat",
        script="Hello.",
        motion="drift",
        caption="A boat",
        voice="joe",
        seed=7,
        size_px=(640, 512),
        clip_s=2.5,
        fit=Fit.LOOP,
        take={Step.VIDEO: 3},
        params={Step.VIDEO: {"fps": 12, "zoom": 1.5}},
        routes={Step.AUDIO: ["local:piper", "local:silence"]},
        max_cost_usd=Decimal("1.25"),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("1.5", 1.5),
        ("007", "007"),
        ("1e400", "1e400"),
        ("true", "true"),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_set_reads_numbers_only_where_nothing_is_lost(text: str, value: object) -> None:
    """A voice called 007 must not become voice 7."""
    prompt = _one(_ask(params=[f"audio.voice={text}"]))

    assert prompt.params[Step.AUDIO]["voice"] == value
    assert type(prompt.params[Step.AUDIO]["voice"]) is type(value)


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        (["2"], [2, 2, 2, 2]),
        (["video=3"], [0, 3, 0, 0]),
        (["2", "video=3"], [2, 3, 2, 2]),
        (["video=3", "2"], [2, 3, 2, 2]),
        (["image=1", "audio=4"], [1, 0, 4, 0]),
    ],
)
def test_takes_for_all_steps_and_for_one(takes: list[str], expected: list[int]) -> None:
    """A take buys again: which step it is for must not hang on the order of options."""
    prompt = _one(_ask(takes=takes))

    assert [prompt.take_of(step) for step in Step] == expected


def test_one_take_for_all_is_what_a_file_writes() -> None:
    """The command line and a file that ask for the same thing must be the same prompt, key included."""
    prompt = _one(_ask(takes=["2"], seed="5"))

    assert prompt == Prompt.model_validate({"prompt": "a boat", "take": 2, "seed": 5})


def test_all_faults_are_told_in_one_error() -> None:
    """Whoever mends one fault should not be told of the next one only then."""
    told = _faults(
        _ask(
            size_px="huge",
            seed="x",
            clip_s="nan",
            fit="squeeze",
            takes=["one", "video=1", "video=2", "film=1", "-1"],
            routes=["image", "image=", "music=x", "audio=a", "audio=b"],
            params=["fps=1", "film.x=1", "video.=2", "video.fps=1", "video.fps=2"],
        )
    )

    for part in (
        "--size: is not WIDTHxHEIGHT",
        "--seed: ",
        "--clip-s: ",
        "--fit: ",
        "--take: 'one' is not N or STEP=N",
        "--take: '-1' is not N or STEP=N",
        "--take: the take of video is given twice",
        "--take: there is no step 'film'",
        "--route: 'image' is not STEP=MODEL",
        "--route: 'image=' is not STEP=MODEL",
        "--route: there is no step 'music'",
        "--route: audio is given twice",
        "--set: 'fps=1' is not STEP.PARAM=VALUE",
        "--set: there is no step 'film'",
        "--set: 'video.=2' is not STEP.PARAM=VALUE",
        "--set: video.fps is given twice",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        (_ask(None), "give a FILE of prompts or --prompt TEXT"),
        (_ask(file=Path("x.yaml")), "not both"),
        (_ask(None, file=Path("a cat in the rain")), "A text to make a film of goes with --prompt"),
        (_ask(None, file=Path("cat " * 2000)), "there is no such file"),
        (_ask(""), "--prompt: is empty"),
        (_ask("bad \udcff byte"), "lone surrogate"),
        (_ask(params=["video.x=\udcff"]), "is not text in this terminal's encoding"),
        (_ask(routes=["video=\udcff"]), "is not text in this terminal's encoding"),
        (_ask(key="Not A Key"), "--key: must be 1 to 80 of a-z"),
        (_ask(max_cost_usd="-1"), "--max-cost-usd: "),
    ],
)
def test_input_that_cannot_be_used_is_refused(asked: Asked, fault: str) -> None:
    """Each of these reached a traceback or a model in some other tool."""
    assert fault in _faults(asked)


def test_options_change_a_file_of_one_prompt_and_keep_the_rest(tmp_path: Path) -> None:
    """Trying another parameter on a prompt must go on with that prompt, under its key."""
    row = {"prompt": "a boat", "script": "Hello.", "params": {"video": {"fps": 6, "zoom": 1.5}}, "take": {"image": 2}}
    file = _file(tmp_path, row)

    changed = _one(_ask(None, file=file, params=["video.fps=1"], takes=["video=1"], seed="3"))

    (before,) = read_prompts(file)
    assert (changed.key, changed.script, changed.seed) == (before.key, "Hello.", 3)
    assert changed.params == {Step.VIDEO: {"fps": 1, "zoom": 1.5}}
    assert [changed.take_of(step) for step in Step] == [2, 1, 0, 0]


def test_a_file_of_many_takes_a_cap_and_nothing_else(tmp_path: Path) -> None:
    """One seed for a hundred prompts is a slip, one cap for them is a wish."""
    file = _file(tmp_path, {"key": "a", "prompt": "a"}, {"key": "b", "prompt": "b"})

    capped = read_asked(_ask(None, file=file, max_cost_usd="2"))
    told = _faults(_ask(None, file=file, seed="1", takes=["1"], max_cost_usd="2"))

    assert [(prompt.key, prompt.max_cost_usd) for prompt in capped] == [("a", Decimal(2)), ("b", Decimal(2))]
    assert "has 2 prompts, and --seed, --take would change all of them alike" in told


def test_raising_the_cap_goes_on_with_the_same_film() -> None:
    """A prompt that stopped at its cap must not become another prompt when the cap is raised."""
    keys = {_one(_ask(max_cost_usd=cap)).key for cap in (None, "1", "2")}

    assert len(keys) == 1


def test_only_names_steps() -> None:
    """A misspelt step must not quietly mean all of them."""
    assert steps_of([]) == frozenset(Step)
    assert steps_of(["image", "audio,video"]) == {Step.IMAGE, Step.AUDIO, Step.VIDEO}
    with pytest.raises(PromptFileError, match="there is no step 'film'"):
        steps_of(["film"])
