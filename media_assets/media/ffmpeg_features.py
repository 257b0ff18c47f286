"""What the ffmpeg at hand can do, asked from it: for plans and ``doctor``, before a film fails on it."""

import re
from dataclasses import dataclass
from functools import lru_cache

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
    """Return why films cannot be made with the ffmpeg at hand, or None; asks it once in a process."""
    try:
        path = ffmpeg_path()
        missing = _missing_encoders(path)
    except (FfmpegError, RuntimeError) as error:
        return f"there is none to run: {error}"
    return (
        f"{path} lacks the encoders {', '.join(missing)}; set MEDIA_ASSETS_FFMPEG to another one" if missing else None
    )


@lru_cache(maxsize=4)
def _missing_encoders(path: str) -> tuple[str, ...]:
    del path  # the key: another ffmpeg has other encoders
    encoders = _second_words(ffmpeg_says(["-encoders"], deadline_s=_DEADLINE_S))
    return tuple(name for name in ENCODERS if name not in encoders)


def ffmpeg_features() -> FfmpegFeatures:
    """Ask ffmpeg; starts it three times, well under a second in all.

    Raises:
        FfmpegError: There is none to run, or it does not answer as ffmpeg does.
    """
    path = ffmpeg_path()
    first_line = ffmpeg_says(["-version"], deadline_s=_DEADLINE_S).partition("\n")[0]
    version = re.match(r"ffmpeg version (\S+)", first_line)
    filters = _second_words(ffmpeg_says(["-filters"], deadline_s=_DEADLINE_S))
    return FfmpegFeatures(
        path=path,
        version=version[1] if version else first_line,
        missing_encoders=_missing_encoders(path),
        missing_filters=tuple(name for name in FILTERS if name not in filters),
    )


def _second_words(listing: str) -> set[str]:
    """Return the names of ffmpeg's listings, whose lines are flags, name and description."""
    lines = (line.split() for line in listing.splitlines())
    return {words[1] for words in lines if len(words) > 1}
