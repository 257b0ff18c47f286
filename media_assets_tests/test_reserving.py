"""Money that others have reserved is waited for, money that is spent is not, and neither is a failure."""

import asyncio
import time
from pathlib import Path

import pytest

from media_assets.errors import (
    RequestRejectedError,
    UnknownOutcomeError,
)
from media_assets.prompt import Step
from media_assets.studio import Studio
from media_assets_tests.holding import (
    MADE,
    Told,
    attempt_capped,
    capped,
    claim_of,
    dear,
    holding,
    spend,
    status_of,
)
from media_assets_tests.ledger.money import DAY, standing
from media_assets_tests.making import (
    PRICED,
    reserved_micro_usd,
    studio_on,
)


def test_what_is_only_reserved_is_waited_for(tmp_path: Path) -> None:
    """The other film may fail, or cost less than its worst case; then there is room for this one."""
    with holding(tmp_path) as other:
        told = Told(other.give_back)
        film = attempt_capped(tmp_path, dear(), told)

    assert film.error is None
    assert [event.step for event in told.waits] == [Step.IMAGE]
    assert "0 spent + 0.03 reserved + 0.03 needed" in told.waits[0].note
    assert status_of(tmp_path, "dear") == MADE
    assert reserved_micro_usd(tmp_path) == 0


def test_what_is_spent_is_not_waited_for_and_nothing_has_failed(tmp_path: Path) -> None:
    """Tomorrow there is money again: the prompt is still to be made."""
    first = attempt_capped(tmp_path, dear("first", take=1))
    told = Told()

    film = attempt_capped(tmp_path, dear(), told)

    assert first.error is None
    assert (film.deferred, film.steps, told.events) == (True, {}, [])
    assert "0.03 spent + 0 reserved + 0.03 needed" in str(film.error)
    assert status_of(tmp_path, "dear") == ("pending", "BudgetExceededError")


def test_a_raised_cap_makes_what_was_deferred(tmp_path: Path) -> None:
    """It is what the message said to do."""
    attempt_capped(tmp_path, dear("first", take=1))
    attempt_capped(tmp_path, dear())

    film = attempt_capped(tmp_path, dear(), settings=capped(max_day_usd="0.06"))

    assert film.error is None
    assert status_of(tmp_path, "dear") == MADE


def test_a_wait_ends_when_what_was_reserved_is_spent(tmp_path: Path) -> None:
    """Hope ends with the bill of the other one, not with our patience."""
    with holding(tmp_path) as other:
        told = Told(lambda: spend(other))
        film = attempt_capped(tmp_path, dear(), told)

    assert film.deferred
    assert len(told.waits) == 1
    assert "0.03 spent + 0 reserved" in str(film.error)


def test_a_purchase_in_flight_of_a_living_process_is_waited_for(tmp_path: Path) -> None:
    """Its plan may be gone; what it has sent will be billed or not."""
    with holding(tmp_path) as other:
        claim = claim_of(other)
        other.give_back()
        token = other.ledger.purchases.write_intent(claim)

        def refused() -> None:
            other.ledger.purchases.write_failed(claim, token, RequestRejectedError("no"), outcome="failed")

        told = Told(refused)
        film = attempt_capped(tmp_path, dear(), told)

    assert film.error is None
    assert len(told.waits) == 1


def test_what_nobody_will_settle_is_not_waited_for(tmp_path: Path) -> None:
    """An unknown outcome holds its money until a person decides, which may be next week."""
    with holding(tmp_path) as other:
        claim = claim_of(other)
        other.ledger.purchases.write_unknown(claim, UnknownOutcomeError("?"))
        other.give_back()
        told = Told()

        film = attempt_capped(tmp_path, dear(), told)

    assert film.deferred
    assert told.waits == []
    assert status_of(tmp_path, "dear") == ("pending", "BudgetExceededError")


def test_what_a_dead_process_had_only_reserved_is_taken_back(tmp_path: Path) -> None:
    """It dies while we wait: the money is free, and no other process needs to be started for that."""
    with holding(tmp_path) as other:
        told = Told(other.ledger.owner.close)
        film = attempt_capped(tmp_path, dear(), told)

    assert film.error is None
    assert len(told.waits) == 1


@pytest.mark.parametrize(("wait_s", "waits"), [(0.3, 1), (0.0, 0)])
def test_a_wait_has_an_end(tmp_path: Path, wait_s: float, waits: int) -> None:
    """The other process may hang; a nightly batch must not hang with it."""
    told = Told()
    began = time.monotonic()

    with holding(tmp_path):
        film = attempt_capped(tmp_path, dear(), told, settings=capped(budget_wait_s=wait_s))

    assert film.deferred
    assert len(told.waits) == waits
    assert time.monotonic() - began > wait_s


def test_a_wait_that_is_canceled_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C while waiting is the commonest one."""

    async def give_up(studio: Studio) -> None:
        waiting = asyncio.Event()
        loop = asyncio.get_running_loop()
        told = Told(lambda: loop.call_soon_threadsafe(waiting.set))
        running = asyncio.ensure_future(studio.attempt(dear(), on_event=told))
        await waiting.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with holding(tmp_path) as other:
        with studio_on(tmp_path, models=PRICED, settings=capped()) as studio:
            asyncio.run(give_up(studio))
        assert standing(other.ledger) == {DAY: ("0.00", "0.03", False)}

    assert status_of(tmp_path, "dear") == ("pending", None)
