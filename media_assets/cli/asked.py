"""What the command line asks for, read into prompts: every fault of it in one error, before anything is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media_assets.cli.output import shorten
from media_assets.errors import Problem, PromptFileError
from media_assets.prompt import Prompt, Scalar, Step
from media_assets.prompt_file import read_prompts, validate_prompt

PLACE = "the command line"

_OPTIONS = {
    "prompt": "--prompt",
    "key": "--key",
    "script": "--script",
    "motion": "--motion",
    "caption": "--caption",
    "voice": "--voice",
    "seed": "--seed",
    "size_px": "--size",
    "clip_s": "--clip-s",
    "fit": "--fit",
    "take": "--take",
    "params": "--set",
    "routes": "--route",
    "max_cost_usd": "--max-cost-usd",
}
"""Which option sets which field of a prompt."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that say what is wanted, as they were typed."""

    file: Path | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)
    """By the prompt's own names; None: not given."""
    takes: Sequence[str] = ()
    """``N`` or ``STEP=N``."""
    routes: Sequence[str] = ()
    """``STEP=MODEL[,MODEL...]``."""
    params: Sequence[str] = ()
    """``STEP.PARAM=VALUE``."""

    def given(self) -> list[str]:
        """Return the options that were given and change a prompt."""
        fields = [name for name, value in self.fields.items() if value is not None]
        lists = {"take": self.takes, "routes": self.routes, "params": self.params}
        return [_OPTIONS[name] for name in (*fields, *(name for name, values in lists.items() if values))]

    @property
    def source(self) -> str:
        """Where the prompts come from, for people."""
        return "the command line" if self.file is None else str(self.file.absolute())


@dataclass(frozen=True)
class Changes:
    """The options, parsed as far as no prompt is needed for it, with what is wrong with them."""

    fields: Mapping[str, Any]
    takes: Mapping[Step, int]
    problems: tuple[Problem, ...]


def read_asked(asked: Asked) -> list[Prompt]:
    """Return the prompts that are asked for, in order.

    Raises:
        PromptFileError: Names every fault of the command line, or of the file.
    """
    text = asked.fields.get("prompt")
    if (asked.file is None) == (text is None):
        fault = "give a FILE of prompts or --prompt TEXT" + (", not both" if text is not None else "")
        raise _refused([Problem(PLACE, "", fault)])
    changes = _parse(asked)
    if asked.file is None:
        return [_changed(None, changes)]
    prompts = _read(asked.file)
    foreign = sorted(set(asked.given()) - {"--max-cost-usd"})
    if len(prompts) > 1 and foreign:
        fault = f"{asked.file.name} has {len(prompts)} prompts, and {', '.join(foreign)} would change all of them alike"
        raise _refused([Problem(PLACE, "", f"{fault}; write it into the file")])
    if not asked.given():
        return prompts
    return [_changed(prompt, changes) for prompt in prompts]


def steps_of(names: Sequence[str]) -> frozenset[Step]:
    """Return the steps that ``--only`` names; all of them when it names none.

    Raises:
        PromptFileError: There is no such step.
    """
    parts = [part.strip() for name in names for part in name.split(",")]
    problems = [Problem(PLACE, "--only", fault) for part in parts if (fault := _step_fault(part))]
    if problems:
        raise _refused(problems)
    return frozenset(Step(part) for part in parts) or frozenset(Step)


def _read(file: Path) -> list[Prompt]:
    try:
        there = file.exists()
    except OSError:
        there = False  # for example a whole text, too long for a file's name
    if not there:
        fault = f"there is no such file: {shorten(str(file))!a}. A text to make a film of goes with --prompt"
        raise _refused([Problem(PLACE, "FILE", fault)])
    return read_prompts(file)


def _parse(asked: Asked) -> Changes:
    problems: list[Problem] = []
    fields = {name: _field(name, value) for name, value in asked.fields.items() if value is not None}
    if params := _parse_params(asked.params, problems):
        fields["params"] = params
    if routes := _parse_routes(asked.routes, problems):
        fields["routes"] = routes
    return Changes(fields, _parse_takes(asked.takes, problems), tuple(problems))


