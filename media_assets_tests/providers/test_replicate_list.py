"""Replicate's list: what is asked, how it is paged, and what is read of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from media_assets.errors import (
    Billed,
    KeyRejectedError,
    PurchaseError,
    RateLimitedError,
    Rerun,
    UnexpectedResponseError,
)
from media_assets.prediction import State
from media_assets.prompt import Step
from media_assets.providers.base import Asked, HttpReply
from media_assets.providers.listing import Listed, ListedPage
from media_assets.providers.replicate import OFFICIAL, ReplicateAdapter
from media_assets_tests.providers import polled_replies as recorded
from media_assets_tests.providers.sync_replies import reply_of, request_to

ADAPTER = ReplicateAdapter()
BASE = recorded.REPLICATE
SINCE = datetime(2026, 1, 1, 0, 0, 0, 900_000, tzinfo=UTC)
UNTIL = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
RANGE = "created_after=2026-01-01T00%3A00%3A00Z&created_before=2026-01-01T00%3A10%3A01Z"
FIRST = f"{BASE}/predictions?{RANGE}"


def asked_at(page: str | None = None, adapter: ReplicateAdapter = ADAPTER) -> str:
    call = adapter.list_call(endpoints=["any/model"], since=SINCE, until=UNTIL, page=page)
    assert call is not None
    assert (call.method, call.with_key, call.json_body, call.content) == ("GET", True, None, None)
    return call.url


def page_with(*results: Any, next_url: Any = None) -> ListedPage:
    return ADAPTER.parse_list(reply_of({"previous": None, "next": next_url, "results": list(results)}))


def only(entry: Mapping[str, Any]) -> Listed:
    page = page_with(entry)
    assert page.unreadable == ()
    (one,) = page.items
    return one


def test_a_list_is_asked_for_a_little_wider_than_the_time_in_question() -> None:
    assert asked_at() == FIRST


@pytest.mark.parametrize(
    "url",
    [
        f"{BASE}/predictions?cursor=cD0yMDI2%2B&{RANGE}",
        "https://evil.example/v1/predictions?cursor=cD0yMDI2%2B&" + RANGE,
        "https://evil.example:8443/predictions?cursor=cD0yMDI2%2B",
    ],
)
def test_the_next_page_is_asked_where_the_first_was_wherever_it_is_said_to_be(url: str) -> None:
    """The key goes along: of a page's word about the next one, only the query is used."""
    page = page_with(next_url=url)

    asked = asked_at(page.next_page)
    assert asked.startswith(f"{BASE}/predictions?cursor=cD0yMDI2%2B&")
    assert sorted(asked.partition("&")[2].split("&")) == RANGE.split("&")
    assert page.unreadable == ()


def test_a_gateway_pages_through_itself() -> None:
    gateway = ReplicateAdapter("https://gateway.example/replicate/v1/")
    page = page_with(next_url=f"{BASE}/predictions?cursor=abc")

    assert asked_at(page.next_page, gateway).startswith("https://gateway.example/replicate/v1/predictions?cursor=abc&")


@pytest.mark.parametrize(
    "next_url",
    [
        7,
        [],
        "x",
        f"{BASE}/predictions",
        f"{BASE}/account?cursor=a",
        "https://[bad/predictions?cursor=a",
        f"{BASE}/predictions?cursor={'a' * 5000}",
        f"{BASE}/predictions?cursor=\ud800",
    ],
)
def test_a_next_page_that_nobody_can_ask_for_is_told(next_url: Any) -> None:
    """What is on the page counts; that there is more, and nobody knows what, must not be forgotten."""
    page = page_with(recorded.SUCCEEDED, next_url=next_url)

    assert [one.prediction.id for one in page.items] == [recorded.ID]
    assert (page.next_page, page.unreadable) == (None, ("its next page is no address of a list",))


@pytest.mark.parametrize("next_url", [None, ""])
def test_the_last_page_has_no_next(next_url: Any) -> None:
    assert page_with(next_url=next_url) == ListedPage(items=())


def test_what_a_list_shows_of_a_prediction() -> None:
    one = only({**recorded.SUCCEEDED, "source": "api"})

    assert one.created_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert (one.endpoint, one.version, one.source) == ("stability-ai/sdxl", recorded.VERSION, "api")
    assert one.input == {"prompt": "x"}
    assert one.ended
    assert (one.prediction.id, one.prediction.state, one.prediction.remote_state) == (
        recorded.ID,
        State.SUCCEEDED,
        "succeeded",
    )
    assert one.prediction.outputs == ()
    assert one.prediction.reported == {"compute_s": Decimal("5.524512"), "total_s": Decimal("5.6")}
    status = ADAPTER.status_call(one.to_follow())
    assert status.url == f"{BASE}/predictions/{recorded.ID}"


