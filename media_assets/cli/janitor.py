"""``janitor``: brings to its end what was begun and whose run is gone, and says what came of each purchase."""

from collections.abc import Sequence
from typing import Any

from media_assets.cli.exit_codes import BAD_INPUT, DONE, OTHER_FAILURE, UNKNOWN_OUTCOME
from media_assets.cli.film_report import usd
from media_assets.cli.interrupts import INTERRUPTS, Interrupted
from media_assets.cli.ledger import SHOWN_CHARACTERS, as_dict, named
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.opening_studio import studio_of
from media_assets.cli.output import messages, print_json, print_text, say, say_stopping, table, with_failure_object
from media_assets.cli.work_progress import work_progress
from media_assets.errors import ConfigurationError
from media_assets.ledger.rows import PurchaseRow
from media_assets.pricing import from_micro_usd
from media_assets.recovery.janitor import Cleared, Janitor, Outcome, intention

_COLUMNS = ("request", "prompt", "step", "model", "was", "now", "cost (USD)")
_INTENTIONS = ("request", "prompt", "step", "model", "state", "at most (USD)", "would")


@with_failure_object
def run_janitor(*, dry_run: bool, waits: bool, json: bool) -> int:
    """Clear up what was left behind, and print what came of it; return the exit code. Free: nothing is submitted."""
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return DONE
    # Looked up before the studio is opened, which gives back what the dead had only reserved.
    with ledger_of(place) as ledger:
        rows = ledger.purchases.unfinished()
        if dry_run:
            _print_intentions([(row, intention(row, ledger)) for row in rows], json=json)
    if dry_run:
        return DONE
    return _clear(place, rows, waits=waits, json=json)


def _clear(place: Place, rows: Sequence[PurchaseRow], *, waits: bool, json: bool) -> int:
    cleared: list[Cleared] = []
    # Opened even for nothing: what dead processes left on disk, and plans they had reserved money for, go too.
    with studio_of(place) as studio, work_progress(messages(), json=json) as progress:

        def end(one: Cleared) -> None:
            cleared.append(one)
            progress.end(_name(one.row))
            if json:
                print_json(_as_dict(one))

        def tell(row: PurchaseRow, fraction: float | None, note: str) -> None:
            progress.move(_name(row), fraction, note)

        try:
            janitor = Janitor(studio, waits=waits, tell=tell)
            INTERRUPTS.run(janitor.clear(rows, end), on_stop=say_stopping)
        except Interrupted as interrupted:
            if cleared:
                _print_cleared(cleared, json=json)
            say(f"interrupted; {len(cleared)} of {len(rows)} done with. Run again to go on: that costs nothing.")
            return interrupted.exit_code
    _print_cleared(cleared, json=json)
    return exit_code_of_cleared(cleared)


def exit_code_of_cleared(cleared: Sequence[Cleared]) -> int:
    """Return 5 where an outcome is unknown, 2 and 4 where something could not be gone on with, else 0."""
    if any(one.outcome is Outcome.HELD for one in cleared):
        return UNKNOWN_OUTCOME
    still_open = [one for one in cleared if one.outcome is Outcome.OPEN]
    if any(isinstance(one.error, ConfigurationError) for one in still_open):
        return BAD_INPUT
    return OTHER_FAILURE if still_open else DONE


def _name(row: PurchaseRow) -> str:
    return f"{row.request_key[:SHOWN_CHARACTERS]} ({row.step})"


def _print_intentions(intended: Sequence[tuple[PurchaseRow, str]], *, json: bool) -> None:
    if json:
        for row, would in intended:
            print_json(as_dict(row) | {"would": would})
    elif intended:
        lines = ((*named(row), str(row.state), usd(from_micro_usd(row.estimate_micro_usd)), it) for row, it in intended)
        print_text(table(_INTENTIONS, lines, right=frozenset({"at most (USD)"})))
    else:
        say("nothing is open.")


def _as_dict(one: Cleared) -> dict[str, Any]:
    error = one.error.as_dict() if one.error is not None else one.row.error
    return as_dict(one.row) | {
        "was": str(one.was),
        "outcome": str(one.outcome),
        "why": one.why,
        "error": None if one.outcome in {Outcome.FINISHED, Outcome.AT_WORK} else error,
    }


def _print_cleared(cleared: Sequence[Cleared], *, json: bool) -> None:
    if not cleared:
        say("nothing is open.")
        return
    if not json:
        print_text(table(_COLUMNS, map(_line, cleared), right=frozenset({"cost (USD)"})))
        print_text(*(f"{one.row.request_key[:SHOWN_CHARACTERS]}: {one.why}" for one in cleared if one.why))
    counts = {outcome: sum(one.outcome is outcome for one in cleared) for outcome in Outcome}
    cost = sum((from_micro_usd(one.row.cost_micro_usd or 0) for one in cleared), start=from_micro_usd(0))
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    say(f"{told}; together they cost {usd(cost)} USD, and nothing was submitted.")


def _line(one: Cleared) -> tuple[str, ...]:
    row = one.row
    cost = "" if row.cost_micro_usd is None else usd(from_micro_usd(row.cost_micro_usd))
    return *named(row), str(one.was), str(one.outcome), cost
