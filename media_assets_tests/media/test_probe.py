"""Facts of files, and refusals of what is damaged."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import ProbeError
from media_assets.media.probe import decode_check, probe
from media_assets_tests.media.makers import encode, moving_clip, textured, tone, write_wav


def _cut(path: Path, keep: float) -> Path:
    """Cut a file to a share of its bytes; a share of 1 or more cuts off that many bytes."""
    data = path.read_bytes()
    length = int(len(data) * keep) if keep < 1 else len(data) - int(keep)
    path.write_bytes(data[:length])
    return path


def _whole(path: Path) -> MediaInfo:
    info = probe(path)
    decode_check(path, info)
    return info


@pytest.mark.parametrize(("extension", "mime"), [("png", "image/png"), ("jpg", "image/jpeg"), ("webp", "image/webp")])
def test_an_image_is_read_whatever_its_name(tmp_path: Path, extension: str, mime: str) -> None:
    """A name is a stranger's claim; the extension we store comes from the bytes."""
    path = tmp_path / f"picture.{extension}"
    Image.fromarray(textured(80, 60)).save(path)

    info = _whole(path.rename(tmp_path / "picture.mp4"))

    assert (info.kind, info.mime, info.extension) == (MediaKind.IMAGE, mime, extension)
    assert (info.width_px, info.height_px, info.duration_s) == (80, 60, None)


