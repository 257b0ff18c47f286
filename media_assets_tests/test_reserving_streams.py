"""Waiting for money beside others: who waits stands in nobody's way, and two do not wait for each other."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from media_assets.errors import (
    BudgetExceededError,
    ProviderUnavailableError,
    RequestRejectedError,
)
from media_assets.film import Film
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.schema import plan
from media_assets.prompt import Step
from media_assets.providers.base import LocalArguments
from media_assets.reserving import Place, Places
from media_assets.studio import MakeOptions, Studio
from media_assets_tests.holding import (
    FILM_USD,
    MADE,
    Told,
    attempt_capped,
    capped,
    dear,
    holding,
    status_of,
    stream_capped,
)
from media_assets_tests.ledger.money import DAY, standing
from media_assets_tests.making import (
    OWN_ROUTES,
    PRICED,
    OwnProvider,
    cheap_prompt,
    failing,
    own_model,
    reserved_micro_usd,
    studio_on,
)


def test_others_of_a_stream_go_on_while_one_waits(tmp_path: Path) -> None:
    """With one place for all: who waits for money leaves it to those who need none."""
    with holding(tmp_path) as other:
        told = Told()
        free = [cheap_prompt(key=f"free-{number}", prompt=str(number)) for number in range(2)]

        async def collect(studio: Studio) -> list[str]:
            order = []
            async for film in studio.stream([dear(), *free], on_event=told):
                assert film.error is None, film.error
                order.append(film.key)
                if len(order) == len(free):
                    other.give_back()
            return order

        with studio_on(tmp_path, models=PRICED, settings=capped(max_in_flight=1)) as studio:
            order = asyncio.run(collect(studio))

    assert order == ["free-0", "free-1", "dear"]
    assert len(told.waits) == 1


def test_never_more_are_at_work_than_there_are_places(tmp_path: Path) -> None:
    """Those who waited come back into a row that others have filled meanwhile."""
    at_work: set[int] = set()
    most = 0
    guard = threading.Lock()

    def before(_which: str, _arguments: LocalArguments) -> None:
        nonlocal most
        me = threading.get_ident()
        with guard:
            at_work.add(me)
            most = max(most, len(at_work))
        time.sleep(0.02)
        with guard:
            at_work.discard(me)

    prompts = [dear(f"p-{number}") for number in range(4)]
    with holding(tmp_path, "0.10") as other:
        told = Told(other.give_back)
        films = stream_capped(
            tmp_path,
            prompts,
            told,
            settings=capped(max_in_flight=1, max_day_usd="0.12"),
            provider=OwnProvider(before=before),
        )

    assert [film.error for film in films.values()] == [None] * 4
    # Clip and voice of one film are made side by side.
    assert most <= 2


def test_a_file_of_many_makes_those_that_fit(tmp_path: Path) -> None:
    """Money for three: three films, the others wait for their turn without having failed."""
    prompts = [dear(f"p-{number}", take=number) for number in range(6)]

    films = stream_capped(tmp_path, prompts, Told(), settings=capped(max_day_usd="0.10"))

    states = [status_of(tmp_path, prompt.key) for prompt in prompts]
    assert sorted(states) == [MADE] * 3 + [("pending", "BudgetExceededError")] * 3
    assert [film.deferred for film in films.values()].count(True) == 3
    assert reserved_micro_usd(tmp_path) == 0


def test_a_second_model_waits_too(tmp_path: Path) -> None:
    """It reserves for itself, in the middle of its film; what the film has already is kept."""
    models = [own_model("landscape"), *PRICED[1:], own_model("landscape", id="testing:second", usd="0.01")]
    routes = {**OWN_ROUTES, "image": ["testing:landscape", "testing:second"]}
    no = RequestRejectedError("no")

    def before(which: str, _arguments: LocalArguments) -> None:
        if which == "landscape" and provider.submits[which] == 1:
            raise no

    provider = OwnProvider(before=before)
    with holding(tmp_path, "0.01") as other:
        told = Told(other.give_back)
        film = attempt_capped(tmp_path, dear(routes=routes), told, models=models, provider=provider)

    assert film.error is None
    assert film.steps[Step.IMAGE].model == "testing:second"
    assert [event.step for event in told.waits] == [Step.IMAGE]


def test_two_that_wait_for_each_other_do_not_wait_for_ever(tmp_path: Path) -> None:
    """Each holds money for its clip and needs more for a second model: one of them steps back."""
    models = [own_model("landscape"), *PRICED[1:], own_model("landscape", id="testing:second", usd="0.02")]
    routes = {**OWN_ROUTES, "image": ["testing:landscape", "testing:second"], "audio": ["local:silence"]}
    tried: set[str] = set()

    def before(which: str, arguments: LocalArguments) -> None:
        text = str(arguments.params.get("prompt"))
        if which == "landscape" and text not in tried:
            tried.add(text)
            message = "no"
            raise RequestRejectedError(message)

    films = stream_capped(
        tmp_path,
        [dear("one", routes=routes), dear("two", routes=routes)],
        Told(),
        models=models,
        provider=OwnProvider(before=before),
    )

    assert sorted(film.deferred for film in films.values()) == [False, True]
    assert sorted(str(film.error is None) for film in films.values()) == ["False", "True"]
    assert reserved_micro_usd(tmp_path) == 0


def test_of_two_that_look_at_once_one_steps_back(tmp_path: Path) -> None:
    """Each sees that the other waits; if both gave up, neither film would be made."""
    with studio_on(tmp_path, models=PRICED) as studio:
        reservations, cap = studio.reservations, Cap("day:2026-11-23", 10, "cap")
        for plan_id in ("one", "two"):
            studio.ledger.prompts.open_plan(plan_id, plan_id, amounts={Step.VIDEO: 5}, caps=[cap])
        with reservations.waiting("one"), reservations.waiting("two"), ThreadPoolExecutor(2) as both:
            steps_back = both.map(lambda plan_id: reservations.steps_back(plan_id, [cap.scope]), ("one", "two"))
            assert sorted(steps_back) == [False, True]


def test_a_purchase_that_failed_under_another_plan_is_reserved_for_before_it_is_sent_again(tmp_path: Path) -> None:
    """We counted on another process's purchase and its reservation; both are gone when it is our turn."""
    begun, go = threading.Event(), threading.Event()
    gone = ProviderUnavailableError("gone")

    def before(which: str, arguments: LocalArguments) -> None:
        if which == "landscape":
            begun.set()
            go.wait(20)
            failing("landscape", gone)(which, arguments)

    async def both(first: Studio, second: Studio) -> tuple[Film, Film]:
        wanted = {Step.IMAGE}
        one = asyncio.ensure_future(first.attempt(dear("one", prompt="same"), wanted=wanted))
        await asyncio.to_thread(begun.wait, 20)
        two = asyncio.ensure_future(second.attempt(dear("two", prompt="same"), wanted=wanted))
        await asyncio.to_thread(_until_two_plan, second.ledger)
        assert standing(second.ledger)[DAY] == ("0.00", "0.01", False)
        go.set()
        return await one, await two

    with (
        studio_on(tmp_path, models=PRICED, settings=capped(), provider=OwnProvider(before=before)) as first,
        studio_on(tmp_path, models=PRICED, settings=capped()) as second,
    ):
        one, two = asyncio.run(both(first, second))
        after = standing(second.ledger)

    assert isinstance(one.error, ProviderUnavailableError)
    assert two.error is None
    assert after == {
        DAY: ("0.01", "0.00", False),
        "prompt:one": ("0.00", "0.00", False),
        "prompt:two": ("0.01", "0.00", False),
        "provider:testing:2026-11-23": ("0.01", "0.00", False),
    }


