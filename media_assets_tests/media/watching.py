"""Witnesses for tests about what a file must not make us do: ask for a URL, or leave a process behind."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HAS_PROC = Path("/proc/self/stat").exists()


@dataclass
class Canary:
    """A server on this machine that nobody should ask."""

    url: str
    asked: list[str] = field(default_factory=list)
    """The path of every request."""


@contextlib.contextmanager
def canary_server() -> Iterator[Canary]:
    """Run the server."""
    canary = Canary("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            canary.asked.append(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        canary.url = f"http://127.0.0.1:{server.server_port}/canary.ts"
        try:
            yield canary
        finally:
            server.shutdown()
            thread.join()


def children() -> set[int]:
    """Return the processes that this one has started and not yet reaped."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # The name in parentheses may hold blanks; behind it come the state and the parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
