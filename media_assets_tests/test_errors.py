"""The tree of errors: drawn as built, and whole after it has crossed a process."""

import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest

from media_assets import errors
from media_assets.errors import (
    Billed,
    FfmpegError,
    JudgeError,
    MediaAssetsError,
    PlanError,
    Problem,
    PromptFileError,
    PurchaseError,
    Rerun,
    UnknownOutcomeError,
)


def _tree() -> Iterator[tuple[str, str]]:
    """Yield (parent, class) of every public error; an underscored class between them is not shown."""
    for name, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, MediaAssetsError) and cls is not MediaAssetsError and not name.startswith("_"):
            parent = next(base for base in cls.__mro__[1:] if not base.__name__.startswith("_"))
            yield parent.__name__, name


def _drawn() -> Iterator[tuple[str, str]]:
    """Yield (parent, class) of every line of the drawing in the module's docstring."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match["branch"]) // 4
        path[depth:] = [match["name"]]
        if depth:
            yield path[depth - 1], match["name"]


def _every() -> list[type[MediaAssetsError]]:
    return [getattr(errors, name) for _, name in _tree()]


def _leaves() -> list[type[MediaAssetsError]]:
    parents = {parent for parent, _ in _tree()}
    return [cls for cls in _every() if cls.__name__ not in parents]


def _filled(cls: type[MediaAssetsError]) -> MediaAssetsError:
    """Return an error with something in every field that its constructor takes."""
    given: dict[str, Any] = {
        "problems": [Problem("a.yaml, row 2", "size_px", "is too small"), Problem("", "disk", "is full")],
        "verdict": {"mean_luma": 0.5},
        "command": ["ffmpeg", "-i", "x"],
        "exit_code": 187,
        "stderr_tail": "no such filter",
        "step": "video",
        "provider": "local",
        "model": "local:ken-burns",
        "request_key": "ab" * 32,
        "prediction_id": "p-1",
        "scopes": ["day:2026-11-23"],
        "may_pass": True,
        "rerun": Rerun.ASK,
        "billed": Billed.UNKNOWN,
    }
    names = set(inspect.signature(cls).parameters) - {"message"}
    assert names <= given.keys()
    return cls("what happened. What to do.", **{name: given[name] for name in names})


def test_drawing_is_the_tree() -> None:
    """People choose what to catch from the drawing."""
    drawn = list(_drawn())

    assert len(drawn) == len(set(drawn))
    assert set(drawn) == set(_tree())


def test_tree_is_not_empty() -> None:
    """Guards the guards: a pattern that matches nothing would agree with everything."""
    assert ("PurchaseError", "UnknownOutcomeError") in set(_drawn())
    assert len(_leaves()) >= 20


@pytest.mark.parametrize("cls", _leaves())
def test_every_leaf_says_what_a_rerun_does_and_whether_money_is_gone(cls: type[MediaAssetsError]) -> None:
    """Callers branch on these two and on nothing else."""
    assert isinstance(cls.rerun, Rerun)
    assert isinstance(cls.billed, Billed)
    assert cls.__doc__


@pytest.mark.parametrize("cls", [cls for cls in _every() if cls.billed is not Billed.NO])
def test_nothing_that_may_be_billed_is_submitted_again_by_itself(cls: type[MediaAssetsError]) -> None:
    """Money that may be gone, and a new submission, is how one film is paid for twice."""
    assert cls.rerun is not Rerun.RESUBMIT


@pytest.mark.parametrize("cls", _every())
@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy"])
def test_errors_survive_the_way_to_another_process(cls: type[MediaAssetsError], way: str) -> None:
    """Dagster pickles what a step raises; keyword-only arguments break Exception's own pickling."""
    ways = {"pickle": lambda one: pickle.loads(pickle.dumps(one)), "copy": copy.copy, "deepcopy": copy.deepcopy}  # noqa: S301 - our own bytes
    error = _filled(cls)

    there = ways[way](error)

    assert type(there) is cls
    assert str(there) == str(error) == error.message
    assert vars(there) == vars(error)
    assert there.as_dict() == error.as_dict()


@pytest.mark.parametrize("cls", _every())
def test_only_the_message_is_positional(cls: type[MediaAssetsError]) -> None:
    """Two strings in the wrong order would name the wrong purchase."""
    message, *rest = inspect.signature(cls).parameters.values()

    assert message.name == "message"
    assert {parameter.kind for parameter in rest} <= {inspect.Parameter.KEYWORD_ONLY}


def test_instance_can_say_more_precisely_what_its_class_says() -> None:
    """A failed prediction is billed by one provider and not by another."""
    error = PurchaseError("failed", rerun=Rerun.ASK, billed=Billed.YES)

    assert error.as_dict() == {"class": "PurchaseError", "message": "failed", "rerun": "ask", "billed": "yes"}
    assert PurchaseError("failed").billed is Billed.NO


def test_undecided_outcome_asks_a_person() -> None:
    """The promise of the project: a submission whose outcome is unknown is never guessed."""
    assert (UnknownOutcomeError.rerun, UnknownOutcomeError.billed) == (Rerun.ASK, Billed.UNKNOWN)


@pytest.mark.parametrize("cls", [PromptFileError, PlanError])
def test_a_list_of_problems_is_shown_whole(cls: type[PromptFileError | PlanError]) -> None:
    """Mending one fault a run, ten runs long, is what this form is there to prevent."""
    error = cls.of("cannot be used:", [Problem("a.yaml, row 2", "seed", "is negative"), Problem("", "disk", "is full")])

    assert str(error) == "cannot be used:\n  a.yaml, row 2: seed: is negative\n  disk: is full"
    assert [problem.field for problem in error.problems] == ["seed", "disk"]


def test_defaults_are_of_the_type_they_promise() -> None:
    """Handlers read these fields without asking whether they are there."""
    assert JudgeError("bad").verdict == {}
    assert FfmpegError("bad").command == ()
    assert (PurchaseError("bad").step, PurchaseError("bad").prediction_id) == ("", None)


def test_equal_problems_are_one() -> None:
    """A plan names each problem once, however many checks find it."""
    assert len({Problem("video", "fps", "is too high"), Problem("video", "fps", "is too high")}) == 1
    assert Problem("video", "fps", "is too high") != Problem("image", "fps", "is too high")
