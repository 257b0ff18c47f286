"""The colours of a picture that is made to fit the next model: its profile is used, then dropped."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_assets.media.conform import conform_image
from media_assets_tests.media.colour_profiles import adobe_rgb, display_p3, linear_grey, odd_press

GREEN, GREY, WHITE = (40, 160, 90), (128, 128, 128), (255, 255, 255)


def _conformed_colour(picture: Image.Image, folder: Path, profile: bytes) -> list[int]:
    source = folder / "source"
    picture.save(source, format="JPEG" if picture.mode == "CMYK" else "PNG", icc_profile=profile)
    conform_image(source, folder / "target.png", size_px=None)
    with Image.open(folder / "target.png") as image:
        assert (image.mode, image.info.get("icc_profile")) == ("RGB", None)
        pixels = np.asarray(image)
    assert np.ptp(pixels[:4], axis=(0, 1)).max() == 0, "one colour became several"
    return [int(level) for level in pixels[0, 0]]


@pytest.mark.parametrize(
    ("profile", "colour", "in_srgb"),
    [
        # By the primaries and curves of both specifications, calculated apart from LittleCMS.
        (adobe_rgb(), (200, 100, 50), [227, 100, 42]),
        (adobe_rgb(), GREEN, [0, 161, 85]),
        (adobe_rgb(), GREY, [129, 129, 129]),
        (adobe_rgb(), WHITE, [255, 255, 255]),
        (display_p3(), (200, 100, 50), [215, 93, 31]),
        (display_p3(), GREEN, [0, 163, 82]),
        (display_p3(), GREY, [128, 128, 128]),
        (display_p3(), WHITE, [255, 255, 255]),
    ],
)
def test_a_wide_gamut_picture_keeps_its_colours(
    tmp_path: Path, profile: bytes, colour: tuple[int, int, int], in_srgb: list[int]
) -> None:
    """A model takes every number for sRGB: without this, a barn from a phone turns out brown."""
    assert _conformed_colour(Image.new("RGB", (8, 8), colour), tmp_path, profile) == pytest.approx(in_srgb, abs=1)


def test_transparent_parts_and_a_profile_go_together(tmp_path: Path) -> None:
    """The colours are those of the profile, and what is transparent is black whatever the profile says."""
    picture = Image.new("RGBA", (8, 8), (200, 100, 50, 255))
    picture.paste((200, 100, 50, 0), (0, 4, 8, 8))

    assert _conformed_colour(picture, tmp_path, adobe_rgb()) == pytest.approx([227, 100, 42], abs=1)
    with Image.open(tmp_path / "target.png") as image:
        assert image.getpixel((0, 7)) == (0, 0, 0)


def test_a_palette_has_a_profile_too(tmp_path: Path) -> None:
    """The colours of the palette are what the profile is about."""
    picture = Image.new("RGB", (8, 8), (200, 100, 50)).quantize(4)

    assert _conformed_colour(picture, tmp_path, adobe_rgb()) == pytest.approx([227, 100, 42], abs=1)


@pytest.mark.parametrize(("level", "in_srgb"), [(0, 0), (13, 63), (64, 137), (128, 188), (255, 255)])
def test_grey_has_a_profile_too(tmp_path: Path, level: int, in_srgb: int) -> None:
    """In a linear scan the dark half of the picture would be lost."""
    assert _conformed_colour(Image.new("L", (8, 8), level), tmp_path, linear_grey()) == pytest.approx(
        [in_srgb] * 3, abs=1
    )


def test_the_inks_of_a_press_are_what_its_profile_says(tmp_path: Path) -> None:
    """Inks have no colour of their own: without the profile this grey is a bright pink."""
    picture = Image.new("CMYK", (8, 8), (0, 255, 0, 0))

    assert _conformed_colour(picture, tmp_path, odd_press()) == pytest.approx([119, 119, 119], abs=2)


def test_a_profile_for_other_colours_than_the_picture_s_is_ignored(tmp_path: Path) -> None:
    """A press's profile in a picture of three colours is a mistake of whoever wrote the file."""
    assert _conformed_colour(Image.new("RGB", (8, 8), GREEN), tmp_path, odd_press()) == list(GREEN)
