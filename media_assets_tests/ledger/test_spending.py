"""How budgets stand: which are told of a day, what reserves them, and whether a living process will settle that."""

from datetime import date
from pathlib import Path

import sqlalchemy as sa

from media_assets.errors import UnknownOutcomeError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.schema import budget
from media_assets.ledger.spending import PLANNED
from media_assets.prompt import Step
from media_assets_tests.ledger.money import DAY, buy, claim_for, day_cap, micro, open_plan, prompt_cap, provider_cap

TODAY, TOMORROW = date(2026, 11, 23), date(2026, 11, 24)
_TOMORROW = day_cap(scope=f"day:{TOMORROW}")


def test_a_day_is_told_with_its_providers_and_with_what_is_open_or_overrun(ledger: Ledger) -> None:
    """A thousand finished prompts are history; what holds money, and what blocks, is not."""
    fal = provider_cap()
    buy(ledger, "0.10", [day_cap(), Cap("prompt:done", micro("1"), "cap")])
    open_plan(ledger, "0.20", [day_cap(), prompt_cap(), fal], provider="fal")
    buy(ledger, "0.10", [Cap("run:old", micro("1"), "cap")], take=1, billed_usd="0.20")
    buy(ledger, "0.10", [_TOMORROW], take=2)

    today = {one.scope: one for one in ledger.spending.scopes(TODAY)}
    tomorrow = [one.scope for one in ledger.spending.scopes(TOMORROW)]

    assert sorted(today) == [DAY, "prompt:cheap", fal.scope, "run:old"]
    assert tomorrow == [_TOMORROW.scope, "prompt:cheap", "run:old"]
    assert (today[DAY].spent_micro_usd, today[DAY].reserved_micro_usd) == (micro("0.10"), micro("0.20"))
    assert today[DAY].cap_micro_usd == micro("1")
    assert today["run:old"].overrun is not None


def test_what_reserves_is_told_once_with_its_purchase(ledger: Ledger) -> None:
    """That 0.30 are reserved is no answer to why nothing more can be bought."""
    caps = [day_cap(), prompt_cap()]
    open_plan(ledger, "0.10", caps, step=Step.VIDEO)
    claim = claim_for(ledger, open_plan(ledger, "0.20", caps), usd="0.20")
    ledger.purchases.write_intent(claim)

    sent, planned = ledger.spending.reserved([DAY, "prompt:cheap"])

    assert (sent.prompt_key, sent.step, sent.model, sent.state) == ("cheap", "image", "testing:any", "SUBMITTING")
    assert (sent.micro_usd, sent.request_key, sent.scopes) == (micro("0.20"), claim.request_key, (DAY, "prompt:cheap"))
    assert (planned.step, planned.model, planned.state, planned.request_key) == ("video", "", PLANNED, None)
    assert sent.owner_alive
    assert planned.owner_alive


def test_only_the_living_settle(ledger: Ledger, tmp_path: Path) -> None:
    """Waiting for a dead process, for a purchase nobody works on, or for a person, is waiting for ever."""
    caps = [day_cap()]
    with open_ledger(tmp_path) as dead:
        sent = claim_for(dead, open_plan(dead, "0.10", caps))
        dead.purchases.write_intent(sent)
        open_plan(dead, "0.10", caps, step=Step.VIDEO)
        dead.owner.close()
    undecided = claim_for(ledger, open_plan(ledger, "0.10", caps), take=1)
    ledger.purchases.write_unknown(undecided, UnknownOutcomeError("?"))
    left = claim_for(ledger, open_plan(ledger, "0.10", caps), take=2)
    ledger.purchases.hand_over(left)

    assert [one.owner_alive for one in ledger.spending.reserved([DAY])] == [False] * 4
    assert ledger.spending.settling([DAY], besides=()) == set()


def test_a_living_plan_settles_unless_it_waits_itself(ledger: Ledger, tmp_path: Path) -> None:
    """Two that wait for each other would both be right, and both wait for ever."""
    caps = [day_cap(), prompt_cap()]
    with open_ledger(tmp_path) as other:
        plan_id = open_plan(other, "0.10", caps)

        assert ledger.spending.settling([DAY, "prompt:cheap", "run:x"], besides=()) == {DAY, "prompt:cheap"}
        assert ledger.spending.settling([DAY], besides={plan_id}) == set()


