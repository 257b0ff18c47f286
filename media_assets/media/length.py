"""How long a film becomes: arithmetic only, so that a plan can do it before anything is bought.

The numbers are lengths that were estimated or probed elsewhere; carrying them out is ``merge``'s work.
"""

from dataclasses import dataclass

from media_assets.errors import ConformError
from media_assets.prompt import Fit

SLOWEST_TEMPO = 0.8
FASTEST_TEMPO = 1.25
"""How much slower or faster a voice may be made before it sounds wrong."""


@dataclass(frozen=True, kw_only=True)
class FilmLength:
    """A film's length, and what happens to clip and voice to get there; all in seconds but ``tempo``."""

    film_s: float
    held_s: float = 0.0
    """How long the clip's last picture stands still."""
    repeated_s: float = 0.0
    """How much of the film shows the clip again."""
    cut_s: float = 0.0
    """How much of the clip's end is not shown."""
    silent_s: float = 0.0
    """Silence after the voice; a film without a voice has none to add."""
    tempo: float = 1.0
    """How many times faster the voice speaks."""


def film_length_s(fit: Fit, *, clip_s: float, voice_s: float | None) -> FilmLength:
    """Return how a clip and a voice become one length.

    Args:
        fit: The prompt's policy.
        clip_s: Length of the moving picture.
        voice_s: Length of the voice; None when there is no script, and then the film is the clip.

    Raises:
        ConformError: ``Fit.STRETCH`` would need a tempo outside 0.8 to 1.25.
    """
    if voice_s is None:
        return FilmLength(film_s=clip_s)
    if fit is Fit.STRETCH:
        return FilmLength(film_s=clip_s, tempo=_tempo(clip_s, voice_s))
    film_s = voice_s if fit is Fit.TRIM else max(clip_s, voice_s)
    missing_s = max(film_s - clip_s, 0.0)
    return FilmLength(
        film_s=film_s,
        held_s=0.0 if fit is Fit.LOOP else missing_s,
        repeated_s=missing_s if fit is Fit.LOOP else 0.0,
        cut_s=max(clip_s - film_s, 0.0),
        silent_s=film_s - voice_s,
    )


def _tempo(clip_s: float, voice_s: float) -> float:
    tempo = voice_s / clip_s
    if not SLOWEST_TEMPO <= tempo <= FASTEST_TEMPO:
        message = (
            f"fit: stretch would speak {tempo:.2f} times as fast to bring {voice_s:.1f} s of voice to the clip's "
            f"{clip_s:.1f} s; {SLOWEST_TEMPO} to {FASTEST_TEMPO} is possible. "
            "Use fit: hold, or change the script or clip_s."
        )
        raise ConformError(message)
    return tempo
