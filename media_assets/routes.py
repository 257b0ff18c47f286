"""Routes: which failure of a model lets the next of its step's route take over, and how that is told."""

from media_assets.catalog import ModelSpec, Recovery
from media_assets.errors import (
    Billed,
    MediaAssetsError,
    MediaError,
    OutputLostError,
    PlanError,
    PurchaseError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)


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


def moves_on(error: MediaAssetsError, following: ModelSpec) -> bool:
    """Whether a route goes on to ``following``. Money that may be in flight only yields to a free model."""
    if _is_undecided(error):
        return following.recovery is Recovery.FREE
    return isinstance(error, PurchaseError | MediaError | PlanError) and not isinstance(error, OutputLostError)
