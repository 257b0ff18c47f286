"""Decide whether a file is good enough for the next step, which may cost money.

A verdict lists every problem in words and every measured number, so that a person can overrule it. The numbers
are measured in ``sample``; nothing here changes a file.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import JudgeError, ProbeError
from media_assets.letters import spoken_letters
from media_assets.media.probe import decode_check
from media_assets.media.sniff import HEAD_BYTES, has_index_first, sniff

if TYPE_CHECKING:
    from media_assets.media.sample import Motion

MIN_SIDE_PX = 512
MIN_CLIP_S = 1.0
FILM_TOLERANCE_S = 0.1
"""How far a film and its two streams may be from the wanted length, and from each other."""

_ASPECT_TOLERANCE = 0.05
_SMALLEST_SCALE = 0.75
"""Less than three quarters of the requested size would have to be blown up; a larger picture is no fault."""
_FLAT_STD = 1.5
_BLACK_SHARE = 0.9
_FROZEN_SHARE = 0.9
_LENGTH_TOLERANCE_S = 0.5
_LENGTH_TOLERANCE = 0.1
_EARLY_END_S = 0.25

_AUDIBLE_DBFS = -50.0
_AUDIBLE_SHARE = 0.05
"""A voice is above the audible level for at least this share of its length; a click in silence is not."""
_FASTEST_LETTERS_PER_S = 30.0
_SLOWEST_LETTERS_PER_S = 5.0
"""Voices speak 12 to 20 letters a second: only one that is out by about a factor of two is refused. At another speed
than the usual one these are so many times as much."""
_USUAL_LETTERS_PER_S = (8.0, 20.0)
"""Never refused, whatever the speed: a provider may pass over an odd one, and what is spoken as usual can be used."""
_PAUSES_S = 3.0

OF_THE_FILE = frozenset(
    {
        *("mean_luma", "luma_std", "black_ratio", "motion_mean", "frozen_s"),
        *("rms_dbfs", "peak_dbfs", "audible_ratio"),
    }
)
"""Of a verdict's numbers those that say something of the bytes, whatever they were judged for, and are not probed."""

_FILM_RATE_HZ = 48_000
_FILM_CHANNELS = 2


@dataclass(frozen=True)
class Verdict:
    """What was found; good when ``problems`` is empty."""

    problems: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)
    """What was measured, flat, each with its unit in its name."""

    @property
    def is_good(self) -> bool:
        """Whether the next step may build on the file."""
        return not self.problems

    def require(self, what: str) -> None:
        """Raise unless the verdict is good.

        Args:
            what: The file in a reader's words, such as ``"the image of lighthouse"``.

        Raises:
            JudgeError: With every problem in its message and every number in its ``verdict``.
        """
        if self.problems:
            message = f"{what} is not good enough: {'; '.join(self.problems)}."
            raise JudgeError(message, verdict={"problems": list(self.problems), **self.numbers})


def judge_image(
    path: Path,
    info: MediaInfo,
    *,
    requested_size_px: tuple[int, int] | None,
    min_side_px: int = MIN_SIDE_PX,
) -> Verdict:
    """Judge a still: what it says it is, decodable, large enough, near its requested size, not black or blank."""
    from media_assets.media.sample import image_look  # noqa: PLC0415 - brings numpy and Pillow

    if problems := _kind_problems(path, info, MediaKind.IMAGE):
        return _verdict(problems, {})
    problems = _size_problems(info, requested_size_px)
    numbers = _size_numbers(info)
    if min(info.width_px or 0, info.height_px or 0) < min_side_px:
        problems.append(f"it is {_size(info)}; at least {min_side_px} px a side are needed")
    try:
        look = image_look(path, info)
    except ProbeError as error:
        return _verdict([*problems, error.message.rstrip(".")], numbers)
    numbers |= {
        "mean_luma": look.mean_luma,
        "luma_std": look.luma_std,
        "black_ratio": float(look.is_black),
    }
    if look.is_black:
        problems.append("it is black: a provider's content filter may have emptied it")
    elif look.color_std < _FLAT_STD:
        problems.append("it is one flat colour")
    return _verdict(problems, numbers)


