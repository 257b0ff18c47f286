"""What looks after the ledger does so on Postgres too: garbage, audit, accounts and bills."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from media_assets.ledger import open_ledger
from media_assets.ledger.accounts import Accounts
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import budget, reservation
from media_assets_tests.making import SHOP_REQUEST, Shop
from media_assets_tests.recovery.keeping import garbage, lasting, leave_unused, names, verification


def test_garbage_is_collected_and_paid_files_by_rule_alone(migrated: str, home: Path) -> None:
    """The same statements, in the server's transactions."""
    with open_ledger(home, migrated) as ledger:
        shop = Shop(home, ledger)
        unused = leave_unused(shop)
        paid = Shop(home, ledger, lasting(2.0)).buy(paid=True, take=1)
        first = garbage(ledger, home).collect()
        second = garbage(ledger, home, days=15).collect()
        third = garbage(ledger, home, days=15, paid_days=1).collect()
        (lost,) = [row for row in ledger.purchases.search() if row.prediction_id == paid.prediction_id]

    assert (names(first), [one.name for one in first.waiting]) == ([], [f"{unused.sha256}.wav"])
    assert names(second) == [f"{unused.sha256}.wav"]
    assert names(third) == [f"{paid.artifact.sha256}.wav"]
    assert lost.state is PurchaseState.LOST_OUTPUT


def test_one_moment_is_looked_at_and_damage_is_found(migrated: str, home: Path) -> None:
    """A snapshot, while another connection writes."""
    with open_ledger(home, migrated) as ledger:
        shop = Shop(home, ledger)
        shop.buy(paid=True)
        assert list(verification(ledger, home).findings()) == []
        with ledger.database.snapshot() as connection:
            before = connection.execute(sa.select(budget.c.spent_micro_usd)).scalars().all()
            shop.buy(paid=True, take=1)
            assert connection.execute(sa.select(budget.c.spent_micro_usd)).scalars().all() == before
        with ledger.database.write() as connection:
            row = {"plan_id": "p", "step": "image", "scope": "prompt:cheap", "amount_micro_usd": 5}
            connection.execute(sa.insert(reservation).values(row))
        kinds = {one.kind for one in verification(ledger, home).findings()}

    assert kinds == {"stray-reservation", "budget-reserved"}


def test_purchases_are_told_in_pages_and_by_their_predictions(migrated: str, home: Path) -> None:
    """Row values and text are compared alike."""
    now = datetime.now(UTC)
    with open_ledger(home, migrated) as ledger:
        for take in range(3):
            bought = Shop(home, ledger).buy(paid=True, take=take)
        told = list(Accounts(ledger.database).between(now.date() - timedelta(days=1), now.date() + timedelta(days=1)))
        keys = ledger.bills.submitted_between("testing", now - timedelta(hours=1), now + timedelta(hours=1))
        claimants = ledger.bills.claimants("testing", [bought.prediction_id or "", "nobody's"])
        found = ledger.bills.bought(keys)

    assert sorted(one.request_key for one in told) == keys == sorted(found)
    assert SHOP_REQUEST.key in keys
    assert list(claimants) == [bought.prediction_id]
    assert all(abs((one.first_intent_at - now).total_seconds()) < 3600 for one in found.values())
