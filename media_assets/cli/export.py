"""``ledger export``: one line a purchase, for accounting; to a file whole or not at all."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path
from typing import Any

from media_assets.cli.exit_codes import DONE
from media_assets.cli.film_report import usd
from media_assets.cli.opening import find_place, ledger_of
from media_assets.cli.output import print_raw, say
from media_assets.durable import write_whole
from media_assets.errors import ArtifactError, ConfigurationError
from media_assets.ledger.accounts import Account, Accounts
from media_assets.spreadsheet import csv_line

_COLUMNS = tuple(field.name for field in fields(Account))


def run_export(*, form: str, since: str | None, until: str | None, output: Path | None) -> int:
    """Write the purchases of a time; return the exit code."""
    write = _FORMS.get(form.strip().lower())
    if write is None:
        message = f"--format {form!r}: there is no such format. The formats are {', '.join(_FORMS)}."
        raise ConfigurationError(message)
    first, last = _day("--since", since), _day("--until", until)
    if first is not None and last is not None and last < first:
        message = f"--until {last} is before --since {first}: no purchase can lie between them."
        raise ConfigurationError(message)
    place = find_place()
    with contextlib.ExitStack() as stack:
        accounts: Iterable[Account] = ()
        if place.has_ledger():
            accounts = Accounts(stack.enter_context(ledger_of(place)).database).between(first, last)
        else:
            say(f"nothing made yet in {place.home}.")
        lines = write(accounts)
        if output is None:
            for line in lines:
                print_raw(line)
        else:
            _write_whole(output, lines)
            say(f"written: {output}")
    return DONE


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        message = f"{option} {text!r}: write the UTC day as YYYY-MM-DD."
        raise ConfigurationError(message) from error


def _write_whole(target: Path, lines: Iterable[str]) -> None:
    try:
        write_whole(target, lines)
    except OSError as error:
        message = f"writing {target}: {error.strerror or error}. Choose another path with --output."
        raise ArtifactError(message) from error


def _jsonl(accounts: Iterable[Account]) -> Iterator[str]:
    for one in accounts:
        yield json.dumps(_as_dict(one)) + "\n"


def _csv(accounts: Iterable[Account]) -> Iterator[str]:
    yield csv_line(_COLUMNS)
    for one in accounts:
        told = _as_dict(one)
        told["decisions"] = " ".join(one.decisions)
        told["reported"] = json.dumps(one.reported) if one.reported else ""
        yield csv_line(told[name] for name in _COLUMNS)


def _as_dict(one: Account) -> dict[str, Any]:
    cost = None if one.cost_usd is None else usd(one.cost_usd)
    told = asdict(one) | {"estimate_usd": usd(one.estimate_usd), "cost_usd": cost, "billed": str(one.billed)}
    return told | {"decisions": list(one.decisions)}


_FORMS: Mapping[str, Callable[[Iterable[Account]], Iterator[str]]] = {"jsonl": _jsonl, "csv": _csv}
