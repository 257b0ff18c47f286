"""The free picture: the same everywhere, of what the prompt says, at every size."""

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_assets.errors import ConformError, StoppedError
from media_assets.media._composition import LANDS, TIMES, Painting, Scene
from media_assets.media._scenery import Canvas
from media_assets.media.draw import _LANDS, _TIMES, _scene, draw_landscape, write_landscape
from media_assets.media.work import Work

SMALL = (160, 90)


def scene_of(prompt: str) -> Scene:
    return _scene(prompt, Canvas(64, 64, f"0\0{prompt}"))


def painted(scene: Scene) -> np.ndarray:
    canvas = Canvas(*SMALL, "0\0the same chances")
    Painting(canvas, scene, Work(scratch=Path())).paint()
    return canvas.pixels


def test_equal_arguments_draw_equal_pixels_in_another_process() -> None:
    """A free artifact that was lost is made again, and a hash seed must not change it."""
    here = hashlib.sha256(draw_landscape("a cat at night", seed=7, size_px=SMALL).tobytes())
    program = (
        "import hashlib; from media_assets.media.draw import draw_landscape as d;"
        "print(hashlib.sha256(d('a cat at night', seed=7, size_px=(160, 90)).tobytes()).hexdigest())"
    )

    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert there.stdout.strip() == here.hexdigest()


def test_another_seed_or_prompt_draws_another_picture() -> None:
    """A new take without a seed of its own would otherwise give the old picture again."""
    prompts_and_seeds = [("hills", 1), ("hills", 2), ("hills", -1), ("hills", 2**80), ("hill", 1)]

    pictures = {draw_landscape(p, seed=s, size_px=SMALL).tobytes() for p, s in prompts_and_seeds}

    assert len(pictures) == len(prompts_and_seeds)


@pytest.mark.parametrize(
    ("prompt", "land", "time"),
    [
        ("A lighthouse at DUSK", "sea", "dusk"),
        ("Forests in the morning", "forest", "dawn"),
        ("a city at night", "city", "night"),
        ("snow on the mountains at noon", "mountains", "day"),
        ("a storm over the sea", "sea", "storm"),
        ("a storm over the sea at night", "sea", "night"),
        ("camels, dunes; sunset!", "desert", "dusk"),
    ],
)
def test_the_prompts_words_choose_the_scene(prompt: str, land: str, time: str) -> None:
    """A picture of something else than the prompt would make a film nobody asked for."""
    scene = scene_of(prompt)

    assert (scene.land, scene.time) == (land, time)


@pytest.mark.parametrize(
    ("prompt", "thing", "there"),
    [
        ("a cat", "cat", True),
        ("Cats!", "cat", True),
        ("scattered cattle, a catalog", "cat", False),
        ("friendship and worship", "boat", False),
        ("a ship", "boat", True),
        ("the lighthouse", "lighthouse", True),
        ("light house", "lighthouse", False),
    ],
)
def test_only_whole_words_name_things(prompt: str, thing: str, there: bool) -> None:  # noqa: FBT001 - a table
    """Parts of words put a cat into every picture of something scattered."""
    assert (thing in scene_of(prompt).things) is there


def test_every_word_leads_to_a_scene_that_exists() -> None:
    """A word table that names a land nobody paints fails only for the user who writes that word."""
    assert set(_LANDS) == set(LANDS)
    assert {*_TIMES, "storm"} == set(TIMES)


@pytest.mark.parametrize(
    ("thing", "land"),
    [
        ("lighthouse", "sea"),
        ("boat", "lake"),
        ("cat", "hills"),
        ("cat", "city"),
        ("bird", "forest"),
        ("snowfall", "hills"),
    ],
)
def test_a_thing_is_seen(thing: str, land: str) -> None:
    """A thing painted outside the frame, or behind the land, is a thing left out."""
    without = painted(Scene(land, "day", clouded=False, water=None, things=frozenset()))

    with_it = painted(Scene(land, "day", clouded=False, water=None, things=frozenset({thing})))

    changed = np.abs(with_it - without).max(axis=2) > 0.05
    assert 0.001 < changed.mean() < 0.5


def test_a_cactus_grows_in_every_desert_that_names_one() -> None:
    """Some deserts have them by chance; one that was asked for must."""
    scene = scene_of("a cactus")

    assert scene.land == "desert"
    assert "cactus" in scene.things


@pytest.mark.parametrize("time", sorted(TIMES))
@pytest.mark.parametrize("land", sorted(LANDS))
def test_every_scene_has_light_and_shape(land: str, time: str) -> None:
    """The judge refuses black or flat pictures, and the free stand-in must always pass it."""
    pixels = np.clip(painted(Scene(land, time, clouded=False, water=None, things=frozenset())), 0, 1)

    assert np.isfinite(pixels).all()
    assert 0.03 < pixels.mean() < 0.9
    assert pixels.std() > 0.03


@pytest.mark.parametrize("prompt", ["", " ", "猫と海", "Маяк на закате", "%{n} \\ \" '", "x" * 4000, "\0"])
def test_any_text_gives_a_picture(prompt: str) -> None:
    """The stand-in is the last entry of a route: there is nothing behind it."""
    picture = draw_landscape(prompt, seed=0, size_px=(96, 64))

    assert np.asarray(picture).std() > 5


@pytest.mark.parametrize("size_px", [(64, 64), (65, 97), (333, 65), (64, 1200), (1200, 64)])
@pytest.mark.parametrize("prompt", ["lighthouse and a boat", "a city with a cat", "snowfall in the forest"])
def test_every_size_is_drawn_as_asked(prompt: str, size_px: tuple[int, int]) -> None:
    """Odd, narrow and very large sizes are where a drawing by proportions breaks."""
    picture = draw_landscape(prompt, seed=3, size_px=size_px)

    assert picture.size == size_px
    assert picture.mode == "RGB"
    assert np.asarray(picture).std() > 5


def test_a_large_picture_is_as_large_as_asked() -> None:
    """Above four million pixels a picture is drawn smaller and enlarged."""
    picture = draw_landscape("the sea", seed=3, size_px=(3001, 1401))

    assert picture.size == (3001, 1401)
    assert np.asarray(picture.reduce(8)).std() > 5


@pytest.mark.parametrize("size_px", [(63, 64), (64, 4097), (0, 0)])
def test_a_size_out_of_range_is_refused(size_px: tuple[int, int]) -> None:
    """A size from a prompt file must not exhaust the memory or divide by nothing."""
    with pytest.raises(ConformError, match=f"{size_px[0]}x{size_px[1]}"):
        draw_landscape("hills", seed=0, size_px=size_px)


def test_the_file_is_a_plain_png_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    """A time or a program name in the file would give each machine another digest."""
    for name in ("a.png", "b.png"):
        write_landscape("hills", seed=1, size_px=SMALL, target=tmp_path / name, work=Work(scratch=tmp_path))

    data = (tmp_path / "a.png").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", SMALL)
        assert picture.info == {}
        assert picture.tobytes() == draw_landscape("hills", seed=1, size_px=SMALL).tobytes()
    assert data == (tmp_path / "b.png").read_bytes()


def test_a_stop_leaves_no_file(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a batch has to end the drawing too."""
    stop = threading.Event()
    target = tmp_path / "a.png"
    work = Work(scratch=tmp_path, stop=stop, tell=lambda _: stop.set())

    with pytest.raises(StoppedError):
        write_landscape("forest", seed=1, size_px=SMALL, target=target, work=work)

    assert not target.exists()
