"""Scopes: a prompt's, a run's, a day's and a provider's budget are reserved together, and each bill finds its own."""

from pathlib import Path

import pytest

from media_assets.errors import BudgetExceededError, RequestRejectedError, Rerun
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap, Need, NotReservedError
from media_assets.prompt import Step
from media_assets_tests.ledger.money import (
    DAY,
    buy,
    claim_for,
    day_cap,
    micro,
    open_plan,
    prompt_cap,
    provider_cap,
    settle,
    standing,
)

RUN = Cap("run:nightly", micro("3"), "MEDIA_ASSETS_MAX_RUN_USD (--max-run-usd)")
FAL, REPLICATE = provider_cap("2"), provider_cap("2", provider="replicate")
EVERY = (prompt_cap(), day_cap("5"), RUN, FAL, REPLICATE)
PROVIDERS = {Step.IMAGE: "replicate", Step.VIDEO: "fal", Step.AUDIO: "fal", Step.MERGED: "local"}
AMOUNTS = {Step.IMAGE: micro("0.10"), Step.VIDEO: micro("0.50"), Step.AUDIO: micro("0.20"), Step.MERGED: 0}


def test_each_step_counts_under_every_scope_that_applies_to_it(ledger: Ledger) -> None:
    """What one provider may bill in a day is asked of that provider's steps alone."""
    ledger.prompts.open_plan("plan", "cheap", amounts=AMOUNTS, caps=EVERY, providers=PROVIDERS)

    reserved = {scope: reserved for scope, (_, reserved, _) in standing(ledger).items()}
    assert reserved == {
        "prompt:cheap": "0.80",
        "run:nightly": "0.80",
        DAY: "0.80",
        FAL.scope: "0.70",
        REPLICATE.scope: "0.10",
    }


@pytest.mark.parametrize("short", range(len(EVERY)))
def test_whichever_scope_is_short_nothing_is_reserved_under_any(ledger: Ledger, short: int) -> None:
    """They are taken in the order of their names, so the last one must undo the others."""
    caps = list(EVERY)
    caps[short] = Cap(caps[short].scope, micro("0.09"), caps[short].setting, caps[short].provider)

    with pytest.raises(BudgetExceededError, match=r"0\.09 USD") as caught:
        ledger.prompts.open_plan("plan", "cheap", amounts=AMOUNTS, caps=caps, providers=PROVIDERS)

    assert caught.value.scopes == (caps[short].scope,)
    assert caps[short].setting in caught.value.message
    assert standing(ledger) == {}


def test_every_cap_that_is_short_is_told_with_its_arithmetic(ledger: Ledger) -> None:
    """Raising one and being refused by the next is how evenings are lost."""
    buy(ledger, "0.30", [prompt_cap(), day_cap()])
    open_plan(ledger, "0.20", [day_cap()])

    with pytest.raises(BudgetExceededError) as caught:
        open_plan(ledger, "0.75", [prompt_cap(), day_cap(), RUN])

    assert caught.value.scopes == (DAY, "prompt:cheap")
    day, _, prompt = caught.value.message.partition(" The cap of ")
    assert day.startswith(f"the cap of 1 USD on {DAY} would be passed: 0.3 spent + 0.2 reserved + 0.75 needed at most.")
    assert "Raise MEDIA_ASSETS_MAX_DAY_USD, or wait for the next day (UTC), to go on." in day
    assert prompt.startswith("1 USD on prompt:cheap would be passed: 0.3 spent + 0 reserved + 0.75 needed at most.")
    assert "Raise max_cost_usd (--max-cost-usd) to go on." in prompt


@pytest.mark.parametrize(
    ("spent", "reserved", "needed", "whether"),
    [
        ("0", "0.60", "0.50", "may pass"),
        ("0.60", "0", "0.50", "does not"),
        ("0.60", "0.30", "0.50", "does not"),
        ("0.30", "0.40", "0.70", "may pass"),
        ("0.30", "0.40", "0.71", "does not"),
    ],
)
def test_what_is_only_reserved_may_come_back_and_what_is_spent_does_not(
    ledger: Ledger, spent: str, reserved: str, needed: str, whether: str
) -> None:
    """The first is waited for, the second is not; but a day ends either way, so a rerun is worth its while."""
    if spent != "0":
        buy(ledger, spent, [day_cap()])
    if reserved != "0":
        open_plan(ledger, reserved, [day_cap()])

    with pytest.raises(BudgetExceededError) as caught:
        open_plan(ledger, needed, [day_cap()])

    assert caught.value.may_pass == (whether == "may pass")
    assert caught.value.rerun is Rerun.RESUBMIT