def _until_two_plan(ledger: Ledger) -> None:
    while True:
        with ledger.database.read() as connection:
            if len(connection.execute(plan.select()).all()) == 2:
                return
        time.sleep(0.01)


def test_a_wait_that_goes_past_midnight_takes_the_new_days_money(tmp_path: Path) -> None:
    """The window is that of the reservation."""
    days = [date(2026, 11, 23)]
    tomorrow = date(2026, 11, 24)

    with holding(tmp_path), studio_on(tmp_path, models=PRICED, settings=capped()) as studio:
        object.__setattr__(studio.reservations, "today", lambda: days[-1])
        film = asyncio.run(studio.attempt(dear(), on_event=Told(lambda: days.append(tomorrow))))
        after = standing(studio.ledger)

    assert film.error is None
    assert (after[DAY], after["day:2026-11-24"]) == (("0.00", "0.03", False), ("0.03", "0.00", False))


def test_a_run_has_a_cap_of_its_own(tmp_path: Path) -> None:
    """One call of the stream is one run, whoever asks; the next one begins anew."""
    settings = capped(max_day_usd="none", max_run_usd="0.07")
    prompts = [dear(f"p-{number}", take=number) for number in range(3)]

    films = stream_capped(tmp_path, prompts, Told(), settings=settings)
    again = stream_capped(tmp_path, prompts, Told(), settings=settings)

    deferred = [film for film in films.values() if film.deferred]
    assert len(deferred) == 1
    assert "MEDIA_ASSETS_MAX_RUN_USD (--max-run-usd)" in str(deferred[0].error)
    assert [film.error for film in again.values()] == [None] * 3


def test_several_calls_can_be_one_run(tmp_path: Path) -> None:
    """A Dagster run and its retries share what one run may cost."""
    settings = capped(max_day_usd="none", max_run_usd=FILM_USD)
    options = MakeOptions(run_id="nightly")

    with studio_on(tmp_path, models=PRICED, settings=settings) as studio:
        films = [asyncio.run(studio.attempt(dear(f"p-{take}", take=take), options=options)) for take in range(2)]

    assert [film.deferred for film in films] == [False, True]
    assert isinstance(films[1].error, BudgetExceededError)
    assert films[1].error.scopes == ("run:nightly",)


def test_two_steps_of_a_chain_that_wait_at_once_have_one_place() -> None:
    """A place that each of them took back would be lost to everybody."""

    async def wait_twice() -> bool:
        places = Places(1)
        place = Place(places)
        await place.take()

        async def wait() -> None:
            async with place.aside():
                await asyncio.sleep(0)

        await asyncio.wait_for(asyncio.gather(wait(), wait()), timeout=10)
        place.leave()
        return places.are_taken()

    assert not asyncio.run(wait_twice())