def judge_video(
    path: Path,
    info: MediaInfo,
    *,
    requested_size_px: tuple[int, int] | None,
    requested_duration_s: float | None,
    check_motion: bool,
    min_clip_s: float = MIN_CLIP_S,
) -> Verdict:
    """Judge a clip: decodable to its end, long enough, near what was requested, not black, and moving.

    Args:
        path: The file.
        info: What ``probe`` said of it.
        requested_size_px: Width and height; None when the model had no choice.
        requested_duration_s: The clip's wanted length; None when the model had no choice.
        check_motion: Whether a clip that stands still is a fault.
        min_clip_s: A shorter clip is refused.
    """
    from media_assets.media.sample import video_motion  # noqa: PLC0415 - brings numpy and PyAV

    if problems := _kind_problems(path, info, MediaKind.VIDEO):
        return _verdict(problems, {})
    problems = _size_problems(info, requested_size_px)
    duration_s = info.video_duration_s or 0.0
    numbers = {**_size_numbers(info), "duration_s": duration_s}
    problems += _length_problems(duration_s, requested_duration_s, min_clip_s)
    try:
        motion = video_motion(path, info)
        if motion.ends_s is None:
            decode_check(path, info)
    except ProbeError as error:
        return _verdict([*problems, error.message.rstrip(".")], numbers)
    if not motion.looks:
        return _verdict([*problems, "no picture in it can be decoded"], numbers)
    count = len(motion.looks)
    black_ratio = sum(look.is_black for look in motion.looks) / count
    numbers |= {
        "mean_luma": sum(look.mean_luma for look in motion.looks) / count,
        "luma_std": sum(look.luma_std for look in motion.looks) / count,
        "black_ratio": black_ratio,
        "motion_mean": motion.motion_mean,
        "frozen_s": motion.frozen_s,
    }
    allowed_s = max(_EARLY_END_S, 2 / info.fps if info.fps else 0.0)
    if motion.ends_s is not None and motion.ends_s < duration_s - allowed_s:
        problems.append(f"its picture ends at {motion.ends_s:.2f} s of {duration_s:.2f} s")
    if black_ratio >= _BLACK_SHARE:
        problems.append("it is black: a provider's content filter may have emptied it")
    elif check_motion and _is_frozen(motion, duration_s):
        problems.append("nothing in it moves")
    return _verdict(problems, numbers)


def judge_audio(
    path: Path, info: MediaInfo, *, text: str | None, silent_ok: bool = False, speed: float = 1.0
) -> Verdict:
    """Judge a voice: decodable to its end, not silent, and of a length that can be its text.

    Args:
        path: The file.
        info: What ``probe`` said of it.
        text: What should be spoken; None when nothing is known of it.
        silent_ok: Whether silence is what was asked for; then the text is not looked at either.
        speed: How many times as fast as usual it was asked to be spoken.
    """
    from media_assets.media.sample import sound_levels  # noqa: PLC0415 - brings numpy and PyAV

    if problems := _kind_problems(path, info, MediaKind.AUDIO):
        return _verdict(problems, {})
    duration_s = info.audio_duration_s or 0.0
    try:
        levels = sound_levels(path, info)
    except ProbeError as error:
        return _verdict([*problems, error.message.rstrip(".")], {"duration_s": duration_s})
    audible = sum(level > _AUDIBLE_DBFS for level in levels.window_dbfs)
    audible_ratio = audible / len(levels.window_dbfs) if levels.window_dbfs else 0.0
    numbers = {
        "duration_s": duration_s,
        "rms_dbfs": levels.rms_dbfs,
        "peak_dbfs": levels.peak_dbfs,
        "audible_ratio": audible_ratio,
    }
    if levels.duration_s < duration_s - _EARLY_END_S:
        problems.append(f"it ends at {levels.duration_s:.2f} s of {duration_s:.2f} s")
    if not silent_ok:
        if audible_ratio < _AUDIBLE_SHARE:
            problems.append("it is silent")
        if text is not None:
            letters = spoken_letters(text)
            numbers["letters_per_s"] = letters / duration_s if duration_s else 0.0
            problems += _pace_problems(letters, duration_s, speed)
    return _verdict(problems, numbers)


