"""A home with a film or a prompt of every kind that the gallery tells apart, made as runs make them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media_assets.artifact import ArtifactStore
from media_assets.errors import MediaAssetsError, PredictionFailedError, ProviderUnavailableError
from media_assets.film import FILMS
from media_assets.gallery.folder import Written, write_gallery
from media_assets.gallery.shown import Gallery, Shelf
from media_assets.ledger import Ledger, open_ledger
from media_assets.prompt import Prompt
from media_assets.providers.base import LocalArguments
from media_assets_tests.making import OWN_ROUTES, PRICED, OwnProvider, cheap_prompt, failing, own_model, studio_on

HOSTILE = (
    '</script><img src=x onerror="alert(1)"><svg/onload=alert(2)> {{ 7*7 }} \u202egnp.exe\u202c & "quotes" \'too\''
)
SECRET = "sk-abcdefgh12345678"  # noqa: S105 - nobody's
SECOND = own_model("landscape", id="testing:second", usd="0.02")

PLAIN, HOSTILE_KEY, DEGRADED, FALLBACK, FAILED, DEFERRED, PENDING, EARLIER, LOOSE = (
    *("plain", "hostile", "stood-in", "second-choice", "failed", "deferred", "pending", "earlier", "loose"),
)
FILM_KEYS = {PLAIN, HOSTILE_KEY, DEGRADED, FALLBACK, EARLIER, LOOSE}
UNFINISHED = {FAILED: "failed", DEFERRED: "deferred", PENDING: "pending", EARLIER: "pending"}


def furnish(home: Path) -> None:
    """Make all of it; a second or two."""
    _attempt(home, cheap_prompt(key=PLAIN, prompt="a red barn at dawn", script=None, routes=OWN_ROUTES))
    _attempt(home, cheap_prompt(key=HOSTILE_KEY, prompt=HOSTILE, script=HOSTILE * 5))
    stands_in = {**OWN_ROUTES, "video": ["testing:ken-burns", "local:ken-burns"]}
    error = ProviderUnavailableError("no route to /srv/machine/secret.sock")
    _attempt(home, cheap_prompt(key=DEGRADED, seed=1, routes=stands_in), failing("ken_burns", error))
    second = {**OWN_ROUTES, "image": ["testing:landscape", "testing:second"]}
    _attempt(
        home,
        cheap_prompt(key=FALLBACK, seed=2, script=None, routes=second),
        once(PredictionFailedError("out of <memory>")),
    )
    words = PredictionFailedError(f"<b>no</b> {SECRET} at {home}/artifacts/x.png")
    _attempt(home, cheap_prompt(key=FAILED, seed=3, routes=OWN_ROUTES), failing("ken_burns", words))
    _attempt(home, cheap_prompt(key=DEFERRED, seed=4, routes=OWN_ROUTES, max_cost_usd="0.001"))
    _attempt(home, cheap_prompt(key=EARLIER, seed=5, routes=OWN_ROUTES))
    with open_ledger(home) as ledger:
        ledger.prompts.pin([cheap_prompt(key=PENDING, seed=6)], source=f"{home}/pending.yaml")
        ledger.prompts.pin([cheap_prompt(key=EARLIER, prompt="another barn", routes=OWN_ROUTES)], source="again")
    (home / FILMS / f"{LOOSE}.mp4").write_bytes((home / FILMS / f"{PLAIN}.mp4").read_bytes() + b"\0")


def once(error: MediaAssetsError) -> Callable[[str, LocalArguments], None]:
    """Return an ``OwnProvider.before`` that fails the first call alone."""
    errors = iter([error])

    def before(_which: str, _arguments: LocalArguments) -> None:
        for one in errors:
            raise one

    return before


def _attempt(home: Path, prompt: Prompt, before: Callable[[str, LocalArguments], None] | None = None) -> None:
    provider = OwnProvider() if before is None else OwnProvider(before=before)
    with studio_on(home, models=(*PRICED, SECOND), provider=provider) as studio:
        asyncio.run(studio.attempt(prompt))


@contextlib.contextmanager
def ledger_and_store(home: Path) -> Iterator[tuple[Ledger, ArtifactStore]]:
    """Open what the gallery is read from."""
    with open_ledger(home) as ledger:
        yield ledger, ArtifactStore(home / "artifacts")


def look(home: Path) -> Gallery:
    """Return what is to be shown of a home."""
    with ledger_and_store(home) as (ledger, store):
        return Shelf(ledger=ledger, store=store, films=home / FILMS).look()


def write(home: Path, **how: Any) -> Written:
    """Write the gallery of a home, as the command does."""
    with ledger_and_store(home) as (ledger, store):
        return write_gallery(
            ledger, store, home, **{"now": datetime.now(UTC), "dagster": "http://127.0.0.1:3000", **how}
        )
