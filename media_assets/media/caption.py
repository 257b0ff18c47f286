"""Captions: whether a text can be drawn with the bundled font, and the text as an overlay for a frame.

Does not belong here: pictures (`media_assets.media.draw`) and putting an overlay on a clip
(`media_assets.media.animate`). No shaping is done: each character is one glyph, set from left to right, which
is right for Latin, Greek and Cyrillic and wrong for Arabic, Hebrew or Devanagari.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from fontTools import unicodedata as scripts
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from media_assets.errors import ConformError

FONT_PATH = Path(__file__).resolve().parent / "fonts" / "Roboto-Medium.ttf"
"""The font of every caption; `media/fonts/README.md` says where it is from."""

_MAX_LINES = 3
_LINE_HEIGHT = 1.24
"""Of the font size: Roboto's ascent and descent together are 1.17."""
_LONGEST_LINE = 34
"""Of the font size, some 70 letters: a longer line is hard to read, however wide the frame is."""
_SHRINK = 0.94
_SMALLEST = 0.62
"""Of the first font size: below it a text is shortened rather than set smaller."""
_LEAST_PX = (9, 7)
"""First and smallest font size of tiny frames: below 7 px Roboto's letters run together."""
_SCRIM = (0.55, 0.68)
"""Darkness behind the first and below the last line: white on white at 0.55 still has a contrast of 4.7."""

_DRAWN_SCRIPTS = {"Latn", "Grek", "Cyrl", "Zyyy", "Zinh"}
_SHOWN_CHARACTERS = 5
# Every space that may end a line: not U+00A0, U+2007 and U+202F, which join.
_BREAKING_SPACES = re.compile("[ \u1680\u2000-\u2006\u2008-\u200a\u205f]+")


def undrawable(text: str) -> str | None:
    """Say what in ``text`` cannot be drawn, or return None.

    A missing glyph would be drawn as an empty box and an unshaped script as nonsense, so a caption is
    drawn whole or not at all.
    """
    refused: dict[str, list[str]] = {}
    for character in dict.fromkeys(_normalised(text)):
        reason = _refusal(character)
        if reason:
            refused.setdefault(reason, []).append(_shown(character))
    if not refused:
        return None
    groups = "; ".join(f"{reason}: {_listed(names)}" for reason, names in refused.items())
    return f"the text has what the caption font cannot draw ({groups})"


def caption_overlay(text: str, size_px: tuple[int, int]) -> Image.Image:
    """Draw ``text`` near the bottom of a transparent frame, white over a soft shadow.

    The lines are broken by their measured width, at most three of them; the font shrinks until they fit,
    and a text that is still too long ends in an ellipsis. Line breaks of the text are kept, empty lines
    are not.

    Args:
        text: What :func:`undrawable` accepts; a blank text gives an empty overlay.
        size_px: Width and height of the frame, from 64 to 4096 each.

    Returns:
        An RGBA picture of ``size_px``, grey (R = G = B) everywhere; equal arguments give equal pixels.

    Raises:
        ConformError: A character cannot be drawn.
    """
    problem = undrawable(text)
    if problem:
        raise ConformError(problem)
    overlay = Image.new("RGBA", size_px)
    font, lines = _fitted(_normalised(text), size_px)
    if lines:
        top_px, mask = _text_mask(lines, font, size_px)
        band_top_px = max(0, top_px - round(1.8 * font.size))
        mask = mask.crop((0, band_top_px, *size_px))
        overlay.paste(_band(mask, font.size, top_px - band_top_px), (0, band_top_px))
    return overlay


