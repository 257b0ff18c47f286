"""Films: their lengths, their form, their loudness."""

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from media_assets.artifact import MediaInfo
from media_assets.errors import ConformError, FfmpegError, ProbeError, StoppedError
from media_assets.media.judge import judge_film
from media_assets.media.length import FilmLength
from media_assets.media.merge import measure_loudness, write_film
from media_assets.media.picture import read_picture
from media_assets.media.probe import opened_streams, probe
from media_assets.media.work import Work
from media_assets.prompt import Fit
from media_assets_tests.media.makers import encode, moving_clip, speech_like, tone, write_wav


@pytest.fixture
def work(tmp_path: Path) -> Work:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Work(scratch=scratch)


def _film(
    work: Work, clip: Path, voice: Path | None, fit: Fit = Fit.HOLD, *, name: str = "film.mp4"
) -> tuple[Path, MediaInfo, FilmLength]:
    """Write a film and judge it."""
    target = clip.parent / name
    length = write_film(clip, voice, target, fit=fit, work=work, deadline_s=60)
    info = probe(target)
    judge_film(target, info, target_s=length.film_s).require("the film")
    return target, info, length


def _lumas(path: Path) -> NDArray[np.float64]:
    """Return the picture as small grey frames, shape (frames, height, width)."""
    with opened_streams(path, "video/mp4") as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return np.stack(frames).astype(float)


def _samples(path: Path) -> NDArray[np.float32]:
    """Return the left channel."""
    with opened_streams(path, "video/mp4") as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


class _Case(NamedTuple):
    fps: str
    more: str
    clip_sound_s: float
    rate_hz: int
    channels: int
    voice_s: float
    fit: Fit
    film_s: float


VARIABLE = r"-vf select=not(mod(n\,3))+lt(n\,9) -fps_mode vfr -bf 0"

CASES = {
    "plain clip, short mono voice": _Case("24", "", 0, 22_050, 1, 1.2, Fit.HOLD, 2),
    "plain clip, long stereo voice": _Case("25", "", 2.5, 44_100, 2, 2.7, Fit.HOLD, 2.7),
    "clip with sound, equal voice": _Case("30000/1001", "", 1, 48_000, 1, 2.002, Fit.HOLD, 2.002),
    "fast clip, looped": _Case("60", "", 2.6, 24_000, 2, 4.5, Fit.LOOP, 4.5),
    "odd sides, looped for nothing": _Case("24", "-vf crop=99:81:0:0 -pix_fmt yuv444p", 0, 22_050, 1, 1.5, Fit.LOOP, 2),
    "slow clip, cut": _Case("8", "", 0, 24_000, 1, 1.3, Fit.TRIM, 1.3),
    "oblong pixels, cut for nothing": _Case("24", "-vf setsar=4/3", 0.5, 48_000, 2, 2.6, Fit.TRIM, 2.6),
    "variable rate, faster voice": _Case("24", VARIABLE, 0, 22_050, 2, 2.1, Fit.STRETCH, 1.917),
    "plain clip, slower voice": _Case("24", "", 0, 44_100, 1, 1.7, Fit.STRETCH, 2),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_clip_and_voice_become_one_film_of_the_planned_length(tmp_path: Path, work: Work, case: _Case) -> None:
    """Frame rates, sample rates and lengths of different models must not drift apart in the film."""
    clip = moving_clip(tmp_path / "clip.mp4", fps=case.fps, sound_s=case.clip_sound_s, more=case.more)
    sound = speech_like(case.voice_s, rate_hz=case.rate_hz)
    voice = write_wav(tmp_path / "voice.wav", sound, rate_hz=case.rate_hz, channels=case.channels)

    film, _, length = _film(work, clip, voice, case.fit)

    assert length.film_s == pytest.approx(case.film_s, abs=0.04)
    picture = read_picture(film, "video/mp4")
    assert picture.can_be_copied(length.film_s), "what we make plays everywhere, so it could be copied again"
    loudness = measure_loudness(film, work)
    assert loudness.integrated_lufs == pytest.approx(-16, abs=1)
    assert loudness.true_peak_dbtp <= -1.0


def _picture_packets(path: Path) -> list[bytes]:
    with opened_streams(path, "video/mp4") as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_the_picture_is_copied_when_nothing_has_to_change(tmp_path: Path, work: Work) -> None:
    """A film of a bought clip holds its very bytes; encoding again would cost time and quality."""
    clip = moving_clip(tmp_path / "clip.mp4")
    voice = write_wav(tmp_path / "voice.wav", speech_like(1))

    film, _, _ = _film(work, clip, voice)

    assert _picture_packets(film) == _picture_packets(clip)


def test_a_short_clip_holds_its_last_picture(tmp_path: Path, work: Work) -> None:
    """Not black, and not the first picture again."""
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1)
    voice = write_wav(tmp_path / "voice.wav", speech_like(2))

    film, _, length = _film(work, clip, voice, Fit.HOLD)

    shown, last = _lumas(film), _lumas(clip)[-1]
    assert length.held_s == pytest.approx(1, abs=0.01)
    assert np.abs(shown[30:] - last).mean() < 3
    assert np.abs(shown[0] - last).mean() > 10


