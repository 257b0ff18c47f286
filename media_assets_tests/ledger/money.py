"""Shared by the tests of budgets: plans that reserve, purchases that settle, and how the table stands afterwards."""

import secrets
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim, Settlement
from media_assets.ledger.schema import budget
from media_assets.prediction import Prediction, State
from media_assets.prompt import Step
from media_assets_tests.making import some_request

USD = 1_000_000
"""In micro-USD."""

DAY = "day:2026-11-23"


def micro(usd: str) -> int:
    """Return micro-USD."""
    return int(Decimal(usd) * USD)


def prompt_cap(usd: str = "1") -> Cap:
    """Return a cap on the prompt ``cheap``."""
    return Cap("prompt:cheap", micro(usd), "max_cost_usd (--max-cost-usd)")


def day_cap(usd: str = "1", *, scope: str = DAY) -> Cap:
    """Return a cap on a day."""
    return Cap(scope, micro(usd), "MEDIA_ASSETS_MAX_DAY_USD")


def provider_cap(usd: str = "1", *, provider: str = "fal") -> Cap:
    """Return a cap on a day at a provider."""
    setting = f"MEDIA_ASSETS_{provider.upper()}_MAX_DAY_USD"
    return Cap(f"provider:{provider}:2026-11-23", micro(usd), setting, provider)


def open_plan(ledger: Ledger, usd: str, caps: Collection[Cap], *, step: Step = Step.IMAGE, provider: str = "") -> str:
    """Open a plan of one step; return its name."""
    plan_id = secrets.token_hex(8)
    amounts = {step: micro(usd)}
    ledger.prompts.open_plan(plan_id, "cheap", amounts=amounts, caps=caps, providers={step: provider})
    return plan_id


def claim_for(ledger: Ledger, plan_id: str, *, take: int = 0, usd: str = "0.01", **more: Any) -> Claim:
    """Claim the picture of a plan, at that worst case."""
    terms = {"recovery": Recovery.NONE, "prompt_key": "cheap", "estimate_micro_usd": micro(usd)}
    claim = ledger.purchases.claim(some_request(take=take), plan_id=plan_id, **{**terms, **more})
    assert isinstance(claim, Claim)
    return claim


def settle(ledger: Ledger, claim: Claim, usd: str) -> None:
    """Send it, and have it billed at once."""
    token = ledger.purchases.write_intent(claim)
    done = Prediction(id=f"p-{claim.request_key[:8]}", state=State.SUCCEEDED)
    ledger.purchases.write_submitted(claim, token, done, Settlement(cost_micro_usd=micro(usd)))


def buy(ledger: Ledger, usd: str, caps: Collection[Cap], *, take: int = 0, billed_usd: str | None = None) -> str:
    """Buy a picture of that worst case; return its request key."""
    claim = claim_for(ledger, open_plan(ledger, usd, caps), take=take, usd=usd)
    settle(ledger, claim, billed_usd or usd)
    return claim.request_key


def standing(ledger: Ledger) -> dict[str, tuple[str, str, bool]]:
    """Return spent and reserved USD of every scope, and whether it is overrun."""
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(budget).order_by(budget.c.scope)).all()
    return {row.scope: (_usd(row.spent_micro_usd), _usd(row.reserved_micro_usd), row.overrun) for row in rows}


def _usd(micro_usd: int) -> str:
    return format(Decimal(micro_usd) / USD, ".2f")
