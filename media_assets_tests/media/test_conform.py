"""Files that are made to fit the next model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from media_assets.errors import ConformError, ProbeError
from media_assets.media.conform import conform_audio, conform_image
from media_assets.media.probe import probe
from media_assets.media.recipes import RECIPE_VERSION
from media_assets.media.work import Work
from media_assets_tests.media.makers import encode, moving_clip, textured, tone, write_wav


def _pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


@pytest.mark.parametrize(("size_px", "wanted_px"), [((96, 96), (64, 32)), ((192, 48), (48, 48)), ((64, 128), (96, 96))])
def test_another_shape_is_covered_and_cropped_at_the_centre(
    tmp_path: Path, size_px: tuple[int, int], wanted_px: tuple[int, int]
) -> None:
    """A model would animate the bars that padding adds, and a face that was squeezed stays squeezed."""
    width, height = size_px
    side = min(size_px)
    left, top = (width - side) // 2, (height - side) // 2
    pixels = np.full((height, width, 3), (0, 0, 255), np.uint8)
    pixels[top : top + side, left : left + side] = (200, 100, 50)
    pixels[height // 2 - side // 8 : height // 2 + side // 8, width // 2 - side // 8 : width // 2 + side // 8] = 255
    Image.fromarray(pixels).save(tmp_path / "source.png")

    recipe = conform_image(tmp_path / "source.png", tmp_path / "made.png", size_px=wanted_px)

    made = _pixels(tmp_path / "made.png")
    assert made.shape == (wanted_px[1], wanted_px[0], 3)
    for row, column in ((4, 4), (4, -5), (-5, 4), (-5, -5)):
        assert made[row, column].tolist() == pytest.approx([200, 100, 50], abs=12), "the edge of what was cut off"
    rows, columns = np.nonzero(made[:, :, 2] > 150)
    assert rows.max() - rows.min() == pytest.approx(columns.max() - columns.min(), abs=1), "a square stays square"
    middle = (rows.max() + rows.min() + 1, columns.max() + columns.min() + 1)
    assert middle == pytest.approx((wanted_px[1], wanted_px[0]), abs=2)
    assert recipe["kept_ratio"] == pytest.approx(side * side / (width * height) * min(wanted_px) / max(wanted_px))
    assert recipe["recipe_version"] == RECIPE_VERSION


def test_a_smaller_picture_is_the_mean_of_what_it_was(tmp_path: Path) -> None:
    """Leaving pixels out makes nets and roofs flicker as soon as the picture moves."""
    Image.fromarray((np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)).save(tmp_path / "a.png")

    conform_image(tmp_path / "a.png", tmp_path / "b.png", size_px=(32, 32))

    assert np.abs(_pixels(tmp_path / "b.png").astype(int) - 127).max() <= 8


def test_a_jpeg_keeps_the_colour_of_single_pixels(tmp_path: Path) -> None:
    """Halved colour is the default of every encoder, and smears red letters."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, ::2] = (255, 0, 0)
    pixels[:, 1::2] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    conform_image(tmp_path / "a.png", tmp_path / "b.jpg", size_px=None, mime="image/jpeg")

    assert np.abs(_pixels(tmp_path / "b.jpg").astype(int) - pixels).mean() < 12


def test_without_a_size_only_the_form_changes(tmp_path: Path) -> None:
    """Resampling for nothing costs sharpness."""
    pixels = textured(50, 40)
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True)

    conform_image(tmp_path / "a.webp", tmp_path / "a.png", size_px=None)

    assert np.array_equal(_pixels(tmp_path / "a.png"), pixels)


