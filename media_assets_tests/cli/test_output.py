"""Text that people see: shown as it is, but without what could command their terminal."""

import pytest

from media_assets.cli.output import clean, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb\x07", "a�[2Jb�"),
        ("safe\u202egnp.exe", "safe�gnp.exe"),
        ("שלום 👩‍🚀 é\n[red]", "שלום 👩‍🚀 é\n[red]"),
    ],
)
def test_control_characters_do_not_reach_the_terminal(text: str, shown: str) -> None:
    """A provider's message, or a prompt, must not clear the screen or turn a line around."""
    assert clean(text) == shown


def test_texts_are_shortened_to_one_line() -> None:
    """A prompt of 4000 characters must not push everything else off the screen."""
    assert shorten("one\n two   three", 20) == "one two three"
    assert shorten("x" * 100, 10) == "x" * 9 + "…"
