"""A purchase as it stands in the ledger: its states, and its row. When it may change is in ``purchases.py``.

Statements of every purchase are written once, here and in the modules beside this, with parameters: to build and to
look up one anew takes SQLAlchemy several times as long as to run it (49 against 15 µs, measured 2026-11-30).
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from media_assets.artifact import Artifact, MediaInfo
from media_assets.catalog import Recovery
from media_assets.errors import Billed, MediaAssetsError, Rerun
from media_assets.ledger.clock import mark, utc_now
from media_assets.ledger.schema import artifact, attempt, interest, output, plan, purchase, step
from media_assets.prediction import Prediction, State
from media_assets.request import GenerationRequest


class PurchaseState(StrEnum):
    """Where a purchase stands."""

    RESERVED = "RESERVED"
    SUBMITTING = "SUBMITTING"
    SUBMITTED = "SUBMITTED"
    DONE = "DONE"
    SUCCEEDED = "SUCCEEDED"
    FAILED_FREE = "FAILED_FREE"
    FAILED_PAID = "FAILED_PAID"
    CANCELED = "CANCELED"
    UNKNOWN = "UNKNOWN"
    LOST_OUTPUT = "LOST_OUTPUT"

    @property
    def is_open(self) -> bool:
        """Whether somebody is, or should be, at work on it."""
        return self in OPEN


NOBODY = ""
"""The owner of an open purchase that nobody works on; it is no owner's name, so nobody of it is alive."""

OPEN = frozenset({PurchaseState.RESERVED, PurchaseState.SUBMITTING, PurchaseState.SUBMITTED, PurchaseState.DONE})
"""The states in which somebody is, or should be, at work on it."""
UNFINISHED = OPEN | {PurchaseState.UNKNOWN}
"""The states that somebody may still bring to an end."""


@dataclass(frozen=True, kw_only=True)
class PurchaseRow:
    """A purchase as it stands in the ledger."""

    request_key: str
    prompt_key: str
    step: str
    provider: str
    model: str
    take: int
    recovery: Recovery
    state: PurchaseState
    fence: int
    owner: str
    attempts: int
    estimate_micro_usd: int
    cost_micro_usd: int | None
    reported: dict[str, str]
    """What the provider says it used, in its own units."""
    price_from: str | None
    """Day of the price row that the cost was reckoned with."""
    prediction_id: str | None
    remote_state: str | None
    urls: dict[str, str]
    """Where to ask on about the prediction."""
    progress: float | None
    duration_s: float | None
    notes: tuple[str, ...]
    error: dict[str, str] | None
    canon_json: str
    created_at: str
    updated_at: str
    cancel_requested_at: str | None
    """When the last that wanted it asked to stop; None: nobody did, or somebody wants it again."""
    artifact: Artifact | None

    @property
    def prediction(self) -> Prediction | None:
        """The prediction that was submitted for it, as one to ask about; None where none is known."""
        if self.prediction_id is None:
            return None
        return Prediction(id=self.prediction_id, state=State.UNKNOWN, urls=self.urls)

    def request(self) -> GenerationRequest:
        """Return the request that was bought, with the parameters it was made with."""
        return GenerationRequest.from_canonical(json.loads(self.canon_json))


WITH_OUTPUT = (
    sa.select(purchase, artifact.c.sha256, artifact.c.info)
    .outerjoin(output, sa.and_(output.c.request_key == purchase.c.request_key, output.c.idx == 0))
    .outerjoin(artifact, artifact.c.sha256 == output.c.sha256)
)
"""Purchases with the artifact each of them has, if any."""


_FIND = WITH_OUTPUT.where(purchase.c.request_key == sa.bindparam("key"))


def find_row(connection: sa.Connection, request_key: str) -> PurchaseRow | None:
    """Return one purchase by its whole request key."""
    row = connection.execute(_FIND, {"key": request_key}).one_or_none()
    return None if row is None else as_row(row)


def as_row(row: sa.Row[Any]) -> PurchaseRow:
    """Read one row of ``WITH_OUTPUT``."""
    made = None
    if row.sha256 is not None:
        made = Artifact(sha256=row.sha256, info=MediaInfo.from_dict(json.loads(row.info)))
    return PurchaseRow(
        request_key=row.request_key,
        prompt_key=row.prompt_key,
        step=row.step,
        provider=row.provider,
        model=row.model,
        take=row.take,
        recovery=Recovery(row.recovery),
        state=PurchaseState(row.state),
        fence=row.fence,
        owner=row.owner,
        attempts=row.attempts,
        estimate_micro_usd=row.estimate_micro_usd,
        cost_micro_usd=row.cost_micro_usd,
        reported=json.loads(row.reported or "{}"),
        price_from=row.price_from,
        prediction_id=row.prediction_id,
        remote_state=row.remote_state,
        urls=json.loads(row.urls or "{}"),
        progress=row.progress,
        duration_s=row.duration_s,
        notes=tuple(json.loads(row.notes or "[]")),
        error=json.loads(row.error) if row.error else None,
        canon_json=row.canon_json,
        created_at=row.created_at,
        updated_at=row.updated_at,
        cancel_requested_at=row.cancel_requested_at,
        artifact=made,
    )


