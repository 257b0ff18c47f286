"""Shared by the tests of budgets at work: films under a cap, and another process that holds money."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from media_assets.catalog import Recovery
from media_assets.errors import (
    RequestRejectedError,
)
from media_assets.film import Film
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claims import Claim, Settlement
from media_assets.prompt import Prompt, Step
from media_assets.settings import Settings
from media_assets.studio import Event, Studio
from media_assets_tests.ledger.money import DAY, micro
from media_assets_tests.making import (
    CHEAP,
    OWN_ROUTES,
    PRICED,
    cheap_prompt,
    some_request,
    studio_on,
)

FILM_USD = "0.03"
"""What a film of ``PRICED`` models costs."""
MADE = ("degraded", None)
"""How a prompt stands whose film was made: its script is not spoken."""


def capped(**changes: Any) -> Settings:
    """Return settings under which a day pays for one film."""
    return CHEAP.model_copy(update={"max_day_usd": FILM_USD, **changes})


def dear(key: str = "dear", **changes: Any) -> Prompt:
    """Return a prompt whose film costs ``FILM_USD``."""
    return cheap_prompt(**{"key": key, "prompt": key, "routes": OWN_ROUTES, **changes})


class Hold:
    """What another process has reserved."""

    def __init__(self, ledger: Ledger, usd: str, scope: str) -> None:
        self.ledger = ledger
        self.plan_id = secrets.token_hex(8)
        ledger.prompts.open_plan(
            self.plan_id, "other", amounts={Step.IMAGE: micro(usd)}, caps=[Cap(scope, micro("100"), "cap")]
        )

    def give_back(self) -> None:
        """Do so, as if the work had failed."""
        self.ledger.prompts.close_plan(self.plan_id)


@contextmanager
def holding(home: Path, usd: str = FILM_USD, scope: str = DAY) -> Iterator[Hold]:
    """Hold money as another living process would."""
    with open_ledger(home) as other:
        yield Hold(other, usd, scope)


class Told:
    """The events of a make; ``then`` is done once, at the first wait."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.events: list[Event] = []
        self._then = then

    def __call__(self, event: Event) -> None:
        if event.what == "waiting" and not self.waits:
            threading.Thread(target=self._then).start()
        self.events.append(event)

    @property
    def waits(self) -> list[Event]:
        """What was waited for."""
        return [event for event in self.events if event.what == "waiting"]


def attempt_capped(home: Path, prompt: Prompt, told: Told | None = None, **studio: Any) -> Film:
    """Make one film of ``PRICED`` models under a cap; an error is in the film."""
    with studio_on(home, **{"models": PRICED, "settings": capped(), **studio}) as one:
        return asyncio.run(one.attempt(prompt, on_event=told or Told()))


def status_of(home: Path, key: str) -> tuple[str, str | None]:
    """Return how a prompt stands, and the class of its error."""
    with open_ledger(home) as ledger:
        pinned = ledger.prompts.get(key)
    assert pinned is not None
    return pinned.status, (pinned.error or {}).get("class")


def spend(other: Hold) -> None:
    """Have what is held billed in full."""
    claim = claim_of(other)
    other.ledger.purchases.write_failed(
        claim, None, RequestRejectedError("no"), outcome="failed", settlement=Settlement(cost_micro_usd=micro(FILM_USD))
    )


def claim_of(other: Hold) -> Claim:
    """Begin the purchase that money is held for."""
    claim = other.ledger.purchases.claim(
        some_request(),
        recovery=Recovery.NONE,
        prompt_key="other",
        plan_id=other.plan_id,
        estimate_micro_usd=micro(FILM_USD),
    )
    assert isinstance(claim, Claim)
    return claim


def stream_capped(home: Path, prompts: list[Prompt], told: Told, **studio: Any) -> dict[str, Film]:
    """Stream films of ``PRICED`` models under a cap; return them by key."""

    async def collect(one: Studio) -> dict[str, Film]:
        return {film.key: film async for film in one.stream(prompts, on_event=told)}

    with studio_on(home, **{"models": PRICED, "settings": capped(), **studio}) as one:
        return asyncio.run(collect(one))
