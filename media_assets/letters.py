"""How much there is to say in a text, by one count: prices, expected lengths and the judge of a voice must agree.

The simulator has a count of its own, and must not use this one.
"""

import unicodedata
from collections.abc import Iterator

_LETTERS_PER_DIGIT = 4
"""A digit is spoken as a word."""
_LETTERS_PER_IDEOGRAM = 3
"""Chinese, Japanese and Korean are spoken at 4 to 8 characters a second, alphabets at 12 to 20 letters (rounded)."""


def spoken_letters(text: str) -> int:
    """Return how many letters' worth of speech a text is at least: only what is surely heard.

    A digit is a word, an ideogram a syllable or two; spaces, punctuation and emoji are nothing.
    """
    return sum(_weights(text))


def spoken_characters(text: str) -> int:
    """Return the same with one for every other character, each a gap, a pause or a sign.

    For a text in letters it is its length; a rate in characters a second goes by it.
    """
    return sum(max(weight, 1) for weight in _weights(text))


def _weights(text: str) -> Iterator[int]:
    # Half width, full width, bold, in pieces: what looks different and sounds alike counts alike.
    for character in unicodedata.normalize("NFKC", text):
        if character.isdecimal():
            yield _LETTERS_PER_DIGIT
        elif character.isalpha():
            yield _LETTERS_PER_IDEOGRAM if unicodedata.east_asian_width(character) in {"W", "F"} else 1
        else:
            yield 0
