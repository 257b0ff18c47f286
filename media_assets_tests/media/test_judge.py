"""What is good enough to build on, and what is not."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from media_assets.errors import JudgeError
from media_assets.media.judge import Verdict, judge_audio, judge_film, judge_image, judge_video
from media_assets.media.probe import probe
from media_assets_tests.media.makers import (
    Pixels,
    clip_of,
    encode,
    moving_clip,
    night_scene,
    speech_like,
    textured,
    tone,
    write_wav,
)


def _save(path: Path, pixels: Pixels) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def _judged_image(path: Path, size_px: tuple[int, int] | None = None, min_side_px: int = 64) -> Verdict:
    return judge_image(path, probe(path), requested_size_px=size_px, min_side_px=min_side_px)


def _judged_clip(path: Path, requested_s: float | None = None) -> Verdict:
    return judge_video(path, probe(path), requested_size_px=None, requested_duration_s=requested_s, check_motion=True)


def test_an_ordinary_picture_is_good(tmp_path: Path) -> None:
    """The numbers are what a person sees in the UI."""
    verdict = _judged_image(_save(tmp_path / "a.png", textured(128, 96)), size_px=(128, 96))

    assert verdict.is_good
    assert verdict.numbers["black_ratio"] == 0
    assert 60 < verdict.numbers["mean_luma"] < 200


def test_a_night_scene_is_good(tmp_path: Path) -> None:
    """Judging by the mean brightness would throw away a picture that was paid for."""
    verdict = _judged_image(_save(tmp_path / "a.png", night_scene(1024, 576)))

    assert verdict.is_good
    assert verdict.numbers["mean_luma"] < 4


@pytest.mark.parametrize("noise", [0, 6])
def test_a_black_picture_is_bad(tmp_path: Path, noise: int) -> None:
    """Content filters answer with success and a black picture."""
    pixels = np.random.default_rng(1).integers(0, noise + 1, (96, 128, 3)).astype(np.uint8)

    verdict = _judged_image(_save(tmp_path / "a.jpg", pixels))

    assert "it is black" in verdict.problems[0]
    assert verdict.numbers["black_ratio"] == 1


def test_a_blank_picture_is_bad(tmp_path: Path) -> None:
    """A model that fails quietly returns one grey."""
    verdict = _judged_image(_save(tmp_path / "a.png", np.full((96, 128, 3), 127, np.uint8)))

    assert verdict.problems == ("it is one flat colour",)


@pytest.mark.parametrize(
    ("size_px", "requested_px", "problem"),
    [
        ((128, 96), (128, 96), None),
        ((136, 104), (132, 100), None),
        ((256, 192), (128, 96), None),
        ((96, 128), (128, 96), "another shape"),
        ((128, 128), (128, 96), "another shape"),
        ((80, 60), (128, 96), "much smaller"),
        ((60, 60), (60, 60), "at least 64 px"),
    ],
)
def test_the_size_must_be_near_what_was_requested(
    tmp_path: Path, size_px: tuple[int, int], requested_px: tuple[int, int], problem: str | None
) -> None:
    """Models round to their own grid; another shape would lose half the picture to cropping."""
    verdict = _judged_image(_save(tmp_path / "a.png", textured(*size_px)), size_px=requested_px)

    assert verdict.is_good if problem is None else problem in verdict.problems[0]


def test_a_picture_that_is_cut_short_is_bad(tmp_path: Path) -> None:
    """Its header still promises the whole."""
    path = _save(tmp_path / "a.jpg", textured(256, 256))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert "cut short" in _judged_image(path).problems[0]


def test_a_file_that_changed_since_it_was_probed_is_bad(tmp_path: Path) -> None:
    """A verdict must be about the bytes that are used."""
    path = _save(tmp_path / "a.png", textured(128, 96))
    info = probe(path)
    _save(path, textured(256, 96))

    assert "no longer" in judge_image(path, info, requested_size_px=None).problems[0]


def test_another_medium_is_bad_whatever_else_it_is(tmp_path: Path) -> None:
    """A provider that answers a picture for a video must not get as far as a decoder."""
    picture = _save(tmp_path / "a.png", textured(128, 96))
    clip = moving_clip(tmp_path / "a.mp4", seconds=1)

    assert "not video" in _judged_clip(picture).problems[0]
    assert "not image" in _judged_image(clip).problems[0]
    assert "not audio" in judge_audio(clip, probe(clip), text=None).problems[0]
    assert "not video" in judge_film(picture, probe(picture), target_s=1).problems[0]


def test_a_moving_clip_is_good(tmp_path: Path) -> None:
    """The ordinary case, with what was requested."""
    path = moving_clip(tmp_path / "a.mp4", seconds=2, sound_s=1)

    verdict = judge_video(path, probe(path), requested_size_px=(160, 120), requested_duration_s=2.4, check_motion=True)

    assert verdict.is_good
    assert verdict.numbers["motion_mean"] > 5
    assert verdict.numbers["frozen_s"] == 0


@pytest.mark.parametrize(
    ("seconds", "requested_s", "problem"),
    [(0.5, None, "at least 1 s"), (2, 4, "2.00 s instead of 4.00 s"), (2, 1, "2.00 s instead of 1.00 s")],
)
def test_a_clip_of_a_wrong_length_is_bad(
    tmp_path: Path, seconds: float, requested_s: float | None, problem: str
) -> None:
    """Five seconds were paid for, one came."""
    verdict = _judged_clip(moving_clip(tmp_path / "a.mp4", seconds=seconds), requested_s)

    assert problem in verdict.problems[0]


def test_a_black_clip_is_bad(tmp_path: Path) -> None:
    """As with pictures, but a clip also begins black for a moment."""
    black = np.zeros((96, 128, 3), np.uint8)
    light = textured(128, 96)

    assert "black" in _judged_clip(clip_of(tmp_path / "a.mp4", [black] * 30)).problems[0]
    assert _judged_clip(clip_of(tmp_path / "b.mp4", [*[black] * 12, *[light] * 12])).is_good


def _zoomed(pixels: Pixels, zoom: float) -> Pixels:
    height, width, _ = pixels.shape
    box = (0.0, 0.0, width / zoom, height / zoom)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, box=box))


def test_a_slow_zoom_over_a_night_scene_moves(tmp_path: Path) -> None:
    """The stand-in clip may be minutes long: from one sample to the next it hardly changes."""
    scene = night_scene(320, 192)
    pictures = [_zoomed(scene, 1 + 0.03 * n / 48) for n in range(48)]

    assert _judged_clip(clip_of(tmp_path / "a.mp4", pictures)).is_good


def test_one_small_thing_that_moves_is_motion(tmp_path: Path) -> None:
    """A bird in a still sky is what was asked for; the mean difference alone does not see it."""
    pictures = []
    for n in range(36):
        picture = Image.fromarray(textured(320, 192))
        ImageDraw.Draw(picture).rectangle((4 * n, 20, 4 * n + 8, 28), fill="black")
        pictures.append(np.asarray(picture))

    verdict = _judged_clip(clip_of(tmp_path / "a.mp4", pictures))

    assert verdict.is_good
    assert verdict.numbers["motion_mean"] < 1


@pytest.mark.parametrize("crf", [18, 38])
def test_a_frozen_clip_is_bad_only_where_motion_is_wanted(tmp_path: Path, crf: int) -> None:
    """Encoding noise must not pass for motion; a stand-in from a still is judged without this."""
    path = clip_of(tmp_path / "a.mp4", [textured(320, 192)] * 36, crf=crf)
    info = probe(path)

    assert "nothing in it moves" in _judged_clip(path).problems
    assert judge_video(path, info, requested_size_px=None, requested_duration_s=None, check_motion=False).is_good


def test_a_long_clip_is_judged_by_its_key_pictures(tmp_path: Path) -> None:
    """Decoding minutes of video would hold up the film by seconds."""
    moving = moving_clip(tmp_path / "a.mp4", fps="4", seconds=70, size="64x64", more="-g 8")
    sparse = moving_clip(tmp_path / "b.mp4", fps="4", seconds=70, size="64x64", more="-g 9999")
    frozen = clip_of(tmp_path / "c.mp4", [textured(64, 64)] * 70, fps=1)

    assert _judged_clip(moving, 70).is_good
    assert _judged_clip(sparse, 70).is_good
    assert "nothing in it moves" in _judged_clip(frozen, 70).problems


def test_a_clip_with_a_damaged_end_is_bad(tmp_path: Path) -> None:
    """The index is whole and the size is right, yet the last second is zeros."""
    path = moving_clip(tmp_path / "a.mp4", seconds=2, more="-movflags +faststart -bf 0")
    data = bytearray(path.read_bytes())
    start = len(data) * 6 // 10
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)

    assert not _judged_clip(path).is_good


def test_a_voice_is_good(tmp_path: Path) -> None:
    """Four seconds for fifty letters."""
    path = write_wav(tmp_path / "a.wav", speech_like(4))

    verdict = judge_audio(path, probe(path), text="A lighthouse keeper watches the storm roll in from the sea.")

    assert verdict.is_good
    assert verdict.numbers["letters_per_s"] == pytest.approx(12, abs=1)


@pytest.mark.parametrize("kind", ["silence", "hum below hearing", "one click"])
def test_a_silent_voice_is_bad(tmp_path: Path, kind: str) -> None:
    """Speech services have returned digital silence with status 200."""
    samples = tone(3, level=0.001 if kind == "hum below hearing" else 0)
    if kind == "one click":
        samples[30_000:30_020] = 1
    path = write_wav(tmp_path / "a.wav", samples)
    info = probe(path)

    assert "it is silent" in judge_audio(path, info, text=None).problems
    assert judge_audio(path, info, text="The stand-in says nothing.", silent_ok=True).is_good


@pytest.mark.parametrize(
    ("text", "seconds", "problem"),
    [
        ("Hi.", 0.5, None),
        ("Yes.", 3, None),
        ("In 2026 it was 1,250 metres high.", 5, None),
        ("灯台守は海から来る嵐を見つめている。", 4, None),
        ("Every word of this text was paid for and ought to be heard.", 0.8, "too short"),
        ("Hi.", 9, "too long"),
    ],
)
def test_the_length_must_suit_the_text(tmp_path: Path, text: str, seconds: float, problem: str | None) -> None:
    """A voice that breaks off, or babbles on, has the right format and the wrong content."""
    path = write_wav(tmp_path / "a.wav", speech_like(seconds))

    verdict = judge_audio(path, probe(path), text=text)

    assert verdict.is_good if problem is None else problem in verdict.problems[0]


KEEPER = "A lighthouse keeper watches the storm roll in from the sea."
"""48 letters, which take 4 s at the usual speed."""


@pytest.mark.parametrize(
    ("speed", "seconds", "problem"),
    [
        (0.25, 16, None),
        (0.25, 4, None),
        (0.25, 1.5, "too short for a text of about 48 letters at 0.25 times the usual speed"),
        (0.25, 53, "too long"),
        (0.5, 8, None),
        (2.0, 2, None),
        (4.0, 1, None),
        (4.0, 4, None),
        (4.0, 10, "too long for a text of about 48 letters at 4 times the usual speed"),
        (1.0, 1, "too short for a text of about 48 letters:"),
    ],
)
def test_a_voice_is_judged_at_the_speed_it_was_bought_at(
    tmp_path: Path, speed: float, seconds: float, problem: str | None
) -> None:
    """What was ordered is no fault. Nor is the usual speed: providers have been known to pass over a speed."""
    path = write_wav(tmp_path / "a.wav", speech_like(seconds))

    verdict = judge_audio(path, probe(path), text=KEEPER, speed=speed)

    assert verdict.is_good if problem is None else problem in verdict.problems[0]


def test_a_long_voice_at_four_times_its_speed_may_not_break_off(tmp_path: Path) -> None:
    """480 letters take 10 s at four times the usual speed; 3 s of them are not the text."""
    path = write_wav(tmp_path / "a.wav", speech_like(3))

    assert "too short" in judge_audio(path, probe(path), text=KEEPER * 10, speed=4.0).problems[0]


def test_a_film_is_judged_by_both_its_streams(tmp_path: Path) -> None:
    """A film may have the right length and a sound that ends halfway."""
    more = "-ar 48000 -ac 2 -movflags +faststart"
    good = moving_clip(tmp_path / "good.mp4", seconds=2, sound_s=2, more=more)
    short = moving_clip(tmp_path / "short.mp4", seconds=2, sound_s=1.5, more=more)
    mute = moving_clip(tmp_path / "mute.mp4", seconds=2, more="-movflags +faststart")
    mono = moving_clip(tmp_path / "mono.mp4", seconds=2, sound_s=2, more="-movflags +faststart")
    late = moving_clip(tmp_path / "late.mp4", seconds=2, sound_s=2, more="-ar 48000 -ac 2")
    other = encode(tmp_path / "other.mp4", "-i", str(good), "-c:v", "mpeg4", "-c:a", "copy", "-movflags", "+faststart")

    def problems(path: Path, target_s: float = 2) -> str:
        return "; ".join(judge_film(path, probe(path), target_s=target_s).problems)

    assert problems(good) == ""
    assert problems(good, 2.09) == ""
    assert "picture lasts 2.00 s instead of 2.20 s" in problems(good, 2.2)
    assert "differ by 0.50 s" in problems(short)
    assert "missing" in problems(mute)
    assert "44100 Hz and 1 channels" in problems(mono)
    assert "index is at its end" in problems(late)
    assert "mpeg4, not h264" in problems(other)


def test_require_raises_with_every_problem_and_number(tmp_path: Path) -> None:
    """The error crosses processes and ends up in front of a person who may overrule it."""
    Verdict((), {"mean_luma": 3.0}).require("the image")

    with pytest.raises(JudgeError, match=r"the image is not good enough: it is black; it is small\.") as caught:
        Verdict(("it is black", "it is small"), {"mean_luma": 0.0}).require("the image")

    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert copy.verdict == {"problems": ["it is black", "it is small"], "mean_luma": 0.0}
