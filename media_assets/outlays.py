"""What went to purchases that failed: it is money too, whichever model made the step in the end."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from media_assets.ledger import Ledger
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step


@dataclass(frozen=True, kw_only=True)
class Outlay:
    """Money for which a step has nothing to show."""

    cost_usd: Decimal = Decimal(0)
    """What the failed purchases cost when they were bought."""
    spent_usd: Decimal = Decimal(0)
    """What of it this call spent."""

    @classmethod
    def before(cls, micro_usd: int) -> Self:
        """Build from what an earlier call has spent."""
        return cls(cost_usd=from_micro_usd(micro_usd))


class Outlays:
    """Remembers which purchases of each step failed in one chain, and what they cost."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._failed: dict[Step, dict[str, tuple[int, int]]] = {}

    def note(self, step: Step, request_key: str, *, before_micro_usd: int) -> None:
        """Remember a purchase that failed; blocking.

        Args:
            step: What it was for.
            request_key: Which one; nothing is remembered of one that never came to be.
            before_micro_usd: What it had cost before this call.
        """
        row = self._ledger.purchases.get(request_key)
        if row is not None:
            cost = row.cost_micro_usd or 0
            self._failed.setdefault(step, {})[request_key] = (cost, cost - before_micro_usd)

    def request_keys(self, step: Step) -> tuple[str, ...]:
        """Return the failed purchases of a step, in order."""
        return tuple(self._failed.get(step, ()))

    def of(self, step: Step) -> Outlay:
        """Return what a step's failed purchases came to."""
        failed = self._failed.get(step, {}).values()
        return Outlay(
            cost_usd=from_micro_usd(sum(cost for cost, _ in failed)),
            spent_usd=from_micro_usd(sum(spent for _, spent in failed)),
        )
