"""What a run has spent on prompts whose films have not ended: the ledger knows, also where nobody was told."""

from collections.abc import Collection
from decimal import Decimal
from typing import Self

from media_assets.ledger import Ledger
from media_assets.ledger.rows import NOBODY
from media_assets.pricing import from_micro_usd


class SpentSoFar:
    """Compares what the purchases of some prompts cost with what they had cost before."""

    def __init__(self, ledger: Ledger, before: dict[str, tuple[str, int]]) -> None:
        self._ledger = ledger
        self._before = before

    @classmethod
    def since_now(cls, ledger: Ledger, prompt_keys: Collection[str]) -> Self:
        """Begin to look at the purchases of these prompts; blocking."""
        return cls(ledger, ledger.bills.costs(prompt_keys, owner=ledger.owner.id))

    def on(self, prompt_keys: Collection[str]) -> Decimal:
        """Return what this process has settled since for some of the prompts, in USD; blocking.

        What it had sent and left to others counts when they settle it, and there.
        """
        now = self._ledger.bills.costs(prompt_keys, owner=self._ledger.owner.id)
        # What was settled and not fetched before the run was stopped is nobody's by now.
        mine = {key: cost for key, (owner, cost) in now.items() if owner in {self._ledger.owner.id, NOBODY}}
        return from_micro_usd(sum(cost - self._before.get(key, ("", 0))[1] for key, cost in mine.items()))
