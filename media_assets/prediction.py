"""Prediction: the provider's side of a request, in our words whoever the provider is."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where a prediction stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"

    @property
    def is_final(self) -> bool:
        """Whether the provider will not change it any more."""
        return self in {State.SUCCEEDED, State.FAILED, State.CANCELED}


@dataclass(frozen=True, kw_only=True)
class Output:
    """One thing a prediction made, where it can be had from; exactly one of the three is set."""

    path: Path | None = None
    """A file a local model wrote in its scratch folder."""
    url: str | None = None
    """Where to download it. Never stored: a resumed download reads the prediction again."""
    data: bytes | None = None
    """The bytes themselves, from a provider that answers at once."""

    def __repr__(self) -> str:
        # A URL may be signed and bytes may be many; neither belongs in a log or a traceback.
        kind = "path" if self.path else "url" if self.url else "data"
        return f"Output(<{kind}>)"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What is known of the provider's work."""

    id: str
    state: State
    outputs: tuple[Output, ...] = ()
    progress: float | None = None
    """Fraction done, 0..1, where the provider tells."""
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What the user should know of the result, for example a caption that was left out."""
    compute_s: float | None = None
    """Seconds of compute the provider reports."""
