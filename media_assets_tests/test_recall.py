"""The word that something is called back: what it breaks off, and that a cancellation from elsewhere stays one."""

import asyncio
import time

import pytest

from media_assets.errors import StoppedError
from media_assets.recall import Recall


async def _inside(recall: Recall) -> None:
    with recall.breaks_off():
        await asyncio.sleep(60)


async def _begun(recall: Recall) -> "asyncio.Task[None]":
    task = asyncio.ensure_future(_inside(recall))
    await asyncio.sleep(0)
    return task


def test_the_word_breaks_off_what_is_inside_and_says_why() -> None:
    async def run() -> None:
        recall = Recall()
        task = await _begun(recall)
        recall.ask("the audio failed", spares_running=True)
        with pytest.raises(StoppedError, match="not submitted, because the audio failed"):
            await task

    asyncio.run(run())


def test_nothing_is_begun_after_the_word() -> None:
    async def run() -> None:
        recall = Recall()
        recall.ask("the audio failed", spares_running=True)
        with pytest.raises(StoppedError):
            await _inside(recall)

    asyncio.run(run())


@pytest.mark.parametrize("word_first", [True, False])
def test_a_cancellation_from_elsewhere_stays_one(*, word_first: bool) -> None:
    """Ctrl-C must end the run, also in the moment in which a sibling fails."""

    async def run() -> None:
        recall = Recall()
        task = await _begun(recall)
        for is_word in (word_first, not word_first):
            if is_word:
                recall.ask("the audio failed", spares_running=True)
            else:
                task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_the_word_ends_a_wait() -> None:
    """The prediction is asked about at once, not when the next question would be due."""

    async def run() -> float:
        recall, began = Recall(), time.monotonic()
        asyncio.get_running_loop().call_later(0.01, lambda: recall.ask("it failed", spares_running=True))
        await recall.wait(60)
        return time.monotonic() - began

    assert asyncio.run(run()) < 30


def test_said_again_it_goes_further_and_its_first_reason_stays() -> None:
    """A sibling has failed, and then the run is stopped: what runs may be called back too, by the policy."""
    recall = Recall()
    recall.ask("the audio failed", spares_running=True)
    assert recall.spares_running

    recall.ask("the run was stopped", spares_running=False)
    recall.ask("the video failed", spares_running=True)

    assert (recall.why, recall.spares_running) == ("the audio failed", False)
