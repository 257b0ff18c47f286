"""Raw replies on disk: what a provider answered to a submission is durable before anybody tries to understand it.

Between a reply and the prediction's id in the ledger a process can die, the database can be gone, and a parser can
meet something new. The reply is then still here, under its attempt's token, and the next run reads it in place of
asking anybody. A file goes when what it holds is in the ledger, or in the store.
"""

import contextlib
import json
import logging
import os
from pathlib import Path

from media_assets.crash_points import crash_point
from media_assets.durable import sync
from media_assets.providers.base import HttpReply

_log = logging.getLogger(__name__)

_SUFFIX = ".reply"
_UNFINISHED = ".half"


class Spool:
    """One folder of replies; blocking. Files are the owner's alone (mode 0600): replies hold signed URLs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, token: str) -> Path:
        """Return where the reply to an attempt is, or would be."""
        return self._folder / f"{token}{_SUFFIX}"

    def write(self, token: str, reply: HttpReply) -> None:
        """Keep a reply. One that cannot be kept is not lost yet: it is in memory, so the work goes on."""
        head = json.dumps({"status": reply.status, "headers": dict(reply.headers), "bytes": len(reply.body)})
        unfinished = self._folder / f"{token}{_UNFINISHED}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(head.encode() + b"\n")
                file.write(reply.body)
                file.flush()
                crash_point("spool.before_fsync")
                os.fsync(file.fileno())
            unfinished.replace(self.path(token))
            sync(self._folder)
        except OSError as error:
            _log.warning("a reply could not be kept in %s: %s", self._folder, error.strerror)
            return
        crash_point("spool.after_fsync")

    def read(self, token: str) -> HttpReply | None:
        """Return the reply to an attempt; None where there is none, or not a whole one."""
        try:
            head, _, body = self.path(token).read_bytes().partition(b"\n")
            told = json.loads(head)
            if len(body) != told["bytes"]:
                return None
            return HttpReply(status=int(told["status"]), headers=dict(told["headers"]), body=body)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def drop(self, token: str) -> None:
        """Remove a reply that is not needed any more."""
        for suffix in (_SUFFIX, _UNFINISHED):
            with contextlib.suppress(OSError):
                (self._folder / f"{token}{suffix}").unlink(missing_ok=True)

    def since_s(self, token: str) -> float:
        """Return when the reply to an attempt was written, as ``time.time`` counts; the newest of its files."""
        paths = [self._folder / f"{token}{suffix}" for suffix in (_SUFFIX, _UNFINISHED)]
        return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)

    def tokens(self) -> set[str]:
        """Return the attempts of which there is a reply, or the beginning of one."""
        return {path.stem for path in self._folder.glob("*") if path.suffix in {_SUFFIX, _UNFINISHED}}
