"""A file that is written in blocks by threads, hashed on the way, and gone again unless it was finished.

A disk can stall for seconds; the event loop that serves every other purchase must not stall with it.
"""

import errno
import hashlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import cast

from media_assets.errors import Billed, StorageError
from media_assets.threads import in_thread

_BLOCK_BYTES = 1 << 20


class HashedFile:
    """One file to write; what was there under its name is overwritten.

    Every method may raise StorageError, which says what to do. It says billed, since only what is paid for is
    downloaded.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._digest = hashlib.sha256()
        self._block = bytearray()
        self._finished = False
        self.size_bytes = 0

    @property
    def sha256(self) -> str:
        """The digest of what is written so far."""
        return self._digest.hexdigest()

    async def open(self) -> None:
        """Begin with an empty file."""
        await self._do(self._open)

    async def add(self, piece: bytes) -> None:
        """Write a piece, now or with the next ones."""
        self._block += piece
        if len(self._block) >= _BLOCK_BYTES:
            await self._do(self._write)

    async def finish(self) -> None:
        """Write what is left; it is not synced."""
        await self._do(self._write)
        await self._do(self._close)
        self._finished = True

    async def discard_unless_finished(self) -> None:
        """Remove the file, unless it was finished."""
        if not self._finished:
            await self._do(self._discard)

    async def _do(self, work: Callable[[], None]) -> None:
        try:
            await in_thread(work)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            reason = "the disk is full" if full else error.strerror or type(error).__name__
            message = (
                f"a finished output cannot be written to {self._path.parent}: {reason}. "
                "Make room there and run again soon: it is paid for, and providers keep it for a short time only."
            )
            raise StorageError(message, billed=Billed.YES) from None

    def _open(self) -> None:
        # Unbuffered, so that a full disk is met here and not again in closing.
        self._file = FileIO(self._path, "wb")

    def _write(self) -> None:
        file = cast("FileIO", self._file)  # open() comes first
        block, self._block = memoryview(self._block), bytearray()
        self._digest.update(block)
        self.size_bytes += len(block)
        while block:
            block = block[file.write(block) :]

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _discard(self) -> None:
        self._close()
        self._path.unlink(missing_ok=True)
