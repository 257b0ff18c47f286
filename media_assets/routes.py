"""Routes: which failure of a model lets the next of its step's route take over, and how that is told."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from media_assets.catalog import ModelSpec, Recovery
from media_assets.errors import (
    Billed,
    BudgetExceededError,
    MediaAssetsError,
    MediaError,
    OutputLostError,
    PlanError,
    PurchaseError,
    StoppedError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)


class UnknownPolicy(StrEnum):
    """What is done where nobody can know whether a submission was billed. Whoever sets it decides."""

    HOLD = "hold"
    """Nothing is bought in its place; a free model of the route stands in."""
    RESUBMIT_IF_CHEAP = "resubmit_if_cheap"
    """One whose worst case is small is submitted once more, and counted twice."""
    FALLBACK = "fallback"
    """The next model of the route is bought too; the first purchase keeps its budget."""


@dataclass(frozen=True, kw_only=True)
class UnknownTerms:
    """The policy, and the amount that it goes by."""

    policy: UnknownPolicy = UnknownPolicy.HOLD
    cheap_usd: Decimal = Decimal("0.02")
    """The largest worst case that counts as cheap."""

    @property
    def resubmit_max_usd(self) -> Decimal:
        """The largest worst case of a submission that is sent once more; 0: none is."""
        return self.cheap_usd if self.policy is UnknownPolicy.RESUBMIT_IF_CHEAP else Decimal(0)


def reason_for(failure: MediaAssetsError | None) -> str | None:
    """Say in one line why another model than the first was asked; None where it was the first."""
    if failure is None:
        return None
    if _is_undecided(failure):
        return "unknown_outcome"
    return f"fallback: {type(failure).__name__}: {' '.join(failure.message.split())}"


def _is_undecided(error: MediaAssetsError) -> bool:
    """Whether nobody knows what came of a submission; one that merely takes too long is known to be there."""
    return isinstance(error, UnknownOutcomeError | UnexpectedResponseError) and error.billed is Billed.UNKNOWN


def to_tell(first: MediaAssetsError | None, then: MediaAssetsError) -> MediaAssetsError:
    """Return which failure is told of a model that failed after another one did.

    That it cannot even be asked, or is not wanted any more, says nothing of why it was needed; and money that may be in
    flight needs a person more than the lack of money for the next model does.
    """
    if first is None:
        return then
    is_kept = isinstance(then, PlanError | StoppedError) or (
        isinstance(then, BudgetExceededError) and _is_undecided(first)
    )
    return first if is_kept else then


def moves_on(error: MediaAssetsError, following: ModelSpec, unknown: UnknownPolicy) -> bool:
    """Whether a route goes on to ``following``. Money that may be in flight yields to a paid model by policy only."""
    if _is_undecided(error):
        return following.recovery is Recovery.FREE or unknown is UnknownPolicy.FALLBACK
    return isinstance(error, PurchaseError | MediaError | PlanError) and not isinstance(error, OutputLostError)
