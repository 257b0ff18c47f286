"""Overruns: a bill above its worst case is recorded in full, stops new spending, and is lifted by a person alone."""

import sqlite3
from pathlib import Path

import pytest

from media_assets.errors import BudgetExceededError, Rerun
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.database import HEAD
from media_assets_tests.ledger.money import DAY, buy, claim_for, day_cap, micro, open_plan, prompt_cap, settle, standing

CAPS = (prompt_cap("3"), day_cap("3"))


def test_a_bill_above_the_worst_case_is_an_overrun_of_every_scope(ledger: Ledger) -> None:
    """The provider broke its documented maximum: what it may do next is not known, even if the cap still has room."""
    buy(ledger, "0.80", CAPS, billed_usd="1.70")

    assert standing(ledger) == {DAY: ("1.70", "0.00", True), "prompt:cheap": ("1.70", "0.00", True)}


def test_a_bill_beyond_the_cap_itself_is_recorded_in_full(ledger: Ledger) -> None:
    """The money is gone whatever our limit says."""
    buy(ledger, "0.80", CAPS, billed_usd="4")

    assert standing(ledger)[DAY] == ("4.00", "0.00", True)


def test_the_worst_case_itself_is_no_overrun(ledger: Ledger) -> None:
    """An alarm that rings for nothing is soon ignored."""
    buy(ledger, "0.80", CAPS)

    assert standing(ledger)[DAY] == ("0.80", "0.00", False)


def test_an_overrun_takes_no_reservation_and_says_what_overran(ledger: Ledger) -> None:
    """Whoever is stopped has to see which purchase to ask the provider about, by how much, and how to go on."""
    request_key = buy(ledger, "0.80", [day_cap("3")], billed_usd="1.70")

    with pytest.raises(BudgetExceededError) as caught:
        open_plan(ledger, "0.01", [day_cap("3")])

    assert caught.value.message == (
        f"{DAY} is overrun: the purchase {request_key[:12]} of testing:any was billed above its worst case "
        "(0.9 USD too much). Nothing was sent. Look at the provider's bill; then "
        f"`media-assets budget accept {DAY}` lets it go on."
    )
    assert (caught.value.may_pass, caught.value.rerun) == (False, Rerun.NEVER)


def test_an_overrun_blocks_its_scopes_and_no_others(ledger: Ledger) -> None:
    """Tomorrow and other prompts have budgets of their own; the finding stays until it is accepted."""
    buy(ledger, "0.80", CAPS, billed_usd="1.70")

    open_plan(ledger, "0.50", [day_cap(scope="day:2026-11-24")])

    assert [one.scope for one in ledger.spending.overruns()] == [DAY, "prompt:cheap"]


def test_what_is_free_goes_on_under_an_overrun(ledger: Ledger) -> None:
    """Nothing can be billed for it."""
    buy(ledger, "0.80", CAPS, billed_usd="1.70")

    open_plan(ledger, "0", CAPS)


def test_what_was_reserved_before_is_settled_under_an_overrun(ledger: Ledger) -> None:
    """Its money is out too; what all of them were billed too much is told as one sum."""
    caps = [day_cap("3")]
    claims = [claim_for(ledger, open_plan(ledger, "0.20", caps), take=take) for take in range(2)]

    for claim, billed_usd in zip(claims, ("0.25", "0.40"), strict=True):
        settle(ledger, claim, billed_usd)

    (overrun,) = ledger.spending.overruns()
    assert standing(ledger)[DAY] == ("0.65", "0.00", True)
    assert (overrun.micro_usd, overrun.request_key) == (micro("0.25"), claims[1].request_key)


def test_a_person_accepts_an_overrun_and_the_cap_holds_on(ledger: Ledger) -> None:
    """Looked at is not forgiven: what was spent is spent."""
    buy(ledger, "0.80", CAPS, billed_usd="1.70")

    accepted = ledger.spending.accept(DAY), ledger.spending.accept(DAY)
    open_plan(ledger, "1.30", [day_cap("3")])

    assert accepted == (True, False)
    assert standing(ledger) == {DAY: ("1.70", "1.30", False), "prompt:cheap": ("1.70", "0.00", True)}
    with pytest.raises(BudgetExceededError, match=r"1\.7 spent \+ 1\.3 reserved"):
        open_plan(ledger, "0.01", [day_cap("3")])


def test_accepting_is_not_enough_where_the_cap_is_passed_too(ledger: Ledger) -> None:
    """Two decisions: that the bill is right, and that more may be spent than was said."""
    buy(ledger, "0.80", [day_cap("3")], billed_usd="4")
    ledger.spending.accept(DAY)

    with pytest.raises(BudgetExceededError, match=r"the cap of 3 USD .* 4 spent"):
        open_plan(ledger, "0.01", [day_cap("3")])

    open_plan(ledger, "0.01", [day_cap("4.01")])
    assert standing(ledger)[DAY] == ("4.00", "0.01", False)


def test_nothing_else_is_accepted(ledger: Ledger) -> None:
    """A slip of the finger in a scope's name must not read as success."""
    buy(ledger, "0.80", [day_cap("3")])

    assert not ledger.spending.accept(DAY)
    assert not ledger.spending.accept("day:2026-11-32")


_SINCE_0002 = [
    ("budget", "overrun_by"),
    ("budget", "overrun_micro_usd"),
    ("attempt", "post_deadline_s"),
    ("attempt", "clock_mark"),
    ("purchase", "cancel_requested_at"),
    ("artifact", "unused_since"),
    ("prompt", "arrived"),
]


def test_a_ledger_from_before_keeps_its_budgets_and_its_overruns(tmp_path: Path) -> None:
    """An upgrade must neither forget what was spent nor lift a block."""
    with open_ledger(tmp_path) as ledger:
        buy(ledger, "0.80", [prompt_cap("3")], billed_usd="1.70")
    with sqlite3.connect(tmp_path / "ledger.db") as before:
        before.execute("DROP INDEX ix_prompt_arrived")
        for table, column in _SINCE_0002:
            before.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table in ("decision", "inbox", "owner"):
            before.execute(f"DROP TABLE {table}")
        before.execute("UPDATE alembic_version SET version_num = '0002'")
    before.close()

    with open_ledger(tmp_path) as ledger:
        assert ledger.database.revision() == HEAD
        assert standing(ledger) == {"prompt:cheap": ("1.70", "0.00", True)}
        with pytest.raises(BudgetExceededError, match=r"a purchase was billed above its worst case\. "):
            open_plan(ledger, "0.01", [prompt_cap("3")])
