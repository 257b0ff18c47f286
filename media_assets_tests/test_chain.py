"""The chain at work: failing steps, stand-ins, cancels, and how clip and voice become one length."""

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import pytest

from media_assets.catalog import Recovery
from media_assets.errors import (
    PlanError,
    PredictionFailedError,
    ProviderUnavailableError,
    RequestRejectedError,
)
from media_assets.ledger.rows import PurchaseState
from media_assets.prompt import Step
from media_assets.providers.base import LocalArguments
from media_assets.studio import Event, MakeOptions, Studio
from media_assets_tests.making import (
    CHEAP,
    OWN,
    OWN_ROUTES,
    OwnProvider,
    attempt,
    cheap_prompt,
    failing,
    leftovers,
    made,
    make,
    own_model,
    purchases,
    reserved_micro_usd,
    studio_on,
)


def test_a_failing_step_leaves_its_sibling_to_finish_and_the_rerun_goes_on(tmp_path: Path) -> None:
    """The voice may be paid for already when the picture fails."""
    prompt = cheap_prompt(routes=OWN_ROUTES)
    error = RequestRejectedError("too rude")
    fail, speaking = failing("landscape", error), threading.Event()

    def once_it_speaks(which: str, arguments: LocalArguments) -> None:
        if which == "silence":
            speaking.set()
        assert speaking.wait(20)
        fail(which, arguments)

    failed = attempt(tmp_path, prompt, models=OWN, provider=OwnProvider(before=once_it_speaks))
    rerun = make(tmp_path, prompt, models=OWN)

    assert failed.error is error
    assert error.step == "image"
    assert set(failed.steps) == {Step.AUDIO}
    assert failed.path is None
    assert made(rerun) == {Step.IMAGE, Step.VIDEO, Step.MERGED}
    assert leftovers(tmp_path) == []


def test_a_late_failure_costs_nothing_to_resume(tmp_path: Path) -> None:
    """Three steps are bought when the fourth fails."""
    merge = own_model("merge")
    prompt = cheap_prompt(routes={**OWN_ROUTES, "merged": ["testing:merge"]})
    broken = OwnProvider(before=failing("merge", PredictionFailedError("no")))

    failed = attempt(tmp_path, prompt, models=[*OWN, merge], provider=broken)
    rerun = make(tmp_path, prompt, models=[*OWN, merge])

    assert isinstance(failed.error, PredictionFailedError)
    assert set(failed.steps) == {Step.IMAGE, Step.VIDEO, Step.AUDIO}
    assert made(rerun) == {Step.MERGED}


def test_a_stand_in_is_declared_kept_and_upgraded_when_asked(tmp_path: Path) -> None:
    """A still picture that moves is not what was ordered: it says so everywhere, and stays until someone wants more."""
    prompt = cheap_prompt(script=None, routes={"video": ["testing:ken-burns", "local:ken-burns"]})
    down = OwnProvider(before=failing("ken_burns", ProviderUnavailableError("no route to host")))
    upgrade = MakeOptions(upgrade=True)

    degraded = make(tmp_path, prompt, models=OWN, provider=down)
    kept = make(tmp_path, prompt, models=OWN)
    still_down = make(tmp_path, prompt, models=OWN, provider=down, options=upgrade)
    upgraded = make(tmp_path, prompt, models=OWN, options=upgrade)
    after = make(tmp_path, prompt, models=OWN, options=upgrade)

    video = degraded.steps[Step.VIDEO]
    assert (degraded.degraded, video.degraded, video.model) == (True, True, "local:ken-burns")
    assert video.reason == "fallback: ProviderUnavailableError: no route to host"
    assert (kept.degraded, made(kept), kept.steps[Step.VIDEO].reason) == (True, set(), video.reason)
    assert (still_down.degraded, made(still_down)) == (True, set())
    assert (upgraded.degraded, upgraded.steps[Step.VIDEO].model) == (False, "testing:ken-burns")
    assert made(upgraded) == {Step.VIDEO, Step.MERGED}
    assert (after.degraded, made(after)) == (False, set())


