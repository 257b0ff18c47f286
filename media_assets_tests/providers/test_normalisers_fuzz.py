"""Whatever Replicate or fal may answer: a typed result, or a typed error that keeps the id and tells about money."""

import contextlib
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from media_assets.errors import (
    Billed,
    MediaAssetsError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    Rerun,
)
from media_assets.prediction import Output, Prediction, State
from media_assets.providers.base import Adapter, Asked, HttpReply
from media_assets.providers.fal import FalAdapter
from media_assets.providers.outputs import UnreadableOutputError, outputs_of
from media_assets.providers.replicate import ReplicateAdapter
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.providers import polled_replies as recorded
from media_assets_tests.providers.sync_replies import reply_of
from media_assets_tests.providers.test_sync_fuzz import mutated

EXAMPLES = 5000 if LONG else 200
MUTATIONS = 50
LONGEST_S = 0.05
REFUSED = frozenset({400, 401, 402, 403, 404, 413, 415, 422, 429})

_KNOWN = {
    "replicate": Prediction(id=recorded.ID, state=State.RUNNING),
    "fal": Prediction(id=recorded.FAL_ID, state=State.RUNNING, urls=recorded.FAL_URLS),
}
_NAMES = f"""
    id status output error logs metrics predict_time total_time data_removed started_at urls get title detail
    invalid_fields field retry_after starting processing succeeded failed canceled aborted
    request_id status_url response_url cancel_url queue_position IN_QUEUE IN_PROGRESS COMPLETED error_type loc msg type
    images video audio data url b64_json has_nsfw_concepts content_policy_violation NOT_FOUND still_in_progress
    {recorded.ID} {recorded.FAL_ID} {recorded.PICTURE} {recorded.ROOT} {recorded.ROOT}/status data:,x 89504e470d0a1a0a
"""
_WORDS = st.sampled_from(_NAMES.split())
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)
_PREDICTIONS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just(recorded.ID) | _JSON,
        "request_id": st.just(recorded.FAL_ID) | _JSON,
        "status": st.sampled_from(
            ["starting", "processing", "succeeded", "failed", "canceled", "aborted", "IN_QUEUE", "COMPLETED"]
        )
        | _JSON,
        "output": _JSON,
        "images": _JSON,
        "error": _JSON,
        "error_type": _JSON,
        "metrics": _JSON,
        "logs": _JSON,
        "data_removed": _JSON,
        "status_url": st.just(recorded.ROOT) | _JSON,
        "detail": _JSON,
    },
)
_BODIES = (_JSON | _PREDICTIONS).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
_HEADERS = st.dictionaries(
    st.sampled_from(["x-fal-billable-units", "x-fal-error-type", "x-fal-retryable", "retry-after", "x-fal-request-id"]),
    st.text(max_size=12) | st.sampled_from(["1", "0", "-1", "nan", "true", "request_timeout"]),
    max_size=4,
)
_DEEP = b'{"id": "a", "request_id": "a", "status": "succeeded", "output": ' + b"[" * 900 + b"]" * 900 + b"}"
_DEEP_IMAGES = b'{"images": ' + b'{"images": ' * 900 + b"1" + b"}" * 901
_DEEPER = b'{"detail": ' + b'{"error": ' * 100_000

ADAPTERS = pytest.mark.parametrize("adapter", [ReplicateAdapter(), FalAdapter()], ids=lambda one: one.name)


def check(adapter: Adapter, reply: HttpReply, asked: Asked) -> Prediction | MediaAssetsError:
    """Read a reply as the transport does; return what came of it, after checking what always holds."""
    known = None if asked is Asked.SUBMIT else _KNOWN[adapter.name]
    for _ in range(3):  # a busy machine is given more chances; slow code is slow each time
        started = time.perf_counter()
        outcome = _read(adapter, reply, asked, known)
        took_s = time.perf_counter() - started
        if took_s < LONGEST_S:
            break
    assert took_s < LONGEST_S, reply
    error = outcome if isinstance(outcome, MediaAssetsError) else outcome.failure
    if isinstance(outcome, Prediction):
        _check_prediction(adapter, outcome, asked, known)
    if error is not None:
        _check_error(error, reply, asked, known, is_final=isinstance(outcome, Prediction))
    return outcome


def _read(adapter: Adapter, reply: HttpReply, asked: Asked, known: Prediction | None) -> Prediction | MediaAssetsError:
    if not reply.is_success:
        return adapter.parse_error(reply, asked, known)
    try:
        return adapter.parse(reply, asked, known)
    except MediaAssetsError as error:
        return error


