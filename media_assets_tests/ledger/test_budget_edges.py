"""Budgets to the last micro-dollar, and each plan with its own: what one gives back is nobody else's."""

import pytest

from media_assets.errors import BudgetExceededError, Rerun
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap, Need, NotReservedError
from media_assets.ledger.claims import Settlement
from media_assets.ledger.spending import Reserved
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets_tests.ledger.money import (
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

_STEPS = {Step.IMAGE: micro("0.10"), Step.VIDEO: micro("0.30")}


def _reserved(ledger: Ledger) -> dict[tuple[str, int], tuple[str, ...]]:
    def key(one: Reserved) -> tuple[str, int]:
        return one.step, one.micro_usd

    return {key(one): one.scopes for one in ledger.spending.reserved(list(standing(ledger)))}


@pytest.mark.parametrize(("billed_usd", "overrun"), [("0.50", False), ("0.500001", True)])
def test_the_first_micro_dollar_too_much_is_an_overrun(ledger: Ledger, billed_usd: str, *, overrun: bool) -> None:
    """Our price table or the provider's bill is wrong then; by how much does not matter."""
    claim = claim_for(ledger, open_plan(ledger, "0.50", [prompt_cap()]), usd="0.50")

    settle(ledger, claim, billed_usd)

    assert standing(ledger)["prompt:cheap"] == ("0.50", "0.00", overrun)


@pytest.mark.parametrize("cap", [day_cap("1"), provider_cap("1")])
def test_what_the_next_days_budget_just_pays_for_waits_for_it(ledger: Ledger, cap: Cap) -> None:
    """To the last cent of the cap: a nightly batch that fits a day exactly must not be given up."""
    short = [cap]
    settle(ledger, claim_for(ledger, open_plan(ledger, "0.01", short, provider="fal")), "0.01")

    with pytest.raises(BudgetExceededError, match="wait for the next day") as caught:
        open_plan(ledger, "1", short, provider="fal")
    assert caught.value.rerun is Rerun.RESUBMIT
    with pytest.raises(BudgetExceededError) as caught:
        open_plan(ledger, "1.000001", short, provider="fal")
    assert caught.value.rerun is Rerun.NEVER


def test_a_refusal_names_only_the_caps_that_limit_the_plan(ledger: Ledger) -> None:
    """Another provider's overrun has nothing to do with it, and accepting it would change nothing."""
    fal, replicate = provider_cap("1"), provider_cap("1", provider="replicate")
    settle(ledger, claim_for(ledger, open_plan(ledger, "0.01", [fal], provider="fal")), "0.50")

    with pytest.raises(BudgetExceededError) as caught:
        open_plan(ledger, "2", [fal, replicate], provider="replicate")

    assert caught.value.scopes == (replicate.scope,)


def test_an_overrun_names_the_model_that_was_billed_too_much(ledger: Ledger) -> None:
    """Whoever looks at the provider's bill has to know where on it."""
    buy(ledger, "0.10", [day_cap("5")], take=1)
    key = buy(ledger, "0.10", [prompt_cap("5")], take=2, billed_usd="0.20")

    (overrun,) = ledger.spending.overruns()
    row = ledger.purchases.get(key)

    assert row is not None
    assert (overrun.request_key, overrun.model, overrun.micro_usd) == (key, row.model, micro("0.10"))
    assert f"{key[:12]} of {row.model} was billed" in str(overrun)


def test_giving_up_one_step_leaves_all_others_reserved(ledger: Ledger) -> None:
    """Another model is asked for the picture; the clip's money, and another film's, must still be there."""
    caps = [prompt_cap("5"), day_cap("5")]
    for plan_id in ("one", "two"):
        ledger.prompts.open_plan(plan_id, "cheap", amounts=_STEPS, caps=caps)

    ledger.prompts.reserve_again("one", Need({Step.IMAGE: micro("0.20")}), caps)
    assert standing(ledger) == {"prompt:cheap": ("0.00", "0.90", False), caps[1].scope: ("0.00", "0.90", False)}
    assert set(_reserved(ledger)) == {("image", micro("0.20")), ("image", micro("0.10")), ("video", micro("0.30"))}

    for plan_id, left in (("one", "0.40"), ("two", "0.00")):
        ledger.prompts.close_plan(plan_id)
        assert standing(ledger) == {"prompt:cheap": ("0.00", left, False), caps[1].scope: ("0.00", left, False)}


def test_a_purchase_keeps_its_money_while_its_plan_reserves_for_another_model(ledger: Ledger) -> None:
    """Both may be billed: the first one's reservation is its own from the claim on, under its own name."""
    caps = [prompt_cap("5")]
    plan_id = open_plan(ledger, "0.50", caps)
    claim = claim_for(ledger, plan_id, usd="0.50")

    ledger.prompts.reserve_again(plan_id, Need({Step.IMAGE: micro("0.20")}), caps)
    ledger.prompts.close_plan(plan_id)

    assert standing(ledger) == {"prompt:cheap": ("0.00", "0.50", False)}
    (left,) = ledger.spending.reserved(["prompt:cheap"])
    assert (left.request_key, left.micro_usd) == (claim.request_key, micro("0.50"))


def test_only_a_plan_that_is_open_has_to_have_reserved(ledger: Ledger) -> None:
    """A janitor finishes what a plan that ended long ago had bought, whatever else is being made."""
    open_plan(ledger, "0.50", [prompt_cap()])

    assert claim_for(ledger, "closed-long-ago", take=5, usd="0.90").fence == 1


def test_looking_ahead_says_what_reserving_would(ledger: Ledger) -> None:
    """To the last micro-dollar, and under a cap that nothing was ever reserved under."""
    cap, whole = prompt_cap("1"), micro("1")

    assert ledger.spending.shortfalls(Need({Step.IMAGE: whole}), [cap]) == []
    (short,) = ledger.spending.shortfalls(Need({Step.IMAGE: whole + 1}), [cap])

    assert (short.spent_micro_usd, short.reserved_micro_usd, short.needed_micro_usd) == (0, 0, whole + 1)


def test_a_single_micro_dollar_must_have_been_reserved(ledger: Ledger) -> None:
    """And no more than that: what is free needs nothing."""
    plan_id = open_plan(ledger, "0", [prompt_cap()])

    assert claim_for(ledger, plan_id, take=1, usd="0").fence == 1
    with pytest.raises(NotReservedError, match="are needed for the image"):
        claim_for(ledger, plan_id, take=2, usd="0.000001")


@pytest.mark.parametrize("state", ["SUBMITTING", "DONE"])
def test_a_plan_that_finds_its_purchase_sent_gives_its_own_money_back(ledger: Ledger, state: str) -> None:
    """What is held for the purchase pays for it, or has paid; a second reservation would block others for nothing."""
    first = claim_for(ledger, open_plan(ledger, "0.30", [prompt_cap()]), usd="0.30")
    token = ledger.purchases.write_intent(first)
    if state == "DONE":
        done = Prediction(id="p-1", state=State.SUCCEEDED)
        ledger.purchases.write_submitted(first, token, done, Settlement(cost_micro_usd=micro("0.20")))
    ledger.purchases.hand_over(first)
    ledger.purchases.leave(first)
    second = open_plan(ledger, "0.40", [prompt_cap(), day_cap()])

    again = claim_for(ledger, second, usd="0.40")

    assert again.found == state
    spent, held = ("0.20", "0.00") if state == "DONE" else ("0.00", "0.30")
    assert standing(ledger) == {"prompt:cheap": (spent, held, False), day_cap().scope: ("0.00", "0.00", False)}


def test_who_would_bill_a_plan_is_who_is_paid_in_it() -> None:
    need = Need(
        {Step.IMAGE: 1, Step.VIDEO: 0, Step.AUDIO: 2},
        {Step.IMAGE: "fal", Step.VIDEO: "local", Step.AUDIO: "openai"},
    )

    assert need.billed_by() == {"fal", "openai"}
    assert need.under(provider_cap(provider="openai")) == {Step.AUDIO: 2}
    assert need.under(day_cap()) == {Step.IMAGE: 1, Step.AUDIO: 2}
