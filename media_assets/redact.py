"""What may be shown of text that came from outside: no key, no signature, no query of a URL, on one bounded line.

Providers quote requests in their errors: keys (OpenAI shows a part of a wrong one), signed URLs, whole data URIs. A
text is hidden rather too much than too little; what is left is for people to read, never for code to parse.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_HIDDEN = "***"
_OVERRIDES = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Classes of characters that change the direction of what stands around them."""
_LOOKED_AT_PER_LIMIT = 20
"""Text beyond this many times the limit is dropped unread: it could hardly be shown, and reading it costs time."""

_DEEPEST = 20
"""Levels of a JSON value that are kept: no provider's input is nested deeper."""

_URL = re.compile(r"""(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,15}:(?:\\?/){2})([^\s"'<>]*)""", re.IGNORECASE)
_URL_END = re.compile(r"\\u0026|%3f|[?#;&]", re.IGNORECASE)
_DATA_URI = re.compile(r"""(?<![\w-])data:[^\s"'<>]{12,}""", re.IGNORECASE)
_QUERY = re.compile(r"""\?[^\s"'<>=?]*=[^\s"'<>]*""")

_NAMED = re.compile(
    r"""(signature|secret|passw(?:or)?d|authorization|credentials?|cookie|token(?![a-z])|\bsig"""
    r"""|api[-_\ ]?key|(?<![a-z])key(?=\\{0,9}["']?=))"""  # ``key`` alone is a name of many harmless things
    r"""(\\{0,9}["'])?\s?(=|:|%3d)\s?"""
    r"""(?:\\{0,9}["'][^"']*|(?:(?:bearer|basic|key|token)\s)?[^\s"',;&<>)\]}]+)""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"""\b(bearer|basic)\s[^\s"',<>]+""", re.IGNORECASE)
_KEY = re.compile(
    r"\b(key)\s(?!(?:a|an|and|are|at|but|by|can|cannot|could|did|does|expired|for|found|from|had|has|have|if|in|invalid"
    r"|is|it|may|missing|must|name|not|of|on|or|provided|required|should|that|the|this|to|was|which|with|you|your)"
    r"""\b[^\w]*(?:\s|$))[^\s"',<>]+""",
    re.IGNORECASE,
)
_KEYS = re.compile(
    r"(?<![a-z0-9])(?:"
    r"r8_[a-z0-9*]+"  # Replicate
    r"|(?:sk|whsec)[-_][\w*.-]{4,}"  # OpenAI, ElevenLabs, and secrets of webhooks
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}:[\w*-]+"  # fal: id and secret
    r"|eyJ[\w-]{8,}\.[\w.-]+"  # a signed token (JWT)
    r"|[0-9a-f]{32}(?![0-9a-f])"  # ElevenLabs' older ones
    r")",
    re.IGNORECASE,
)


def redact_text(text: str, *, limit: int = 300) -> str:
    """Return what may be shown of a provider's words: one line of printable characters, with its secrets hidden.

    Hidden are keys (by their form, and after ``Bearer``, ``Key`` or a name such as ``token=``), the query and the user
    of every URL, and data URIs; also inside JSON.

    Args:
        text: Anything, of any length.
        limit: The most characters to return; a longer text ends in an ellipsis.
    """
    looked_at = text[: limit * _LOOKED_AT_PER_LIMIT]
    shown = " ".join("".join(one if one.isprintable() else " " for one in looked_at).split())
    for pattern, replacement in _RULES:
        shown = pattern.sub(replacement, shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: max(limit - 1, 0)].rstrip() + "…"[:limit]


def harmless_text(text: str) -> str:
    """Return text whole, but for what could command a terminal or turn the text around it: each such sign shows as �.

    Control characters and overrides of direction are taken out; lines and tabs stay, and so do Arabic and Hebrew.
    """
    return "".join(character if _is_harmless(character) else "\N{REPLACEMENT CHARACTER}" for character in text)


def _is_harmless(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) != "Cc" and unicodedata.bidirectional(character) not in _OVERRIDES


def redact_json(value: Any, *, longest: int = 20_000) -> Any:
    """Return what may be kept of a JSON value from outside: each text as :func:`redact_text` shows it, if that differs.

    What a field that is named like a secret holds is hidden whole, whatever it is.

    Args:
        value: As it was parsed.
        longest: The most characters that are kept of one text.
    """
    return _redacted(value, longest, _DEEPEST)


def _redacted(value: Any, longest: int, levels: int) -> Any:
    if isinstance(value, str):
        shown = redact_text(value, limit=longest)
        return value if shown == " ".join(value.split()) else shown
    if isinstance(value, Mapping | list) and not levels:
        return "…"
    if isinstance(value, list):
        return [_redacted(one, longest, levels - 1) for one in value]
    if isinstance(value, Mapping):
        return {
            redact_text(str(name), limit=100): _HIDDEN
            if _is_secret(str(name))
            else _redacted(held, longest, levels - 1)
            for name, held in value.items()
        }
    return value


def _is_secret(name: str) -> bool:
    return redact_text(f"{name}=x", limit=200).endswith(_HIDDEN)


def _bare_url(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    address = _URL_END.split(rest, maxsplit=1)[0]
    host, slash, path = address.partition("/")
    return f"{scheme}{host.rpartition('@')[2]}{slash}{path}"


_RULES: Sequence[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = (
    (_DATA_URI, "data:…"),
    (_URL, _bare_url),
    (_QUERY, ""),
    (_NAMED, rf"\1\2\3{_HIDDEN}"),
    (_BEARER, rf"\1 {_HIDDEN}"),
    (_KEY, rf"\1 {_HIDDEN}"),
    (_KEYS, _HIDDEN),
)
"""In this order: URLs first, for a key may stand in one, and what is left of it must not hide the next rule's find."""
