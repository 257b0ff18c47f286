"""Previews: small enough for metadata whatever they show, and honest about files that cannot be shown."""

import io
import math
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from media_assets.errors import ProbeError
from media_assets.media._ffmpeg import run_ffmpeg
from media_assets.media.preview import TimelineBar, contact_sheet, thumbnail, timeline, waveform
from media_assets.media.work import Work

FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PREVIEWS: list[Callable[[Path], bytes]] = [thumbnail, contact_sheet, waveform]


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: red, then blue, with a tone."""
    folder = tmp_path_factory.mktemp("film")
    path = folder / "film.mp4"
    sources = ["color=red:s=320x180:r=12:d=1", "color=blue:s=320x180:r=12:d=1", "sine=d=2"]
    inputs = [argument for source in sources for argument in ("-f", "lavfi", "-i", source)]
    graph = "[0:v][1:v]concat=n=2:v=1:a=0[v]"
    run_ffmpeg(
        [*inputs, "-filter_complex", graph, "-map", "[v]", "-map", "2:a", "-pix_fmt", "yuv420p", str(path)],
        deadline_s=60,
        work=Work(scratch=folder),
    )
    return path


@FEW
@given(
    width=st.integers(1, 900),
    height=st.integers(1, 900),
    mode=st.sampled_from(["RGB", "RGBA", "L", "P", "LA"]),
    max_bytes=st.integers(1000, 15_000),
)
def test_thumbnail_of_any_picture_fits(tmp_path: Path, width: int, height: int, mode: str, max_bytes: int) -> None:
    """Noise is the worst a picture can be, and metadata must not grow with it."""
    path = tmp_path / "noise.png"
    noise(width, height).convert(mode).save(path)

    data = thumbnail(path, max_bytes)

    assert len(data) <= max_bytes
    assert opened(data).format == "JPEG"


def test_thumbnail_keeps_the_proportions_and_shows_transparency_white(tmp_path: Path) -> None:
    """A cut-out on black looks broken, a squeezed picture looks wrong."""
    path = tmp_path / "cutout.png"
    Image.new("RGBA", (1024, 576), (0, 0, 0, 0)).save(path)

    picture = opened(thumbnail(path))

    assert picture.size == (480, 270)
    assert picture.getpixel((5, 5)) == (255, 255, 255)


def test_contact_sheet_shows_the_film_from_left_to_right(film: Path) -> None:
    """Frames at wrong times would hide exactly the fault someone looks for."""
    picture = opened(contact_sheet(film, columns=4))

    assert picture.size == (4 * 240 + 3 * 4, 135)
    reds = [picture.getpixel((120 + 244 * column, 60)) for column in range(4)]
    assert [red[0] > 200 for red in reds] == [True, True, False, False]  # type: ignore[index]


@pytest.mark.parametrize("rows", [1, 2])
def test_contact_sheet_of_noise_fits(tmp_path: Path, rows: int) -> None:
    """Noise frames cannot be compressed: the sheet has to get smaller instead."""
    path = tmp_path / "noise.mp4"
    source = "nullsrc=s=256x144:r=8:d=1,geq=random(1)*255:128:128"
    run_ffmpeg(["-f", "lavfi", "-i", source, str(path)], deadline_s=60, work=Work(scratch=tmp_path))

    data = contact_sheet(path, rows=rows, max_bytes=9000)

    assert len(data) <= 9000
    opened(data)


def test_waveform_is_tall_where_it_is_loud(tmp_path: Path) -> None:
    """The picture's one job: to show where there is sound."""
    path = tmp_path / "half.wav"
    loud = 30_000 * np.sin(np.arange(22_050) / 5)
    write_wav(path, np.concatenate([np.zeros(22_050), loud]))

    picture = np.asarray(opened(waveform(path)).convert("RGB")).astype(int)
    ink = (picture[:120, :, 2] - picture[:120, :, 0] > 60).sum(axis=0)

    assert ink[40:340].max() <= 2
    assert ink[380:700].min() > 80


def test_waveform_of_a_film_draws_its_sound(film: Path) -> None:
    """The merged film is what people look at, and its sound is inside it."""
    assert opened(waveform(film)).size == (720, 160)


