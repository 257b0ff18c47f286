"""Which files nothing needs any more: found, remembered with the day, and struck from the ledger after a while.

A file is needed as long as a purchase has it for its output. What was paid for is an output for good (see
``rows.set_output``), until a person's rule of retention says otherwise. The files themselves are removed by
``recovery/garbage.py``.
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from media_assets.artifact import Artifact, MediaInfo
from media_assets.catalog import Recovery
from media_assets.crash_points import crash_point
from media_assets.errors import OutputLostError
from media_assets.ledger.clock import as_written, utc_now
from media_assets.ledger.database import Database
from media_assets.ledger.decisions import write_decision
from media_assets.ledger.rows import (
    UNFINISHED,
    WITH_OUTPUT,
    PurchaseRow,
    PurchaseState,
    as_row,
    error_json,
    raise_fence,
)
from media_assets.ledger.schema import artifact, decision, output, prompt, purchase, step
from media_assets.prompt import Prompt, Step

DELETE = "delete"
"""The decision to delete what was paid for."""

_BATCH = 100
"""Rows changed in one transaction: others wait for it."""

Condemn = Callable[[Artifact], None]
"""Notes that a file is about to be struck from the ledger, so that a crash right after that leaves none unknown."""


@dataclass(frozen=True, kw_only=True)
class Unused:
    """A file that is in the ledger and that nothing needs."""

    artifact: Artifact
    since: str | None
    """When that was found; None: nobody has looked before."""


class Garbage:
    """The artifact table, as far as nothing needs it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, now: datetime) -> int:
        """Remember since when each file is not needed; return how many were found so just now."""
        with self._database.write() as connection:
            again = sa.and_(artifact.c.unused_since.is_not(None), _is_needed())
            connection.execute(sa.update(artifact).where(again).values(unused_since=None))
            newly = sa.and_(artifact.c.unused_since.is_(None), ~_is_needed())
            found = connection.execute(sa.update(artifact).where(newly).values(unused_since=as_written(now)))
        crash_point("gc.mark")
        return int(found.rowcount)

    def unused(self) -> list[Unused]:
        """Return every file that nothing needs now, the longest unused first. Changes nothing."""
        columns = (artifact.c.sha256, artifact.c.info, artifact.c.unused_since)
        rows = sa.select(*columns).where(~_is_needed()).order_by(artifact.c.unused_since, artifact.c.sha256)
        with self._database.read() as connection:
            return [Unused(artifact=as_artifact(row), since=row.unused_since) for row in connection.execute(rows)]

    def forget(self, *, before: datetime, condemn: Condemn) -> int:
        """Strike files from the ledger that are not needed, and were not from ``before`` on; return how many."""
        which = sa.and_(artifact.c.unused_since <= as_written(before), ~_is_needed())
        struck = 0
        while found := self._forget_some(which, condemn):
            struck += found
            crash_point("gc.delete")
        return struck

    def _forget_some(self, which: sa.ColumnElement[bool], condemn: Condemn) -> int:
        with self._database.write() as connection:
            found = connection.execute(sa.select(artifact).where(which).limit(_BATCH)).all()
            _strike(connection, [as_artifact(row) for row in found], condemn)
        return len(found)

    def named(self, names: Collection[str]) -> set[str]:
        """Return those of some files that the ledger names."""
        with self._database.read() as connection:
            return _named(connection, names)

    @contextmanager
    def unnamed(self, names: Collection[str]) -> Iterator[set[str]]:
        """Yield those of some files that the ledger does not name; nothing is recorded until the block is left."""
        with self._database.write() as connection:
            yield set(names) - _named(connection, names)

    def still_wanted(self, request_keys: Collection[str]) -> set[str]:
        """Return those purchases whose paid output may be a file that was stored and never recorded."""
        has_output = sa.select(output.c.request_key)
        given_up = sa.select(decision.c.request_key).where(decision.c.what == DELETE)
        states = UNFINISHED | {PurchaseState.LOST_OUTPUT, PurchaseState.FAILED_PAID}
        wanted = sa.select(purchase.c.request_key).where(
            purchase.c.request_key.in_(request_keys),
            purchase.c.recovery != Recovery.FREE,
            purchase.c.state.in_(states),
            purchase.c.request_key.not_in(has_output),
            purchase.c.request_key.not_in(given_up),
        )
        with self._database.read() as connection:
            return set(connection.execute(wanted).scalars())

    def paid_before(self, moment: datetime) -> list[PurchaseRow]:
        """Return purchases with a paid file that ended before then, and whose file no pinned prompt's film is made of.

        The oldest first. Changes nothing.
        """
        with self._database.read() as connection:
            rows = list(connection.execute(WITH_OUTPUT.where(*_paid(moment)).order_by(purchase.c.updated_at)))
            return [as_row(row) for row in rows if not _is_used(connection, row.request_key)]

    def give_up(self, row: PurchaseRow, moment: datetime, *, days: float, who: str, condemn: Condemn) -> bool:
        """Delete the paid file of a purchase, on a person's word; what it was is recorded as decided.

        Args:
            row: One of :meth:`paid_before`.
            moment: The same as there.
            days: The rule, for people.
            who: For people.
            condemn: Told of each file that nothing needs after that, before it is struck from the ledger.

        Returns:
            False, with nothing done, where the purchase has changed since, or its file is used by now.
        """
        mine = output.c.request_key == row.request_key
        with self._database.write() as connection:
            found = connection.execute(WITH_OUTPUT.where(purchase.c.request_key == row.request_key, *_paid(moment)))
            now = found.one_or_none()
            if now is None or _is_used(connection, row.request_key):
                return False
            raise_fence(connection, as_row(now), {**_after_deletion(row, days), "updated_at": utc_now()})
            write_decision(connection, row, DELETE, who=who)
            digests = list(connection.execute(sa.select(output.c.sha256).where(mine)).scalars())
            connection.execute(sa.delete(output).where(mine))
            free = sa.select(artifact).where(artifact.c.sha256.in_(digests), ~_is_needed())
            _strike(connection, [as_artifact(one) for one in connection.execute(free)], condemn)
        crash_point("gc.delete")
        return True


