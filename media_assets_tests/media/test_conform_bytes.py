"""How large a conformed picture may be: quality is given up step by step, and the note says how much."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_assets.errors import ConformError
from media_assets.media.conform import QUALITIES, conform_image, conformed
from media_assets.media.recipes import ImageRecipe
from media_assets.request import InputRef
from media_assets_tests.media.makers import textured

LOSSY = ("image/jpeg", "image/webp")


@pytest.fixture
def grainy(tmp_path: Path) -> Path:
    """Return a picture that no encoder makes small: film grain, as models are asked for it."""
    grain = np.random.default_rng(5).normal(0, 30, (96, 128, 3))
    Image.fromarray((textured(128, 96) + grain).clip(0, 255).astype(np.uint8)).save(tmp_path / "grainy.png")
    return tmp_path / "grainy.png"


def _size(source: Path, mime: str, max_bytes: int | None = None) -> tuple[int, object]:
    """Return how many bytes the conformed picture has, and the quality that was recorded."""
    recipe = conform_image(source, source.with_suffix(".made"), size_px=None, mime=mime, max_bytes=max_bytes)
    return source.with_suffix(".made").stat().st_size, recipe["quality"]


def _least_bytes(source: Path, mime: str) -> int:
    """Return the size in the lowest quality, as the refusal of anything smaller tells it."""
    with pytest.raises(ConformError, match=f"quality {QUALITIES[-1]}") as refused:
        _size(source, mime, max_bytes=1)
    return int(refused.value.message.partition(" the picture has ")[2].split()[0])


@pytest.mark.parametrize("mime", LOSSY)
def test_what_fits_loses_nothing(grainy: Path, mime: str) -> None:
    """The limit itself fits: only a picture that is larger gives up quality."""
    best, quality = _size(grainy, mime)

    assert quality == QUALITIES[0] == 95
    assert _size(grainy, mime, max_bytes=best) == (best, quality)


@pytest.mark.parametrize("mime", LOSSY)
def test_a_picture_that_is_too_large_is_written_in_the_best_quality_that_fits(grainy: Path, mime: str) -> None:
    """It is paid for already: a film with a little less grain is better than none."""
    sizes = [_size(grainy, mime)[0]]
    for expected in QUALITIES[1:]:
        size, quality = _size(grainy, mime, max_bytes=sizes[-1] - 1)

        assert (size, quality) == (_size(grainy, mime, max_bytes=size)[0], expected)
        assert size < sizes[-1]
        sizes.append(size)
    assert _least_bytes(grainy, mime) == sizes[-1]


@pytest.mark.parametrize("mime", LOSSY)
def test_below_the_lowest_quality_it_is_refused(grainy: Path, mime: str) -> None:
    """A clip of blocks and rings costs as much as a good one; nothing is left behind that could be sent."""
    least = _least_bytes(grainy, mime)

    assert _size(grainy, mime, max_bytes=least) == (least, QUALITIES[-1])
    grainy.with_suffix(".made").unlink()
    with pytest.raises(ConformError, match=f"{least} bytes, and the model takes at most {least - 1}"):
        _size(grainy, mime, max_bytes=least - 1)
    assert not grainy.with_suffix(".made").exists()


def test_a_png_has_one_quality(grainy: Path) -> None:
    """It fits or it does not."""
    size, quality = _size(grainy, "image/png")

    assert quality is None
    assert _size(grainy, "image/png", max_bytes=size) == (size, None)
    with pytest.raises(ConformError, match=f"as image/png the picture has {size} bytes"):
        _size(grainy, "image/png", max_bytes=size - 1)


def test_a_lowered_quality_is_the_same_every_time(grainy: Path) -> None:
    """A second run must not send other bytes to a model that caches by them."""
    limit = _size(grainy, "image/jpeg")[0] // 2
    made = [(_size(grainy, "image/jpeg", max_bytes=limit), grainy.with_suffix(".made").read_bytes()) for _ in range(2)]

    assert made[0] == made[1]
    assert made[0][0][1] in QUALITIES[1:]


@pytest.mark.parametrize("is_lowered", [False, True])
def test_the_note_says_what_quality_was_left(grainy: Path, is_lowered: bool) -> None:  # noqa: FBT001
    """Who sees blocks in a film finds the reason beside it; who sees none is told nothing."""
    best, _ = _size(grainy, "image/jpeg")
    recipe = ImageRecipe(size_px=(128, 96), mime="image/jpeg", max_bytes=best - is_lowered)
    ref = InputRef(role="image", request_key="a" * 64, recipe=recipe.text)

    files, (note,) = conformed([ref], {"image": grainy}, grainy.parent)

    assert files["image"].stat().st_size <= recipe.max_bytes
    lowered = " of quality 90, to be small enough" if is_lowered else ""
    assert note == f"image conformed from 128x96 image/png to 128x96 image/jpeg{lowered}"


def test_each_file_is_made_as_its_recipe_says(grainy: Path) -> None:
    """What has no recipe is sent as it is; the note says how much of the picture is left."""
    recipe = ImageRecipe(size_px=(48, 48), mime="image/png", max_bytes=100_000)
    refs = [
        InputRef(role="image", request_key="a" * 64, recipe=recipe.text),
        InputRef(role="video", request_key="b" * 64),
    ]

    files, notes = conformed(refs, {"image": grainy, "video": grainy}, grainy.parent)

    assert files["video"] == grainy
    with Image.open(files["image"]) as image:
        assert (image.size, image.format) == ((48, 48), "PNG")
    assert notes == ("image conformed from 128x96 image/png to 48x48 image/png, 75% of it kept",)
