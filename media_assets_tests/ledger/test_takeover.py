"""When a purchase is left to whoever has it, in this process or another, and whether a write is known to stand."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.errors import ProviderUnavailableError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.schema import attempt, interest
from media_assets.ledger.takeover import Taken, _send_until_s, attempt_closed, intent_stands
from media_assets_tests.ledger.far_host import REQUEST, claim, owned_by


@pytest.fixture
def other(tmp_path: Path, ledger: Ledger) -> Iterator[Ledger]:
    """Open the same ledger as another process would."""
    with open_ledger(tmp_path) as other:
        yield other


def _claimed(ledger: Ledger, take: int = 0) -> Claim:
    claimed = claim(ledger, take=take)
    assert isinstance(claimed, Claim)
    return claimed


def _ask_for(ledger: Ledger, plan_id: str) -> object:
    return ledger.purchases.claim(
        REQUEST, recovery=Recovery.NONE, prompt_key="b", plan_id=plan_id, estimate_micro_usd=1
    )


def test_whoever_finds_it_taken_waits_for_it_and_takes_nothing_away(ledger: Ledger, other: Ledger) -> None:
    """That another plan wants it has to be known to whoever has it, or it would call the purchase back."""
    claimed = _claimed(ledger)

    assert _ask_for(ledger, "here") == Busy()
    assert _ask_for(other, "there") == Busy()

    assert ledger.owner.holds(REQUEST.key)
    assert not other.owner.holds(REQUEST.key)
    with ledger.database.read() as connection:
        waiting = connection.execute(sa.select(interest.c.plan_id).order_by(interest.c.plan_id)).scalars().all()
    assert waiting == ["here", "p", "there"]
    ledger.purchases.leave(claimed)
    assert isinstance(_ask_for(other, "there"), Busy), "its process lives"
    assert isinstance(_ask_for(ledger, "here"), Claim)


def test_what_was_handed_over_is_anybodys_and_what_was_finished_stays_as_it_is(ledger: Ledger, other: Ledger) -> None:
    first, second = _claimed(ledger, 0), _claimed(ledger, 1)
    ledger.purchases.write_failed(second, None, ProviderUnavailableError("no"), outcome="failed")
    for one in (first, second):
        ledger.purchases.hand_over(one)
        ledger.purchases.leave(one)

    row = ledger.purchases.get(second.request_key)
    assert row is not None
    assert row.owner == ledger.owner.id
    taken = _ask_for(other, "there")
    assert isinstance(taken, Claim)
    assert taken.fence == 2
    assert other.owner.holds(REQUEST.key)


def test_a_claim_stands_under_its_fence_and_its_owner_alone(ledger: Ledger, other: Ledger) -> None:
    """Another process may have claimed it under the very fence that ours would have had."""
    claimed = _claimed(ledger)
    _claimed(ledger, 1)
    cases = [
        (ledger, REQUEST.key, claimed, True),
        (ledger, REQUEST.key, replace(claimed, fence=2), False),
        (ledger, "0" * 64, claimed, False),
        (other, REQUEST.key, claimed, False),
    ]
    with ledger.database.read() as connection:
        for whose, key, made, stands in cases:
            taken = Taken(whose.owner, key)
            assert taken.stands(connection), "nothing was to be written"
            assert taken.note(made) is made
            assert taken.stands(connection) is stands
            taken.note(Busy())
            assert taken.stands(connection)


def test_how_long_a_call_may_still_leave_is_told_of_its_own_purchase(migrated: str, tmp_path: Path) -> None:
    """And of its newest attempt: another purchase's older ones would have it taken over too early."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=60)) as ledger:
        claimed, another = _claimed(ledger), _claimed(ledger, 1)
        for one in (claimed, another):
            ledger.purchases.write_intent(one, within_s=50)
        with ledger.database.write() as connection:
            older = sa.update(attempt).where(attempt.c.request_key == another.request_key)
            connection.execute(older.values(n=9, intent_at="2026-01-01T00:00:00.000000+00:00"))
        with ledger.database.read() as connection:
            assert 0 < _send_until_s(connection, claimed.request_key) <= 50
            assert _send_until_s(connection, another.request_key) < 0
            assert not _send_until_s(connection, "0" * 64)


def test_an_intent_and_its_end_are_known_by_their_token(ledger: Ledger) -> None:
    claimed, another = _claimed(ledger), _claimed(ledger, 1)
    token, open_token = ledger.purchases.write_intent(claimed), ledger.purchases.write_intent(another)
    ledger.purchases.write_put_back(claimed, token, ProviderUnavailableError("no"), block_s=0)

    with ledger.database.read() as connection:
        assert [intent_stands(one)(connection) for one in (token, open_token, "none")] == [True, True, False]
        assert [attempt_closed(one)(connection) for one in (token, open_token, "none")] == [True, False, False]


def test_what_did_not_become_a_claim_is_let_go(ledger: Ledger) -> None:
    """Or this process would keep itself from it for as long as it lives."""
    taken = Taken(ledger.owner, REQUEST.key)

    def fail() -> None:
        with taken.or_left():
            assert taken.enter()
            taken.note(Claim(request_key=REQUEST.key, fence=1, found=None))
            message = "not committed"
            raise ValueError(message)

    with pytest.raises(ValueError, match="not committed"):
        fail()
    assert not ledger.owner.holds(REQUEST.key)
    with taken.or_left():
        assert taken.enter()
    assert not ledger.owner.holds(REQUEST.key)
    with taken.or_left():
        assert taken.enter()
        taken.note(Claim(request_key=REQUEST.key, fence=1, found=None))
    assert ledger.owner.holds(REQUEST.key)
