"""One purchase, one submission: whatever becomes of its reply, what spends is sent once, and the ledger says the rest.

The same faults make the providers' own packages submit up to ten times: see ``docs/submissions.md``.
"""

import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from media_assets.catalog import load_catalog
from media_assets.errors import (
    InsufficientCreditError,
    RateLimitedError,
    RequestRejectedError,
    UnknownOutcomeError,
)
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.providers.buying import Bought, buy
from media_assets_tests.simulated import Market, hurried, open_market

MODELS = (
    "replicate:sdxl",
    "replicate:flux-schnell",
    "fal:flux-schnell",
    "openai:gpt-image-2",
    "openai:gpt-4o-mini-tts",
    "elevenlabs:flash-v2.5",
)
"""Every adapter, every way to submit."""

_TAKES = itertools.count()


class Fault(NamedTuple):
    """What befalls a submission."""

    name: str
    accepted: int
    """How many submissions the provider accepts all the same."""
    status: int | None
    """What it answers."""


AMBIGUOUS = [
    Fault("exec_and_drop", 1, None),
    Fault("reset_before_headers", 1, None),
    Fault("exec_and_truncate", 1, None),
    Fault("exec_and_500", 1, 500),
    Fault("noexec_500", 0, 500),
    Fault("exec_and_503_nginx", 1, 503),
    Fault("noexec_503", 0, 503),
    Fault("refuse_connect", 0, None),
]
"""Nobody can tell from here whether the work was done. ``refuse_connect`` ends the connection after the request."""


_AGAIN = {
    ("replicate", 1): (0, PurchaseState.SUCCEEDED),
    ("replicate", 0): (1, PurchaseState.SUCCEEDED),
    ("fal", 1): (0, PurchaseState.SUCCEEDED),
    ("fal", 0): (0, PurchaseState.UNKNOWN),
    ("elevenlabs", 1): (0, PurchaseState.SUCCEEDED),
    ("elevenlabs", 0): (0, PurchaseState.UNKNOWN),
    ("openai", 1): (0, PurchaseState.UNKNOWN),
    ("openai", 0): (0, PurchaseState.UNKNOWN),
}
"""What a later run makes of it, by provider and whether it was accepted: how often it is sent again, and the state.

What was accepted is found in the provider's list and never sent again. That it was not is proved at once by
Replicate's list, which shows what waits; by the others' only when nothing can be running any more.
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as market:
        yield market


def bought(
    market: Market,
    model: str,
    fault: str,
    *,
    deadline_s: float = 30.0,
    rule: Mapping[str, Any] = MappingProxyType({}),
    **more: Any,
) -> Bought:
    market.simulator.world.faults.replace([{"call": "submit", "fault": fault, **rule}])
    return buy(market, hurried(model, post_deadline_s=deadline_s), take=next(_TAKES), **more)


def assert_unknown(one: Bought, market: Market, fault: Fault) -> None:
    """Sent once, undecided, and held: its budget too, and also when it is asked for again."""
    assert (one.posts, one.accepted) == (1, fault.accepted)
    assert isinstance(one.error, UnknownOutcomeError)
    assert one.row.state is PurchaseState.UNKNOWN
    assert one.row.error is not None
    assert (one.row.error["class"], one.row.error["rerun"], one.row.error["billed"]) == (
        "UnknownOutcomeError",
        "ask",
        "unknown",
    )
    assert one.outcomes == ["ambiguous"]
    assert one.attempts[0]["http_status"] == fault.status
    assert reserved_micro_usd(market.home) >= one.row.estimate_micro_usd > 0
    market.set_faults()
    again = buy(market, load_catalog().get(one.row.model), take=one.row.take, settle_lag_s=0.0)
    assert (again.posts, again.row.state) == _AGAIN[one.row.provider, fault.accepted]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("fault", AMBIGUOUS, ids=lambda fault: fault.name)
def test_a_lost_or_failed_reply_is_one_submission_and_unknown(market: Market, model: str, fault: Fault) -> None:
    assert_unknown(bought(market, model, fault.name), market, fault)


@pytest.mark.parametrize("model", MODELS)
def test_a_late_reply_is_one_submission_and_unknown(market: Market, model: str) -> None:
    one = bought(market, model, "reply_late", rule={"seconds": 60}, deadline_s=0.4)

    assert_unknown(one, market, Fault("reply_late", 1, None))


@pytest.mark.parametrize("model", MODELS)
def test_a_bad_request_is_one_submission_and_free(market: Market, model: str) -> None:
    one = bought(market, model, "400")

    assert (one.posts, one.accepted) == (1, 0)
    assert isinstance(one.error, RequestRejectedError)
    assert one.row.state is PurchaseState.FAILED_FREE
    assert one.row.error is not None
    assert (one.row.error["class"], one.row.error["billed"]) == ("RequestRejectedError", "no")
    assert (one.row.cost_micro_usd or 0, one.outcomes, one.attempts[0]["http_status"]) == (0, ["failed"], 400)
    assert one.row.error["rerun"] == "never"


@pytest.mark.parametrize("model", MODELS)
def test_an_empty_account_is_one_submission_and_free(market: Market, model: str) -> None:
    """OpenAI says it with 429, as it says that it is busy: asking again would be in vain."""
    one = bought(market, model, "insufficient_credit")

    assert (one.posts, one.accepted) == (1, 0)
    assert isinstance(one.error, InsufficientCreditError)
    assert (one.row.state, one.outcomes) == (PurchaseState.FAILED_FREE, ["failed"])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("fault", "seconds", "times"), [("429_header", 0.3, 2), ("429_date", 0, 1), ("429_body", 0.1, 1)]
)
def test_a_refusal_for_now_is_submitted_again_and_accepted_once(
    market: Market, model: str, fault: str, seconds: float, times: int
) -> None:
    one = bought(market, model, fault, rule={"seconds": seconds, "times": times})

    assert (one.accepted, one.posts) == (1, times + 1)
    assert one.error is None
    assert one.row.state is PurchaseState.SUCCEEDED
    assert one.outcomes == ["refused"] * times + ["accepted"]
    assert [attempt["http_status"] for attempt in one.attempts[:-1]] == [429] * times
    if fault == "429_header":
        waits_s = [_seconds(one, number) for number in range(times)]
        assert min(waits_s) >= seconds, "sent again before the time it was told"


def _seconds(one: Bought, number: int) -> float:
    """Return how long after one attempt was refused the next was begun."""
    refused, begun = (one.attempts[at][name] for at, name in ((number, "replied_at"), (number + 1, "intent_at")))
    return (datetime.fromisoformat(begun) - datetime.fromisoformat(refused)).total_seconds()


@pytest.mark.parametrize("model", MODELS)
def test_refused_for_ever_is_free_and_accepted_never(market: Market, model: str) -> None:
    one = bought(market, model, "429_header", rule={"seconds": 0}, refusals_deadline_s=0.2)

    assert (one.accepted, one.posts) == (0, len(one.attempts))
    assert one.posts > 1
    assert isinstance(one.error, RateLimitedError)
    assert one.row.state is PurchaseState.FAILED_FREE
    assert one.outcomes == ["refused"] * (one.posts - 1) + ["failed"]
