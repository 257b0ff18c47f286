"""``budget``: what may be spent, what is spent, what is reserved, and by what; and accepting an overrun."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from media_assets.caps import Caps, is_lifted
from media_assets.cli.exit_codes import BAD_INPUT, DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import print_json, print_text, say, table, with_failure_object
from media_assets.errors import ConfigurationError, LedgerError
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap, Overrun
from media_assets.ledger.spending import Reserved, Scope
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Prompt

_BUDGET_COLUMNS = ("budget", "cap (USD)", "spent", "reserved", "left", "setting")
_RESERVED_COLUMNS = ("prompt", "step", "model", "state", "request", "most (USD)", "process")
_NUMBERS = frozenset({"cap (USD)", "spent", "reserved", "left", "most (USD)"})
_SHOWN_CHARACTERS = 12
"""Of a request key: enough to name it to ``ledger show``."""


@dataclass(frozen=True, kw_only=True)
class _Budget:
    """One budget as it is shown."""

    cap: Cap
    spent_micro_usd: int = 0
    reserved_micro_usd: int = 0
    overrun: Overrun | None = None

    @property
    def cap_usd(self) -> str | None:
        """None: no cap."""
        return None if is_lifted(self.cap) else _usd(self.cap.micro_usd)

    @property
    def left_usd(self) -> str | None:
        """None: no cap; nothing is left of one that is passed."""
        left = self.cap.micro_usd - self.spent_micro_usd - self.reserved_micro_usd
        return None if is_lifted(self.cap) else _usd(max(left, 0))

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``budget --json``; money as strings."""
        over = self.overrun
        return {
            "scope": self.cap.scope,
            "cap_usd": self.cap_usd,
            "spent_usd": _usd(self.spent_micro_usd),
            "reserved_usd": _usd(self.reserved_micro_usd),
            "left_usd": self.left_usd,
            "setting": self.cap.setting,
            "overrun": None
            if over is None
            else {"too_much_usd": _usd(over.micro_usd), "request_key": over.request_key, "model": over.model},
        }

    def row(self) -> tuple[str, ...]:
        """Return the line of the table."""
        amounts = (_usd(self.spent_micro_usd), _usd(self.reserved_micro_usd), self.left_usd or "")
        return (self.cap.scope, self.cap_usd or "none", *amounts, self.cap.setting)


@with_failure_object
def run_budget(*, day: str | None, json: bool) -> int:
    """Print the budgets of a day, of today also those of all that is open or overrun; return the exit code."""
    today = datetime.now(UTC).date()
    wanted = today if day is None else _day(day)
    place = find_place()
    budgets, reserved = _found(place, wanted, is_today=wanted == today)
    if json:
        told = {"home": str(place.home), "day": str(wanted)}
        shown = {"budgets": [one.as_dict() for one in budgets], "reserved": list(map(_as_dict, reserved))}
        print_json(told | shown)
    else:
        print_text(*_report(wanted, budgets, reserved, place.settings.caps()))
    return DONE


@with_failure_object
def run_accept(scopes: list[str], *, json: bool) -> int:
    """Let overrun budgets take reservations again; return the exit code."""
    place = find_place()
    if not place.has_ledger():
        say(f"error: nothing is overrun; nothing made yet in {place.home}.")
        return BAD_INPUT
    with ledger_of(place) as ledger:
        overrun = {one.scope: one for one in ledger.spending.overruns()}
        unknown = [scope for scope in scopes if scope not in overrun]
        if unknown:
            known = ", ".join(overrun) or "none"
            say(f"error: {', '.join(unknown)}: not overrun. Overrun budgets: {known}. Nothing was changed.")
            return BAD_INPUT
        for scope in scopes:
            ledger.spending.accept(scope)
            if json:
                print_json({"scope": scope, "accepted": True})
            else:
                print_text(f"{overrun[scope]}: accepted. Its cap holds on: what was spent counts.")
    return DONE


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        message = f"--day {text!r}: write the UTC day as YYYY-MM-DD."
        raise ConfigurationError(message) from error


def _usd(micro_usd: int) -> str:
    return usd(from_micro_usd(micro_usd))


