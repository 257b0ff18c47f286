"""A poster is a small picture of the film, and a file that shows nothing has none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_assets.errors import ProbeError
from media_assets.media.poster import poster
from media_assets_tests.media.makers import clip_of, encode, moving_clip, textured


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as picture:
        return picture.convert("RGB")


@pytest.mark.parametrize(
    ("film", "poster_px"),
    [("160x120", (160, 120)), ("1280x720", (640, 360)), ("360x1280", (180, 640))],
)
def test_it_is_small_and_keeps_its_shape(tmp_path: Path, film: str, poster_px: tuple[int, int]) -> None:
    """A page has hundreds; what is small already is not blown up."""
    data = poster(moving_clip(tmp_path / "film.mp4", size=film, seconds=0.5))

    assert _opened(data).size == poster_px
    assert len(data) < 60_000


def test_it_is_from_within_the_film(tmp_path: Path) -> None:
    """First and last frames are often black."""
    black, shown = textured(64, 64) * 0, textured(64, 64)
    film = clip_of(tmp_path / "film.mp4", [black, black, *[shown] * 8, black, black])

    assert np.asarray(_opened(poster(film))).max() > 100


def test_a_long_way_from_the_last_key_frame_is_not_gone(tmp_path: Path) -> None:
    """A minute of film with one key frame would be decoded for a picture of it."""
    film = moving_clip(tmp_path / "film.mp4", seconds=12, size="64x64", more="-g 1000")

    assert _opened(poster(film)).size == (64, 64)


@pytest.mark.parametrize("what", ["sound", "nothing", "cut", "missing"])
def test_what_shows_nothing_has_none(tmp_path: Path, what: str) -> None:
    """One film that is damaged must be told from all others, not end the page."""
    path = tmp_path / "film.mp4"
    if what == "sound":
        encode(path, "-f", "lavfi", "-i", "sine=f=440:d=0.2")
    elif what == "cut":
        whole = moving_clip(tmp_path / "whole.mp4", size="64x64", seconds=0.5).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif what == "nothing":
        path.write_bytes(b"")

    with pytest.raises(ProbeError):
        poster(path)
