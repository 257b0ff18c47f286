"""What the ledger holds of a provider's predictions, to be compared with the provider's own bill."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from media_assets.catalog import Recovery
from media_assets.ledger.clock import as_written
from media_assets.ledger.database import Database
from media_assets.ledger.rows import NOBODY, WITH_OUTPUT, PurchaseRow, PurchaseState, as_row
from media_assets.ledger.schema import attempt, purchase

_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Bought:
    """A paid purchase, and when it was first submitted."""

    row: PurchaseRow
    first_intent_at: datetime


class Bills:
    """What can be asked of the purchase and attempt tables about a bill."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submitted_between(self, provider: str, since: datetime, until: datetime) -> list[str]:
        """Return the paid purchases of a provider that were submitted in a time, perhaps for another time."""
        period = (attempt.c.intent_at >= as_written(since), attempt.c.intent_at <= as_written(until))
        keys = (
            sa.select(purchase.c.request_key)
            .join(attempt, attempt.c.request_key == purchase.c.request_key)
            .where(purchase.c.provider == provider, purchase.c.recovery != Recovery.FREE, *period)
            .distinct()
        )
        with self._database.read() as connection:
            return list(connection.execute(keys.order_by(purchase.c.request_key)).scalars())

    def claimants(self, provider: str, prediction_ids: Collection[str]) -> dict[str, str]:
        """Return which purchase each of some predictions belongs to; those of no purchase are left out."""
        found: dict[str, str] = {}
        now = sa.select(purchase.c.prediction_id, purchase.c.request_key).where(purchase.c.provider == provider)
        before = (
            sa.select(attempt.c.prediction_id, attempt.c.request_key)
            .join(purchase, purchase.c.request_key == attempt.c.request_key)
            .where(purchase.c.provider == provider)
        )
        with self._database.read() as connection:
            for some in _chunks(prediction_ids):
                for which, column in ((before, attempt.c.prediction_id), (now, purchase.c.prediction_id)):
                    found |= {row[0]: row[1] for row in connection.execute(which.where(column.in_(some)))}
        return found

    def bought(self, request_keys: Collection[str]) -> dict[str, Bought]:
        """Return purchases by their keys; those that were never submitted are left out."""
        found: dict[str, Bought] = {}
        first = sa.select(attempt.c.request_key, sa.func.min(attempt.c.intent_at)).group_by(attempt.c.request_key)
        with self._database.read() as connection:
            for some in _chunks(request_keys):
                began = {row[0]: row[1] for row in connection.execute(first.where(attempt.c.request_key.in_(some)))}
                for row in connection.execute(WITH_OUTPUT.where(purchase.c.request_key.in_(began))):
                    at = datetime.fromisoformat(began[row.request_key])
                    found[row.request_key] = Bought(row=as_row(row), first_intent_at=at)
        return found

    def costs(self, prompt_keys: Collection[str], *, owner: str) -> dict[str, tuple[str, int]]:
        """Return the owner and the cost so far, in micro-USD, of purchases of some prompts, by request key.

        Left out are those that have cost nothing, and those that another owner has brought to a good end.

        Args:
            prompt_keys: Those that asked first.
            owner: A process, as the ledger names it.
        """
        has_cost = purchase.c.cost_micro_usd > 0
        may_grow = sa.or_(purchase.c.owner.in_([owner, NOBODY]), purchase.c.state != PurchaseState.SUCCEEDED)
        which = sa.select(purchase.c.request_key, purchase.c.owner, purchase.c.cost_micro_usd).where(has_cost, may_grow)
        found: dict[str, tuple[str, int]] = {}
        with self._database.read() as connection:
            for some in _chunks(prompt_keys):
                rows = connection.execute(which.where(purchase.c.prompt_key.in_(some)))
                found |= {row.request_key: (row.owner, row.cost_micro_usd) for row in rows}
        return found

    def endpoints(self, provider: str) -> set[str]:
        """Return whatever was ever asked of a provider, by its own names."""
        of_model = sa.select(sa.func.min(purchase.c.canon_json)).filter_by(provider=provider).group_by(purchase.c.model)
        with self._database.read() as connection:
            return {str(json.loads(text)["endpoint"]) for text in connection.execute(of_model).scalars()}


def _chunks(values: Collection[str]) -> Iterator[list[str]]:
    wanted = sorted(values)
    for start in range(0, len(wanted), _CHUNK):
        yield wanted[start : start + _CHUNK]
