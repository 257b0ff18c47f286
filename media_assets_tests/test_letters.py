"""How much there is to say in a text: one count for the price, the expected length and the judge."""

import sys

import pytest

from media_assets.letters import spoken_characters, spoken_letters
from media_assets.simulator.media import SPEECH_CHARACTERS_PER_S, speech_s


@pytest.mark.parametrize(
    ("text", "letters", "characters"),
    [
        ("", 0, 0),
        ("Hello, world.", 10, 13),
        ("It's 7!", 3 + 4, 3 + 4 + 3),
        ("2026", 16, 16),
        ("猫", 3, 3),
        ("ねこ", 6, 6),
        ("한글", 6, 6),
        ("привет", 6, 6),
        ("a 😀", 1, 3),
        ("½", 8, 9),
        ("...", 0, 3),
    ],
)
def test_digits_and_ideograms_count_for_more_than_a_letter(text: str, letters: int, characters: int) -> None:
    """A "2026" is spoken as long as sixteen letters are; a gap or a pause takes time, and no letter."""
    assert (spoken_letters(text), spoken_characters(text)) == (letters, characters)


@pytest.mark.parametrize(
    ("text", "usual"),
    [("ｶﾞ", "ガ"), ("ＡＢ１", "AB1"), ("𝐀𝟗", "A9"), ("한글", "한글"), ("ﬃ", "ffi"), ("①", "1")],
)
def test_other_forms_of_a_letter_are_spoken_as_it_is(text: str, usual: str) -> None:
    """Half width, full width, bold, in pieces: one sound, one count."""
    assert (spoken_letters(text), spoken_characters(text)) == (spoken_letters(usual), spoken_characters(usual))


def test_no_character_counts_for_much_less_than_it_is_billed() -> None:
    """The simulator has a count of its own. Alone, no character may differ by more than the margin in the price."""
    at_once = 10
    billed = {
        chr(code): speech_s(chr(code) * at_once) * SPEECH_CHARACTERS_PER_S
        for code in range(sys.maxunicode + 1)
        if chr(code).isalpha() or chr(code).isdecimal()
    }

    assert {one for one, count in billed.items() if count > 3.2 * spoken_characters(one * at_once)} == set()
