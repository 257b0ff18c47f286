"""How providers are talked to: keys, limits, and how long things may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from media_assets.ledger.admission import Limits
from media_assets.recall import OnCancel

DEFAULT_LIMITS: Mapping[str, Limits] = {
    # 600 creates a minute (Replicate's documentation, read 2026-11-22).
    "replicate": Limits(concurrency=20, per_minute=500),
    # A new account runs 2 at once, up to 40 by its level, and more wait in fal's queue, free of charge (fal's
    # documentation, 2026-11-22). Two that wait keep both places busy between our questions, and wait no longer than one
    # run: with 20, the last would pass its deadline to start.
    "fal": Limits(concurrency=4),
    "openai": Limits(concurrency=5),
    # Concurrency by plan, 2 on the free one to 15 (third-party figures, not verified, 2026-11-22).
    "elevenlabs": Limits(concurrency=2),
}
"""How many predictions are open at once, and submitted a minute, where no setting says otherwise."""


@dataclass(frozen=True, kw_only=True)
class TransportOptions:
    """What a transport is opened with."""

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """API keys by provider."""
    limits: Mapping[str, Limits] = field(default_factory=lambda: DEFAULT_LIMITS)
    local_concurrency: int | None = None
    """Local models at work at once; None: as many as there are cores."""
    poll_first_s: float = 1.0
    """Wait before the first question how a prediction stands; later waits grow from it."""
    poll_longest_s: float = 15.0
    deadline_grace_s: float = 30.0
    """How long a model may run beyond its deadline: a provider that was told it needs a moment to end the work."""
    on_cancel: OnCancel = OnCancel.CANCEL_IF_QUEUED
    """What is done about a submitted prediction that nobody waits for any more."""
    cancel_grace_s: float = 10.0
    """How long a run that was told to stop waits for what it has submitted to end, or to be canceled."""
    refusals_deadline_s: float = 600.0
    """How long a submission that is refused for now (429), or cannot connect, is tried again."""
    post_deadline_s: float = 60.0
    """How long the reply to a submission may take, of a provider that queues: after it, the outcome is unknown."""
    settle_lag_s: float = 120.0
    """How long after that deadline a provider's list is believed when it does not show a submission."""
    not_found_grace_s: float = 60.0
    """How long a provider may say that it does not know a prediction, or its result, before it is believed."""
    list_budget_s: float = 60.0
    """How long one page of a provider's list or bill is asked for again where it is not answered."""
    backoff_first_s: float = 1.0
    """First wait between tries of the same call; later ones grow, with jitter."""
    breaker_s: float = 300.0
    """How long a provider whose account is empty or whose key is refused is not asked again by this process."""
    outage_s: float = 60.0
    """How long a provider of which several purchases in a row heard nothing is not asked again by this process."""
