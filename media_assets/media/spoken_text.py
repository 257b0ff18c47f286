"""Written text made ready for the local voice: what it can say, in which pieces, and for how long.

The local voice reads English letters and plain numbers only, so accents are folded, signs and figures are
spelled the way a reader would say them, and what has no sound is dropped. Cheap and free of models, because the
plan asks these questions before anything is made. Sounds and samples are not here but in
``media_assets.media.speak``.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

MAX_SENTENCE_CHARACTERS = 300
"""The longest text for one inference: 300 characters need about 0.4 GB, 4000 needed 5.4 GB (2026-11-22)."""

PAUSE_S = 0.2
"""Silence between two sentences."""

_OFFER = "Choose another voice, or a silent track with --route audio=local:silence (local:silence in the route)."
_MANY_LETTERS = 8

# Before and after NFKD, which would turn the trade mark sign into "TM" and the micro sign into Greek.
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("‘’‛ʼʻ′´`", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑−⁃", "-"),
        **dict.fromkeys("—―⸺", ", "),
        **dict.fromkeys("[{", "("),
        **dict.fromkeys("]}", ")"),
        **dict.fromkeys("™®©*\u00ad", ""),
        "…": "...",
        "。": ".",
        "⁄": " over ",
        "½": " one half ",
        "¼": " one quarter ",
        "¾": " three quarters ",
        "×": " times ",
        "÷": " divided by ",
        "±": " plus or minus ",
        "№": " number ",
        "µ": "micro",
        "&": " and ",
        "%": " percent ",
        "+": " plus ",
        "@": " at ",
        "ß": "ss",
        "ẞ": "SS",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
        "þ": "th",
        "Þ": "Th",
        "ð": "th",
        "Ð": "Th",
        "ŋ": "ng",
        "Ŋ": "Ng",
        "ı": "i",
        "ĸ": "k",
    }
)
_KEPT = "€£¥°–"
_LATIN = re.compile(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z])(?: WITH .*)?")

_UNITS = {
    "km/h": "kilometers an hour",
    "mph": "miles an hour",
    "km": "kilometers",
    "kg": "kilograms",
    "cm": "centimeters",
    "mm": "millimeters",
    "kHz": "kilohertz",
    "Hz": "hertz",
    "GB": "gigabytes",
    "MB": "megabytes",
}


_CURRENCIES = {"$": "dollars", "€": "euros", "£": "pounds"}
_MANY = {
    **{word: word for word in ("thousand", "million", "billion", "trillion")},
    "k": "thousand",
    "m": "million",
    "bn": "billion",
}


def _clock(match: re.Match[str]) -> str:
    hours, minutes, half = match["hours"], match["minutes"], match["half"] or ""
    if minutes == "00":
        return f"{hours} {half}" if half else f"{hours} o'clock"
    return f"{hours} {minutes.replace('0', 'oh ', 1) if minutes[0] == '0' else minutes} {half}"


def _money(match: re.Match[str]) -> str:
    return f"{match['amount']} {_MANY[match['many'].lower()]} {_CURRENCIES[match['currency']]}"


def _one_by_one(match: re.Match[str]) -> str:
    return " ".join(re.sub(r"\D", "", match[0]))


_Replacement = str | Callable[[re.Match[str]], str]

_AMOUNT = r"\d(?:[\d,.]{0,20}\d)?"

# In this order: a later rule reads what an earlier one has written.
_RULES: tuple[tuple[re.Pattern[str], _Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\d) (?=one (?:half|quarter) |three quarters )", " and "),
        # Markup is not read out; "a <b" is no markup.
        (r"</?[A-Za-z]\w*\s?/?>|<[A-Za-z]\w*\s[^<>=]{1,40}=[^<>]{1,200}>", " "),
        (r"=", " equals "),
        (r"(?<![\d:])(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d)(?!\d|:\d)\s*(?P<half>[ap]\.?m\b)?", _clock),
        (r"(?<=\d)\s*–\s*(?=[\d$€£])", " to "),
        (r"–", ", "),
        (rf"¥\s?({_AMOUNT})", r"\1 yen"),
        (rf"(?<![\d,.])({_AMOUNT})\s?([$€£])(?!\d)", r"\2\1"),
        (
            rf"(?P<currency>[$€£])(?P<amount>{_AMOUNT})\s?(?P<many>(?i:{'|'.join(_MANY)}))\b",
            _money,
        ),
        (r"[$€£](?!\d)|¥", " "),
        (r"°\s?C\b", " degrees Celsius"),
        (r"°\s?F\b", " degrees Fahrenheit"),
        (r"°", " degrees "),
        (rf"(?<=\d)\s?({'|'.join(_UNITS)})(?![\w/])", lambda match: f" {_UNITS[match[1]]}"),
        (r"#(?=\d)", " number "),
        (r"~\s?(?=\d)", " about "),
        (r"(?<=[\d\s])<(?=[\d\s])", " less than "),
        (r"(?<=[\d\s])>(?=[\d\s])", " greater than "),
        (r"[#~^<>|\\/_\x00-\x1f\x7f]", " "),
        (r"\b\d{1,3}(?:,\d{3})+\b(?!,?\d)", lambda match: match[0].replace(",", "")),
        (r"(?<=\d),(?=\d)", ", "),
        (r"(?<!\d)\d+(?:\.\d+){2,}", lambda match: match[0].replace(".", " point ")),
        (r"\d{13,}", _one_by_one),
        (r"(?<![\d.$€£])0\d+(?!\.\d)", _one_by_one),
        (r"(?<![\w-])-(?=[\d$€£])", "minus "),
        (r"(?<=\d)[:'-](?=\d)", " "),
        (r"(?<=[A-Za-z])(?=\d)|(?<=[^\s(])(?=[$€£])", " "),
        (r"(?<=\d)-?(?=[A-Za-z])(?!(?:st|nd|rd|th|s)\b)", " "),
        (r"(?<=[a-z]{2})\.(?=[a-z]{2})", " dot "),
        (r"(?<=[a-z][.!?])(?=[A-Z])", " "),
        (r"-{2,}", ", "),
        (r"(?<!\w)-|-(?!\w)", " "),
        (r"(?<!\w)'+|'+(?!\w)(?<!s')", " "),
        (r"(?<!\.)\.{2,}(?=\s*[a-z])", ", "),
        (r"[.!?]{2,}", lambda match: next(mark for mark in "?!." if mark in match[0])),
        (r"(?<=[;:?!])[.,;:]*(?=[\w$€£])", " "),
        (r"[()]", ", "),
    )
)

# The full stop after these ends no sentence: never, only before a figure, only before a small letter.
_TITLES = re.compile(r"mr|mrs|ms|dr|prof|st|rev|gen|gov|sen|rep|capt|lt|col|sgt|adm|mt|ft|vs|e\.g|i\.e|cf|approx|ph")
_NUMBERED = re.compile(r"no|fig|vol|ch|p|pp|jan|feb|apr|jun|jul|aug|sep|sept|oct|nov|dec")
_TRAILING = re.compile(r"etc|inc|ltd|bros|corp|co|jr|sr|a\.m|p\.m")
_LONGEST_ABBREVIATION = 20
_SENTENCE_END = re.compile(r"[.!?](?P<quote>[\"']*)\s+(?=(?P<next>\S))")
_SOUND = re.compile(r"[A-Za-z0-9]")

# Seconds of the local voice at speed 1, fitted to 38 texts of 0.6 to 12 s (2026-11-22): above 3 s the error was at
# most 12 %, below at most 0.7 s.
_VOWEL_S = 0.077
_CONSONANT_S = 0.064
_SPELLED_LETTER_S = 0.155
_FIGURE_S = 0.32
_CLAUSE_S = 0.21
_SENTENCE_S = 0.34
_FOREIGN_LETTER_S = 0.08
_FOREIGN_SYLLABLE_S = 0.2
_LEAST_S = 0.5
_FIRST_SYLLABIC = "\u2e80"
_MUTE_E = re.compile(r"(?<=[aeiouy])([^\Waeiouy]+)(?:e|(?<![td])ed)\b")
_VOWELS = re.compile(r"[aeiouy]+")
_CONSONANTS = re.compile(r"gh|ck|th|sh|ch|ph|wh|kn|([b-df-hj-np-tv-xz])\1|[b-df-hj-np-tv-xz]")


def speakable_sentences(script: str) -> list[str]:
    """Split a script into the pieces that are spoken one at a time.

    Args:
        script: Any text. What :func:`unspeakable` objects to is left out here, so ask it first.

    Returns:
        Sentences in ASCII (and £, €) of at most ``MAX_SENTENCE_CHARACTERS``, each with something to say and each
        ending in a punctuation mark; none when there is nothing to say.
    """
    pieces: list[str] = []
    # A blank line ends a sentence even without a full stop: titles and list items.
    for paragraph in re.split(r"\n\s*\n", script):
        text, _ = _fold(paragraph)
        pieces += [piece for sentence in _sentences(_spell(text)) for piece in _short(sentence) if _SOUND.search(piece)]
    return pieces


def unspeakable(script: str) -> str | None:
    """Return why a voice of Latin letters cannot speak ``script`` and what to do, or None when it can."""
    _, foreign = _fold(script)
    if foreign:
        return f"the voice reads English letters (accents are fine), not {_named(foreign)}. {_OFFER}"
    if not speakable_sentences(script):
        return f"the script has nothing to say: no letter and no digit. {_OFFER}"
    return None


def _fold(text: str) -> tuple[str, list[str]]:
    """Return ``text`` in ASCII (and ``_KEPT``), and the letters that have no ASCII form."""
    foreign: list[str] = []
    folded: list[str] = []
    for character in unicodedata.normalize("NFC", text.translate(_SIGNS)):
        ascii_form = character if character.isascii() else _ascii(character)
        if ascii_form is None:
            foreign.append(character)
        else:
            folded.append(ascii_form)
    return "".join(folded), foreign


def _ascii(character: str) -> str | None:
    """Return what stands for ``character`` (a space for a sign without sound), or None for a foreign letter."""
    folded = ""
    for part in unicodedata.normalize("NFKD", character).translate(_SIGNS):
        if part.isascii() or part in _KEPT:
            folded += part
        elif unicodedata.category(part) in {"Cf", "Mn"}:
            continue
        elif (latin := _LATIN.fullmatch(unicodedata.name(part, ""))) is not None:
            folded += latin[2] if latin[1] == "CAPITAL" else latin[2].lower()
        elif (digit := unicodedata.decimal(part, None)) is not None:
            folded += str(digit)
        elif part.isalpha():
            return None
        else:
            folded += " "
    return folded


def _named(foreign: list[str]) -> str:
    """Say which letters: each once, grouped by script."""
    # Its tables take 30 ms to load and are needed for this message only.
    from fontTools import unicodedata as scripts  # noqa: PLC0415

    letters = list(dict.fromkeys(foreign))
    groups: dict[str, list[str]] = {}
    for letter in letters[:_MANY_LETTERS]:
        name = scripts.script_name(scripts.script(letter)).replace("_", " ")
        groups.setdefault(name, []).append(letter)
    named = ", ".join(f"{' '.join(group)} ({name})" for name, group in groups.items())
    more = len(letters) - _MANY_LETTERS
    return f"{named} and {more} more" if more > 0 else named


def _spell(text: str) -> str:
    """Write signs and figures the way they are said, and tidy the spaces and commas that leaves."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if text[end.start()] == "." and _is_abbreviated(
            text[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start()], end["next"]
        ):
            continue
        if end["quote"] and end["next"].islower():
            continue
        yield _tidy(text[start : end.end()])
        start = end.end()
    yield _tidy(text[start:])


