"""Places at a provider within this process: first come, first served. Other processes are counted in the ledger."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from weakref import WeakKeyDictionary


class Places:
    """A semaphore a provider and event loop; asyncio's own is fair."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()

    @contextlib.asynccontextmanager
    async def take(self, provider: str, size: int | None) -> AsyncIterator[None]:
        """Hold one of ``size`` places while inside; None stands for any number."""
        if size is None:
            yield
            return
        here = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        async with here.setdefault(provider, asyncio.Semaphore(size)):
            yield
