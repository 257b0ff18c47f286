"""What the ffmpeg at hand can do, asked from it: for plans and ``doctor``, before a film fails on it."""

import re
from dataclasses import dataclass

from media_assets.errors import FfmpegError
from media_assets.media._ffmpeg import ffmpeg_path, ffmpeg_says

ENCODERS = ("libx264", "aac")
"""What films are encoded with."""

FILTERS = (
    "aformat",
    "alimiter",
    "anullsrc",
    "apad",
    "aresample",
    "atempo",
    "crop",
    "ebur128",
    "format",
    "fps",
    "scale",
    "setsar",
    "tpad",
    "volume",
)
"""What ``merge.py`` and ``conform.py`` build their graphs of."""

_DEADLINE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class FfmpegFeatures:
    """An ffmpeg, and what it lacks of what is needed."""

    path: str
    version: str
    missing_encoders: tuple[str, ...]
    missing_filters: tuple[str, ...]


def ffmpeg_problem() -> str | None:
    """Return why no ffmpeg can be run here, or None; starts nothing."""
    try:
        ffmpeg_path()
    except (FfmpegError, RuntimeError) as error:
        return f"there is none to run: {error}"
    return None


def ffmpeg_features() -> FfmpegFeatures:
    """Ask ffmpeg; starts it three times, well under a second in all.

    Raises:
        FfmpegError: There is none to run, or it does not answer as ffmpeg does.
    """
    path = ffmpeg_path()
    first_line = ffmpeg_says(["-version"], deadline_s=_DEADLINE_S).partition("\n")[0]
    version = re.match(r"ffmpeg version (\S+)", first_line)
    encoders = _second_words(ffmpeg_says(["-encoders"], deadline_s=_DEADLINE_S))
    filters = _second_words(ffmpeg_says(["-filters"], deadline_s=_DEADLINE_S))
    return FfmpegFeatures(
        path=path,
        version=version[1] if version else first_line,
        missing_encoders=tuple(name for name in ENCODERS if name not in encoders),
        missing_filters=tuple(name for name in FILTERS if name not in filters),
    )


def _second_words(listing: str) -> set[str]:
    """Return the names of ffmpeg's listings, whose lines are flags, name and description."""
    lines = (line.split() for line in listing.splitlines())
    return {words[1] for words in lines if len(words) > 1}
