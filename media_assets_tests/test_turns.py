"""Chains of one stream are asked in its order, and nobody who gives up holds up the others."""

import asyncio
import threading

import pytest

from media_assets.errors import BudgetExceededError, LedgerError
from media_assets.turns import Ask, Turns


class Money:
    """So much of it; every ask takes what it needs, or is refused."""

    def __init__(self, amount: int) -> None:
        self.amount = amount
        self.asked: list[int] = []
        self.got: list[int] = []
        self.seems = 0
        """How much more there seems to be than there is."""

    def ask(self, number: int, needed: int = 1) -> Ask:
        def refusal(seems: int = 0) -> BudgetExceededError | None:
            return BudgetExceededError("no", may_pass=True) if needed > self.amount + seems else None

        def reserve() -> None:
            self.asked.append(number)
            if (error := refusal()) is not None:
                raise error
            self.amount -= needed
            self.got.append(number)

        return Ask(number, refusal=lambda: refusal(self.seems), reserve=reserve)


def test_the_first_ask_of_each_comes_in_their_order() -> None:
    """However long those in front plan; one that needs nothing only passes."""

    async def go() -> list[int]:
        turns, money = Turns(), Money(2)
        numbers = [turns.draw() for _ in range(4)]

        async def chain(number: int) -> None:
            await asyncio.sleep(0.01 * (5 - number))
            if number == numbers[1]:
                turns.pass_on(number)
            else:
                await turns.ask(money.ask(number))

        await asyncio.wait_for(asyncio.gather(*map(chain, numbers)), timeout=10)
        assert money.asked == [1, 3, 4]
        return money.got

    assert asyncio.run(go()) == [1, 3]


def test_those_that_wait_are_asked_before_whoever_is_behind_them() -> None:
    """One that wants too much just now is passed, and not forgotten."""

    async def go() -> None:
        turns, money = Turns(), Money(0)
        large, small, last = (money.ask(turns.draw(), needed) for needed in (5, 1, 1))
        assert [await turns.ask(one) is None for one in (large, small)] == [False, False]
        money.amount = 1
        assert await turns.ask(last) is not None
        assert (money.got, await small.answer(10), await large.answer(0.01)) == ([2], True, False)
        money.amount = 6
        assert await turns.ask(last) is None
        assert (money.got, await large.answer(10)) == ([2, 1, 3], True)
        assert await turns.ask(large) is None
        assert money.got == [2, 1, 3], "what it has it does not ask for once more"

    asyncio.run(go())


def test_one_that_has_left_is_not_asked_for() -> None:
    async def go() -> None:
        turns, money = Turns(), Money(0)
        gone, last = money.ask(turns.draw()), money.ask(turns.draw())
        async with turns.asking(gone):
            assert await turns.ask(gone) is not None
        money.amount = 1
        assert await turns.ask(last) is None
        assert money.got == [2]
        gone.try_for_it()
        assert money.asked == [1, 2], "nor by somebody who was about to"

    asyncio.run(go())


def test_an_error_of_one_in_front_is_its_own() -> None:
    """Whoever asked for it goes on."""

    async def go() -> None:
        turns, money = Turns(), Money(0)

        def broken() -> None:
            message = "the ledger is gone"
            raise LedgerError(message)

        first = Ask(turns.draw(), refusal=broken, reserve=money.ask(1)._reserve)
        last = money.ask(turns.draw())
        assert await turns.ask(first) is not None
        money.amount = 1
        assert await turns.ask(last) is None
        with pytest.raises(LedgerError, match="gone"):
            await first.answer(10)
        with pytest.raises(LedgerError, match="gone"):
            await turns.ask(first)

    asyncio.run(go())


def test_one_that_gives_up_keeps_what_others_got_for_it_in_that_moment() -> None:
    """It is reserved under its plan, and would be given back at once."""

    async def go() -> None:
        turns, money = Turns(), Money(0)
        lucky, unlucky, last = (money.ask(turns.draw()) for _ in range(3))
        error, _ = [await turns.ask(one) for one in (lucky, unlucky)]
        assert error is not None
        money.amount = 1
        assert await turns.ask(last) is not None
        await turns.give_up(lucky, error)
        with pytest.raises(BudgetExceededError):
            await turns.give_up(unlucky, error)

    asyncio.run(go())


def test_somebody_else_may_be_quicker() -> None:
    """What seemed to be there is another process's by then: the one in front goes on waiting."""

    async def go() -> None:
        turns, money = Turns(), Money(0)
        first, last = money.ask(turns.draw()), money.ask(turns.draw())
        await turns.ask(first)
        money.seems = 1
        assert await turns.ask(last) is not None
        assert (money.asked, await first.answer(0.01)) == ([1, 1, 2], False)

    asyncio.run(go())


def test_one_that_is_canceled_while_it_is_asked_for_leaves_when_that_is_over() -> None:
    """Else it would be given what nobody gives back."""
    asked, go_on = threading.Event(), threading.Event()

    async def go() -> None:
        turns, money = Turns(), Money(0)
        last = money.ask(2)

        def slow() -> None:
            asked.set()
            assert go_on.wait(20)

        first = Ask(turns.draw(), refusal=slow, reserve=money.ask(1)._reserve)
        turns.draw()

        refused = asyncio.Event()

        async def wait() -> None:
            async with turns.asking(first):
                await turns.ask(first)
                refused.set()
                await asyncio.sleep(60)

        waiting = asyncio.ensure_future(wait())
        await refused.wait()
        money.amount = 1
        behind = asyncio.ensure_future(turns.ask(last))
        await asyncio.to_thread(asked.wait, 20)
        waiting.cancel()
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert done == set()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (first.granted, await behind is None, money.got) == (True, False, [1])

    asyncio.run(go())


def test_one_that_is_canceled_before_its_turn_holds_up_nobody() -> None:
    async def go() -> None:
        turns, money = Turns(), Money(1)
        turns.draw()
        second, third = (asyncio.ensure_future(turns.ask(money.ask(turns.draw()))) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        turns.pass_on(1)
        assert await asyncio.wait_for(third, timeout=10) is None
        assert money.got == [3]

    asyncio.run(go())