def test_transparent_parts_become_black(tmp_path: Path) -> None:
    """Dropping alpha without this shows whatever colour hides under it."""
    pixels = np.full((8, 8, 4), (255, 0, 0, 0), np.uint8)
    pixels[4:] = (0, 200, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    recipe = conform_image(tmp_path / "a.png", tmp_path / "b.png", size_px=None)

    made = _pixels(tmp_path / "b.png")
    assert made[0, 0].tolist() == [0, 0, 0]
    assert made[7, 7].tolist() == [0, 200, 0]
    assert recipe["flattened_on"] == "black"


def test_a_turned_photo_is_set_upright(tmp_path: Path) -> None:
    """Models ignore the orientation tag and would animate a picture that lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera"
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)

    conform_image(tmp_path / "a.jpg", tmp_path / "b.jpg", size_px=None, mime="image/jpeg")

    made = _pixels(tmp_path / "b.jpg")
    assert made.shape == (64, 32, 3)
    assert made[:14].min() > 200
    assert made[20:].max() < 50
    with Image.open(tmp_path / "b.jpg") as image:
        assert not image.getexif()


def test_grey_of_16_bits_keeps_its_shades(tmp_path: Path) -> None:
    """Pillow's own conversion clips: nearly the whole picture turns white."""
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(1, 256).repeat(8, axis=0)
    Image.fromarray(ramp).save(tmp_path / "a.png")

    conform_image(tmp_path / "a.png", tmp_path / "b.png", size_px=None)

    assert _pixels(tmp_path / "b.png")[0, :, 0].tolist() == pytest.approx(list(range(256)), abs=1)


@pytest.mark.parametrize("mode", ["CMYK", "P", "L", "1", "LA"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    """Every one of them has been refused by some model."""
    path = tmp_path / "a"
    Image.fromarray(textured(32, 32)).convert("L" if mode == "LA" else "RGB").convert(mode).save(
        path, format="JPEG" if mode == "CMYK" else "PNG"
    )

    conform_image(path, tmp_path / "b.png", size_px=(16, 16))

    assert _pixels(tmp_path / "b.png").std() > 5


def test_a_broken_colour_profile_is_ignored(tmp_path: Path) -> None:
    """A picture that was paid for is not lost to a profile nobody needs."""
    pixels = textured(32, 32)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=b"not a profile")

    conform_image(tmp_path / "a.png", tmp_path / "b.png", size_px=None)

    assert np.array_equal(_pixels(tmp_path / "b.png"), pixels)


def test_an_srgb_profile_changes_nothing_and_is_not_kept(tmp_path: Path) -> None:
    """Metadata of one provider has no business at the next."""
    pixels = textured(32, 32)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)

    conform_image(tmp_path / "a.png", tmp_path / "b.png", size_px=None)

    assert np.abs(_pixels(tmp_path / "b.png").astype(int) - pixels).max() <= 1
    with Image.open(tmp_path / "b.png") as image:
        assert "icc_profile" not in image.info


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg", "image/webp"])
def test_equal_pictures_become_equal_bytes(tmp_path: Path, mime: str) -> None:
    """A second run must not send other bytes to a model that caches by them."""
    Image.fromarray(textured(64, 48)).save(tmp_path / "a.png")

    for name in ("one", "two"):
        conform_image(tmp_path / "a.png", tmp_path / name, size_px=(32, 32), mime=mime)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert probe(tmp_path / "one").mime == mime


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """The message names what is possible."""
    Image.fromarray(textured(16, 16)).save(tmp_path / "a.png")
    voice = write_wav(tmp_path / "a.wav", tone(0.2))

    with pytest.raises(ConformError, match="image/webp"):
        conform_image(tmp_path / "a.png", tmp_path / "b", size_px=None, mime="image/heic")
    with pytest.raises(ConformError, match="0 x 5"):
        conform_image(tmp_path / "a.png", tmp_path / "b", size_px=(0, 5))
    with pytest.raises(ConformError, match="not an image"):
        conform_image(voice, tmp_path / "b", size_px=None)


def test_half_an_image_is_refused(tmp_path: Path) -> None:
    """The rest would be grey."""
    Image.fromarray(textured(200, 200)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])

    with pytest.raises(ProbeError, match="cut short"):
        conform_image(tmp_path / "a.jpg", tmp_path / "b.png", size_px=None)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (48_000, 2)])
def test_a_sound_gets_the_wanted_rate_and_channels(tmp_path: Path, rate_hz: int, channels: int) -> None:
    """Lip-sync models take 16 kHz mono and nothing else."""
    stereo = write_wav(tmp_path / "a.wav", tone(1), channels=2)
    source = encode(tmp_path / "a.m4a", "-i", str(stereo), "-metadata", "title=the makers name")
    wanted = {"sample_rate_hz": rate_hz, "channels": channels}

    for name in ("one", "two"):
        recipe = conform_audio(
            source,
            tmp_path / name,
            sample_rate_hz=rate_hz,
            channels=channels,
            work=Work(scratch=tmp_path),
            deadline_s=30,
        )

    info = probe(tmp_path / "one")
    assert {"sample_rate_hz": info.sample_rate_hz, "channels": info.channels} == wanted
    assert (info.mime, info.audio_codec) == ("audio/wav", "pcm_s16le")
    assert info.audio_duration_s == pytest.approx(1, abs=0.05)
    assert wanted.items() <= recipe.items()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert b"Lavf" not in (tmp_path / "one").read_bytes(), "which program made it"
    assert b"the makers name" not in (tmp_path / "one").read_bytes()


@pytest.mark.parametrize(("rate_hz", "channels"), [(7_999, 1), (192_001, 1), (16_000, 0), (16_000, 3)])
def test_a_sound_that_no_model_takes_is_refused(tmp_path: Path, rate_hz: int, channels: int) -> None:
    """The encoder would make it, or say so in a way nobody understands."""
    source = write_wav(tmp_path / "a.wav", tone(0.2))

    with pytest.raises(ConformError, match=f"{rate_hz} Hz with {channels} channels"):
        conform_audio(
            source,
            tmp_path / "b.wav",
            sample_rate_hz=rate_hz,
            channels=channels,
            work=Work(scratch=tmp_path),
            deadline_s=30,
        )


def test_a_mute_clip_has_no_sound_to_conform(tmp_path: Path) -> None:
    """Better said here than by ffmpeg's "stream specifier matches no streams"."""
    clip = moving_clip(tmp_path / "a.mp4", seconds=0.5)

    with pytest.raises(ConformError, match="no sound"):
        conform_audio(
            clip, tmp_path / "b.wav", sample_rate_hz=16_000, channels=1, work=Work(scratch=tmp_path), deadline_s=30
        )
