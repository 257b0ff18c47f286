"""No file that a provider returns hurts: the hostile corpus bought as pictures, clips and voices, up to the film.

What each file must be judged to be is in ``media/test_hostile_media.py``; here it comes through everything else.
"""

import ctypes
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.errors import JudgeError, ProbeError, Rerun, UnexpectedResponseError
from media_assets.ledger.rows import PurchaseState
from media_assets.media import examine as examine_module
from media_assets.media.examine import COMMAND, DEADLINE_S, Ended
from media_assets.media.probe import probe
from media_assets.prompt import Prompt, Step
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.hostile_scene import Attempt, Scene, micro_usd, open_scene, prompt_of
from media_assets_tests.media.hostile_makers import NO_MEDIA, PICTURES, playlists
from media_assets_tests.media.hostile_streams import SOUNDS, VIDEOS, Sources
from media_assets_tests.media.watching import HAS_PROC, children
from media_assets_tests.witness import watched

PROVIDERS = {Step.IMAGE: "replicate", Step.VIDEO: "replicate", Step.AUDIO: "fal"}
MODELS = {Step.IMAGE: "replicate:sdxl", Step.VIDEO: "replicate:stable-video-diffusion", Step.AUDIO: "fal:kokoro"}

_OF_EACH_KIND = 1000 if LONG else 4
_ODD_AND_GOOD = {
    Step.IMAGE: ("png_16_bit_rgb", "jpeg_turned_6"),
    Step.VIDEO: ("mp4_odd_size", "mp4_uneven_pictures"),
    Step.AUDIO: ("mp3_large_cover",),
}
"""Tried in every run: few of the corpus are good, and they are what later steps have to bear."""
_MARK = "CANARY-4711"
_SWITCHING = "mp3_switching"
"""Tried by itself, below."""
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER (prctl(2)): what a dead child has left running becomes ours, and so is seen."""


def _small_models() -> list[ModelSpec]:
    """Return the models with room for the corpus, whose files are small so that making them takes no time."""
    catalog = load_catalog()
    picture, clip = catalog.get(MODELS[Step.IMAGE]), catalog.get(MODELS[Step.VIDEO])
    assert picture.sizes is not None
    return [
        picture.model_copy(update={"sizes": picture.sizes.model_copy(update={"min_px": 32})}),
        clip.model_copy(update={"clip_size": None, "accepts": {}}),
    ]


def _prompt(number: int, name: str, step: Step) -> Prompt:
    """Return a prompt that the corpus' good files fit: 96 x 64 pixels, two seconds, a sentence."""
    changes: dict[str, object] = {"size_px": (96, 64)}
    if step is Step.VIDEO:
        changes = {"size_px": (160, 120), "clip_s": 2.0, "params": {}}
    elif name.removeprefix("jpeg_turned_") in {"5", "6", "7", "8"}:
        changes = {"size_px": (64, 96)}
    key = f"{number}-{name.replace('_', '-')}"
    return prompt_of(key, number, step, MODELS[step], script="two seconds of speech here", **changes)