@pytest.mark.parametrize(
    ("entry", "state", "ended"),
    [
        (recorded.SPARSE, State.QUEUED, False),
        (recorded.STARTING, State.QUEUED, False),
        (recorded.PROCESSING, State.RUNNING, False),
        (recorded.FAILED, State.FAILED, True),
        (recorded.CANCELED, State.CANCELED, True),
        (recorded.ABORTED, State.CANCELED, True),
        (recorded.SUCCEEDED | {"status": "hibernating"}, State.UNKNOWN, False),
        (recorded.SUCCEEDED | {"output": 7}, State.SUCCEEDED, True),
    ],
)
def test_every_state_is_listed(entry: Mapping[str, Any], state: State, ended: bool) -> None:  # noqa: FBT001
    one = only(entry)

    assert (one.prediction.state, one.ended) == (state, ended)
    assert one.prediction.failure is None


def test_what_was_wiped_is_not_shown_in_place_of_empty() -> None:
    """An hour after its end a prediction could be anybody's; ours would be told to have never arrived."""
    one = only(recorded.REMOVED)

    assert (one.input, one.ended) == (None, True)


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": "a b"},
        {"id": 7},
        {"id": "x" * 101},
        {"status": None},
        {"status": ["succeeded"]},
        {"status": ""},
        {"model": None},
        {"model": 7},
    ],
)
def test_an_entry_that_cannot_be_read_is_told(change: Mapping[str, Any]) -> None:
    page = page_with({**recorded.SUCCEEDED, **change}, recorded.PROCESSING | {"id": "other"})

    assert [one.prediction.id for one in page.items] == ["other"]
    assert len(page.unreadable) == 1


@pytest.mark.parametrize("change", [{"created_at": 5}, {"created_at": None}, {"metrics": []}, {"version": 3}])
def test_what_nobody_needs_to_find_it_may_be_odd(change: Mapping[str, Any]) -> None:
    assert only({**recorded.SUCCEEDED, **change}).prediction.id == recorded.ID


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{}", b'{"results": 7}', b'{"results": {}}', b"<html></html>"])
def test_what_is_no_page_is_an_error_that_may_be_asked_again(body: bytes) -> None:
    with pytest.raises(UnexpectedResponseError, match="nothing was bought by asking") as caught:
        ADAPTER.parse_list(HttpReply(status=200, headers={}, body=body))

    assert (caught.value.billed, caught.value.rerun) == (Billed.NO, Rerun.RESUME)


@pytest.mark.parametrize(
    ("status", "body", "kind", "rerun"),
    [
        (401, recorded.NO_KEY, KeyRejectedError, Rerun.NEVER),
        (429, recorded.THROTTLED_WITH_WAIT, RateLimitedError, Rerun.RESUME),
        (404, recorded.NOT_FOUND, UnexpectedResponseError, Rerun.RESUME),
    ],
)
def test_a_refused_list_is_free(status: int, body: Any, kind: type[PurchaseError], rerun: Rerun) -> None:
    error = ADAPTER.parse_error(reply_of(body, status), Asked.LIST)

    assert type(error) is kind
    assert (error.billed, error.rerun, error.prediction_id) == (Billed.NO, rerun, None)
    assert "a question for its list" in error.message


@pytest.mark.parametrize(
    ("version", "shown", "is_it"),
    [
        (recorded.VERSION, recorded.VERSION, True),
        (recorded.VERSION, "f" * 64, False),
        (recorded.VERSION, "hidden", True),
        (recorded.VERSION, None, True),
        (OFFICIAL, "hidden", True),
        (OFFICIAL, "dp-4f1e2d", True),
        (OFFICIAL, recorded.VERSION, True),
    ],
)
def test_only_two_whole_versions_contradict_each_other(version: str, shown: str | None, is_it: bool) -> None:  # noqa: FBT001
    request = request_to("replicate", "stability-ai/sdxl", version=version, params={"prompt": "x"}, step=Step.IMAGE)

    assert ADAPTER.is_of(request, only({**recorded.SUCCEEDED, "version": shown})) is is_it


def test_what_was_made_on_the_website_is_none_of_ours() -> None:
    request = request_to(
        "replicate", "stability-ai/sdxl", version=recorded.VERSION, params={"prompt": "x"}, step=Step.IMAGE
    )

    assert ADAPTER.is_surely_of(request, only({**recorded.SUCCEEDED, "source": "api"}))
    assert not ADAPTER.is_of(request, only({**recorded.SUCCEEDED, "source": "web"}))
    assert not ADAPTER.is_of(request, only({**recorded.SUCCEEDED, "model": "stability-ai/other"}))
