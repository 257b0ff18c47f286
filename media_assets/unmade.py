"""The money of a prompt that was not made: what is paid and kept, what went to nothing, what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from media_assets.errors import MediaAssetsError
from media_assets.plan import Plan
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Prompt, Step
from media_assets.standing import Standing, Standings
from media_assets.studio import Studio
from media_assets.threads import in_thread


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A finished step that was paid for."""

    step: Step
    model: str
    cost_usd: Decimal


@dataclass(frozen=True, kw_only=True)
class Unmade:
    """What a prompt that was not made has cost, and may cost still."""

    kept: tuple[Kept, ...]
    failed_usd: Decimal
    """What went to purchases that failed."""
    missing_usd: Decimal | None
    """What is missing costs at most, on top of what is open already; None: the prompt cannot be planned as it is."""

    @property
    def paid_usd(self) -> Decimal:
        """Return what the steps cost that are there: a rerun does not pay it again."""
        return sum((one.cost_usd for one in self.kept), Decimal(0))


async def look_at_unmade(
    studio: Studio, prompt: Prompt, *, wanted: frozenset[Step], failed_usd: Decimal, upgrade: bool = False
) -> Unmade:
    """Return the money of a prompt whose film was not made. Free: writes nothing, sends nothing.

    Args:
        studio: That tried to make it.
        prompt: As it is pinned.
        wanted: The steps that were asked for.
        failed_usd: What went to purchases that failed.
        upgrade: Whether degraded steps are to be made again.
    """
    standings = await in_thread(Standings(studio.ledger, studio.store).of, prompt, upgrade=upgrade)
    try:
        plan = await studio.plan(prompt, upgrade=upgrade)
    except MediaAssetsError:
        missing_usd = None
    else:
        missing_usd = _needed_usd(plan, studio.missing(prompt, standings, wanted))
    return Unmade(kept=_kept(standings), failed_usd=failed_usd, missing_usd=missing_usd)


def _needed_usd(plan: Plan, missing: frozenset[Step]) -> Decimal | None:
    if any(problem.field != "budget" for problem in plan.problems):
        return None
    return from_micro_usd(sum(plan.need(missing).amounts.values()))


def _kept(standings: Mapping[Step, Standing]) -> tuple[Kept, ...]:
    return tuple(
        Kept(step=step, model=standing.row.model, cost_usd=from_micro_usd(standing.row.cost_micro_usd))
        for step, standing in standings.items()
        if standing.artifact is not None and standing.row is not None and standing.row.cost_micro_usd
    )
