"""What purchases of unknown outcome may have become is pulled, of providers that can be asked, and nothing else."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.ledger import open_ledger
from media_assets.ledger.claims import Claim
from media_assets.prompt import Prompt
from media_assets.recovery.rescue import Rescued, open_rescue
from media_assets_tests.conformance.our_requests import drafted
from media_assets_tests.simulated import SMALL, Market, open_market, paid_prompt


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def test_what_two_purchases_may_have_become_is_pulled_and_a_strangers_is_not(market: Market, tmp_path: Path) -> None:
    """The replies to both were lost, and another home of the same account has bought the very same."""
    prompts = [_film_of(f"barn number {number}") for number in range(2)]
    elsewhere = replace(market, home=tmp_path / "elsewhere")
    for prompt in (*prompts, _film_of("a mill")):
        elsewhere.make(prompt)
    market.set_faults({"call": "submit", "fault": "exec_and_drop"})
    assert all(market.attempt(prompt, unknown_policy="hold").error is not None for prompt in prompts)
    market.set_faults()

    pulled: list[Rescued] = []
    options = market.settings.studio_options()
    with open_ledger(market.home) as ledger, open_rescue(market.home, options, ledger=ledger) as rescue:
        (looked,) = asyncio.run(rescue.pull_candidates(ledger, now=datetime.now(UTC), on_end=pulled.append))

    assert (len(looked.seen), looked.error, looked.unreadable) == (5, None, ())
    assert all(len(one.files) == 1 and one.files[0].is_file() for one in pulled)
    commands = [command for one in pulled for command in one.seen.ways_to_adopt()]
    assert len(commands) == len(set(commands)) == 4
    assert all(one.seen.adopt_id in command for one in pulled for command in one.seen.ways_to_adopt())


def _film_of(what: str) -> Prompt:
    routes = {"image": ["replicate:flux-schnell"], "video": ["local:ken-burns"]}
    return paid_prompt(key=what.replace(" ", "-"), prompt=what, script=None, routes=routes, **SMALL)


@pytest.mark.parametrize(("model", "keys"), [("openai:gpt-image-2", None), ("replicate:sdxl", {})])
def test_candidates_are_looked_for_where_a_list_can_be_had(
    market: Market, model: str, keys: dict[str, str] | None
) -> None:
    """Not at a provider that keeps none, nor without its key: nobody is asked."""
    spec = load_catalog().get(model)
    with open_ledger(market.home) as ledger:
        claim = ledger.purchases.claim(
            drafted(spec).request, recovery=spec.recovery, prompt_key="a", plan_id="a", estimate_micro_usd=0
        )
        assert isinstance(claim, Claim)
        ledger.purchases.write_intent(claim)
    transport = replace(market.settings.transport_options(), keys=market.settings.keys() if keys is None else keys)
    options = replace(market.settings.studio_options(), transport=transport)

    with open_ledger(market.home) as ledger, open_rescue(market.home, options, ledger=ledger) as rescue:
        looking = rescue.pull_candidates(ledger, now=datetime.now(UTC), on_end=lambda _one: None)
        assert asyncio.run(looking) == []

    assert market.requests() == 0
