"""``ledger verify`` finds every kind of damage, says what to do, and takes work that goes on for none."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact
from media_assets.catalog import Recovery
from media_assets.errors import LedgerError
from media_assets.ledger import open_ledger
from media_assets.ledger.audit import Finding
from media_assets.ledger.claims import Claim
from media_assets.ledger.schema import artifact, budget, output, purchase, reservation, step
from media_assets.providers.base import HttpReply
from media_assets.providers.transport.spool import Spool
from media_assets_tests.children import Child, run_children
from media_assets_tests.making import SHOP_PRICE_USD, SHOP_REQUEST, Shop
from media_assets_tests.recovery.keeping import COLLECT, WRITER, lasting, leave_unused, verification

_KEEPING = COLLECT.partition(":")[0]


@pytest.fixture
def shop(home: Path) -> Iterator[Shop]:
    """Open a home with a paid purchase, and an open plan of this process."""
    with open_ledger(home) as ledger:
        shop = Shop(home, ledger)
        shop.buy(paid=True)
        shop.plan(SHOP_PRICE_USD)
        yield shop


def _findings(shop: Shop, *, hashes: bool = True) -> list[Finding]:
    return list(verification(shop.ledger, shop.home, hashes=hashes).findings())


def _artifact(shop: Shop) -> Artifact:
    assert shop.row.artifact is not None
    return shop.row.artifact


def test_a_healthy_home_has_no_findings(shop: Shop) -> None:
    """Whatever it says otherwise is then worth reading."""
    assert _findings(shop) == []


def _missing(shop: Shop) -> None:
    shop.store.path(_artifact(shop)).unlink()


def _cut(shop: Shop) -> None:
    path = shop.store.path(_artifact(shop))
    path.write_bytes(path.read_bytes()[:-1])


def _altered(shop: Shop) -> None:
    path = shop.store.path(_artifact(shop))
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def _orphan(shop: Shop) -> None:
    path = shop.store.path(_artifact(shop))
    path.with_name(f"{path.name[:2]}{'0' * 62}.wav").write_bytes(b"whatever")


def _misplaced(shop: Shop) -> None:
    path = shop.store.path(_artifact(shop))
    (shop.store.root / "zz").mkdir()
    (shop.store.root / "zz" / path.name).write_bytes(path.read_bytes())


def _left_reply(shop: Shop) -> None:
    token = shop.ledger.purchases.last_attempt(shop.row.request_key)
    assert token is not None
    # Of a process that is gone: a living one may be just about to remove it.
    _execute(shop, sa.update(purchase).values(owner="gone"))
    Spool(shop.ledger.spool_root).write(token.token, HttpReply(status=200, headers={}, body=b"{}"))


def _foreign_reply(shop: Shop) -> None:
    Spool(shop.ledger.spool_root).write("f" * 32, HttpReply(status=200, headers={}, body=b"{}"))


def _execute(shop: Shop, *statements: sa.Executable) -> None:
    with shop.ledger.database.write() as connection:
        for one in statements:
            connection.execute(one)


def _without_foreign_keys(shop: Shop, statement: str) -> None:
    connection = sqlite3.connect(shop.home / "ledger.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute(statement)
    connection.close()


def _no_artifact(shop: Shop) -> None:
    shop.store.path(_artifact(shop)).unlink()
    _without_foreign_keys(shop, "DELETE FROM artifact")


def _no_output(shop: Shop) -> None:
    _execute(shop, sa.delete(output))


def _no_purchase(shop: Shop) -> None:
    row = {"prompt_key": "cheap", "digest": "d", "step": "image", "request_key": "k", "sha256": "s", "model": "m"}
    more = {"params": "{}", "inputs": "{}", "degraded": False, "created_at": ""}
    _execute(shop, sa.insert(step).values(**row, **more))


def _reserved(shop: Shop, **values: object) -> None:
    row = {"plan_id": "p", "step": "image", "scope": "prompt:cheap", "amount_micro_usd": 5, "request_key": None}
    held = budget.c.reserved_micro_usd + 5
    _execute(shop, sa.insert(reservation).values(row | values), sa.update(budget).values(reserved_micro_usd=held))


def _of_no_plan(shop: Shop) -> None:
    _reserved(shop)


def _of_no_purchase(shop: Shop) -> None:
    _reserved(shop, request_key="k")


def _of_an_ended_purchase(shop: Shop) -> None:
    _reserved(shop, request_key=shop.row.request_key)


def _too_little_reserved(shop: Shop) -> None:
    _execute(shop, sa.update(budget).values(reserved_micro_usd=budget.c.reserved_micro_usd - 1))


def _of_no_budget(shop: Shop) -> None:
    _execute(shop, sa.update(reservation).values(scope="prompt:other"), sa.update(budget).values(reserved_micro_usd=0))


def _spent_too_little(shop: Shop) -> None:
    _execute(shop, sa.update(budget).values(spent_micro_usd=1))


def _a_day_too_dear(shop: Shop) -> None:
    row = {"cap_micro_usd": 10_000_000, "spent_micro_usd": 600_000, "reserved_micro_usd": 0, "overrun": False}
    _execute(shop, sa.insert(budget).values(scope="day:2026-11-30", **row))


def _a_provider_too_dear(shop: Shop) -> None:
    row = {"cap_micro_usd": 10_000_000, "spent_micro_usd": 1, "reserved_micro_usd": 0, "overrun": False}
    _execute(shop, sa.insert(budget).values(scope="provider:fal:2026-11-30", **row))


def _left_open(shop: Shop) -> None:
    with open_ledger(shop.home) as dying:
        dying.purchases.claim(
            replace(SHOP_REQUEST, take=9),
            recovery=Recovery.NONE,
            prompt_key="cheap",
            plan_id=Shop(shop.home, dying).plan("0"),
            estimate_micro_usd=0,
        )


def _dead_plan(shop: Shop) -> None:
    with open_ledger(shop.home) as dying:
        Shop(shop.home, dying).plan("0.25")


_DAMAGE: dict[str, tuple[Callable[[Shop], None], set[str]]] = {
    "missing": (_missing, {"missing-file"}),
    "cut": (_cut, {"altered-file"}),
    "altered": (_altered, {"altered-file"}),
    "orphan": (_orphan, {"orphan-file"}),
    "misplaced": (_misplaced, {"orphan-file"}),
    "left reply": (_left_reply, {"left-reply"}),
    "foreign reply": (_foreign_reply, {"foreign-reply"}),
    "no artifact": (_no_artifact, {"foreign-key", "no-artifact"}),
    "no output": (_no_output, {"no-output"}),
    "no purchase": (_no_purchase, {"no-purchase"}),
    "of no plan": (_of_no_plan, {"stray-reservation"}),
    "of no purchase": (_of_no_purchase, {"stray-reservation"}),
    "of an ended purchase": (_of_an_ended_purchase, {"stray-reservation"}),
    "too little reserved": (_too_little_reserved, {"budget-reserved"}),
    "of no budget": (_of_no_budget, {"budget-reserved"}),
    "spent too little": (_spent_too_little, {"budget-spent"}),
    "a day too dear": (_a_day_too_dear, {"budget-spent"}),
    "a provider too dear": (_a_provider_too_dear, {"budget-spent"}),
    "left open": (_left_open, {"left-open", "dead-plan"}),
    "dead plan": (_dead_plan, {"dead-plan"}),
}


@pytest.mark.parametrize("name", _DAMAGE)
def test_each_kind_of_damage_is_found_and_only_that(shop: Shop, name: str) -> None:
    """What nobody looks for is found by the user, when it is too late."""
    damage, kinds = _DAMAGE[name]
    damage(shop)

    found = _findings(shop)

    assert {one.kind for one in found} == kinds, found
    assert all(one.do and one.what and one.about for one in found)


def test_without_hashing_only_the_size_is_compared(shop: Shop) -> None:
    """A terabyte takes hours to read."""
    _altered(shop)

    assert _findings(shop, hashes=False) == []


def test_what_was_paid_for_is_not_simply_made_again(shop: Shop) -> None:
    """Deleting a free file is the way to have it again; deleting a paid one is not."""
    _missing(shop)
    free = shop.buy(take=1).artifact  # the same bytes: now both purchases have one file

    assert [one.kind for one in _findings(shop)] == []
    shop.store.path(free).unlink()
    (both,) = _findings(shop)
    with shop.ledger.database.write() as connection:
        connection.execute(sa.delete(output).where(output.c.request_key == SHOP_REQUEST.key))
        connection.execute(sa.delete(purchase).where(purchase.c.request_key == SHOP_REQUEST.key))
        connection.execute(sa.update(budget).values(spent_micro_usd=0))
    (alone,) = _findings(shop)

    assert "a new take buys it again" in both.do
    assert "made again, free" in alone.do


def test_a_damaged_database_is_found(shop: Shop) -> None:
    """A page that another program wrote over."""
    shop.ledger.database.engine.dispose()
    connection = sqlite3.connect(shop.home / "ledger.db", isolation_level=None)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_step_request_key'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with (shop.home / "ledger.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\x00" * size)

    found = _findings(shop)

    assert [one.kind for one in found if one.kind != "damaged"] == []
    assert found
    assert "restore it from a backup" in found[0].do


def test_an_index_that_lies_is_found(shop: Shop) -> None:
    """Damage that no statement stumbles over: a row that an index does not know."""
    connection = sqlite3.connect(shop.home / "ledger.db", isolation_level=None)
    connection.execute("PRAGMA writable_schema=ON")
    name = "ix_purchase_state"
    (kept,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [name]).fetchone()
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [name]).fetchone()
    connection.execute("DELETE FROM sqlite_master WHERE name = ?", [name])
    connection.close()
    connection = sqlite3.connect(shop.home / "ledger.db", isolation_level=None)
    connection.execute("UPDATE purchase SET state = 'FAILED_PAID'")
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("INSERT INTO sqlite_master VALUES ('index', ?, 'purchase', ?, ?)", [name, root, kept])
    connection.close()
    shop.ledger.database.engine.dispose()

    assert {one.kind for one in _findings(shop)} == {"damaged"}


def test_a_ledger_that_cannot_be_read_is_an_error(shop: Shop) -> None:
    """Not everything is fine, and not everything is damage."""
    with shop.ledger.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE reservation")

    with pytest.raises(LedgerError, match="no such table"):
        _findings(shop)


def test_what_is_being_done_just_now_is_no_finding(shop: Shop) -> None:
    """A claim of a living process, a file that is not recorded yet, a reply that is about to be dropped."""
    purchases, made = shop.ledger.purchases, _artifact(shop)
    claim = purchases.claim(
        replace(SHOP_REQUEST, take=9),
        recovery=Recovery.FREE,
        prompt_key="cheap",
        plan_id=shop.plan("0"),
        estimate_micro_usd=0,
    )
    assert isinstance(claim, Claim)
    other = shop.home / "other.wav"
    other.write_bytes(shop.store.path(made).read_bytes() + b"x")
    shop.store.put(other, made.info, **WRITER, wanted_by=claim.request_key)
    attempt = purchases.last_attempt(SHOP_REQUEST.key)
    assert attempt is not None
    Spool(shop.ledger.spool_root).write(attempt.token, HttpReply(status=200, headers={}, body=b"{}"))

    assert _findings(shop) == []


def test_what_is_collected_while_it_is_looked_at_is_no_finding(shop: Shop) -> None:
    """Its row was read, and then it went, row and file."""
    Shop(shop.home, shop.ledger, lasting(1.5)).buy(take=1)
    gone = False

    def collect(_size_bytes: int) -> None:
        nonlocal gone
        if gone:
            return
        gone = True
        with shop.ledger.database.write() as connection:
            for table in (output, artifact, reservation, purchase, budget):
                connection.execute(sa.delete(table))
        for path in shop.store.files():
            path.unlink()

    assert [one.kind for one in verification(shop.ledger, shop.home).findings(collect)] == []
    assert gone


def test_a_file_that_nothing_needs_is_no_loss(shop: Shop) -> None:
    """There is nothing to do but wait."""
    with open_ledger(shop.home / "of its own") as ledger:
        alone = Shop(shop.home / "of its own", ledger)
        alone.store.path(leave_unused(alone)).unlink()
        (finding,) = verification(ledger, alone.home).findings()

    assert (finding.kind, "Nothing needs it" in finding.do) == ("missing-file", True)


def test_one_moment_is_looked_at(home: Path) -> None:
    """A purchase that is settled between two questions must not look like money that went astray."""
    with open_ledger(home) as ledger, open_ledger(home) as other:
        Shop(home, ledger).buy(paid=True)
        with ledger.database.snapshot() as connection:
            before = connection.execute(sa.select(budget.c.spent_micro_usd)).scalars().all()
            Shop(home, other).buy(paid=True, take=1)
            after = connection.execute(sa.select(budget.c.spent_micro_usd)).scalars().all()
        with ledger.database.read() as connection:
            now = connection.execute(sa.select(budget.c.spent_micro_usd)).scalars().all()

    assert (before, after, now) == ([500_000], [500_000], [1_000_000])


def test_a_busy_home_has_no_findings(home: Path) -> None:
    """Two processes buy, one collects garbage, and whoever looks meanwhile finds nothing wrong."""
    with open_ledger(home):
        pass
    buyers = [
        Child(f"{_KEEPING}:buy_many_in_child", {"home": str(home), "first_take": first, "times": 12})
        for first in (0, 100)
    ]
    collector = Child(COLLECT, {"home": str(home), "unused_days": 0.0, "times": 30})
    looker = Child(f"{_KEEPING}:verify_in_child", {"home": str(home), "times": 30})

    ended = run_children([[child] for child in (*buyers, collector, looker)], at_once=4)

    assert [one.exit_code for (one,) in ended] == [0] * 4
    assert ended[3][0].value == []


def test_what_is_wrong_is_told_of_what_it_is_wrong_with(shop: Shop) -> None:
    """Of several purchases the one without its file, of free ones and paid ones each its own way out."""
    sha256 = _artifact(shop).sha256
    for take in (1, 2, 3):
        shop.buy(take=take, paid=take < 3)
    keys = {row.take: row.request_key for row in shop.ledger.purchases.search()}
    gone = [keys[2], keys[3]]
    _execute(shop, sa.delete(output).where(output.c.request_key.in_(gone)))
    _execute(shop, sa.insert(output).values(request_key=keys[2], idx=1, sha256=sha256))  # which was replaced

    told = {one.about: one.do for one in _findings(shop) if one.kind == "no-output"}

    assert told.keys() == set(gone)
    assert "new take" in told[keys[2]]
    assert "made again, free" in told[keys[3]]
    assert shop.ledger.audit.buyers(sha256) == sorted((keys[take], True) for take in (0, 1, 2))
    assert shop.ledger.audit.buyers("0" * 64) == []
