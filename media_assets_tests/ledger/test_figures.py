"""What the database adds up for a report: every amount once, on its day, alike on SQLite and on Postgres."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.decisions import POLICY
from media_assets.ledger.figures import Decided, Duration, Figures, PromptCount, Saving, StandIn
from media_assets_tests.ledger.history import (
    CANCELED,
    FAILED_FREE,
    FAILED_PAID,
    FLUX,
    KLING,
    LOST_OUTPUT,
    UNKNOWN,
    History,
)

FIRST, LAST = date(2026, 11, 20), date(2026, 11, 21)


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Open an empty ledger on either database."""
    url = None if request.param == "sqlite" else request.getfixturevalue("migrated")
    with open_ledger(tmp_path, url) as ledger:
        yield ledger


def _figures(ledger: Ledger) -> Figures:
    return Figures(ledger.database, FIRST, LAST)


def test_each_purchase_is_added_once_by_day_provider_model_and_step(anywhere: Ledger) -> None:
    """A sum that is wrong by one row is believed for months."""
    history = History(anywhere)
    history.bought("2026-11-19T23:59:59.999999", cost_usd="7")
    history.bought("2026-11-20T00:00:00", cost_usd="0.3")
    history.bought("2026-11-20", state=FAILED_PAID, cost_usd="0.5")
    history.bought("2026-11-20", state=FAILED_FREE, cost_usd="0", outcome="failed")
    history.bought("2026-11-20", state=LOST_OUTPUT, cost_usd="0.2")
    history.bought("2026-11-20", state=CANCELED, submitted=())
    history.bought("2026-11-20", model=KLING, of_step="video", cost_usd="0.4", quote_usd="0.35")
    history.bought("2026-11-21T23:59:59.999999", cost_usd="0.1")
    history.bought("2026-11-22", cost_usd="7")

    rows = _figures(anywhere).spend()

    told = [(f"{row.day}", row.model, row.step, row.purchases, row.attempts, row.succeeded, row.failed) for row in rows]
    assert told == [
        ("2026-11-20", FLUX, "image", 5, 4, 1, 3),
        ("2026-11-20", KLING, "video", 1, 1, 1, 0),
        ("2026-11-21", FLUX, "image", 1, 1, 1, 0),
    ]
    assert [row.cost_usd for row in rows] == [Decimal(1), Decimal("0.4"), Decimal("0.1")]
    assert [row.failed_usd for row in rows] == [Decimal("0.7"), 0, 0]
    assert [row.quote_usd for row in rows] == [Decimal("1.5"), Decimal("0.35"), Decimal("0.5")]


def test_a_purchase_counts_on_the_day_of_its_last_submission(anywhere: Ledger) -> None:
    """What is tried again today must show today, whenever it was asked for first."""
    history = History(anywhere)
    history.bought("2026-11-01", submitted=["2026-11-01", "2026-11-20"], cost_usd="0.9")

    (row,) = _figures(anywhere).spend()

    assert (row.day, row.purchases, row.attempts, row.cost_usd) == (FIRST, 1, 2, Decimal("0.9"))


def test_what_an_unknown_outcome_holds_is_counted_once_and_is_no_cost(anywhere: Ledger) -> None:
    """It is reserved under the prompt, the day and the provider, and may be billed once."""
    history = History(anywhere)
    key = history.bought("2026-11-20", state=UNKNOWN)
    history.held(key, "0.5", "day:2026-11-20", "prompt:barn", "provider:fal:2026-11-20")
    history.held(history.bought("2026-11-20"), "0.25", "prompt:barn")

    (row,) = _figures(anywhere).spend()

    assert (row.unknown, row.unknown_usd) == (1, Decimal("0.5"))
    assert not row.cost_usd
    assert not row.failed_usd


def test_durations_are_ranks_of_what_was_timed(anywhere: Ledger) -> None:
    """A mean would hide the one of twenty that takes ten minutes; a failure that took ten is worse than one at once."""
    history = History(anywhere)
    for number in range(1, 21):
        history.bought("2026-11-20", took_s=float(number))
    history.bought("2026-11-19", took_s=900.0)
    history.bought("2026-11-20", state=FAILED_FREE, outcome="failed", replied_after_s=2.5, took_s=77.0)
    history.bought("2026-11-20", state=FAILED_FREE, outcome="refused", replied_after_s=-3600.0)
    history.bought("2026-11-20", state=FAILED_PAID, took_s=30.0)
    history.bought("2026-11-20", state=LOST_OUTPUT)
    history.bought("2026-11-20", state=UNKNOWN, outcome="ambiguous")

    failed, succeeded = _figures(anywhere).durations()

    assert succeeded == Duration(model=FLUX, succeeded=True, timed=20, p50_s=10.0, p95_s=19.0)
    assert (failed.succeeded, failed.timed, failed.p95_s) == (False, 3, 30.0)
    assert failed.p50_s == pytest.approx(2.5, abs=0.001)