def test_a_looped_clip_begins_again(tmp_path: Path, work: Work) -> None:
    """Also when the clip's own sound is longer than its picture, which once left a gap at every turn."""
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1, sound_s=1.4)
    voice = write_wav(tmp_path / "voice.wav", speech_like(2.5))

    film, _, _ = _film(work, clip, voice, Fit.LOOP)

    shown, original = _lumas(film), _lumas(clip)
    assert len(shown) == 60
    assert np.abs(shown[24:48] - original).mean() < 3
    assert np.abs(shown[48:] - original[:12]).mean() < 3


@pytest.mark.parametrize("fit", [Fit.HOLD, Fit.LOOP, Fit.TRIM, Fit.STRETCH])
def test_speech_is_heard_to_its_last_syllable(tmp_path: Path, work: Work, fit: Fit) -> None:
    """A beep in the voice's last 80 ms must be in the film's, whatever the policy."""
    voice_s = 2.3 if fit is not Fit.TRIM else 1.3
    sound = speech_like(voice_s, level=0.2)
    sound[-1764:] = tone(0.08, hz=3000, level=0.9)
    clip = moving_clip(tmp_path / "clip.mp4", fps="25")
    voice = write_wav(tmp_path / "voice.wav", sound)

    film, _, length = _film(work, clip, voice, fit)

    samples = _samples(film)
    end = round(48_000 * voice_s / length.tempo)
    tail = samples[end - 2880 : end - 480]
    spectrum = np.abs(np.fft.rfft(tail * np.hanning(tail.size)))
    assert np.fft.rfftfreq(tail.size, 1 / 48_000)[spectrum.argmax()] == pytest.approx(3000, abs=120)


def test_a_voice_replaces_the_clips_own_sound(tmp_path: Path, work: Work) -> None:
    """Models that invent a sound of their own would talk over the narrator."""
    clip = moving_clip(tmp_path / "clip.mp4", sound_s=2)
    voice = write_wav(tmp_path / "voice.wav", tone(2, hz=1000))

    film, _, _ = _film(work, clip, voice)

    spectrum = np.abs(np.fft.rfft(_samples(film)[:48_000]))
    assert spectrum.argmax() == pytest.approx(1000, abs=2)
    assert spectrum[435:445].max() < spectrum.max() / 1000


def test_without_a_voice_the_clips_own_sound_stays(tmp_path: Path, work: Work) -> None:
    """It was paid for with the clip."""
    clip = moving_clip(tmp_path / "clip.mp4", sound_s=1.5)

    film, info, _ = _film(work, clip, None)

    assert np.abs(np.fft.rfft(_samples(film)[:48_000])).argmax() == pytest.approx(440, abs=2)
    assert info.audio_duration_s == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("level", [None, 0, 0.0005])
def test_a_film_always_has_sound_and_silence_stays_silent(tmp_path: Path, work: Work, level: float | None) -> None:
    """A film without a sound stream breaks players and platforms; silence made louder is noise, or a NaN."""
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1)
    voice = None if level is None else write_wav(tmp_path / "voice.wav", tone(1, level=level))

    film, info, _ = _film(work, clip, voice)

    assert info.audio_codec == "aac"
    assert np.abs(_samples(film)).max() < 0.002
    assert measure_loudness(film, work).is_silent


@pytest.mark.parametrize(("seconds", "level"), [(0.1, 0.3), (0.5, 0.02), (1.5, 0.01)])
def test_a_short_or_quiet_voice_is_made_loud_without_harm(
    tmp_path: Path, work: Work, seconds: float, level: float
) -> None:
    """Loudness of less than 0.4 s is minus infinity to the standard's formula."""
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1)
    voice = write_wav(tmp_path / "voice.wav", speech_like(seconds, level=level))

    film, _, _ = _film(work, clip, voice)

    samples = _samples(film)
    assert np.isfinite(samples).all()
    assert 0.1 < np.abs(samples).max() < 0.95


def test_peaks_are_limited_and_loudness_is_kept(tmp_path: Path, work: Work) -> None:
    """Speech has peaks 18 dB above its loudness: one gain for both must give way somewhere."""
    clip = moving_clip(tmp_path / "clip.mp4")
    sound = speech_like(2, level=0.3)
    sound[::3000] = 0.95
    voice = write_wav(tmp_path / "voice.wav", sound)
    before = measure_loudness(voice, work)
    assert before.true_peak_dbtp - before.integrated_lufs > 18

    film, _, _ = _film(work, clip, voice)

    after = measure_loudness(film, work)
    assert after.integrated_lufs == pytest.approx(-16, abs=0.6)
    assert -3 <= after.true_peak_dbtp <= -1.0


