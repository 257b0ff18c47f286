"""A public internet in miniature: public addresses that lead to servers on loopback.

Only the sockets' own ``connect`` is bent, below all code under test: it still chooses the address, checks
certificates and names hosts as it would outside.
"""

import socket
from dataclasses import dataclass, field
from typing import Any

import pytest

from media_assets_tests.providers.transport.raw_server import RawServer


@dataclass
class Internet:
    """Names with addresses, and servers at addresses."""

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    """The answers to the first, second, … look-up of a name; the last one stays."""
    servers: dict[str, RawServer] = field(default_factory=dict)
    """By address; at others nobody answers."""
    looked_up: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)
    """Where connections were tried, loopback included."""

    async def resolver(self, host: str, port: int) -> list[str]:
        """Answer as a name server would."""
        self.looked_up.append(host)
        answers = self.names.get(host)
        if not answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch) -> Internet:
    """Return an internet in which nothing is yet; addresses outside of it refuse connections."""
    here = Internet()
    connect = socket.socket.connect

    def bent(one: socket.socket, address: Any) -> None:
        if one.family not in {socket.AF_INET, socket.AF_INET6}:
            connect(one, address)
            return
        host, port = str(address[0]), int(address[1])
        here.connected.append((host, port))
        server = here.servers.get(host)
        if server is not None and port == 443:
            connect(one, (server.host, server.port))
        elif host in {"127.0.0.1", "::1"}:
            connect(one, address)
        else:
            raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", bent)
    return here
