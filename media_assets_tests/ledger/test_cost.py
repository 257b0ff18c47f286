"""What a purchase costs the ledger: counted, never timed. ``./dev bench ledger`` measures the rest."""

from pathlib import Path

from media_assets.ledger import open_ledger
from media_assets_tests.ledger.metering import metering
from media_assets_tests.ledger.racing import day_of
from media_assets_tests.making import Shop
from media_assets_tests.web_shop import open_queue_shop

_MOST_COMMITS = 12
"""Each waits for the disk."""


def test_a_paid_purchase_takes_few_commits_and_statements(tmp_path: Path) -> None:
    """Every one of them stands between two effects; one more for each word of the provider's would not."""
    with open_queue_shop(tmp_path) as shop:
        shop.buy(take=1)  # the first purchase of a provider adds rows that the others find

        with metering(shop.ledger) as metered:
            shop.buy()

    commits = {name: cost.commits for name, cost in metered.by_name.items() if cost.commits}
    assert commits == {
        "open_plan": 1,
        "claim": 1,
        "write_intent": 1,
        "write_submitted": 1,
        "write_remote": 1,
        "write_done": 1,
        "write_stored": 1,
        "close_plan": 1,
    }
    assert metered.total.commits <= _MOST_COMMITS
    assert metered.total.statements <= 35, metered.by_name


def test_a_purchase_that_is_found_takes_three_commits(tmp_path: Path) -> None:
    """Its plan, a look, and the end of the plan: what a rerun of a night's work consists of."""
    with open_ledger(tmp_path) as ledger:
        shop = Shop(tmp_path, ledger, caps=day_of(10**12))
        shop.buy()

        with metering(ledger) as metered:
            assert shop.buy().cached

    assert (metered.total.commits, metered.total.statements <= 6) == (3, True), metered.by_name