def test_the_budgets_of_some_days_are_those_of_all_and_of_each_provider(ledger: Ledger) -> None:
    """A report of a week shows what each of its days had left, and no prompt's."""
    buy(ledger, "0.10", [day_cap(), Cap("prompt:done", micro("1"), "cap")])
    open_plan(ledger, "0.20", [day_cap(), prompt_cap(), provider_cap()], provider="fal")
    buy(ledger, "0.10", [_TOMORROW], take=2)

    assert [one.scope for one in ledger.spending.of_days(TODAY, TODAY)] == [DAY, provider_cap().scope]
    assert [one.scope for one in ledger.spending.of_days(TODAY, TOMORROW)] == [
        DAY,
        _TOMORROW.scope,
        provider_cap().scope,
    ]


def test_what_is_asked_of_one_scope_is_told_of_that_one(ledger: Ledger) -> None:
    """In order of prompts and steps, with what each purchase is for; one that is settled holds nothing."""
    caps = [day_cap(), prompt_cap()]
    open_plan(ledger, "0.10", [Cap("run:other", micro("1"), "cap")], step=Step.AUDIO)
    open_plan(ledger, "0.20", caps, step=Step.VIDEO)
    open_plan(ledger, "0.30", [day_cap()])
    buy(ledger, "0.10", caps, take=3)

    told = [(one.step, one.scopes, one.micro_usd) for one in ledger.spending.reserved([DAY, "prompt:cheap"])]

    assert told == [("image", (DAY,), micro("0.30")), ("video", (DAY, "prompt:cheap"), micro("0.20"))]
    assert [one.scopes for one in ledger.spending.reserved(["prompt:cheap"])] == [("prompt:cheap",)]
    assert ledger.spending.settling([DAY, "run:x"], besides=()) == {DAY}
    assert ledger.spending.reserved([]) == []


def test_the_least_that_is_reserved_is_in_use(ledger: Ledger) -> None:
    """A run's or a prompt's budget is shown while a single micro-dollar is held, and history after that."""
    caps = [Cap("run:now", micro("1"), "cap")]
    plan_id = open_plan(ledger, "0.000001", caps)
    assert [one.scope for one in ledger.spending.scopes(TODAY)] == ["run:now"]

    ledger.prompts.close_plan(plan_id)

    assert ledger.spending.scopes(TODAY) == []


def test_an_accepted_overrun_leaves_a_cap_that_holds_what_is_there(ledger: Ledger) -> None:
    """What is still reserved counts, too; a cap that is not passed stays; and other budgets stay as they are."""
    buy(ledger, "0.10", [day_cap(), prompt_cap(), _TOMORROW], billed_usd="0.95")
    open_plan(ledger, "0.04", [Cap("run:x", micro("1"), "cap")])
    held = sa.update(budget).where(budget.c.scope == DAY).values(reserved_micro_usd=micro("0.30"))
    with ledger.database.write() as connection:
        connection.execute(held)

    assert {one.scope for one in ledger.spending.overruns()} == {DAY, "prompt:cheap", _TOMORROW.scope}
    assert [ledger.spending.accept(scope) for scope in (DAY, "prompt:cheap", "run:x", "none")] == [
        True,
        True,
        False,
        False,
    ]

    with ledger.database.read() as connection:
        rows = {row.scope: row for row in connection.execute(sa.select(budget))}
    assert [(rows[scope].cap_micro_usd, rows[scope].overrun) for scope in (DAY, "prompt:cheap", _TOMORROW.scope)] == [
        (micro("1.25"), False),
        (micro("1"), False),
        (micro("1"), True),
    ]
    assert (rows[DAY].overrun_by, rows[DAY].overrun_micro_usd) == (None, None)
    assert rows[_TOMORROW.scope].overrun_micro_usd == micro("0.85")
