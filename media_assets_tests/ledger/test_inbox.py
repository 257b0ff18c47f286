"""The inbox table: what other programs hand in is read in order, each row once, and what became of it is kept."""

from datetime import UTC, datetime

import sqlalchemy as sa

from media_assets.ledger import Ledger
from media_assets.ledger.inbox import HandedIn
from media_assets.ledger.schema import inbox


def test_what_is_handed_in_is_read_in_order_until_it_is_marked(ledger: Ledger) -> None:
    """A row that is marked for another would be pinned twice, or never."""
    table = ledger.inbox
    numbers = [table.hand_in("one"), table.hand_in("two", priority=3, source="shop"), table.hand_in("three")]
    before = datetime.now(UTC)
    assert numbers == sorted(set(numbers))
    assert table.unread(most=2) == [
        HandedIn(n=numbers[0], body="one", priority=0, source=None),
        HandedIn(n=numbers[1], body="two", priority=3, source="shop"),
    ]

    table.mark_read(numbers[1], prompt_key=None, error="no prompt")
    table.mark_read(numbers[0], prompt_key="barn")

    assert [one.body for one in table.unread(most=9)] == ["three"]
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(inbox).order_by(inbox.c.n)).all()
    assert [(row.prompt_key, row.error) for row in rows] == [("barn", None), (None, "no prompt"), (None, None)]
    assert [datetime.fromisoformat(row.read_at) >= before for row in rows[:2]] == [True, True]
