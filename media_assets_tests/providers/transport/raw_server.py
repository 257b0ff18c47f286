"""A server of raw sockets on loopback: it does on a connection what a test's script says, however wrong.

HTTP servers are too well-behaved to show what happens when a reply is torn, dripped, reset or never comes.
"""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

_DEADLINE_S = 20


@dataclass(frozen=True)
class Received:
    """One request, as its bytes came."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class Connection:
    """What a script holds: the server's end of one connection."""

    def __init__(self, sock: socket.socket, server: "RawServer") -> None:
        self._sock = sock
        self._server = server
        self._buffer = b""

    def read_some(self) -> bytes:
        """Return what has come; empty at the end."""
        return self._sock.recv(65_536)

    def read_head(self) -> bytes:
        """Return the bytes up to the empty line."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.read_some()
            if not data:
                raise ConnectionError
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def read_request(self) -> Received:
        """Return a whole request, and note it down."""
        first, *lines = self.read_head().decode("ascii").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(self._buffer) < length:
            data = self.read_some()
            if not data:
                raise ConnectionError
            self._buffer += data
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        request = Received(method, path, headers, body)
        self._server.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._sock.sendall(data)

    def reply(self, body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> None:
        """Send a proper reply."""
        self.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

    def drip(self, data: bytes, *, every_s: float) -> None:
        """Send a byte at a time, until the other side has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            if self._server.closing.wait(every_s):
                return

    def wait(self, seconds: float = _DEADLINE_S) -> None:
        """Do nothing until the test is over, or for some seconds."""
        self._server.closing.wait(seconds)

    def wait_for_end(self) -> None:
        """Read until the other side has closed."""
        # A side that closes with bytes unread resets; that is an end too.
        with contextlib.suppress(ConnectionError):
            while self.read_some():
                pass
        self._server.ended.set()

    def reset(self) -> None:
        """End with a reset instead of a close."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def start_tls(self) -> "Connection":
        """Make the TLS handshake; what is sent on ``self`` afterwards is not encrypted."""
        plain = self._sock.dup()
        plain.settimeout(_DEADLINE_S)
        self._server.also_close(plain)
        secured = server_tls().wrap_socket(self._sock, server_side=True)
        self._server.also_close(secured)
        self._sock = plain
        return Connection(secured, self._server)


Script = Callable[[Connection], None]


@dataclass
class RawServer:
    """Serves each connection in a thread, with ``script``."""

    script: Script
    tls: bool = False
    host: str = "127.0.0.1"
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when a script has seen the other side close."""
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "RawServer":
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        # A plain close would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(_DEADLINE_S)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(_DEADLINE_S)

    @property
    def url(self) -> str:
        """The origin."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def also_close(self, sock: socket.socket) -> None:
        """Close a socket at the end."""
        self._open.append(sock)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            sock.settimeout(_DEADLINE_S)
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        # The other side going away at any moment is what many a test is about.
        with contextlib.suppress(OSError, ssl.SSLError):
            connection = Connection(sock, self)
            if self.tls:
                connection = connection.start_tls()
            self.script(connection)
            with contextlib.suppress(OSError):
                connection._sock.shutdown(socket.SHUT_WR)
            connection._sock.close()


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """A port whose queue of connections is full, so that connecting neither succeeds nor fails."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)  # noqa: FBT003 - the socket's own signature
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def unused_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def server_tls() -> ssl.SSLContext:
    """Return what a server needs to be files.example.test, any name below that, cdn.example.test or localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        pem = Path(folder) / "server.pem"
        pem.write_text(_CERTIFICATE + _KEY)
        context.load_cert_chain(pem)
    return context


def trusting() -> ssl.SSLContext:
    """Return what a client needs to trust :func:`server_tls`, and nobody else."""
    return ssl.create_default_context(cadata=_CERTIFICATE)


# Made for these tests with `openssl req -x509 -newkey ec -nodes -days 36500`; trusted nowhere else.
_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIB9TCCAZugAwIBAgIUYnVrXPQ5WmBt0Tl092BgfkEej8swCgYIKoZIzj0EAwIw
HTEbMBkGA1UEAwwSZmlsZXMuZXhhbXBsZS50ZXN0MCAXDTI2MTEyNDIzNDMyOFoY
DzIxMjYxMDMxMjM0MzI4WjAdMRswGQYDVQQDDBJmaWxlcy5leGFtcGxlLnRlc3Qw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASYl5xQE30jf4E98vHHVumNQ7O6JpBU
KkWEYNl60ZVoK0VuHNweSSY2mmAtHixVjf9BXDqZ1XenKqrfqlDcwRhbo4G2MIGz
MB0GA1UdDgQWBBSvsJypZe1Exyk+rHLxIBr3aF7y+jAfBgNVHSMEGDAWgBSvsJyp
Ze1Exyk+rHLxIBr3aF7y+jAPBgNVHRMBAf8EBTADAQH/MFAGA1UdEQRJMEeCEmZp
bGVzLmV4YW1wbGUudGVzdIIUKi5maWxlcy5leGFtcGxlLnRlc3SCEGNkbi5leGFt
cGxlLnRlc3SCCWxvY2FsaG9zdDAOBgNVHQ8BAf8EBAMCAoQwCgYIKoZIzj0EAwID
SAAwRQIhAOATD6p+s16smBjfsu5rW4yVlH8oJFNFFgpxjpe7yCnmAiAfsddDK634
P3CQ9CHj//0Fd/TwZABjnFTkyWELrnWGdg==
-----END CERTIFICATE-----
"""

_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqOEfcLpS/YLs3usX
IkLVSUdtJKi2sxB8ev++CrKjutehRANCAASYl5xQE30jf4E98vHHVumNQ7O6JpBU
KkWEYNl60ZVoK0VuHNweSSY2mmAtHixVjf9BXDqZ1XenKqrfqlDcwRhb
-----END PRIVATE KEY-----
"""
