"""What the local voice can say: refused before anything is made, and otherwise put into words it knows."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media_assets.media.spoken_text import (
    MAX_SENTENCE_CHARACTERS,
    estimate_speech_s,
    speakable_sentences,
    unspeakable,
)


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("Привет", ["П", "р", "Cyrillic"]),
        ("Good morning, Αθήνα", ["Α", "θ", "Greek"]),
        ("猫は hello", ["猫 (Han)", "は (Hiragana)"]),
        ("नमस्ते", ["Devanagari"]),
        ("سلام", ["Arabic"]),
        ("5 Ω", ["Ω (Greek)"]),
        ("абвгдежзий", ["а б в г д е ж з (Cyrillic) and 2 more"]),
        ("", ["nothing to say"]),
        (" \n\t ", ["nothing to say"]),
        ("…", ["nothing to say"]),
        ("?!, – (.)", ["nothing to say"]),
        ("🙂👩‍👩‍👧🇩🇪", ["nothing to say"]),
    ],
)
def test_what_cannot_be_spoken_is_named_and_silence_is_offered(script: str, named: list[str]) -> None:
    """Letters the voice does not know would become gibberish without any error, found out after the film is made."""
    problem = unspeakable(script)

    assert problem is not None
    assert all(part in problem for part in [*named, "--route audio=local:silence"])


@pytest.mark.parametrize("script", ["Hello.", "42", "100 %", "café", "A 🙂 day", "٣", "½", "ＨＩ", "Łódź, Århus, Þór"])
def test_what_has_a_spoken_form_is_not_refused(script: str) -> None:
    """A refusal here stops a whole plan."""
    assert unspeakable(script) is None


@pytest.mark.parametrize(
    ("script", "spoken"),
    [
        ("Café naïve Ærø straße", "Cafe naive Aero strasse."),
        ("“Hi” — it’s… fine", "Hi, it's, fine."),
        ("It's 3:45 pm, or 12:00, or 9:05.", "It's 3 45 pm, or 12 o'clock, or 9 oh 5."),
        ("Run 5km at 12 km/h, 2½ times", "Run 5 kilometers at 12 kilometers an hour, 2 and one half times."),
        ("It raised $4.5 million, 7€ and £3bn", "It raised 4.5 million dollars, €7 and 3 billion pounds."),
        ("1,250,000 and 1940–1967", "1250000 and 1940 to 1967."),
        ("Agent 007 paid -5%", "Agent 0 0 7 paid minus 5 percent."),
        ("H264 & B2B @ home", "H 264 and B 2 B at home."),
        ("20°C; 1 < 2", "20 degrees Celsius; 1 less than 2."),
        ("version 1.2.3 of example.com", "version 1 point 2 point 3 of example dot com."),
        ("<b>Bold</b> *and* [kept] <break time='1s'/>", "Bold and, kept."),
        ("a™ 🙂 b", "a b."),
        ("so 12345678901234567890", "so 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0."),
    ],
)
def test_signs_and_figures_are_written_as_they_are_said(script: str, spoken: str) -> None:
    """The voice's dictionary skips "12:30" and reads "5km" as one word: what is not rewritten is lost in silence."""
    assert speakable_sentences(script) == [spoken]


@pytest.mark.parametrize(
    ("script", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith paid $4.50, e.g. for tea. He left.", ["Dr. Smith paid $4.50, e.g. for tea.", "He left."]),
        ("J. R. R. Tolkien and I. Then you.", ["J. R. R. Tolkien and I.", "Then you."]),
        ("No. No. 5 is alive.", ["No.", "No. 5 is alive."]),
        ("Tea, milk etc. for two. Cups etc. Then go.", ["Tea, milk etc. for two.", "Cups etc.", "Then go."]),
        ('He cried "Stop!" and ran. "Go!" She went.', ["He cried Stop! and ran.", "Go!", "She went."]),
        ("Wait... what?! Really!!!", ["Wait, what?", "Really!"]),
        ("all small. no capitals", ["all small.", "no capitals."]),
        ("A title\n\nAnd a\n  broken line", ["A title.", "And a broken line."]),
        ("no space.Between", ["no space.", "Between."]),
    ],
)
def test_sentences_end_where_a_reader_would_pause(script: str, sentences: list[str]) -> None:
    """Each sentence is spoken by itself, so a wrong cut is an audible stumble."""
    assert speakable_sentences(script) == sentences


@pytest.mark.parametrize(
    ("script", "lengths"),
    [
        ("a long clause, " * 30 + "done.", [299, 155]),
        ("word " * 100, [300, 200]),
        ("x" * 650, [300, 300, 53]),
    ],
    ids=["at a comma", "at a space", "anywhere"],
)
def test_a_long_sentence_is_cut_where_it_hurts_least(script: str, lengths: list[int]) -> None:
    """Memory grows with the square of a sentence: 4000 characters at once took 5.4 GB."""
    pieces = speakable_sentences(script)

    assert [len(piece) for piece in pieces] == lengths
    assert "".join(pieces).count("word") in {0, 100}


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=700) | st.text("ab .,!?'\"0159:$€-()/<>é", max_size=700))
def test_any_text_gives_short_plain_sentences_and_a_length(script: str) -> None:
    """Scripts come from files and tables of strangers; none may break a batch."""
    sentences = speakable_sentences(script)

    assert all(0 < len(sentence) <= MAX_SENTENCE_CHARACTERS for sentence in sentences)
    assert all(sentence.replace("£", "").replace("€", "").isascii() for sentence in sentences)
    assert all(sentence[-1] in ".,;:!?" for sentence in sentences)
    assert sentences or unspeakable(script)
    assert estimate_speech_s(script) > 0


@pytest.mark.parametrize("part", ["0", ".", "1,", "a. ", "<a b=", "$1", "-", "x"])
def test_a_long_script_of_one_sign_takes_no_time(part: str) -> None:
    """A pattern that backtracks made 30,000 zeros take 27 s."""
    started = time.perf_counter()

    speakable_sentences(part * (20_000 // len(part)))

    assert time.perf_counter() - started < 3


def test_the_estimate_follows_speed_and_counts_letters_of_other_scripts() -> None:
    """Other voices speak what the local one refuses, and the plan needs a length for them too."""
    script = "The stars come out over the calm water."

    assert estimate_speech_s(script, speed=0.7) > 1.3 * estimate_speech_s(script)
    assert estimate_speech_s("Привет, как у вас дела сегодня вечером?") > 2
    assert estimate_speech_s("猫" * 20) > 3
    assert estimate_speech_s("HELLO WORLD, HOW ARE YOU?") == estimate_speech_s("hello world, how are you?")


def test_planning_loads_no_model_library() -> None:
    """A plan of 10,000 prompts asks these questions without ever speaking."""
    code = (
        "import sys; from media_assets.media.spoken_text import *; "
        "unspeakable('Hello, Привет'), estimate_speech_s('Hello'); "
        "print(sorted({'onnxruntime', 'sanotts', 'numpy'} & set(sys.modules)))"
    )

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.strip() == "[]"