def test_one_scope_that_is_spent_makes_waiting_for_another_useless(ledger: Ledger) -> None:
    """The prompt's budget would come back, the day's does not."""
    buy(ledger, "0.60", [day_cap()])
    open_plan(ledger, "0.60", [prompt_cap()])

    with pytest.raises(BudgetExceededError) as caught:
        open_plan(ledger, "0.50", [prompt_cap(), day_cap()])

    assert caught.value.scopes == (DAY, "prompt:cheap")
    assert not caught.value.may_pass


def test_a_worst_case_above_the_cap_itself_never_fits(ledger: Ledger) -> None:
    """Waiting for tomorrow would be waiting for ever."""
    with pytest.raises(BudgetExceededError, match=r"Raise MEDIA_ASSETS_MAX_DAY_USD to go on\.") as caught:
        open_plan(ledger, "1.01", [day_cap()])

    assert (caught.value.may_pass, caught.value.rerun) == (False, Rerun.NEVER)


@pytest.mark.parametrize("cap_usd", ["0", "1"])
def test_what_is_free_is_never_refused(ledger: Ledger, cap_usd: str) -> None:
    """Neither by a cap of nothing, nor by one that is used up; and it leaves no trace in the budget."""
    caps = [day_cap(cap_usd), provider_cap(cap_usd)]
    if cap_usd != "0":
        buy(ledger, "1", [day_cap("1")])
    before = standing(ledger)

    ledger.prompts.open_plan("plan", "cheap", amounts=dict.fromkeys(Step, 0), caps=caps, providers=PROVIDERS)

    assert standing(ledger) == before
    assert ledger.spending.shortfalls(Need(dict.fromkeys(Step, 0), PROVIDERS), caps) == []


def test_a_providers_cap_needs_to_know_the_provider(ledger: Ledger) -> None:
    """A step that nobody is said to bill would pass under it unseen."""
    with pytest.raises(KeyError):
        ledger.prompts.open_plan("plan", "cheap", amounts={Step.IMAGE: 1}, caps=[FAL])


def test_a_bill_counts_on_the_day_on_which_it_was_reserved(ledger: Ledger) -> None:
    """A clip that is begun at 23:59 belongs to the day whose money it took, whenever it is finished."""
    claim = claim_for(ledger, open_plan(ledger, "0.50", [day_cap()]), usd="0.50")
    tomorrow = day_cap(scope="day:2026-11-24")
    open_plan(ledger, "0.10", [tomorrow])

    settle(ledger, claim, "0.40")

    assert standing(ledger) == {DAY: ("0.40", "0.00", False), tomorrow.scope: ("0.00", "0.10", False)}


def test_a_bill_is_settled_under_every_scope_it_was_reserved_under(ledger: Ledger) -> None:
    """Not under those that apply to whoever settles it, which may be another run on another day."""
    ledger.prompts.open_plan("plan", "cheap", amounts=AMOUNTS, caps=EVERY, providers=PROVIDERS)

    settle(ledger, claim_for(ledger, "plan", usd="0.10"), "0.07")
    ledger.prompts.close_plan("plan")

    assert standing(ledger) == {
        "prompt:cheap": ("0.07", "0.00", False),
        "run:nightly": ("0.07", "0.00", False),
        DAY: ("0.07", "0.00", False),
        REPLICATE.scope: ("0.07", "0.00", False),
        FAL.scope: ("0.00", "0.00", False),
    }