def _check_prediction(adapter: Adapter, prediction: Prediction, asked: Asked, known: Prediction | None) -> None:
    """A success has an output; only a provider whose outputs are a call of their own may still lack them."""
    assert 0 < len(prediction.id) <= 200
    assert prediction.id.isprintable()
    assert known is None or prediction.id == known.id
    assert prediction.remote_state.isprintable()
    assert (prediction.failure is not None) == (prediction.state in {State.FAILED, State.CANCELED})
    assert not prediction.outputs or prediction.state is State.SUCCEEDED
    waits_for_result = adapter.result_call(_KNOWN[adapter.name]) is not None and asked is not Asked.RESULT
    if prediction.state is State.SUCCEEDED and not waits_for_result:
        assert prediction.outputs
    assert all(one.data or (one.url or "").startswith(("http://", "https://")) for one in prediction.outputs)
    assert all(used.is_finite() and used >= 0 for used in prediction.reported.values())
    assert prediction.progress is None or 0 <= prediction.progress <= 1
    assert all(url.startswith("https://queue.fal.run/") for url in prediction.urls.values())


def _check_error(
    error: MediaAssetsError, reply: HttpReply, asked: Asked, known: Prediction | None, *, is_final: bool
) -> None:
    assert isinstance(error, PurchaseError)
    assert error.message.isprintable()
    assert len(error.message) < 1500
    assert error.provider
    if known is not None:
        assert error.prediction_id == known.id
    if asked is Asked.SUBMIT and not reply.is_success:
        assert error.billed is (Billed.NO if reply.status in REFUSED else Billed.UNKNOWN)
    if not is_final and asked is Asked.STATUS:
        assert error.billed is not Billed.NO
    if error.rerun is Rerun.RESUBMIT and not isinstance(error, RateLimitedError):
        assert error.billed is Billed.NO
    if asked is Asked.RESULT:
        _check_result_error(error, reply)


def _check_result_error(error: PurchaseError, reply: HttpReply) -> None:
    """What was completed is paid for: no answer has it submitted again, and no fault of a server is the end of it."""
    lasting = error.if_it_lasts if isinstance(error, ProviderUnavailableError) else None
    for one in filter(None, (error, lasting)):
        assert one.rerun is not Rerun.RESUBMIT
        assert one.prediction_id == recorded.FAL_ID
        assert one.message.isprintable()
    if reply.status >= 500:
        assert isinstance(error, ProviderUnavailableError)
        assert (error.rerun, error.billed) == (Rerun.RESUME, Billed.UNKNOWN)


@pytest.mark.sample(f"{EXAMPLES:,} of 5,000 random replies")
@ADAPTERS
@given(
    asked=st.sampled_from([Asked.SUBMIT, Asked.STATUS, Asked.RESULT, Asked.CANCEL]),
    status=st.sampled_from([200, 200, 200, 201, 202, 301, 400, 401, 402, 403, 404, 408, 409, 422, 429, 499, 500, 504]),
    headers=_HEADERS,
    body=_BODIES,
)
@example(asked=Asked.STATUS, status=200, headers={}, body=_DEEP)
@example(asked=Asked.SUBMIT, status=201, headers={}, body=_DEEP)
@example(asked=Asked.RESULT, status=200, headers={}, body=_DEEP_IMAGES)
@example(asked=Asked.RESULT, status=422, headers={}, body=_DEEP_IMAGES)
@example(asked=Asked.RESULT, status=500, headers={}, body=_DEEPER)
@example(asked=Asked.SUBMIT, status=422, headers={}, body=_DEEPER)
@example(asked=Asked.STATUS, status=200, headers={}, body=b'{"status": "\\ud800", "error": "\\ud800"}')
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_reply_is_read_or_refused(
    adapter: Adapter, asked: Asked, status: int, headers: dict[str, str], body: bytes
) -> None:
    if adapter.name == "replicate" and asked is Asked.RESULT:
        asked = Asked.STATUS
    check(adapter, HttpReply(status=status, headers=headers, body=body), asked)


@pytest.mark.sample(f"{EXAMPLES:,} of 5,000 random values")
@given(_JSON)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_value_is_outputs_or_none(value: Any) -> None:
    found: tuple[Output, ...] = ()
    with contextlib.suppress(UnreadableOutputError):
        found = outputs_of(value)

    for output in found:
        assert output.data or (output.url or "").startswith(("http://", "https://"))


