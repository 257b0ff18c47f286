"""An independent ear for tests: what a speech recogniser hears in a file, and how much of a script that is.

pocketsphinx brings its English model in its wheel. It errs on some words, so tests ask for a share of a script that
is known to be heard, never for all of it.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
from av.audio.resampler import AudioResampler
from pocketsphinx import Decoder

RATE_HZ = 16_000
"""What the recogniser's model was trained on."""


def heard_words(media: Path) -> list[str]:
    """Return the words heard in the first audio stream of any file PyAV reads, in lower case and in order."""
    decoder = _decoder()
    decoder.start_utt()
    decoder.process_raw(_speech_samples(media), no_search=False, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return _words(hypothesis.hypstr) if hypothesis else []


def recall(expected: str, heard: list[str]) -> float:
    """Return the share of ``expected``'s words that were heard in their order, 0..1.

    The longest common subsequence counts, so that the right words in the wrong order are worth little.
    """
    wanted = _words(expected)
    row = [0] * (len(heard) + 1)
    for word in wanted:
        above = row
        row = [0]
        for column, other in enumerate(heard):
            row.append(above[column] + 1 if word == other else max(above[column + 1], row[column]))
    return row[-1] / len(wanted)


@lru_cache(maxsize=1)
def _decoder() -> Any:
    return Decoder(samprate=RATE_HZ, loglevel="FATAL")


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _speech_samples(media: Path) -> bytes:
    """Return the sound as 16 bit mono samples at ``RATE_HZ``."""
    resampler = AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(media)) as container:
        frames = [resampled for frame in container.decode(audio=0) for resampled in resampler.resample(frame)]
    frames += resampler.resample(None)
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)
