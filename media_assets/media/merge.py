"""Put a clip and a voice together: one film that plays everywhere, of a length that was decided before.

How long it becomes is arithmetic in ``length``; whether it came out right is decided in ``judge``.
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media_assets.artifact import MediaInfo, MediaKind
from media_assets.errors import ConformError, FfmpegError
from media_assets.media._ffmpeg import (
    THREADS,
    graph_arguments,
    graph_input,
    graph_silence,
    run_ffmpeg,
)
from media_assets.media.conform import conform_audio
from media_assets.media.length import FilmLength, film_length_s
from media_assets.media.picture import Picture, read_picture
from media_assets.media.probe import probe
from media_assets.media.sniff import DEMUXERS
from media_assets.media.work import Work
from media_assets.prompt import Fit

FILM_RATE_HZ = 48_000
TARGET_LUFS = -16.0
TARGET_PEAK_DBTP = -1.5

_SILENT_LUFS = -60.0
"""Nothing this quiet is meant to be heard: making it louder would only make noise."""
_MOST_GAIN_DB = 40.0
_LIMITER_RATE_HZ = 192_000
"""True peaks lie between samples: at four times the rate the samples come near enough."""
_LIMIT_DBTP = TARGET_PEAK_DBTP - 0.5
"""Lower than the target, because AAC moves peaks (0.3 dB measured on speech at 192 kbit/s, 2026-11-22)."""
_MOST_GIVEN_BACK_DB = 3.0
_TAIL_S = 0.5
_HOLD_SPARE_S = 1.0
_SAME_TEMPO = 0.001
_MEASURE_DEADLINE_S = 120.0

_SUMMARY = re.compile(
    r"Integrated loudness:\s+I:\s+(?P<lufs>\S+) LUFS.*?True peak:\s+Peak:\s+(?P<peak>\S+) dBFS",
    re.DOTALL,
)
_FLOOR_DB = -120.0


@dataclass(frozen=True, kw_only=True)
class Loudness:
    """How loud a sound is as 48 kHz stereo; digital silence is -70 LUFS and -120 dBTP."""

    integrated_lufs: float
    true_peak_dbtp: float

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to be made louder, or too little (0.4 s) for a measurement."""
        return self.integrated_lufs <= _SILENT_LUFS


def measure_loudness(path: Path, work: Work, *, deadline_s: float = _MEASURE_DEADLINE_S) -> Loudness:
    """Measure the first sound of a file by EBU R 128, to 0.1 dB.

    Raises:
        ProbeError: The file cannot be read.
        ConformError: It has no sound.
        FfmpegError: It could not be measured.
        StoppedError: ``work.stop`` was set.
    """
    info = probe(path)
    if info.audio_codec is None:
        message = f"{path.name} has no sound to measure."
        raise ConformError(message)
    return _measure(_stereo(_sound_input(path, info)), work, deadline_s)


def _measure(sound: Any, work: Work, deadline_s: float) -> Loudness:
    # At this level the filter reports its summary only, not ten lines a second.
    measured = sound.filter("ebur128", peak="true", framelog="verbose")
    arguments = graph_arguments([measured], None, {"format": "null", "loglevel": "info"})
    report = run_ffmpeg(arguments, deadline_s=deadline_s, work=work)
    # ffmpeg 5.1 may build its graph twice; the first one then reports the silence it has heard.
    *_, match = None, *_SUMMARY.finditer(report)
    if match is None:
        message = "ffmpeg did not report how loud a sound is."
        raise FfmpegError(message, stderr_tail=report[-1000:])
    return Loudness(
        integrated_lufs=max(float(match["lufs"]), _FLOOR_DB),
        true_peak_dbtp=max(float(match["peak"]), _FLOOR_DB),
    )


def write_film(clip: Path, voice: Path | None, target: Path, *, fit: Fit, work: Work, deadline_s: float) -> FilmLength:
    """Write the film of a clip and a voice: MP4, H.264, 48 kHz stereo AAC, -16 LUFS, always with both streams.

    The picture is copied where nothing forces it to be encoded again. A voice replaces the clip's own sound;
    without a voice that sound stays, and a mute clip gets silence. Equal inputs give equal bytes on one machine.

    Args:
        clip: A video.
        voice: A sound, or None.
        target: The film; an existing file is replaced.
        fit: What to do when clip and voice differ in length.
        work: Where to write messages, when to stop, whom to tell.
        deadline_s: Seconds for everything; then ffmpeg is killed.

    Returns:
        The film's length and how it came about.

    Raises:
        ProbeError: An input cannot be read.
        ConformError: An input is of the wrong kind, or ``fit`` cannot bring the two together.
        FfmpegError: ffmpeg failed or passed the deadline.
        StoppedError: ``work.stop`` was set.
    """
    ends_at = time.monotonic() + deadline_s
    clip_info = _probe_as(clip, MediaKind.VIDEO)
    voice_info = _probe_as(voice, MediaKind.AUDIO) if voice is not None else None
    length = film_length_s(
        fit,
        clip_s=clip_info.video_duration_s or 0.0,
        voice_s=voice_info.audio_duration_s if voice_info is not None else None,
    )
    picture = read_picture(clip, clip_info.mime)
    source = (clip, clip_info) if clip_info.audio_codec is not None else None
    if voice is not None and voice_info is not None:
        source = _even_voice(voice, voice_info, work, ends_at)
    sound = _film_sound(source, length, work, ends_at)
    work.tell(0.3)
    if picture.can_be_copied(length.film_s):
        shown = graph_input(clip, demuxer=DEMUXERS[clip_info.mime])["V:0"]
        options, end_s = _COPIED_PICTURE, max(length.film_s, picture.ends_s)
    else:
        shown = _film_picture(clip, clip_info, picture, length)
        options, end_s = _ENCODED_PICTURE, length.film_s
    options = {**options, **_FILM_OPTIONS, "t": _seconds(end_s)}
    arguments = graph_arguments([shown, sound], target, options)
    run_ffmpeg(arguments, deadline_s=_left_s(ends_at), work=work)
    work.tell(1.0)
    return length