def _found(place: Place, day: date, *, is_today: bool) -> tuple[list[_Budget], list[Reserved]]:
    caps = place.settings.caps()
    if not place.has_ledger():
        return _with_configured([], caps, day), []
    with ledger_of(place) as ledger:
        rows = [row for row in ledger.spending.scopes(day) if is_today or row.scope.endswith(f":{day}")]
        budgets = [_budget(row, _cap(row, caps, ledger, day, is_today=is_today)) for row in rows]
        reserved = ledger.spending.reserved([row.scope for row in rows])
    return _with_configured(budgets, caps, day) if is_today else budgets, reserved


def _budget(row: Scope, cap: Cap) -> _Budget:
    return _Budget(
        cap=cap,
        spent_micro_usd=row.spent_micro_usd,
        reserved_micro_usd=row.reserved_micro_usd,
        overrun=row.overrun,
    )


def _with_configured(budgets: list[_Budget], caps: Caps, day: date) -> list[_Budget]:
    """Add the caps of today under which nothing was bought yet."""
    known = {one.cap.scope for one in budgets}
    configured = [caps.of_day(day), *(caps.of_provider(name, day) for name in sorted(caps.provider_day_usd))]
    added = [_Budget(cap=cap) for cap in configured if cap.scope not in known]
    return sorted([*budgets, *added], key=lambda one: one.cap.scope)


def _cap(row: Scope, caps: Caps, ledger: Ledger, day: date, *, is_today: bool) -> Cap:
    """Return the cap that holds now; of what is past, and of runs, the one that held."""
    kind, _, name = row.scope.partition(":")
    if kind == "prompt" and (prompt := _prompt(ledger, name)) is not None:
        return caps.of_prompt(prompt)
    if is_today and row.scope == f"day:{day}":
        return caps.of_day(day)
    if is_today and kind == "provider":
        return caps.of_provider(name.partition(":")[0], day)
    setting = {"run": "MEDIA_ASSETS_MAX_RUN_USD (--max-run-usd)"}.get(kind, "")
    return Cap(row.scope, row.cap_micro_usd, setting)


def _prompt(ledger: Ledger, key: str) -> Prompt | None:
    """Return the prompt that is pinned under a key; of one that cannot be read, the cap that held is told."""
    try:
        pinned = ledger.prompts.get(key)
    except LedgerError:
        return None
    return None if pinned is None else pinned.prompt


def _as_dict(one: Reserved) -> dict[str, Any]:
    return {
        "prompt_key": one.prompt_key,
        "step": one.step,
        "model": one.model or None,
        "state": one.state,
        "request_key": one.request_key,
        "amount_usd": _usd(one.micro_usd),
        "owner_alive": one.owner_alive,
        "scopes": list(one.scopes),
    }


def _report(day: date, budgets: list[_Budget], reserved: list[Reserved], caps: Caps) -> Iterator[str | Text | Table]:
    yield Text(f"{day} (UTC)", style="bold")
    if budgets:
        yield table(_BUDGET_COLUMNS, (one.row() for one in budgets), right=_NUMBERS)
    else:
        yield "nothing was reserved on this day."
    if reserved:
        yield Text("reserved by", style="bold")
        yield table(_RESERVED_COLUMNS, map(_reserved_row, reserved), right=_NUMBERS)
    for one in budgets:
        if one.overrun is not None:
            accept = f"`media-assets budget accept {one.cap.scope}`"
            yield f"{one.overrun}. Nothing more is reserved under it until {accept}."
    each = "no cap" if caps.prompt_usd is None else f"at most {usd(caps.prompt_usd)} USD"
    run = "no cap" if caps.run_usd is None else f"at most {usd(caps.run_usd)} USD"
    yield f"each prompt without a cap of its own: {each} (MEDIA_ASSETS_MAX_COST_USD)"
    yield f"each run: {run} (MEDIA_ASSETS_MAX_RUN_USD)"


def _reserved_row(one: Reserved) -> tuple[str, ...]:
    process = "alive" if one.owner_alive else "none"
    request = (one.request_key or "")[:_SHOWN_CHARACTERS]
    return (one.prompt_key, one.step, one.model, one.state.lower(), request, _usd(one.micro_usd), process)
