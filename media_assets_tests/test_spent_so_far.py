"""What a run that is stopped has spent: by the ledger, and by this run alone."""

import asyncio
from pathlib import Path

from media_assets.errors import JudgeError
from media_assets.spent_so_far import SpentSoFar
from media_assets.studio import MakeOptions
from media_assets_tests.simulated import open_market, paid_prompt


def test_only_what_this_run_has_settled_since_it_began_counts(tmp_path: Path) -> None:
    """Not what an earlier run has paid for the same purchase, and not what another process pays meanwhile."""
    prompt = paid_prompt()
    faults = [{"provider": "elevenlabs", "fault": "silent_output", "times": 1}]
    with open_market(tmp_path / "state", faults=faults) as market:
        with market.studio() as studio, market.studio() as bystander:
            begun, beside = (
                SpentSoFar.since_now(studio.ledger, ["paid"]),
                SpentSoFar.since_now(bystander.ledger, ["paid"]),
            )
            assert isinstance(market.attempt(prompt).error, JudgeError)
            first_usd = market.bill_usd()
            assert begun.on(["paid"]) == beside.on(["paid"]) == 0, "a third process has bought it"

        with market.studio() as studio, market.studio() as bystander:
            begun, beside = (
                SpentSoFar.since_now(studio.ledger, ["paid"]),
                SpentSoFar.since_now(bystander.ledger, ["paid"]),
            )
            film = asyncio.run(studio.attempt(prompt, options=MakeOptions(retry_failed=True)))
            spent_usd = market.bill_usd() - first_usd
            assert film.error is None
            assert begun.on(["paid"]) == film.spent_usd == spent_usd > 0
            assert begun.on(["another"]) == beside.on(["paid"]) == 0
            assert SpentSoFar.since_now(studio.ledger, ["paid"]).on(["paid"]) == 0
