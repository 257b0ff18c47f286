"""``reconcile``: whether the providers' own bills agree with the ledger."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from media_assets.catalog import load_catalog
from media_assets.cli.exit_codes import DONE, FINDINGS, OTHER_FAILURE
from media_assets.cli.film_report import usd
from media_assets.cli.interrupts import INTERRUPTS
from media_assets.cli.ledger import SHOWN_CHARACTERS
from media_assets.cli.opening import find_place, ledger_of
from media_assets.cli.output import complain, print_json, print_text, say, say_stopping, table, with_failure_object
from media_assets.cli.rescue import read_since
from media_assets.errors import ConfigurationError, MediaAssetsError
from media_assets.ledger import Ledger
from media_assets.providers.registry import KEY_VARIABLES, require_provider
from media_assets.providers.transport import Transport, open_transport
from media_assets.recovery.reconcile import Basis, Charge, Claimed, Reconciled, Reconciling

_COLUMNS = ("request", "model", "state", "ledger (USD)", "bill (USD)", "difference (USD)", "prediction, or why not")
_CHARGE_COLUMNS = ("prediction", "endpoint", "at", "bill (USD)")
_NUMBERS = frozenset({"ledger (USD)", "bill (USD)", "difference (USD)"})
_LONGEST = timedelta(days=89)
"""fal tells of at most 90 days at once, and a little is asked for on both sides."""
_SHOWN = 50

_HOW = {
    Basis.MONEY: "by what it says it charged",
    Basis.USAGE: "by what it says was used, at our prices",
    Basis.NOTHING: "it tells nothing of single predictions: compare the sum with its invoice yourself",
}


@with_failure_object
def run_reconcile(*, providers: Sequence[str], since: str, shared: bool, json: bool) -> int:
    """Compare bills with the ledger; return the exit code. Free: nothing is submitted."""
    back = read_since(since)
    if back > _LONGEST:
        message = f"--since {since!r}: no bill tells of more than {_LONGEST.days} days."
        raise ConfigurationError(message)
    place = find_place()
    for name in providers:
        require_provider(name)
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return DONE
    endpoints, options = place.settings.endpoints(), place.settings.transport_options()
    with contextlib.closing(open_transport(endpoints, options)) as transport, ledger_of(place) as ledger:
        chosen = _chosen(providers, ledger, transport)
        reconciling = Reconciling(
            ledger=ledger,
            catalog=load_catalog(place.settings.catalog_folder),
            transport=transport,
            now=datetime.now(UTC),
        )
        work = _ask(reconciling, chosen, since=reconciling.now - back, shared=shared)
        found = INTERRUPTS.run(work, on_stop=say_stopping)
    return _tell(found, json=json)


def _chosen(wanted: Sequence[str], ledger: Ledger, transport: Transport) -> list[str]:
    """Return the providers to ask; one that is wanted and has no usable key is an error, another one is told of."""
    chosen = []
    for name in dict.fromkeys(wanted) or KEY_VARIABLES:
        problem = transport.key_problem(name)
        if problem is None or transport.adapter(name).list_lag_s is None:
            if wanted or problem is None or ledger.bills.endpoints(name):
                chosen.append(name)
        elif wanted:
            message = f"{name} cannot be asked for its bill: {problem}."
            raise ConfigurationError(message)
        elif ledger.bills.endpoints(name):
            say(f"{name} was not asked for its bill: {problem}.")
    return chosen


async def _ask(
    reconciling: Reconciling, chosen: Sequence[str], *, since: datetime, shared: bool
) -> dict[str, Reconciled | MediaAssetsError]:
    async def ask(name: str) -> Reconciled | MediaAssetsError:
        try:
            return await reconciling.reconcile(name, since=since, shared=shared)
        except MediaAssetsError as error:
            return error

    return dict(zip(chosen, await asyncio.gather(*map(ask, chosen)), strict=True))


def _tell(found: dict[str, Reconciled | MediaAssetsError], *, json: bool) -> int:
    codes = {DONE}
    for name, one in found.items():
        if isinstance(one, MediaAssetsError):
            codes.add(OTHER_FAILURE)
            complain(one, about=name)
            if json:
                print_json({"provider": name, "error": one.as_dict()})
            continue
        if one.agrees is False:
            codes.add(FINDINGS)
        if json:
            print_json(_as_dict(one))
        else:
            print_text(*_report(one))
    if not found:
        say("no provider was asked: nothing was bought from any, and no key is set.")
    return max(codes)


def _as_dict(one: Reconciled) -> dict[str, Any]:
    return {
        "provider": one.provider,
        "basis": str(one.basis),
        "agrees": one.agrees,
        "ledger_usd": usd(one.ledger_usd),
        "billed_usd": None if one.basis is Basis.NOTHING else usd(one.billed_usd),
        "shared": one.shared,
        "matched": list(map(_claimed, one.claimed)),
        "unbilled": list(map(_claimed, one.unbilled)),
        "unclaimed": list(map(_charge, one.unclaimed)),
        "others": list(map(_charge, one.others)),
        "unreadable": list(one.unreadable),
    }


def _claimed(one: Claimed) -> dict[str, Any]:
    return {
        "request_key": one.row.request_key,
        "model": one.row.model,
        "state": str(one.row.state),
        "prediction_ids": list(one.prediction_ids),
        "ledger_usd": usd(one.ledger_usd),
        "billed_usd": None if one.billed_usd is None else usd(one.billed_usd),
        "difference_usd": None if one.difference_usd is None else usd(one.difference_usd),
        "why_not": one.why_not or None,
    }


def _charge(one: Charge) -> dict[str, Any]:
    return {
        "prediction_id": one.prediction_id,
        "endpoint": one.endpoint,
        "at": None if one.at is None else one.at.isoformat(),
        "usd": None if one.usd is None else usd(one.usd),
        "used": {name: str(amount) for name, amount in one.used.items()},
    }


def _report(one: Reconciled) -> Iterator[str | Text | Table]:
    verdict = {None: "not compared", True: "agrees", False: "DOES NOT AGREE"}[one.agrees]
    heading = Text(one.provider, style="bold")
    heading.append(f"  {verdict}; {_HOW[one.basis]}", style="not bold")
    yield heading
    bill = "unknown" if one.basis is Basis.NOTHING else usd(one.billed_usd)
    yield (
        f"ledger {usd(one.ledger_usd)} USD, bill {bill} USD; {len(one.claimed)} purchases are on both, "
        f"{len(one.unbilled)} in the ledger only, {len(one.unclaimed)} predictions on the bill only"
    )
    differing = [claimed for claimed in (*one.claimed, *one.unbilled) if claimed.difference_usd != Decimal(0)]
    if differing and one.basis is not Basis.NOTHING:
        yield table(_COLUMNS, map(_row, differing[:_SHOWN]), right=_NUMBERS)
    if one.unclaimed:
        yield table(_CHARGE_COLUMNS, map(_charge_row, one.unclaimed[:_SHOWN]), right=_NUMBERS)
        yield (
            "On the bill, and of no purchase: somebody else's (then say --shared), or lost. `media-assets rescue "
            f"--provider {one.provider}` pulls what is still there; `ledger unknown` lists purchases that one may be "
            "of, and `ledger adopt REQUEST PREDICTION` says so."
        )
    if one.others:
        yield f"{len(one.others)} others are of nothing that was ever asked for here; they do not count."
    yield from (f"could not be read: {why}" for why in one.unreadable)
    if max(len(differing), len(one.unclaimed)) > _SHOWN:
        yield f"at most {_SHOWN} of each are shown; --json tells all"


def _row(one: Claimed) -> tuple[str, ...]:
    bill, difference = ("" if amount is None else usd(amount) for amount in (one.billed_usd, one.difference_usd))
    key = one.row.request_key[:SHOWN_CHARACTERS]
    told = one.why_not or ", ".join(one.prediction_ids) or "not on the bill"
    return (key, one.row.model, str(one.row.state), usd(one.ledger_usd), bill, difference, told)


def _charge_row(one: Charge) -> tuple[str, ...]:
    at = "" if one.at is None else one.at.isoformat(sep=" ", timespec="seconds")
    return (one.prediction_id, one.endpoint, at, "" if one.usd is None else usd(one.usd))
