"""What goes into a purchase, and what comes out of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Self

from media_assets.artifact import Artifact
from media_assets.catalog import ModelSpec
from media_assets.errors import (
    Billed,
    ConfigurationError,
    MediaAssetsError,
    OutputLostError,
    PredictionFailedError,
    PurchaseError,
    Rerun,
    UnknownOutcomeError,
)
from media_assets.ledger.budgets import NotReservedError
from media_assets.ledger.claims import Settlement
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.media.questions import Question
from media_assets.prediction import Prediction, State
from media_assets.pricing import cost, from_micro_usd, to_micro_usd
from media_assets.recall import Recall
from media_assets.request import GenerationRequest


def _tell_nobody(fraction: float) -> None:
    del fraction


async def _reserve_nothing() -> None:
    message = "the plan has not reserved what this may cost. Nothing was sent."
    raise NotReservedError(message, rerun=Rerun.RESUBMIT)


def _say_nothing(message: str) -> None:
    del message


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be bought, for whom, and on what terms."""

    request: GenerationRequest
    spec: ModelSpec
    prompt_key: str
    plan_id: str
    estimate_usd: Decimal
    """The worst case."""
    today: date
    """Decides which price is in force."""
    assume_usd: Decimal | None = None
    """What a purchase without a price is taken to cost; None: it has one."""
    inputs: Mapping[str, Path]
    """The files the request builds on, by role, as they are in the store."""
    question: Question
    """What the file has to be, to be good enough to build on."""
    reserve: Callable[[], Awaitable[None]] = field(default=_reserve_nothing)
    """Reserves the worst case again, where the plan no longer holds it; raises where a cap does not leave it."""
    retry_failed: bool = False
    """Whether a purchase that failed for good is tried again, which may cost money again."""
    waits: bool = True
    """Whether it is waited until a provider can say what came of a submission whose reply was lost."""
    resubmit_max_usd: Decimal = Decimal(0)
    """Up to which worst case a submission of unknown outcome counts as billed and is sent once more; 0: never."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was bought."""
    tell: Callable[[float], None] = field(default=_tell_nobody)
    """Called with the fraction done, from any thread."""
    say: Callable[[str], None] = field(default=_say_nothing)
    """Called with what is waited for, for people."""
    aside: Callable[[], AbstractAsyncContextManager[None]] = field(default=nullcontext)
    """Entered while something is waited for that takes long, so that others may work meanwhile."""
    recall: Recall = field(default_factory=Recall)
    """Through which it can be called back while it is under way."""
    calls_back: bool = True
    """Whether a run that is stopped calls it back; a janitor, which wants nothing for itself, leaves it alone."""

    def settlement(self, prediction: Prediction, *, last_word: bool = False) -> Settlement:
        """Return what a final prediction cost, by our table and by what the provider reported.

        Args:
            prediction: How it ended.
            last_word: Whether nothing more can be asked of it; then what may be billed is counted as billed.
        """
        if not self._is_billed(prediction, last_word=last_word):
            return Settlement(reported=prediction.reported)
        try:
            priced = cost(
                self.spec, self.request, reported=prediction.reported, today=self.today, assume_usd=self.assume_usd
            )
        except ConfigurationError:
            # The catalog changed since it was submitted. It is paid for, so it must not be lost for want of a price.
            return Settlement(cost_micro_usd=to_micro_usd(self.estimate_usd), reported=prediction.reported)
        return Settlement(
            cost_micro_usd=to_micro_usd(priced.usd), reported=prediction.reported, price_from=priced.price_from
        )

    def overrun(self, settlement: Settlement) -> tuple[str, ...]:
        """Say that a purchase was billed above its worst case; empty where it was not."""
        cost_usd, worst_usd = (
            from_micro_usd(amount) for amount in (settlement.cost_micro_usd, to_micro_usd(self.estimate_usd))
        )
        if cost_usd <= worst_usd:
            return ()
        return (f"billed at {cost_usd} USD, above its worst case of {worst_usd} USD: check its price",)

    def _is_billed(self, prediction: Prediction, *, last_word: bool) -> bool:
        failure = prediction.failure
        if failure is None or isinstance(failure, OutputLostError):
            return prediction.state is State.SUCCEEDED or failure is not None
        if failure.billed is Billed.NO:
            return False
        if failure.billed is Billed.YES and "compute_s" not in prediction.reported:
            return True
        if failure.billed is Billed.UNKNOWN and last_word:
            return True
        # That it computed says only for some models that it is charged for; for the others, and where the provider
        # leaves it open, the model's own rule decides.
        return self.spec.billed_canceled if prediction.state is State.CANCELED else self.spec.billed_failed


@dataclass(frozen=True, kw_only=True)
class Purchased:
    """What an order brought."""

    artifact: Artifact
    cost_usd: Decimal
    """What the purchase cost when it was bought."""
    spent_usd: Decimal
    """What this call spent."""
    estimate_usd: Decimal
    reported: Mapping[str, str]
    """What the provider says it used, in its own units."""
    price_from: str | None
    """Day of the price row that the cost was reckoned with."""
    attempts: int
    cached: bool
    """Whether nothing was submitted by this call."""
    prediction_id: str | None
    notes: tuple[str, ...]

    @classmethod
    def from_row(cls, row: PurchaseRow, *, spent_micro_usd: int, cached: bool) -> Self:
        """Build from a finished purchase."""
        if row.artifact is None:
            message = f"purchase {row.request_key[:12]} succeeded without an artifact; run `media-assets doctor`."
            raise OutputLostError(message, request_key=row.request_key)
        return cls(
            artifact=row.artifact,
            cost_usd=from_micro_usd(row.cost_micro_usd or 0),
            spent_usd=from_micro_usd(spent_micro_usd),
            estimate_usd=from_micro_usd(row.estimate_micro_usd),
            reported=row.reported,
            price_from=row.price_from,
            attempts=row.attempts,
            cached=cached,
            prediction_id=row.prediction_id,
            notes=row.notes,
        )


def stored_failure(row: PurchaseRow) -> MediaAssetsError:
    """Return a failure that was recorded earlier: nothing is sent again until a person says so."""
    told = (row.error or {}).get("message", "no reason was recorded")
    error: PurchaseError
    if row.state is PurchaseState.UNKNOWN:
        error = UnknownOutcomeError(told)
    elif row.state is PurchaseState.LOST_OUTPUT:
        error = OutputLostError(told)
    else:
        message = f"failed before, and is not tried again by itself: {told} Use --retry-failed, or a new take."
        error = PredictionFailedError(message)
    if row.state is PurchaseState.FAILED_PAID:
        error.billed = Billed.YES
    return named(error, step=row.step, model=row.model, request_key=row.request_key, prediction_id=row.prediction_id)


def named(
    error: PurchaseError, *, step: str, model: str, request_key: str, prediction_id: str | None = None
) -> PurchaseError:
    """Fill in whose error it is, where it does not say so itself."""
    error.step = error.step or step
    error.model = error.model or model
    error.provider = error.provider or model.partition(":")[0]
    error.request_key = error.request_key or request_key
    error.prediction_id = error.prediction_id or prediction_id
    return error


@contextmanager
def naming(order: Order) -> Iterator[None]:
    """Let an error inside say whose it is."""
    try:
        yield
    except PurchaseError as error:
        request, error.at_most_usd = order.request, order.estimate_usd
        raise named(error, step=str(request.step), model=request.model, request_key=request.key) from error.__cause__
