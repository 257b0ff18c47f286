"""Refusals: which statuses say that nothing was begun, what they mean, and what to tell people to do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from media_assets.errors import (
    ContentRejectedError,
    InsufficientCreditError,
    KeyRejectedError,
    ModelGoneError,
    PurchaseError,
    RateLimitedError,
    RequestRejectedError,
)
from media_assets.media.sniff import HEAD_BYTES

REFUSED: Mapping[int, type[PurchaseError]] = {
    400: RequestRejectedError,
    401: KeyRejectedError,
    402: InsufficientCreditError,
    403: KeyRejectedError,
    404: RequestRejectedError,
    413: RequestRejectedError,
    415: RequestRejectedError,
    422: RequestRejectedError,
    429: RateLimitedError,
}
"""The statuses that say that a submit was not carried out, and what each means unless the body says more.

Every other one (408, 409 and 5xx among them) may follow work that was done and billed.
"""

ADVICE: Mapping[type[PurchaseError], str] = {
    ContentRejectedError: "change the prompt or use another model",
    InsufficientCreditError: "top up the account at the provider, then rerun",
    KeyRejectedError: "check the key and what its account may do",
    ModelGoneError: "use another model",
    RateLimitedError: "it may be submitted again later",
    RequestRejectedError: "change the request, then rerun",
}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a provider's error body says, whatever its shape."""

    words: tuple[str, ...] = ()
    """The provider's own words for the error, from the most to the least specific."""
    message: str = ""
    fields: tuple[str, ...] = ()
    """Parameters at fault, as the provider names them."""
    request_id: str | None = None


def text_of(value: Any) -> str:
    """Return a text field of a reply, or nothing where it is missing or of another type."""
    return value if isinstance(value, str) else ""


def describe_answer(body: bytes) -> str:
    """Say in plain words what came in the place of the JSON that was expected; the sentence lacks its subject."""
    # A character may be cut in two where the head ends.
    text = body[:HEAD_BYTES].decode("utf-8-sig", errors="replace").rstrip("\ufffd").strip().lower()
    if not text:
        return "is not text" if body.strip() else "is empty"
    if text.startswith("<"):
        return "is a web page (HTML)" if "<html" in text else "is XML"
    if text.startswith(("{", "[")):
        return "is JSON that is broken or cut off"
    is_text = all(character.isprintable() or character.isspace() for character in text)
    return "is plain text" if is_text and "\ufffd" not in text else "is not text"


def seconds_of(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a reply asks to wait, where it gives seconds; a date is the transport's to read."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if math.isfinite(wait_s) and wait_s >= 0:
            return wait_s
    return None
