"""Whatever OpenAI or ElevenLabs may answer: a typed result with an output, or a typed error, quickly."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from media_assets.errors import Billed, MediaAssetsError, PurchaseError
from media_assets.prediction import Prediction, State
from media_assets.providers.base import Adapter, Asked, HttpReply
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.providers.openai import OpenAIAdapter
from media_assets.providers.refusals import REFUSED
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.providers.sync_replies import (
    DONE,
    IMAGES,
    MP3,
    PNG,
    STREAM,
    TIMESTAMPS,
    base64_of,
    delta,
    elevenlabs_error,
    elevenlabs_old_error,
    event,
    openai_error,
    reply_of,
)

EXAMPLES = 5000 if LONG else 200
MUTATIONS = 50
LONGEST_S = 0.05

ADAPTERS = pytest.mark.parametrize("adapter", [OpenAIAdapter(), ElevenLabsAdapter()], ids=lambda one: one.name)
MIMES = ("application/json", "audio/mpeg", "text/event-stream", "text/html", "application/octet-stream", "")

_NAMES = """
    data b64_json url usage input_tokens output_tokens_details error code type message param detail status loc msg
    request_id audio_base64 audio speech.audio.delta speech.audio.done insufficient_quota moderation_blocked
    quota_exceeded AA== https://x.example/a
"""
_WORDS = st.sampled_from(_NAMES.split())
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=5),
    max_leaves=25,
)
_EVENTS = st.lists(_JSON, max_size=4).map(lambda events: "".join(event(one) for one in events).encode())
_BODIES = _JSON.map(lambda value: json.dumps(value).encode()) | _EVENTS | st.binary(max_size=200)
_HEADERS = st.dictionaries(
    st.sampled_from(["x-request-id", "request-id", "history-item-id", "character-cost", "retry-after"]),
    st.text(max_size=12) | st.sampled_from(["req_1", "12", "-1", "nan"]),
    max_size=4,
)
_DEEP = b'{"data": ' + b"[" * 1000 + b"]" * 1000 + b"}"
_DEEPER = b'{"detail": ' + b'{"error": ' * 100_000


def check(adapter: Adapter, reply: HttpReply) -> Prediction | MediaAssetsError:
    """Read a reply both ways a transport does; return what came of it, after checking what always holds."""
    for _ in range(3):  # a busy machine is given more chances; slow code is slow each time
        started = time.perf_counter()
        outcome = _read(adapter, reply)
        took_s = time.perf_counter() - started
        if took_s < LONGEST_S:
            break
    assert took_s < LONGEST_S, reply
    _check_outcome(reply, outcome)
    return outcome


def _read(adapter: Adapter, reply: HttpReply) -> Prediction | MediaAssetsError:
    if not reply.is_success:
        return adapter.parse_error(reply, Asked.SUBMIT)
    try:
        return adapter.parse(reply, Asked.SUBMIT)
    except MediaAssetsError as error:
        return error


def _check_outcome(reply: HttpReply, outcome: Prediction | MediaAssetsError) -> None:
    error = outcome if isinstance(outcome, MediaAssetsError) else outcome.failure
    if isinstance(outcome, Prediction):
        assert 0 < len(outcome.id) <= 200
        assert outcome.state in {State.SUCCEEDED, State.FAILED}
        assert bool(outcome.outputs) == (outcome.state is State.SUCCEEDED) == (error is None)
        assert all(one.data or (one.url or "").startswith(("http://", "https://")) for one in outcome.outputs)
        assert all(amount.is_finite() and amount >= 0 for amount in outcome.reported.values())
    if error is not None:
        assert isinstance(error, PurchaseError)
        error.message.encode()
        assert error.billed is Billed.NO if reply.status in REFUSED else error.billed is not Billed.NO
        assert reply.is_success <= (error.prediction_id is not None)


@pytest.mark.sample(f"{EXAMPLES:,} of 5,000 random replies")
@ADAPTERS
@given(
    status=st.sampled_from([200, 200, 201, 400, 401, 402, 403, 404, 409, 422, 429, 500, 503]),
    mime=st.sampled_from(MIMES),
    headers=_HEADERS,
    body=_BODIES,
)
@example(status=200, mime="application/json", headers={}, body=_DEEP)
@example(status=200, mime="text/event-stream", headers={}, body=b"data: " + _DEEP + b"\n\n")
@example(status=400, mime="application/json", headers={}, body=_DEEP)
@example(status=400, mime="application/json", headers={}, body=_DEEPER)
@example(status=200, mime="audio/mpeg", headers={}, body=_DEEPER)
@example(
    status=400, mime="application/json", headers={}, body=b'{"error": {"message": "\\ud800"}, "detail": "\\ud800"}'
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_reply_is_read_or_refused(
    adapter: Adapter, status: int, mime: str, headers: dict[str, str], body: bytes
) -> None:
    check(adapter, HttpReply(status=status, headers={"content-type": mime} | headers, body=body))


_RECORDED: dict[str, tuple[Any, int]] = {
    "pictures": (IMAGES, 200),
    "two pictures": (IMAGES | {"data": [{"b64_json": base64_of(PNG)}, {"url": "https://x.example/1.png"}]}, 200),
    "pictures, older usage": (IMAGES | {"usage": {"input_tokens": 1, "output_tokens": 2}}, 200),
    "speech events": ([delta(MP3[:99]), delta(MP3[99:]), DONE], 200),
    "speech events with an error": ([delta(MP3), openai_error("x", "server_error")], 200),
    "timestamps": (TIMESTAMPS, 200),
    "timestamps, sparse": ({"audio_base64": base64_of(MP3)}, 200),
    "quota": (openai_error("x", "insufficient_quota", code="insufficient_quota"), 429),
    "rate": (openai_error("x", "requests", code="rate_limit_exceeded"), 429),
    "moderation": (
        openai_error("x", code="moderation_blocked", moderation_details={"moderation_stage": "input"}),
        400,
    ),
    "parameter": (openai_error("x", param="size"), 400),
    "key": (openai_error("x", code="invalid_api_key"), 401),
    "model": (openai_error("x", code="model_not_found"), 404),
    "server": (openai_error("x", "server_error"), 500),
    "new detail": (elevenlabs_error("voice_not_found", request_id="abc", param="voice_id"), 404),
    "old detail": (elevenlabs_old_error("quota_exceeded"), 401),
    "detail list": ({"detail": [{"loc": ["body", "text"], "msg": "Field required", "type": "missing"}]}, 422),
    "detail text": ({"detail": "Not Found"}, 404),
    "busy": (elevenlabs_error("system_busy"), 429),
    "conflict": (elevenlabs_error("conflict"), 409),
}


def _reply(body: Any, status: int) -> HttpReply:
    if not (isinstance(body, list) and status == 200):
        return reply_of(json.dumps(body).encode(), status, content_type="application/json")
    stream = "".join(event(one) for one in body).encode()
    return HttpReply(status=200, headers={"content-type": "text/event-stream"}, body=stream)


_STRANGE: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: -1,
    lambda: 10**40,
    lambda: float("nan"),
    lambda: "",
    lambda: "\ud800\u2028\0",
    list,
    dict,
    lambda: [[[]]],
    lambda: {"error": {"detail": {"data": []}}},
)


def mutated(value: Any, rng: random.Random) -> Any:
    """Return a copy of a JSON value with one thing changed: dropped, doubled, renamed, wrapped or replaced."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        return _mutated_object(value, rng) if isinstance(value, dict) else _mutated_list(value, rng)
    if rng.random() < 0.2:
        return [value]
    if isinstance(value, str) and value and rng.random() < 0.4:
        place = rng.randrange(len(value))
        return value[:place] + rng.choice(["", "é", "?"]) + value[place + 1 :]
    return rng.choice(_STRANGE)()