def _is_abbreviated(before: str, following: str) -> bool:
    """Whether the full stop after ``before`` belongs to its last word."""
    words = before.split()
    word = words[-1].strip("\"'(,").lower() if words else ""
    if _NUMBERED.fullmatch(word):
        return following.isdigit()
    if _TRAILING.fullmatch(word):
        return following.islower()
    is_initial = re.fullmatch(r"(?:[a-z]\.)*[a-z]", word) is not None and word != "i"
    return is_initial or _TITLES.fullmatch(word) is not None


def _tidy(sentence: str) -> str:
    text = " ".join(sentence.replace('"', " ").split())
    text = re.sub(r" (?=[,;:!?]|\.(?!\d))", "", text)
    text = re.sub(r"[,;:]+(?=[,;:.!?])", "", text).lstrip(",;:.!?-' ")
    return text if not text or text[-1] in ".!?" else f"{text.rstrip(',;:- ')}."


def _short(sentence: str) -> Iterator[str]:
    """Cut a sentence that is too long: after a clause, else at a space, else anywhere."""
    room = MAX_SENTENCE_CHARACTERS - 1
    while len(sentence) > MAX_SENTENCE_CHARACTERS:
        head = sentence[: room + 1]
        cut = max(head.rfind(mark) for mark in (", ", "; ", ": ")) + 1
        if cut <= room // 3:
            cut = head.rfind(" ")
        if cut <= 0:
            cut = room
        piece = sentence[:cut].rstrip()
        # The comma lets the voice fall less than a full stop would: the sentence goes on.
        yield piece if piece[-1] in ",;:" else f"{piece},"
        sentence = sentence[cut:].lstrip(" ,;:")
    yield sentence


