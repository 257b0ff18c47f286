"""What may stand between a process and its Postgres: a line that is cut just when it hurts, and a pooler.

Both read the client's messages as far as they must (Postgres' frontend/backend protocol 3.0), so the client's URL has
to ask for a plain connection; :attr:`Proxy.through` does.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Self

from sqlalchemy.engine import make_url

_PLAIN = {"sslmode": "disable", "gssencmode": "disable"}


def _read(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _read_startup(stream: socket.socket) -> bytes:
    head = _read(stream, 4)
    return head + _read(stream, struct.unpack("!i", head)[0] - 4)


def _read_message(stream: socket.socket) -> tuple[bytes, bytes]:
    """Return kind and whole bytes of one message."""
    head = _read(stream, 5)
    return head[:1], head + _read(stream, struct.unpack("!i", head[1:])[0] - 4)


def _close(*streams: socket.socket) -> None:
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)
        stream.close()


class Proxy:
    """Listens on loopback, and serves each client in a thread of its own."""

    def __init__(self, target: str) -> None:
        url = make_url(target)
        self._target = (str(url.host), int(url.port or 0))
        self._url = url
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._clients: set[socket.socket] = set()
        self.is_blocked = False
        """Whether new connections are refused."""

    @property
    def through(self) -> str:
        """The target's URL by way of this."""
        here = self._url.set(host="127.0.0.1", port=self._listening.getsockname()[1])
        return here.update_query_dict(_PLAIN).render_as_string(hide_password=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._listening, *self._open, *self._clients)

    def cut(self) -> None:
        """End everything that goes through here."""
        _close(*self._open, *self._clients)

    @contextlib.contextmanager
    def blocked(self) -> Iterator[None]:
        """Cut, and let nothing through for a while."""
        self.is_blocked = True
        self.cut()
        yield
        self.is_blocked = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self.is_blocked:
                    _close(client)
                    continue
                threading.Thread(target=self._serve_and_close, args=(client,), daemon=True).start()

    def _serve_and_close(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients.add(client)
        try:
            with contextlib.suppress(OSError):
                self.serve(client)
        finally:
            self._clients.discard(client)
            _close(client)

    def connect(self) -> socket.socket:
        """Return a new connection to the server."""
        server = socket.create_connection(self._target)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(server)
        return server

    def serve(self, client: socket.socket) -> None:
        """Serve one client."""
        raise NotImplementedError


CUTS = ("before", "meanwhile", "after")
"""Before the server hears of the COMMIT; when it has heard, and nobody waits for its answer; after it has answered."""


class Line(Proxy):
    """A line that passes everything on, and is cut at the n-th COMMIT, in one of ``CUTS``."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.commits = 0
        self.cut_at = 0
        """Which COMMIT, from 1; 0: none."""
        self.how = ""
        self.is_stalled = False
        """Whether answers are held back, with everything left open."""
        self.forgets_to_close = False
        """Whether the server is not told when a client is gone."""

    def serve(self, client: socket.socket) -> None:
        server = self.connect()
        muted, answered = threading.Event(), threading.Event()
        threading.Thread(target=self._pass_back, args=(server, client, muted, answered), daemon=True).start()
        try:
            server.sendall(_read_startup(client))
            while True:
                kind, message = _read_message(client)
                if kind == b"Q" and message[5:].startswith(b"COMMIT") and self._is_to_cut():
                    if self.how != "before":
                        muted.set()
                        server.sendall(message)
                    if self.how == "after":
                        answered.wait(10)
                    return
                server.sendall(message)
        finally:
            if not self.forgets_to_close:
                _close(server)

    def _is_to_cut(self) -> bool:
        self.commits += 1
        return self.commits == self.cut_at

    def _pass_back(
        self, server: socket.socket, client: socket.socket, muted: threading.Event, answered: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if muted.is_set():
                    answered.set()
                elif not self.is_stalled:
                    client.sendall(data)
        _close(client)

    def lose_clients(self) -> None:
        """Cut every client off, and let the server think that they are still there."""
        self.forgets_to_close = True
        for stream in list(self._clients):
            _close(stream)


class Pooler(Proxy):
    """What PgBouncer does in transaction mode: a session is lent for one transaction, or for as long as that lasts."""

    def __init__(self, target: str, *, sessions: int, last_used_first: bool) -> None:
        super().__init__(target)
        self._sessions = sessions
        self._next = -1 if last_used_first else 0
        self._idle: list[socket.socket] = []
        self._greeting = b""
        self._guard = threading.Lock()

    def serve(self, client: socket.socket) -> None:
        startup = _read_startup(client)
        server: socket.socket | None = None
        with self._guard:
            if not self._greeting:
                self._idle += [self._log_in(startup) for _ in range(self._sessions)]
        client.sendall(self._greeting)
        while True:
            kind, message = _read_message(client)
            if kind == b"X":
                return
            server = server or self._lend(startup)
            server.sendall(message)
            if self._pass_answer(server, client) == b"I":
                with self._guard:
                    self._idle.append(server)
                server = None

    def _lend(self, startup: bytes) -> socket.socket:
        with self._guard:
            return self._idle.pop(self._next) if self._idle else self._log_in(startup)

    def _log_in(self, startup: bytes) -> socket.socket:
        server = self.connect()
        server.sendall(startup)
        greeting = b""
        kind = b""
        while kind != b"Z":
            kind, message = _read_message(server)
            greeting += message
        self._greeting = greeting
        return server

    @staticmethod
    def _pass_answer(server: socket.socket, client: socket.socket) -> bytes:
        """Pass the answer to one query on; return whether the session is idle (I) or in a transaction (T, E)."""
        while True:
            kind, message = _read_message(server)
            client.sendall(message)
            if kind == b"Z":
                return message[5:]
