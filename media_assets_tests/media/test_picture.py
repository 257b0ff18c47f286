"""How a clip is stored, and whether it can be copied."""

from fractions import Fraction
from pathlib import Path

import pytest

from media_assets.errors import ProbeError
from media_assets.media.picture import Picture, read_picture
from media_assets_tests.media.makers import encode, moving_clip, tone, write_wav


@pytest.mark.parametrize(("fps", "rate"), [("24", "24"), ("30000/1001", "30000/1001"), ("60", "60"), ("7", "7")])
def test_a_plain_clip_is_copied_when_the_film_is_as_long(tmp_path: Path, fps: str, rate: str) -> None:
    """Encoding again costs time and quality; the film of a bought clip should hold its very bytes."""
    picture = read_picture(moving_clip(tmp_path / "clip.mp4", fps=fps, seconds=2), "video/mp4")

    assert picture.is_constant
    assert picture.rate_fps == Fraction(rate)
    assert picture.can_be_copied(2.02)
    assert not picture.can_be_copied(1.9)
    assert not picture.can_be_copied(3)


@pytest.mark.parametrize(
    ("name", "more", "mime"),
    [
        ("odd.mp4", "-vf crop=99:81:0:0 -pix_fmt yuv444p", "video/mp4"),
        ("full_range.mp4", "-pix_fmt yuvj420p", "video/mp4"),
        ("oblong.mp4", "-vf setsar=4/3", "video/mp4"),
        ("variable.mp4", r"-vf select=not(mod(n\,5))+lt(n\,10) -fps_mode vfr", "video/mp4"),
        ("millisecond_clock.mkv", "", "video/x-matroska"),
        ("mpeg4.mp4", "-c:v mpeg4", "video/mp4"),
    ],
)
def test_what_some_player_would_not_show_is_encoded_again(tmp_path: Path, name: str, more: str, mime: str) -> None:
    """Each of these has played wrongly somewhere: sides, colours, pixel shape, timing, codec."""
    picture = read_picture(moving_clip(tmp_path / name, seconds=2, more=more), mime)

    assert not picture.can_be_copied(picture.ends_s)


def _picture(**changes: object) -> Picture:
    facts = {
        "width_px": 160,
        "height_px": 120,
        "shape": Fraction(1),
        "rate_fps": Fraction(24),
        "is_constant": True,
        "ends_s": 2.0,
        "is_plain": True,
    }
    return Picture(**{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "size_px"),
    [({}, (160, 120)), ({"width_px": 161, "height_px": 121}, (160, 120)), ({"shape": Fraction(4, 3)}, (212, 120))],
)
def test_a_film_has_even_sides_and_square_pixels(changes: dict[str, object], size_px: tuple[int, int]) -> None:
    """H.264 in 4:2:0 has no odd sides, and players disagree about oblong pixels."""
    assert _picture(**changes).film_size_px == size_px


@pytest.mark.parametrize(
    ("rate", "is_constant", "film_rate"),
    [("24", True, "24"), ("8", True, "32"), ("30000/1001", True, "30000/1001"), ("23.4", False, "24000/1001")],
)
def test_a_film_has_a_constant_rate(rate: str, is_constant: bool, film_rate: str) -> None:  # noqa: FBT001 - a table
    """A clip of 8 pictures a second, encoded as such, would end up to 0.12 s late."""
    assert _picture(rate_fps=Fraction(rate), is_constant=is_constant).film_rate_fps == Fraction(film_rate)


def test_a_sound_has_no_picture(tmp_path: Path) -> None:
    """A voice given as the clip must not reach ffmpeg."""
    voice = write_wav(tmp_path / "voice.wav", tone(0.5))

    with pytest.raises(ProbeError, match="no moving picture"):
        read_picture(encode(tmp_path / "voice.m4a", "-i", str(voice)), "audio/mp4")
