"""``generate`` and ``demo``: check all of the input, then make the films and hand each on in input order."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from media_assets.cli.asked import PLACE, Asked, read_asked, steps_of
from media_assets.cli.exit_codes import exit_code_of
from media_assets.cli.interrupts import INTERRUPTS, Interrupted
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.opening_studio import studio_of
from media_assets.cli.output import complain, messages, print_json, say, shorten
from media_assets.cli.progress import progress_for
from media_assets.cli.report import Report
from media_assets.cli.shipped import shipped
from media_assets.errors import (
    BudgetExceededError,
    ConfigurationError,
    MediaAssetsError,
    PlanError,
    Problem,
    PromptFileError,
)
from media_assets.film import Film
from media_assets.left_open import left_open
from media_assets.prompt import Prompt, Step
from media_assets.prompt_file import read_rows
from media_assets.routes import UnknownPolicy
from media_assets.settings import read_cap_usd
from media_assets.standing import Standings
from media_assets.studio import MakeOptions, Studio
from media_assets.threads import in_thread

_SOME = 5
"""Keys named in a message that could name thousands."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one call of ``generate`` was asked, as it was typed."""

    asked: Asked
    only: Sequence[str] = ()
    out: str | None = None
    upgrade: bool = False
    retry_failed: bool = False
    waits: bool = True
    max_run_usd: str | None = None
    unknown: str | None = None
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """The same, read and found usable."""

    prompts: list[Prompt]
    wanted: frozenset[Step]
    out: Path | None
    options: MakeOptions


def run_demo() -> int:
    """Make the film of the prompt that comes with the package."""
    with resources.as_file(shipped("lighthouse.yaml")) as file:
        return run_generate(Job(asked=Asked(file=file)))


def run_generate(job: Job) -> int:
    """Do what ``generate`` was asked; return the exit code."""
    place: Place | None = None
    try:
        place = find_place()
        place = with_run_cap(place, job.max_run_usd)
        checked = _check(job)
    except ConfigurationError as error:
        _refuse(job, error, home=place.home if place is not None else None)
        return exit_code_of([error])
    return _run(place, checked, json=job.json)


def run_upgrade(key: str, *, json: bool) -> int:
    """Make again what stand-ins made of a prompt; return the exit code. **Costs money**, at most what plan says."""
    job = Job(asked=Asked(fields={"key": key}), upgrade=True, json=json)
    place: Place | None = None
    try:
        place = find_place()
        prompt = _known_prompt(place, key)
    except MediaAssetsError as error:
        _refuse(job, error, home=place.home if place is not None else None)
        return exit_code_of([error])
    options = MakeOptions(upgrade=True, pinned=True)
    if _has_no_stand_in(place, prompt):
        say(f"{key}: nothing of it was made by a stand-in, so there is nothing to make again.")
    return _run(place, _Checked(prompts=[prompt], wanted=frozenset(Step), out=None, options=options), json=json)


def _has_no_stand_in(place: Place, prompt: Prompt) -> bool:
    with ledger_of(place) as ledger:
        finished = [one.finished for one in Standings(ledger, place.store).of(prompt).values()]
    return all(one is not None and not one.degraded for one in finished)


def _known_prompt(place: Place, key: str) -> Prompt:
    found = None
    if place.has_ledger():
        with ledger_of(place) as ledger:
            found = ledger.prompts.get(key)
    if found is None:
        fault = f"no prompt is known under {shorten(key)!a}; `media-assets status` lists those that are"
        headline = "this cannot be upgraded; nothing was sent:"
        raise PromptFileError.of(headline, [Problem(PLACE, "KEY", fault)])
    return found.prompt


def _run(place: Place, checked: _Checked, *, json: bool) -> int:
    report = Report(checked.prompts, home=place.home, json=json)
    try:
        keys = [prompt.key for prompt in checked.prompts]
        with studio_of(place) as studio, progress_for(keys, messages(), json=json) as progress:
            report.progress = progress
            try:
                INTERRUPTS.run(_make_all(studio, checked, report), on_stop=tell_stopping)
            except Interrupted:
                report.open = left_open(studio.ledger, studio.transport.adapter, keys, now=datetime.now(UTC))
                raise
        report.finish()
    except MediaAssetsError as error:
        report.end(error)
    except Interrupted as interrupted:
        report.stop()
        return interrupted.exit_code
    return exit_code_of(report.errors)


def with_run_cap(place: Place, max_run_usd: str | None) -> Place:
    """Let ``--max-run-usd`` take the place of its setting."""
    if max_run_usd is None:
        return place
    cap = read_cap_usd(max_run_usd)
    if cap is None:
        fault = f"{shorten(max_run_usd)!a} is not an amount in USD, such as 2.50, nor none"
        headline = "this cannot be made as asked; nothing was sent:"
        raise PromptFileError.of(headline, [Problem(PLACE, "--max-run-usd", fault)])
    return replace(place, settings=place.settings.model_copy(update={"max_run_usd": cap}))