def test_loudness_is_that_of_the_standard(tmp_path: Path, work: Work) -> None:
    """EBU Tech 3341: a stereo sine of 1 kHz at -23 dBFS reads -23 LUFS."""
    path = write_wav(
        tmp_path / "a.wav", tone(5, rate_hz=48_000, hz=1000, level=10 ** (-23 / 20)), rate_hz=48_000, channels=2
    )

    loudness = measure_loudness(path, work)

    assert loudness.integrated_lufs == pytest.approx(-23, abs=0.1)
    assert loudness.true_peak_dbtp == pytest.approx(-23, abs=0.2)


@pytest.mark.parametrize("voice_s", [1, 3])
def test_equal_inputs_become_equal_bytes(tmp_path: Path, work: Work, voice_s: float) -> None:
    """A film that is lost and made again keeps its digest, so nothing that refers to it breaks."""
    clip = moving_clip(tmp_path / "clip.mp4", sound_s=1)
    voice = write_wav(tmp_path / "voice.wav", speech_like(voice_s))

    one, _, _ = _film(work, clip, voice, name="one.mp4")
    two, _, _ = _film(work, clip, voice, name="two.mp4")

    assert one.read_bytes() == two.read_bytes()


def test_nothing_of_the_sources_metadata_is_kept(tmp_path: Path, work: Work) -> None:
    """Providers write prompts, names and times into their files; a film goes out into the world."""
    mark = "c0ffee prompt"
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1)
    tags = ("-metadata", f"comment={mark}", "-metadata:s:v", f"handler_name={mark}")
    marked = encode(tmp_path / "marked.mp4", "-i", str(clip), "-c", "copy", *tags)
    assert mark.encode() in marked.read_bytes()

    film, _, _ = _film(work, marked, None)

    assert mark.encode() not in film.read_bytes()


def test_names_that_look_like_commands_are_names(tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from users and from strangers."""
    folder = tmp_path / 'it\'s "a" folder'
    folder.mkdir()
    clip = moving_clip(tmp_path / "c.mp4", seconds=1).rename(folder / "-i evil")
    voice = write_wav(tmp_path / "v.wav", speech_like(1)).rename(folder / "$(x)%d:[a];'.mp4")
    monkeypatch.chdir(folder)

    length = write_film(Path(clip.name), Path(voice.name), Path("-y.mp4"), fit=Fit.HOLD, work=work, deadline_s=60)

    assert judge_film(Path("-y.mp4"), probe(folder / "-y.mp4"), target_s=length.film_s).is_good


def test_a_playlist_called_mp4_is_refused(tmp_path: Path, work: Work) -> None:
    """It would make ffmpeg read any file on this machine into the film."""
    clip = tmp_path / "clip.mp4"
    clip.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")

    with pytest.raises(ProbeError, match="playlist"):
        write_film(clip, None, tmp_path / "film.mp4", fit=Fit.HOLD, work=work, deadline_s=60)

    assert not (tmp_path / "film.mp4").exists()


def test_inputs_of_the_wrong_kind_are_refused(tmp_path: Path, work: Work) -> None:
    """Clip and voice in each other's place is the easiest mistake to make."""
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1)
    voice = write_wav(tmp_path / "voice.wav", tone(1))

    with pytest.raises(ConformError, match=r"voice\.wav is audio"):
        write_film(voice, clip, tmp_path / "film.mp4", fit=Fit.HOLD, work=work, deadline_s=60)
    with pytest.raises(ConformError, match=r"clip\.mp4 is video"):
        write_film(clip, clip, tmp_path / "film.mp4", fit=Fit.HOLD, work=work, deadline_s=60)
    with pytest.raises(ConformError, match="no sound"):
        measure_loudness(clip, work)


def test_stop_and_deadline_hold_for_the_whole_film(tmp_path: Path, work: Work) -> None:
    """A film is several ffmpeg calls; each must know how much time is left."""
    clip = moving_clip(tmp_path / "clip.mp4")
    voice = write_wav(tmp_path / "voice.wav", speech_like(300, rate_hz=8000), rate_hz=8000)
    stopped = Work(scratch=work.scratch)
    timer = threading.Timer(0.3, stopped.stop.set)

    with pytest.raises(FfmpegError, match="deadline"):
        write_film(clip, voice, tmp_path / "film.mp4", fit=Fit.HOLD, work=work, deadline_s=0.3)
    timer.start()
    with pytest.raises(StoppedError):
        write_film(clip, voice, tmp_path / "film.mp4", fit=Fit.HOLD, work=stopped, deadline_s=60)
    timer.join()


def test_progress_is_told(tmp_path: Path) -> None:
    """The bar in the terminal moves and ends full."""
    told: list[float] = []
    clip = moving_clip(tmp_path / "clip.mp4", seconds=1)

    _film(Work(scratch=tmp_path, tell=told.append), clip, None)

    assert told == sorted(told)
    assert told[-1] == 1
