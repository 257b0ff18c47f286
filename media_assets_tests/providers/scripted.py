"""Purchases through the real adapters, from a provider that answers whatever a test wants.

The simulator is as faithful as it can be; this is for what a faithful simulator would not do.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from media_assets.artifact import ArtifactStore
from media_assets.catalog import ModelSpec
from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger, open_ledger
from media_assets.prompt import Scalar
from media_assets.providers.endpoints import Endpoints
from media_assets.providers.transport import Transport, TransportOptions, open_transport
from media_assets_tests.conformance.our_requests import drafted
from media_assets_tests.providers.buying import Bought, attempts_of, buying
from media_assets_tests.providers.transport.raw_server import Connection, RawServer, Received

FAST = TransportOptions(
    keys={"replicate": "r8_x", "fal": "id:secret", "openai": "sk-x", "elevenlabs": "sk_x"},
    poll_first_s=0.005,
    poll_longest_s=0.02,
    backoff_first_s=0.005,
    deadline_grace_s=0.1,
    not_found_grace_s=0.1,
)
"""Waits as short as the options allow; nothing is skipped."""

Answer = Callable[[Connection, Received], None]
"""Answers one request, with whatever it likes to send."""


def answer_json(connection: Connection, document: Mapping[str, Any], *, status: str = "200 OK", **headers: str) -> None:
    """Send a document; ``_`` in the name of a header is a hyphen."""
    lines = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    connection.reply(json.dumps(dict(document)).encode(), status=status, headers=head)


ID = "9a1e0d2c"
"""The id of every prediction here."""


def fal_queue(result: Answer, *, files: Mapping[str, bytes] = MappingProxyType({})) -> Answer:
    """Answer as fal's queue does, at once, with a result of the test's own.

    Args:
        result: Answers what the result call asks.
        files: What can be downloaded, by path.
    """

    def answer(connection: Connection, request: Received) -> None:
        root = f"http://{request.headers['host']}/fal-ai/any/requests/{ID}"
        if request.method == "POST":
            urls = {"response_url": root, "status_url": f"{root}/status", "cancel_url": f"{root}/cancel"}
            answer_json(connection, {"request_id": ID, "status": "IN_QUEUE", **urls})
        elif request.path.endswith("/status"):
            answer_json(connection, {"request_id": ID, "status": "COMPLETED"})
        elif request.path in files:
            connection.reply(files[request.path])
        else:
            result(connection, request)

    return answer


@dataclass
class ReplicateScript:
    """Answers as Replicate does: a prediction that runs until a test says otherwise, or until it is canceled."""

    stands: Callable[[int], Mapping[str, Any]] = lambda _nth: {"status": "processing"}
    """What is told of the prediction, by how often it was asked for before."""
    canceled: Mapping[str, Any] | None = None
    """What is told of it once it was canceled; None: a cancel changes nothing."""
    files: Mapping[str, Callable[[int], tuple[int, bytes]]] = field(default_factory=dict)
    """What a download brings, by path, and by how often it was asked for before."""
    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, connection: Connection, request: Received) -> None:
        """Answer one request."""
        nth, self.asked[request.path] = self.asked[request.path], self.asked[request.path] + 1
        if request.path in self.files:
            status, content = self.files[request.path](nth)
            connection.reply(content, status=f"{status} Whatever")
            return
        told = self.stands(nth) if request.method == "GET" else {"status": "starting"}
        if self.canceled is not None and self.asked[f"/predictions/{ID}/cancel"]:
            told = self.canceled
        at = f"http://{request.headers['host']}"
        output = told.get("output")
        told = {**told, "output": at + output} if output else told
        answer_json(connection, {"id": ID, **told}, status="201 Created" if nth == 0 else "200 OK")

    @property
    def cancels(self) -> int:
        """How often it was asked to cancel."""
        return self.asked[f"/predictions/{ID}/cancel"]


@dataclass(frozen=True)
class Scripted:
    """A provider that follows a script, and a home to buy for."""

    home: Path
    ledger: Ledger
    transport: Transport
    server: RawServer

    def buy(self, spec: ModelSpec, *, take: int = 0, params: Mapping[str, Scalar] | None = None) -> Bought:
        """Buy one picture or voice; an error is in what is returned."""
        request = replace(drafted(spec, params).request, take=take)
        before = self.posts()
        error: MediaAssetsError | None = None
        store = ArtifactStore(self.home / "artifacts")
        try:
            asyncio.run(buying(self.ledger, store, self.transport, spec, request))
        except MediaAssetsError as raised:
            error = raised
        row = self.ledger.purchases.get(request.key)
        assert row is not None
        posts = self.posts() - before
        return Bought(row=row, attempts=attempts_of(self.ledger, request), error=error, posts=posts, accepted=posts)

    def posts(self) -> int:
        """Return how many submissions were sent."""
        return sum(one.method == "POST" and "cancel" not in one.path for one in self.server.requests)


@contextlib.contextmanager
def scripted(home: Path, answer: Answer, *, options: TransportOptions = FAST) -> Iterator[Scripted]:
    """Start a provider of all four APIs that answers so, and open a home."""
    with RawServer(lambda connection: answer(connection, connection.read_request())) as server:
        endpoints = Endpoints(**{field.name: server.url for field in fields(Endpoints)})
        with open_ledger(home) as ledger, contextlib.closing(open_transport(endpoints, options)) as transport:
            yield Scripted(home, ledger, transport, server)
