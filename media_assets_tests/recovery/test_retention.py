"""What was paid for is kept, and deleted by a person's rule alone; nothing is bought again because of that."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import MediaAssetsError, OutputLostError
from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import prompt
from media_assets.prompt import Step
from media_assets_tests.making import OWN_ROUTES, SILENCE_IS_BAD, Shop, cheap_prompt, make, own_model
from media_assets_tests.recovery.keeping import garbage, lasting, names, rows_without_file

_PAID = tuple(own_model(name, recovery=Recovery.NONE, usd="0.01") for name in ("landscape", "ken-burns", "silence"))


@pytest.fixture
def shop(home: Path) -> Iterator[Shop]:
    with open_ledger(home) as ledger:
        yield Shop(home, ledger)


def _paid_film(home: Path, **changes: Any) -> None:
    make(home, cheap_prompt(routes=OWN_ROUTES, **changes), models=_PAID)


def test_a_bad_paid_file_is_kept_when_a_retry_brought_a_good_one(shop: Shop) -> None:
    """Both were paid for; which one a person wants to hear again, nobody knows."""
    with pytest.raises(MediaAssetsError):
        shop.buy(paid=True, question=SILENCE_IS_BAD)
    assert shop.row.artifact is not None
    bad = shop.row.artifact

    Shop(shop.home, shop.ledger, lasting(1.5)).buy(paid=True, retry_failed=True)

    assert shop.row.artifact not in {None, bad}
    assert names(garbage(shop.ledger, shop.home, days=1000).collect()) == []
    assert shop.store.verify(bad)


def test_the_rule_looks_once_more_before_it_deletes(shop: Shop) -> None:
    """Two collectors, or a new pin, between the look and the deletion."""
    shop.buy(paid=True)
    moment = datetime.now(UTC) + timedelta(days=2)
    (row,) = shop.ledger.garbage.paid_before(moment)
    condemned: list[str] = []

    def give_up() -> bool:
        return shop.ledger.garbage.give_up(
            row, moment, days=1, who="me", condemn=lambda made: condemned.append(made.sha256)
        )

    assert (give_up(), give_up()) == (True, False)
    assert condemned == [row.artifact.sha256 if row.artifact else ""]
    assert len(shop.ledger.decisions.of(row.request_key)) == 1


def test_the_rule_leaves_a_failure_what_it_is(shop: Shop) -> None:
    """It was paid for and not good enough, with or without its file."""
    with pytest.raises(MediaAssetsError):
        shop.buy(paid=True, question=SILENCE_IS_BAD)

    assert len(garbage(shop.ledger, shop.home, days=2, paid_days=1).collect().paid) == 1

    assert (shop.row.state, shop.row.artifact) == (PurchaseState.FAILED_PAID, None)
    assert shop.row.error is not None
    assert shop.row.error["class"] == "JudgeError"


def test_what_a_pin_of_another_version_needs_nobody_can_tell(home: Path) -> None:
    """So nothing that it may be made of is deleted."""
    _paid_film(home)
    with open_ledger(home) as ledger:
        with ledger.database.write() as connection:
            connection.execute(sa.update(prompt).values(body='{"from": "the future"}'))
        assert garbage(ledger, home, days=400, paid_days=365).collect().paid == []


def test_a_rule_deletes_paid_files_that_no_pinned_prompt_is_made_of(home: Path) -> None:
    """Old takes go, on a person's word; they are neither bought again by themselves nor taken for never bought."""
    _paid_film(home)
    with open_ledger(home) as ledger:
        assert garbage(ledger, home, days=400, paid_days=365).collect().paid == []
        old = {Step(row.step): row for row in ledger.purchases.search()}
    _paid_film(home, take=1)

    with open_ledger(home) as ledger:
        told = garbage(ledger, home, days=400, paid_days=365).look()
        early = garbage(ledger, home, days=300, paid_days=365, who="me").collect()
        done = garbage(ledger, home, days=400, paid_days=365, who="me").collect()
        again = garbage(ledger, home, days=400, paid_days=365, who="me").collect()
        rows = ledger.purchases.get_many([row.request_key for row in old.values()])
        decided = ledger.decisions.of(old[Step.IMAGE].request_key)

    assert early.paid == []
    assert {row.request_key for row in done.paid} == {row.request_key for row in told.paid}
    assert {row.step for row in done.paid} == {"image", "video", "audio"}
    assert len(names(done)) == 2, "the silences are equal, and the pinned film needs one"
    assert (again.paid, names(again)) == ([], [])
    image = rows[old[Step.IMAGE].request_key]
    assert (image.state, image.cost_micro_usd, image.artifact) == (PurchaseState.LOST_OUTPUT, 10_000, None)
    assert [(one["what"], one["who"], one["state_before"]) for one in decided] == [("delete", "me", "SUCCEEDED")]
    assert rows_without_file(home) == []
    with pytest.raises(OutputLostError, match="delete-paid-older-than 365"):
        _paid_film(home, take=0)
