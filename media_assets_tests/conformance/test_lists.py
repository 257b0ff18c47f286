"""Lists and bills: our questions and the simulator's answers against the official documents and packages."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TypedDict

import httpx
import pytest

from media_assets.prediction import State
from media_assets.providers.base import Adapter, Asked, HttpCall, HttpReply
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.providers.listing import Listed
from media_assets.simulator.server import Simulator
from media_assets_tests.conformance import replicate_sdk
from media_assets_tests.conformance.conftest import Fail, Record
from media_assets_tests.conformance.fal_sdk import open_client as open_fal
from media_assets_tests.conformance.judged_wire import JudgedWire
from media_assets_tests.conformance.our_requests import adapters_at, call_of, drafted, paid_models
from media_assets_tests.conformance.specification import Specification
from media_assets_tests.conformance.test_elevenlabs_sdk import open_client as open_elevenlabs
from media_assets_tests.conformance.test_openapi import document
from media_assets_tests.conftest import SAMPLE

KEYS = {
    "replicate": {"Authorization": "Bearer r8_simulated"},
    "fal": {"Authorization": "Key simulated:key"},
    "elevenlabs": {"xi-api-key": "simulated"},
}
DOCUMENTS = {
    "replicate": ("/replicate/v1", "replicate_openapi_mirror_2026-04-09.json"),
    "fal": ("/fal-api/v1", "fal_platform_openapi_mirror_2026-08-21.json"),
    "elevenlabs": ("/elevenlabs", "elevenlabs_tts_sfx_music_history_2026-08-22.json"),
}
PROVIDERS = pytest.mark.parametrize("provider", list(DOCUMENTS))
Judge = Callable[[str], JudgedWire]


class Times(TypedDict):
    """What a list is asked for."""

    since: datetime
    until: datetime


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as one:
        yield one


@pytest.fixture
def judge(simulator: Simulator, http: httpx.Client) -> Judge:
    def of(provider: str) -> JudgedWire:
        prefix, name = DOCUMENTS[provider]
        return JudgedWire(http, simulator.url + prefix, KEYS[provider], Specification(document(name)))

    return of


def times(simulator: Simulator) -> Times:
    now = simulator.world.clock.utc()
    return {"since": now - timedelta(hours=6), "until": now}


def submit(simulator: Simulator, http: httpx.Client, provider: str) -> None:
    """Submit what each model without an input file makes, and let it end."""
    adapter = adapters_at(simulator)[provider]
    for spec in paid_models(provider):
        if drafted(spec).request.inputs:
            continue
        call = call_of(adapter, spec, drafted(spec).request, "")
        headers = {**call.headers, **KEYS[provider]}
        http.request(call.method, call.url, json=call.json_body, headers=headers).raise_for_status()


def listed(simulator: Simulator, wire: JudgedWire, provider: str) -> tuple[Listed, ...]:
    adapter, endpoints = adapters_at(simulator)[provider], [spec.endpoint for spec in paid_models(provider)]
    call = adapter.list_call(endpoints=endpoints, page=None, **times(simulator))
    page = adapter.parse_list(wire.call(call))
    assert page.unreadable == ()
    return page.items


@PROVIDERS
def test_every_question_and_answer_of_a_list_is_the_documents(
    judge: Judge, simulator: Simulator, http: httpx.Client, provider: str, record_property: Record
) -> None:
    """Of running and of ended ones, and of the pages in between."""
    wire = judge(provider)
    submit(simulator, http, provider)
    listed(simulator, wire, provider)
    simulator.world.clock.advance(600)

    ended = listed(simulator, wire, provider)

    assert {one.prediction.state for one in ended} == {State.SUCCEEDED}
    assert wire.specification.tally.replies >= 2
    record_property(SAMPLE, f"{provider}'s list: {wire.specification.tally}, {len(ended)} entries")


def test_a_failed_request_of_fal_is_listed_as_the_document_says(
    judge: Judge, simulator: Simulator, http: httpx.Client, fail: Fail
) -> None:
    fail("run_failed", provider="fal")
    submit(simulator, http, "fal")
    simulator.world.clock.advance(600)

    assert State.FAILED in {one.prediction.state for one in listed(simulator, judge("fal"), "fal")}


@pytest.mark.parametrize("provider", ["fal", "elevenlabs"])
def test_every_question_and_answer_of_a_bill_is_the_documents(
    judge: Judge, simulator: Simulator, http: httpx.Client, provider: str
) -> None:
    wire, adapter = judge(provider), adapters_at(simulator)[provider]
    submit(simulator, http, provider)
    simulator.world.clock.advance(600)

    page = adapter.parse_bill(wire.call(adapter.bill_call(page=None, **times(simulator))))

    assert (len(page.items) > 0, page.unreadable) == (True, ())


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        ("429_body", "/models/requests/by-endpoint?endpoint_id=a/b"),
        ("noexec_500", "/models/requests/by-endpoint?endpoint_id=a/b"),
        ("429_body", "/models/billing-events"),
        (None, "/models/billing-events?start=2020-01-01"),
    ],
)
def test_the_platforms_errors_are_the_documents(judge: Judge, fail: Fail, fault: str | None, path: str) -> None:
    if fault is not None:
        fail(fault, call="list", provider="fal")
    wire = judge("fal")

    assert wire.send("GET", path).status >= 400
    assert wire.specification.tally.replies == 1


def test_an_item_of_the_history_is_asked_about_as_the_document_says(
    judge: Judge, simulator: Simulator, http: httpx.Client
) -> None:
    wire, adapter = judge("elevenlabs"), adapters_at(simulator)["elevenlabs"]
    submit(simulator, http, "elevenlabs")
    found = listed(simulator, wire, "elevenlabs")[0].to_follow()

    ended = adapter.parse(wire.call(adapter.status_call(found)), Asked.STATUS, found)

    assert (ended.state, ended.id) == (State.SUCCEEDED, found.id)
    sound = wire.call(HttpCall(method="GET", url=ended.outputs[0].url or ""))
    assert sound.headers["content-type"] == "audio/mpeg"


# The official packages


def of_adapter(adapter: Adapter, http: httpx.Client, simulator: Simulator, endpoints: list[str]) -> tuple[Listed, ...]:
    call = adapter.list_call(endpoints=endpoints, page=None, **times(simulator))
    assert call is not None
    reply = http.get(call.url, headers=KEYS[adapter.name])
    return adapter.parse_list(_read(reply)).items


def _read(reply: httpx.Response) -> HttpReply:
    return HttpReply(status=reply.status_code, headers=dict(reply.headers), body=reply.content)


@pytest.mark.parametrize("endpoint", ["fal-ai/flux/schnell", "fal-ai/wan-i2v", "workflows/me/film/v2"])
def test_a_found_request_of_fal_is_asked_about_where_the_package_asks(simulator: Simulator, endpoint: str) -> None:
    """Word for word, whatever the app: the package builds the address of endpoint and id too."""
    adapter = adapters_at(simulator)["fal"]
    item = {"request_id": "764cabcf-b745-4b3e-ae38-1200304cf45b", "endpoint_id": endpoint}
    page = adapter.parse_list(_read(httpx.Response(200, json={"items": [item], "has_more": False})))
    urls = page.items[0].prediction.urls

    with open_fal(simulator) as client:
        handle = client.get_handle(endpoint, item["request_id"])

    assert (urls["status"], urls["result"], urls["cancel"]) == (
        handle.status_url,
        handle.response_url,
        handle.cancel_url,
    )


def test_what_we_read_of_replicates_list_is_what_the_package_reads(simulator: Simulator, http: httpx.Client) -> None:
    with replicate_sdk.open_client(simulator) as client:
        made = client.predictions.create(version=replicate_sdk.SDXL, input=replicate_sdk.BARN)
        read = {one.id: one for one in client.predictions.list().results}

    found = {one.prediction.id: one for one in of_adapter(adapters_at(simulator)["replicate"], http, simulator, [])}

    assert made.id in found
    for name, ours in found.items():
        assert (ours.endpoint, ours.version, ours.input) == (
            read[name].model,
            read[name].version,
            read[name].input or None,
        )


def test_what_we_read_of_the_history_is_what_the_package_reads(simulator: Simulator, http: httpx.Client) -> None:
    adapter = adapters_at(simulator)["elevenlabs"]
    assert isinstance(adapter, ElevenLabsAdapter)
    with open_elevenlabs(simulator) as client:
        b"".join(client.text_to_speech.convert("21m00Tcm4TlvDq8ikWAM", text="A voice of the package."))
        (read,) = client.history.list(page_size=1).history

    ours = of_adapter(adapter, http, simulator, [])[0]

    assert ours.input is not None
    assert (ours.input["text"], ours.input["voice_id"], ours.version) == (read.text, read.voice_id, read.model_id)
    assert (ours.prediction.id, ours.other_ids) == (read.request_id, (read.history_item_id,))
    used = read.character_count_change_to - read.character_count_change_from
    assert ours.prediction.reported == {"character_cost": used}
