"""The arithmetic of a film's length."""

import pytest

from media_assets.errors import ConformError
from media_assets.media.length import FilmLength, film_length_s
from media_assets.prompt import Fit


@pytest.mark.parametrize(
    ("fit", "clip_s", "voice_s", "expected"),
    [
        (Fit.HOLD, 4, 6, FilmLength(film_s=6, held_s=2)),
        (Fit.HOLD, 6, 4, FilmLength(film_s=6, silent_s=2)),
        (Fit.HOLD, 5, 5, FilmLength(film_s=5)),
        (Fit.LOOP, 4, 6, FilmLength(film_s=6, repeated_s=2)),
        (Fit.LOOP, 6, 4, FilmLength(film_s=6, silent_s=2)),
        (Fit.TRIM, 4, 6, FilmLength(film_s=6, held_s=2)),
        (Fit.TRIM, 6, 4, FilmLength(film_s=4, cut_s=2)),
        (Fit.STRETCH, 4, 5, FilmLength(film_s=4, tempo=1.25)),
        (Fit.STRETCH, 5, 4, FilmLength(film_s=5, tempo=0.8)),
    ],
)
def test_each_policy_makes_one_length(fit: Fit, clip_s: float, voice_s: float, expected: FilmLength) -> None:
    """The plan promises this length before anything is bought."""
    assert film_length_s(fit, clip_s=clip_s, voice_s=voice_s) == expected


@pytest.mark.parametrize("fit", Fit)
def test_a_film_without_a_voice_is_its_clip(fit: Fit) -> None:
    """No script is a wish, not a fault: no policy may cut or stretch anything."""
    assert film_length_s(fit, clip_s=4, voice_s=None) == FilmLength(film_s=4)


@pytest.mark.parametrize("fit", [Fit.HOLD, Fit.LOOP, Fit.TRIM])
@pytest.mark.parametrize("voice_s", [0.5, 4, 9])
def test_speech_is_never_cut(fit: Fit, voice_s: float) -> None:
    """A film that loses its last word is worth nothing."""
    assert film_length_s(fit, clip_s=4, voice_s=voice_s).film_s >= voice_s


@pytest.mark.parametrize(("clip_s", "voice_s"), [(4, 5.1), (5, 3.9)])
def test_stretch_refuses_a_tempo_nobody_wants_to_hear(clip_s: float, voice_s: float) -> None:
    """The message says what to change, because the plan shows it to the user."""
    with pytest.raises(ConformError, match="Use fit: hold"):
        film_length_s(Fit.STRETCH, clip_s=clip_s, voice_s=voice_s)
