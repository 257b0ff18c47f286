"""Providers that are not asked for a while: their account is refused, or several submissions in a row went unheard.

Each submission into an outage may be accepted without a word, and then holds money until somebody knows; the first few
tell as much as all of a batch would.
"""

import copy
import time
from collections import defaultdict
from collections.abc import Callable

from media_assets.errors import (
    InsufficientCreditError,
    KeyRejectedError,
    ProviderUnavailableError,
    PurchaseError,
    UnknownOutcomeError,
)

_FORBIDDEN = 403
_MOST_UNHEARD = 5
"""Purchases in a row that a provider did not answer; then it is taken to be down."""


class Breaker:
    """Remembers, for one process, what became of the latest submissions to each provider."""

    def __init__(self, refused_s: float, outage_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._refused_s = refused_s
        self._outage_s = outage_s
        self._now_s = now_s
        self._shut: dict[str, tuple[float, PurchaseError]] = {}
        self._unheard: defaultdict[str, set[str]] = defaultdict(set)
        """Request keys, since a provider was heard of; after an outage's time one more is enough to shut it again."""

    def refused_lately(self, provider: str) -> PurchaseError | None:
        """Return why a provider need not be asked now; None: it may be."""
        until_s, error = self._shut.get(provider, (0.0, None))
        if error is None or self._now_s() >= until_s:
            return None
        # A copy: whose purchase it is is filled in later, and says nothing of the next.
        return copy.copy(error)

    def came(self, provider: str, request_key: str, error: BaseException | None) -> None:
        """Take note of what came of a submission.

        A 403 is about one model (a gated one, a region's) unless its words say that the account is empty.
        """
        if isinstance(error, ProviderUnavailableError | UnknownOutcomeError):
            self._unheard[provider].add(request_key)
            if len(self._unheard[provider]) >= _MOST_UNHEARD:
                self._shut_out(provider, error)
            return
        self._unheard.pop(provider, None)
        is_key = isinstance(error, KeyRejectedError) and error.http_status != _FORBIDDEN
        if isinstance(error, PurchaseError) and (is_key or isinstance(error, InsufficientCreditError)):
            refusal = copy.copy(error)
            refusal.message = f"{provider} was not asked, because it refused a moment ago: {error.message}"
            refusal.args = (refusal.message,)
            self._shut[provider] = (self._now_s() + self._refused_s, refusal)

    def _shut_out(self, provider: str, error: PurchaseError) -> None:
        message = (
            f"{provider} was not asked, and nothing was sent: {_MOST_UNHEARD} purchases in a row had no answer from it "
            f"a moment ago, the last one: {error.message} It is asked again {self._outage_s:.0f} s after that."
        )
        unavailable = ProviderUnavailableError(message, provider=provider)
        self._shut[provider] = (self._now_s() + self._outage_s, unavailable)
