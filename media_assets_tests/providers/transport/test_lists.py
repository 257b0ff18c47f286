"""Lists read to their end: what is missing from one that is complete was not there, and every gap is told."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from media_assets.errors import KeyRejectedError, UnexpectedResponseError
from media_assets.providers.base import Adapter, Asked, HttpCall, HttpReply
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.providers.fal import FalAdapter
from media_assets.providers.listing import Bill, Listing
from media_assets.providers.local import LocalAdapter
from media_assets.providers.openai import OpenAIAdapter
from media_assets.providers.replicate import ReplicateAdapter
from media_assets.providers.transport.lists import MOST_PAGES, read_bill, read_list
from media_assets_tests.providers import polled_replies as recorded
from media_assets_tests.providers.sync_replies import reply_of

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


class Answers:
    """What comes over the wire, in order; the last answer is given again and again."""

    def __init__(self, *replies: HttpReply) -> None:
        self._replies = replies
        self.calls: list[HttpCall] = []
        self.asked: set[Asked] = set()

    async def __call__(self, call: HttpCall, asked: Asked) -> HttpReply:
        self.calls.append(call)
        self.asked.add(asked)
        return self._replies[min(len(self.calls), len(self._replies)) - 1]


def listing(answers: Answers, adapter: Adapter | None = None, endpoints: Iterable[str] = ("a/b",)) -> Listing:
    return asyncio.run(
        read_list(adapter or ReplicateAdapter(), answers, endpoints=list(endpoints), since=SINCE, until=UNTIL)
    )


def page(*ids: Any, next_url: Any = None) -> HttpReply:
    results = [recorded.SUCCEEDED | {"id": one} for one in ids]
    return reply_of({"previous": None, "next": next_url, "results": results})


def url(cursor: str) -> str:
    return f"{recorded.REPLICATE}/predictions?cursor={cursor}"


def ids(found: Listing) -> list[str]:
    return [one.prediction.id for one in found.items]


def test_every_page_is_read_once_and_each_thing_kept_once() -> None:
    """A page shifts when something new is listed before it."""
    answers = Answers(page("a", "b", next_url=url("2")), page("b", "c", next_url=url("3")), page("d"))

    found = listing(answers)

    assert (ids(found), found.complete, found.unreadable) == (["a", "b", "c", "d"], True, ())
    assert len(answers.calls) == 3
    assert answers.asked == {Asked.LIST}


def test_an_empty_list_is_complete() -> None:
    assert listing(Answers(page())) == Listing(items=(), complete=True)


def test_an_entry_that_cannot_be_read_is_no_complete_list() -> None:
    """It may be the very one that is looked for."""
    found = listing(Answers(page("a", 7, "b")))

    assert (ids(found), found.complete) == (["a", "b"], False)
    assert found.unreadable == ("an entry without a readable id: its id is no usable text",)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"results": 7}'])
def test_a_page_that_cannot_be_read_ends_the_list_and_says_so(body: bytes) -> None:
    answers = Answers(page("a", next_url=url("2")), HttpReply(status=200, headers={}, body=body))

    found = listing(answers)

    assert (ids(found), found.complete, len(found.unreadable)) == (["a"], False, 1)


def test_a_next_page_nobody_can_ask_for_is_no_complete_list() -> None:
    found = listing(Answers(page("a", next_url="nowhere")))

    assert (ids(found), found.complete) == (["a"], False)


def test_a_list_without_an_end_has_a_bound() -> None:
    endless = Answers(*(page(f"p{number}", next_url=url(str(number + 2))) for number in range(MOST_PAGES + 10)))

    found = listing(endless)

    assert (len(found.items), found.complete) == (MOST_PAGES, False)
    assert found.unreadable == (f"replicate's list goes on after {MOST_PAGES} pages; ask for a shorter time",)


def test_a_list_that_turns_in_a_circle_is_left() -> None:
    answers = Answers(page("a", next_url=url("2")))

    found = listing(answers)

    assert (ids(found), found.complete) == (["a"], False)
    assert len(answers.calls) == 2


def test_a_page_that_is_refused_is_an_error() -> None:
    with pytest.raises(KeyRejectedError) as caught:
        listing(Answers(page("a", next_url=url("2")), reply_of(recorded.NO_KEY, 401)))

    assert caught.value.http_status == 401


@pytest.mark.parametrize("adapter", [OpenAIAdapter(), LocalAdapter(), FalAdapter()], ids=lambda one: one.name)
def test_where_there_is_no_list_nothing_is_proven(adapter: Adapter) -> None:
    """Of fal: without an endpoint."""
    answers = Answers(page())

    found = listing(answers, adapter, ())

    assert (found.items, found.complete, answers.calls) == ((), False, [])
    assert found.unreadable == (f"{adapter.name} cannot be asked for this: it keeps no such list",)


def test_no_more_endpoints_are_named_at_once_than_the_provider_takes() -> None:
    answers = Answers(reply_of({"items": [], "next_cursor": None, "has_more": False}))

    found = listing(answers, FalAdapter(), [f"fal-ai/app{number}" for number in range(101)])

    assert found.complete
    assert [call.url.count("endpoint_id=") for call in answers.calls] == [50, 50, 1]


@pytest.mark.parametrize(("since", "until"), [(SINCE.replace(tzinfo=None), UNTIL), (SINCE, UNTIL.replace(tzinfo=None))])
def test_times_without_a_zone_are_a_fault_of_the_caller(since: datetime, until: datetime) -> None:
    """An hour off, and what is there is not found."""
    with pytest.raises(ValueError, match="zone"):
        asyncio.run(read_list(ReplicateAdapter(), Answers(page()), endpoints=[], since=since, until=until))


def bill(answers: Answers, adapter: Adapter) -> Bill:
    return asyncio.run(read_bill(adapter, answers, since=SINCE, until=UNTIL))


def test_equal_charges_are_one_and_different_ones_are_all_kept() -> None:
    """A page shifts here too; but one request may well be charged twice."""
    other = recorded.FAL_CHARGE | {"cost_estimate_nano_usd": 5}
    first = reply_of({"billing_events": [recorded.FAL_CHARGE], "next_cursor": "Mg==", "has_more": True})
    second = reply_of({"billing_events": [recorded.FAL_CHARGE, other], "next_cursor": None, "has_more": False})

    found = bill(answers := Answers(first, second), FalAdapter())

    assert [line.usd for line in found.items if line.usd is not None] == [line.usd for line in found.items]
    assert (len(found.items), found.complete, answers.asked) == (2, True, {Asked.BILL})


@pytest.mark.parametrize("adapter", [ReplicateAdapter(), OpenAIAdapter()], ids=lambda one: one.name)
def test_where_there_is_no_bill_it_is_not_empty_but_missing(adapter: Adapter) -> None:
    found = bill(Answers(page()), adapter)

    assert (found.items, found.complete) == ((), False)


def test_what_nobody_asked_for_is_not_read() -> None:
    with pytest.raises(UnexpectedResponseError, match="openai keeps no list"):
        OpenAIAdapter().parse_list(reply_of({}))
    with pytest.raises(UnexpectedResponseError, match="replicate does not tell what it charges"):
        ReplicateAdapter().parse_bill(reply_of({}))


def test_only_replicate_lists_what_runs_and_openai_lists_nothing() -> None:
    """Facts and assumptions that the wait before a verdict is made of; each has its source beside it."""
    adapters = [ReplicateAdapter(), FalAdapter(), ElevenLabsAdapter(), OpenAIAdapter(), LocalAdapter()]

    facts = {one.name: (one.lists_running, one.list_lag_s, one.list_window_s) for one in adapters}
    assert facts == {
        "replicate": (True, 120, 3300),
        "fal": (False, 900, 2_592_000),
        "elevenlabs": (False, 900, None),
        "openai": (False, None, None),
        "local": (False, None, None),
    }
