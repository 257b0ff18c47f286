"""The official specifications: the simulator's replies and our adapters' requests against them.

They are not part of this repository. ``MEDIA_ASSETS_OPENAPI_DIR`` names a folder that has them; without it these tests
are skipped. What the documents leave open, such as most error bodies, the official packages are tested with.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.prediction import State
from media_assets.providers.base import Asked, InputFile
from media_assets.simulator.media import picture
from media_assets.simulator.replicate_files import LARGEST_BYTES, sign_download
from media_assets.simulator.server import Simulator
from media_assets_tests.conformance.conftest import Fail, Record
from media_assets_tests.conformance.fal_types import FalTypes
from media_assets_tests.conformance.judged_queue import Queue
from media_assets_tests.conformance.judged_wire import JudgedWire
from media_assets_tests.conformance.our_requests import (
    SCRIPT,
    adapters_at,
    call_of,
    drafted,
    paid_models,
    requests_of,
)
from media_assets_tests.conformance.specification import Specification, schema_faults
from media_assets_tests.conftest import SAMPLE

VARIABLE = "MEDIA_ASSETS_OPENAPI_DIR"
VOICE = "21m00Tcm4TlvDq8ikWAM"
SDXL = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
PICTURE_URL = "https://example.com/barn.png"


def document(name: str) -> Any:
    """Return an official file; the test is skipped where there are none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        pytest.skip(f"{VARIABLE} names no folder with the official files; nothing was checked against them")
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as one:
        yield one


@pytest.fixture
def replicate(simulator: Simulator, http: httpx.Client) -> JudgedWire:
    # A file has name, etag and md5 in recordings and in the official package, which fails without the first two.
    judge = Specification(
        document("replicate_openapi_mirror_2026-04-09.json"), open_schemas=frozenset({"schemas_file_response"})
    )
    return JudgedWire(http, f"{simulator.url}/replicate/v1", {"Authorization": "Bearer r8_simulated"}, judge)


@pytest.fixture
def openai(simulator: Simulator, http: httpx.Client) -> JudgedWire:
    # An error of moderation has moderation_details, which bodies that users posted in 2026 show and the document lacks.
    judge = Specification(
        document("openai_images_audio_videos_2026-08-21.json"),
        error_schema="ErrorResponse",
        open_schemas=frozenset({"Error"}),
    )
    return JudgedWire(http, f"{simulator.url}/openai/v1", {"Authorization": "Bearer sk-simulated"}, judge)


@pytest.fixture
def elevenlabs(simulator: Simulator, http: httpx.Client) -> JudgedWire:
    judge = Specification(document("elevenlabs_tts_sfx_music_history_2026-08-22.json"))
    return JudgedWire(http, f"{simulator.url}/elevenlabs", {"xi-api-key": "simulated"}, judge)


@pytest.fixture
def queue(simulator: Simulator, http: httpx.Client) -> Queue:
    return Queue(simulator, http)


def test_replicate_predictions(replicate: JudgedWire, simulator: Simulator, record_property: Record) -> None:
    """Every request we can make, in its first state and in its last, canceled too late, and the list of all."""
    adapter = adapters_at(simulator)["replicate"]
    upload = adapter.upload(InputFile(content=picture((1024, 576), "image/png", 1), mime="image/png", filename="a.png"))
    assert upload is not None
    with pytest.raises(StopIteration) as done:
        upload.send(replicate.call(next(upload)))
    calls = [
        call_of(adapter, spec, request, done.value.value)
        for spec in paid_models("replicate")
        for request in requests_of(spec)
    ]
    waiting = [adapter.parse(replicate.call(call), Asked.SUBMIT) for call in calls]
    simulator.world.clock.advance(30)
    ended = [adapter.parse(replicate.call(adapter.status_call(known)), Asked.STATUS, known) for known in waiting]
    replicate.call(adapter.cancel_call(ended[0]))
    replicate.send("GET", "/predictions?created_after=2020-01-01T00:00:00Z")

    assert {one.state for one in ended} == {State.SUCCEEDED}
    record_property(SAMPLE, f"Replicate's predictions: {replicate.specification.tally}")


FATES = ("run_failed", "content_rejected", "queue_stuck", "run_stuck", "aborted")


