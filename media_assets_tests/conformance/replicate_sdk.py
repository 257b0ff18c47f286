"""What the tests of the official ``replicate`` package share: models, an input, and a client that is closed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from replicate.client import Client
from replicate.helpers import FileOutput

from media_assets.simulator.server import Simulator

SDXL = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
SVD = "3f0457e4619daac51203dedb472816fd4af51f3149fa7a9e0b5ffcf1b8172438"
BARN = {"prompt": "a red barn", "width": 320, "height": 256}


@contextlib.contextmanager
def open_client(simulator: Simulator, token: str = "r8_simulated") -> Iterator[Client]:  # noqa: S107 - no password
    """Make a client and close its connections, which the package leaves to its user.

    ``REPLICATE_POLL_INTERVAL`` is the package's own setting, and shortens its waits.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPLICATE_POLL_INTERVAL", "0.01")
        client = Client(api_token=token, base_url=f"{simulator.url}/replicate")
    with contextlib.closing(client._client):
        yield client


def read(url: Any, client: Client) -> bytes:
    """Download an output with the package's own class, which it builds by itself for https alone."""
    assert isinstance(url, str)
    return FileOutput(url, client).read()
