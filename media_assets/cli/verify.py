"""``ledger verify``: whether what is kept is whole, and what to do where it is not."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from media_assets.cli.exit_codes import DONE, FINDINGS
from media_assets.cli.opening import find_place, ledger_of
from media_assets.cli.output import messages, print_json, print_text, say, with_failure_object
from media_assets.providers.transport.spool import Spool
from media_assets.recovery.verify import Verification


@with_failure_object
def run_verify(*, hashes: bool, json: bool) -> int:
    """Look at everything that is kept; return the exit code."""
    place = find_place()
    if not place.has_ledger():
        say(f"nothing made yet in {place.home}.")
        return DONE
    with ledger_of(place) as ledger:
        spool = Spool(ledger.spool_root)
        verification = Verification(ledger=ledger, store=place.store, spool=spool, hashes=hashes)
        with _bar(ledger.audit.total_bytes() if hashes else 0) as tell:
            findings = list(verification.findings(tell))
    if json:
        print_json({"home": str(place.home), "ok": not findings, "findings": list(map(asdict, findings))})
    else:
        for one in findings:
            print_text(f"{one.kind}: {one.about}: {one.what}", f"    {one.do}")
        say(f"{len(findings)} findings." if findings else "everything is as it should be.")
    return FINDINGS if findings else DONE


@contextlib.contextmanager
def _bar(total_bytes: int) -> Iterator[Callable[[int], object]]:
    """Show how far it is, on a terminal, where there is anything to wait for."""
    if not messages().is_terminal or not total_bytes:
        yield lambda _bytes: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=messages(), transient=True) as progress:
        bar = progress.add_task("reading files", total=total_bytes)
        yield lambda size_bytes: progress.advance(bar, size_bytes)