@dataclass(frozen=True)
class Bought:
    """A file that was bought, and what became of it."""

    name: str
    attempt: Attempt
    end: Ended | None
    """Of the process that examined it; None for words in the place of a file, which nobody examines."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("films") / "home"
    with open_scene(home, *_small_models(), min_image_side_px=32) as scene:
        yield scene


@pytest.fixture(scope="module")
def corpus(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[Step, dict[str, Callable[[], bytes]]]:
    """Return what makes each file, by the step it is bought for; what is no medium at all, for each in turn."""
    folder = tmp_path_factory.mktemp("sources")
    secret = folder / "secret.txt"
    secret.write_text(_MARK)
    sources = Sources.make(folder)
    files: dict[Step, dict[str, Callable[[], bytes]]] = {
        Step.IMAGE: dict(PICTURES),
        Step.VIDEO: {name: partial(make, sources) for name, make in VIDEOS.items()},
        Step.AUDIO: {name: partial(make, sources) for name, make in SOUNDS.items()},
    }
    for number, (name, data) in enumerate({**NO_MEDIA, **playlists(scene.canary.url, secret)}.items()):
        files[list(files)[number % len(files)]][name] = partial(bytes, data)
    return files


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Ended]:
    """Return how every examining process ended; the real runner runs it."""
    seen: list[Ended] = []
    real = examine_module.run_limited

    def heard(*arguments: object, **more: object) -> Ended:
        seen.append(real(*arguments, **more))  # type: ignore[arg-type]
        return seen[-1]

    monkeypatch.setattr(examine_module, "run_limited", heard)
    return seen


@pytest.fixture
def orphans() -> Iterator[Callable[[], set[int]]]:
    """Return what lists our processes, those included that a process of ours has started and left behind."""
    adopt = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0
    adopt(_SUBREAPER, 1, 0, 0, 0)
    yield lambda: children() if HAS_PROC else set()
    adopt(_SUBREAPER, 0, 0, 0, 0)


def _assert_good(one: Bought) -> None:
    film, row = one.attempt.film, one.attempt.row
    assert film.error is None
    assert film.path is not None
    info = probe(film.path)
    assert (info.video_codec, info.audio_codec) == ("h264", "aac"), one.name
    assert info.video_duration_s == pytest.approx(info.audio_duration_s, abs=0.1), one.name
    assert row.state is PurchaseState.SUCCEEDED
    assert row.artifact is not None
    assert not film.degraded or Step(row.step) is not Step.AUDIO


def _assert_clear_failure(one: Bought) -> None:
    error, row = one.attempt.film.error, one.attempt.row
    assert error is not None
    if one.end is None:
        assert isinstance(error, UnexpectedResponseError), (one.name, error)
        assert " sent in the place of a finished output is " in error.message, (one.name, error)
        assert (error.rerun, row.state, row.artifact) == (Rerun.RESUME, PurchaseState.DONE, None), one.name
    else:
        assert isinstance(error, ProbeError | JudgeError), (one.name, error)
        assert error.rerun is Rerun.NEVER, (one.name, error)
        beginnings = ("output ", "the picture ", "the clip ", "the voice ")
        assert error.message.startswith(beginnings), (one.name, error.message)
        assert row.state is PurchaseState.FAILED_PAID, one.name
        assert row.artifact is not None, "it is all that the money brought"
    assert len(error.message) < 500, one.name
    assert _MARK not in error.message, one.name
    assert row.error is not None
    assert row.error["message"] == error.message, one.name


def _assert_child_was_modest(name: str, end: Ended) -> None:
    # Linux counts this process's own peak as its child's, and no less can be seen; how much memory it may take is held
    # by its limit, and its limit in the tests of examine.
    assert end.usage.wall_s < DEADLINE_S, name
    assert end.exit_code == 0, name
    assert not end.was_late, name


def _sample(corpus: dict[Step, dict[str, Callable[[], bytes]]]) -> list[tuple[Step, str]]:
    chance = random.Random(20261125)  # noqa: S311 - not a secret
    chosen = []
    for step, files in corpus.items():
        names = sorted({*files} - {_SWITCHING, *_ODD_AND_GOOD[step]})
        chosen += [(step, name) for name in _ODD_AND_GOOD[step]]
        chosen += [(step, name) for name in chance.sample(names, min(_OF_EACH_KIND, len(names)))]
    return chosen


@pytest.mark.timeout(1200 if LONG else 600)
def test_every_hostile_file_ends_in_a_clear_error_or_a_good_film(
    scene: Scene,
    corpus: dict[Step, dict[str, Callable[[], bytes]]],
    ends: list[Ended],
    orphans: Callable[[], set[int]],
    record_property: Callable[[str, object], None],
) -> None:
    """Bombs, lies, playlists and error pages; what is odd and good goes on, and what follows must bear it."""
    running, bought = orphans(), []
    for number, (step, name) in enumerate(_sample(corpus), start=1):
        scene.hand_out(PROVIDERS[step], scene.store(PROVIDERS[step], corpus[step][name](), mime="image/png"))
        with watched() as witness:
            attempt = scene.attempt(_prompt(number, name, step), step)
        scene.assert_untouched(witness)
        assert orphans() <= running, name
        bought.append(Bought(name, attempt, ends.pop() if ends else None))
        assert ends == [], name

    good = [one for one in bought if one.attempt.film.error is None]
    bad = [one for one in bought if one.attempt.film.error is not None]
    total = sum(map(len, corpus.values()))
    record_property(
        SAMPLE, f"{len(bought)} of {total} hostile files bought: {len(good)} films, {len(bad)} clear errors"
    )
    for one in bought:
        assert one.attempt.posts == 1, one.name
        assert one.attempt.row.cost_micro_usd == micro_usd(one.attempt.billed_usd) > 0, one.name
        if one.end is not None:
            _assert_child_was_modest(one.name, one.end)
        (_assert_good if one in good else _assert_clear_failure)(one)
    assert min(len(good), len(bad)) >= 3, "both ways have to be gone"
    assert _MARK not in "".join(str(vars(one.attempt.row)) for one in bought)
    scene.attempt_again([one.attempt for one in bought])


def test_what_examines_a_file_is_given_nothing_of_ours(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a decoder taken over, it would find no key in its environment and no address in its command."""
    monkeypatch.setenv("REPLICATE_API_TOKEN", _MARK)
    scene.hand_out("replicate", scene.store("replicate", PICTURES["png_rgba"]()) + f"&X={_MARK}")

    with watched() as witness:
        attempt = scene.attempt(_prompt(9001, "png_rgba", Step.IMAGE), Step.IMAGE, wanted={Step.IMAGE})

    assert attempt.film.error is None
    (started,) = (one for one in witness.started if one.command == COMMAND)
    assert started.environment is not None
    assert not {name for name in started.environment if "KEY" in name or "TOKEN" in name}
    assert _MARK not in str(started)


def test_a_voice_that_changes_its_rate_on_the_way_becomes_a_film(
    scene: Scene, corpus: dict[Step, dict[str, Callable[[], bytes]]]
) -> None:
    """Services that speak sentence by sentence send such files; the voice is judged good and is paid for."""
    scene.hand_out("fal", scene.store("fal", corpus[Step.AUDIO][_SWITCHING]()))

    attempt = scene.attempt(_prompt(9002, _SWITCHING, Step.AUDIO), Step.AUDIO)

    assert attempt.row.state is PurchaseState.SUCCEEDED
    assert attempt.film.error is None