def _strike(connection: sa.Connection, files: Sequence[Artifact], condemn: Condemn) -> None:
    for one in files:
        condemn(one)
    connection.execute(sa.delete(artifact).where(artifact.c.sha256.in_([one.sha256 for one in files])))


def _named(connection: sa.Connection, names: Collection[str]) -> set[str]:
    digests = {name.partition(".")[0] for name in names}
    rows = connection.execute(sa.select(artifact).where(artifact.c.sha256.in_(digests)))
    return {file_name(as_artifact(row)) for row in rows} & set(names)


def file_name(made: Artifact) -> str:
    """Return the name of a file in the store."""
    return f"{made.sha256}.{made.info.extension}"


def as_artifact(row: Any) -> Artifact:
    """Read one row of the table."""
    return Artifact(sha256=row.sha256, info=MediaInfo.from_dict(json.loads(row.info)))


def _is_needed() -> sa.ColumnElement[bool]:
    """Whether a file is a purchase's output, or a finished step's whose purchase has one."""
    has_output = step.c.request_key.in_(sa.select(output.c.request_key))
    of_steps = sa.select(step.c.sha256).where(has_output)
    return sa.or_(artifact.c.sha256.in_(sa.select(output.c.sha256)), artifact.c.sha256.in_(of_steps))


def _paid(moment: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    ended = (PurchaseState.SUCCEEDED, PurchaseState.FAILED_PAID, PurchaseState.FAILED_FREE)
    return (
        purchase.c.recovery != Recovery.FREE,
        purchase.c.state.in_(ended),
        purchase.c.updated_at < as_written(moment),
        artifact.c.sha256.is_not(None),
    )


def _is_used(connection: sa.Connection, request_key: str) -> bool:
    """Whether a step of a prompt, as it is pinned now, was made by a purchase."""
    steps = (
        sa.select(step.c.step, step.c.digest, prompt.c.body)
        .join(prompt, prompt.c.key == step.c.prompt_key)
        .where(step.c.request_key == request_key)
    )
    return any(_bears_on(row) for row in connection.execute(steps))


def _bears_on(row: Any) -> bool:
    try:
        pinned = Prompt.model_validate_json(row.body)
    except ValidationError:
        return True  # another version's: nobody can tell
    return row.digest in {pinned.step_digest(Step(row.step), stand_in_fields=both) for both in (False, True)}


def _after_deletion(row: PurchaseRow, days: float) -> dict[str, Any]:
    """Return what becomes of a purchase whose file is deleted: it was paid for, and is not bought again by itself."""
    if row.state is not PurchaseState.SUCCEEDED:
        return {}
    message = (
        f"its paid file was deleted on {utc_now()[:10]}, by `media-assets gc --delete-paid-older-than {days:g}`. A new "
        "take buys it again."
    )
    error = OutputLostError(message, prediction_id=row.prediction_id)
    return {"state": PurchaseState.LOST_OUTPUT, "error": error_json(error)}