def test_replicate_endings(replicate: JudgedWire, simulator: Simulator, fail: Fail, record_property: Record) -> None:
    """Each way of ending badly, waiting in the request, and what is left after an hour."""
    for fate in FATES:
        fail(fate, times=1)
    body = {"version": SDXL, "input": {"prompt": "a barn"}}
    waited = {"Prefer": "wait=1", "Cancel-After": "1m30s"}
    made = [replicate.send("POST", "/predictions", json=body, headers=waited).json() for _ in range(len(FATES) + 1)]
    replicate.send("POST", f"/predictions/{made[2]['id']}/cancel")
    simulator.world.clock.advance(120)
    after = [replicate.send("GET", f"/predictions/{one['id']}").json() for one in made]
    simulator.world.clock.advance(3600)
    removed = [replicate.send("GET", f"/predictions/{one['id']}").json() for one in made]

    assert [one["status"] for one in after] == ["failed", "failed", "canceled", "canceled", "aborted", "succeeded"]
    assert [(one["data_removed"], one["output"]) for one in removed] == [(True, None)] * len(made)
    record_property(SAMPLE, f"Replicate's endings: {replicate.specification.tally}")


def test_replicate_files_and_catalogue(replicate: JudgedWire, record_property: Record) -> None:
    """Uploads from beginning to end, and everything that can be looked up."""
    file = replicate.send("POST", "/files", files={"content": ("a.txt", b"a letter", "text/plain")}).json()
    for path in ("/files", f"/files/{file['id']}"):
        replicate.send("GET", path)
    signed = httpx.QueryParams(owner="us", expiry="9999999999", signature=sign_download("us", file["id"], "9999999999"))
    assert replicate.send("GET", f"/files/{file['id']}/download?{signed}").body == b"a letter"
    assert replicate.send("GET", f"/files/{file['id']}/download?owner=us&expiry=1&signature=no").status == 404
    assert replicate.send("DELETE", f"/files/{file['id']}").status == 204
    large = {"content": ("large.bin", bytes(LARGEST_BYTES), "application/octet-stream")}
    assert replicate.send("POST", "/files", files=large).status == 413
    official = "/models/black-forest-labs/flux-schnell"
    for path in ("/account", "/hardware", "/webhooks/default/secret", "/models", official, f"{official}/versions"):
        replicate.send("GET", path)
    replicate.send("GET", f"/models/stability-ai/sdxl/versions/{SDXL}")

    record_property(SAMPLE, f"Replicate's files and catalogue: {replicate.specification.tally}")


