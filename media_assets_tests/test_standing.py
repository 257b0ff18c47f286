"""What counts as there already, what a step waits for, and whose film a key's film is."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from media_assets.errors import DefectError, JudgeError
from media_assets.film import Film
from media_assets.ledger import open_ledger
from media_assets.ledger.claims import Claim
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Prompt, Step
from media_assets.providers.base import LocalArguments, LocalReply
from media_assets.standing import Standing, missing_steps
from media_assets.studio import MakeOptions, open_studio
from media_assets_tests.making import (
    CHEAP,
    OWN,
    OWN_ROUTES,
    OwnProvider,
    attempt,
    cheap_prompt,
    made,
    make,
    purchases,
    some_request,
    studio_on,
)

_NOTHING = {step: Standing() for step in Step}
_AFTER_VIDEO = CHEAP.model_copy(update={"audio_timing": "after_video"})


@pytest.mark.parametrize(
    ("wanted", "spoken", "match_clip", "missing"),
    [
        ({Step.AUDIO}, True, False, {Step.AUDIO}),
        ({Step.AUDIO}, True, True, {Step.AUDIO, Step.VIDEO, Step.IMAGE}),
        ({Step.AUDIO}, False, True, {Step.AUDIO}),
        ({Step.MERGED}, False, False, {Step.MERGED, Step.VIDEO, Step.IMAGE}),
        ({Step.MERGED}, True, False, set(Step)),
    ],
)
def test_all_that_a_step_waits_for_is_reserved_for(
    *, wanted: set[Step], spoken: bool, match_clip: bool, missing: set[Step]
) -> None:
    """What is made without being in this set is bought outside the budget."""
    assert missing_steps(frozenset(wanted), _NOTHING, spoken=spoken, match_clip=match_clip) == missing


def test_a_voice_that_was_timed_by_a_clip_follows_the_next_clip(tmp_path: Path) -> None:
    """`after_video` promises that both last equally long, also after the clip was changed."""
    prompt = cheap_prompt(script="Hello there, my good friends, how are you?", clip_s=2.2, routes={})
    make(tmp_path, prompt, settings=_AFTER_VIDEO)

    film = make(tmp_path, prompt.model_copy(update={"clip_s": 3.0}), settings=_AFTER_VIDEO)

    clip, voice = (film.steps[step].artifact for step in (Step.VIDEO, Step.AUDIO))
    assert clip is not None
    assert voice is not None
    assert voice.info.duration_s == pytest.approx(clip.info.duration_s, rel=0.1)


def test_the_silent_track_of_a_silent_film_follows_the_clip(tmp_path: Path) -> None:
    """It stands for a voice as long as the clip."""
    make(tmp_path, cheap_prompt(script=None))

    film = make(tmp_path, cheap_prompt(script=None, clip_s=2.0))

    track = film.steps[Step.AUDIO].artifact
    assert track is not None
    assert track.info.duration_s == pytest.approx(2.0)


def test_a_remake_that_was_judged_bad_does_not_count_as_finished(tmp_path: Path) -> None:
    """The file that replaced a lost one must not slip past the judge on the next run."""
    prompt = cheap_prompt(routes=OWN_ROUTES)
    film = make(tmp_path, prompt, models=OWN)
    picture = film.steps[Step.IMAGE].path
    assert picture is not None
    picture.unlink()

    def blacken(endpoint: str, reply: LocalReply) -> None:
        if endpoint == "landscape":
            from PIL import Image  # noqa: PLC0415

            Image.new("RGB", (64, 64)).save(reply.path)

    refused = attempt(tmp_path, prompt, models=OWN, provider=OwnProvider(after=blacken))
    assert isinstance(refused.error, JudgeError)
    assert purchases(tmp_path)[Step.IMAGE].state is PurchaseState.FAILED_FREE

    again = make(tmp_path, prompt, models=OWN)

    assert made(again) == {Step.IMAGE}


def test_a_defect_in_one_step_leaves_its_sibling_finished(tmp_path: Path) -> None:
    """Our own bug must not cancel what is being paid for beside it."""
    speaking = threading.Event()

    def fail(endpoint: str, _arguments: LocalArguments) -> None:
        if endpoint == "silence":
            speaking.set()
        if endpoint == "landscape":
            assert speaking.wait(20)
            message = "no such thing"
            raise ZeroDivisionError(message)

    film = attempt(tmp_path, cheap_prompt(routes=OWN_ROUTES), models=OWN, provider=OwnProvider(before=fail))

    assert isinstance(film.error, DefectError)
    assert "ZeroDivisionError" in film.error.message
    assert set(film.steps) == {Step.AUDIO}


def test_an_older_make_that_ends_later_does_not_replace_the_film(tmp_path: Path) -> None:
    """The film under a key is that of the prompt that is pinned, whichever run ends last."""
    old, new = cheap_prompt(routes=OWN_ROUTES), cheap_prompt(prompt="a blue barn at night")
    newer: list[Film] = []

    def before(which: str, _arguments: LocalArguments) -> None:
        if which == "landscape":
            with studio_on(tmp_path) as other:
                newer.append(asyncio.run(other.make(new)))

    with studio_on(tmp_path, models=OWN, provider=OwnProvider(before=before)) as studio:
        studio.ledger.prompts.pin([old], source="test")
        older: Film = asyncio.run(studio.make(old, options=MakeOptions(pinned=True)))
        pinned = studio.ledger.prompts.get("cheap")

    assert [film.path for film in newer] == [tmp_path / "films" / "cheap.mp4"]
    assert older.path is not None
    assert older.path.is_relative_to(tmp_path / "artifacts")
    assert pinned is not None
    assert (pinned.prompt, pinned.status) == (new, "degraded")


def test_two_homes_that_share_a_ledger_see_each_other_alive(tmp_path: Path) -> None:
    """Otherwise each takes the other's claims over, and both send."""
    url = f"sqlite:///{tmp_path / 'shared' / 'ledger.db'}"
    with open_ledger(tmp_path / "a", url) as one, open_ledger(tmp_path / "b", url) as other:
        claim: Any = one.purchases.claim(
            some_request(), recovery=OWN[0].recovery, prompt_key="k", plan_id="p", estimate_micro_usd=0
        )
        assert isinstance(claim, Claim)

        assert other.owner.is_alive(one.owner.id)
        assert other.purchases.release_dead() == 0


def test_a_canceled_prompt_can_be_claimed_again_in_the_same_process(tmp_path: Path) -> None:
    """A key that stayed busy would make every later run of it wait for ever."""
    prompts = [Prompt.model_validate(cheap_prompt(key=f"k{n}", prompt=f"barn {n}").model_dump()) for n in range(15)]

    async def cancel_twice_then_make() -> list[Film]:
        films = []
        with open_studio(tmp_path, CHEAP.studio_options()) as studio:
            for number, prompt in enumerate(prompts):
                task = asyncio.ensure_future(studio.make(prompt))
                await asyncio.sleep(0.002 * number)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                films.append(await asyncio.wait_for(studio.make(prompt), timeout=30))
        return films

    assert all(film.path is not None for film in asyncio.run(cancel_twice_then_make()))
