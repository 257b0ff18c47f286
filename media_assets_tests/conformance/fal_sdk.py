"""What the tests of the official ``fal-client`` package share: its hosts on loopback, a closed client, downloads."""

import contextlib
from collections.abc import Iterator
from typing import Any

import fal_client.client
import httpx
import pytest
from fal_client import SyncClient

from media_assets.simulator.server import Simulator


@contextlib.contextmanager
def hosts_at(simulator: Simulator) -> Iterator[None]:
    """Point the package at the simulator: its hosts are four constants, which are put back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fal_client.client, "QUEUE_URL_FORMAT", f"{simulator.url}/fal-queue/")
        patch.setattr(fal_client.client, "RUN_URL_FORMAT", f"{simulator.url}/fal-run/")
        patch.setattr(fal_client.client, "REST_URL", f"{simulator.url}/fal-rest")
        patch.setattr(fal_client.client, "CDN_URL", f"{simulator.url}/fal-cdn")
        yield


@contextlib.contextmanager
def open_client(simulator: Simulator, key: str = "simulated:key") -> Iterator[SyncClient]:
    """Make a client and close its connections, which the package leaves to its user."""
    client = SyncClient(key=key)
    with hosts_at(simulator), contextlib.closing(client._client):
        yield client


def fetched(media: Any) -> bytes:
    """Download what a result's media object names."""
    reply = httpx.get(media["url"])
    assert reply.headers["content-type"] == media["content_type"]
    assert media.get("file_size", len(reply.content)) == len(reply.content)
    return reply.raise_for_status().content
