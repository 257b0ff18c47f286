"""How a clip's picture is stored and timed, which decides whether it can be copied into a film as it is.

Whether it is worth looking at is decided in ``judge``.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from media_assets.errors import ProbeError
from media_assets.media.probe import opened_streams, picture_stream

_COPYABLE_MIMES = ("video/mp4", "video/quicktime")
_USUAL_RATES = tuple(
    Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60")
)
_COPY_TOLERANCE_S = 0.05
"""A copied picture may end this far from the film's length, half of what a judge allows."""
_LOWEST_RATE_FPS = 20
"""Below this one picture lasts so long that a film could not end within 0.05 s of where it should."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A clip's picture stream, from its packets (nothing is decoded)."""

    width_px: int
    height_px: int
    shape: Fraction
    """Width to height of one pixel; 1 is square."""
    rate_fps: Fraction
    """Pictures a second, exactly, when ``is_constant``; else their mean."""
    is_constant: bool
    """Whether every picture stands for the same time, from 0 on."""
    ends_s: float
    """Where the last picture ends."""
    is_plain: bool
    """H.264 with 8-bit 4:2:0 colour in an MP4 or MOV: what every player shows."""

    @property
    def film_size_px(self) -> tuple[int, int]:
        """The size with square pixels and even sides."""
        width_px = round(self.width_px * self.shape)
        return width_px - width_px % 2, self.height_px - self.height_px % 2

    @property
    def film_rate_fps(self) -> Fraction:
        """The constant rate at which to encode: its own if it has one, and never so low that lengths suffer."""
        rate = self.rate_fps
        if not self.is_constant:
            rate = min(_USUAL_RATES, key=lambda usual: abs(usual - rate))
        while rate < _LOWEST_RATE_FPS:
            rate *= 2
        return rate

    def can_be_copied(self, wanted_s: float) -> bool:
        """Whether the stream can go into a film of this length without being encoded again.

        Only as a whole: a copy can be cut at few places, because packets are stored in the order of decoding.
        """
        is_even = self.width_px % 2 == 0 and self.height_px % 2 == 0
        is_fit = abs(self.ends_s - wanted_s) <= _COPY_TOLERANCE_S
        return self.is_plain and self.is_constant and is_even and self.shape == 1 and is_fit


def read_picture(path: Path, mime: str) -> Picture:
    """Read how the picture of a video is stored.

    Raises:
        ProbeError: The file has no moving picture or cannot be read.
    """
    with opened_streams(path, mime) as container:
        stream = picture_stream(container)
        times = (
            []
            if stream is None or stream.time_base is None
            else [p.pts * stream.time_base for p in container.demux(stream) if p.pts is not None]
        )
        if stream is None or not times:
            message = f"{path.name} ({mime}) holds no moving picture."
            raise ProbeError(message)
        codec = stream.codec_context.codec.canonical_name
        is_plain = codec == "h264" and stream.pix_fmt == "yuv420p" and mime in _COPYABLE_MIMES
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        return Picture(
            width_px=stream.width,
            height_px=stream.height,
            shape=stream.sample_aspect_ratio or Fraction(1),
            rate_fps=rate,
            is_constant=_is_constant(sorted(times), rate, stream.time_base or Fraction(1)),
            ends_s=float(max(times) + 1 / rate),
            is_plain=is_plain,
        )


def _is_constant(times: list[Fraction], rate: Fraction, tick: Fraction) -> bool:
    """Whether the nth picture is shown at n / rate, as nearly as the file's clock can say."""
    allowed = max(tick, Fraction(1, 2000))
    return all(abs(time - rank / rate) <= allowed for rank, time in enumerate(times))
