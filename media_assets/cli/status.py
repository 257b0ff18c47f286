"""``status``: how prompts stand, step by step."""

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from media_assets.catalog import load_catalog
from media_assets.cli.exit_codes import BAD_INPUT, DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import clean, complain, print_json, print_text, say, shorten, table, with_failure_object
from media_assets.ledger import Ledger
from media_assets.ledger.pins import PinnedPrompt, Unreadable
from media_assets.plan import Planner
from media_assets.prompt import Step
from media_assets.status import PromptStatus, Statuses, StepStatus

_STEP_COLUMNS = ("step", "state", "model", "cost (USD)", "degraded", "error")
_PROMPT_COLUMNS = ("key", "state", *map(str, Step), "prompt")
_UNREADABLE = "unreadable"


@with_failure_object
def run_status(key: str | None, *, json: bool) -> int:
    """Print how one prompt stands, or all of them; return the exit code."""
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        if key is not None:
            say(f"error: there is no prompt {key!r}.")
            return BAD_INPUT
        return DONE
    with ledger_of(place) as ledger:
        if key is None:
            found = ledger.prompts.every()
        else:
            one = ledger.prompts.get(key)
            if one is None:
                say(f"error: there is no prompt {key!r}. {_near(key, ledger.prompts.keys())}")
                return BAD_INPUT
            found = [one]
        statuses = Statuses(ledger, place.store, _planner(place, ledger))
        told = (_status(statuses, pinned) for pinned in found)
        if json:
            for status in told:
                print_json({"home": str(place.home)} | _as_dict(status))
        elif key is not None:
            print_text(*(line for status in told if isinstance(status, PromptStatus) for line in _one(status)))
        elif found:
            print_text(table(_PROMPT_COLUMNS, map(_line, told)))
        else:
            say(f"nothing made yet in {place.home}.")
    return DONE


def _status(statuses: Statuses, pinned: PinnedPrompt | Unreadable) -> PromptStatus | Unreadable:
    """Return how a prompt stands; of one that cannot be read, which hides no other, that it is so."""
    if isinstance(pinned, Unreadable):
        return pinned
    return statuses.of(pinned, today=datetime.now(UTC).date())


def _as_dict(status: PromptStatus | Unreadable) -> dict[str, Any]:
    if isinstance(status, Unreadable):
        return {"key": status.key, "state": _UNREADABLE, "error": status.error.as_dict()}
    return status.as_dict()


def _near(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.4)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"`media-assets status` lists all {len(known)}." if known else "There are none yet."


def _planner(place: Place, ledger: Ledger) -> Planner:
    settings = place.settings.plan_settings()
    catalog = load_catalog(place.settings.catalog_folder)
    return Planner(catalog=catalog, ledger=ledger, store=place.store, settings=settings)


def _one(status: PromptStatus) -> Iterator[str | Text | Table]:
    heading = Text(clean(status.key), style="bold")
    heading.append(f"  {_prompt_state(status)}", style="not bold")
    yield heading
    yield shorten(status.prompt, 100)
    yield f"from {status.source}, last changed {status.updated_at[:19]} UTC"
    yield table(_STEP_COLUMNS, map(_step_row, status.steps), right=frozenset({"cost (USD)"}))
    for step in status.steps:
        if step.reason:
            yield f"{step.step}: {step.reason}"
    if status.error is not None:
        yield f"{'deferred' if status.deferred else 'error'}: {status.error.get('message', '')}"


def _step_row(step: StepStatus) -> tuple[str, ...]:
    return (
        str(step.step),
        _state(step),
        step.model,
        "" if step.cost_usd is None else usd(step.cost_usd),
        "yes" if step.degraded else "no",
        shorten((step.error or {}).get("message", ""), 80),
    )


def _state(step: StepStatus) -> str:
    return str(step.state) if step.fraction is None else f"{step.state} {step.fraction:.0%}"


def _prompt_state(status: PromptStatus) -> str:
    return f"{status.state} (deferred)" if status.deferred else status.state


def _line(status: PromptStatus | Unreadable) -> tuple[str, ...]:
    if isinstance(status, Unreadable):
        complain(status.error)
        return (status.key, _UNREADABLE, *("" for _ in Step), "")
    return (status.key, _prompt_state(status), *map(_state, status.steps), shorten(status.prompt, 40))
