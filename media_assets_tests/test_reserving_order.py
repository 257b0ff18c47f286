"""The money of a day goes to the first prompts of a batch that it is enough for, however they race."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.batch import Quote, Summary, make_batch
from media_assets.ledger.pins import Arrival, readable
from media_assets.prompt import Prompt, Step
from media_assets.studio import MakeOptions, Studio
from media_assets_tests.holding import FILM_USD, Told, capped, dear, holding, status_of, stream_capped
from media_assets_tests.making import PRICED, make, reserved_micro_usd, studio_on
from media_assets_tests.simulated import open_market, paid_prompt

_PAID = {"image": ["replicate:flux-schnell"], "video": ["fal:stable-video"], "audio": ["elevenlabs:flash-v2.5"]}


def _batch(studio: Studio, prompts: list[Prompt], told: Any = None, **options: Any) -> Summary:
    summary = Summary(quote=Quote(prompts=len(prompts), least_usd=Decimal(0), estimate_usd=Decimal(0)))

    async def go() -> Summary:
        await make_batch(
            studio,
            prompts,
            summary=summary,
            options=MakeOptions(**options),
            on_event=told or Told(),
            on_film=lambda _film: None,
        )
        return summary

    return asyncio.run(asyncio.wait_for(go(), timeout=120))


@pytest.mark.parametrize("_time", range(3))
def test_a_days_money_is_spent_by_priority(tmp_path: Path, _time: int) -> None:
    """Twelve of which a day pays for four, eight at work at once."""
    with open_market(tmp_path / "home") as market:
        with market.studio(max_day_usd="0.32") as studio:
            for n in range(12):
                prompt = paid_prompt(key=f"p{n:02}", prompt=f"barn {n}", script=f"is {n}", routes=_PAID)
                studio.ledger.prompts.pin([prompt], source="test", arrival=Arrival(priority=100 - n))
            waiting = [one.prompt for one in readable(studio.ledger.prompts.waiting())]

            summary = _batch(studio, waiting, pinned=True)

        assert sorted(summary.done) == ["p00", "p01", "p02", "p03"]
        assert len(summary.deferred) == 8
        assert len(market.accepted()) == 3 * 4


def test_those_that_wait_get_the_money_in_their_order(tmp_path: Path) -> None:
    """All of them were refused, and are asked anew when another process gives back what it held."""
    prompts = [dear(f"p-{number}", take=number) for number in range(6)]

    with holding(tmp_path, "0.09") as other:
        films = stream_capped(tmp_path, prompts, Told(other.give_back), settings=capped(max_day_usd="0.10"))

    assert [key for key in sorted(films) if films[key].error is None] == ["p-0", "p-1", "p-2"]
    assert reserved_micro_usd(tmp_path) == 0


def test_one_that_is_too_large_just_now_is_passed_and_not_forgotten(tmp_path: Path) -> None:
    """It gets what it waits for as soon as that is there, before those behind it."""
    small = {"video": ["local:ken-burns"], "audio": ["local:silence"]}
    ended: list[str] = []

    with (
        holding(tmp_path, "0.03") as other,
        studio_on(tmp_path, models=PRICED, settings=capped(max_day_usd="0.05")) as one,
    ):
        prompts = [
            dear("large"),
            *(dear(f"small-{number}", routes={"image": ["testing:landscape"], **small}) for number in range(2)),
        ]

        async def go() -> None:
            async for film in one.stream(prompts, on_event=Told()):
                assert film.error is None, film.error
                ended.append(film.key)
                if len(ended) == 2:
                    other.give_back()

        asyncio.run(asyncio.wait_for(go(), timeout=60))

    assert sorted(ended[:2]) == ["small-0", "small-1"]
    assert ended[2:] == ["large"]


def test_one_that_cannot_be_made_or_is_there_already_holds_up_nobody(tmp_path: Path) -> None:
    """A plan with a problem, a film that needs no money, one dearer than the whole cap: the next one is asked."""
    there = dear("there")
    make(tmp_path, there, models=PRICED)
    prompts = [
        dear("odd", routes={"image": ["no:such"]}),
        there,
        dear("costly", max_cost_usd="0.01", take=1),
        *(dear(f"p-{number}", take=2 + number) for number in range(2)),
    ]

    with studio_on(tmp_path, models=PRICED, settings=capped(max_day_usd="0.06")) as studio:
        summary = _batch(studio, prompts)

    assert (summary.done, summary.cached) == (["p-0"], ["there"])
    assert (set(summary.failed), set(summary.deferred)) == ({"odd"}, {"costly", "p-1"})


def test_leaving_a_stream_while_some_wait_leaves_nothing_behind(tmp_path: Path) -> None:
    prompts = [dear(f"p-{number}", take=number) for number in range(4)]

    async def leave(studio: Studio, waits: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        films = studio.stream(prompts, on_event=Told(lambda: loop.call_soon_threadsafe(waits.set)))
        first = asyncio.ensure_future(anext(films))
        await waits.wait()
        first.cancel()
        await asyncio.wait({first})
        await films.aclose()

    with holding(tmp_path), studio_on(tmp_path, models=PRICED, settings=capped()) as studio:
        asyncio.run(asyncio.wait_for(leave(studio, asyncio.Event()), timeout=60))
        assert reserved_micro_usd(tmp_path) == 30_000, "what the other process holds"

    assert [status_of(tmp_path, prompt.key)[0] for prompt in prompts] == ["pending"] * 4


def test_one_that_is_changed_while_it_waits_for_money_is_not_bought(tmp_path: Path) -> None:
    """The moment of the reservation decides; the others of the batch are made."""
    old, new, after = dear("changed"), dear("changed", prompt="something else"), dear("after")
    with holding(tmp_path) as other, studio_on(tmp_path, models=PRICED, settings=capped()) as studio:
        studio.ledger.prompts.pin([old, after], source="test")

        def change() -> None:
            other.ledger.prompts.pin([new], source="test")
            other.give_back()

        summary = _batch(studio, [old, after], Told(change), pinned=True)

        assert (summary.superseded, summary.done, summary.ended) == (["changed"], ["after"], 2)
        assert {row.prompt_key for row in studio.ledger.purchases.search()} == {"after"}
    assert status_of(tmp_path, "changed") == ("pending", None)
    assert reserved_micro_usd(tmp_path) == 0


def test_one_that_is_changed_while_it_waits_in_vain_is_not_deferred(tmp_path: Path) -> None:
    """Nobody wants it any more, whatever there is money for."""
    old, new = dear("changed"), dear("changed", prompt="something else")
    with holding(tmp_path) as other:
        settings = capped(budget_wait_s=0.3)
        with studio_on(tmp_path, models=PRICED, settings=settings) as studio:
            studio.ledger.prompts.pin([old], source="test")
            told = Told(lambda: other.ledger.prompts.pin([new], source="test"))

            summary = _batch(studio, [old], told, pinned=True)

    assert (summary.superseded, summary.deferred) == (["changed"], {})


def test_one_that_was_changed_before_its_turn_is_not_begun(tmp_path: Path) -> None:
    """Not even what is there of it is told; what a run found under other takes may go on."""
    old, new = dear("changed"), dear("changed", prompt="something else")
    make(tmp_path, old, models=PRICED)
    with studio_on(tmp_path, models=PRICED, settings=capped(max_day_usd="0.06")) as studio:
        studio.ledger.prompts.pin([new], source="test")

        film = asyncio.run(studio.attempt(old, options=MakeOptions(pinned=True)))
        assert (film.superseded, film.steps, film.error) == (True, {}, None)
        assert film.as_dict(home=tmp_path)["superseded"]

        options = MakeOptions(pinned=True, seen={"changed": new.digest})
        again = asyncio.run(studio.attempt(old, options=options, wanted={Step.IMAGE}))
        assert (again.superseded, set(again.steps)) == (False, set(Step))
        assert "superseded" not in again.as_dict(home=tmp_path)


def test_a_film_costs_what_these_tests_reckon_with(tmp_path: Path) -> None:
    with studio_on(tmp_path, models=PRICED) as studio:
        assert str(asyncio.run(studio.plan(dear())).estimate_usd) == FILM_USD
