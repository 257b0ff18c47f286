"""fal's replies to a submit without the URLs to ask on: the request is queued and paid for, so it is asked about."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import UnknownOutcomeError
from media_assets.ledger.rows import PurchaseState
from media_assets.prediction import Prediction, State
from media_assets.providers.fal import FalAdapter
from media_assets.simulator.media import picture
from media_assets_tests.conformance.our_requests import PICTURE_PX
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.scripted import ID, Answer, answer_json, fal_queue, scripted
from media_assets_tests.providers.sync_replies import request_to
from media_assets_tests.providers.transport.raw_server import Connection, Received

_SPEC = load_catalog().get("fal:flux-schnell")


def _says(submitted: Mapping[str, Any]) -> Answer:
    """Answer a submit with this, and then as fal does."""

    def result(connection: Connection, request: Received) -> None:
        answer_json(connection, {"images": [{"url": f"http://{request.headers['host']}/picture"}]})

    others = fal_queue(result, files={"/picture": picture(PICTURE_PX, seed=1)})

    def answer(connection: Connection, request: Received) -> None:
        if request.method == "POST":
            answer_json(connection, submitted)
        else:
            others(connection, request)

    return answer


@pytest.mark.parametrize(
    "submitted",
    [
        {"request_id": ID},
        {"request_id": ID, "status": "IN_QUEUE", "queue_position": 0},
        {"request_id": ID, "status": "IN_PROGRESS", "status_url": None, "response_url": 7},
        {"request_id": ID, "status": "COMPLETED"},
        {"request_id": ID, "status": ["IN_QUEUE"]},
        {"request_id": ID, "status_url": "https://elsewhere.example/requests/1/status"},
    ],
    ids=["id alone", "queued", "running", "completed", "an odd status", "a stranger's URL"],
)
def test_a_request_without_urls_is_asked_for_where_the_official_clients_do(
    tmp_path: Path, submitted: Mapping[str, Any]
) -> None:
    """They build the URLs from the app and the id; without them, what is queued would be given up and yet billed."""
    with scripted(tmp_path, _says(submitted)) as provider:
        one = provider.buy(_SPEC)

    root = f"/fal-ai/flux/requests/{ID}"
    asked = {request.path for request in provider.server.requests if request.method == "GET"}
    assert one.error is None
    assert (one.posts, one.outcomes) == (1, ["accepted"])
    assert (one.row.state, one.row.prediction_id) == (PurchaseState.SUCCEEDED, ID)
    assert asked <= {f"{root}/status", root, "/picture"}
    assert one.row.urls["cancel"].endswith(f"{root}/cancel")


def test_an_id_that_makes_no_url_is_held(tmp_path: Path) -> None:
    with scripted(tmp_path, _says({"request_id": "a/b"})) as provider:
        one = provider.buy(_SPEC)

    assert isinstance(one.error, UnknownOutcomeError)
    assert (one.row.state, one.row.prediction_id, one.posts) == (PurchaseState.UNKNOWN, "a/b", 1)
    assert reserved_micro_usd(tmp_path) == one.row.estimate_micro_usd


@pytest.mark.parametrize(
    ("endpoint", "app"),
    [
        ("fal-ai/flux", "fal-ai/flux"),
        ("fal-ai/minimax/hailuo-02/standard/image-to-video", "fal-ai/minimax"),
        ("workflows/a/b", "workflows/a/b"),
        ("comfy/a/b/c", "comfy/a/b"),
    ],
)
def test_urls_are_built_from_the_endpoint_and_given_ones_stay(endpoint: str, app: str) -> None:
    given = f"https://queue.fal.run/x/y/requests/{ID}/status"
    request = request_to("fal", endpoint, version="2026", params={})
    bare = Prediction(id=ID, state=State.QUEUED)

    root = f"https://queue.fal.run/{app}/requests/{ID}"
    built = {"status": f"{root}/status", "result": root, "cancel": f"{root}/cancel"}
    assert FalAdapter().where_to_ask(bare, request).urls == built
    told = Prediction(id=ID, state=State.QUEUED, urls={"status": given})
    assert FalAdapter().where_to_ask(told, request).urls == built | {"status": given}
