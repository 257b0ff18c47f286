"""When an open purchase may be taken from whoever had it, and whether a write stands whose confirmation was lost."""

import contextlib
from collections.abc import Iterator
from typing import TypeVar

import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.database import Proof
from media_assets.ledger.database_time import seconds_until
from media_assets.ledger.ownership import Life, Owner
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.ledger.schema import attempt, purchase

LONGEST_POST_S = 300.0
"""The longest that any model of the catalog is given for its submission; for attempts that do not say."""

T = TypeVar("T", bound=Claim | Busy)


def busy_with(connection: sa.Connection, owner: Owner, row: PurchaseRow) -> Busy | None:
    """Return why ``owner`` has to leave an open purchase alone; None when it may take it.

    What is reserved, submitted or done can be taken over as soon as its owner is dead: whatever that still does, its
    fence is stale. What it may be sending cannot be fenced, so it is left alone for longer, unless it is certain that
    the owner has ended.
    """
    if row.owner == owner.id:
        return Busy() if owner.holds(row.request_key) else None
    standing = owner.standing(row.owner)
    if standing.life is Life.ALIVE:
        return Busy()
    if standing.life is Life.SILENT:
        return Busy("the process that has it, on another host, does not answer", standing.wait_s)
    may_be_sending = row.state is PurchaseState.SUBMITTING and row.recovery is not Recovery.FREE
    if standing.life is Life.LAPSED and may_be_sending:
        left_s = _send_until_s(connection, row.request_key) + owner.quarantine_s
        if left_s > 0:
            return Busy("a process on another host died, or is frozen, just when it was to send it", left_s)
    return None


def _send_until_s(connection: sa.Connection, request_key: str) -> float:
    """Return how many seconds are left until the last submission can no longer begin; negative after that."""
    within_s = sa.func.coalesce(attempt.c.post_deadline_s, LONGEST_POST_S)
    left_s = sa.select(seconds_until(attempt.c.intent_at) + within_s).where(attempt.c.request_key == request_key)
    return connection.execute(left_s.order_by(attempt.c.n.desc()).limit(1)).scalar() or 0.0


class Taken:
    """A claim while it is made: kept from others of this process, and let go of if it comes to nothing."""

    def __init__(self, owner: Owner, request_key: str) -> None:
        self._owner = owner
        self._request_key = request_key
        self._entered = False
        self._claim: Claim | None = None

    def enter(self) -> bool:
        """Keep the purchase from the other coroutines of this process; False when one of them has it."""
        self._entered = self._owner.enter(self._request_key)
        return self._entered

    def note(self, made: T) -> T:
        """Take note of what is about to be committed."""
        self._claim = made if isinstance(made, Claim) else None
        return made

    def stands(self, connection: sa.Connection) -> bool:
        """Whether the claim was committed, in case that nobody confirmed it; only this process can have made it."""
        if self._claim is None:
            return True  # nothing was to be written
        mine = sa.select(purchase.c.fence).filter_by(
            request_key=self._request_key, fence=self._claim.fence, owner=self._owner.id
        )
        return connection.execute(mine).first() is not None

    @contextlib.contextmanager
    def or_left(self) -> Iterator[None]:
        """Let go again of what did not become a claim."""
        try:
            yield
        except BaseException:
            self._claim = None
            raise
        finally:
            if self._entered and self._claim is None:
                self._owner.leave(self._request_key)


def intent_stands(token: str) -> Proof:
    """Return what tells whether an intent was committed."""
    return lambda connection: connection.execute(sa.select(attempt.c.n).filter_by(token=token)).first() is not None


def attempt_closed(token: str) -> Proof:
    """Return what tells whether the outcome of an attempt was committed."""
    closed = sa.select(attempt.c.n).where(attempt.c.token == token, attempt.c.outcome.is_not(None))
    return lambda connection: connection.execute(closed).first() is not None
