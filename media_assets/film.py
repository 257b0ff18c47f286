"""What making a prompt brings: a StepResult for each step, and the Film they add up to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from media_assets.artifact import Artifact
from media_assets.errors import BudgetExceededError, MediaAssetsError, StoppedError
from media_assets.left_open import LeftOpen
from media_assets.outlays import Outlay
from media_assets.prompt import Step

FILMS = "films"
"""The folder of the home with the films, as copies for people."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """One step as it was made, or found."""

    step: Step
    artifact: Artifact | None
    path: Path | None
    """Where the artifact is in the store."""
    provider: str
    model: str
    cost_usd: Decimal
    """What the step's purchases cost when they were bought, those that failed included."""
    failed_usd: Decimal
    """What of it went to purchases that failed, before another model made the step."""
    spent_usd: Decimal
    """What this call spent."""
    estimate_usd: Decimal
    """The worst case, before it was bought."""
    reported: Mapping[str, str]
    """What the provider says it used, in its own units."""
    price_from: str | None
    """Day of the price row that ``cost_usd`` was reckoned with; None for what is free."""
    duration_s: float
    """Wall time of this call, waiting included; 0 when cached."""
    started_s: float
    """Seconds after the chain began, for the timeline."""
    attempts: int
    cached: bool
    """Whether nothing was submitted by this call."""
    degraded: bool
    """Whether a stand-in made it."""
    reason: str | None
    """Why it is degraded, or why another model than the first made it."""
    notes: tuple[str, ...]
    """What to know of the result, for example a caption that was left out."""
    request_key: str
    prediction_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the flat form of ``--json`` and of metadata; money as strings."""
        return {
            "step": str(self.step),
            "provider": self.provider,
            "model": self.model,
            "cost_usd": str(self.cost_usd),
            "failed_usd": str(self.failed_usd),
            "spent_usd": str(self.spent_usd),
            "estimate_usd": str(self.estimate_usd),
            "reported": dict(self.reported),
            "price_from": self.price_from,
            "duration_s": round(self.duration_s, 3),
            "attempts": self.attempts,
            "cached": self.cached,
            "degraded": self.degraded,
            "reason": self.reason,
            "notes": list(self.notes),
            "request_key": self.request_key,
            "prediction_id": self.prediction_id,
            "artifact": self._artifact_dict(),
        }

    def _artifact_dict(self) -> dict[str, Any] | None:
        if self.artifact is None:
            return None
        return {"sha256": self.artifact.sha256, "path": str(self.path), **self.artifact.info.as_dict()}


@dataclass(kw_only=True)
class Film:
    """One prompt's chain: the steps that are there, the film, or the error that ended it."""

    key: str
    steps: dict[Step, StepResult] = field(default_factory=dict)
    outlays: dict[Step, Outlay] = field(default_factory=dict)
    """What steps cost that were not made."""
    stopped: dict[Step, str] = field(default_factory=dict)
    """Why steps were called back, or not begun, after another one had failed."""
    open: list[LeftOpen] = field(default_factory=list)
    """What is still open at providers, where the run was told to stop."""
    path: Path | None = None
    """The exported film; None while there is none."""
    error: MediaAssetsError | None = None
    superseded: bool = False
    """Whether nothing was made because another prompt was pinned under the key meanwhile: the film is that one's."""

    def add(self, step: Step, result: StepResult | MediaAssetsError, outlay: Outlay) -> None:
        """Take what came of a step; for one that was not made also what went to its purchases all the same."""
        if isinstance(result, StepResult):
            self.steps[step] = result
            return
        self.outlays[step] = outlay
        if isinstance(result, StoppedError):
            self.stopped[step] = result.message

    @property
    def cost_usd(self) -> Decimal:
        """What the purchases behind the steps cost when they were bought, those that failed included."""
        made, failed = self.steps.values(), self.outlays.values()
        return sum((*(one.cost_usd for one in made), *(one.cost_usd for one in failed)), Decimal(0))

    @property
    def spent_usd(self) -> Decimal:
        """What this call spent."""
        made, failed = self.steps.values(), self.outlays.values()
        return sum((*(one.spent_usd for one in made), *(one.spent_usd for one in failed)), Decimal(0))

    @property
    def failed_usd(self) -> Decimal:
        """What of the cost went to purchases that failed."""
        made, failed = self.steps.values(), self.outlays.values()
        return sum((*(one.failed_usd for one in made), *(one.cost_usd for one in failed)), Decimal(0))

    @property
    def deferred(self) -> bool:
        """Whether nothing is wrong but that a cap would have been passed: the prompt is still to be made."""
        return isinstance(self.error, BudgetExceededError)

    @property
    def cached(self) -> bool:
        """Whether this call submitted nothing: every step was there."""
        return all(step.cached for step in self.steps.values())

    @property
    def degraded(self) -> bool:
        """Whether any step was made by a stand-in."""
        return any(step.degraded for step in self.steps.values())

    def as_dict(self, *, home: Path) -> dict[str, Any]:
        """Return the object that ``generate --json`` prints."""
        made = {
            "key": self.key,
            "home": str(home),
            "film": self._film_dict(),
            "cost_usd": str(self.cost_usd),
            "spent_usd": str(self.spent_usd),
            "degraded": self.degraded,
            "deferred": self.deferred,
            "steps": [self.steps[step].as_dict() if step in self.steps else self._missing(step) for step in Step],
        }
        if self.open:
            made["open"] = [one.as_dict() for one in self.open]
        if self.superseded:
            made["superseded"] = True
        return made if self.error is None else made | {"error": self.error.as_dict()}

    def _missing(self, step: Step) -> dict[str, Any]:
        return _missing(step, self.outlays.get(step, Outlay())) | {"reason": self.stopped.get(step)}

    def _film_dict(self) -> Mapping[str, Any] | None:
        merged = self.steps.get(Step.MERGED)
        if self.error is not None or merged is None or merged.artifact is None or self.path is None:
            return None
        info = merged.artifact.info
        return {
            "path": str(self.path),
            "sha256": merged.artifact.sha256,
            "duration_s": info.duration_s,
            "width_px": info.width_px,
            "height_px": info.height_px,
            "fps": info.fps,
        }


def _missing(step: Step, outlay: Outlay) -> dict[str, Any]:
    """Return the entry of a step that was not made: same fields, nothing in them but what it cost all the same."""
    nothing = StepResult(
        step=step,
        artifact=None,
        path=None,
        provider="",
        model="",
        cost_usd=outlay.cost_usd,
        failed_usd=outlay.cost_usd,
        spent_usd=outlay.spent_usd,
        estimate_usd=Decimal(0),
        reported={},
        price_from=None,
        duration_s=0.0,
        started_s=0.0,
        attempts=0,
        cached=False,
        degraded=False,
        reason=None,
        notes=(),
        request_key="",
        prediction_id=None,
    )
    return nothing.as_dict()
