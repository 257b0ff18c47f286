"""The simulated fal's account: its requests in the order of their ends, and what each was charged."""

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from media_assets_tests.simulator.asking import Asking, asking

KEY = {"Authorization": "Key simulated:key"}
RUN_S = 10.0
SCHNELL, KOKORO = "fal-ai/flux/schnell", "fal-ai/kokoro/american-english"
REQUESTS, BILL = "/fal-api/v1/models/requests/by-endpoint", "/fal-api/v1/models/billing-events"


@pytest.fixture
def fal() -> Iterator[Asking]:
    """Return a simulator whose clock all but stands; two run at a time."""
    with asking("", KEY, time_scale=0.001, latency_s={"fal": (RUN_S, RUN_S)}, at_once={"fal": 2}) as one:
        yield one


def submit(fal: Asking, path: str = SCHNELL, **given: Any) -> str:
    reply = fal.client.post(f"/fal-queue/{path}", json={"prompt": "a boat", **given})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["request_id"])


def ask(fal: Asking, path: str = REQUESTS, **query: Any) -> httpx.Response:
    named = {"endpoint_id": SCHNELL} if path == REQUESTS else {}
    return fal.client.get(path, params={**named, **query})


def listed(fal: Asking, **query: Any) -> list[str]:
    reply = ask(fal, **query)
    assert reply.status_code == 200, reply.text
    return [item["request_id"] for item in reply.json()["items"]]


def charged(fal: Asking, **query: Any) -> list[dict[str, Any]]:
    reply = ask(fal, BILL, **query)
    assert reply.status_code == 200, reply.text
    events: list[dict[str, Any]] = reply.json()["billing_events"]
    return events


def test_a_request_is_listed_from_its_start_on_and_last_in_its_end(fal: Asking) -> None:
    running, _, waiting = submit(fal), submit(fal, KOKORO), submit(fal)

    begun = ask(fal).json()["items"]
    fal.advance(2 * RUN_S + 1)
    ended = ask(fal).json()["items"]

    assert [item["request_id"] for item in begun] == [running]
    assert (begun[0]["ended_at"], begun[0]["status_code"], begun[0]["duration"]) == (None, None, None)
    assert [item["request_id"] for item in ended] == [waiting, running]
    assert (ended[1]["status_code"], ended[1]["duration"]) == (200, pytest.approx(RUN_S))
    sent, start, end = (datetime.fromisoformat(ended[1][name]) for name in ("sent_at", "started_at", "ended_at"))
    assert sent <= start < end


def test_payloads_are_shown_when_asked_for(fal: Asking) -> None:
    submit(fal, seed=7)
    fal.advance(RUN_S + 1)

    (plain,) = ask(fal).json()["items"]
    (full,) = ask(fal, expand="payloads").json()["items"]

    assert set(full) - set(plain) == {"json_input", "json_output"}
    assert full["json_input"] == {"prompt": "a boat", "seed": 7}
    assert full["json_output"]["images"][0]["url"].startswith(fal.simulator.url)


def test_what_failed_is_listed_with_its_error_and_not_charged(fal: Asking) -> None:
    submit(fal, num_images=0)
    fal.advance(1)

    (item,) = ask(fal, expand="payloads").json()["items"]

    assert item["status_code"] == 422
    assert item["json_output"]["detail"][0]["loc"] == ["body", "num_images"]
    assert charged(fal) == []
    assert listed(fal, status="user_error") == [item["request_id"]]
    assert listed(fal, status="success") == []


def test_what_never_started_is_not_listed(fal: Asking) -> None:
    submit(fal), submit(fal)
    waiting = fal.client.post(f"/fal-queue/{SCHNELL}", json={"prompt": "a boat"}).json()
    fal.client.put(waiting["cancel_url"])

    fal.advance(RUN_S + 1)

    assert waiting["request_id"] not in listed(fal)


def test_the_range_is_of_the_end(fal: Asking) -> None:
    """The reading that can hide a request from whoever asks for the time of its submission."""
    found = submit(fal)
    sent = fal.simulator.world.clock.utc() + timedelta(seconds=1)
    fal.advance(RUN_S + 1)
    after = fal.simulator.world.clock.utc()

    assert listed(fal, end=sent.isoformat()) == []
    assert listed(fal, start=sent.isoformat()) == [found]
    assert listed(fal, start=after.isoformat()) == []
    assert listed(fal, start=sent.date().isoformat()) == [found]


def test_without_a_start_the_list_looks_back_a_day(fal: Asking) -> None:
    found = submit(fal)
    fal.advance(25 * 3600)

    assert listed(fal) == []
    assert listed(fal, request_id=found) == [found]