def _mutated_object(value: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    name, choice = rng.choice(list(value)), rng.random()
    rest = {key: kept for key, kept in value.items() if key != name}
    if choice < 0.2:
        return rest
    return rest | ({name.upper(): value[name]} if choice < 0.3 else {name: mutated(value[name], rng)})


def _mutated_list(value: list[Any], rng: random.Random) -> list[Any]:
    place, choice = rng.randrange(len(value)), rng.random()
    if choice < 0.2:
        return value[:place] + value[place + 1 :]
    if choice < 0.4:
        return [*value, value[place]]
    return [*value[:place], mutated(value[place], rng), *value[place + 1 :]]


@ADAPTERS
def test_a_recorded_reply_may_change_in_any_place(
    adapter: Adapter, record_property: Callable[[str, object], None]
) -> None:
    for name, (body, status) in _RECORDED.items():
        rng = random.Random(f"{adapter.name}/{name}")  # noqa: S311 - a sample, not a secret
        for _ in range(MUTATIONS):
            changed = body
            for _ in range(rng.randint(1, 3)):
                changed = mutated(changed, rng)
            check(adapter, _reply(changed, status))
    record_property(SAMPLE, f"{MUTATIONS} changes of each of {len(_RECORDED)} recorded replies")


@pytest.mark.parametrize("name", _RECORDED)
def test_the_recorded_replies_are_read_by_one_of_the_two(name: str) -> None:
    """A fixture that both adapters take for nonsense would prove nothing when it is changed."""
    body, status = _RECORDED[name]
    outcomes = [check(adapter, _reply(body, status)) for adapter in (OpenAIAdapter(), ElevenLabsAdapter())]

    if status == 200:
        assert [one for one in outcomes if isinstance(one, Prediction)]
    else:
        assert all(isinstance(one, PurchaseError) for one in outcomes)


@ADAPTERS
@pytest.mark.parametrize("mime", MIMES)
@pytest.mark.parametrize("body", [STREAM, MP3, json.dumps(IMAGES).encode(), json.dumps(TIMESTAMPS).encode()])
def test_a_body_may_be_cut_anywhere(adapter: Adapter, mime: str, body: bytes) -> None:
    for cut in range(0, len(body), 41):
        check(adapter, HttpReply(status=200, headers={"content-type": mime}, body=body[:cut]))
