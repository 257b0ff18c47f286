"""What may be spent at most: for one prompt, one run, one day, and one day at one provider. Each has a setting.

A cap counts the worst case of what is open and the cost of what is settled. Days are UTC days; a purchase counts on the
day on which its money was reserved.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from media_assets.ledger.budgets import Cap
from media_assets.pricing import to_micro_usd
from media_assets.prompt import Prompt

_UNLIMITED_USD = Decimal(10**9)
"""As much as the ledger's columns take. What is spent without a cap counts all the same when one is set later."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Limits in USD; None: no limit. The defaults hold without any configuration."""

    prompt_usd: Decimal | None = Decimal(1)
    """For all that is ever bought under one prompt key, for prompts that name no cap of their own."""
    run_usd: Decimal | None = None
    """For one run: one call of ``generate``, one stream of the library, one Dagster run with its retries."""
    day_usd: Decimal | None = Decimal(5)
    """For one UTC day."""
    provider_day_usd: Mapping[str, Decimal] = field(default_factory=dict)
    """For one UTC day at a provider, by its name."""

    def of(self, prompt: Prompt, *, run_id: str, today: date, providers: Collection[str]) -> list[Cap]:
        """Return the caps that a prompt's purchases count under.

        Args:
            prompt: Whose.
            run_id: The run it is made in.
            today: The UTC day of the reservation.
            providers: Those who would bill any of its steps.
        """
        caps = [self.of_prompt(prompt), self.of_day(today)]
        caps += [self.of_provider(provider, today) for provider in sorted(set(providers))]
        if self.run_usd is not None:
            # A run cannot be given a cap later, so one without leaves no trace.
            caps.append(_cap(f"run:{run_id}", self.run_usd, "MEDIA_ASSETS_MAX_RUN_USD (--max-run-usd)"))
        return caps

    def of_prompt(self, prompt: Prompt) -> Cap:
        """Return the cap of one prompt."""
        scope = f"prompt:{prompt.key}"
        if prompt.max_cost_usd is not None:
            return _cap(scope, prompt.max_cost_usd, "max_cost_usd (--max-cost-usd)")
        return _cap(scope, self.prompt_usd, "MEDIA_ASSETS_MAX_COST_USD (--max-cost-usd)")

    def of_day(self, day: date) -> Cap:
        """Return the cap of one UTC day."""
        return _cap(f"day:{day}", self.day_usd, "MEDIA_ASSETS_MAX_DAY_USD")

    def of_provider(self, provider: str, day: date) -> Cap:
        """Return the cap of one UTC day at one provider."""
        limit_usd = self.provider_day_usd.get(provider)
        setting = f"MEDIA_ASSETS_{provider.upper()}_MAX_DAY_USD"
        return _cap(f"provider:{provider}:{day}", limit_usd, setting, provider=provider)


def is_lifted(cap: Cap) -> bool:
    """Whether a cap is none."""
    return cap.micro_usd >= to_micro_usd(_UNLIMITED_USD)


def _cap(scope: str, limit_usd: Decimal | None, setting: str, *, provider: str | None = None) -> Cap:
    usd = _UNLIMITED_USD if limit_usd is None else min(limit_usd, _UNLIMITED_USD)
    return Cap(scope, to_micro_usd(usd), setting, provider)
