"""Many prompts as one piece of work: what it may cost, every film through its own chain, and what came of them."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from media_assets.errors import MediaAssetsError
from media_assets.film import Film
from media_assets.prompt import Prompt, Step
from media_assets.standing import Standings
from media_assets.studio import ALL_STEPS, Event, MakeOptions, Studio
from media_assets.threads import in_thread

_QUOTED_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a batch may cost, before anything of it is sent."""

    prompts: int
    least_usd: Decimal
    estimate_usd: Decimal
    """The worst case of what is not there yet."""

    def __str__(self) -> str:
        return f"{self.prompts} prompts, {self.least_usd} to {self.estimate_usd} USD"


@dataclass(kw_only=True)
class Summary:
    """What came of a batch so far, by prompt."""

    quote: Quote
    done: list[str] = field(default_factory=list)
    """Made, now or in part before."""
    cached: list[str] = field(default_factory=list)
    """There already: nothing was submitted."""
    degraded: list[str] = field(default_factory=list)
    """Of those two: with a stand-in."""
    failed: dict[str, MediaAssetsError] = field(default_factory=dict)
    deferred: dict[str, MediaAssetsError] = field(default_factory=dict)
    """Still pending: a cap would have been passed."""
    failed_usd: dict[str, Decimal] = field(default_factory=dict)
    """Of those two: what went to purchases that failed."""
    superseded: list[str] = field(default_factory=list)
    """Another prompt is pinned under the key by now: nothing was made of the old one."""
    spent_usd: Decimal = Decimal(0)

    def add(self, film: Film) -> None:
        """Take in how one prompt ended."""
        self.spent_usd += film.spent_usd
        if film.superseded:
            self.superseded.append(film.key)
            return
        if film.error is not None:
            (self.deferred if film.deferred else self.failed)[film.key] = film.error
            self.failed_usd[film.key] = film.failed_usd
            return
        (self.cached if film.cached else self.done).append(film.key)
        if film.degraded:
            self.degraded.append(film.key)

    @property
    def ended(self) -> int:
        """Return how many prompts have ended so far, in whatever way."""
        return sum(map(len, (self.done, self.cached, self.failed, self.deferred, self.superseded)))

    @property
    def counts(self) -> dict[str, int]:
        """Return how many prompts ended in each way."""
        names = ("done", "cached", "degraded", "failed", "deferred", "superseded")
        return {name: len(getattr(self, name)) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """Return the form of ``batch --json``; money as strings."""
        return {
            "prompts": self.quote.prompts,
            **self.counts,
            "spent_usd": str(self.spent_usd),
            "quote_usd": {"min": str(self.quote.least_usd), "max": str(self.quote.estimate_usd)},
            "failures": [{"key": key, **error.as_dict()} for key, error in self.failed.items()],
            "deferrals": [{"key": key, **error.as_dict()} for key, error in self.deferred.items()],
        }


async def quoted(
    studio: Studio, prompts: Sequence[Prompt], *, wanted: Collection[Step] = ALL_STEPS, upgrade: bool = False
) -> Quote:
    """Return what making these prompts may cost. Free: writes nothing, sends nothing.

    One that cannot be planned costs nothing: it will fail with the reason.

    Args:
        studio: Makes them.
        prompts: Which.
        wanted: The steps that are wanted; what they need is quoted too.
        upgrade: Whether what a stand-in made is made again.
    """
    limit = asyncio.Semaphore(_QUOTED_AT_ONCE)
    look = Standings(studio.ledger, studio.store).of

    async def costs(prompt: Prompt) -> tuple[Decimal, Decimal]:
        async with limit:
            try:
                missing = studio.missing(prompt, await in_thread(look, prompt, upgrade=upgrade), wanted)
                plan = await studio.plan(prompt, upgrade=upgrade)
            except MediaAssetsError:
                return Decimal(0), Decimal(0)
        if any(problem.field != "budget" for problem in plan.problems):
            return Decimal(0), Decimal(0)
        counted = [step for step in plan.steps if step.step in missing]
        least = sum((step.least_usd for step in counted), Decimal(0))
        return least, sum((step.estimate_usd for step in counted), Decimal(0))

    pairs = await asyncio.gather(*map(costs, prompts))
    least, most = (sum((pair[n] for pair in pairs), Decimal(0)) for n in (0, 1))
    return Quote(prompts=len(prompts), least_usd=least, estimate_usd=most)


async def make_batch(
    studio: Studio,
    prompts: Sequence[Prompt],
    *,
    summary: Summary,
    options: MakeOptions,
    wanted: Collection[Step] = ALL_STEPS,
    on_event: Callable[[Event], None],
    on_film: Callable[[Film], None],
) -> None:
    """Make the films of many prompts, in this order. **Costs money**, at most the quote and what the caps allow.

    One that fails stops nobody else, and one that a cap stops stays pending.

    Args:
        studio: Makes them.
        prompts: Which; the first ones are begun first, and asked first when there is money.
        summary: Of them, with what :func:`quoted` said; each film is added to it as it ends.
        options: How far finished steps may be left.
        wanted: The steps that are wanted; what they need is made too.
        on_event: Told of progress.
        on_film: Told of each film as it ends.
    """
    async for film in studio.stream(prompts, wanted=wanted, options=options, on_event=on_event):
        summary.add(film)
        on_film(film)