def test_the_list_is_paged_and_of_many_endpoints(fal: Asking) -> None:
    ids = [submit(fal) for _ in range(3)] + [submit(fal, KOKORO)]
    fal.advance(10 * RUN_S)

    both = f"{SCHNELL},{KOKORO}"
    first = ask(fal, endpoint_id=both, limit=3).json()
    second = ask(fal, endpoint_id=both, limit=3, cursor=first["next_cursor"]).json()
    repeated = listed(fal, endpoint_id=[SCHNELL, KOKORO])

    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
    shown = [item["request_id"] for item in first["items"] + second["items"]]
    assert sorted(shown) == sorted(ids)
    assert repeated == shown
    assert base64.b64decode(first["next_cursor"]) == b"2"
    assert set(listed(fal)) == set(ids[:3])


def test_the_list_can_be_sorted_by_duration(fal: Asking) -> None:
    ids = [submit(fal) for _ in range(3)]
    fal.advance(10 * RUN_S)

    assert listed(fal, sort_by="duration")[0] == ids[2]


def test_the_list_can_lag_and_hide_what_runs(fal: Asking) -> None:
    """Not being listed proves nothing about a request."""
    old = submit(fal)
    fal.advance(RUN_S + 5)
    new = submit(fal)

    assert listed(fal) == [new, old]
    fal.fault("list_hides_running", provider="fal", call="list")
    assert listed(fal) == [old]
    fal.fault("list_lag", seconds=4, model=SCHNELL)
    assert listed(fal) == [old]
    fal.advance(RUN_S + 2)
    assert listed(fal) == [old]
    fal.advance(3)
    assert listed(fal) == [new, old]


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        (REQUESTS, {"endpoint_id": ""}, "endpoint_id"),
        (REQUESTS, {"endpoint_id": [f"fal-ai/x{n}" for n in range(51)]}, "endpoint_id"),
        (REQUESTS, {"limit": "101"}, "limit"),
        (REQUESTS, {"limit": "0"}, "limit"),
        (REQUESTS, {"cursor": "x"}, "cursor"),
        (REQUESTS, {"cursor": "MA=="}, "cursor"),
        (REQUESTS, {"start": "yesterday"}, "start"),
        (REQUESTS, {"end": "2026-01-01T00:00:00"}, "end"),
        (REQUESTS, {"status": "fine"}, "status"),
        (REQUESTS, {"sort_by": "name"}, "sort_by"),
        (BILL, {"limit": "10001"}, "limit"),
        (BILL, {"start": "2020-01-01"}, "90 days"),
    ],
)
def test_a_wrong_question_is_refused_in_the_platforms_shape(
    fal: Asking, path: str, query: dict[str, Any], named: str
) -> None:
    reply = ask(fal, path, **query)

    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "validation_error"
    assert named in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", [REQUESTS, BILL])
@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("429_body", 429, "rate_limited"),
        ("noexec_500", 500, "server_error"),
        ("noexec_503", 503, "server_error"),
    ],
)
def test_a_refusal_has_the_platforms_shape(fal: Asking, path: str, fault: str, status: int, kind: str) -> None:
    fal.fault(fault, call="list")

    reply = ask(fal, path)

    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)


@pytest.mark.parametrize("key", ["", "Bearer x", "Key invalid:key"])
def test_without_a_key_there_is_no_list(fal: Asking, key: str) -> None:
    reply = fal.client.get(REQUESTS, params={"endpoint_id": SCHNELL}, headers={"Authorization": key})

    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authorization_error")


# The bill


def test_the_events_are_the_simulators_own_bill(fal: Asking) -> None:
    """Whoever compares the ledger with the provider's word compares it with what the tests call the bill."""
    submit(fal, image_size="landscape_16_9", num_images=2)
    submit(fal, KOKORO)
    fal.advance(RUN_S + 1)

    events = charged(fal)

    lines = {line["id"]: Decimal(line["usd"]) for line in fal.billed()}
    assert {event["request_id"]: Decimal(event["cost_estimate_nano_usd"]) / 10**9 for event in events} == lines
    for event in events:
        assert event["output_units"] * event["unit_price"] == pytest.approx(event["cost_total"])
        assert event["cost_subtotal"] - event["cost_discount"] == event["cost_total"]


def test_the_bill_is_cut_by_time_id_and_endpoint(fal: Asking) -> None:
    old = submit(fal)
    fal.advance(RUN_S + 1)
    between = fal.simulator.world.clock.utc().isoformat()
    new = submit(fal, KOKORO)
    fal.advance(RUN_S + 1)

    def ids(**query: Any) -> list[str]:
        return [event["request_id"] for event in charged(fal, **query)]

    assert ids() == [new, old]
    assert ids(start=between) == [new]
    assert ids(end=between) == [old]
    assert ids(request_id=f"{old},nothing") == [old]
    assert ids(endpoint_id=KOKORO) == [new]
    assert ids(limit=1) == [new]
    assert ids(limit=1, cursor="Mg==") == [old]
    assert charged(fal, endpoint_id=SCHNELL)[0]["endpoint_id"] == SCHNELL
