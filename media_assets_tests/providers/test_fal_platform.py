"""fal's platform: what is asked for the account's requests and charges, and what is read of the answers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    InsufficientCreditError,
    KeyRejectedError,
    ProviderUnavailableError,
    PurchaseError,
    RateLimitedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import State
from media_assets.prompt import Scalar, Step
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.fal import FalAdapter
from media_assets.providers.listing import BillLine, Listed, ListedPage
from media_assets_tests.providers import polled_replies as recorded
from media_assets_tests.providers.sync_replies import reply_of, request_to

ADAPTER = FalAdapter()
API = "https://api.fal.ai/v1"
SINCE = datetime(2026, 1, 1, 0, 0, 0, 900_000, tzinfo=UTC)
UNTIL = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
ENDPOINTS = ["fal-ai/flux/schnell", "fal-ai/wan-i2v"]
NAMED = "endpoint_id=fal-ai%2Fflux%2Fschnell&endpoint_id=fal-ai%2Fwan-i2v"
ITEM = recorded.FAL_LISTED
CHARGE = recorded.FAL_CHARGE


def page_with(*items: Any, **more: Any) -> ListedPage:
    return ADAPTER.parse_list(reply_of({"next_cursor": None, "has_more": False, "items": list(items), **more}))


def only(item: Mapping[str, Any]) -> Listed:
    page = page_with(item)
    assert page.unreadable == ()
    (one,) = page.items
    return one


def charge(entry: Mapping[str, Any]) -> BillLine:
    page = ADAPTER.parse_bill(reply_of({"next_cursor": None, "has_more": False, "billing_events": [entry]}))
    assert page.unreadable == ()
    (one,) = page.items
    return one


def test_requests_are_asked_for_with_their_inputs_and_without_an_end() -> None:
    """Its order is of the end of the run: a range that ended with the submission could hide what still ran then."""
    call = ADAPTER.list_call(endpoints=ENDPOINTS, since=SINCE, until=UNTIL, page=None)

    assert call is not None
    assert (call.method, call.with_key, call.json_body) == ("GET", True, None)
    assert call.url == (
        f"{API}/models/requests/by-endpoint?{NAMED}&start=2026-01-01T00%3A00%3A00Z&expand=payloads&limit=100"
    )


def test_the_next_page_is_asked_for_by_its_cursor() -> None:
    call = ADAPTER.list_call(endpoints=ENDPOINTS, since=SINCE, until=UNTIL, page="Mg==&x=1")

    assert call is not None
    assert call.url.endswith("&limit=100&cursor=Mg%3D%3D%26x%3D1")


def test_without_an_endpoint_there_is_nothing_to_ask() -> None:
    assert ADAPTER.list_call(endpoints=[], since=SINCE, until=UNTIL, page=None) is None


def test_what_a_list_shows_of_a_request() -> None:
    one = only(ITEM)

    assert one.created_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (one.endpoint, one.version) == ("fal-ai/flux/schnell", None)
    assert one.input == {"prompt": "x"}
    assert one.ended
    assert (one.prediction.id, one.prediction.state) == (recorded.FAL_ID, State.SUCCEEDED)
    assert one.prediction.reported == {"total_s": Decimal("7.8")}
    assert one.prediction.outputs == ()


def test_a_found_request_is_asked_about_where_the_official_client_asks() -> None:
    """Its own URLs were in the reply that was lost."""
    found = only(ITEM).to_follow()
    root = f"https://queue.fal.run/fal-ai/flux/requests/{recorded.FAL_ID}"

    calls = [ADAPTER.status_call(found), ADAPTER.result_call(found), ADAPTER.cancel_call(found)]
    assert [(call.method, call.url) for call in calls if call] == [
        ("GET", f"{root}/status"),
        ("GET", root),
        ("PUT", f"{root}/cancel"),
    ]


@pytest.mark.parametrize(
    ("endpoint", "app"),
    [
        ("fal-ai/flux", "fal-ai/flux"),
        ("fal-ai/flux/a/b", "fal-ai/flux"),
        ("workflows/me/film/v2", "workflows/me/film"),
        ("comfy/me/film", "comfy/me/film"),
    ],
)
def test_an_app_may_have_a_namespace_and_a_path(endpoint: str, app: str) -> None:
    one = only({**ITEM, "endpoint_id": endpoint})

    assert one.prediction.urls["result"] == f"https://queue.fal.run/{app}/requests/{recorded.FAL_ID}"


@pytest.mark.parametrize(
    ("change", "state", "ended"),
    [
        ({}, State.SUCCEEDED, True),
        ({"status_code": 422}, State.FAILED, True),
        ({"status_code": 499}, State.FAILED, True),
        ({"status_code": None}, State.UNKNOWN, True),
        ({"status_code": "200"}, State.UNKNOWN, True),
        ({"ended_at": None}, State.SUCCEEDED, True),
        ({"ended_at": None, "status_code": None, "duration": None}, State.RUNNING, False),
    ],
)
def test_how_a_request_stands(change: Mapping[str, Any], state: State, ended: bool) -> None:  # noqa: FBT001
    one = only({**ITEM, **change})

    assert (one.prediction.state, one.ended) == (state, ended)


@pytest.mark.parametrize("given", [None, {}, "text", [1]])
def test_a_payload_that_is_not_there_is_not_shown(given: Any) -> None:
    assert only({**ITEM, "json_input": given}).input is None


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": None},
        {"request_id": "../x"},
        {"request_id": "x" * 101},
        {"endpoint_id": None},
        {"endpoint_id": "flux"},
        {"endpoint_id": "../../etc"},
        {"endpoint_id": "workflows/me"},
        {"endpoint_id": "fal-ai/flux?x=1"},
    ],
)
def test_an_item_that_cannot_be_read_is_told(change: Mapping[str, Any]) -> None:
    page = page_with({**ITEM, **change}, {**ITEM, "request_id": "other"})

    assert [one.prediction.id for one in page.items] == ["other"]
    assert len(page.unreadable) == 1


@pytest.mark.parametrize("change", [{"sent_at": None}, {"sent_at": "today"}, {"duration": "long"}, {"started_at": 7}])
def test_what_nobody_needs_to_find_it_may_be_odd(change: Mapping[str, Any]) -> None:
    assert only({**ITEM, **change}).prediction.id == recorded.FAL_ID


@pytest.mark.parametrize(
    ("told", "next_page", "is_told"),
    [
        ({"next_cursor": "Mg==", "has_more": True}, "Mg==", True),
        ({"next_cursor": "Mg==", "has_more": None}, "Mg==", True),
        ({"next_cursor": "Mg==", "has_more": False}, None, True),
        ({"next_cursor": None, "has_more": False}, None, True),
        ({"next_cursor": None, "has_more": None}, None, True),
        ({"next_cursor": "", "has_more": 0}, None, True),
        ({"next_cursor": None, "has_more": True}, None, False),
        ({"next_cursor": 7, "has_more": True}, None, False),
        ({"next_cursor": [], "has_more": None}, None, False),
        ({"next_cursor": "a\nb", "has_more": True}, None, False),
        ({"next_cursor": "é", "has_more": True}, None, False),
        ({"next_cursor": "a" * 1001, "has_more": True}, None, False),
    ],
)
def test_the_next_page_is_the_cursors_or_told_to_be_missing(
    told: Mapping[str, Any],
    next_page: str | None,
    is_told: bool,  # noqa: FBT001
) -> None:
    page = page_with(ITEM, **told)

    assert len(page.items) == 1
    assert page.next_page == next_page
    assert (page.unreadable == ()) is is_told


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"items": {}}', b'{"items": null}', b"<html></html>"])
def test_what_is_no_page_is_an_error_that_may_be_asked_again(body: bytes) -> None:
    with pytest.raises(UnexpectedResponseError, match="nothing was bought by asking") as caught:
        ADAPTER.parse_list(HttpReply(status=200, headers={}, body=body))

    assert (caught.value.billed, caught.value.rerun) == (Billed.NO, Rerun.RESUME)


@pytest.mark.parametrize("asked", [Asked.LIST, Asked.BILL])
@pytest.mark.parametrize(
    ("status", "kind", "word", "rerun"),
    [
        (401, KeyRejectedError, "authorization_error", Rerun.NEVER),
        (403, KeyRejectedError, "authorization_error", Rerun.NEVER),
        (429, RateLimitedError, "rate_limited", Rerun.RESUME),
        (500, ProviderUnavailableError, "server_error", Rerun.RESUME),
        (400, UnexpectedResponseError, "validation_error", Rerun.RESUME),
        (404, UnexpectedResponseError, "not_found", Rerun.RESUME),
    ],
)
def test_a_refused_question_is_free_and_says_why(
    asked: Asked, status: int, kind: type[PurchaseError], word: str, rerun: Rerun
) -> None:
    error = ADAPTER.parse_error(reply_of({"error": {"type": word, "message": "No such thing."}}, status), asked)

    assert type(error) is kind
    assert (error.billed, error.rerun) == (Billed.NO, rerun)
    assert f"{word}: No such thing." in error.message


def test_a_locked_account_says_so() -> None:
    error = ADAPTER.parse_error(reply_of(recorded.LOCKED, 403), Asked.LIST)

    assert type(error) is InsufficientCreditError


# Is it ours?


def request_for(**params: Scalar) -> Any:
    return request_to("fal", "fal-ai/flux/schnell", version="2025-12", params=params, step=Step.IMAGE)


def test_a_request_is_known_by_its_endpoint_and_its_payload() -> None:
    """No version is shown: the catalog's is the day of its types."""
    assert ADAPTER.is_surely_of(request_for(prompt="x"), only(ITEM))
    assert not ADAPTER.is_of(request_for(prompt="y"), only(ITEM))
    assert not ADAPTER.is_of(request_for(prompt="x", seed=1), only(ITEM))
    assert not ADAPTER.is_of(request_for(prompt="x"), only({**ITEM, "endpoint_id": "fal-ai/flux/dev"}))