_REPLICATE: dict[str, tuple[Any, int, Asked]] = {
    "sparse": (recorded.SPARSE, 201, Asked.SUBMIT),
    "created": (recorded.STARTING, 202, Asked.SUBMIT),
    "created and done": (recorded.SUCCEEDED, 201, Asked.SUBMIT),
    "starting": (recorded.STARTING, 200, Asked.STATUS),
    "processing": (recorded.PROCESSING, 200, Asked.STATUS),
    "wait quirk": (recorded.PROCESSING | {"output": [recorded.PICTURE]}, 200, Asked.STATUS),
    "succeeded": (recorded.SUCCEEDED, 200, Asked.STATUS),
    "one URL": (recorded.SUCCEEDED | {"output": recorded.CLIP}, 200, Asked.STATUS),
    "an object": (recorded.SUCCEEDED | {"output": {"video": recorded.CLIP}}, 200, Asked.STATUS),
    "failed": (recorded.FAILED, 200, Asked.STATUS),
    "moderated": (recorded.FAILED | {"error": recorded.SENSITIVE}, 200, Asked.STATUS),
    "canceled": (recorded.CANCELED, 200, Asked.STATUS),
    "cancel": (recorded.CANCELED, 200, Asked.CANCEL),
    "aborted": (recorded.ABORTED, 200, Asked.STATUS),
    "removed": (recorded.REMOVED, 200, Asked.STATUS),
    "no key": (recorded.NO_KEY, 401, Asked.SUBMIT),
    "no money": (recorded.NO_MONEY, 402, Asked.SUBMIT),
    "no version": (recorded.NO_VERSION, 422, Asked.SUBMIT),
    "no input": (recorded.NO_INPUT, 422, Asked.SUBMIT),
    "throttled": (recorded.THROTTLED_WITH_WAIT, 429, Asked.STATUS),
    "not found": (recorded.NOT_FOUND, 404, Asked.STATUS),
}
_FAL: dict[str, tuple[Any, int, Asked]] = {
    "submitted": (recorded.SUBMITTED, 200, Asked.SUBMIT),
    "in queue": (recorded.IN_QUEUE, 202, Asked.STATUS),
    "in progress": (recorded.IN_PROGRESS, 202, Asked.STATUS),
    "completed": (recorded.COMPLETED, 200, Asked.STATUS),
    "timed out": (recorded.TIMED_OUT, 200, Asked.STATUS),
    "images": (recorded.IMAGES, 200, Asked.RESULT),
    "flagged": (recorded.IMAGES | {"has_nsfw_concepts": [True]}, 200, Asked.RESULT),
    "video": (recorded.VIDEO, 200, Asked.RESULT),
    "audio": (recorded.AUDIO, 200, Asked.RESULT),
    "hex": ({"audio": "ff" * 40, "duration_ms": 5}, 200, Asked.RESULT),
    "data URI": ({"images": [{"url": "data:image/png;base64,iVBORw0KGgo="}]}, 200, Asked.RESULT),
    "model error": (recorded.model_error("image_too_small", "image_url"), 422, Asked.RESULT),
    "moderated": (recorded.model_error("content_policy_violation", "prompt"), 422, Asked.RESULT),
    "downstream": (recorded.model_error("downstream_service_error"), 400, Asked.RESULT),
    "platform error": (recorded.platform_error("runner_disconnected"), 503, Asked.RESULT),
    "model broke": (recorded.model_error("internal_server_error"), 500, Asked.RESULT),
    "client cancelled": (recorded.platform_error("client_cancelled"), 499, Asked.RESULT),
    "too early": (recorded.TOO_EARLY, 400, Asked.RESULT),
    "locked": (recorded.LOCKED, 403, Asked.SUBMIT),
    "refused": (recorded.model_error("missing", "prompt"), 422, Asked.SUBMIT),
    "cancel": ({"status": "CANCELLATION_REQUESTED"}, 202, Asked.CANCEL),
    "too late": ({"status": "ALREADY_COMPLETED"}, 400, Asked.CANCEL),
    "unknown": ({"status": "NOT_FOUND"}, 404, Asked.STATUS),
}
RECORDED = pytest.mark.parametrize(
    ("adapter", "fixtures"), [(ReplicateAdapter(), _REPLICATE), (FalAdapter(), _FAL)], ids=["replicate", "fal"]
)


@RECORDED
def test_a_recorded_reply_may_change_in_any_place(
    adapter: Adapter,
    fixtures: dict[str, tuple[Any, int, Asked]],
    record_property: Callable[[str, object], None],
) -> None:
    for name, (body, status, asked) in fixtures.items():
        rng = random.Random(f"{adapter.name}/{name}")  # noqa: S311 - a sample, not a secret
        for _ in range(MUTATIONS):
            changed = body
            for _ in range(rng.randint(1, 3)):
                changed = mutated(changed, rng)
            check(adapter, reply_of(json.dumps(changed).encode(), status), asked)
    record_property(SAMPLE, f"{MUTATIONS} changes of each of {len(fixtures)} recorded replies")


@RECORDED
def test_the_recorded_replies_are_understood(adapter: Adapter, fixtures: dict[str, tuple[Any, int, Asked]]) -> None:
    """A fixture that the adapter takes for nonsense would prove nothing when it is changed."""
    for name, (body, status, asked) in fixtures.items():
        outcome = check(adapter, reply_of(body, status), asked)
        assert isinstance(outcome, Prediction) == (status < 300), name


@RECORDED
def test_a_body_may_be_cut_anywhere(adapter: Adapter, fixtures: dict[str, tuple[Any, int, Asked]]) -> None:
    for body, status, asked in fixtures.values():
        whole = json.dumps(body).encode()
        for cut in range(0, len(whole), 41):
            check(adapter, HttpReply(status=status, headers={}, body=whole[:cut]), asked)
