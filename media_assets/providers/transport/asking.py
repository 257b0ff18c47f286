"""Asking again: what costs nothing is sent until it is answered for good, for as long as that is worth waiting for."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from media_assets.errors import ProviderUnavailableError, RateLimitedError, UnexpectedResponseError

T = TypeVar("T")

_LONGEST_BACKOFF_S = 30.0


class UnreadableError(Exception):
    """A success that cannot be read, because it is of something that stands in between."""

    def __init__(self, error: UnexpectedResponseError) -> None:
        super().__init__(error.message)
        self.error = error
        """What is raised when it stays like this."""


async def ask_until_answered(ask: Callable[[], Awaitable[T]], *, budget_s: float, first_wait_s: float) -> T:
    """Return what ``ask`` returns, once it does.

    Args:
        ask: Asks once. What may pass it raises as ``ProviderUnavailableError``, ``RateLimitedError`` or
            :class:`UnreadableError`; everything else it raises is final.
        budget_s: Seconds after which no other try is begun.
        first_wait_s: Before the second try, at most; later waits grow, with jitter.

    Raises:
        ProviderUnavailableError: The last answer; with ``if_it_lasts`` only where the one before it was the same.
        RateLimitedError: As above, without more.
        UnexpectedResponseError: The last answer could not be read.
    """
    backoff = tenacity.wait_random_exponential(multiplier=first_wait_s, max=_LONGEST_BACKOFF_S)
    last: tuple[object, ...] | None = None

    async def once() -> T:
        nonlocal last
        before, last = last, None
        try:
            return await ask()
        except ProviderUnavailableError as error:
            last = None if error.if_it_lasts is None else (error.http_status, type(error.if_it_lasts))
            if last != before:
                error.if_it_lasts = None
            raise

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        return max(backoff(state), getattr(error, "retry_after_s", None) or 0.0)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type((ProviderUnavailableError, RateLimitedError, UnreadableError)),
        wait=wait,
        # A wait that would end after the budget is not begun, whatever wait the provider asked for.
        stop=tenacity.stop_before_delay(budget_s),
        reraise=True,
    )
    try:
        return await retrying(once)
    except UnreadableError as error:
        raise error.error from error