def test_another_paid_model_is_no_degradation(tmp_path: Path) -> None:
    """A fallback of the same kind is a real result; only the reason is worth a note."""
    second = own_model("landscape", id="testing:second")
    prompt = cheap_prompt(
        routes={"image": ["testing:landscape", "testing:second"], "audio": ["local:silence"]}, script=None
    )
    failures = iter([ProviderUnavailableError("down")])

    def first_fails(which: str, _arguments: LocalArguments) -> None:
        for error in failures:
            raise error

    film = make(tmp_path, prompt, models=[*OWN, second], provider=OwnProvider(before=first_fails))

    image = film.steps[Step.IMAGE]
    assert (image.model, image.degraded, film.degraded) == ("testing:second", False, False)
    assert image.reason == "fallback: ProviderUnavailableError: down"


def test_a_paid_fallback_is_reserved_and_counted(tmp_path: Path) -> None:
    """The second model's bill is as real as the first's would have been."""
    second = own_model("landscape", id="testing:second", recovery=Recovery.NONE, usd="0.30")
    first = own_model("landscape", recovery=Recovery.NONE, usd="0.10")
    prompt = cheap_prompt(routes={"image": ["testing:landscape", "testing:second"]}, max_cost_usd="1")
    failures = iter([RequestRejectedError("no")])

    def first_fails(_which: str, _arguments: LocalArguments) -> None:
        for error in failures:
            raise error

    with studio_on(tmp_path, models=[first, second], provider=OwnProvider(before=first_fails)) as studio:
        asyncio.run(studio.make(prompt, wanted={Step.IMAGE}))
        with studio.ledger.database.read() as connection:
            spent = connection.exec_driver_sql("SELECT DISTINCT spent_micro_usd FROM budget").scalar_one()

    assert spent == 300_000


def test_silence_for_a_script_is_degraded_and_a_silent_film_is_not(tmp_path: Path) -> None:
    """A film that should speak and does not must never pass for what was ordered."""
    mute = make(tmp_path, cheap_prompt(key="mute"))
    silent = make(tmp_path, cheap_prompt(key="silent", script=None, routes={}))

    assert (mute.degraded, mute.steps[Step.AUDIO].degraded) == (True, True)
    assert "not spoken" in (mute.steps[Step.AUDIO].reason or "")
    assert (silent.degraded, silent.steps[Step.AUDIO].model) == (False, "local:silence")


