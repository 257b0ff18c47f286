"""``ledger unknown`` and what ends it: adopt, resubmit, write-off; and accept, for a file judged not good."""

import getpass
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from rich.text import Text

from media_assets.cli.exit_codes import BAD_INPUT, DONE
from media_assets.cli.film_report import usd
from media_assets.cli.ledger import SHOWN_CHARACTERS, as_dict, named, one_row
from media_assets.cli.opening import find_place, ledger_of
from media_assets.cli.output import print_json, print_text, say, table, with_failure_object
from media_assets.errors import ConfigurationError
from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.pricing import from_micro_usd, to_micro_usd
from media_assets.providers.registry import build_adapters

_COLUMNS = ("request", "prompt", "step", "model", "at most (USD)", "since", "prediction")
_HOW = (
    "Look on the provider's site whether it is there. If it is: ledger adopt REQUEST PREDICTION_ID. If it is not, and "
    "no prediction is listed for it here: ledger resubmit REQUEST. If it was accepted and is gone: ledger write-off "
    "REQUEST, with --cost-usd 0 where nothing was billed."
)


@with_failure_object
def run_unknown(*, json: bool) -> int:
    """Print the purchases of unknown outcome, oldest first; return the exit code."""
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return DONE
    with ledger_of(place) as ledger:
        rows = [row for row in ledger.purchases.search() if row.state is PurchaseState.UNKNOWN]
    if json:
        for row in rows:
            print_json(as_dict(row) | {"since": row.updated_at, "error": row.error})
    elif rows:
        print_text(table(_COLUMNS, map(_line, rows), right=frozenset({"at most (USD)"})))
        for row in rows:
            print_text(Text(f"{row.request_key[:SHOWN_CHARACTERS]}: {(row.error or {}).get('message', '')}"))
        say(_HOW)
    else:
        say("nothing is unknown.")
    return DONE


def _line(row: PurchaseRow) -> tuple[str, ...]:
    return (
        *named(row),
        usd(from_micro_usd(row.estimate_micro_usd)),
        row.updated_at[:19],
        row.prediction_id or "",
    )


def run_adopt(prefix: str, prediction_id: str, *, json: bool) -> int:
    """Record which prediction an undecided purchase became; the next run fetches it, free."""

    def adopt(ledger: Ledger, row: PurchaseRow) -> str:
        adapter = build_adapters(find_place().settings.endpoints())[row.provider]
        known = adapter.known(row.request(), prediction_id.strip())
        if known is None:
            message = (
                f"{row.provider} has no way to fetch a prediction by its id. If it was billed: "
                f"media-assets ledger write-off {prefix}. Nothing was changed."
            )
            raise ConfigurationError(message)
        ledger.decisions.adopt(row, known, who=getpass.getuser())
        return f"adopted prediction {known.id}. Run generate again: it is fetched, and costs nothing more."

    return _decide(prefix, adopt, json=json)


def run_resubmit(prefix: str, *, json: bool) -> int:
    """Record that a submission was never accepted, so that the next run submits again."""

    def resubmit(ledger: Ledger, row: PurchaseRow) -> str:
        ledger.decisions.resubmit(row, who=getpass.getuser())
        return "taken as never accepted. Run generate again: it is submitted anew, which costs money."

    return _decide(prefix, resubmit, json=json)


def run_write_off(prefix: str, *, cost_usd: str | None, json: bool) -> int:
    """Record that a submission was billed and its output is not to be had."""

    def write_off(ledger: Ledger, row: PurchaseRow) -> str:
        cost = None if cost_usd is None else to_micro_usd(_amount(cost_usd))
        paid = ledger.decisions.write_off(row, cost_micro_usd=cost, who=getpass.getuser())
        return f"written off with {usd(from_micro_usd(paid))} USD. generate --retry-failed buys it anew."

    return _decide(prefix, write_off, json=json)


def run_accept(prefix: str, *, json: bool) -> int:
    """Record that a paid file that was judged not good enough is fine."""

    def accept(ledger: Ledger, row: PurchaseRow) -> str:
        ledger.decisions.accept(row, who=getpass.getuser())
        return "accepted. Run generate again: the file is taken as it is."

    return _decide(prefix, accept, json=json)


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount < 0:
        message = f"--cost-usd {text!r}: must be an amount in USD, such as 0.05."
        raise ConfigurationError(message)
    return amount


@with_failure_object
def _decide(prefix: str, decide: Callable[[Ledger, PurchaseRow], str], *, json: bool) -> int:
    place = find_place()
    if not place.has_ledger():
        message = f"no purchase is called {prefix!r}; nothing made yet in {place.home}."
        raise ConfigurationError(message)
    with ledger_of(place) as ledger:
        row = one_row(ledger, prefix)
        if row is None:
            return BAD_INPUT
        told = decide(ledger, row)
        after = ledger.purchases.get(row.request_key)
    if json and after is not None:
        print_json(as_dict(after))
    say(f"{row.request_key[:SHOWN_CHARACTERS]}: {told}")
    return DONE
