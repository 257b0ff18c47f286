"""The page itself: what is shown becomes HTML. Nothing but the template's own words reaches it unescaped.

The page needs nothing beside it but films and posters. Its content security policy allows its own style and script by
their digests, and pictures and films from where it lies: a prompt that got through as markup could still run nothing.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib import resources
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from media_assets.errors import ConfigurationError
from media_assets.gallery.shown import STATES, Flag, Gallery, ShownFilm, ShownPrompt
from media_assets.gallery.timeline import Timeline, timeline
from media_assets.redact import harmless_text

GENERATOR = "media_assets gallery"
"""What the page says made it: a page without it is somebody else's and is not written over."""

_LONG = 240
"""Characters of a prompt that are shown at once."""
_MINUTE_S, _HOUR_S = 60, 3600
_MEGABYTE = 1_000_000

_MEANINGS: Mapping[str, str] = {
    Flag.DEGRADED: "a stand-in made a step of it",
    Flag.FALLBACK: "another model than the first choice made a step of it",
    Flag.EARLIER: "the prompt has changed since; this was made before",
    Flag.UNRECORDED: "this ledger does not know what made it",
    "failed": "the last run ended with an error",
    "unreadable": "another version pinned it; pin its file again",
    "lost": "it was made and its file is gone; run it again",
    "interrupted": "its process is gone; a run goes on with it",
    "deferred": "a budget does not allow it now; it has not failed",
    "running": "was being made when this page was written",
    "pending": "not begun yet",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a film's files are, as URLs relative to the page."""

    url: str
    poster: str | None
    """None where none could be drawn."""


@dataclass(frozen=True, kw_only=True)
class _FilmCard:
    film: ShownFilm
    url: str
    poster: str | None
    timeline: Timeline
    dagster_url: str | None


@dataclass(frozen=True, kw_only=True)
class _PromptCard:
    one: ShownPrompt
    dagster_url: str | None


def dagster_base(url: str) -> str | None:
    """Return the address that links to Dagster begin with; None for "none", which leaves them out.

    Raises:
        ConfigurationError: It is no http or https address, or holds a password, which the page would tell everybody.
    """
    if url.strip().lower() == "none":
        return None
    try:
        parts = urlsplit(url.strip())
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web or any(character.isspace() or not character.isprintable() for character in url.strip()):
        message = f"--dagster-url {url!r}: write the address Dagster is at, such as http://127.0.0.1:3000, or none."
        raise ConfigurationError(message)
    if parts.username or parts.password or parts.query or parts.fragment:
        message = "--dagster-url: leave out user, password, ? and #: everybody who sees the page could read them."
        raise ConfigurationError(message)
    return url.strip().rstrip("/")


def render(gallery: Gallery, places: Mapping[str, Place], *, dagster: str | None, now: datetime) -> str:
    """Return the page as HTML.

    Args:
        gallery: What it shows.
        places: Where each film's files are, by its key.
        dagster: What links to partitions begin with; None for no links.
        now: As of when this is.
    """
    films = [
        _FilmCard(
            film=film,
            url=places[film.key].url,
            poster=places[film.key].poster,
            timeline=timeline(film.steps),
            dagster_url=_partition_url(dagster, film.key) if film.is_pinned else None,
        )
        for film in gallery.films
    ]
    unfinished = [_PromptCard(one=one, dagster_url=_partition_url(dagster, one.key)) for one in gallery.unfinished]
    style, script = _source("style.css"), _source("script.js")
    return (
        _environment()
        .get_template("index.html")
        .render(
            films=films,
            unfinished=unfinished,
            cost_usd=gallery.cost_usd,
            choices=_choices(gallery),
            now=now,
            policy=_policy(style, script),
            generator=GENERATOR,
            # Without one a browser asks the server for /favicon.ico.
            icon=next((card.poster for card in films if card.poster is not None), None),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            LONG=_LONG,
        )
    )


def _partition_url(dagster: str | None, key: str) -> str | None:
    # As Dagster's own pages spell it (dagster-webserver 1.13.27, read 2026-11-30).
    return None if dagster is None else f"{dagster}/assets/merged?view=partitions&partition={quote(key, safe='')}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("media_assets.gallery", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "usd": _usd,
        "seconds": _seconds,
        "size": _size,
        "moment": _moment,
        "iso": _iso,
        "count": _count,
        "meaning": _MEANINGS.__getitem__,
    }
    return environment


def _shown(value: Any) -> Any:
    """Take out of every text what could turn the page's own words around; Markup is the template's own."""
    return harmless_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(name: str) -> str:
    return resources.files("media_assets.gallery").joinpath("page", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    rules = {
        "default-src": "'none'",
        "script-src": _digest(script),
        "style-src": _digest(style),
        # A page that is opened as a file has no origin for 'self' to mean in every browser; one from a server cannot
        # read files whatever its policy says.
        "img-src": "'self' file:",
        "media-src": "'self' file:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _choices(gallery: Gallery) -> list[tuple[str, str]]:
    """Return what can be chosen to be shown, with how many there are of it."""
    counts = Counter(str(flag) for film in gallery.films for flag in film.flags)
    counts.update(one.state for one in gallery.unfinished)
    return [(name, f"{name} ({counts[name]})") for name in (*map(str, Flag), *STATES) if counts[name]]


def _usd(amount: Decimal) -> str:
    return format(amount.normalize(), "f") if amount else "0"


def _seconds(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if seconds < _HOUR_S:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= _MEGABYTE else f"{size_bytes / 1e3:.0f} kB"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
