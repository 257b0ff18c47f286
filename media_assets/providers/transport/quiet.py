"""Keeps what we send and are sent out of the log lines of the HTTP library.

httpx logs every URL at INFO and httpcore every reply header at DEBUG: signed URLs and cookies, for whoever turns up a
log level. A level set here would be undone by the next logging configuration and would silence other users of the
library in this process. So a filter drops these records, and only while a call of ours is under way in the same
context; warnings pass.
"""

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar

_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
"""Each that writes: a filter does not hold for a logger's children (httpx 0.28.1, httpcore 1.0.9)."""

_ours: ContextVar[bool] = ContextVar("media_assets_call_under_way", default=False)


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or not _ours.get()


_NOT_OURS = _NotOurs()
for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_NOT_OURS)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hold back the HTTP library's log lines of what is done inside."""
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)
