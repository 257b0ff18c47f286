"""What a person decides of a purchase that no program may decide on: each decision is one transaction, and recorded."""

import json
from typing import Any

import sqlalchemy as sa

from media_assets.errors import ConfigurationError
from media_assets.ledger import budgets
from media_assets.ledger.claims import known_of
from media_assets.ledger.clock import utc_now
from media_assets.ledger.database import Database
from media_assets.ledger.ownership import Owner
from media_assets.ledger.rows import (
    NOBODY,
    PurchaseRow,
    PurchaseState,
    close_interest,
    find_row,
    is_taken,
    raise_fence,
)
from media_assets.ledger.schema import attempt, decision, purchase
from media_assets.prediction import Prediction

ACCEPT = "accept"
"""The decision that a file is fine."""

ACCEPTED = "accepted by a person, though "
"""How the note begins that it leaves on the purchase. Who that was is not in it: a gallery shows notes to everybody."""

POLICY = "resubmit_if_cheap"
"""Who decided, where it was the policy that a person had set."""


class Decisions:
    """Ends what is undecided, on a person's word."""

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner

    def adopt(self, row: PurchaseRow, prediction: Prediction, *, who: str) -> None:
        """Record that a purchase of unknown outcome became ``prediction``; the next run goes on with it, free.

        Raises:
            ConfigurationError: It is not undecided, or the prediction is another purchase's; nothing was changed.
        """
        with self._database.write() as connection:
            now = self._undecided(connection, row)
            if is_taken(connection, row.request_key, prediction.id):
                message = f"prediction {prediction.id} is recorded for another purchase; nothing was changed."
                raise ConfigurationError(message)
            values = {"state": PurchaseState.SUBMITTED, "error": None, **known_of(prediction)}
            self._decide(connection, now, "adopt", values, who=who, prediction_id=prediction.id)
            self._close_attempt(connection, now, "accepted", prediction_id=prediction.id)

    def resubmit(self, row: PurchaseRow, *, who: str) -> None:
        """Record that a submission was never accepted, so that the next run submits again. **It may cost money** twice.

        Raises:
            ConfigurationError: It is not undecided, or was accepted, as its prediction shows; nothing was changed.
        """
        with self._database.write() as connection:
            now = self._undecided(connection, row)
            if now.prediction_id is not None:
                raise _accepted(now)
            budgets.settle(connection, request_key=row.request_key, cost_micro_usd=0)
            self._decide(connection, now, "resubmit", {"state": PurchaseState.CANCELED, "error": None}, who=who)
            self._close_attempt(connection, now, "unsent")
            close_interest(connection, row.request_key)

    def resubmit_once(self, request_key: str) -> bool:
        """Record that a policy has a submission of unknown outcome sent once more. **It may cost money** twice.

        The first one counts as billed at its worst case: nobody will ever know less than that.

        Returns:
            Whether the purchase may be claimed again; False where it is undecided, and was sent once more before.
        """
        with self._database.write() as connection:
            now = find_row(connection, request_key)
            if now is None or now.state is not PurchaseState.UNKNOWN or self._owner.is_alive(now.owner):
                return True  # somebody was faster: how it stands now is for the claim to see
            by_policy = sa.select(decision.c.n).filter_by(request_key=request_key, who=POLICY)
            if connection.execute(by_policy).first() is not None:
                return False
            cost = now.estimate_micro_usd
            budgets.settle(connection, request_key=request_key, cost_micro_usd=cost)
            values = {
                "state": PurchaseState.CANCELED,
                "cost_micro_usd": sa.func.coalesce(purchase.c.cost_micro_usd, 0) + cost,
            }
            self._decide(connection, now, "resubmit", values, who=POLICY, cost_micro_usd=cost)
            close_interest(connection, request_key)
        return True

    def write_off(self, row: PurchaseRow, *, cost_micro_usd: int | None = None, who: str) -> int:
        """Record that a submission was billed and its output is not to be had; return what that cost, in micro-USD.

        Args:
            row: The purchase.
            cost_micro_usd: What the provider charged. None: the worst case that was reserved.
            who: For people.

        Raises:
            ConfigurationError: It is not undecided; nothing was changed.
        """
        with self._database.write() as connection:
            now = self._undecided(connection, row)
            cost = now.estimate_micro_usd if cost_micro_usd is None else cost_micro_usd
            budgets.settle(connection, request_key=row.request_key, cost_micro_usd=cost)
            values = {
                "state": PurchaseState.FAILED_PAID,
                "cost_micro_usd": sa.func.coalesce(purchase.c.cost_micro_usd, 0) + cost,
            }
            self._decide(connection, now, "write-off", values, who=who, cost_micro_usd=cost)
            close_interest(connection, row.request_key)
        return cost

    def accept(self, row: PurchaseRow, *, who: str) -> None:
        """Record that a paid file that was judged not good enough is fine.

        Raises:
            ConfigurationError: There is no such file; nothing was changed.
        """
        with self._database.write() as connection:
            now = self._found(connection, row)
            if now.state not in {PurchaseState.FAILED_PAID, PurchaseState.FAILED_FREE} or now.artifact is None:
                message = (
                    f"purchase {row.request_key[:12]} is {now.state}: only a file that was bought and judged not good "
                    "enough can be accepted. Nothing was changed."
                )
                raise ConfigurationError(message)
            # The error goes, and is what the next person wants to know of the file.
            note = f"{ACCEPTED}{(now.error or {}).get('message', 'it was judged not good enough.')}"
            notes = json.dumps([*now.notes, note], ensure_ascii=False)
            values = {"state": PurchaseState.SUCCEEDED, "error": None, "notes": notes}
            self._decide(connection, now, ACCEPT, values, who=who)

    def of(self, request_key: str) -> list[dict[str, Any]]:
        """Return what people decided of a purchase, in order."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(decision).filter_by(request_key=request_key).order_by(decision.c.n))
            return [dict(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it

    def _found(self, connection: sa.Connection, row: PurchaseRow) -> PurchaseRow:
        now = find_row(connection, row.request_key)
        if now is None:
            message = f"there is no purchase {row.request_key[:12]}."
            raise ConfigurationError(message)
        return now

    def _undecided(self, connection: sa.Connection, row: PurchaseRow) -> PurchaseRow:
        """Return the purchase as it stands, if its outcome is unknown and nobody is finding it out."""
        now = self._found(connection, row)
        may_be_sent = now.state in {PurchaseState.UNKNOWN, PurchaseState.SUBMITTING}
        if may_be_sent and self._owner.is_alive(now.owner):
            message = f"purchase {row.request_key[:12]} is being worked on just now; nothing was changed."
            raise ConfigurationError(message)
        if not may_be_sent:
            message = (
                f"purchase {row.request_key[:12]} is {now.state}, so there is nothing to decide; "
                "`media-assets ledger unknown` lists what is undecided. Nothing was changed."
            )
            raise ConfigurationError(message)
        return now

    def _decide(
        self,
        connection: sa.Connection,
        row: PurchaseRow,
        what: str,
        values: dict[str, Any],
        *,
        who: str,
        prediction_id: str | None = None,
        cost_micro_usd: int | None = None,
    ) -> None:
        raise_fence(connection, row, {**values, "owner": NOBODY, "updated_at": utc_now()})
        write_decision(connection, row, what, who=who, prediction_id=prediction_id, cost_micro_usd=cost_micro_usd)

    def _close_attempt(
        self, connection: sa.Connection, row: PurchaseRow, outcome: str, *, prediction_id: str | None = None
    ) -> None:
        newest = sa.select(sa.func.max(attempt.c.n)).filter_by(request_key=row.request_key).scalar_subquery()
        connection.execute(
            sa.update(attempt)
            .where(attempt.c.request_key == row.request_key, attempt.c.n == newest)
            .values(outcome=outcome, prediction_id=prediction_id)
        )


def _accepted(row: PurchaseRow) -> ConfigurationError:
    """Return the error for a purchase that is not to be counted as never billed."""
    key = row.request_key[:12]
    message = (
        f"purchase {key} was accepted as prediction {row.prediction_id}, so it may have been billed, whatever its "
        f"provider knows of it now. `media-assets ledger write-off {key}` counts it as billed (with `--cost-usd 0`, if "
        "the provider's site shows that it was not), and `generate --retry-failed` buys it anew then. If that id is "
        f"wrong: `media-assets ledger adopt {key} PREDICTION_ID` takes another in its place. Nothing was changed."
    )
    return ConfigurationError(message)


def write_decision(
    connection: sa.Connection,
    row: PurchaseRow,
    what: str,
    *,
    who: str,
    prediction_id: str | None = None,
    cost_micro_usd: int | None = None,
) -> None:
    """Record what a person decided of a purchase, behind what was decided before."""
    count = sa.select(sa.func.count()).select_from(decision).filter_by(request_key=row.request_key)
    connection.execute(
        sa.insert(decision).values(
            request_key=row.request_key,
            n=connection.execute(count).scalar_one() + 1,
            at=utc_now(),
            what=what,
            state_before=str(row.state),
            prediction_id=prediction_id,
            cost_micro_usd=cost_micro_usd,
            who=who,
        )
    )
