"""The only sender: runs the call an adapter made, and brings what it made to this machine.

Today that is local calls; the HTTP half joins it here with the first paid provider.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from weakref import WeakKeyDictionary

from media_assets.errors import UnexpectedResponseError
from media_assets.prediction import Prediction
from media_assets.providers.base import Adapter, HttpCall
from media_assets.providers.local import LocalAdapter
from media_assets.providers.transport.local_call import run_local_call
from media_assets.request import GenerationRequest

ADAPTERS: Mapping[str, Adapter] = {
    "local": LocalAdapter(),
}
"""Name to adapter, alphabetical."""


class Transport:
    """Sends, within limits on concurrency that all chains of an event loop share."""

    def __init__(self, adapters: Mapping[str, Adapter] = ADAPTERS, *, local_concurrency: int | None = None) -> None:
        self._adapters = adapters
        # Local models keep a core busy each: more at once only makes all of them late.
        self._local_concurrency = local_concurrency or os.cpu_count() or 1
        # Threads of their own, so that long work never keeps a ledger's short writes waiting for one.
        self._threads = ThreadPoolExecutor(self._local_concurrency, thread_name_prefix="local-model")
        self._local: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    def close(self) -> None:
        """End the threads of local models; nothing may be running any more."""
        self._threads.shutdown()

    def adapter(self, provider: str) -> Adapter:
        """Return a provider's adapter."""
        return self._adapters[provider]

    async def submit(
        self,
        request: GenerationRequest,
        *,
        inputs: Mapping[str, Path],
        scratch: Path,
        deadline_s: float,
        tell: Callable[[float], None],
        before_sending: Callable[[], None],
    ) -> Prediction:
        """Send the call that spends, once. **Costs money** for every provider but ``local``.

        Args:
            request: What to ask for.
            inputs: The files it builds on, by role.
            scratch: A folder of this purchase alone.
            deadline_s: Seconds after which local work is given up.
            tell: Called with the fraction done, from any thread.
            before_sending: Called right before the call leaves: until then, nothing was sent.
        """
        adapter = self.adapter(request.provider)
        call = adapter.submit_call(request)
        if isinstance(call, HttpCall):
            message = f"{request.provider} is asked over HTTP, which this version cannot send"
            raise UnexpectedResponseError(message, provider=request.provider)
        loop = asyncio.get_running_loop()
        async with self._local.setdefault(loop, asyncio.Semaphore(self._local_concurrency)):
            before_sending()
            reply = await run_local_call(
                call, self._threads, inputs=inputs, scratch=scratch, deadline_s=deadline_s, tell=tell
            )
        return adapter.parse(reply)

    async def fetch(self, prediction: Prediction) -> Path:
        """Return a local file with the prediction's first output."""
        for output in prediction.outputs:
            if output.path is not None:
                return output.path
        message = f"prediction {prediction.id} succeeded without an output this version can fetch"
        raise UnexpectedResponseError(message, prediction_id=prediction.id)
