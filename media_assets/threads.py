"""Blocking work from coroutines, so that a cancellation never leaves a write behind that nobody knows of."""

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a thread; a cancellation waits for its end, then goes on.

    ``asyncio.to_thread`` would leave at once while the thread still writes: a claim could succeed after its
    claimer was gone.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await wait_for_end(running)
        raise


async def wait_for_end(running: "asyncio.Future[Any]") -> None:
    """Wait until ``running`` has ended, however often this coroutine is canceled meanwhile; its result is dropped."""
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()
