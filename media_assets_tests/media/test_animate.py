"""Moving a still: smooth, never still, exact in length, and the caption stays put."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from media_assets.errors import ConformError, FfmpegError, StoppedError
from media_assets.media import animate
from media_assets.media.animate import write_ken_burns
from media_assets.media.caption import caption_overlay
from media_assets.media.work import Work

SIZE = (160, 90)


def make_clip(image: Path, target: Path, **changes: Any) -> str | None:
    options: dict[str, Any] = {
        "size_px": SIZE,
        "fps": 12,
        "duration_s": 2.0,
        "zoom": 1.2,
        "seed": 1,
        "caption": None,
        "work": Work(scratch=target.parent),
        "deadline_s": 60.0,
    }
    return write_ken_burns(image, target, **(options | changes))


def frames_of(clip: Path) -> np.ndarray:
    """Return the luma of all frames, shape (frames, height, width)."""
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(video=0)]
    height = frames[0].shape[0] * 2 // 3
    return np.stack([frame[:height] for frame in frames]).astype(np.float64)


def ffmpeg_children() -> list[str]:
    if not shutil.which("ps"):
        pytest.skip("ps is not installed")
    listing = subprocess.run(["ps", "-A", "-o", "ppid=,comm="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=1) for line in listing.splitlines()]
    return [row[1] for row in rows if int(row[0]) == os.getpid() and "ffmpeg" in row[1]]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture with detail everywhere."""
    path = tmp_path / "picture.png"
    noise = np.random.RandomState(5).randint(0, 256, (24, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((400, 240), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.mark.parametrize(
    ("fps", "duration_s", "count"), [(24, 1.0, 24), (12, 2.53, 30), (25, 0.5, 12), (30, 1.01, 30), (12, 0.01, 1)]
)
def test_the_clip_is_exactly_as_long_as_asked(
    picture: Path, tmp_path: Path, fps: int, duration_s: float, count: int
) -> None:
    """The merge plans with this length; a frame more or less shows as a jump or a black frame."""
    make_clip(picture, tmp_path / "a.mp4", fps=fps, duration_s=duration_s)

    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == count
        assert float((stream.duration or 0) * (stream.time_base or 0)) == pytest.approx(count / fps, abs=1e-6)
        assert sum(1 for _ in container.decode(stream)) == count


def test_the_file_says_what_it_is(picture: Path, tmp_path: Path) -> None:
    """Untagged colours are guessed by players, and a film starts late without its index in front."""
    make_clip(picture, tmp_path / "a.mp4")

    data = (tmp_path / "a.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        bt709, studio_range = 1, 1
        assert (codec.color_primaries, codec.color_trc, codec.colorspace) == (bt709, bt709, bt709)
        assert codec.color_range == studio_range
        assert not container.streams.audio
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [((255, 0, 0), (63, 102, 240)), ((0, 0, 255), (32, 240, 118)), ((255, 255, 255), (235, 128, 128))],
)
def test_colours_are_those_of_bt709(tmp_path: Path, rgb: tuple[int, int, int], yuv: tuple[int, int, int]) -> None:
    """The conversion is our own; these are the standard's values for 100 % bars (ITU-R BT.709-6)."""
    Image.new("RGB", (200, 200), rgb).save(tmp_path / "solid.png")

    make_clip(tmp_path / "solid.png", tmp_path / "a.mp4", size_px=(64, 64), duration_s=0.25)

    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    planes = [np.frombuffer(bytes(plane), np.uint8)[: plane.width].mean() for plane in frame.planes]
    assert planes == pytest.approx(yuv, abs=2)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4])
def test_the_picture_moves_in_every_second(picture: Path, tmp_path: Path, seed: int) -> None:
    """The judge takes a clip that rests for a frozen one, and an eased start or end does rest."""
    make_clip(picture, tmp_path / "a.mp4", duration_s=4.0, seed=seed, caption="Stays here")

    shown = frames_of(tmp_path / "a.mp4")[:, : SIZE[1] // 2]
    seconds = [shown[n * 12 : (n + 1) * 12] for n in range(4)]
    assert min(np.abs(second[-1] - second[0]).mean() for second in seconds) > 2.0
    assert np.abs(np.diff(shown, axis=0)).mean(axis=(1, 2)).min() > 0.1


@pytest.mark.parametrize("seed", [0, 5])
def test_a_long_clip_keeps_moving(picture: Path, tmp_path: Path, seed: int) -> None:
    """A narration of minutes over one short move would stand still to the eye."""
    make_clip(picture, tmp_path / "a.mp4", fps=4, duration_s=60.0, seed=seed)

    shown = frames_of(tmp_path / "a.mp4")
    moved = [np.abs(shown[n + 4] - shown[n]).mean() for n in range(0, 236, 4)]
    assert len(shown) == 240
    assert min(moved) > 0.8


def centroids(clip: Path) -> np.ndarray:
    """Return where the white disc is in each frame, shape (frames, 2)."""
    weights = np.clip(frames_of(clip) - 60, 0, None)
    rows, columns = np.mgrid[0 : weights.shape[1], 0 : weights.shape[2]]
    total = weights.sum(axis=(1, 2))
    return np.stack([(weights * place).sum(axis=(1, 2)) / total for place in (columns, rows)], axis=1)


@pytest.mark.parametrize("seed", [1, 6])
def test_the_motion_is_smooth_to_a_twentieth_of_a_pixel(tmp_path: Path, seed: int) -> None:
    """The zoompan of ffmpeg moves by whole pixels: 0.65 px of trembling (rms, measured 2026-11-22)."""
    still = Image.new("L", (640, 360), 20)
    ImageDraw.Draw(still).ellipse((290, 150, 350, 210), fill=235)
    still.filter(ImageFilter.GaussianBlur(3)).save(tmp_path / "disc.png")

    make_clip(tmp_path / "disc.png", tmp_path / "a.mp4", size_px=(320, 180), fps=24, duration_s=3.0, seed=seed)

    path = centroids(tmp_path / "a.mp4")
    at = np.linspace(-1, 1, len(path))
    off = [places - np.polyval(np.polyfit(at, places, 6), at) for places in path.T]
    assert np.abs(path[-1] - path[0]).max() > 3
    assert np.sqrt(np.mean(np.square(off), axis=1)).max() < 0.05


def test_the_caption_does_not_move_with_the_picture(picture: Path, tmp_path: Path) -> None:
    """Words that drift out of the frame cannot be read."""
    text = 'é Ж 100% "off" %{n}'
    size_px = (320, 180)

    problem = make_clip(picture, tmp_path / "a.mp4", size_px=size_px, caption=text)

    overlay = np.asarray(caption_overlay(text, size_px))
    letters = (overlay[..., 3] == 255) & (overlay[..., 0] > 250)
    shown = frames_of(tmp_path / "a.mp4")
    assert problem is None
    assert letters.sum() > 60
    assert shown[:, letters].min() > 150
    assert shown[:, letters].mean(axis=1).min() > 215
    assert np.abs(shown[:, letters] - shown[0, letters]).mean() < 6


def test_a_caption_that_cannot_be_drawn_is_left_out_and_said(picture: Path, tmp_path: Path) -> None:
    """The film is made all the same; the reason goes into its metadata."""
    problem = make_clip(picture, tmp_path / "a.mp4", caption="猫 at home")
    make_clip(picture, tmp_path / "b.mp4", caption=None)

    assert problem is not None
    assert "Han" in problem
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("caption", [None, "", "  "])
def test_no_caption_adds_no_band(picture: Path, tmp_path: Path, caption: str | None) -> None:
    """An empty caption in a prompt file means none."""
    assert make_clip(picture, tmp_path / "a.mp4", caption=caption, duration_s=0.5) is None
    make_clip(picture, tmp_path / "b.mp4", duration_s=0.5)

    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_equal_arguments_give_equal_bytes_and_another_seed_another_move(picture: Path, tmp_path: Path) -> None:
    """A lost free clip is made again under the same key."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_clip(picture, tmp_path / f"{name}.mp4", seed=seed, caption="Same", duration_s=1.0)

    a, b, c = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("size_px", "made"), [((65, 97), (64, 96)), ((161, 90), (160, 90)), ((64, 64), (64, 64)), ((90, 161), (90, 160))]
)
def test_odd_sizes_lose_a_pixel(picture: Path, tmp_path: Path, size_px: tuple[int, int], made: tuple[int, int]) -> None:
    """yuv420p has no odd sizes, and the encoder would refuse them."""
    make_clip(picture, tmp_path / "a.mp4", size_px=size_px, caption="odd", duration_s=0.5)

    assert frames_of(tmp_path / "a.mp4").shape[:0:-1] == made


@pytest.mark.parametrize("picture_px", [(300, 300), (800, 200), (150, 600), (97, 61), (1900, 1300)])
def test_a_picture_of_another_shape_fills_the_frame_undistorted(tmp_path: Path, picture_px: tuple[int, int]) -> None:
    """Bars or a squeezed face are what a viewer sees first."""
    width, height = picture_px
    radius = min(picture_px) / 10
    still = Image.new("L", (width * 2, height * 2), 90)
    ImageDraw.Draw(still).ellipse(
        (width - 2 * radius, height - 2 * radius, width + 2 * radius, height + 2 * radius), fill=235
    )
    still.reduce(2).save(tmp_path / "disc.png")

    make_clip(tmp_path / "disc.png", tmp_path / "a.mp4", size_px=(320, 180), duration_s=0.5)

    frame = frames_of(tmp_path / "a.mp4")[3]
    inside = np.clip((frame - 93) / (217 - 93), 0, 1)
    wide, high = inside.sum(axis=1).max(), inside.sum(axis=0).max()
    assert wide == pytest.approx(high, rel=0.05)
    edges = [*frame[[0, -1]], *frame[:, [0, -1]].T]
    assert min(edge.min() for edge in edges) > 85


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    """Phones store the picture lying and write the turn into EXIF."""
    lying = Image.new("RGB", (300, 200), "black")
    lying.paste("white", (0, 0, 150, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying.save(tmp_path / "phone.jpg", exif=exif)

    make_clip(tmp_path / "phone.jpg", tmp_path / "a.mp4", size_px=(128, 192), duration_s=0.25)

    frame = frames_of(tmp_path / "a.mp4")[0]
    assert frame[:40].mean() > 200
    assert frame[-40:].mean() < 60


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "I;16", "CMYK"])
def test_every_kind_of_picture_is_read(tmp_path: Path, mode: str) -> None:
    """Providers return what they like."""
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    still = Image.fromarray(ramp)
    still = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == "I;16" else still.convert("RGB").convert(mode)
    still.save(tmp_path / "any", format="JPEG" if mode == "CMYK" else "PNG")

    make_clip(tmp_path / "any", tmp_path / "a.mp4", size_px=(96, 64), duration_s=0.25)

    frame = frames_of(tmp_path / "a.mp4")[0]
    assert frame[:, -16:].mean() - frame[:, :16].mean() > 120


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    """The colours under full transparency are whatever a drawing program left there."""
    Image.new("RGBA", (96, 64), (0, 0, 0, 0)).save(tmp_path / "glass.png")

    make_clip(tmp_path / "glass.png", tmp_path / "a.mp4", duration_s=0.25)

    assert frames_of(tmp_path / "a.mp4").min() > 230


@pytest.mark.parametrize("fault", ["missing", "text", "cut", "empty", "gif", "svg"])
def test_a_bad_picture_is_named(picture: Path, tmp_path: Path, fault: str) -> None:
    """A person has to learn which file it was, and no other decoder may be tried on it."""
    bad = tmp_path / "bad.png"
    data = picture.read_bytes()
    if fault == "gif":
        Image.new("L", (64, 64)).save(bad, format="GIF")
    elif fault != "missing":
        bad.write_bytes({"text": b"no picture", "cut": data[: len(data) // 2], "svg": b"<svg/>"}.get(fault, b""))

    with pytest.raises(ConformError, match=r"bad\.png"):
        make_clip(bad, tmp_path / "a.mp4")

    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    "wrong", [{"fps": 0}, {"duration_s": 0.0}, {"duration_s": float("nan")}, {"zoom": 1.0}, {"size_px": (1, 64)}]
)
def test_arguments_that_make_no_clip_are_refused(picture: Path, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """An endless or motionless clip is found out here, not by the judge."""
    with pytest.raises(ConformError, match="moving a picture"):
        make_clip(picture, tmp_path / "a.mp4", **wrong)


def test_a_stop_ends_the_work_at_once_and_leaves_nothing(picture: Path, tmp_path: Path) -> None:
    """Terminate has to reach a clip of five minutes, and ffmpeg must not outlive it."""
    stop = threading.Event()
    told: list[float] = []

    def tell(fraction: float) -> None:
        told.append(time.monotonic())
        if fraction > 0.002:
            stop.set()

    work = Work(scratch=tmp_path, stop=stop, tell=tell)
    with pytest.raises(StoppedError):
        make_clip(picture, tmp_path / "a.mp4", duration_s=300.0, work=work)

    assert time.monotonic() - told[-1] < 0.5
    assert ffmpeg_children() == []
    assert not (tmp_path / "a.mp4").exists()


def test_a_deadline_ends_the_work_and_leaves_nothing(picture: Path, tmp_path: Path) -> None:
    """An overloaded machine must not hold a run for ever."""
    with pytest.raises(FfmpegError, match="deadline"):
        make_clip(picture, tmp_path / "a.mp4", duration_s=300.0, deadline_s=0.3)

    assert ffmpeg_children() == []
    assert not (tmp_path / "a.mp4").exists()


def test_progress_is_told_to_its_end(picture: Path, tmp_path: Path) -> None:
    """A bar that stops at 90 % looks like a hang."""
    told: list[float] = []

    make_clip(picture, tmp_path / "a.mp4", work=Work(scratch=tmp_path, tell=told.append))

    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) == 24


def test_a_large_picture_is_shrunk_once_to_what_is_shown() -> None:
    """Cutting each frame out of 4096 pixels takes four times as long and shows no more."""
    shrunk = animate._sharp_enough(Image.new("RGB", (4096, 4096)), (320, 180), 1.25)

    assert shrunk.size == (400, 400)
