"""Stored files: what models made and what clients uploaded, each behind a signed URL that expires.

Who asks for a URL gets ``/files/<provider>/<id>/<name>?expires=<time>&signature=<hex>``, without the origin.
"""

import asyncio
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit
from uuid import uuid4

from media_assets.simulator.clock import Clock

PREFIX: Final = "/files"


RECENT_BYTES: Final = 64 * 1024 * 1024
"""How much of what was made lately stays in memory; anything else is made again, and comes out the same."""


@dataclass(frozen=True)
class StoredFile:
    """One file; its bytes may not be made yet."""

    id: str
    provider: str
    model: str
    """Of the prediction that made it; "" for an upload."""
    name: str
    mime: str
    expires_s: float
    """Virtual seconds since the simulator's start."""
    make: Callable[[], bytes]
    making: threading.Lock = field(default_factory=threading.Lock, compare=False)


class FileShelf:
    """Every stored file; safe to use from any thread. Uploads lie on disk, so that thousands of them fit."""

    def __init__(self, clock: Clock, workers: Executor, folder: Path) -> None:
        """Start empty.

        Args:
            clock: Decides what has expired.
            workers: Where media are made, off the event loop.
            folder: Where uploads are kept; it must be there.
        """
        self._clock = clock
        self._workers = workers
        self._folder = folder
        self._key = secrets.token_bytes(32)
        self._files: dict[str, StoredFile] = {}
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._recent_bytes = 0

    def put(
        self,
        content: bytes | Callable[[], bytes],
        *,
        provider: str,
        name: str,
        mime: str,
        expires_s: float = float("inf"),
        model: str = "",
    ) -> StoredFile:
        """Store a file.

        Args:
            content: The bytes, or what makes them whenever they are wanted, always the same.
            provider: Whose file it is.
            name: Last part of its URL.
            mime: Its Content-Type.
            expires_s: When its URL stops working, virtual seconds since the simulator's start.
            model: What made it.
        """
        file_id = uuid4().hex
        make = (self._folder / file_id).read_bytes if isinstance(content, bytes) else content
        stored = StoredFile(file_id, provider, model, name, mime, expires_s, make)
        if isinstance(content, bytes):
            self.refill(stored, content)
        self._files[file_id] = stored
        return stored

    def refill(self, stored: StoredFile, content: bytes) -> None:
        """Replace the bytes of a file that was stored as bytes."""
        (self._folder / stored.id).write_bytes(content)
        self._forget(stored.id)

    def get(self, file_id: str) -> StoredFile | None:
        """Return a file by its id, expired or not."""
        return self._files.get(file_id)

    def remove(self, file_id: str) -> None:
        """Forget a file."""
        if self._files.pop(file_id, None) is not None:
            self._forget(file_id)
            (self._folder / file_id).unlink(missing_ok=True)

    def content(self, stored: StoredFile) -> bytes:
        """Return a file's bytes, made now if need be: for a clip that takes a moment, so call it off the event loop."""
        with stored.making:
            content = self._recall(stored.id)
            if content is None:
                content = stored.make()
                self._remember(stored.id, content)
            return content

    async def read(self, stored: StoredFile) -> bytes:
        """Return a file's bytes; what has to be made is made off the event loop."""
        content = self._recall(stored.id)
        if content is not None:
            return content
        return await asyncio.get_running_loop().run_in_executor(self._workers, self.content, stored)

    def _recall(self, file_id: str) -> bytes | None:
        with self._lock:
            if file_id in self._recent:
                self._recent.move_to_end(file_id)
            return self._recent.get(file_id)

    def _remember(self, file_id: str, content: bytes) -> None:
        with self._lock:
            self._recent[file_id] = content
            self._recent_bytes += len(content)
            while self._recent_bytes > RECENT_BYTES:
                _, oldest = self._recent.popitem(last=False)
                self._recent_bytes -= len(oldest)

    def _forget(self, file_id: str) -> None:
        with self._lock:
            self._recent_bytes -= len(self._recent.pop(file_id, b""))

    def link(self, stored: StoredFile) -> str:
        """Return the path and query under which the file is handed out until it expires."""
        expires = _expiry_text(self._clock, stored.expires_s)
        signature = self._signature(stored.provider, stored.id, expires)
        return f"{PREFIX}/{stored.provider}/{stored.id}/{quote(stored.name)}?expires={expires}&signature={signature}"

    def allows(self, provider: str, file_id: str, expires: str, signature: str) -> bool:
        """Whether a signature is ours and its time has not come."""
        if not hmac.compare_digest(self._signature(provider, file_id, expires).encode(), signature.encode()):
            return False
        return expires == "never" or float(expires) > self._clock.utc().timestamp()

    def by_url(self, url: str) -> StoredFile | None:
        """Return the file that a signed URL of this simulator names, or None when it cannot be fetched (any more)."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        steps = unquote(parts.path).split("/")
        if not parts.path.startswith(f"{PREFIX}/") or len(steps) != 5:  # noqa: PLR2004 - /files/provider/id/name
            return None
        query = parse_qs(parts.query)
        stored = self.get(steps[3])
        if stored is None or stored.provider != steps[2]:
            return None
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        return stored if self.allows(stored.provider, stored.id, expires, signature) else None

    def _signature(self, provider: str, file_id: str, expires: str) -> str:
        text = f"{provider} {file_id} {expires}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def _expiry_text(clock: Clock, expires_s: float) -> str:
    return "never" if expires_s == float("inf") else f"{clock.utc(expires_s).timestamp():.3f}"