def _even_voice(voice: Path, info: MediaInfo, work: Work, ends_at: float) -> tuple[Path, MediaInfo]:
    """Return the voice in one form from end to end.

    A voice put together from pieces may change its rate or channels on the way, as an MP3 can. ffmpeg then builds its
    whole graph anew, and what the picture's half of it held is lost (seen with ffmpeg 9.0.2).
    """
    if info.mime == "audio/wav":
        return voice, info
    even = work.scratch / "voice.wav"
    conform_audio(voice, even, sample_rate_hz=FILM_RATE_HZ, channels=2, work=work, deadline_s=_left_s(ends_at))
    return even, probe(even)


_COPIED_PICTURE: dict[str, str | int | None] = {"c:v": "copy"}
_ENCODED_PICTURE: dict[str, str | int | None] = {
    "c:v": "libx264",
    "preset": "veryfast",
    "crf": 20,
    "pix_fmt": "yuv420p",
}
_FILM_OPTIONS: dict[str, str | int | None] = {
    "format": "mp4",
    "c:a": "aac",
    "b:a": "192k",
    "ar": FILM_RATE_HZ,
    "ac": 2,
    "threads": THREADS,
    "bitexact": None,
    "fflags": "+bitexact",
    "map_metadata": -1,
    "map_chapters": -1,
    "movflags": "+faststart",
}


def _probe_as(path: Path, kind: MediaKind) -> MediaInfo:
    info = probe(path)
    if info.kind is not kind:
        message = f"{path.name} is {info.kind} ({info.mime}); a film needs {kind} here."
        raise ConformError(message)
    return info


def _left_s(ends_at: float) -> float:
    return max(ends_at - time.monotonic(), 0.0)


def _seconds(value_s: float) -> str:
    return f"{value_s:.6f}"


def _film_picture(clip: Path, info: MediaInfo, picture: Picture, length: FilmLength) -> Any:
    """Return the picture at a constant rate, with square pixels and even sides, at least as long as the film."""
    repeat = {"stream_loop": -1} if length.repeated_s else {}
    shown = graph_input(clip, demuxer=DEMUXERS[info.mime], **repeat)["V:0"]
    width_px, height_px = picture.film_size_px
    if picture.shape == 1:
        shown = shown.filter("crop", width_px, height_px, 0, 0)
    else:
        shown = shown.filter("scale", width_px, height_px)
    shown = shown.filter("setsar", 1)
    shown = shown.filter("fps", fps=str(picture.film_rate_fps), start_time=0)
    if not length.repeated_s:
        held_s = _seconds(length.held_s + _HOLD_SPARE_S)
        shown = shown.filter("tpad", stop_mode="clone", stop_duration=held_s)
    return shown.filter("format", "yuv420p")


def _film_sound(source: tuple[Path, MediaInfo] | None, length: FilmLength, work: Work, ends_at: float) -> Any:
    """Return the film's sound, endless; silence when there is no source."""
    if source is None:
        return graph_silence(FILM_RATE_HZ)
    path, info = source
    sound = _stereo(_sound_input(path, info))
    if abs(length.tempo - 1) > _SAME_TEMPO:
        sound = sound.filter("atempo", _seconds(length.tempo))
    # Measured with the silence that follows it in the film: half of a short word's loudness is what comes after.
    return _levelled(sound.filter("apad", pad_dur=_TAIL_S), work, ends_at).filter("apad")


def _sound_input(path: Path, info: MediaInfo) -> Any:
    return graph_input(path, demuxer=DEMUXERS[info.mime])["a:0"]


def _stereo(sound: Any) -> Any:
    """Bring a sound to the film's form, which is also the one it is measured in: mono is 3 dB louder as stereo."""
    # A sound that begins late or has gaps keeps its place in time.
    resampled = sound.filter("aresample", FILM_RATE_HZ, **{"async": 1}, first_pts=0)
    return resampled.filter("aformat", sample_fmts="fltp", channel_layouts="stereo")


def _levelled(sound: Any, work: Work, ends_at: float) -> Any:
    """Return a sound brought to the target loudness by one constant gain, its peaks limited.

    A constant gain keeps the voice's dynamics; ffmpeg's ``loudnorm`` would switch to a moving gain whenever a
    peak is in the way, and invents one for sounds under 3 s.
    """
    loudness = _measure(sound, work, _left_s(ends_at))
    if loudness.is_silent:
        return sound
    gain_db = min(TARGET_LUFS - loudness.integrated_lufs, _MOST_GAIN_DB)
    if loudness.true_peak_dbtp + gain_db <= _LIMIT_DBTP:
        return sound.filter("volume", f"{gain_db:.2f}dB")
    # What the limiter takes from the peaks, speech loses in loudness (0.8 LU measured): given back once.
    limited = _measure(_limited(sound, gain_db), work, _left_s(ends_at))
    lost_db = min(max(TARGET_LUFS - limited.integrated_lufs, 0.0), _MOST_GIVEN_BACK_DB)
    return _limited(sound, gain_db + lost_db)


def _limited(sound: Any, gain_db: float) -> Any:
    fine = sound.filter("volume", f"{gain_db:.2f}dB").filter("aresample", _LIMITER_RATE_HZ)
    limit = 10 ** (_LIMIT_DBTP / 20)
    limited = fine.filter("alimiter", limit=f"{limit:.6f}", attack=5, release=50, level=0)
    return limited.filter("aresample", FILM_RATE_HZ)
