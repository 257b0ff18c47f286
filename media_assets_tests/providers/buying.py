"""One purchase of one model from the simulator, as a studio makes it, and everything that was recorded of it."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from media_assets.artifact import ArtifactStore
from media_assets.catalog import ModelSpec
from media_assets.errors import MediaAssetsError
from media_assets.ledger import Ledger
from media_assets.ledger.budgets import Cap
from media_assets.ledger.rows import PurchaseRow
from media_assets.ledger.schema import attempt
from media_assets.media.questions import AskAudio, AskImage
from media_assets.orders import Order, Purchased
from media_assets.pricing import estimate, to_micro_usd
from media_assets.prompt import Step
from media_assets.providers.transport import Transport
from media_assets.purchase import Purchasing
from media_assets.request import GenerationRequest
from media_assets_tests.conformance.our_requests import SCRIPT, drafted
from media_assets_tests.making import TODAY
from media_assets_tests.simulated import Market

_PLENTY_MICRO_USD = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Bought:
    """What came of one purchase."""

    row: PurchaseRow
    attempts: tuple[Mapping[str, Any], ...]
    """Rows of the ledger's table of that name, in order."""
    error: MediaAssetsError | None
    posts: int
    """Submissions that the simulator was sent."""
    accepted: int
    """Those that it accepted."""

    @property
    def outcomes(self) -> list[str]:
        """What each attempt came to."""
        return [str(one["outcome"]) for one in self.attempts]


def buy(market: Market, spec: ModelSpec, *, take: int, waits: bool = False, **settings: Any) -> Bought:
    """Buy one picture or voice, with waits as short as the settings allow.

    Args:
        market: A simulator, and a home to buy for.
        spec: The model; its deadlines may be shorter than the catalog's.
        take: Another number is another purchase.
        waits: Whether a submission whose reply was lost is looked for at once.
        settings: Changes to the settings.
    """
    posts, accepted = _counts(market)
    request = drafted(spec).request
    text = spec.roles.get("script") or spec.roles["prompt"]
    # A text of its own: an account's list does not show takes.
    request = replace(request, take=take, params={**request.params, text: f"{request.params[text]} {take}"})
    error: MediaAssetsError | None = None
    with market.studio(**settings) as studio:
        try:
            asyncio.run(buying(studio.ledger, studio.store, studio.transport, spec, request, waits=waits))
        except MediaAssetsError as raised:
            error = raised
        row = studio.ledger.purchases.get(request.key)
        assert row is not None
        attempts = attempts_of(studio.ledger, request)
    posts_after, accepted_after = _counts(market)
    return Bought(
        row=row, attempts=attempts, error=error, posts=posts_after - posts, accepted=accepted_after - accepted
    )


def assert_books_balance(market: Market) -> None:
    """Hold that what the ledger says was spent is what the simulator bills, to the last micro-dollar."""
    market.set_faults()
    with market.studio() as studio:
        cost = sum(row.cost_micro_usd or 0 for row in studio.ledger.purchases.search())
    assert Decimal(cost) / 1_000_000 == market.bill_usd()


def _counts(market: Market) -> tuple[int, int]:
    """Return what ``/_sim/requests`` and ``/_sim/submissions`` count, without an HTTP client for each look."""
    world = market.simulator.world
    posts = sum(count for kind, count in world.received().items() if kind.call == "submit")
    return posts, len(world.submissions.all())


def attempts_of(ledger: Ledger, request: GenerationRequest) -> tuple[Mapping[str, Any], ...]:
    """Return every attempt at a request, in order."""
    found = sa.select(attempt).where(attempt.c.request_key == request.key).order_by(attempt.c.n)
    with ledger.database.read() as connection:
        return tuple(dict(one._mapping) for one in connection.execute(found))


async def buying(
    ledger: Ledger,
    store: ArtifactStore,
    transport: Transport,
    spec: ModelSpec,
    request: GenerationRequest,
    *,
    waits: bool = False,
) -> Purchased:
    """Buy one picture or voice under a cap of a thousand dollars."""
    worst = estimate(spec, request, today=TODAY).max_usd
    plan_id = secrets.token_hex(8)
    caps = [Cap("prompt:buying", _PLENTY_MICRO_USD, "cap")]
    ledger.prompts.open_plan(plan_id, "buying", amounts={spec.step: to_micro_usd(worst)}, caps=caps)
    order = Order(
        request=request,
        spec=spec,
        prompt_key="buying",
        plan_id=plan_id,
        estimate_usd=worst,
        inputs={},
        question=AskAudio(text=SCRIPT) if spec.step is Step.AUDIO else AskImage(requested_size_px=None),
        today=TODAY,
        waits=waits,
    )
    try:
        return await Purchasing(ledger, store, transport).buy(order)
    finally:
        ledger.prompts.close_plan(plan_id)
