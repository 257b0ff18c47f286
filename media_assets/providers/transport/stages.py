"""How far a call has come: whether anything of it may have left this machine, and what is half open if it fails.

The HTTP library tells of its stages (https://www.encode.io/httpcore/extensions/#trace, httpcore 1.0.9). Its exceptions
alone would not do: a deadline can pass in any stage, and one of them decides whether money may be spent again.
"""

from collections.abc import Callable
from typing import Any

from media_assets.crash_points import crash_point
from media_assets.errors import MediaAssetsError

_POINTS = {
    "send_request_headers.complete": "post.after_headers_sent",
    "send_request_body.complete": "post.after_body_sent",
    "receive_response_headers.complete": "post.first_byte",
}
"""The crash points of a submission, by the library's name of the stage, which follows the HTTP version."""

_BEFORE_SENDING = "connection."
"""Looking up, connecting and the TLS handshake; what follows is named after the HTTP version."""
_BEFORE_THE_BODY = "send_request_body.started"


class HeldBackError(Exception):
    """The headers have left, and the body is not to follow; the message says why."""


class Stages:
    """The stages of one call; ``trace`` is given to httpx as an extension of the request."""

    def __init__(self, before_sending: Callable[[], None] | None = None, *, is_submit: bool = False) -> None:
        self._before_sending = before_sending
        self._is_submit = is_submit
        self._socket: Any = None
        self.connecting = False
        """Whether connecting was begun."""
        self.may_have_left = False
        """Whether the first byte of the request may have left."""

    async def trace(self, event: str, info: Any) -> None:
        """Take note of a stage that begins or has ended.

        Raises:
            HeldBackError: ``before_sending`` allows it no longer, though it did when the headers left.
        """
        if event.startswith(_BEFORE_SENDING):
            self.connecting = True
            if event == "connection.connect_tcp.complete":
                self._socket = info["return_value"]
        elif not self.may_have_left:
            # A stage we do not know counts as sending: an update of the library must not make us send twice.
            if self._before_sending is not None:
                self._before_sending()
            self.may_have_left = True
        elif event.endswith(_BEFORE_THE_BODY) and self._before_sending is not None:
            # A process that was frozen since may have been taken over from: without its body a request is none.
            try:
                self._before_sending()
            except MediaAssetsError as error:
                raise HeldBackError(error.message) from None
        if self._is_submit and (point := _POINTS.get(event.partition(".")[2])):
            crash_point(point)

    async def close_half_open(self) -> None:
        """Close a connection that was given up in its TLS handshake: canceled there, httpcore 1.0.9 leaves it open."""
        if self._socket is not None and not self.may_have_left:
            await self._socket.aclose()