@pytest.mark.parametrize(("replied_after_s", "took_s"), [(-3600.0, 0.0), (0.5, 0.5), (7200.0, 7200.0)])
def test_a_clock_that_was_put_back_makes_no_time_negative(
    anywhere: Ledger, replied_after_s: float, took_s: float
) -> None:
    History(anywhere).bought("2026-11-20", state=FAILED_FREE, outcome="refused", replied_after_s=replied_after_s)

    (failed,) = _figures(anywhere).durations()

    assert failed.p50_s == pytest.approx(took_s, abs=0.001)


def test_savings_are_the_steps_after_the_first_of_a_paid_purchase(anywhere: Ledger) -> None:
    """What was saved is a claim, so it has to be one that the rows prove, and never more than one purchase may cost."""
    history = History(anywhere)
    shared = history.bought("2026-11-01", cost_usd="0.3")
    history.used(shared, "2026-11-01")
    history.used(shared, "2026-11-20", by="harbour")
    history.used(shared, "2026-11-21", version="2")
    history.used(shared, "2026-11-22", by="too-late")
    twice = history.bought("2026-11-20", model=KLING, cost_usd="0.9", of_step="video")
    history.decided(twice, "2026-11-20", "resubmit", cost_usd="0.5", who=POLICY)
    overrun = history.bought("2026-11-20", model=KLING, cost_usd="2.0", of_step="video")
    free = history.bought("2026-11-20", cost_usd="0")
    for key in (twice, overrun, free):
        history.used(key, "2026-11-20", version=key[-2:])
        history.used(key, "2026-11-20", by="harbour", version=key[-2:])
    history.used(history.bought("2026-11-20", cost_usd="0.3"), "2026-11-20", version="alone")

    assert _figures(anywhere).savings() == [
        Saving(model=FLUX, step="image", reused=2, saved_usd=Decimal("0.6")),
        Saving(model=KLING, step="video", reused=2, saved_usd=Decimal("0.9")),
    ]


def test_stand_ins_decisions_and_prompts_are_counted(anywhere: Ledger) -> None:
    """What is degraded, decided, and still to be made: each by its own day, prompts as they stand now."""
    history = History(anywhere)
    still = history.bought("2026-11-20", model="local:ken-burns", of_step="video", cost_usd="0")
    history.used(still, "2026-11-20", degraded=True)
    history.used(still, "2026-11-19", by="earlier", degraded=True)
    history.used(still, "2026-11-20", by="on-purpose")
    history.decided(history.bought("2026-11-01"), "2026-11-20", "write-off", cost_usd="0.5")
    history.decided(history.bought("2026-11-20"), "2026-11-21", "write-off", cost_usd="0.25")
    history.decided(history.bought("2026-11-20"), "2026-11-20", "adopt")
    history.decided(history.bought("2026-11-20"), "2026-11-20", "resubmit", cost_usd="0.02", who=POLICY)
    history.decided(history.bought("2026-11-20"), "2026-11-22", "accept")
    for number, status in enumerate(["pending", "done", "done", "degraded", "failed"]):
        history.pinned(f"p{number}", status)
    history.pinned("over", "pending", error="BudgetExceededError")

    figures = _figures(anywhere)

    assert figures.stand_ins() == [StandIn(model="local:ken-burns", step="video", degraded=1)]
    assert figures.decisions() == [
        Decided(what="adopt", by="person", decisions=1, counted_usd=Decimal(0)),
        Decided(what="resubmit", by="policy", decisions=1, counted_usd=Decimal("0.02")),
        Decided(what="write-off", by="person", decisions=2, counted_usd=Decimal("0.75")),
    ]
    assert figures.prompts() == [
        PromptCount(state="deferred", prompts=1),
        PromptCount(state="degraded", prompts=1),
        PromptCount(state="done", prompts=2),
        PromptCount(state="failed", prompts=1),
        PromptCount(state="pending", prompts=1),
    ]
