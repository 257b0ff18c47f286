"""Whether a listed prediction can be a request, told by what was sent and what the list shows.

Two answers are needed, for two decisions. That a submission never arrived is only safe to say when nothing listed *can*
be it: here what is not shown, or not compared, speaks for the listed one. That a listed prediction is adopted is only
safe when it *surely* is it: here everything must be shown and be the same.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from media_assets.request import GenerationRequest

_DIGEST = re.compile(r"(?:^|[/_-])([0-9a-f]{16})\.[a-z0-9]{2,5}$")
"""The name that the transport gives an input file: 16 hex digits of its digest; providers put their own before it."""

_LONGEST_URL = 10_000

_REFERENCE = re.compile(r"(?:https?://|data:)", re.IGNORECASE)


def is_same(sent: Any, shown: Any) -> bool:
    """Whether a value is shown as it was sent: numbers as numbers (7 is 7.0), objects by the fields that were sent."""
    if isinstance(sent, Mapping):
        return isinstance(shown, Mapping) and all(
            name in shown and is_same(value, shown[name]) for name, value in sent.items()
        )
    if isinstance(sent, bool) or isinstance(shown, bool):
        return sent is shown
    if isinstance(sent, float) or isinstance(shown, float):
        return _is_number(sent) and _is_number(shown) and _is_close(sent, shown)
    return type(sent) is type(shown) and bool(sent == shown)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_close(one: float, other: float) -> bool:
    try:
        return math.isclose(one, other, rel_tol=1e-9)
    except OverflowError:  # a whole number that no float holds
        return False


def files_agree(
    request: GenerationRequest, sent: Mapping[str, Any], shown: Mapping[str, Any], digests: Collection[str]
) -> bool:
    """Whether the files that a listed input names can be those of a request.

    Args:
        request: Its ``inputs`` say how many there are, and the digest of a user's own file.
        sent: The request's parameters, nested.
        shown: The listed input.
        digests: SHA-256 in hex of the files that the request builds on, as they are in the store. Where not all are
            known, or the listed names are not ours, nothing speaks against it.
    """
    known = {*digests, *(ref.sha256 for ref in request.inputs if ref.sha256)}
    if not request.inputs or len(known) < len(request.inputs):
        return True
    addresses = [re.split(r"[?#]", url, maxsplit=1)[0] for value in _further(sent, shown) for url in _urls_in(value)]
    names = [found[1] for address in addresses if (found := _DIGEST.search(address))]
    return all(any(digest.startswith(name) for digest in known) for name in names)


def has_no_more_than(sent: Mapping[str, Any], shown: Mapping[str, Any], files: int) -> bool:
    """Whether a listed input has no fields beyond those that were sent, but for at most so many with files."""
    more = list(_further(sent, shown))
    return len(more) <= files and all(_is_file(value) for value in more)


def _further(sent: Mapping[str, Any], shown: Mapping[str, Any]) -> Iterator[Any]:
    for name, value in shown.items():
        if name not in sent:
            yield value
        elif isinstance(sent[name], Mapping) and isinstance(value, Mapping):
            yield from _further(sent[name], value)


def _is_file(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 1 and _is_file(value[0])
    if isinstance(value, Mapping):
        return _is_file(value.get("url"))
    return isinstance(value, str) and _REFERENCE.match(value) is not None


def _urls_in(value: Any) -> Iterator[str]:
    """Yield the URLs in one field of a listed input, as deep as input files are put."""
    for one in value if isinstance(value, list) else [value]:
        text = one.get("url") if isinstance(one, Mapping) else one
        if isinstance(text, str):
            yield text[:_LONGEST_URL]
