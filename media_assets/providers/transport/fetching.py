"""Bringing a finished output here from where it lies; an address that does not lead to it is asked for anew, once.

An address may have expired while its file is still there, and what stands before a file's host answers for it at times,
with a refusal or a page. Neither is a word on the file, which is paid for.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from media_assets.catalog import ModelSpec
from media_assets.errors import (
    Billed,
    OutputLostError,
    PurchaseError,
    StorageError,
    UnexpectedResponseError,
    UnknownOutcomeError,
)
from media_assets.media.sniff import describe_unknown, is_no_file
from media_assets.prediction import Prediction
from media_assets.providers.base import Adapter
from media_assets.providers.transport.addresses import Allowed
from media_assets.providers.transport.download import DownloadLimits, download


@dataclass(kw_only=True)
class Fetching:
    """One output on its way to this machine."""

    adapter: Adapter
    spec: ModelSpec
    target: Path
    credentials: Mapping[str, str] = field(repr=False)
    """For a download from a host of the provider's outputs."""
    ask: Callable[[Prediction], Awaitable[Prediction]] | None
    """Reads a prediction again; None for a provider that answers once."""
    first_wait_s: float
    n: int = 0
    """Which of the prediction's outputs."""

    async def fetch(self, prediction: Prediction, url: str) -> Path:
        """Return a file with what lies at ``url``, or at a fresh address. Free; see :meth:`Transport.fetch`."""
        try:
            return await self._downloaded(url)
        except (OutputLostError, UnexpectedResponseError) as error:
            return await self._downloaded(await self._fresh_url(prediction, url, error))

    async def _fresh_url(self, prediction: Prediction, url: str, error: PurchaseError) -> str:
        """Return another address of the output; without one, the error stands."""
        if self.ask is None:
            raise error
        try:
            asked = await self.ask(prediction)
        except UnknownOutcomeError:
            raise error from None
        if isinstance(asked.failure, OutputLostError):
            raise asked.failure
        fresh = asked.outputs[self.n].url if self.n < len(asked.outputs) else None
        if fresh is None or fresh == url:
            raise error
        return fresh

    async def _downloaded(self, url: str) -> Path:
        got = await download(
            url,
            self.target,
            allowed=Allowed.of(self.adapter.base_urls, self.adapter.download_hosts),
            headers_for=lambda _host: self.credentials,
            limits=DownloadLimits(deadline_s=self.spec.download_deadline_s, first_wait_s=self.first_wait_s),
            refuse=_why_no_file,
        )
        return got.path


def _why_no_file(head: bytes) -> str | None:
    return describe_unknown(head) if is_no_file(head) else None


def write_output(target: Path, content: bytes) -> None:
    """Write an output that came inside a reply; blocking."""
    try:
        target.write_bytes(content)
    except OSError as error:
        message = f"an output that came could not be written: {error.strerror}. Make room before you run again."
        raise StorageError(message, billed=Billed.YES) from error