def test_a_turned_photo_has_the_size_it_is_shown_with(tmp_path: Path) -> None:
    """Orientation is applied before the picture is used, so a size check must see the same."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(textured(80, 60)).save(tmp_path / "turned.jpg", exif=exif)

    info = probe(tmp_path / "turned.jpg")

    assert (info.width_px, info.height_px) == (60, 80)


@pytest.mark.parametrize(("mode", "has_alpha"), [("RGB", False), ("RGBA", True), ("LA", True), ("CMYK", False)])
def test_alpha_is_reported(tmp_path: Path, mode: str, has_alpha: bool) -> None:  # noqa: FBT001 - a table
    """Several video models refuse a picture with alpha."""
    path = tmp_path / "picture"
    Image.new(mode, (8, 8)).save(path, format="JPEG" if mode == "CMYK" else "PNG")

    assert probe(path).has_alpha is has_alpha


@pytest.mark.parametrize(
    ("name", "options", "mime"),
    [
        ("a.wav", "", "audio/wav"),
        ("a.mp3", "-b:a 64k", "audio/mpeg"),
        ("vbr.mp3", "-q:a 4 -write_xing 0", "audio/mpeg"),
        ("a.flac", "", "audio/flac"),
        ("a.ogg", "-c:a libvorbis", "audio/ogg"),
        ("opus.ogg", "-c:a libopus", "audio/ogg"),
        ("a.m4a", "", "audio/mp4"),
        ("sound_only.mp4", "", "audio/mp4"),
        ("sound_only.webm", "-c:a libopus", "audio/webm"),
        ("a.aac", "", "audio/aac"),
    ],
)
def test_a_sound_has_its_true_length(tmp_path: Path, name: str, options: str, mime: str) -> None:
    """A film is fitted to the voice: a guessed length would cut speech."""
    voice = write_wav(tmp_path / "source.wav", tone(2.3, rate_hz=24_000), rate_hz=24_000)
    path = encode(tmp_path / name, "-i", str(voice), *options.split())
    # Neither type says how much of its first and last frame is padding: up to 0.09 s at this rate.
    allowed_s = 0.1 if name in {"a.aac", "vbr.mp3"} else 0.05

    info = _whole(path)

    assert (info.kind, info.mime, info.channels) == (MediaKind.AUDIO, mime, 1)
    assert info.audio_duration_s == pytest.approx(2.3, abs=allowed_s)
    assert info.duration_s == info.audio_duration_s


def test_a_wav_written_to_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """Speech services stream WAV: its header then announces 4 GB."""
    path = write_wav(tmp_path / "voice.wav", tone(1.5))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)

    assert _whole(path).audio_duration_s == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize(
    ("name", "mime", "codec", "options"),
    [
        ("a.mp4", "video/mp4", "h264", ""),
        ("a.mov", "video/quicktime", "h264", ""),
        ("a.mkv", "video/x-matroska", "h264", ""),
        ("a.webm", "video/webm", "vp8", "-c:v libvpx -c:a libopus"),
    ],
)
def test_a_video_has_the_length_of_each_stream(tmp_path: Path, name: str, mime: str, codec: str, options: str) -> None:
    """One length for the file hides a picture that ends before its sound."""
    path = moving_clip(tmp_path / name, seconds=2, sound_s=2.6, more=options)

    info = _whole(path)

    assert (info.kind, info.mime, info.video_codec) == (MediaKind.VIDEO, mime, codec)
    assert (info.width_px, info.height_px, info.fps) == (160, 120, 24)
    assert info.video_duration_s == pytest.approx(2, abs=0.02)
    assert info.audio_duration_s == pytest.approx(2.6, abs=0.03)
    assert info.duration_s == info.audio_duration_s


def test_a_fragmented_video_is_read_through(tmp_path: Path) -> None:
    """Streaming services send MP4s whose index announces no length at all."""
    path = moving_clip(tmp_path / "a.mp4", sound_s=2.6, more="-movflags +frag_keyframe+empty_moov")

    info = _whole(path)

    # Without an edit list the encoder's run-in is played: up to 0.09 s here.
    assert info.video_duration_s == pytest.approx(2, abs=0.1)
    assert info.audio_duration_s == pytest.approx(2.6, abs=0.1)


def test_a_songs_cover_is_not_a_moving_picture(tmp_path: Path) -> None:
    """A voice with an embedded cover would otherwise be judged as a frozen video."""
    Image.fromarray(textured(32, 32)).save(tmp_path / "cover.png")
    voice = write_wav(tmp_path / "source.wav", tone(1))
    inputs = ("-i", str(voice), "-i", str(tmp_path / "cover.png"), "-map", "0", "-map", "1")
    path = encode(tmp_path / "song.mp3", *inputs, "-disposition:v", "attached_pic")

    info = probe(path)

    assert (info.kind, info.width_px) == (MediaKind.AUDIO, None)


CUTS = [
    *((name, keep) for name in ("a.png", "a.webp", "a.wav", "a.mp4", "fast.mp4") for keep in (0.3, 0.9, 4)),
    # The last four bytes of these two hold nothing that is shown.
    *((name, keep) for name in ("a.jpg", "a.webm") for keep in (0.3, 0.9)),
]


@pytest.mark.parametrize(("name", "keep"), CUTS)
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, name: str, keep: float) -> None:
    """A download that ended early once stayed in the cache for good as half a picture."""
    path = tmp_path / name
    if name == "a.wav":
        write_wav(path, tone(2))
    elif path.suffix in {".mp4", ".webm"}:
        options = {"fast.mp4": "-movflags +faststart", "a.webm": "-c:v libvpx -b:v 1M"}.get(name, "")
        moving_clip(path, seconds=2, more=options)
    else:
        Image.fromarray(textured(200, 200)).save(path)
    _whole(path)

    _cut(path, keep)

    with pytest.raises(ProbeError, match=r"cut short|damaged"):
        _whole(path)


def test_a_video_whose_data_has_no_announced_end_is_checked_by_its_index(tmp_path: Path) -> None:
    """Streamed MP4s say "data until the end of the file": only the index knows how much that was."""
    path = moving_clip(tmp_path / "a.mp4", more="-movflags +faststart")
    data = path.read_bytes()
    box = data.index(b"mdat") - 4
    path.write_bytes(data[:box] + bytes(4) + data[box + 4 :])
    _whole(path)

    _cut(path, 0.9)

    with pytest.raises(ProbeError, match="cut short"):
        probe(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.m4a"])
def test_a_stream_that_cannot_be_decoded_to_its_end_is_refused(tmp_path: Path, name: str) -> None:
    """Header, index and size are right, yet what should be the last second is zeros."""
    path = tmp_path / name
    if name == "a.m4a":
        encode(path, "-i", str(write_wav(tmp_path / "source.wav", tone(2))), "-movflags", "+faststart")
    else:
        moving_clip(path, more="-movflags +faststart -bf 0" if name == "a.mp4" else "-c:v libvpx -b:v 1M")
    info = _whole(path)
    data = path.read_bytes()
    half, end = len(data) // 2, len(data) - 200
    path.write_bytes(data[:half] + bytes(end - half) + data[end:])

    with pytest.raises(ProbeError, match=r"cut short|damaged"):
        decode_check(path, info)


@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.m4a"])
def test_half_a_voice_is_refused(tmp_path: Path, name: str) -> None:
    """A speech service that drops the connection answers 200 with the first half of the text."""
    voice = write_wav(tmp_path / "source.wav", tone(3))
    path = _cut(encode(tmp_path / name, "-i", str(voice)), 0.5)

    with pytest.raises(ProbeError, match=r"cut short|damaged"):
        _whole(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "playlist"),
        (b"<html><body>502 Bad Gateway</body></html>", "web page"),
        (b'{"error": "expired"}', "JSON"),
        (b"ID3\x04\0\0\0\0\0\0", "damaged|empty|neither"),
        (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x22\x56\0\0\x44\xac\0\0\2\0\x10\0data\0\0\0\0", "empty|damaged"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41", "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "cut short"),
        (b"\x1a\x45\xdf\xa3#EXTM3U", "damaged"),
    ],
)
def test_what_is_no_medium_is_refused_under_any_name(tmp_path: Path, data: bytes, reason: str) -> None:
    """An error page called output.mp4 must end here, and a playlist must not make us open other files."""
    path = tmp_path / "output.mp4"
    path.write_bytes(data)

    with pytest.raises(ProbeError, match=reason):
        probe(path)


def test_a_missing_file_is_a_probe_error(tmp_path: Path) -> None:
    """Callers catch one family of errors for a file that cannot be used."""
    with pytest.raises(ProbeError, match="No such file"):
        probe(tmp_path / "gone.png")


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """A 300 kB file can ask for gigabytes of memory."""
    Image.new("1", (9000, 9000)).save(tmp_path / "bomb.png")

    with pytest.raises(ProbeError, match="pixels"):
        probe(tmp_path / "bomb.png")


def test_a_picture_with_pillows_own_limit_of_pixels_is_refused_too(tmp_path: Path) -> None:
    """Pillow warns, then raises, before we can look at the size."""
    Image.new("1", (14000, 14000)).save(tmp_path / "bomb.png")

    with pytest.raises(ProbeError, match="pixels"):
        probe(tmp_path / "bomb.png")


def test_noise_with_a_signature_is_refused(tmp_path: Path) -> None:
    """Magic bytes alone make no picture."""
    noise = np.random.default_rng(5).bytes(2000)
    for signature in (b"\xff\xd8\xff\xe0", b"RIFF\x00\x01\0\0WEBPVP8 ", b"\0\0\0\x20ftypisom", b"fLaC"):
        path = tmp_path / "noise"
        path.write_bytes(signature + noise)
        with pytest.raises(ProbeError):
            _whole(path)