def estimate_speech_s(script: str, *, speed: float = 1.0) -> float:
    """Estimate how long the local voice will take, without making it.

    Args:
        script: Any text, also one the local voice cannot speak: other voices are about as fast.
        speed: As in :func:`media_assets.media.speak.write_speech`.

    Returns:
        Seconds, pauses between sentences included; always above 0.
    """
    sentences = speakable_sentences(script)
    text = " ".join(sentences)
    if text.isupper():
        # Shouted, not spelled.
        text = text.lower()
    spelled = sum(len(word) for word in re.findall(r"\b[A-Z]{2,}\b", text))
    lower = _MUTE_E.sub(r"\1", re.sub(r"\b[A-Z]{2,}\b", "", text).lower())
    speech_s = (
        _VOWEL_S * len(_VOWELS.findall(lower))
        + _CONSONANT_S * len(_CONSONANTS.findall(lower))
        + _SPELLED_LETTER_S * spelled
        + _FIGURE_S * len(re.findall(r"[\d$€£]", text))
        + _CLAUSE_S * len(re.findall(r"[,;:]", text))
        + _SENTENCE_S * len(sentences)
        + _foreign_s(script)
    )
    return max(speech_s / speed + PAUSE_S * (len(sentences) - 1), _LEAST_S)


def _foreign_s(script: str) -> float:
    """Return a rough length of the letters the local voice would leave out."""
    _, foreign = _fold(script)
    syllables = sum(letter >= _FIRST_SYLLABIC for letter in foreign)
    return _FOREIGN_SYLLABLE_S * syllables + _FOREIGN_LETTER_S * (len(foreign) - syllables)