def judge_film(path: Path, info: MediaInfo, *, target_s: float) -> Verdict:
    """Judge a film: H.264 and 48 kHz stereo AAC, both of the wanted length, ready to play while it loads.

    Nothing is decoded: ffmpeg has just encoded it and ended well, and ``probe`` has seen that no byte is missing.
    """
    if problems := _kind_problems(path, info, MediaKind.VIDEO):
        return _verdict(problems, {})
    video_s, audio_s = info.video_duration_s or 0.0, info.audio_duration_s or 0.0
    numbers = {
        **_size_numbers(info),
        "duration_s": info.duration_s or 0.0,
        "video_duration_s": video_s,
        "audio_duration_s": audio_s,
        "drift_s": abs(video_s - audio_s),
    }
    if info.video_codec != "h264":
        problems.append(f"its picture is {info.video_codec}, not h264")
    if info.audio_codec != "aac":
        problems.append(f"its sound is {info.audio_codec or 'missing'}, not aac")
    elif (info.sample_rate_hz, info.channels) != (_FILM_RATE_HZ, _FILM_CHANNELS):
        problems.append(f"its sound has {info.sample_rate_hz} Hz and {info.channels} channels, not 48000 and 2")
    for name, length_s in (("picture", video_s), ("sound", audio_s)):
        if abs(length_s - target_s) > FILM_TOLERANCE_S:
            problems.append(f"its {name} lasts {length_s:.2f} s instead of {target_s:.2f} s")
    if numbers["drift_s"] > FILM_TOLERANCE_S:
        problems.append(f"picture and sound differ by {numbers['drift_s']:.2f} s")
    if not has_index_first(path):
        problems.append("its index is at its end, so that it cannot play while it loads")
    return _verdict(problems, numbers)


def _verdict(problems: Iterable[str], numbers: dict[str, float]) -> Verdict:
    return Verdict(tuple(problems), {name: round(value, 4) for name, value in numbers.items()})


def _kind_problems(path: Path, info: MediaInfo, wanted: MediaKind) -> list[str]:
    with path.open("rb") as file:
        sniffed = sniff(file.read(HEAD_BYTES))
    problems = []
    if info.kind is not wanted:
        problems.append(f"it is {info.kind} ({info.mime}), not {wanted}")
    if sniffed is None or path.stat().st_size != info.size_bytes:
        problems.append("its bytes are no longer those that were probed")
    return problems


def _is_frozen(motion: "Motion", duration_s: float) -> bool:
    if len(motion.looks) == 1:
        # A single picture, shown for long enough that there should have been another sample.
        return duration_s >= MIN_CLIP_S
    return motion.frozen_s >= _FROZEN_SHARE * motion.sampled_s


def _size(info: MediaInfo) -> str:
    return f"{info.width_px} x {info.height_px} px"


def _size_numbers(info: MediaInfo) -> dict[str, float]:
    return {"width_px": float(info.width_px or 0), "height_px": float(info.height_px or 0)}


def _size_problems(info: MediaInfo, requested_px: tuple[int, int] | None) -> list[str]:
    if requested_px is None or not info.width_px or not info.height_px:
        return []
    width, height = info.width_px / requested_px[0], info.height_px / requested_px[1]
    requested = f"{requested_px[0]} x {requested_px[1]} px"
    if max(width, height) / min(width, height) > 1 + _ASPECT_TOLERANCE:
        return [f"it is {_size(info)}: another shape than the requested {requested}"]
    if min(width, height) < _SMALLEST_SCALE:
        return [f"it is {_size(info)}: much smaller than the requested {requested}"]
    return []


def _length_problems(duration_s: float, requested_s: float | None, shortest_s: float) -> list[str]:
    problems = []
    if duration_s < shortest_s:
        problems.append(f"it lasts {duration_s:.2f} s; at least {shortest_s:g} s are needed")
    if requested_s is not None:
        allowed_s = max(_LENGTH_TOLERANCE_S, _LENGTH_TOLERANCE * requested_s)
        if abs(duration_s - requested_s) > allowed_s:
            problems.append(f"it lasts {duration_s:.2f} s instead of {requested_s:.2f} s")
    return problems


def _pace_problems(letters: int, duration_s: float, speed: float) -> list[str]:
    slowest = min(_SLOWEST_LETTERS_PER_S * speed, _USUAL_LETTERS_PER_S[0])
    fastest = max(_FASTEST_LETTERS_PER_S * speed, _USUAL_LETTERS_PER_S[1])
    text = f"a text of about {letters} letters"
    if speed != 1:
        text += f" at {speed:g} times the usual speed"
    if duration_s < letters / fastest - _LENGTH_TOLERANCE_S:
        return [f"{duration_s:.1f} s are too short for {text}: it may be cut short"]
    if duration_s > letters / slowest + _PAUSES_S / min(speed, 1):
        return [f"{duration_s:.1f} s are too long for {text}"]
    return []