def reserved_rows(connection: sa.Connection) -> list[PurchaseRow]:
    """Return the purchases that were claimed, and for which nothing has been sent."""
    return [as_row(row) for row in connection.execute(WITH_OUTPUT.where(purchase.c.state == PurchaseState.RESERVED))]


def failed_before(row: PurchaseRow) -> PurchaseState:
    """Return the state of a claimed purchase before it was claimed, as far as it has to be as it was.

    A retry of a failed purchase keeps its error until something is sent.
    """
    if row.error is None:
        return PurchaseState.RESERVED
    was_paid = bool(row.cost_micro_usd) or row.error.get("billed") == Billed.YES
    return PurchaseState.FAILED_PAID if was_paid else PurchaseState.FAILED_FREE


_OF_THE_ACCOUNT = frozenset({"ConfigurationError", "InsufficientCreditError", "KeyRejectedError"})
"""Errors that say nothing of the request: once key or account are in order, a rerun submits it."""


def has_failed(state: PurchaseState) -> bool:
    """Whether a purchase has failed, free or paid."""
    return state in {PurchaseState.FAILED_FREE, PurchaseState.FAILED_PAID}


def may_have_passed(row: PurchaseRow) -> bool:
    """Whether what a purchase has failed of, free of charge, may be over."""
    error = row.error or {}
    return error.get("rerun") in {Rerun.RESUBMIT, Rerun.RESUME} or error.get("class") in _OF_THE_ACCOUNT


def may_be_taken(row: PurchaseRow, *, retry_failed: bool = False, remake: bool = False) -> bool:
    """Whether a purchase that has ended may be begun anew.

    Args:
        row: Which.
        retry_failed: Whether one that failed for good may.
        remake: Whether a free one that succeeded is to be made again, because its file is lost.
    """
    free = row.recovery is Recovery.FREE
    if row.state is PurchaseState.SUCCEEDED:
        return remake and free
    if row.state is PurchaseState.CANCELED or free:
        return True
    if row.state is PurchaseState.FAILED_FREE:
        return retry_failed or may_have_passed(row)
    return row.state is PurchaseState.FAILED_PAID and retry_failed


def has_failed_for_good(row: PurchaseRow) -> bool:
    """Whether a purchase is not tried again by itself, whoever asks for it."""
    has_ended = has_failed(row.state) or row.state is PurchaseState.LOST_OUTPUT
    return has_ended and not may_be_taken(row)


_INSERT = sa.insert(purchase)
_INSERT_ARTIFACT = sa.insert(artifact)


def insert_purchase(connection: sa.Connection, request: GenerationRequest, values: dict[str, Any]) -> int:
    """Add a purchase and return its first fence."""
    fence = 1
    what = {
        "request_key": request.key,
        "step": str(request.step),
        "provider": request.provider,
        "account": "",
        "model": request.model,
        "canon_json": request.canonical,
        "take": request.take,
    }
    connection.execute(_INSERT, {**what, "fence": fence, "attempts": 0, **values})
    return fence


def raise_fence(connection: sa.Connection, row: PurchaseRow, values: dict[str, Any]) -> int:
    """Return the new fence; ``row`` was read in this very transaction, and writers take turns."""
    fence: int = connection.execute(
        sa.update(purchase)
        .where(purchase.c.request_key == row.request_key, purchase.c.fence == row.fence)
        .values(fence=purchase.c.fence + 1, **values)
        .returning(purchase.c.fence)
    ).scalar_one()
    return fence


_mine = purchase.alias("mine")
_WHO_HAS = sa.select(purchase.c.request_key).where(
    _mine.c.request_key == sa.bindparam("key"),
    purchase.c.provider == _mine.c.provider,
    purchase.c.account == _mine.c.account,
    purchase.c.prediction_id == sa.bindparam("prediction"),
    purchase.c.request_key != _mine.c.request_key,
)


def is_taken(connection: sa.Connection, request_key: str, prediction_id: str) -> bool:
    """Whether another purchase of the same provider and account has this prediction."""
    return connection.execute(_WHO_HAS, {"key": request_key, "prediction": prediction_id}).first() is not None


def id_in(connection: sa.Connection, request_key: str, error: MediaAssetsError) -> dict[str, str]:
    """Return the id that an error names, as a purchase's column: all there is to look for at the provider."""
    named = getattr(error, "prediction_id", None)
    return {} if named is None or is_taken(connection, request_key, named) else {"prediction_id": named}


