"""What is told of a step that was made, or is there already: its purchase, its file, and how it came to be."""

from media_assets.artifact import ArtifactStore
from media_assets.errors import OutputLostError
from media_assets.film import StepResult
from media_assets.ledger.prompts import FinishedStep
from media_assets.orders import Purchased
from media_assets.outlays import Outlay
from media_assets.prompt import Step
from media_assets.request import GenerationRequest
from media_assets.standing import Standing


def found_result(step: Step, standing: Standing, store: ArtifactStore, *, started_s: float = 0.0) -> StepResult:
    """Return the result of a finished step whose file is there. Free.

    Args:
        step: Which.
        standing: How it stands.
        store: Where its file is.
        started_s: Seconds after the chain began that it was found.

    Raises:
        OutputLostError: It is not there.
    """
    row, finished = standing.row, standing.finished
    if row is None or finished is None or standing.artifact is None:
        message = f"the step {step} is not there"
        raise OutputLostError(message)
    purchased = Purchased.from_row(row, spent_micro_usd=0, cached=True)
    failed = Outlay.before(standing.failed_micro_usd)
    return made_result(finished, row.request(), purchased, store, failed=failed, started_s=started_s)


def made_result(
    done: FinishedStep,
    request: GenerationRequest,
    purchased: Purchased,
    store: ArtifactStore,
    *,
    failed: Outlay,
    started_s: float,
) -> StepResult:
    """Return the result of a step.

    Args:
        done: How it is recorded.
        request: What was asked for.
        purchased: What that brought.
        store: Where its file is.
        failed: What went to purchases that failed before.
        started_s: Seconds after the chain began.
    """
    return StepResult(
        step=done.step,
        artifact=purchased.artifact,
        path=store.path(purchased.artifact),
        provider=request.provider,
        model=request.model,
        cost_usd=purchased.cost_usd + failed.cost_usd,
        failed_usd=failed.cost_usd,
        spent_usd=purchased.spent_usd + failed.spent_usd,
        estimate_usd=purchased.estimate_usd,
        duration_s=0.0,
        started_s=started_s,
        reported=purchased.reported,
        price_from=purchased.price_from,
        attempts=purchased.attempts,
        cached=purchased.cached,
        degraded=done.degraded,
        reason=done.reason,
        notes=(*done.notes, *purchased.notes),
        request_key=request.key,
        prediction_id=purchased.prediction_id,
    )
