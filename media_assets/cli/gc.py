"""``gc``: what nothing needs any more is removed, and what was done is told."""

import getpass
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from media_assets.cli.exit_codes import DONE
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import print_json, print_text, say, table, with_failure_object
from media_assets.errors import ConfigurationError
from media_assets.film import FILMS
from media_assets.providers.transport.spool import Spool
from media_assets.recovery.garbage import Collected, File, Garbage, Rules

_COLUMNS = ("file", "MB", "what", "why")
_SHOWN = 20
"""Files of each kind, for people; --json tells all."""
_SHOWN_CHARACTERS = 16


@with_failure_object
def run_gc(*, dry_run: bool, paid_days: str | None, json: bool) -> int:
    """Collect garbage, or say what would be; return the exit code."""
    days = None if paid_days is None else _days(paid_days)
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return DONE
    with ledger_of(place) as ledger:
        garbage = Garbage(
            ledger=ledger,
            store=place.store,
            spool=Spool(ledger.spool_root),
            folders=[place.home / FILMS],
            rules=Rules(unused_days=place.settings.unused_days, paid_days=days, who=getpass.getuser()),
            now=datetime.now(UTC),
        )
        found = garbage.look() if dry_run else garbage.collect()
    if json:
        print_json(_as_dict(found, place, dry_run=dry_run))
    else:
        print_text(*_report(found, dry_run=dry_run))
    return DONE


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not 1 <= days <= 36_500:  # noqa: PLR2004 - a century; and nothing is deleted that was bought today
        message = f"--delete-paid-older-than {text!r}: write a number of days, from 1 on. Nothing was deleted."
        raise ConfigurationError(message)
    return days


def _as_dict(found: Collected, place: Place, *, dry_run: bool) -> dict[str, Any]:
    return {
        "home": str(place.home),
        "dry_run": dry_run,
        "removed": list(map(_file, found.removed)),
        "freed_bytes": found.freed_bytes,
        "waiting": list(map(_file, found.waiting)),
        "kept": list(map(_file, found.kept)),
        "paid": [row.request_key for row in found.paid],
        "temporary": found.temporary,
        "replies": found.replies,
    }


def _file(one: File) -> dict[str, Any]:
    return {"name": one.name, "size_bytes": one.size_bytes, "reason": one.reason}


def _report(found: Collected, *, dry_run: bool) -> Iterator[str | Text | Table]:
    would = "would be " if dry_run else ""
    rows = [
        (one.name[:_SHOWN_CHARACTERS], f"{one.size_bytes / 1e6:.1f}", what, one.reason)
        for what, files in (("removed", found.removed), ("waits", found.waiting), ("kept", found.kept))
        for one in files[:_SHOWN]
    ]
    if rows:
        yield table(_COLUMNS, rows, right=frozenset({"MB"}))
    if len(rows) < len(found.removed) + len(found.waiting) + len(found.kept):
        yield f"at most {_SHOWN} of each are shown; --json tells all"
    if found.paid:
        yield f"{len(found.paid)} paid purchases {would}given up: a new take buys each again"
    yield (
        f"{len(found.removed)} files {would}removed ({found.freed_bytes / 1e6:.1f} MB), {len(found.waiting)} wait, "
        f"{len(found.kept)} kept; {found.temporary} temporary files and {found.replies} raw replies {would}removed"
    )
