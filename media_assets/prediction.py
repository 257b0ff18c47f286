"""Prediction: the provider's side of a request, in our words whoever the provider is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from media_assets.errors import PurchaseError


class State(StrEnum):
    """Where a prediction stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    """In a state this version does not know: waited for, with an alarm, until the deadline."""

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
    remote_state: str = ""
    """The provider's own word for the state."""
    outputs: tuple[Output, ...] = ()
    failure: PurchaseError | None = None
    """Why it failed or was canceled, typed; its ``billed`` says whether it cost money."""
    urls: Mapping[str, str] = field(default_factory=dict)
    """Where to ask on (status, result, cancel), for a provider whose answers must be followed; nothing secret."""
    progress: float | None = None
    """Fraction done, 0..1, where the provider tells."""
    queue_position: int | None = None
    """Predictions before this one, where the provider tells."""
    reported: Mapping[str, Decimal] = field(default_factory=dict)
    """What the provider says it used, in its own units: compute_s, billable_units, characters, image_out_tokens, …"""
    notes: tuple[str, ...] = ()
    """What the user should know of the result, for example a caption that was left out."""
