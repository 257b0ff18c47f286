"""Budgets: a cap holds against races and crashes, and every refusal shows its arithmetic."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.errors import BudgetExceededError, RequestRejectedError, UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.prompt import Step
from media_assets_tests.ledger.money import claim_for, micro, open_plan, prompt_cap, settle, standing
from media_assets_tests.making import cheap_prompt, reserved_micro_usd


def _open_plan(ledger: Ledger, usd: str, *, cap_usd: str = "1") -> str:
    return open_plan(ledger, usd, [prompt_cap(cap_usd)])


def _budget(ledger: Ledger) -> tuple[str, str, bool]:
    """Return spent and reserved USD, and whether there was an overrun."""
    (only,) = standing(ledger).values()
    return only


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(tmp_path) as one:
        one.prompts.pin([cheap_prompt()], source="test")
        yield one


def test_what_is_planned_is_reserved_and_what_is_not_used_is_given_back(ledger: Ledger) -> None:
    """The whole chain is affordable before its first cent, and an abandoned chain costs nothing."""
    plan_id = _open_plan(ledger, "0.60")
    reserved = _budget(ledger)
    ledger.prompts.close_plan(plan_id)
    ledger.prompts.close_plan(plan_id)

    assert reserved == ("0.00", "0.60", False)
    assert _budget(ledger) == ("0.00", "0.00", False)


def test_a_refusal_shows_its_arithmetic_and_the_setting(ledger: Ledger) -> None:
    """Someone is stopped in the middle of their work: the message has to be checkable and say how to go on."""
    settle(ledger, claim_for(ledger, _open_plan(ledger, "0.30")), "0.25")
    _open_plan(ledger, "0.40")

    with pytest.raises(BudgetExceededError) as caught:
        _open_plan(ledger, "0.50")

    assert caught.value.message == (
        "the cap of 1 USD on prompt:cheap would be passed: 0.25 spent + 0.4 reserved + 0.5 needed at most. "
        "Nothing was sent. Raise max_cost_usd (--max-cost-usd), or wait until what is reserved is settled "
        "(`media-assets budget` says by what), to go on."
    )


def test_a_refused_plan_leaves_nothing_behind(ledger: Ledger) -> None:
    """Half a reservation would block the next, smaller wish."""
    with pytest.raises(BudgetExceededError):
        _open_plan(ledger, "1.01")

    with ledger.database.read() as connection:
        assert (
            connection.exec_driver_sql("SELECT (SELECT count(*) FROM plan) + (SELECT count(*) FROM budget)").scalar()
            == 0
        )


def test_all_caps_are_reserved_or_none(ledger: Ledger) -> None:
    """A day's budget that is used up must not eat the prompt's."""
    caps = [prompt_cap(), Cap("day:2026-11-23", 100, "day_usd")]

    with pytest.raises(BudgetExceededError, match="day_usd"):
        ledger.prompts.open_plan("1", "cheap", amounts={Step.IMAGE: 200}, caps=caps)

    assert reserved_micro_usd(ledger.scratch_root.parent) == 0


def test_the_cap_itself_can_be_spent(ledger: Ledger) -> None:
    """A cap of 1 USD means 1 USD, not a cent less."""
    _open_plan(ledger, "0.40")
    _open_plan(ledger, "0.60")

    assert _budget(ledger) == ("0.00", "1.00", False)


def test_a_raised_cap_counts_at_once(ledger: Ledger) -> None:
    """It is what the refusal told the person to do."""
    _open_plan(ledger, "0.90")
    _open_plan(ledger, "0.90", cap_usd="2")

    assert _budget(ledger) == ("0.00", "1.80", False)


def test_settling_turns_the_reservation_into_what_it_cost(ledger: Ledger) -> None:
    """A worst case is not a cost: what was not used has to come back."""
    claim = claim_for(ledger, _open_plan(ledger, "0.80"))
    taken_over = _budget(ledger)

    settle(ledger, claim, "0.30")

    assert taken_over == ("0.00", "0.80", False)
    assert _budget(ledger) == ("0.30", "0.00", False)


def test_a_purchase_that_failed_unbilled_gives_its_reservation_back(ledger: Ledger) -> None:
    """A refusal of the provider costs nothing, and must not look as if it did."""
    claim = claim_for(ledger, _open_plan(ledger, "0.80"))
    token = ledger.purchases.write_intent(claim)

    ledger.purchases.write_failed(claim, token, RequestRejectedError("no"), outcome="rejected")

    assert _budget(ledger) == ("0.00", "0.00", False)


def test_an_unknown_outcome_keeps_its_reservation(ledger: Ledger) -> None:
    """It may have been billed; only a person can say that it was not."""
    plan_id = _open_plan(ledger, "0.80")
    claim = claim_for(ledger, plan_id)
    ledger.purchases.write_intent(claim)

    ledger.purchases.write_unknown(claim, UnknownOutcomeError("?"))
    ledger.prompts.close_plan(plan_id)

    assert _budget(ledger) == ("0.00", "0.80", False)


@pytest.mark.parametrize(
    "forced",
    ["reserved_micro_usd = cap_micro_usd + 1", "spent_micro_usd = cap_micro_usd + 1", "reserved_micro_usd = -1"],
)
def test_the_table_itself_refuses_to_pass_a_cap(ledger: Ledger, forced: str) -> None:
    """The last line of defence is the database's, should our arithmetic ever be wrong."""
    _open_plan(ledger, "0.50")

    with pytest.raises(sa.exc.IntegrityError):
        _execute(ledger, f"UPDATE budget SET {forced}")  # noqa: S608 - from the list above
    _execute(ledger, "UPDATE budget SET spent_micro_usd = cap_micro_usd + 1, overrun = 1")


