"""The picture that costs nothing: a landscape drawn from a prompt's words and a seed.

Belongs here: which words mean what, and the finish. What stands where is in `media_assets.media._composition`.
Moving the picture and writing on it is `media_assets.media.animate`'s.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from media_assets.errors import ConformError
from media_assets.media._composition import Painting, Scene
from media_assets.media._scenery import Canvas, mixed
from media_assets.media.work import Work

_LEAST_PX, _MOST_PX = 64, 4096
_MOST_DRAWN_PX = 4_000_000
"""A larger picture is drawn with this many pixels and enlarged: 4096x4096 takes 0.45 GB and 5 s
(measured 2026-11-23)."""

# Words that a prompt may hold, each whole; the first line with one of them counts.
_TIMES = {
    "night": "night midnight moon moonlight moonlit star starry dark darkness nocturnal lantern",
    "dusk": "dusk sunset evening twilight fire ember lava warm golden autumn",
    "dawn": "dawn sunrise morning dream dreamy pink spring",
    "day": "day daylight noon midday summer sunny bright blue clear",
}
_STORM = (
    "storm stormy rain rainy thunder thunderstorm fog foggy mist misty cloud cloudy overcast grey gray snowing blizzard"
)
_LANDS = {
    "city": "city skyline town street building skyscraper downtown urban metropolis neon robot",
    "desert": "desert dune sand sahara cactus camel canyon mars",
    "forest": "forest tree wood woods jungle pine woodland fir grove",
    "mountains": "mountain mountains snow snowy alps alpine peak glacier summit winter ice himalaya",
    "sea": "sea ocean lighthouse beach wave coast coastal harbour harbor ship boat sail sailboat sailing island"
    " bay shore",
    "hills": "hill field meadow garden village farm countryside grass valley cat kitten",
    "lake": "lake river pond fjord reflection",
}
_THINGS = {
    "lighthouse": "lighthouse beacon",
    "boat": "boat ship sail sailboat sailing fisherman",
    "cat": "cat kitten",
    "bird": "bird gull seagull swallow crow",
    "cactus": "cactus cacti",
    "snowfall": "snowfall snowing blizzard snowflake snowstorm",
}
_ANY_LAND = ("hills", "lake", "mountains", "forest", "sea")
_ANY_TIME = ("dawn", "day", "dusk")
_USUAL_TIMES = {"city": ("night", "dusk", "dusk")}


def draw_landscape(prompt: str, *, seed: int, size_px: tuple[int, int]) -> Image.Image:
    """Draw the landscape of a prompt.

    Time of day, land and a few things are taken from the prompt's English words; what it does not say, and
    everything when its words are unknown, is chosen by chance from prompt and seed. Equal arguments give
    equal pixels; another seed gives another picture.

    Args:
        prompt: Any text.
        seed: Any integer.
        size_px: Width and height, 64 to 4096 each.

    Returns:
        An RGB picture of ``size_px``.

    Raises:
        ConformError: ``size_px`` is out of range.
    """
    return _drawn(prompt, seed, size_px, Work(scratch=Path()))


def write_landscape(prompt: str, *, seed: int, size_px: tuple[int, int], target: Path, work: Work) -> None:
    """Write :func:`draw_landscape`'s picture as an 8-bit sRGB PNG without metadata.

    Raises:
        ConformError: ``size_px`` is out of range.
        StoppedError: ``work.stop`` was set; nothing is left at ``target``.
    """
    picture = _drawn(prompt, seed, size_px, work)
    work.check()
    # Level 4 takes a third of level 6's time for 4 % more bytes (1024x576, measured 2026-11-23).
    picture.save(target, format="PNG", compress_level=4)
    work.tell(1.0)


def _drawn(prompt: str, seed: int, size_px: tuple[int, int], work: Work) -> Image.Image:
    if not all(_LEAST_PX <= side <= _MOST_PX for side in size_px):
        message = f"drawing a picture of {size_px[0]}x{size_px[1]} px: each side has to be {_LEAST_PX} to {_MOST_PX}."
        raise ConformError(message)
    shrink = max(1.0, (size_px[0] * size_px[1] / _MOST_DRAWN_PX) ** 0.5)
    canvas = Canvas(round(size_px[0] / shrink), round(size_px[1] / shrink), f"{seed}\0{prompt}")
    Painting(canvas, _scene(prompt, canvas), work).paint()
    picture = _finished(canvas)
    if picture.size != size_px:
        picture = picture.resize(size_px, Image.Resampling.LANCZOS)
    return picture


def _scene(prompt: str, canvas: Canvas) -> Scene:
    words = re.findall(r"[^\W\d_]+", prompt.casefold())
    known = {*words, *(word.removesuffix("s") for word in words)}

    def named(table: Mapping[str, str]) -> list[str]:
        return [name for name, meant in table.items() if known & set(meant.split())]

    chance = canvas.chance("scene")
    any_land = _ANY_LAND[chance.randint(len(_ANY_LAND))]
    lands = named(_LANDS) or [any_land]
    things = frozenset(named(_THINGS))
    land = "sea" if "lighthouse" in things else lands[0]
    usual = _USUAL_TIMES.get(land, _ANY_TIME)
    any_time = usual[chance.randint(len(usual))]
    clouded = bool(known & set(_STORM.split()))
    times = named(_TIMES) or ["storm" if clouded else any_time]
    return Scene(land, times[0], clouded, True if "lake" in lands else None, things)


def _finished(canvas: Canvas) -> Image.Image:
    """Bloom, darken the corners, and dither to 8 bits so that skies show no bands."""
    pixels = np.clip(canvas.pixels, 0, 1.2)
    small = Image.fromarray((np.clip(pixels, 0, 1)[::2, ::2] ** 2 * 255).astype(np.uint8))
    bloom = small.filter(ImageFilter.GaussianBlur(canvas.unit * 0.018)).resize(
        (canvas.width, canvas.height), Image.Resampling.BILINEAR
    )
    pixels = pixels + np.float32(0.16) * np.asarray(bloom, np.float32) / 255 * (1 - 0.6 * np.clip(pixels, 0, 1))
    across = canvas.columns / canvas.width - np.float32(0.5)
    down = canvas.rows / canvas.height - np.float32(0.5)
    pixels *= (1.03 - 0.42 * (across**2 + down**2))[..., None]
    # A gentle S-curve.
    pixels = np.clip(pixels, 0, 1)
    pixels = mixed(pixels, pixels * pixels * (3 - 2 * pixels), 0.28)
    chance = canvas.chance("dither")
    shape = (canvas.height, canvas.width, 1)
    grain = (chance.random_sample(shape) + chance.random_sample(shape) - 1).astype(np.float32)
    return Image.fromarray(np.clip(pixels * 255 + 0.5 + grain, 0, 255).astype(np.uint8))
