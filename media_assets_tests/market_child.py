"""A purchase from the simulator in a child process, and a janitor in one, for tests that kill and race."""

import asyncio
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.cli.interrupts import INTERRUPTS, Interrupted
from media_assets.errors import MediaAssetsError
from media_assets.ledger.budgets import Cap, Need
from media_assets.ledger.database import ledger_url
from media_assets.ledger.hosts import Host
from media_assets.media.questions import AskAudio, AskImage
from media_assets.orders import Order
from media_assets.pricing import estimate, to_micro_usd
from media_assets.prompt import Step
from media_assets.purchase import Purchasing
from media_assets.recovery.janitor import Cleared, Janitor
from media_assets.settings import load_settings
from media_assets.studio import Studio, open_studio
from media_assets.threads import in_thread
from media_assets_tests.conformance.our_requests import SCRIPT, drafted
from media_assets_tests.making import TODAY
from media_assets_tests.simulated import FAST

BUY = f"{__name__}:buy_in_child"
CLEAN = f"{__name__}:clean_in_child"
"""What a ``Child`` calls."""


def buy_in_child(
    home: str,
    environment: Mapping[str, str],
    model: str,
    *,
    take: int = 0,
    times: int = 1,
    deadlines: Mapping[str, float] = MappingProxyType({}),
    host: str = "",
    cuts_off_others: bool = False,
) -> list[dict[str, Any]]:
    """In a child: buy the same picture or voice from a simulator so many times; return what came of each.

    SIGTERM and SIGINT are handled as the command does; what comes of it says that one came, and is the last.

    Args:
        home: The folder of state.
        environment: What sends it to the simulator.
        model: Which model of the catalog.
        take: Another number is another purchase, with another text.
        times: How often it is bought.
        deadlines: Changes to the model's.
        host: Which machine this is, if not the one it is.
        cuts_off_others: Whether all other connections to the ledger's Postgres are ended first.
    """
    os.environ.update({**FAST, **environment})
    spec = load_catalog().get(model).model_copy(update=dict(deadlines))
    options = load_settings().studio_options()
    if host:
        options = replace(options, ownership=replace(options.ownership, host=Host(host, host)))
    if cuts_off_others:
        _cut_off_others(Path(home), options.ledger_url)
    bought: list[dict[str, Any]] = []
    INTERRUPTS.install()
    try:
        with open_studio(Path(home), options, today=lambda: TODAY) as studio:
            for _ in range(times):
                bought.append(_buy(studio, _order(spec, take)))  # noqa: PERF401 - what came before an interrupt counts
    except Interrupted as stop:
        bought.append({"class": "Interrupted", "exit_code": stop.exit_code, "interrupted": True})
    return bought


def _cut_off_others(home: Path, url: str | None) -> None:
    engine = sa.create_engine(ledger_url(url, home), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def clean_in_child(home: str, environment: Mapping[str, str]) -> dict[str, str]:
    """In a child: let a janitor loose on a home; return what came of each purchase, by request key."""
    os.environ.update({**FAST, **environment})
    cleared: list[Cleared] = []
    with open_studio(Path(home), load_settings().studio_options(), today=lambda: TODAY) as studio:
        rows = studio.ledger.purchases.unfinished()
        asyncio.run(Janitor(studio).clear(rows, cleared.append))
    return {one.row.request_key: str(one.outcome) for one in cleared}


def _buy(studio: Studio, order: Order) -> dict[str, Any]:
    amounts = {order.spec.step: to_micro_usd(order.estimate_usd)}
    caps = [Cap("prompt:child", 1_000_000, "cap")]
    prompts = studio.ledger.prompts
    stops: list[bool] = []

    async def reserve() -> None:
        await in_thread(prompts.reserve_again, order.plan_id, Need(amounts), caps)

    prompts.open_plan(order.plan_id, "child", amounts=amounts, caps=caps)
    try:
        buying = Purchasing(studio.ledger, studio.store, studio.transport).buy(replace(order, reserve=reserve))
        bought = INTERRUPTS.run(buying, on_stop=stops.append)
    except MediaAssetsError as error:
        told = {**error.as_dict(), "prediction_id": getattr(error, "prediction_id", None)}
    else:
        told = {"sha256": bought.artifact.sha256, "spent": str(bought.spent_usd), "cost": str(bought.cost_usd)}
    finally:
        prompts.close_plan(order.plan_id)
    return {**told, "interrupted": bool(stops)}


def _order(spec: ModelSpec, take: int) -> Order:
    request = drafted(spec).request
    text = spec.roles.get("script") or spec.roles["prompt"]
    # A text of its own: an account's list does not show takes.
    request = replace(request, take=take, params={**request.params, text: f"{request.params[text]} {take}"})
    return Order(
        request=request,
        spec=spec,
        prompt_key="child",
        plan_id=secrets.token_hex(8),
        estimate_usd=estimate(spec, request, today=TODAY).max_usd,
        inputs={},
        question=AskAudio(text=SCRIPT) if spec.step is Step.AUDIO else AskImage(requested_size_px=None),
        today=TODAY,
    )
