"""What ``verify`` asks the ledger about files and attempts: each answer is of what was asked for alone."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import PredictionFailedError
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import artifact, purchase
from media_assets_tests.ledger.far_host import REQUEST
from media_assets_tests.ledger.files import png
from media_assets_tests.ledger.money import claim_for, micro, open_plan, prompt_cap


def _sent(ledger: Ledger, take: int) -> tuple[Claim, str]:
    claim = ledger.purchases.claim(
        replace(REQUEST, take=take), recovery=Recovery.NONE, prompt_key="a", plan_id="p", estimate_micro_usd=1
    )
    assert isinstance(claim, Claim)
    return claim, ledger.purchases.write_intent(claim)


def test_all_files_together_are_as_large_as_all_of_them(ledger: Ledger) -> None:
    assert ledger.audit.total_bytes() == 0
    with ledger.database.write() as connection:
        for name in "ab":
            one = png(name)
            facts = {"size_bytes": one.info.size_bytes, "mime": one.info.mime, "info": "{}"}
            connection.execute(sa.insert(artifact).values(sha256=one.sha256, created_at="", **facts))

    assert ledger.audit.total_bytes() == 20


def test_an_attempt_is_being_finished_while_its_own_process_lives(ledger: Ledger) -> None:
    """The reply of an attempt is kept until its process is done with it; another purchase's says nothing of it."""
    (mine, token), (other, others) = _sent(ledger, 1), _sent(ledger, 2)
    with ledger.database.write() as connection:
        gone = sa.update(purchase).where(purchase.c.request_key == other.request_key)
        connection.execute(gone.values(owner="0" * 16))

    assert ledger.audit.is_being_finished(token)
    assert not ledger.audit.is_being_finished(others)
    assert not ledger.audit.is_being_finished("unheard of")
    ledger.purchases.write_failed(mine, token, PredictionFailedError("no"), outcome="failed")
    ledger.purchases.leave(mine)
    with ledger.database.write() as connection:
        connection.execute(sa.update(purchase).values(owner=""))
    assert not ledger.audit.is_being_finished(token)


@pytest.mark.parametrize("state", [PurchaseState.RESERVED, PurchaseState.SUBMITTING, PurchaseState.SUBMITTED])
def test_what_a_dead_process_left_open_says_how_to_go_on(ledger: Ledger, state: PurchaseState) -> None:
    claim, _ = _sent(ledger, 1)
    ledger.purchases.leave(claim)
    with ledger.database.write() as connection:
        connection.execute(sa.update(purchase).values(owner="0" * 16, state=state))

    (found,) = [one for one in ledger.audit.findings() if one.kind == "left-open"]
    assert (found.about, found.what) == (claim.request_key, f"{state}, and no process works on it")
    assert found.do


def test_what_one_purchase_holds_is_no_word_on_another(ledger: Ledger) -> None:
    """One that has ended holds nothing; the other one's reservation is its own."""
    plans = [open_plan(ledger, "0.10", [prompt_cap()]) for _ in range(2)]
    ended, running = (claim_for(ledger, plan, take=take, usd="0.10") for take, plan in enumerate(plans))
    token = ledger.purchases.write_intent(ended)
    ledger.purchases.write_failed(ended, token, PredictionFailedError("no"), outcome="failed")
    ledger.purchases.write_intent(running)

    assert [one for one in ledger.audit.findings() if one.kind == "stray-reservation"] == []


def test_what_no_budget_counts_is_found(ledger: Ledger) -> None:
    """Every cost counts for a prompt: without any budget row, all of it is missing there."""
    claim, _ = _sent(ledger, 1)
    with ledger.database.write() as connection:
        mine = purchase.c.request_key == claim.request_key
        connection.execute(sa.update(purchase).where(mine).values(cost_micro_usd=micro("0.05")))

    (found,) = [one for one in ledger.audit.findings() if one.kind == "budget-spent"]
    assert found.about == "prompt:*"
    assert "0 USD were spent, and the purchases cost 0.05 USD" in found.what
