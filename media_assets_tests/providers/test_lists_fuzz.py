"""Whatever a list or a bill may hold: typed entries and told gaps, or one typed error; never anything dropped."""

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from media_assets.errors import Billed, PurchaseError, Rerun, UnexpectedResponseError
from media_assets.prompt import Step
from media_assets.providers.base import Adapter, Asked, HttpReply
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.providers.fal import FalAdapter
from media_assets.providers.listing import BillLine, Listed, Page
from media_assets.providers.replicate import ReplicateAdapter
from media_assets.request import GenerationRequest
from media_assets_tests.conftest import SAMPLE
from media_assets_tests.providers import polled_replies as recorded
from media_assets_tests.providers.sync_replies import HISTORY_ITEM, reply_of, request_to
from media_assets_tests.providers.test_normalisers_fuzz import EXAMPLES, LONGEST_S, MUTATIONS
from media_assets_tests.providers.test_sync_fuzz import mutated

ADAPTERS: Mapping[str, Adapter] = {one.name: one for one in (ReplicateAdapter(), FalAdapter(), ElevenLabsAdapter())}
EVERY = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))

LISTS: Mapping[str, str] = {"replicate": "results", "fal": "items", "elevenlabs": "history"}
"""What each calls its list."""
ENTRIES: Mapping[str, dict[str, Any]] = {
    "replicate": recorded.SUCCEEDED,
    "fal": recorded.FAL_LISTED,
    "elevenlabs": HISTORY_ITEM,
}
PAGES: Mapping[str, Any] = {
    "replicate": {
        "next": f"{recorded.REPLICATE}/predictions?cursor=a",
        "previous": None,
        "results": [recorded.SUCCEEDED, recorded.PROCESSING | {"id": "b"}, recorded.REMOVED | {"id": "c"}],
    },
    "fal": {
        "next_cursor": "Mg==",
        "has_more": True,
        "items": [recorded.FAL_LISTED, recorded.FAL_LISTED | {"request_id": "b", "ended_at": None}],
    },
    "elevenlabs": {
        "history": [HISTORY_ITEM, HISTORY_ITEM | {"history_item_id": "b", "request_id": None}],
        "has_more": True,
        "last_history_item_id": "b",
        "scanned_until": 1714650306,
    },
}
BILLS: Mapping[str, Any] = {
    "fal": {
        "next_cursor": None,
        "has_more": False,
        "billing_events": [recorded.FAL_CHARGE, recorded.FAL_CHARGE | {"request_id": "b", "output_units": None}],
    },
    "elevenlabs": PAGES["elevenlabs"],
}
REQUESTS: Mapping[str, GenerationRequest] = {
    "replicate": request_to(
        "replicate", "stability-ai/sdxl", version=recorded.VERSION, params={"prompt": "x"}, step=Step.IMAGE
    ),
    "fal": request_to("fal", "fal-ai/flux/schnell", version="2025-12", params={"prompt": "x"}, step=Step.IMAGE),
    "elevenlabs": request_to(
        "elevenlabs",
        "v1/text-to-speech/{voice_id}",
        version="eleven_multilingual_v2",
        params={"voice_id": "21m00Tcm4TlvDq8ikWAM", "text": "Hello, world!", "voice_settings.style": 0},
    ),
}

_FIELDS = sorted({name for entry in (*ENTRIES.values(), recorded.FAL_CHARGE) for name in entry})
_NAMES = st.sampled_from([*_FIELDS, *LISTS.values(), "next", "next_cursor", "has_more", "billing_events"])
_WORDS = st.sampled_from(
    [*_FIELDS, recorded.ID, recorded.FAL_ID, "fal-ai/flux", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "../x"]
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS | st.just("\ud800")
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)


def _entries(name: str) -> st.SearchStrategy[Any]:
    """Return entries that are real but for some fields, among whatever else."""
    real = ENTRIES.get(name, recorded.FAL_CHARGE)
    fields = {field: st.just(value) | _JSON for field, value in real.items()}
    return st.fixed_dictionaries({}, optional=fields) | _JSON


_PAGES = st.one_of(
    [
        st.fixed_dictionaries(
            {LISTS.get(name, "billing_events"): st.lists(_entries(name), max_size=4) | _JSON},
            optional={
                "next": _JSON | st.just(f"{recorded.REPLICATE}/predictions?cursor=a"),
                "next_cursor": _JSON | st.just("Mg=="),
                "has_more": _JSON | st.sampled_from([True]),
                "last_history_item_id": _JSON | st.just("b"),
            },
        )
        for name in [*LISTS, "bill"]
    ]
)
_BODIES = (_JSON | _PAGES).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
_DEEP = b'{"results": [' + b'{"input": ' * 900 + b"1" + b"}" * 900 + b'], "next": null}'
_DEEPER = b'{"items": ' + b"[" * 100_000
_DEEP_INPUT = json.dumps({"results": [recorded.SUCCEEDED | {"input": {"prompt": "x", "a": {}}}]}).encode()


