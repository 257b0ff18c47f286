"""Purchases of other days, written into a ledger as the protocol leaves them: no test can wait for a day to pass."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from media_assets.ledger import Ledger
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import attempt, decision, prompt, purchase, reservation, step

SUCCEEDED, FAILED_FREE, FAILED_PAID = PurchaseState.SUCCEEDED, PurchaseState.FAILED_FREE, PurchaseState.FAILED_PAID
LOST_OUTPUT, UNKNOWN, CANCELED = PurchaseState.LOST_OUTPUT, PurchaseState.UNKNOWN, PurchaseState.CANCELED
FLUX, KLING = "fal:flux-schnell", "fal:kling-v2.5-turbo"


class History:
    """Writes rows; every purchase has a number, which is its request key."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._number = 0

    def bought(
        self,
        day: str,
        *,
        state: PurchaseState = SUCCEEDED,
        cost_usd: str | None = None,
        quote_usd: str = "0.5",
        model: str = FLUX,
        of_step: str = "image",
        submitted: Iterable[str] | None = None,
        outcome: str = "accepted",
        replied_after_s: float = 1.0,
        took_s: float | None = None,
    ) -> str:
        """Add a purchase that was asked for on a day, and submitted then or at these times; return its key."""
        self._number += 1
        key = f"{self._number:064}"
        sent = [_moment(at) for at in ([day] if submitted is None else submitted)]
        created = _moment(day).isoformat(timespec="microseconds")
        self._add(
            purchase,
            request_key=key,
            prompt_key="barn",
            step=of_step,
            provider=model.partition(":")[0],
            account="",
            model=model,
            canon_json="{}",
            take=0,
            recovery="B",
            state=state,
            fence=1,
            owner="",
            attempts=len(sent),
            estimate_micro_usd=_micro(quote_usd),
            cost_micro_usd=None if cost_usd is None else _micro(cost_usd),
            duration_s=took_s,
            created_at=created,
            updated_at=created,
        )
        for n, at in enumerate(sent, start=1):
            replied_at = (at + timedelta(seconds=replied_after_s)).isoformat(timespec="microseconds")
            times = {"intent_at": at.isoformat(timespec="microseconds"), "replied_at": replied_at}
            self._add(attempt, request_key=key, n=n, token=f"{key[-20:]}-{n}", owner="", outcome=outcome, **times)
        return key

    def held(self, key: str, usd: str, *scopes: str) -> None:
        """Reserve for a purchase under some scopes."""
        for scope in scopes:
            amount = {"scope": scope, "amount_micro_usd": _micro(usd), "request_key": key}
            self._add(reservation, plan_id=key[-32:], step="image", **amount)

    def used(self, key: str, day: str, *, by: str = "barn", version: str = "1", degraded: bool = False) -> None:
        """Finish a step with a purchase."""
        with self._ledger.database.read() as connection:
            made = connection.execute(sa.select(purchase).where(purchase.c.request_key == key)).one()
        what = {"prompt_key": by, "digest": version, "step": made.step, "request_key": key, "model": made.model}
        what |= {"sha256": key, "params": "{}", "inputs": "{}", "degraded": degraded}
        self._add(step, created_at=_moment(day).isoformat(timespec="microseconds"), **what)

    def decided(self, key: str, day: str, what: str, *, cost_usd: str | None = None, who: str = "ada") -> None:
        """Decide of a purchase."""
        cost = None if cost_usd is None else _micro(cost_usd)
        at = _moment(day).isoformat(timespec="microseconds")
        self._add(
            decision, request_key=key, n=1, at=at, what=what, state_before="UNKNOWN", cost_micro_usd=cost, who=who
        )

    def pinned(self, key: str, status: str, *, error: str | None = None) -> None:
        """Pin a prompt that stands so."""
        told = None if error is None else json.dumps({"class": error})
        digests = {"digest": "1", "source_digest": "1", "source": "test", "body": "{}", "updated_at": ""}
        self._add(prompt, key=key, status=status, error=told, pin_seq=1, priority=0, **digests)

    def _add(self, table: sa.Table, **values: Any) -> None:
        with self._ledger.database.write() as connection:
            connection.execute(sa.insert(table).values(values))


def _moment(text: str) -> datetime:
    """Return ``2026-11-20`` as its noon, and ``2026-11-20T23:59:59`` as it is."""
    whole = text if "T" in text else f"{text}T12:00:00"
    return datetime.fromisoformat(f"{whole}+00:00")


def _micro(usd: str) -> int:
    return int(Decimal(usd) * 1_000_000)