def _normalised(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n")


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    with TTFont(FONT_PATH, lazy=True) as font:
        return frozenset(font.getBestCmap())


def _refusal(character: str) -> str | None:
    """Return the group of characters that ``character`` is refused with, or None."""
    if character == "\n":
        return None
    category = unicodedata.category(character)
    script = scripts.script(character)
    if category.startswith("C") or category in {"Zl", "Zp"}:
        return "control or invisible characters"
    if script not in _DRAWN_SCRIPTS:
        return f"{scripts.script_name(script)} characters"
    if category.startswith("M"):
        return "combining marks"
    if ord(character) in _glyphs():
        return None
    return "symbols or emoji" if script in {"Zyyy", "Zinh"} else "rare letters"


def _shown(character: str) -> str:
    code = f"U+{ord(character):04X}"
    alone = character.isprintable() and not unicodedata.category(character).startswith("M")
    return f"{character} ({code})" if alone else code


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_CHARACTERS
    return ", ".join(names[:_SHOWN_CHARACTERS]) + (f" and {more} more" if more > 0 else "")


@lru_cache(maxsize=32)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    # Pillow's other layout engine, Raqm, is not in every build, and sets some pairs differently.
    return ImageFont.truetype(FONT_PATH, size_px, layout_engine=ImageFont.Layout.BASIC)


def _fitted(text: str, size_px: tuple[int, int]) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """Return the largest font with which ``text`` takes three lines, and the lines."""
    width_px, height_px = size_px
    inside_px = width_px - 2 * max(2, round(0.07 * width_px))
    font_px = max(_LEAST_PX[0], round(min(height_px, 0.75 * width_px) / 17))
    least_px = max(_LEAST_PX[1], round(font_px * _SMALLEST))
    paragraphs = [_BREAKING_SPACES.split(line.strip()) for line in text.split("\n") if line.strip()]
    if not paragraphs:
        return _font(font_px), []
    while True:
        font, most_px = _font(font_px), min(inside_px, _LONGEST_LINE * font_px)
        lines = _wrapped(paragraphs, font, most_px)
        if len(lines) <= _MAX_LINES:
            return font, _balanced(paragraphs, lines, font, most_px)
        if font_px == least_px:
            return font, [*lines[: _MAX_LINES - 1], _shortened(lines[_MAX_LINES - 1], font, most_px)]
        font_px = max(least_px, min(font_px - 1, round(font_px * _SHRINK)))


def _wrapped(paragraphs: Sequence[Sequence[str]], font: ImageFont.FreeTypeFont, most_px: float) -> list[str]:
    """Fill lines with words; stop at the first line too many, which is all a caller needs to know."""
    lines: list[str] = []
    for words in paragraphs:
        line = ""
        for word in words:
            candidate = f"{line} {word}" if line else word
            if font.getlength(candidate) <= most_px:
                line = candidate
                continue
            if line:
                lines.append(line)
            *full, line = _pieces(word, font, most_px)
            lines += full
            if len(lines) > _MAX_LINES:
                return lines
        lines.append(line)
    return lines


def _pieces(word: str, font: ImageFont.FreeTypeFont, most_px: float) -> list[str]:
    """Cut a word wider than a line into parts that fit (at least one character each)."""
    pieces = [""]
    for character in word:
        if pieces[-1] and font.getlength(pieces[-1] + character) > most_px:
            pieces.append("")
            if len(pieces) > _MAX_LINES + 1:
                break
        pieces[-1] += character
    return pieces


def _balanced(
    paragraphs: Sequence[Sequence[str]],
    lines: list[str],
    font: ImageFont.FreeTypeFont,
    most_px: float,
) -> list[str]:
    """Set the same number of lines as evenly as possible: no single word left on the last one."""
    widest_px = max(font.getlength(word) for words in paragraphs for word in words)
    if widest_px > most_px:
        return lines
    low_px, high_px = max(widest_px, most_px / 2), most_px
    while high_px - low_px > 1:
        middle_px = (low_px + high_px) / 2
        if len(_wrapped(paragraphs, font, middle_px)) > len(lines):
            low_px = middle_px
        else:
            high_px = middle_px
    return _wrapped(paragraphs, font, high_px)


def _shortened(line: str, font: ImageFont.FreeTypeFont, most_px: float) -> str:
    """Cut ``line`` after a word, or within a word that is most of the line, and add the ellipsis."""
    kept = line
    while kept and font.getlength(kept + "…") > most_px:
        kept = kept[:-1]
    words, space, _ = kept.rpartition(" ")
    if kept != line and space and len(words) > len(kept) / 2:
        kept = words
    return kept.rstrip(" ,;:.–—-") + "…"


def _text_mask(lines: Sequence[str], font: ImageFont.FreeTypeFont, size_px: tuple[int, int]) -> tuple[int, Image.Image]:
    """Draw the lines, each centred on a whole pixel, into a mask of the frame; also return their top."""
    width_px, height_px = size_px
    mask = Image.new("L", size_px)
    pen = ImageDraw.Draw(mask)
    leading_px = round(font.size * _LINE_HEIGHT)
    last_baseline_px = height_px - max(2, round(0.06 * height_px)) - round(0.24 * font.size)
    for index, line in enumerate(reversed(lines)):
        left_px = round((width_px - font.getlength(line)) / 2)
        pen.text((left_px, last_baseline_px - index * leading_px), line, 255, font, anchor="ls")
    return last_baseline_px - (len(lines) - 1) * leading_px - round(0.95 * font.size), mask


def _band(mask: Image.Image, font_px: float, text_top_px: int) -> Image.Image:
    """Lay white text over its blurred shadow and a darkness that fades out upwards."""
    width_px, height_px = mask.size
    scrim = Image.frombytes("L", (1, height_px), _scrim_column(height_px, text_top_px))
    shadow = mask.filter(ImageFilter.GaussianBlur(0.09 * font_px)).point(
        [min(160, round(1.1 * value)) for value in range(256)]
    )
    dark = Image.new("RGBA", mask.size)
    dark.putalpha(scrim.resize(mask.size, Image.Resampling.NEAREST))
    for layer_mask, grey in ((shadow, 0), (mask, 255)):
        layer = Image.new("RGBA", (width_px, height_px), (grey, grey, grey, 0))
        layer.putalpha(layer_mask)
        dark = Image.alpha_composite(dark, layer)
    return dark


def _scrim_column(height_px: int, text_top_px: int) -> bytes:
    first, last = _SCRIM
    fade = [n / max(1, text_top_px) for n in range(text_top_px)]
    solid_px = height_px - text_top_px
    return bytes(
        [
            *(round(255 * first * t * t * (3 - 2 * t)) for t in fade),
            *(round(255 * (first + (last - first) * n / solid_px)) for n in range(solid_px)),
        ]
    )
