"""Videos and sounds nobody should send: good ones that ffmpeg made, spoiled; and some built byte by byte."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media_assets_tests.media.hostile_makers import MB, boxes, png, spoiled
from media_assets_tests.media.makers import encode, moving_clip, speech_like, write_wav

RATE_HZ = 8000
_LARGEST = b"\xff\xff\xff\xff"
_ID3_END = b"\0\0\0\0\0\0\0\0\0\0"


@dataclass(frozen=True)
class Sources:
    """Good files to spoil, made once."""

    folder: Path
    clip: Path
    """Two seconds of H.264 and AAC in an MP4 whose index comes first."""
    voice: Path
    """Two seconds of 16-bit mono WAV with the plainest header there is, 44 bytes."""
    mp3: Path

    @classmethod
    def make(cls, folder: Path) -> "Sources":
        """Make them."""
        clip = moving_clip(folder / "clip.mp4", sound_s=2, more="-bf 0 -g 12 -movflags +faststart")
        voice = write_wav(folder / "voice.wav", speech_like(2, rate_hz=RATE_HZ), rate_hz=RATE_HZ)
        return cls(folder, clip, voice, encode(folder / "voice.mp3", "-i", str(voice)))

    def clip_with(
        self, name: str, *, seconds: float = 2, sound_s: float = 2, size: str = "160x120", more: str
    ) -> bytes:
        """Return another clip; options as ``moving_clip`` takes them."""
        return moving_clip(self.folder / name, seconds=seconds, sound_s=sound_s, size=size, more=more).read_bytes()

    def encoded(self, name: str, *arguments: str) -> bytes:
        """Return what ffmpeg makes of arguments."""
        return encode(self.folder / name, *arguments).read_bytes()


def _u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _billion_seconds(of: Sources) -> bytes:
    """Let every picture last 20 million seconds, and say so wherever lengths are said."""
    second, long = _u32(1), 10**9
    return spoiled(
        of.clip,
        (b"mvhd", 16, second + _u32(long)),
        (b"tkhd", 24, _u32(long)),
        (b"elst", 12, _u32(long)),
        (b"mdhd", 16, second + _u32(long)),
        (b"stts", 16, _u32(long // 48)),
    )


def _no_length(of: Sources) -> bytes:
    nothing = _u32(0)
    return spoiled(
        of.clip,
        (b"mvhd", 20, nothing),
        (b"tkhd", 24, nothing),
        (b"elst", 12, nothing),
        (b"mdhd", 20, nothing),
        (b"stts", 16, nothing),
    )


def _no_index(of: Sources) -> bytes:
    data = of.clip.read_bytes()
    return data[: data.index(b"moov") - 4] + data[data.index(b"mdat") - 4 :]


def _nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = _u32(8 + len(data)) + b"moov" + data
    return boxes(b"ftyp", b"isom\0\0\2\0isommp41") + data


def _no_packets(of: Sources) -> bytes:
    data = of.clip.read_bytes()
    begins = data.index(b"mdat") + 4
    return data[:begins] + bytes(len(data) - begins)


def _sized_by_its_index(of: Sources) -> bytes:
    """Let the index announce four billion packets of one size, which need no entry each."""
    return spoiled(of.clip, (b"stsz", 8, _u32(1, 0xFFFFFFFF)), (b"stts", 12, _u32(0xFFFFFFFF)))


VIDEOS: dict[str, Callable[[Sources], bytes]] = {
    "mp4_no_index": _no_index,
    "mp4_half": lambda of: of.clip.read_bytes()[: of.clip.stat().st_size // 2],
    "mp4_no_packets": _no_packets,
    "mp4_index_last": lambda of: of.clip_with("late.mp4", more=""),
    "mp4_no_length": _no_length,
    "mp4_billion_seconds": _billion_seconds,
    "mp4_says_billion_seconds": lambda of: spoiled(of.clip, (b"mdhd", 16, _u32(1, 10**9))),
    "mp4_no_clock": lambda of: spoiled(of.clip, (b"mdhd", 16, _u32(0))),
    "mp4_billions_of_packets": _sized_by_its_index,
    "mp4_huge_table": lambda of: spoiled(of.clip, (b"stts", 8, _LARGEST)),
    "mp4_huge_box": lambda of: spoiled(of.clip, (b"mdat", -4, _u32(1)), (b"mdat", 4, _LARGEST * 2)),
    "mp4_nested": lambda _: _nested(20_000),
    "mp4_edit_list": lambda of: of.clip_with("edit.mp4", sound_s=2, more="-output_ts_offset 0.5"),
    "mp4_edit_beyond_its_end": lambda of: spoiled(of.clip, (b"elst", 16, _u32(0x7FFFFFFF))),
    "mp4_no_sound": lambda of: of.clip_with("mute.mp4", sound_s=0, more=""),
    "mp4_no_picture": lambda of: of.encoded("blind.mp4", "-i", str(of.clip), "-vn", "-c", "copy"),
    "mp4_uneven_pictures": lambda of: of.clip_with(
        "uneven.mp4", more=r"-vf select=not(mod(n\,3))+not(mod(n\,7)) -fps_mode vfr"
    ),
    "mp4_odd_size": lambda of: of.clip_with("odd.mp4", size="161x121", more="-pix_fmt yuv444p"),
    "mp4_turned": lambda of: of.encoded("turned.mp4", "-display_rotation", "90", "-i", str(of.clip), "-c", "copy"),
    "mp4_one_picture": lambda of: of.clip_with("one.mp4", seconds=0.04, sound_s=0, more=""),
    "mp4_65k_x_65k": lambda of: spoiled(of.clip, (b"stsd", 44, _LARGEST)),
    "mp4_unknown_codec": lambda of: spoiled(of.clip, (b"stsd", 16, b"zzzz")),
    "mp4_long_title": lambda of: of.encoded(
        "title.mp4", "-i", str(of.clip), "-c", "copy", "-metadata", f"title={'%s/../' * 20_000}"
    ),
    "webm_half": lambda of: of.clip_with("half.webm", more="-c:v libvpx -c:a libopus")[:9000],
    "matroska_no_end": lambda _: b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + b"\x42\x82\x84webm" + b"\x1a\x45" * 5000,
}
"""Everything that a video model might send, by name."""


def _wav(**changes: int) -> bytes:
    """Return two seconds of WAV with a header of its own, valid or not; the data may be longer or shorter than said."""
    fields = {"kind": 1, "channels": 1, "rate_hz": RATE_HZ, "block": 2, "bits": 16, "says_bytes": 0, "bytes": 32_000}
    fields |= changes
    data = np.random.default_rng(1).integers(0, 256, fields["bytes"], np.uint8).tobytes()
    says = fields["says_bytes"] or len(data)
    form = struct.pack(
        "<HHIIHH",
        fields["kind"],
        fields["channels"],
        fields["rate_hz"],
        fields["rate_hz"] * fields["block"] & 0xFFFFFFFF,
        fields["block"],
        fields["bits"],
    )
    riff = struct.pack("<I", min(36 + says, 0xFFFFFFFF))
    return b"RIFF" + riff + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", says) + data


def wav_of(samples: NDArray[np.float32]) -> bytes:
    """Return a WAV of 32-bit floats."""
    head = _wav(kind=3, block=4, bits=32, rate_hz=22_050, bytes=samples.size * 4)[:44]
    return head + samples.astype("<f4").tobytes()


def _picture_of(size_px: tuple[int, int], data: bytes) -> bytes:
    """Return an ID3 tag with a cover."""
    frame = b"\0image/png\0\3\0" + png(size_px=size_px, data=data)
    body = b"APIC" + _synchsafe(len(frame)) + b"\0\0" + frame
    return b"ID3\4\0\0" + _synchsafe(len(body)) + body


def _synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _first_frame(of: Sources) -> bytes:
    data = of.encoded("plain.mp3", "-i", str(of.voice), "-write_xing", "0", "-id3v2_version", "0", "-b:a", "32k")
    return data[: data.index(data[:2], 2)]


def _switching(of: Sources) -> bytes:
    """Join two MP3s of different rates and channels, as services that speak sentence by sentence do."""
    more = ("-write_xing", "0", "-id3v2_version", "0")
    mono = of.encoded("mono.mp3", "-i", str(of.voice), *more, "-ar", "24000")
    return mono + of.encoded("stereo.mp3", "-i", str(of.voice), *more, "-ar", "16000", "-ac", "2")


def _flac_header() -> bytes:
    """Return a FLAC that announces as many samples as its header can hold, 2 to the power of 36, and holds none."""
    return b"fLaC\x80\0\0\x22" + b"\x10\0" * 2 + bytes(6) + b"\x0a\xc4\x42\xff" + _LARGEST + bytes(16)


SOUNDS: dict[str, Callable[[Sources], bytes]] = {
    "wav_8_khz": lambda of: of.voice.read_bytes(),
    "wav_says_more": lambda of: spoiled(of.voice, (b"data", 4, struct.pack("<I", 64_000))),
    "wav_says_less": lambda of: spoiled(of.voice, (b"data", 4, struct.pack("<I", 800))),
    "wav_streamed": lambda of: spoiled(of.voice, (b"RIFF", 4, _LARGEST), (b"data", 4, _LARGEST)),
    "wav_no_channels": lambda _: _wav(channels=0),
    "wav_65k_channels": lambda _: _wav(channels=0xFFFF),
    "wav_no_rate": lambda _: _wav(rate_hz=0),
    "wav_4_ghz": lambda _: _wav(rate_hz=0xFFFFFFFF),
    "wav_no_block": lambda _: _wav(block=0),
    "wav_no_bits": lambda _: _wav(bits=0),
    "wav_unknown_codec": lambda _: _wav(kind=0x7A7A),
    "wav_header_only": lambda _: _wav(bytes=0),
    "wav_nan": lambda _: wav_of(np.full(RATE_HZ, np.nan, np.float32)),
    "wav_infinite": lambda _: wav_of(np.full(RATE_HZ, np.inf, np.float32)),
    "mp3_tag_only": lambda _: b"ID3\4\0\0\0\0\0\n" + _ID3_END,
    "mp3_tag_of_256_mb": lambda _: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(MB),
    "mp3_one_frame": _first_frame,
    "mp3_half": lambda of: of.mp3.read_bytes()[: of.mp3.stat().st_size // 2],
    "mp3_bomb_as_cover": lambda of: _picture_of((30_000, 30_000), bytes(1000)) + of.mp3.read_bytes(),
    "mp3_large_cover": lambda of: _picture_of((96, 64), bytes(8 * MB)) + of.mp3.read_bytes(),
    "mp3_switching": _switching,
    "flac_header_only": lambda _: _flac_header(),
    "ogg_noise": lambda _: b"OggS\0\2" + np.random.default_rng(2).bytes(3000),
    "aac_noise": lambda _: b"\xff\xf1\x50\x80" + np.random.default_rng(3).bytes(3000),
}
"""Everything that a voice might send, by name."""
