"""Calling back what is under way: the word that somebody has no use for it any more, and what that word may do.

Nothing here talks to a provider: ``providers/transport/follow.py`` heeds the word for what was submitted,
``purchase.py`` for what was not.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from enum import StrEnum
from typing import cast

from media_assets.errors import StoppedError


class OnCancel(StrEnum):
    """What is done about a submitted prediction that nobody waits for any more."""

    CANCEL_IF_QUEUED = "cancel_if_queued"
    """It is canceled while it waits in the provider's queue, which is free; what runs is paid for, and left to end."""
    CANCEL_ALWAYS = "cancel_always"
    """It is canceled while it runs too, where the provider can do that; what it ran so far may be billed."""
    DETACH = "detach"
    """It is left alone, and the next run goes on with it."""


class Recall:
    """The word that one purchase is called back. It may be given at any time, in the event loop of the purchase."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._breakable: set[asyncio.Task[object]] = set()
        self.why = ""
        """To follow "because", for people."""
        self.spares_running = True
        """Whether what already runs is left to end, whatever the policy."""
        self.is_heeded = False
        """Whether the provider took a cancel because of it."""

    @property
    def is_asked(self) -> bool:
        """Whether the word was given."""
        return self._asked.is_set()

    def ask(self, why: str, *, spares_running: bool) -> None:
        """Give the word. Given again, it can go further, and its first reason stays.

        Args:
            why: To follow "because".
            spares_running: Whether what already runs is left to end, whatever the policy.
        """
        self.spares_running = self.spares_running and spares_running
        if self.is_asked:
            return
        self.why = why
        self._asked.set()
        for task in self._breakable:
            task.cancel()

    def check(self) -> None:
        """Raise if the word was given.

        Raises:
            StoppedError: It was; for what is not submitted yet.
        """
        if self.is_asked:
            raise self._stopped()

    async def wait(self, seconds: float) -> None:
        """Sleep, at most until the word is given."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()

    @contextlib.contextmanager
    def breaks_off(self) -> Iterator[None]:
        """Break off, as a cancellation would, what is inside when the word is given; nothing is begun after it.

        Raises:
            StoppedError: The word was given.
        """
        self.check()
        task = cast("asyncio.Task[object]", asyncio.current_task())  # a coroutine of ours always runs in one
        canceled_before = task.cancelling()
        self._breakable.add(task)
        try:
            yield
        except asyncio.CancelledError as error:
            # As asyncio.timeout does it: a cancellation from elsewhere stays one.
            if self.is_asked and task.uncancel() <= canceled_before:
                raise self._stopped() from error
            raise
        finally:
            self._breakable.discard(task)

    def _stopped(self) -> StoppedError:
        return StoppedError(f"not submitted, because {self.why}; nothing is billed. Run again to go on.")