def _parse_params(texts: Sequence[str], problems: list[Problem]) -> dict[str, dict[str, Scalar]]:
    params: dict[str, dict[str, Scalar]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        step, dot, param = (part.strip() for part in name.partition("."))
        fault = _step_fault(step) if equals and dot and param else f"{text!r} is not STEP.PARAM=VALUE"
        if fault is None and param in params.get(step, {}):
            fault = f"{step}.{param} is given twice"
        if any("\ud800" <= character <= "\udfff" for character in text):
            fault = f"{text!a} is not text in this terminal's encoding"
        if fault:
            problems.append(Problem(PLACE, "--set", fault))
        else:
            params.setdefault(step, {})[param] = _scalar(value)
    return params


def _parse_routes(texts: Sequence[str], problems: list[Problem]) -> dict[str, list[str]]:
    routes: dict[str, list[str]] = {}
    for text in texts:
        step, _, models = (part.strip() for part in text.partition("="))
        listed = [model.strip() for model in models.split(",") if model.strip()]
        fault = _step_fault(step) if listed else f"{text!r} is not STEP=MODEL[,MODEL...]"
        if fault is None and step in routes:
            fault = f"{step} is given twice; name all its models at once"
        if any("\ud800" <= character <= "\udfff" for character in text):
            fault = f"{text!a} is not text in this terminal's encoding"
        if fault:
            problems.append(Problem(PLACE, "--route", fault))
        else:
            routes[step] = listed
    return routes


def _parse_takes(texts: Sequence[str], problems: list[Problem]) -> dict[Step, int]:
    """Return each step's take; one for all steps comes first, whatever the order on the command line."""
    takes: dict[Step, int] = {}
    seen: set[str] = set()
    for text in sorted(texts, key=lambda text: "=" in text):
        step, equals, number = (part.strip() for part in text.rpartition("="))
        named = step if equals else "every step"
        fault = _step_fault(step) if equals else None
        if fault is None and not number.isdecimal():
            fault = f"{text!r} is not N or STEP=N, with N from 0"
        if fault is None and named in seen:
            fault = f"the take of {named} is given twice"
        if fault:
            problems.append(Problem(PLACE, "--take", fault))
            continue
        seen.add(named)
        takes |= dict.fromkeys([Step(step)] if equals else Step, int(number))
    return takes


def _step_fault(name: str) -> str | None:
    return None if name in set(Step) else f"there is no step {name!r}; the steps are {', '.join(Step)}"


def _field(name: str, value: str) -> Any:
    # As a file would give it, so that the same wish has the same derived key.
    return _scalar(value) if name in {"seed", "clip_s"} else value


def _scalar(text: str) -> Scalar:
    """Read a number as YAML would, where nothing of the text is lost by it; ``007`` and ``true`` stay texts.

    A model's own parameter type has the last word; this only makes ``--set`` and a file ask for the same thing.
    """
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        if str(number) == text and abs(number) < float("inf"):
            return number
    return text


def _changed(prompt: Prompt | None, changes: Changes) -> Prompt:
    given = {} if prompt is None else prompt.model_dump(mode="json", exclude_unset=True)
    data = {**given, **{name: value for name, value in changes.fields.items() if name not in {"params", "routes"}}}
    for name in ("params", "routes"):
        if name in changes.fields:
            data[name] = _merged(given.get(name, {}), changes.fields[name])
    if changes.takes:
        before = {} if prompt is None else {step: prompt.take_of(step) for step in Step}
        data["take"] = _take_field({**before, **changes.takes})
    try:
        if prompt is None and "key" not in data:
            # A raised cap goes on with the same film: the key is derived from all that was asked for but the cap.
            data["key"] = validate_prompt(PLACE, {name: data[name] for name in data if name != "max_cost_usd"}).key
        made = validate_prompt(PLACE, data)
    except PromptFileError as error:
        raise _refused([*changes.problems, *map(_as_option, error.problems)]) from error
    if changes.problems:
        raise _refused(changes.problems)
    return made


def _merged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for step, value in after.items():
        merged[step] = {**before.get(step, {}), **value} if isinstance(value, dict) else value
    return merged


def _take_field(takes: Mapping[Step, int]) -> Any:
    """Return one number where all steps have the same, so that ``--take 2`` is what ``take: 2`` is in a file."""
    numbers = set(takes.values())
    same = len(takes) == len(Step) and len(numbers) == 1
    return numbers.pop() if same else {str(step): take for step, take in takes.items()}


def _as_option(problem: Problem) -> Problem:
    name, dot, rest = problem.field.partition(".")
    return Problem(problem.where, _OPTIONS.get(name, name) + (f" {rest}" if dot else ""), problem.message)


def _refused(problems: Sequence[Problem]) -> PromptFileError:
    return PromptFileError.of("this cannot be made as asked; nothing was sent:", list(dict.fromkeys(problems)))