def _children() -> set[int]:
    """Return the processes this one has started and that still run."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def test_a_cancel_during_the_video_stops_everything_and_the_rerun_completes(tmp_path: Path) -> None:
    """Terminate must not leave an ffmpeg that burns a core for an hour."""
    prompt = cheap_prompt(clip_s=120, params={"video": {"fps": 30}}, size_px="256x256")
    before = _children(), threading.active_count()

    async def cancel_during_video(studio: Studio) -> float:
        loop, moving = asyncio.get_running_loop(), asyncio.Event()

        def watch(event: Event) -> None:
            if event.step is Step.VIDEO and event.what == "progress":
                loop.call_soon_threadsafe(moving.set)

        making = asyncio.ensure_future(studio.make(prompt, on_event=watch))
        await asyncio.wait_for(moving.wait(), 60)
        assert _children() > before[0], "ffmpeg should be running now"
        canceled_at = time.monotonic()
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
        return time.monotonic() - canceled_at

    with studio_on(tmp_path) as studio:
        took_s = asyncio.run(cancel_during_video(studio))
        assert _children() == before[0]

    states = {step: row.state for step, row in purchases(tmp_path).items()}
    assert states == {
        Step.IMAGE: PurchaseState.SUCCEEDED,
        Step.VIDEO: PurchaseState.CANCELED,
        Step.AUDIO: PurchaseState.SUCCEEDED,
    }
    assert took_s < 5
    assert threading.active_count() == before[1]
    assert leftovers(tmp_path) == []
    # Another length would be another request, so the rerun asks for the clip alone, in fewer frames.
    shorter = make(tmp_path, cheap_prompt(size_px="256x256"))
    assert Step.IMAGE not in made(shorter)


def test_a_canceled_film_is_completed_by_the_next_run(tmp_path: Path) -> None:
    """The same prompt, canceled in the middle of its clip, goes on from what was finished."""
    prompt = cheap_prompt(routes=OWN_ROUTES)
    at_work = threading.Event()

    def until_stopped(which: str, arguments: LocalArguments) -> None:
        if which == "ken_burns":
            at_work.set()
            arguments.work.stop.wait(20)
            arguments.work.check()

    async def cancel_during_video(studio: Studio) -> None:
        making = asyncio.ensure_future(studio.make(prompt))
        await asyncio.to_thread(at_work.wait, 20)
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making

    with studio_on(tmp_path, models=OWN, provider=OwnProvider(before=until_stopped)) as studio:
        asyncio.run(cancel_during_video(studio))

    rerun = make(tmp_path, prompt, models=OWN)

    assert Step.IMAGE not in made(rerun)
    assert rerun.steps[Step.VIDEO].attempts == 2
    assert rerun.path is not None
    assert reserved_micro_usd(tmp_path) == 0


@pytest.mark.parametrize(
    ("script", "clip_s"),
    [("The light turns all night, and every ship comes home at last.", 3.4), ("Home at last, all of us.", 1.6)],
)
def test_after_video_the_voice_lasts_as_long_as_the_clip(tmp_path: Path, script: str, clip_s: float) -> None:
    """The guide's "match video duration": speech and clip differ by at most a tenth."""
    prompt = cheap_prompt(script=script, clip_s=clip_s, routes={})

    film = make(tmp_path, prompt, settings=CHEAP.model_copy(update={"audio_timing": "after_video"}))

    clip, voice = (film.steps[step].artifact for step in (Step.VIDEO, Step.AUDIO))
    assert clip is not None
    assert voice is not None
    assert voice.info.duration_s == pytest.approx(clip.info.duration_s, rel=0.1)
    assert film.degraded is False


_SHORT_S, _LONG_S = 0.83, 2.96
_SCRIPTS = {_SHORT_S: "Hello there.", _LONG_S: "Hello there, my good friends, how are you today?"}


@pytest.mark.parametrize(
    ("fit", "clip_s", "voice_s", "film_s"),
    [
        ("hold", 2.0, _SHORT_S, 2.0),
        ("hold", 1.0, _LONG_S, _LONG_S),
        ("loop", 2.0, _SHORT_S, 2.0),
        ("loop", 1.0, _LONG_S, _LONG_S),
        ("trim", 2.0, _SHORT_S, _SHORT_S),
        ("trim", 1.0, _LONG_S, _LONG_S),
        ("stretch", 1.0, _SHORT_S, 1.0),
    ],
)
def test_clip_and_voice_become_one_film_by_the_policy(
    tmp_path: Path, fit: str, clip_s: float, voice_s: float, film_s: float
) -> None:
    """Speech is never cut and a film is never longer than its policy says."""
    film = make(tmp_path, cheap_prompt(fit=fit, clip_s=clip_s, script=_SCRIPTS[voice_s]))

    voice, merged = (film.steps[step].artifact for step in (Step.AUDIO, Step.MERGED))
    assert voice is not None
    assert merged is not None
    assert voice.info.duration_s == pytest.approx(voice_s, abs=0.3)
    wanted_s = voice.info.duration_s if film_s == voice_s else film_s
    assert merged.info.video_duration_s == pytest.approx(wanted_s, abs=0.51 if fit == "trim" else 0.1)
    assert merged.info.audio_duration_s == pytest.approx(wanted_s, abs=0.1)


def test_a_voice_that_cannot_be_stretched_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Found out after the purchases it would be found out too late."""
    film = attempt(tmp_path, cheap_prompt(fit="stretch", clip_s=1.0, script=_SCRIPTS[_LONG_S]))

    assert isinstance(film.error, PlanError)
    assert [(problem.where, problem.field) for problem in film.error.problems] == [("merged", "fit")]
    assert purchases(tmp_path) == {}
