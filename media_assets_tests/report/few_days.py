"""A ledger with purchases of every kind, made as runs make them, and then moved to the days of a week."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import sqlalchemy as sa

from media_assets.errors import JudgeError, ModelGoneError, PurchaseError, UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.schema import attempt, purchase, step
from media_assets_tests.making import (
    PRICED,
    SHOP_REQUEST,
    SILENCE_IS_BAD,
    OwnProvider,
    Shop,
    cheap_prompt,
    failing,
    studio_on,
)

DAYS = {0: "2026-11-17", 1: "2026-11-20", 2: "2026-11-20", 3: "2026-11-22", 4: "2026-11-23"}
"""The day on which each take of the shop's silence is bought: well, well, paid and bad, failed free, unknown."""
FILMS_DAY = "2026-11-21"

_CAPS = (Cap("prompt:cheap", 100_000_000, "cap"), Cap("day:2026-11-23", 5_000_000, "cap"))


def buy_a_few(home: Path) -> None:
    """Buy what ends in each way, and make a film whose clip is a stand-in's and one that shares its picture."""
    with open_ledger(home) as ledger:
        shop = Shop(home, ledger, caps=_CAPS)
        shop.buy(paid=True, take=0)
        shop.buy(paid=True, take=1)
        with contextlib.suppress(JudgeError):
            shop.buy(paid=True, take=2, question=SILENCE_IS_BAD)
        _fail(shop, 3, ModelGoneError("no such model"))
        _fail(shop, 4, UnknownOutcomeError("the reply was lost"))
    _make_films(home)
    with open_ledger(home) as ledger:
        of_shop = SHOP_REQUEST.model
        rows = ledger.purchases.search()
        _move(ledger, {row.request_key: DAYS[row.take] if row.model == of_shop else FILMS_DAY for row in rows})


def _fail(shop: Shop, take: int, error: PurchaseError) -> None:
    shop.provider.before = failing("silence", error)
    with contextlib.suppress(PurchaseError):
        shop.buy(paid=True, take=take)


def _make_films(home: Path) -> None:
    """Make two prompts of one picture, which costs a cent; the clip's first model is no more."""
    provider = OwnProvider(before=failing("ken_burns", ModelGoneError("no such model")))
    routes = {"image": ["testing:landscape"], "video": ["testing:ken-burns", "local:ken-burns"]}
    with studio_on(home, models=PRICED, provider=provider) as studio:
        for key in ("barn", "farm"):
            asyncio.run(studio.make(cheap_prompt(key=key, script=None, routes=routes)))


def _move(ledger: Ledger, days: Mapping[str, str]) -> None:
    """Move what is written of purchases to the days given, at the same time of day."""
    with ledger.database.write() as connection:
        for key, day in days.items():
            for table, column in (
                (purchase, purchase.c.created_at),
                (attempt, attempt.c.intent_at),
                (attempt, attempt.c.replied_at),
                (step, step.c.created_at),
            ):
                moved = sa.literal(day) + sa.func.substr(column, 11)
                connection.execute(sa.update(table).where(table.c.request_key == key).values({column.name: moved}))