def _execute(ledger: Ledger, statement: str) -> None:
    with ledger.database.write() as connection:
        connection.exec_driver_sql(statement)


def test_the_plans_of_a_dead_process_are_released_and_a_living_ones_kept(ledger: Ledger, tmp_path: Path) -> None:
    """A crash must not hold back money for ever, nor may a sweep take it from under a running film."""
    with open_ledger(tmp_path) as dead, open_ledger(tmp_path) as living:
        _open_plan(dead, "0.30")
        _open_plan(living, "0.20")
        dead.owner.close()

        assert ledger.prompts.close_dead_plans() == 1
        assert _budget(ledger) == ("0.00", "0.20", False)
        assert ledger.prompts.close_dead_plans() == 0


def test_what_a_dead_process_may_have_sent_stays_reserved(ledger: Ledger, tmp_path: Path) -> None:
    """It may be on the provider's bill already."""
    with open_ledger(tmp_path) as dead:
        claim = claim_for(dead, _open_plan(dead, "0.30"))
        dead.purchases.write_intent(claim)
        dead.owner.close()

        ledger.prompts.close_dead_plans()

        assert _budget(ledger) == ("0.00", "0.30", False)


def test_what_a_dead_process_never_sent_is_released(ledger: Ledger, tmp_path: Path) -> None:
    """The prompt may have been changed since, and then nobody ever claims that purchase again."""
    with open_ledger(tmp_path) as dead:
        claim_for(dead, _open_plan(dead, "0.30"))
        dead.owner.close()

        ledger.sweep(tmp_path / "artifacts")

        assert _budget(ledger) == ("0.00", "0.00", False)


def test_a_rerun_takes_the_dead_ones_reservation_over_and_not_a_second(ledger: Ledger, tmp_path: Path) -> None:
    """Reserved twice, a cap that pays for one film would refuse its rerun."""
    with open_ledger(tmp_path) as dead:
        claim_for(dead, _open_plan(dead, "0.50"))
        dead.owner.close()

        claim = claim_for(ledger, _open_plan(ledger, "0.50"))

        assert _budget(ledger) == ("0.00", "0.50", False)
        settle(ledger, claim, "0.50")
        assert _budget(ledger) == ("0.50", "0.00", False)


def test_a_paid_retry_is_counted_on_top(ledger: Ledger) -> None:
    """--retry-failed spends again; the budget and the purchase have to know of both."""
    first = claim_for(ledger, _open_plan(ledger, "0.40"))
    settle(ledger, first, "0.40")
    ledger.purchases.write_failed(first, None, RequestRejectedError("bad"), outcome="failed")
    ledger.purchases.leave(first)

    settle(ledger, claim_for(ledger, _open_plan(ledger, "0.40"), retry_failed=True), "0.40")

    assert _budget(ledger) == ("0.80", "0.00", False)
    assert [row.cost_micro_usd for row in ledger.purchases.search()] == [micro("0.80")]
