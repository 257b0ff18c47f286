"""A batch in bad weather: every prompt ends in a film, a reason or a deferral, and the sums are the provider's bill."""

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from media_assets.batch import Summary, make_batch, quoted
from media_assets.errors import ContentRejectedError
from media_assets.film import Film
from media_assets.ledger.pins import readable
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Prompt, Step
from media_assets.studio import MakeOptions, Studio
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.making import reserved_micro_usd
from media_assets_tests.simulated import Market, open_market, paid_prompt

_COUNT = 500 if LONG else 16
_EVERY = 500
_SEED = 7

_WEATHER = (
    {"call": "submit", "fault": "exec_and_drop", "probability": 0.015},
    {"call": "submit", "fault": "noexec_500", "probability": 0.015, "provider": "replicate"},
    {"call": "submit", "fault": "2xx_garbage", "probability": 0.01},
    {"call": "submit", "fault": "429_header", "probability": 0.02, "seconds": 0.05},
    {"call": "submit", "fault": "run_failed", "probability": 0.02, "provider": "replicate"},
    {"call": "submit", "fault": "content_rejected", "probability": 0.02},
    {"call": "poll", "fault": "poll_5xx", "probability": 0.02},
    {"call": "download", "fault": "truncate", "probability": 0.02},
)
"""What goes wrong with one call in ten. Of the providers it is Replicate alone whose list proves within moments that a
submission never arrived; the others show what has ended, and are waited for as long as that may take."""


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home", seed=_SEED, faults=_WEATHER) as market:
        yield market


def _prompts(count: int) -> list[Prompt]:
    # Each with words of its own: what a provider's list shows must tell them apart. At prices that are known before.
    routes = {
        "image": ["replicate:flux-schnell"],
        "video": ["fal:stable-video"],
        "audio": ["elevenlabs:flash-v2.5"],
    }
    return [
        paid_prompt(
            key=f"p{number}", prompt=f"barn number {number}", script=f"This is barn number {number}.", routes=routes
        )
        for number in range(count)
    ]


def _make(studio: Studio, prompts: list[Prompt], *, pinned: bool = False) -> tuple[Summary, list[Film]]:
    films: list[Film] = []

    async def batch() -> Summary:
        summary = Summary(quote=await quoted(studio, prompts))
        options = MakeOptions(pinned=pinned)
        await make_batch(
            studio, prompts, summary=summary, options=options, on_event=lambda _event: None, on_film=films.append
        )
        return summary

    return asyncio.run(batch()), films


def _spent_usd(studio: Studio) -> Decimal:
    return sum((Decimal(row.cost_micro_usd or 0) for row in studio.ledger.purchases.search()), Decimal(0)) / 1_000_000


@pytest.mark.long
def test_every_prompt_has_a_film_a_reason_or_is_deferred(
    market: Market, record_property: Callable[[str, object], None]
) -> None:
    """And the ledger has the bill; a rerun makes the rest, and pays for the rest alone."""
    prompts = _prompts(_COUNT)
    with market.studio(max_in_flight=16) as studio:
        worst_usd = asyncio.run(quoted(studio, prompts)).estimate_usd
    with market.studio(max_in_flight=16, max_run_usd=str(worst_usd * Decimal("0.7"))) as studio:
        first, films = _make(studio, prompts)
        assert not [row for row in studio.ledger.purchases.search() if row.state is PurchaseState.UNKNOWN]
        spent, bill, posts = _spent_usd(studio), market.bill_usd(), market.posts()
    told = ", ".join(f"{count} {name}" for name, count in first.counts.items())
    record_property(SAMPLE, f"{_COUNT} of {_EVERY} prompts: {told}; {spent} USD")

    counts = first.counts
    assert sum(counts[name] for name in ("done", "cached", "failed", "deferred")) == len(films) == _COUNT
    assert {film.key for film in films if film.path is None} == {*first.failed, *first.deferred}
    assert all(error.message for error in first.failed.values())
    assert first.deferred, "the cap was meant to stop some"
    assert first.spent_usd == spent == bill <= first.quote.estimate_usd * Decimal("0.7")
    assert reserved_micro_usd(market.home) == 0

    market.set_faults()
    with market.studio(max_in_flight=16) as studio:
        waiting = [one.prompt for one in readable(studio.ledger.prompts.waiting())]
        assert set(first.deferred) <= {prompt.key for prompt in waiting} <= {*first.deferred, *first.failed}
        second, _ = _make(studio, waiting, pinned=True)
        assert second.failed == second.deferred == {}
        assert second.spent_usd == market.bill_usd() - bill
        assert _spent_usd(studio) == market.bill_usd()
        assert market.posts() - posts <= 3 * len(waiting)
        posts = market.posts()
        again, _ = _make(studio, prompts)
    assert market.posts() == posts
    assert again.spent_usd == 0
    assert again.counts["cached"] == _COUNT - len(again.failed)
    assert set(again.failed) <= set(first.failed)


def test_what_a_batch_may_cost_is_known_before_anything_is_sent(market: Market) -> None:
    """The worst case of what is missing; a prompt that cannot be planned costs nothing."""
    prompts = [*_prompts(2), paid_prompt(key="odd", routes={"image": ["no:such"]})]
    with market.studio() as studio:
        each = asyncio.run(studio.plan(prompts[0])).estimate_usd
        quote = asyncio.run(quoted(studio, prompts))

        picture = asyncio.run(quoted(studio, prompts, wanted={Step.IMAGE})).estimate_usd
        clip = asyncio.run(quoted(studio, prompts, wanted={Step.VIDEO})).estimate_usd

    assert (quote.prompts, quote.estimate_usd) == (3, 2 * each)
    assert (picture, clip) == (2 * Decimal("0.003"), 2 * (Decimal("0.003") + Decimal("0.075")))
    assert market.requests() == 0


def test_a_refusal_of_one_is_no_word_on_the_others(market: Market) -> None:
    market.set_faults({"call": "submit", "fault": "content_rejected", "provider": "replicate", "times": 1})
    with market.studio(max_in_flight=1) as studio:
        summary, _ = _make(studio, _prompts(2))

    (error,) = summary.failed.values()
    assert isinstance(error, ContentRejectedError)
    assert summary.counts["done"] == 1


def test_an_outage_is_not_sent_a_whole_batch(market: Market) -> None:
    """After five in a row that had no answer the others are told so, free; the next run makes them all, once."""
    market.set_faults({"call": "submit", "fault": "exec_and_503_nginx", "provider": "replicate"})
    prompts = _prompts(7)
    with market.studio(max_in_flight=1, settle_lag_s=600.0, unknown_policy="hold") as studio:
        films = [asyncio.run(studio.attempt(prompt, options=MakeOptions(waits=False))) for prompt in prompts]

    assert market.posts("replicate") == 5
    assert all("nothing was sent: 5 purchases in a row" in str(film.error) for film in films[5:])
    market.set_faults()
    with market.studio() as studio:
        summary, _ = _make(studio, prompts)
        assert summary.failed == {}
        assert _spent_usd(studio) == market.bill_usd()
    assert len(market.accepted()) == 3 * len(prompts)
