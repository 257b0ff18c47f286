"""``ledger list`` and ``ledger show``: purchases as they stand in the ledger."""

import difflib
import json as json_module
from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from media_assets.cli.exit_codes import BAD_INPUT, DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import print_json, print_text, say, table, with_failure_object
from media_assets.errors import ConfigurationError
from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.pricing import from_micro_usd

_COLUMNS = ("request", "prompt", "step", "model", "take", "state", "estimate (USD)", "cost (USD)", "attempts")
_NUMBERS = frozenset({"take", "estimate (USD)", "cost (USD)", "attempts"})
SHOWN_CHARACTERS = 12
"""Of a request key, in tables and messages: enough to name it to ``ledger show``."""
_MOST_CANDIDATES = 20


@with_failure_object
def run_list(*, prompt_key: str | None, state: str | None, json: bool) -> int:
    """Print purchases, oldest first; return the exit code."""
    wanted = None if state is None else _state(state)
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return DONE
    with ledger_of(place) as ledger:
        rows = [row for row in ledger.purchases.search(prompt_key=prompt_key) if wanted in (None, row.state)]
        if prompt_key is not None and not rows:
            near = difflib.get_close_matches(prompt_key, ledger.prompts.keys(), n=3)
            if prompt_key not in near and near:
                say(f"no purchase of {prompt_key!r}. Did you mean {' or '.join(near)}?")
    if json:
        for row in rows:
            print_json(as_dict(row))
    elif rows:
        print_text(table(_COLUMNS, map(_line, rows), right=_NUMBERS))
    else:
        say("no purchases.")
    return DONE


@with_failure_object
def run_show(prefix: str, *, json: bool) -> int:
    """Print one purchase whole; return the exit code."""
    place = find_place()
    if not place.has_ledger():
        say(f"error: no purchase is called {prefix!r}; nothing made yet in {place.home}.")
        return BAD_INPUT
    with ledger_of(place) as ledger:
        row = one_row(ledger, prefix)
        if row is None:
            return BAD_INPUT
        details = _details(row, ledger, place)
    if json:
        print_json(details)
    else:
        print_text(*_report(details))
    return DONE


def _state(name: str) -> PurchaseState:
    try:
        return PurchaseState(name.strip().upper().replace("-", "_"))
    except ValueError as error:
        message = f"--state {name!r}: there is no such state. The states are {', '.join(PurchaseState)}."
        raise ConfigurationError(message) from error


def one_row(ledger: Ledger, prefix: str) -> PurchaseRow | None:
    """Return the purchase whose request key starts so; where it is not one, say which there are and return None."""
    wanted = prefix.strip().lower()
    rows = ledger.purchases.search(key_prefix=wanted) if wanted else []
    if len(rows) != 1:
        _say_not_one(wanted, rows)
        return None
    return rows[0]


def _say_not_one(prefix: str, rows: list[PurchaseRow]) -> None:
    if not rows:
        say(f"error: no purchase has a request key that starts with {prefix!r}; `media-assets ledger list` lists all.")
        return
    say(f"error: {len(rows)} purchases have a request key that starts with {prefix!r}; give more of it:")
    for row in rows[:_MOST_CANDIDATES]:
        say(f"  {row.request_key}  {row.prompt_key}  {row.step}  {row.model}")
    if len(rows) > _MOST_CANDIDATES:
        say(f"  and {len(rows) - _MOST_CANDIDATES} more")


def _money(micro_usd: int | None) -> str | None:
    return None if micro_usd is None else usd(from_micro_usd(micro_usd))


def as_dict(row: PurchaseRow) -> dict[str, Any]:
    """Return a purchase in the form of ``--json``."""
    return {
        "request_key": row.request_key,
        "prompt_key": row.prompt_key,
        "step": row.step,
        "provider": row.provider,
        "model": row.model,
        "take": row.take,
        "state": str(row.state),
        "estimate_usd": _money(row.estimate_micro_usd),
        "cost_usd": _money(row.cost_micro_usd),
        "prediction_id": row.prediction_id,
        "attempts": row.attempts,
        "sha256": row.artifact.sha256 if row.artifact is not None else None,
    }


def _details(row: PurchaseRow, ledger: Ledger, place: Place) -> dict[str, Any]:
    artifact = row.artifact
    return as_dict(row) | {
        "recovery": str(row.recovery),
        "owner_alive": ledger.owner.is_alive(row.owner),
        "progress": row.progress,
        "duration_s": row.duration_s,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "cancel_requested_at": row.cancel_requested_at,
        "path": str(place.store.path(artifact)) if artifact is not None and place.store.has(artifact) else None,
        "notes": list(row.notes),
        "error": row.error,
        "request": json_module.loads(row.canon_json),
        "attempt_log": ledger.purchases.attempts(row.request_key),
        "decisions": ledger.decisions.of(row.request_key),
    }


def named(row: PurchaseRow) -> tuple[str, str, str, str]:
    """Return what a purchase is called in tables: request, prompt, step and model."""
    return row.request_key[:SHOWN_CHARACTERS], row.prompt_key, row.step, row.model


def _line(row: PurchaseRow) -> tuple[str, ...]:
    return (
        *named(row),
        str(row.take),
        str(row.state),
        _money(row.estimate_micro_usd) or "",
        _money(row.cost_micro_usd) or "unknown",
        str(row.attempts),
    )


def _report(details: dict[str, Any]) -> Iterator[str | Text | Table]:
    log, decisions = details.pop("attempt_log"), details.pop("decisions")
    request = details.pop("request")
    for name, value in details.items():
        if name == "error" and value is not None:
            yield f"error: {value.get('class', '')}: {value.get('message', '')}"
        elif name == "owner_alive":
            yield f"owner: {'alive' if value else 'gone'}"
        elif value not in (None, []):
            yield f"{name}: {'; '.join(value) if isinstance(value, list) else value}"
    yield "request: " + json_module.dumps(request, ensure_ascii=False, indent=2)
    columns = ("n", "intent at", "replied at", "outcome", "http status", "prediction id")
    yield table(columns, ([_cell(attempt, column) for column in columns] for attempt in log))
    for one in decisions:
        yield f"decided at {one['at'][:19]} by {one['who']}: {one['what']} (it was {one['state_before']})"


def _cell(attempt: dict[str, Any], column: str) -> str:
    value = attempt.get(column.replace(" ", "_"))
    return "" if value is None else str(value)
