"""``./dev bench ledger``: what a purchase costs the ledger on SQLite by transition, and how many there are in a second.

The purchases are whole ones, with plans of their own under the caps that hold without configuration. CPU is that of the
threads while they are in the ledger, with SQLAlchemy and the system's for the disk; the provider's side is not in it.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from media_assets.ledger import Ledger, open_ledger
from media_assets_tests.children import meet, race
from media_assets_tests.ledger.metering import Cost, metering
from media_assets_tests.ledger.racing import day_of
from media_assets_tests.making import Shop
from media_assets_tests.web_shop import open_queue_shop

_PURCHASES = 40
_BEFORE = 5
"""Purchases that are not counted: statements are compiled once in a process."""
_OF_A_PROCESS = 100
_WIDE = 10**12


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as home, open_queue_shop(Path(home)) as shop:
        _measure("a paid purchase: queued, running, succeeded", shop.ledger, lambda take: shop.buy(take=take))
    with tempfile.TemporaryDirectory() as home, open_ledger(Path(home)) as ledger:
        free = Shop(Path(home), ledger, caps=day_of(_WIDE))
        _measure("a free one", ledger, lambda take: free.buy(take=take))
        _measure("one that is found", ledger, lambda take: free.buy(take=take))
    for processes in (1, 2):
        print(f"{_a_second(processes):.0f} paid purchases a second with {processes} processes, made in no time")


def _measure(title: str, ledger: Ledger, buy: Callable[[int], object]) -> None:
    for take in range(_BEFORE):
        buy(-1 - take)
    with metering(ledger) as metered:
        for take in range(_PURCHASES):
            buy(take)
    print(f"{title:44} calls statements commits  CPU ms wall ms")
    for name, cost in metered.by_name.items():
        print(_line(name, cost))
    print(_line("", metered.total), end="\n\n")


def _line(name: str, cost: Cost) -> str:
    calls, statements, commits = (count / _PURCHASES for count in (cost.calls, cost.statements, cost.commits))
    cpu_ms, wall_ms = (seconds / _PURCHASES * 1000 for seconds in (cost.cpu_s, cost.wall_s))
    return f"{name:44} {calls:5.1f} {statements:10.1f} {commits:7.1f} {cpu_ms:7.2f} {wall_ms:7.2f}"


def _a_second(processes: int) -> float:
    with tempfile.TemporaryDirectory() as home:
        open_ledger(Path(home)).close()
        each = [{"home": home, "number": number, "together": processes} for number in range(processes)]
        seconds = race(f"{__name__}:buy_many", each)
    return processes * _OF_A_PROCESS / max(seconds)


def buy_many(home: str, number: int, together: int) -> float:
    """In a child: buy so many pieces of silence one after the other; return how many seconds that took."""
    with open_ledger(Path(home)) as ledger:
        shop = Shop(Path(home), ledger, caps=day_of(_WIDE))
        meet(Path(home) / "ready", ledger.owner.id, together)
        began = time.monotonic()
        for take in range(_OF_A_PROCESS):
            shop.buy(paid=True, take=number * _OF_A_PROCESS + take)
        return time.monotonic() - began
