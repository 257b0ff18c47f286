"""Captions: refused or drawn exactly, readable on everything, at every size."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from media_assets.errors import ConformError
from media_assets.media import caption as module
from media_assets.media.caption import caption_overlay, undrawable

FONT_PATH = Path(module.__file__).parent / "fonts" / "Roboto-Medium.ttf"
PANGRAMS = [
    "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "Zażółć gęślą jaźń, straße, Þórður, ŒUVRE, ığdır",
    "Tiếng Việt: những buổi sớm ở Hà Nội",
    "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία — ἄνθρωπος",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Їжак ґрунт Љубав",
    "“Quotes” ‘single’ «guillemets» – dash — … † ‡ • № € £ ₽ © ® ™ ° ½ ² × ÷",
    "no\u00a0break\u2009thin\u202fspaces",
]


def text_mask(overlay: Image.Image) -> np.ndarray:
    """Return how much of each pixel is covered by white text, 0..255: grey times alpha undoes the layers."""
    pixels = np.asarray(overlay, np.float64)
    return pixels[..., 0] * pixels[..., 3] / 255


def cut_to_text(mask: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero((mask > 24).any(axis=axis)) for axis in (1, 0))
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def reference(text: str, font_px: int) -> np.ndarray:
    font = ImageFont.truetype(str(FONT_PATH), font_px, layout_engine=ImageFont.Layout.BASIC)
    picture = Image.new("L", (60 * len(text) + 200, 4 * font_px))
    ImageDraw.Draw(picture).text((50, 3 * font_px), text, fill=255, font=font, anchor="ls")
    return cut_to_text(np.asarray(picture, np.float64))


@pytest.mark.parametrize("text", [*PANGRAMS, "", "two\nlines\r\nthree", "e\u0301 decomposed", '100% "off" %{n}'])
def test_european_texts_are_drawable(text: str) -> None:
    """A text refused for nothing loses its caption."""
    assert undrawable(text) is None


@pytest.mark.parametrize("text", PANGRAMS)
def test_no_character_of_an_accepted_text_is_an_empty_box(text: str) -> None:
    """Pillow draws a box for what a font lacks, and says nothing."""
    with TTFont(FONT_PATH) as font:
        known = font.getBestCmap()

    assert [character for character in text if known.get(ord(character), ".notdef") == ".notdef"] == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("مرحبا", ["Arabic", "U+0645"]),
        ("Peace: שלום", ["Hebrew", "ש"]),
        ("猫", ["Han", "猫", "U+732B"]),
        ("ひらがな カタカナ", ["Hiragana", "Katakana"]),
        ("नमस्ते", ["Devanagari"]),
        ("สวัสดี", ["Thai"]),
        ("fine 😀 day", ["emoji", "😀"]),
        ("snow ☃", ["symbols", "☃"]),
        ("I ❤\ufe0f it", ["❤", "U+FE0F"]),
        ("a\tb", ["control", "U+0009"]),
        ("\x1b[31mred", ["U+001B"]),
        ("na\u200dme \u202eabc", ["invisible", "U+200D", "U+202E"]),
        ("\ue000", ["U+E000"]),
        ("q\u0301", ["combining", "U+0301"]),
        ("猫 и שלום", ["Han", "Hebrew"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_named(text: str, named: list[str]) -> None:
    """The user has to see which characters to change, not find boxes in the film."""
    sentence = undrawable(text)

    assert sentence is not None
    assert [part for part in named if part not in sentence] == []
    assert sentence.isprintable()
    with pytest.raises(ConformError):
        caption_overlay(text, (320, 180))


def test_a_long_refused_text_gives_a_short_sentence() -> None:
    """The sentence is a line of metadata."""
    sentence = undrawable("".join(chr(0x4E00 + n) for n in range(4000)))

    assert sentence is not None
    assert len(sentence) < 250
    assert "3995 more" in sentence


@pytest.mark.parametrize("text", ["é", "e\u0301", "Ж", '"', "“x”", '100% "off" %{n}', "Ωμέγα", "a'b\\c"])
def test_the_pixels_are_those_of_the_fonts_own_glyphs(text: str) -> None:
    """A filter that reads %{n} or a lost accent changes what is said; here nothing interprets the text."""
    drawn = cut_to_text(text_mask(caption_overlay(text, (640, 360))))

    wanted = [reference({"e\u0301": "é"}.get(text, text), font_px) for font_px in range(10, 40)]
    same_shape = [mask for mask in wanted if mask.shape == drawn.shape]
    assert same_shape
    assert min(np.abs(mask - drawn).max() for mask in same_shape) <= 2


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_the_caption_is_readable_on_every_picture(grey: int) -> None:
    """White text on a white sky is no caption (contrast 4.5 is WCAG 2.2's AA, 1.4.3, read 2026-11-23)."""
    overlay = caption_overlay("Readable on snow", (640, 360))
    picture = Image.new("RGB", overlay.size, (grey, grey, grey))
    picture.paste(overlay, (0, 0), overlay)

    text = text_mask(overlay)
    rows = np.flatnonzero((text > 200).any(axis=1))
    ground = np.asarray(picture, np.float64)[rows[0] : rows[-1] + 1, :, 0][text[rows[0] : rows[-1] + 1] < 1]
    brightest = ((ground.max() / 255 + 0.055) / 1.055) ** 2.4
    assert 1.05 / (brightest + 0.05) >= 4.5


def line_count(overlay: Image.Image) -> int:
    inked = (text_mask(overlay) > 100).any(axis=1).astype(int)
    return int((np.diff(inked, prepend=0) == 1).sum())


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("nnn", 1),
        ("nnn\nnnn", 2),
        ("\n\nnnn\r\n\r\nnnn\n", 2),
        ("nnnn " * 20, 2),
        ("nnnn " * 400, 3),
        ("n" * 4000, 3),
        ("n\n" * 9, 3),
    ],
)
def test_lines_are_broken_by_width_and_at_most_three(text: str, lines: int) -> None:
    """A caption that fills the picture hides it."""
    assert line_count(caption_overlay(text, (640, 360))) == lines


