"""What racing processes do, and who watches them: a provider that counts for all, and somebody who reads the budget."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, CreateEnginePlugin, make_url

from media_assets.artifact import Artifact, MediaInfo, MediaKind
from media_assets.catalog import Recovery
from media_assets.errors import BudgetExceededError, LedgerError, ProviderUnavailableError
from media_assets.ledger import Ledger, database, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.schema import budget
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets.providers.base import LocalArguments, LocalCall, LocalReply
from media_assets_tests.children import meet
from media_assets_tests.ledger.money import DAY
from media_assets_tests.making import OwnProvider, Shop, some_request

POOL = 4
"""Connections of a process that uses :func:`with_small_pool`."""
TRANSITIONS_IN_A_CYCLE = 10
_AT_ONCE = 6
"""Purchases that one process has under way: more than the small pool has connections."""
_TRIES = 5
"""Of a purchase on Postgres, that says after a while that it cannot be reached: 32 processes are many for two cores."""
_LOOK_EVERY_S = 0.005
_WIDE = 10**12


@dataclass
class CountingProvider(OwnProvider):
    """Notes down what it accepts, durably, in one file for all processes."""

    accepted: Path = Path()

    def submit_call(self, *args: Any, **named: Any) -> LocalCall:
        request, made = args[0], super().submit_call(*args, **named)

        def call(arguments: LocalArguments) -> LocalReply:
            descriptor = os.open(self.accepted, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, f"{request.key}\n".encode())
            os.fsync(descriptor)
            os.close(descriptor)
            return made.function(arguments)

        return LocalCall(function=call, params=made.params)


class SmallPool(CreateEnginePlugin):
    """Gives an engine a pool of ``POOL`` connections and not one more."""

    def update_url(self, url: URL) -> URL:
        return url.difference_update_query(["plugin"])

    def handle_pool_kwargs(self, pool_cls: type[sa.Pool], pool_args: dict[str, Any]) -> None:
        if pool_cls is sa.QueuePool:
            pool_args |= {"pool_size": POOL, "max_overflow": 0}


def with_small_pool(url: str) -> str:
    """Return the URL of a database whose engines have a small pool."""
    sa.dialects.plugins.register("small_pool", __name__, SmallPool.__name__)
    return make_url(url).update_query_dict({"plugin": "small_pool"}).render_as_string(hide_password=False)


def accepted_in(home: Path) -> list[str]:
    """Return the request keys of all submissions that were accepted."""
    return (home / "accepted").read_text().split()


def day_of(micro_usd: int) -> list[Cap]:
    """Return caps of which that of the day is short."""
    return [Cap(DAY, micro_usd, "short"), Cap("prompt:cheap", _WIDE, "wide")]


def buy_keys(
    home: str, takes: Sequence[int], together: int, *, url: str | None = None, cap_micro_usd: int = _WIDE
) -> list[str | None]:
    """In a child: buy these takes as others do; return the file of each, None where the money did not reach."""
    folder = Path(home)
    with open_ledger(folder, with_small_pool(url) if url else None) as ledger:
        provider = CountingProvider(accepted=folder / "accepted")
        shop = Shop(folder, ledger, provider, caps=day_of(cap_micro_usd))
        meet(folder / "ready", ledger.owner.id, together)
        return asyncio.run(_buy_all(shop, takes))


async def _buy_all(shop: Shop, takes: Sequence[int]) -> list[str | None]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(take: int) -> str | None:
        async with places:
            for left in reversed(range(_TRIES)):
                try:
                    return (await shop.buying(take=take, paid=True)).artifact.sha256
                except BudgetExceededError:
                    return None
                except LedgerError:
                    if shop.ledger.database.is_sqlite or not left:
                        raise
        return None

    return await asyncio.gather(*map(one, takes))


def make_transitions(
    home: str, number: int, together: int, cycles: int, *, url: str | None = None, is_deferred: bool = False
) -> list[int]:
    """In a child: take purchases through the ledger as others do; return how many were made, and how many locked out.

    Args:
        home: The folder of state.
        number: Which of the processes this is.
        together: How many there are.
        cycles: How many purchases, of ``TRANSITIONS_IN_A_CYCLE`` transitions each.
        url: The ledger's, where it is not the home's.
        is_deferred: Whether a transaction begins as SQLite's own do: as a reader that may become a writer.
    """
    if is_deferred:
        vars(database)["_begin_immediate"] = _begin_deferred
    made = locked = 0
    with open_ledger(Path(home), url) as ledger:
        meet(Path(home) / "ready", ledger.owner.id, together)
        for cycle in range(cycles):
            try:
                for transition in _cycle(ledger, number * cycles + cycle):
                    transition()
                    made += 1
            except LedgerError as error:
                if "locked" not in error.message:
                    raise
                locked += 1
    return [made, locked]


def _begin_deferred(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN")


def _cycle(ledger: Ledger, take: int) -> Iterator[Callable[[], object]]:
    """Yield what takes one purchase of one micro-USD from its plan to its file."""
    prompts, purchases = ledger.prompts, ledger.purchases
    plan_id, request = f"plan-{take}", some_request(take=take)
    amounts = {Step.IMAGE: 1}
    yield lambda: prompts.open_plan(plan_id, "cheap", amounts=amounts, caps=day_of(_WIDE))
    kept: list[Any] = []
    terms: dict[str, Any] = {"recovery": Recovery.NONE, "prompt_key": "cheap", "estimate_micro_usd": 1}
    yield lambda: kept.append(purchases.claim(request, plan_id=plan_id, **terms))
    (claim,) = kept
    assert isinstance(claim, Claim)
    yield lambda: kept.append(purchases.write_intent(claim))
    yield lambda: purchases.write_put_back(claim, kept[-1], ProviderUnavailableError("not reached"), block_s=0)
    yield lambda: kept.append(purchases.write_intent(claim))
    going, done = (Prediction(id=f"p-{take}", state=state) for state in (State.RUNNING, State.SUCCEEDED))
    yield lambda: purchases.write_submitted(claim, kept[-1], going)
    yield lambda: purchases.write_remote(claim, done)
    yield lambda: purchases.write_done(claim, done, Settlement(cost_micro_usd=1))
    yield lambda: purchases.write_stored(claim, _FILE, duration_s=0.0, failed=None)
    purchases.leave(claim)
    yield lambda: prompts.close_plan(plan_id)


_FILE = Artifact(sha256="0" * 64, info=MediaInfo(kind=MediaKind.AUDIO, mime="audio/wav", extension="wav", size_bytes=1))


@contextmanager
def watched(ledger: Ledger) -> Iterator[list[int]]:
    """Look every 5 ms at what is spent and reserved under the day; the list grows by what is seen."""
    seen: list[int] = []
    total = sa.select(budget.c.spent_micro_usd + budget.c.reserved_micro_usd).where(budget.c.scope == DAY)
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY_S):
            with ledger.database.read() as connection:
                seen.extend(connection.execute(total).scalars())

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()
