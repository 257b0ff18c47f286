"""What the ledger knows of arrivals: the rows that are handed in, each read once, and what is pinned already."""

from datetime import UTC, datetime

import sqlalchemy as sa

from media_assets.ledger import Ledger
from media_assets.ledger.inbox import HandedIn
from media_assets.ledger.pins import Arrival
from media_assets.ledger.schema import inbox
from media_assets_tests.making import cheap_prompt


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


def test_what_is_known_is_told_beside_what_is_given(ledger: Ledger) -> None:
    """Who reads a file again has to write what differs alone; what never came through the inbox differs as well."""
    same, other, made, new = (cheap_prompt(key=key) for key in ("a", "b", "c", "d"))
    ledger.prompts.pin([same, other], source="film.yaml", arrival=Arrival())
    ledger.prompts.pin([made], source="film.yaml")

    known = ledger.prompts.known([same, cheap_prompt(key="b", script="New."), made, new], Arrival())

    assert {key: (one.source, one.is_same) for key, one in known.items()} == {
        "a": ("film.yaml", True),
        "b": ("film.yaml", False),
        "c": ("film.yaml", False),
    }
    assert not ledger.prompts.known([same], Arrival(priority=1))["a"].is_same
    assert ledger.prompts.newest_arrival() == 2