def test_a_text_that_is_too_long_ends_in_an_ellipsis() -> None:
    """A cut without a mark reads as a finished sentence that says something else."""
    font, lines = module._fitted("word " * 400, (640, 360))

    assert len(lines) == 3
    assert lines[-1].endswith("word…")
    assert all(font.getlength(line) <= 640 for line in lines)


def test_wrapped_lines_are_about_equally_long() -> None:
    """A single word on the last line looks like a mistake."""
    text = "The keeper lights the lamp, and the sea goes quiet until the morning comes back again"
    font, lines = module._fitted(text, (640, 360))

    lengths = [font.getlength(line) for line in lines]
    assert len(lines) == 2
    assert min(lengths) > 0.8 * max(lengths)
    assert " ".join(lines) == text


def test_a_no_break_space_does_not_break() -> None:
    """`10 kg` parted over two lines is what the no-break space was typed against."""
    _, lines = module._fitted("nnnn\u00a0nnnn " * 12, (640, 360))

    assert all(line.count("\u00a0") == len(line.split(" ")) for line in lines)


@pytest.mark.parametrize("size_px", [(64, 64), (65, 97), (64, 4096), (4096, 64), (1024, 576), (4096, 4096)])
@pytest.mark.parametrize("text", ['100% "off" %{n} é Ж', "word " * 300])
def test_the_text_stays_inside_frames_of_every_size(text: str, size_px: tuple[int, int]) -> None:
    """Text cut by the frame's edge cannot be read."""
    overlay = caption_overlay(text, size_px)

    white = overlay.getchannel("R").point([0 if value < 24 else 255 for value in range(256)])
    left, top, right, bottom = white.getbbox() or (0, 0, 0, 0)
    assert overlay.size == size_px
    assert 0 < left < right < size_px[0]
    assert 0 < top < bottom < size_px[1]
    assert bottom > size_px[1] / 2


@pytest.mark.parametrize("text", ["", " \n ", "\u00a0"])
def test_a_blank_text_leaves_the_picture_alone(text: str) -> None:
    """A dark band without words is a fault in the picture."""
    assert caption_overlay(text, (128, 64)).getbbox() is None


def test_equal_texts_give_equal_pixels() -> None:
    """The overlay is part of a clip whose bytes must not change."""
    digests = {hashlib.sha256(caption_overlay("Again", (320, 180)).tobytes()).digest() for _ in range(2)}

    assert len(digests) == 1


def test_the_licence_of_the_font_is_beside_it() -> None:
    """Apache 2.0, section 4: whoever passes the font on passes its licence on."""
    folder = FONT_PATH.parent

    assert "Apache License" in (folder / "Roboto-LICENSE.txt").read_text()
    assert hashlib.sha256(FONT_PATH.read_bytes()).hexdigest() in (folder / "README.md").read_text()