# Bills


def test_charges_are_asked_for_by_time() -> None:
    call = ADAPTER.bill_call(since=SINCE, until=UNTIL, page="Mg==", endpoints=ENDPOINTS)

    assert call is not None
    assert (call.method, call.with_key) == ("GET", True)
    assert call.url == (
        f"{API}/models/billing-events?{NAMED}&start=2026-01-01T00%3A00%3A00Z&end=2026-01-01T00%3A10%3A01Z"
        "&limit=1000&cursor=Mg%3D%3D"
    )


def test_what_a_charge_says() -> None:
    assert charge(CHARGE) == BillLine(
        prediction_id=recorded.FAL_ID,
        endpoint="fal-ai/flux/dev",
        at=datetime(2025, 1, 15, 10, 30, 45, tzinfo=UTC),
        usd=Decimal("0.045"),
        units=Decimal(2),
        unit="billing unit of the endpoint",
    )


@pytest.mark.parametrize(
    ("change", "usd"),
    [
        ({"cost_estimate_nano_usd": 45000000.0}, "0.045"),
        ({"cost_estimate_nano_usd": 1}, "0.000000001"),
        ({"cost_estimate_nano_usd": 0, "cost_total": 0}, "0"),
        ({"cost_estimate_nano_usd": None}, "0.045"),
        ({"cost_estimate_nano_usd": -5}, "0.045"),
    ],
)
def test_the_money_is_exact(change: Mapping[str, Any], usd: str) -> None:
    assert charge({**CHARGE, **change}).usd == Decimal(usd)


def test_units_may_be_missing_and_money_may_not() -> None:
    assert charge({**CHARGE, "output_units": None}).units is None
    lost = {**CHARGE, "cost_estimate_nano_usd": None, "cost_total": "much"}
    page = ADAPTER.parse_bill(reply_of({"billing_events": [lost, {**CHARGE, "request_id": ""}, CHARGE]}))

    assert len(page.items) == 1
    assert page.unreadable == (
        f"{recorded.FAL_ID}: its cost is no amount",
        "an entry without a readable id: its request_id is no usable text",
    )


@pytest.mark.parametrize("body", [b"{}", b"7", b'{"billing_events": 1}'])
def test_what_is_no_bill_is_an_error(body: bytes) -> None:
    with pytest.raises(UnexpectedResponseError, match="a question for its bill"):
        ADAPTER.parse_bill(HttpReply(status=200, headers={}, body=body))