def check(adapter: Adapter, reply: HttpReply, asked: Asked) -> Page[Any] | PurchaseError:
    """Read a reply as the transport does; return what came of it, after checking what always holds."""
    for _ in range(3):  # a busy machine is given more chances; slow code is slow each time
        started = time.perf_counter()
        outcome = _read(adapter, reply, asked)
        took_s = time.perf_counter() - started
        if took_s < LONGEST_S:
            break
    assert took_s < LONGEST_S, reply
    if isinstance(outcome, PurchaseError):
        assert (outcome.billed, outcome.provider, outcome.prediction_id) == (Billed.NO, adapter.name, None)
        assert outcome.rerun in {Rerun.RESUME, Rerun.NEVER}
        assert outcome.message.isprintable()
        assert len(outcome.message) < 1500
    else:
        _check_page(adapter, outcome, reply, asked)
    return outcome


def _read(adapter: Adapter, reply: HttpReply, asked: Asked) -> Page[Any] | PurchaseError:
    if not reply.is_success:
        return adapter.parse_error(reply, asked)
    try:
        return adapter.parse_list(reply) if asked is Asked.LIST else adapter.parse_bill(reply)
    except UnexpectedResponseError as error:
        return error


def _check_page(adapter: Adapter, page: Page[Any], reply: HttpReply, asked: Asked) -> None:
    """Every entry is read or told, and what comes next can be asked for without leaving the adapter's own address."""
    name = LISTS[adapter.name] if asked is Asked.LIST or adapter.name != "fal" else "billing_events"
    assert len(page.items) + len(page.unreadable) >= min(len(reply.json()[name]), 21)
    assert all(why.isprintable() and len(why) < 1500 for why in page.unreadable)
    assert page.next_page is None or (page.next_page.isascii() and page.next_page.isprintable())
    for one in page.items:
        if isinstance(one, Listed):
            _check_listed(adapter, one)
        else:
            _check_line(one)


def _check_listed(adapter: Adapter, one: Listed) -> None:
    known = one.prediction
    assert 0 < len(known.id) <= 200
    assert known.id.isprintable()
    assert known.remote_state.isprintable()
    assert (known.outputs, known.failure) == ((), None)
    assert one.created_at is None or one.created_at.utcoffset() is not None
    assert one.input is None or one.input
    assert all(url.startswith(adapter.base_urls) for url in known.urls.values())
    assert all(used.is_finite() and used >= 0 for used in known.reported.values())
    assert adapter.status_call(one.to_follow()) is not None
    request = REQUESTS[adapter.name]
    assert adapter.is_of(request, one) or not adapter.is_surely_of(request, one)


def _check_line(line: BillLine) -> None:
    assert line.prediction_id.isprintable()
    assert line.usd is not None or line.units is not None
    assert all(amount.is_finite() and amount >= 0 for amount in (line.usd, line.units) if amount is not None)
    assert line.at is None or line.at.utcoffset() is not None


@EVERY
@given(
    asked=st.sampled_from([Asked.LIST, Asked.BILL]),
    status=st.sampled_from([200, 200, 200, 200, 206, 301, 400, 401, 402, 403, 404, 422, 429, 499, 500, 503]),
    body=_BODIES,
)
@example(asked=Asked.LIST, status=200, body=_DEEP)
@example(asked=Asked.LIST, status=200, body=_DEEPER)
@example(asked=Asked.BILL, status=503, body=_DEEPER)
@example(asked=Asked.LIST, status=200, body=_DEEP_INPUT)
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_list_is_read_or_refused(adapter: Adapter, asked: Asked, status: int, body: bytes) -> None:
    if asked is Asked.BILL and adapter.name not in BILLS:
        asked = Asked.LIST
    check(adapter, HttpReply(status=status, headers={}, body=body), asked)


@EVERY
def test_a_recorded_list_may_change_anywhere(adapter: Adapter, record_property: Callable[[str, object], None]) -> None:
    bodies = [(Asked.LIST, PAGES[adapter.name])]
    if adapter.name in BILLS:
        bodies.append((Asked.BILL, BILLS[adapter.name]))
    for asked, body in bodies:
        whole = check(adapter, reply_of(body), asked)
        assert isinstance(whole, Page), "a fixture that is nonsense proves nothing when it is changed"
        assert (len(whole.items) > 1, whole.unreadable) == (True, ())
        rng = random.Random(f"{adapter.name}/{asked}")  # noqa: S311 - a sample, not a secret
        for _ in range(10 * MUTATIONS):
            changed = body
            for _ in range(rng.randint(1, 3)):
                changed = mutated(changed, rng)
            check(adapter, reply_of(json.dumps(changed).encode()), asked)
    record_property(SAMPLE, f"{10 * MUTATIONS} changes of each of {len(bodies)} recorded pages")


@EVERY
def test_a_list_may_be_cut_anywhere(adapter: Adapter) -> None:
    """The bytes of a page that is not whole are no page: half a list must not pass for all of it."""
    whole = json.dumps(PAGES[adapter.name]).encode()
    for cut in range(0, len(whole), 17):
        outcome = check(adapter, HttpReply(status=200, headers={}, body=whole[:cut]), Asked.LIST)
        assert isinstance(outcome, PurchaseError)


@EVERY
def test_a_listed_entry_of_ours_is_known(adapter: Adapter) -> None:
    """The fuzz compares with a request: one that never matched would prove nothing."""
    page = adapter.parse_list(reply_of(PAGES[adapter.name]))

    assert adapter.is_surely_of(REQUESTS[adapter.name], page.items[0])