def has_output(connection: sa.Connection, request_key: str) -> bool:
    """Whether a file was ever recorded for a purchase."""
    return connection.execute(sa.select(output.c.idx).where(output.c.request_key == request_key)).first() is not None


_UNUSED_SINCE = sa.select(artifact.c.unused_since).where(artifact.c.sha256 == sa.bindparam("digest"))


def add_artifact(connection: sa.Connection, made: Artifact) -> None:
    """Record a file of the store, once for equal bytes."""
    known = connection.execute(_UNUSED_SINCE, {"digest": made.sha256}).first()
    if known is not None and known.unused_since is not None:
        connection.execute(sa.update(artifact).where(artifact.c.sha256 == made.sha256).values(unused_since=None))
    if known is None:
        what = {"size_bytes": made.info.size_bytes, "mime": made.info.mime, "info": json.dumps(made.info.as_dict())}
        connection.execute(_INSERT_ARTIFACT, {"sha256": made.sha256, "created_at": utc_now(), **what})


_OUTPUTS = sa.select(output.c.sha256).where(output.c.request_key == sa.bindparam("key")).order_by(output.c.idx)
_INSERT_OUTPUT = sa.insert(output)
_SET_STEP = sa.update(step).where(step.c.request_key == sa.bindparam("key"))


def set_output(connection: sa.Connection, request_key: str, made: Artifact) -> None:
    """Record which file a purchase brought, in place of an earlier one.

    An earlier one that was paid for stays on record, behind it: nothing that was paid for becomes garbage.
    """
    before = list(connection.execute(_OUTPUTS, {"key": request_key}).scalars())
    if before:
        connection.execute(sa.delete(output).where(output.c.request_key == request_key))
        before = before if cost_so_far(connection, request_key) > 0 else []
    kept = [made.sha256, *(sha256 for sha256 in before if sha256 != made.sha256)]
    rows = [{"request_key": request_key, "idx": idx, "sha256": sha256} for idx, sha256 in enumerate(kept)]
    connection.execute(_INSERT_OUTPUT, rows)
    # A free file that was made again may have other bytes; what was made from it stays valid under its key.
    connection.execute(_SET_STEP, {"key": request_key, "sha256": made.sha256})


def cost_so_far(connection: sa.Connection, request_key: str) -> int:
    """Return what a purchase has cost, in micro-USD."""
    cost = sa.select(purchase.c.cost_micro_usd).where(purchase.c.request_key == request_key)
    return connection.execute(cost).scalar_one() or 0


_SET_ATTEMPT = sa.update(attempt).where(attempt.c.token == sa.bindparam("its_token"))


def close_attempt(
    connection: sa.Connection,
    token: str | None,
    outcome: str,
    *,
    prediction_id: str | None = None,
    http_status: int | None = None,
) -> None:
    """Record how one submission ended."""
    if token is not None:
        ended = {"outcome": outcome, "prediction_id": prediction_id, "http_status": http_status}
        connection.execute(_SET_ATTEMPT, {"its_token": token, "replied_at": utc_now(), "clock_mark": mark(), **ended})


_INTEREST = sa.select(interest.c.since).where(
    interest.c.request_key == sa.bindparam("key"), interest.c.plan_id == sa.bindparam("plan")
)
_INSERT_INTEREST = sa.insert(interest)
_CLOSE_INTEREST = sa.update(interest).where(interest.c.request_key == sa.bindparam("key"), interest.c.until.is_(None))


def add_interest(connection: sa.Connection, request: GenerationRequest, plan_id: str) -> None:
    """Record that a plan wants a purchase."""
    if connection.execute(_INTEREST, {"key": request.key, "plan": plan_id}).first() is None:
        wanted = {"request_key": request.key, "plan_id": plan_id, "step": str(request.step)}
        connection.execute(_INSERT_INTEREST, {**wanted, "since": utc_now()})


def close_interest(connection: sa.Connection, request_key: str, *, plan_id: str | None = None) -> None:
    """Record that a plan, or none at all, waits for a purchase any more."""
    closing = _CLOSE_INTEREST if plan_id is None else _CLOSE_INTEREST.where(interest.c.plan_id == plan_id)
    connection.execute(closing, {"key": request_key, "until": utc_now()})


def interested_owners(connection: sa.Connection, request_key: str, *, besides: str) -> set[str]:
    """Return the owners of the open plans, but for one, that wait for a purchase."""
    waiting = sa.select(plan.c.owner).where(
        interest.c.request_key == request_key,
        interest.c.until.is_(None),
        interest.c.plan_id != besides,
        plan.c.id == interest.c.plan_id,
    )
    return set(connection.execute(waiting).scalars())


def error_json(error: MediaAssetsError) -> str:
    """Return an error as it is kept."""
    return json.dumps(error.as_dict(), ensure_ascii=False)
