"""The control API: what a test asks the simulator besides what it asks the providers."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from media_assets.simulator.server import Simulator, SimulatorOptions, running_simulator
from media_assets_tests.simulator.wire import KEYS, submit

SLOW_S = 500.0
"""A run that ends only because the clock is advanced."""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running_simulator(SimulatorOptions(latency_s={"fal": (SLOW_S, SLOW_S)})) as one:
        yield one


@pytest.fixture
def control(simulator: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator.url + "/_sim") as client:
        yield client


def test_submissions_tell_what_was_accepted_and_how_it_ended(simulator: Simulator, control: httpx.Client) -> None:
    submit(simulator, "fal")

    (running,) = control.get("/submissions").json()["submissions"]
    control.post("/clock", json={"advance_s": SLOW_S + 1})
    (ended,) = control.get("/submissions").json()["submissions"]

    assert (running["n"], running["provider"], running["model"]) == (1, "fal", "fal-ai/flux/schnell")
    assert (running["endpoint"], running["input"]) == ("/fal-ai/flux/schnell", {"prompt": "a boat"})
    assert (running["state"], ended["state"]) == ("accepted", "succeeded")
    assert ended["compute_s"] == SLOW_S
    assert ended["outputs"] == [{"kind": "image", "width_px": 1024, "height_px": 768}]


def test_the_log_is_the_file_as_it_is(simulator: Simulator, control: httpx.Client) -> None:
    """The file can be read while the simulator runs, and after it was killed."""
    submit(simulator, "fal")

    text = control.get("/log").text

    assert text == simulator.world.submissions.path.read_text()
    assert [json.loads(line)["event"] for line in text.splitlines()] == ["accepted"]
    control.post("/clock", json={"advance_s": SLOW_S + 1})
    assert [json.loads(line)["event"] for line in control.get("/log").text.splitlines()] == ["accepted", "outcome"]


def test_the_bill_adds_up(simulator: Simulator, control: httpx.Client) -> None:
    """What is still running costs nothing yet."""
    for provider in ("fal", "openai", "replicate"):
        submit(simulator, provider)
    before = control.get("/bill").json()
    control.post("/clock", json={"advance_s": SLOW_S + 1})

    after = control.get("/bill").json()

    assert Decimal(before["by_provider"]["fal"]) == 0
    assert Decimal(after["by_provider"]["fal"]) == Decimal("0.003")
    assert Decimal(after["by_provider"]["replicate"]) == Decimal("0.003")
    assert sum(Decimal(line["usd"]) for line in after["lines"]) == Decimal(after["total_usd"]) > Decimal("0.006")


def test_every_request_is_counted_refused_and_dropped_ones_too(simulator: Simulator, control: httpx.Client) -> None:
    """A test that counts POSTs must see those whose reply was lost, and those nobody asked for."""
    submit(simulator, "fal")
    control.put("/faults", json=[{"fault": "exec_and_drop", "times": 1}, {"fault": "429_header", "times": 1}])
    assert submit(simulator, "fal").ending == "closed"
    assert submit(simulator, "fal").status == 429
    httpx.post(simulator.url + "/fal-queue/fal-ai/flux/schnell")
    httpx.get(simulator.url + "/fal-queue/fal-ai/flux/requests/x/status", headers=KEYS["fal"])
    httpx.get(simulator.url + "/nowhere")

    counted = control.get("/requests").json()["requests"]

    assert counted == [
        {"method": "GET", "path": "(unknown)", "provider": "", "call": "other", "count": 1},
        {
            "method": "GET",
            "path": "/fal-queue/{app}/requests/{id}/status",
            "provider": "fal",
            "call": "poll",
            "count": 1,
        },
        {"method": "POST", "path": "/fal-queue/{app}", "provider": "fal", "call": "submit", "count": 4},
    ]
    assert len(simulator.world.submissions.all()) == 2


def test_faults_can_be_read_and_replaced(simulator: Simulator, control: httpx.Client) -> None:
    rule = {"provider": "fal", "call": "submit", "fault": "noexec_503", "times": 2, "probability": 1.0}

    put = control.put("/faults", json=[rule])
    submit(simulator, "fal")

    assert put.json() == [{**rule, "fired": 0}]
    assert control.get("/faults").json() == [{**rule, "fired": 1}]
    assert control.put("/faults", json=[]).json() == []
    assert submit(simulator, "fal").status == 200


@pytest.mark.parametrize("body", [b"[{}]", b'[{"fault": "x"}]', b'{"fault": "400"}', b"nonsense", b""])
def test_wrong_faults_are_refused_and_the_old_ones_stay(control: httpx.Client, body: bytes) -> None:
    control.put("/faults", json=[{"fault": "400"}])

    reply = control.put("/faults", content=body)

    assert reply.status_code == 422
    assert reply.json()["error"]
    assert [rule["fault"] for rule in control.get("/faults").json()] == ["400"]


def test_the_clock_skips_without_waiting(control: httpx.Client) -> None:
    begun = time.monotonic()
    before_s = control.post("/clock", json={"advance_s": 0}).json()["now_s"]

    after = control.post("/clock", json={"advance_s": 3600}).json()

    assert 3600 <= after["now_s"] - before_s < 3600 + 5
    assert after["utc"].endswith("Z")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "body", [{}, {"advance_s": "1"}, {"advance_s": -1}, {"advance_s": True}, [1], {"advance_s": None}]
)
def test_a_wrong_skip_is_refused(control: httpx.Client, body: Any) -> None:
    assert control.post("/clock", json=body).status_code == 422


def test_any_bytes_can_be_handed_out_as_an_output(simulator: Simulator, control: httpx.Client) -> None:
    """Hostile files reach a client by the way of every other output."""
    url = control.post(
        "/files?provider=fal&name=bomb.png", content=b"no picture", headers={"Content-Type": "image/png"}
    )
    control.put("/faults", json=[{"fault": "output_url", "value": url.json()["url"]}])
    submitted = httpx.post(simulator.url + "/fal-queue/fal-ai/flux/schnell", json={"prompt": "x"}, headers=KEYS["fal"])
    control.post("/clock", json={"advance_s": SLOW_S + 1})

    result = httpx.get(submitted.json()["response_url"], headers=KEYS["fal"]).json()
    download = httpx.get(result["images"][0]["url"])

    assert url.status_code == 201
    assert (download.content, download.headers["content-type"]) == (b"no picture", "image/png")
    assert control.post("/files?provider=nobody", content=b"").status_code == 422
