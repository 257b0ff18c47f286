"""``rescue``: what providers have finished and no ledger knows of, listed, and pulled before it expires."""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from media_assets.catalog import load_catalog
from media_assets.cli.exit_codes import DONE, OTHER_FAILURE
from media_assets.cli.interrupts import INTERRUPTS, Interrupted
from media_assets.cli.opening import Place, find_place, ledger_of
from media_assets.cli.output import (
    complain,
    messages,
    print_json,
    print_text,
    say,
    say_stopping,
    table,
    with_failure_object,
)
from media_assets.cli.work_progress import work_progress
from media_assets.errors import ConfigurationError, OutputLostError
from media_assets.providers.fal_platform import ENDPOINT
from media_assets.providers.outputs import every_output_of
from media_assets.providers.transport import Transport, open_transport
from media_assets.recovery.rescue import RESCUED, Looked, Rescue, Rescued, Seen, providers_to_ask

_COLUMNS = ("provider", "id", "endpoint", "age", "state", "expires in", "in ledger", "file, or why not")
_SINCE = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_LONGEST = timedelta(days=90)
"""No provider's list goes back further (fal's, which looks back the longest)."""


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What one call of ``rescue`` was asked."""

    providers: Sequence[str]
    since: str
    endpoints: Sequence[str]
    dry_run: bool
    json: bool


@with_failure_object
def run_rescue(typed: Typed, *, json: bool) -> int:
    """List what the ledger does not know, and pull it; return the exit code. Free: nothing is submitted."""
    del json  # for the decorator, which prints what ends all of it
    place = find_place()
    since = read_since(typed.since)
    _check_endpoints(typed.endpoints)
    endpoints, options = place.settings.endpoints(), place.settings.transport_options()
    with contextlib.closing(open_transport(endpoints, options, outputs_in=every_output_of)) as transport:
        return _rescue(place, typed, transport, since)


def _rescue(place: Place, typed: Typed, transport: Transport, since: timedelta) -> int:
    chosen, notes = providers_to_ask(transport, typed.providers)
    if typed.endpoints and not any(transport.adapter(name).list_endpoints_max for name in chosen):
        message = "--endpoint: only fal is asked endpoint by endpoint, and it is not asked here."
        raise ConfigurationError(message)
    for note in notes:
        say(note)
    catalog = load_catalog(place.settings.catalog_folder)
    folder = place.home / RESCUED
    report = _Report(transport, folder, now=datetime.now(UTC), json=typed.json)
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(ledger_of(place)) if place.has_ledger() else None
        at_once = place.settings.max_in_flight
        rescue = Rescue(transport, catalog, folder, ledger=ledger, at_once=at_once)
        if not typed.dry_run:
            stack.enter_context(rescue.at_work())
        try:
            work = _look_and_pull(rescue, report, chosen, since, typed)
            INTERRUPTS.run(work, on_stop=say_stopping)
        except Interrupted as interrupted:
            report.finish()
            say("interrupted; what was pulled is whole. Run again to go on.")
            return interrupted.exit_code
    report.finish()
    return OTHER_FAILURE if report.is_troubled else DONE


async def _look_and_pull(
    rescue: Rescue, report: "_Report", chosen: Sequence[str], since: timedelta, typed: Typed
) -> None:
    now = report.now
    with work_progress(messages(), json=typed.json) as progress:

        async def look(name: str) -> Looked:
            progress.move(name, None, "reads its list")
            looked = await rescue.look(name, since=now - since, until=now, endpoints=typed.endpoints)
            progress.end(name)
            return looked

        def end(one: Rescued) -> None:
            progress.end(one.seen.listed.prediction.id)
            report.add(one)

        seen = report.take_lists(await asyncio.gather(*map(look, chosen)))
        if not typed.dry_run:
            await rescue.pull(seen, end, lambda name, what: progress.move(name, None, what))
            return
        for one in seen:
            report.add(Rescued(seen=one, why=one.why_not or "would be pulled"))


def read_since(text: str) -> timedelta:
    """Return a time such as 30m, 1h or 2d.

    Raises:
        ConfigurationError: It is none, or longer than 90 days.
    """
    found = _SINCE.fullmatch(text.strip().lower())
    since = _UNITS[found[2]] * int(found[1]) if found else None
    if since is None or since > _LONGEST:
        message = f"--since {text!r}: must be a time such as 30m, 1h or 2d, of at most {_LONGEST.days} days."
        raise ConfigurationError(message)
    return since


def _check_endpoints(endpoints: Sequence[str]) -> None:
    for endpoint in endpoints:
        if not ENDPOINT.fullmatch(endpoint):
            message = f"--endpoint {endpoint!r}: must be an endpoint of fal, such as fal-ai/flux/schnell."
            raise ConfigurationError(message)


class _Report:
    """What is told of lists and predictions."""

    def __init__(self, transport: Transport, folder: Path, *, now: datetime, json: bool) -> None:
        self.now = now
        self.is_troubled = False
        self._transport = transport
        self._folder = folder
        self._json = json
        self._ended: list[Rescued] = []

    def take_lists(self, looked: Sequence[Looked]) -> list[Seen]:
        """Tell what is wrong with lists, and return all that is on them."""
        for one in looked:
            if one.error is not None:
                self._tell_trouble({"provider": one.provider, "error": one.error.as_dict()})
                complain(one.error, about=one.provider)
            elif one.unreadable:
                self._tell_trouble({"provider": one.provider, "unreadable": list(one.unreadable)})
                say(f"warning: {one.provider}'s list could not be read to its end, so something may be missing here:")
                for why in one.unreadable:
                    say(f"  {why}")
        return [seen for one in looked for seen in one.seen]

    def _tell_trouble(self, told: dict[str, Any]) -> None:
        self.is_troubled = True
        if self._json:
            print_json(told)

    def add(self, one: Rescued) -> None:
        """Take what became of a prediction."""
        self._ended.append(one)
        self.is_troubled = self.is_troubled or one.may_be_had_later
        if self._json:
            print_json(self._as_dict(one))

    def finish(self) -> None:
        """Print the table, and what may be adopted."""
        if not self._ended:
            say("nothing is listed in that time.")
            return
        if not self._json:
            print_text(table(_COLUMNS, map(self._line, self._ended)))
            print_text(*(f"{one.seen.listed.prediction.id}: {one.why}" for one in self._ended if one.error is not None))
        for one in self._ended:
            for said in one.seen.ways_to_adopt():
                say(said)
        files = sum(len(one.files) for one in self._ended)
        later = sum(one.may_be_had_later for one in self._ended)
        more = f"; {later} could not be had just now: run again soon" if later else ""
        where = f", {files} files of them are in {self._folder}" if files else ""
        say(f"{len(self._ended)} listed{where}{more}.")

    def _expires_at(self, seen: Seen) -> datetime | None:
        return seen.expires_at(self._transport.adapter(seen.provider).outputs_kept_s)

    def _as_dict(self, one: Rescued) -> dict[str, Any]:
        seen, listed = one.seen, one.seen.listed
        created, expires = listed.created_at, self._expires_at(seen)
        return {
            "provider": seen.provider,
            "prediction_id": listed.prediction.id,
            "endpoint": listed.endpoint,
            "state": str(listed.prediction.state),
            "created_at": None if created is None else created.isoformat(),
            "expires_at": None if expires is None else expires.isoformat(),
            "in_ledger": seen.claimed,
            "files": [str(path) for path in one.files],
            "why": one.why,
            "error": None if one.error is None else one.error.as_dict(),
            "may_be": [{"request_key": row.request_key, "adopt_id": seen.adopt_id} for row in seen.fits],
        }

    def _line(self, one: Rescued) -> tuple[str, ...]:
        seen, listed = one.seen, one.seen.listed
        created, expires = listed.created_at, self._expires_at(seen)
        left = "not said" if expires is None else "past" if expires <= self.now else _span(expires - self.now)
        files = ", ".join(str(path.relative_to(self._folder)) for path in one.files)
        return (
            seen.provider,
            listed.prediction.id,
            listed.endpoint,
            "not said" if created is None else _span(self.now - created),
            str(listed.prediction.state),
            left,
            "yes" if seen.claimed else "no",
            ", ".join(part for part in (files, _short(one)) if part),
        )


def _short(one: Rescued) -> str:
    if one.error is None:
        return one.why
    return "gone" if isinstance(one.error, OutputLostError) else "not had"


def _span(span: timedelta) -> str:
    minutes = max(int(span.total_seconds() // 60), 0)
    if minutes < 120:  # noqa: PLR2004 - two hours
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 72 else f"{hours // 24} d"  # noqa: PLR2004 - three days