def test_another_model_of_a_step_is_counted_under_its_own_provider(ledger: Ledger) -> None:
    """The first one never came to be: its provider's budget is whole again."""
    caps = [day_cap("5"), FAL, REPLICATE]
    plan_id = open_plan(ledger, "0.50", caps, provider="fal")

    ledger.prompts.reserve_again(plan_id, Need({Step.IMAGE: micro("0.80")}, {Step.IMAGE: "replicate"}), caps)

    reserved = {scope: reserved for scope, (_, reserved, _) in standing(ledger).items()}
    assert reserved == {DAY: "0.80", FAL.scope: "0.00", REPLICATE.scope: "0.80"}


def test_a_refused_second_model_leaves_the_reservation_as_it_was(ledger: Ledger) -> None:
    """The step may still be made by what the plan has paid room for."""
    caps = [day_cap()]
    plan_id = open_plan(ledger, "0.50", caps)

    with pytest.raises(BudgetExceededError):
        ledger.prompts.reserve_again(plan_id, Need({Step.IMAGE: micro("1.50")}), caps)

    assert standing(ledger) == {DAY: ("0.00", "0.50", False)}


def test_an_open_plan_buys_nothing_it_has_not_reserved_for(ledger: Ledger) -> None:
    """It counted on another's purchase, which has failed since: sending now would pass the cap unseen."""
    plan_id = open_plan(ledger, "0", [day_cap()])

    with pytest.raises(NotReservedError) as caught:
        claim_for(ledger, plan_id, usd="0.10")

    assert caught.value.rerun is Rerun.RESUBMIT
    assert ledger.purchases.search() == []
    ledger.prompts.reserve_again(plan_id, Need({Step.IMAGE: micro("0.10")}), [day_cap()])
    settle(ledger, claim_for(ledger, plan_id, usd="0.10"), "0.10")
    assert standing(ledger) == {DAY: ("0.10", "0.00", False)}


def test_a_quote_above_the_planned_one_is_reserved_first(ledger: Ledger) -> None:
    """The picture came out larger than was planned, and the clip of it costs more."""
    plan_id = open_plan(ledger, "0.10", [day_cap()])

    with pytest.raises(NotReservedError):
        claim_for(ledger, plan_id, usd="0.11")

    assert standing(ledger) == {DAY: ("0.00", "0.10", False)}


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
def test_a_retry_is_sent_with_what_is_reserved_for_it_alone(ledger: Ledger, outcome: str) -> None:
    """The money of the first time has come back: the second is a new bill, which may pass the cap unseen."""
    first = claim_for(ledger, open_plan(ledger, "0.10", [day_cap()]), usd="0.10")
    ledger.purchases.write_failed(first, None, RequestRejectedError("no"), outcome=outcome)
    ledger.purchases.leave(first)
    plan_id = open_plan(ledger, "0.10", [day_cap()])

    with pytest.raises(NotReservedError):
        claim_for(ledger, plan_id, usd="0.11", retry_failed=True)

    assert standing(ledger) == {DAY: ("0.00", "0.10", False)}


def test_a_purchase_that_was_never_sent_is_bought_with_the_new_plans_money(ledger: Ledger, tmp_path: Path) -> None:
    """Reserved yesterday by a process that died, sent today: it counts today, and once."""
    with open_ledger(tmp_path) as dead:
        claim_for(dead, open_plan(dead, "0.20", [day_cap()]), usd="0.20")
        dead.owner.close()
    today = day_cap(scope="day:2026-11-24")

    claim = claim_for(ledger, open_plan(ledger, "0.30", [today]), usd="0.30")

    assert standing(ledger) == {DAY: ("0.00", "0.00", False), today.scope: ("0.00", "0.30", False)}
    settle(ledger, claim, "0.30")
    assert standing(ledger)[today.scope] == ("0.30", "0.00", False)


def test_a_failure_frees_every_scope(ledger: Ledger) -> None:
    """A refusal of the provider costs nothing, wherever it was counted."""
    ledger.prompts.open_plan("plan", "cheap", amounts=AMOUNTS, caps=EVERY, providers=PROVIDERS)
    claim = claim_for(ledger, "plan", usd="0.10")
    token = ledger.purchases.write_intent(claim)

    ledger.purchases.write_failed(claim, token, RequestRejectedError("no"), outcome="rejected")
    ledger.prompts.close_plan("plan")

    assert set(standing(ledger).values()) == {("0.00", "0.00", False)}