@FEW
@given(seconds=st.floats(0.0001, 3), loudness=st.integers(0, 32_767), max_bytes=st.integers(1000, 15_000))
def test_waveform_of_any_sound_fits(tmp_path: Path, seconds: float, loudness: int, max_bytes: int) -> None:
    """From a click to seconds of full-scale noise."""
    path = tmp_path / "noise.wav"
    write_wav(path, np.random.default_rng(2).integers(-loudness, loudness + 1, max(int(seconds * 22_050), 1)))

    data = waveform(path, max_bytes)

    assert len(data) <= max_bytes
    assert opened(data).format == "PNG"


BARS = st.builds(
    TimelineBar,
    label=st.text(max_size=60),
    start_s=st.floats(allow_nan=True),
    end_s=st.floats(allow_nan=True),
    note=st.text(max_size=300),
    degraded=st.booleans(),
    cached=st.booleans(),
)


@FEW
@given(steps=st.lists(BARS, max_size=25), max_bytes=st.integers(1000, 15_000))
def test_timeline_of_any_steps_fits(steps: list[TimelineBar], max_bytes: int) -> None:
    """A report must never fail because of what it reports."""
    data = timeline(steps, max_bytes)

    assert len(data) <= max_bytes
    assert opened(data).format == "PNG"


def bar(label: str, start_s: float, end_s: float, *, degraded: bool = False, cached: bool = False) -> TimelineBar:
    return TimelineBar(label=label, start_s=start_s, end_s=end_s, note="", degraded=degraded, cached=cached)


def test_timeline_shows_order_overlap_stand_ins_and_what_was_cached() -> None:
    """Video and audio run side by side, and a stand-in has another colour: that is what the picture is for."""
    steps = [
        bar("image", 0, 0, cached=True),
        bar("video", 0, 10),
        bar("audio", 0, 5, degraded=True),
        bar("merged", 10, 20),
    ]

    picture = np.asarray(opened(timeline(steps)).convert("RGB")).astype(int)
    rows = [picture[12 + 34 * row + 10] for row in range(4)]
    blue = [int((row[:, 2] - row[:, 0] > 100).sum()) for row in rows]
    amber = [int((row[:, 0] - row[:, 2] > 100).sum()) for row in rows]

    assert blue[0] <= 4
    assert blue[1] == pytest.approx(343, abs=8)
    assert amber[2] == pytest.approx(172, abs=8)
    assert blue[3] == pytest.approx(343, abs=8)
    assert amber[0] == amber[1] == amber[3] == 0


@pytest.mark.parametrize("preview", PREVIEWS)
@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50), b"RIFF\x00\x00\x00\x00WAVE"])
def test_a_broken_file_is_a_probe_error(tmp_path: Path, preview: Callable[[Path], bytes], content: bytes) -> None:
    """The caller shows a report without its picture then, so the error has to be one of ours."""
    path = tmp_path / "broken.bin"
    path.write_bytes(content)

    with pytest.raises(ProbeError, match=r"broken\.bin cannot be shown"):
        preview(path)


@pytest.mark.parametrize("preview", PREVIEWS)
def test_a_missing_file_is_a_probe_error(tmp_path: Path, preview: Callable[[Path], bytes]) -> None:
    """A file may be cleaned away between two looks."""
    with pytest.raises(ProbeError):
        preview(tmp_path / "gone.png")


def test_a_cut_picture_is_a_probe_error(tmp_path: Path) -> None:
    """Half a picture opens well and fails only when its pixels are read."""
    path = tmp_path / "cut.png"
    noise(200, 200).save(path)
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(ProbeError):
        thumbnail(path)


def test_a_sound_without_picture_has_no_contact_sheet(tmp_path: Path) -> None:
    """The wrong kind of file is told apart from a broken one."""
    path = tmp_path / "tone.wav"
    write_wav(path, 1000 * np.sin(np.arange(2205) * math.tau / 50))

    with pytest.raises(ProbeError, match="it has no video"):
        contact_sheet(path)


def test_titles_that_are_no_text_do_not_matter(tmp_path: Path) -> None:
    """Providers write what they like into a file's metadata; PyAV would stop at bytes that are not UTF-8."""
    path = tmp_path / "tone.mp4"
    arguments = ["-f", "lavfi", "-i", "sine=d=0.2", "-metadata", "title=TITLETITLE", str(path)]
    run_ffmpeg(arguments, deadline_s=60, work=Work(scratch=tmp_path))
    content = path.read_bytes()
    assert b"TITLETITLE" in content
    path.write_bytes(content.replace(b"TITLETITLE", b"\xde\xff" * 5))

    assert waveform(path)