def test_our_sdxl_input_and_the_simulators_are_the_recorded_schemas(
    http: httpx.Client, simulator: Simulator, record_property: Record
) -> None:
    recorded = document("replicate_stability-ai_sdxl_39ed52f2.json")["schemas"]
    whole = {**recorded["Input"], "components": {"schemas": recorded}, "additionalProperties": False}
    (spec,) = [one for one in paid_models("replicate") if one.id == "replicate:sdxl"]
    adapter = adapters_at(simulator)["replicate"]
    bodies = [call_of(adapter, spec, request, "").json_body or {} for request in requests_of(spec)]
    url = f"{simulator.url}/replicate/v1/models/stability-ai/sdxl/versions/{SDXL}"
    shown = http.get(url, headers={"Authorization": "Bearer r8_simulated"}).json()

    assert spec.version == SDXL
    assert [fault for body in bodies for fault in schema_faults(whole, body["input"])] == []
    simulated = shown["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
    assert {name: _limits(one, recorded) for name, one in simulated.items()} == {
        name: _limits(one, recorded) for name, one in recorded["Input"]["properties"].items()
    }
    record_property(SAMPLE, f"SDXL: {len(bodies)} inputs, {len(simulated)} fields of the simulator's")


def _limits(one: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a field takes, choices in any order."""
    named = [schemas[ref["$ref"].rpartition("/")[2]] for ref in one.get("allOf", ())]
    merged = {**(named[0] if named else {}), **one}
    kept = {name: merged.get(name) for name in ("type", "format", "default", "minimum", "maximum")}
    return {**kept, "enum": sorted(merged.get("enum", ()))}


def test_openai_pictures_and_speech(openai: JudgedWire, simulator: Simulator, record_property: Record) -> None:
    """Every request we can make, answered; then streams, and the shapes that we do not ask for."""
    adapter = adapters_at(simulator)["openai"]
    for spec in paid_models("openai"):
        for request in requests_of(spec):
            call = call_of(adapter, spec, request, "")
            prediction = adapter.parse(openai.call(call), Asked.SUBMIT)
            assert prediction.state is State.SUCCEEDED
    picture_of = {"model": "gpt-image-2", "prompt": "a barn", "size": "1024x1024", "quality": "low"}
    openai.send("POST", "/images/generations", json=picture_of)
    openai.send("POST", "/images/generations", json={**picture_of, "stream": True, "partial_images": 1})
    openai.send("POST", "/audio/speech", json={"model": "gpt-4o-mini-tts", "input": SCRIPT, "voice": "coral"})

    record_property(SAMPLE, f"OpenAI: {openai.specification.tally}")


OPENAI_FAULTS = [
    "400",
    "content_rejected",
    "insufficient_credit",
    "retired_404",
    "429_header",
    "noexec_500",
    "noexec_503",
]


def test_openai_errors(openai: JudgedWire, fail: Fail, record_property: Record) -> None:
    """Each way to be refused, at each address."""
    bodies = {
        "/images/generations": {"model": "gpt-image-2", "prompt": "a barn"},
        "/audio/speech": {"model": "gpt-4o-mini-tts", "input": SCRIPT, "voice": "coral"},
    }
    for fault in OPENAI_FAULTS:
        for path, body in bodies.items():
            fail(fault, times=1)
            assert openai.send("POST", path, json=body).status >= 400, (fault, path)

    assert openai.specification.tally.replies == 14
    record_property(SAMPLE, f"OpenAI's errors: {openai.specification.tally}")


def test_elevenlabs_speech_and_history(elevenlabs: JudgedWire, simulator: Simulator, record_property: Record) -> None:
    """Every request we can make; those for mp3 answered, for the document knows of no other type of reply."""
    adapter = adapters_at(simulator)["elevenlabs"]
    for spec in paid_models("elevenlabs"):
        for request in requests_of(spec):
            call = call_of(adapter, spec, request, "")
            if str(request.params["output_format"]).startswith("mp3"):
                assert adapter.parse(elevenlabs.call(call), Asked.SUBMIT).state is State.SUCCEEDED
            else:
                elevenlabs.judge_only(call)
    speak = f"/v1/text-to-speech/{VOICE}"
    for path in ("/with-timestamps", "/stream", "/stream/with-timestamps"):
        elevenlabs.send("POST", speak + path, json={"text": SCRIPT, "seed": 1})
    page = elevenlabs.send("GET", "/v1/history?page_size=2&sort_direction=asc").json()
    item = f"/v1/history/{page['history'][0]['history_item_id']}"
    for method, path in (("GET", item), ("GET", f"{item}/audio"), ("DELETE", item)):
        elevenlabs.send(method, path)
    for path in ("/v1/user/subscription", "/v1/models"):
        elevenlabs.send("GET", path)

    record_property(SAMPLE, f"ElevenLabs: {elevenlabs.specification.tally}")


def test_elevenlabs_misfits(elevenlabs: JudgedWire, http: httpx.Client, record_property: Record) -> None:
    """The only error that the document describes; the request is a bad one on purpose, so it is not judged."""
    path = f"/v1/text-to-speech/{VOICE}?output_format=mp3_1_1"
    reply = http.post(elevenlabs.base_url + path, json={"text": 5}, headers=dict(elevenlabs.key))

    assert reply.status_code == 422
    judged = Specification(elevenlabs.specification.document)
    assert schema_faults(judged.component("HTTPValidationError"), reply.json(), judged.registry) == []
    record_property(SAMPLE, "ElevenLabs's errors: 1 reply body")


def test_fal_requests_and_results(queue: Queue, simulator: Simulator, record_property: Record) -> None:
    """Our requests have the fields and types of fal's own TypeScript types, and the simulator's results theirs."""
    types = FalTypes(document("fal_models_from_fal-js_2025.json"))
    models = paid_models("fal")
    url = queue.upload(picture((256, 144), "image/png", 1))
    requests, results = 0, 0
    for spec in models:
        for request in requests_of(spec):
            call = call_of(queue.adapter, spec, request, PICTURE_URL)
            assert schema_faults(types.input_of(spec.endpoint), call.json_body) == [], spec.id
            requests += 1
    waiting = [(spec, queue.submit(call_of(queue.adapter, spec, drafted(spec).request, url))) for spec in models]
    simulator.world.clock.advance(60)
    for spec, known in waiting:
        status, body = queue.ask(Asked.RESULT, known)
        assert status == 200
        assert schema_faults(types.output_of(spec.endpoint), body) == [], spec.id
        results += 1

    assert len(models) == results
    record_property(SAMPLE, f"fal: {requests} request bodies, {results} results, against fal's own types")