def _check(job: Job) -> _Checked:
    """Read all that was asked for.

    Raises:
        ConfigurationError: Names everything that is wrong with it.
    """
    prompts = read_asked(job.asked)
    wanted = steps_of(job.only)
    out = None if job.out is None else _out_path(job.out, prompts, wanted)
    options = MakeOptions(
        upgrade=job.upgrade,
        retry_failed=job.retry_failed,
        waits=job.waits,
        unknown=None if job.unknown is None else policy_of(job.unknown),
        source=job.asked.source,
    )
    return _Checked(prompts=prompts, wanted=wanted, out=out, options=options)


def policy_of(name: str) -> UnknownPolicy:
    """Return the policy that ``--unknown`` names."""
    try:
        return UnknownPolicy(name.strip().lower().replace("-", "_"))
    except ValueError as error:
        fault = f"{shorten(name)!a} is no policy; they are {', '.join(UnknownPolicy)}"
        headline = "this cannot be made as asked; nothing was sent:"
        raise PromptFileError.of(headline, [Problem(PLACE, "--unknown", fault)]) from error


def _out_path(out: str, prompts: list[Prompt], wanted: frozenset[Step]) -> Path:
    path = Path(out).expanduser().absolute()
    fault = ""
    try:
        if out.endswith("/") or path.is_dir():
            path /= f"{prompts[0].key}.mp4"
        parent = next(folder for folder in path.parents if folder.exists())
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        fault = f"{path} cannot be written: {error.strerror}"
    if not out:
        fault = "is empty"
    elif len(prompts) > 1:
        fault = f"takes one film, and {len(prompts)} are asked for. They are put in films/ of the home"
    elif Step.MERGED not in wanted:
        fault = "takes the film, and --only leaves it out"
    if fault:
        headline = "this cannot be made as asked; nothing was sent:"
        raise PromptFileError.of(headline, [Problem(PLACE, "--out", fault)])
    return path


async def _make_all(studio: Studio, checked: _Checked, report: Report) -> None:
    """Plan every prompt, then make every prompt. **Costs money**, at most the sum of the plans' estimates."""
    if refused := await _refusals(studio, checked):
        for film in refused:
            report.add(film)
        return
    films = studio.stream(checked.prompts, wanted=checked.wanted, options=checked.options, on_event=report.event)
    async with contextlib.aclosing(films) as ended:
        async for film in ended:
            if checked.out is not None and film.path is not None:
                await _export(studio, film, checked.out)
            report.add(film)


async def _refusals(studio: Studio, checked: _Checked) -> list[Film]:
    """Return a film with an error for every prompt when any cannot be made, and nothing when all can."""
    refused: dict[str, MediaAssetsError] = {}
    for prompt in checked.prompts:
        if await in_thread(_is_finished, studio, prompt, checked):
            continue
        try:
            (await studio.plan(prompt, upgrade=checked.options.upgrade)).require()
        except BudgetExceededError:
            # Those that fit are made, the others stay pending; and there may be room by the time it is its turn.
            continue
        except PlanError as error:
            refused[prompt.key] = error
    if not refused:
        return []
    some = ", ".join(list(refused)[:_SOME])
    more = " and more" if len(refused) > _SOME else ""
    fault = PlanError.of(f"not made, because the same file has prompts that cannot be: {some}{more}.", [])
    return [Film(key=prompt.key, error=refused.get(prompt.key, fault)) for prompt in checked.prompts]


def _is_finished(studio: Studio, prompt: Prompt, checked: _Checked) -> bool:
    """Whether all that is wanted is there: then nothing about this machine or its settings can stand in the way."""
    pinned = studio.ledger.prompts.effective(prompt)
    standings = Standings(studio.ledger, studio.store).of(pinned, upgrade=checked.options.upgrade)
    return all(standings[step].artifact is not None for step in checked.wanted)


async def _export(studio: Studio, film: Film, out: Path) -> None:
    merged = film.steps[Step.MERGED].artifact
    if merged is None:
        return
    try:
        await in_thread(studio.store.export, merged, out, owner=studio.ledger.owner.id)
        film.path = out
    except MediaAssetsError as error:
        film.error = error


def tell_stopping(again: bool) -> None:  # noqa: FBT001 - called by position
    """Say that films stop, and that a second signal is not needed."""
    if again:
        say("still stopping: what was begun is being put away. That is not cut short.")
    else:
        say("stopping: what waits at a provider is called back, and what runs there has a moment to end...")


def _refuse(job: Job, error: MediaAssetsError, *, home: Path | None) -> None:
    """Tell what is wrong with the input; with ``--json`` also one object a prompt, as far as there are any."""
    complain(error)
    if not job.json:
        return
    for key, fault in _faults(job, error):
        film = Film(key=key or "", error=fault)
        told: dict[str, Any] = film.as_dict(home=home or Path())
        print_json(told | {"key": key, "home": str(home) if home is not None else None})


def _faults(job: Job, error: MediaAssetsError) -> Iterator[tuple[str | None, MediaAssetsError]]:
    if job.asked.file is None:
        yield job.asked.fields.get("key"), error
        return
    try:
        rows = read_rows(job.asked.file)
    except PromptFileError:
        yield None, error
        return
    for row in rows:
        own = PromptFileError.of("this prompt cannot be used; nothing was sent:", row.problems)
        yield row.prompt.key if row.prompt is not None else None, own if row.problems else error
