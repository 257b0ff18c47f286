"""A studio that buys from a market whose providers have turned hostile, and what must hold however it ends."""

import asyncio
import contextlib
import json
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from media_assets.catalog import ModelSpec
from media_assets.film import Film
from media_assets.ledger.rows import PurchaseRow
from media_assets.prompt import Prompt, Step
from media_assets.studio import ALL_STEPS, Studio
from media_assets.testing import SimulatedProviders
from media_assets_tests.media.watching import HAS_PROC, Canary, canary_server, children
from media_assets_tests.simulated import Market, open_market, paid_prompt
from media_assets_tests.witness import Witness

FREE_ROUTES = {"image": ["local:landscape"], "video": ["local:ken-burns"], "audio": ["local:silence"]}


def prompt_of(key: str, seed: int, step: Step, *models: str, **changes: Any) -> Prompt:
    """Return a prompt of which one step is bought, as no other prompt buys it, and the rest is free and small."""
    small = {"size_px": (64, 64), "clip_s": 1.0, "params": {"video": {"fps": 2}}}
    routes = {**FREE_ROUTES, str(step): list(models)}
    return paid_prompt(key=key, seed=seed, take={str(step): seed}, routes=routes, **{**small, **changes})


@dataclass(frozen=True)
class Attempt:
    """One film that was tried, and what the simulator saw of it."""

    prompt: Prompt
    film: Film
    row: PurchaseRow
    """The step that was bought."""
    billed_usd: Decimal
    posts: int


@dataclass(frozen=True)
class Scene:
    """A market, a studio that stays open, and a canary nobody may ask."""

    market: Market
    studio: Studio
    canary: Canary

    @property
    def canary_port(self) -> int:
        """Where the canary listens."""
        return urlsplit(self.canary.url).port or 0

    @property
    def providers(self) -> SimulatedProviders:
        """The simulator, asked without a request of our own."""
        return SimulatedProviders(self.market.simulator)

    def hand_out(self, provider: str, url: str) -> None:
        """Let every finished prediction of a provider say that its output is at ``url``."""
        self.providers.faults({"provider": provider, "fault": "output_url", "value": url})

    def redirect(self, provider: str, url: str) -> None:
        """Let every download from a provider be sent on to ``url``."""
        self.providers.faults({"provider": provider, "fault": "redirect_private", "value": url})

    def store(self, provider: str, content: bytes, *, name: str = "output", mime: str = "image/png") -> str:
        """Put bytes where a provider's outputs are; return their signed URL."""
        files = self.market.simulator.world.files
        stored = files.put(content, provider=provider, name=name, mime=mime)
        return self.market.simulator.url + files.link(stored)

    def attempt(self, prompt: Prompt, step: Step, *, wanted: Iterable[Step] = ALL_STEPS) -> Attempt:
        """Try to make a film of which ``step`` is bought."""
        billed, posts = self.providers.bill_usd, self.providers.posts()
        film = asyncio.run(self.studio.attempt(prompt, wanted=frozenset(wanted)))
        row = self.row(prompt, step)
        return Attempt(prompt, film, row, self.providers.bill_usd - billed, self.providers.posts() - posts)

    def assert_untouched(self, witness: Witness) -> None:
        """Nobody but the simulator was asked, nothing outside the home was changed, nothing was left behind."""
        simulator = self.market.simulator
        address = urlsplit(simulator.url)
        assert self.canary.asked == []
        assert witness.connected <= {(address.hostname, address.port)}
        outside = witness.changed_outside(self.market.home, simulator.world.state_dir)
        assert outside == [], outside
        assert list(self.market.home.rglob("*.part")) == []
        assert list((self.market.home / "scratch").glob("*/*")) == [], "a folder for each piece of work, in its owner's"
        assert not HAS_PROC or children() == set()

    def attempt_again(self, first: Sequence[Attempt], *, wanted: Iterable[Step] = ALL_STEPS) -> list[Attempt]:
        """Try films again, several at once; hold that it submits nothing, bills nothing and changes no purchase."""
        billed, posts = self.providers.bill_usd, self.providers.posts()

        async def all_of_them() -> dict[str, Film]:
            stream = self.studio.stream([one.prompt for one in first], wanted=frozenset(wanted))
            return {film.key: film async for film in stream}

        films = asyncio.run(all_of_them())
        assert (self.providers.bill_usd, self.providers.posts()) == (billed, posts)
        again = [replace(one, film=films[one.prompt.key], row=self.row(one.prompt, one.row.step)) for one in first]
        for before, after in zip(first, again, strict=True):
            assert (after.row.state, after.row.cost_micro_usd) == (before.row.state, before.row.cost_micro_usd)
            assert (after.film.error is None) == (before.film.error is None), after.film.error
        return again

    def row(self, prompt: Prompt, step: str) -> PurchaseRow:
        """Return the purchase of a prompt's step."""
        rows = [row for row in self.studio.ledger.purchases.search(prompt_key=prompt.key) if row.step == step]
        return rows[0]


@contextlib.contextmanager
def open_scene(home: Path, *models: ModelSpec, **settings: Any) -> Iterator[Scene]:
    """Open one; ``models`` and ``settings`` as :meth:`Market.studio` takes them."""
    with (
        canary_server() as canary,
        open_market(home) as market,
        market.studio(models=models, **settings) as studio,
    ):
        yield Scene(market, studio, canary)


def shown(attempt: Attempt, home: Path) -> str:
    """Return all that anybody is told of an attempt: its JSON, its error with the traceback, its row."""
    error = attempt.film.error
    told = "" if error is None else "".join(traceback.format_exception(error)) + repr(vars(error))
    return json.dumps(attempt.film.as_dict(home=home)) + told + repr(attempt.row)


def micro_usd(amount: Decimal) -> int:
    """Return dollars as the ledger counts them."""
    return int(amount * 1_000_000)
