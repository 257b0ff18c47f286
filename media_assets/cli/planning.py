"""``plan``: what ``generate`` would do, what it would cost at most, and every reason why it cannot."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from media_assets.cli.asked import Asked, read_asked
from media_assets.cli.exit_codes import BAD_INPUT, DONE, exit_code_of
from media_assets.cli.film_report import usd
from media_assets.cli.interrupts import INTERRUPTS
from media_assets.cli.opening import find_place
from media_assets.cli.opening_studio import studio_of
from media_assets.cli.output import clean, complain, print_json, print_text, shorten, table
from media_assets.errors import MediaAssetsError, Problem, PromptFileError
from media_assets.plan import Plan, PlannedStep
from media_assets.prompt import Prompt
from media_assets.studio import Studio

_COLUMNS = ("step", "model", "least (USD)", "most (USD)", "cached", "in flight", "length", "size")


def run_plan(asked: Asked, *, upgrade: bool, json: bool) -> int:
    """Print the plan of every prompt that is asked for; return the exit code."""
    try:
        place = find_place()
        prompts = read_asked(asked)
        with studio_of(place) as studio:
            good = INTERRUPTS.run(_plan_all(studio, prompts, upgrade=upgrade, json=json), on_stop=lambda _: None)
    except MediaAssetsError as error:
        complain(error)
        if json:
            print_json(_no_plan(error))
        return exit_code_of([error])
    return DONE if good else BAD_INPUT


async def _plan_all(studio: Studio, prompts: list[Prompt], *, upgrade: bool, json: bool) -> bool:
    good = True
    for prompt in prompts:
        plan = await studio.plan(prompt, upgrade=upgrade)
        good = good and not plan.problems
        if json:
            print_json(plan.as_dict())
        else:
            print_text(*_report(plan))
    return good


def _report(plan: Plan) -> Iterator[str | Text | Table]:
    yield Text(clean(plan.key), style="bold")
    if plan.steps:
        yield table(_COLUMNS, map(_row, plan.steps), right=frozenset({"least (USD)", "most (USD)", "length"}))
        for step in plan.steps:
            yield f"{step.step}: {_parameters(step)}"
    for warning in plan.warnings:
        yield f"warning: {warning}"
    for problem in plan.problems:
        yield f"problem: {problem}"
    if plan.problems:
        yield "This cannot be made as asked."
    else:
        best = "" if plan.least_usd == plan.estimate_usd else f", at best {usd(plan.least_usd)} USD"
        yield f"costs at most {usd(plan.estimate_usd)} USD{best}"


def _row(step: PlannedStep) -> tuple[str, ...]:
    return (
        str(step.step),
        step.model,
        usd(step.least_usd),
        usd(step.estimate_usd),
        "yes" if step.cached else "no",
        "yes" if step.in_flight else "no",
        "" if step.duration_s is None else f"{step.duration_s:.1f} s",
        "" if step.size_px is None else f"{step.size_px[0]}x{step.size_px[1]}",
    )


def _parameters(step: PlannedStep) -> str:
    return ", ".join(f"{name}={shorten(str(value))}" for name, value in step.params.items()) or "no parameters"


def _no_plan(error: MediaAssetsError) -> dict[str, object]:
    """Return the object for input that no plan can be made of, or a place where none can be made."""
    problems = error.problems if isinstance(error, PromptFileError) else (Problem("", "", error.message),)
    told = tuple(Problem("", problem.field, str(Problem(problem.where, "", problem.message))) for problem in problems)
    return Plan(key="", steps=(), problems=told).as_dict() | {"key": None}
