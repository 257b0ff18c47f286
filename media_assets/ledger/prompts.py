"""Prompts as they are pinned, the plans that work on them, and the finished steps of each."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from media_assets.canonical import canonical_json
from media_assets.errors import Rerun
from media_assets.ledger import budgets, pins
from media_assets.ledger.clock import utc_now
from media_assets.ledger.database import Database, Proof
from media_assets.ledger.ownership import Owner
from media_assets.ledger.pins import Arrival, Known, PinnedPrompt, Unreadable
from media_assets.ledger.schema import new_take, plan, prompt, step
from media_assets.prompt import Prompt, Step


@dataclass(frozen=True, kw_only=True)
class FinishedStep:
    """What a prompt's step was made by; reused as it is, whatever happened to code or catalog."""

    step: Step
    request_key: str
    model: str
    inputs: Mapping[str, str]
    """Request key of each input, by role."""
    degraded: bool
    reason: str | None
    gone_past: tuple[str, ...] = ()
    """Request keys of the purchases that failed before this one was made, and may have cost money."""
    notes: tuple[str, ...] = ()
    """What the prompt says and the step does not do, or not quite."""


_GO_ON = frozenset({str(Rerun.RESUBMIT), str(Rerun.RESUME)})
"""What errors say of a prompt that failed for now."""

_OPEN_PLAN = sa.insert(plan)
_CLOSE_PLAN = sa.delete(plan).where(plan.c.id == sa.bindparam("plan"))
_MARK = sa.update(prompt).where(prompt.c.key == sa.bindparam("its_key"), prompt.c.digest == sa.bindparam("its_digest"))


def _goes_on(row: sa.Row[Any]) -> bool:
    """Whether a rerun may go on with a prompt that is not done; nobody knows of one whose failure cannot be read."""
    try:
        return row.status != "failed" or json.loads(row.error or "{}").get("rerun") in _GO_ON
    except ValueError:
        return True


class Prompts:
    """The prompt, plan and step tables."""

    def __init__(self, database: Database, owner: Owner) -> None:
        self._database = database
        self._owner = owner
        self._at_work: set[str] = set()
        """Open plans of this process."""

    def pin(self, prompts: Iterable[Prompt], *, source: str, arrival: Arrival | None = None) -> list[Prompt]:
        """Make these the prompts that runs find under their keys.

        A prompt that its source gives unchanged stays as it is pinned, new takes included.

        Args:
            prompts: What to pin.
            source: Where they came from, for people.
            arrival: On what terms, of what came through the inbox.

        Returns:
            What is pinned now, in the order given.
        """
        wanted = list(prompts)
        source = source.encode(errors="backslashreplace").decode()  # a file's name may be no text
        as_pinned = self._already_pinned(wanted, arrival)
        if len(as_pinned) == len(wanted):
            return as_pinned
        with self._database.write() as connection:
            return [self._pin_one(connection, one, source, arrival) for one in wanted]

    def _already_pinned(self, wanted: list[Prompt], arrival: Arrival | None) -> list[Prompt]:
        """Return the leading prompts that need no write: looking at an unchanged prompt must stay cheap."""
        found = []
        with self._database.read() as connection:
            for one in wanted:
                known = pins.row_of(connection, one.key)
                if not pins.is_pinned(known, one, arrival):
                    break
                found.append(pins.effective(known, one))
        return found

    def _pin_one(self, connection: sa.Connection, one: Prompt, source: str, arrival: Arrival | None) -> Prompt:
        known = pins.row_of(connection, one.key)
        effective = pins.effective(known, one)
        if pins.is_pinned(known, one, arrival):
            return effective
        values = {"source": source, "source_digest": one.digest, **pins.pinned_as(effective)}
        if arrival is not None:
            # Writers take turns, so the order of these numbers is that in which they are committed.
            values |= {"priority": arrival.priority, "arrived": pins.newest_arrival(connection) + 1}
        if known is None:
            connection.execute(sa.insert(prompt).values({"key": one.key, "pin_seq": 1, "priority": 0, **values}))
            return effective
        # The same prompt, which only comes through the inbox now, is no other one to the runs that know it.
        is_same = known.source_digest == one.digest and known.body == values["body"]
        seq = known.pin_seq if is_same else known.pin_seq + 1
        connection.execute(sa.update(prompt).where(prompt.c.key == one.key).values(pin_seq=seq, **values))
        return effective

    def effective(self, one: Prompt) -> Prompt:
        """Return what pinning ``one`` would leave pinned, without pinning it."""
        with self._database.read() as connection:
            return pins.effective(pins.row_of(connection, one.key), one)

    def raise_takes(self, key: str, steps: Iterable[Step], *, origin: str) -> tuple[Prompt, str] | None:
        """Pin the next take of some steps, once for each origin: asking again gives the same takes.

        Args:
            key: Whose; None is returned when it is not pinned.
            steps: Which steps are to be bought anew.
            origin: Who asks, for example the first run of a chain of retries.

        Returns:
            The prompt with these takes, and the digest of what is pinned now, which may have newer ones.
        """
        with self._database.write() as connection:
            known = pins.row_of(connection, key)
            if known is None:
                return None
            pinned = pins.read_body(known)
            takes = {step: self._take_for(connection, pinned, step, origin) for step in steps}
            # A retry gets its own takes again, and never takes back a newer one that was pinned since.
            newest = pinned.with_take({step: max(take, pinned.take_of(step)) for step, take in takes.items()})
            if newest.digest != known.digest:
                connection.execute(
                    sa.update(prompt)
                    .where(prompt.c.key == key)
                    .values(pin_seq=prompt.c.pin_seq + 1, **pins.pinned_as(newest))
                )
            return pinned.with_take(takes), newest.digest

    def _take_for(self, connection: sa.Connection, pinned: Prompt, which: Step, origin: str) -> int:
        mine = {"origin": origin, "prompt_key": pinned.key, "step": str(which)}
        given = connection.execute(sa.select(new_take.c.take).filter_by(**mine)).scalar_one_or_none()
        if given is not None:
            return int(given)
        of_step = sa.select(sa.func.max(new_take.c.take)).filter_by(prompt_key=pinned.key, step=str(which))
        take = max(pinned.take_of(which), connection.execute(of_step).scalar() or 0) + 1
        connection.execute(sa.insert(new_take).values(take=take, **mine))
        return take

    def get(self, key: str) -> PinnedPrompt | None:
        """Return what is pinned under a key."""
        with self._database.read() as connection:
            row = pins.row_of(connection, key)
        return None if row is None else pins.pinned(row)

    def known(self, wanted: Iterable[Prompt], arrival: Arrival) -> dict[str, Known]:
        """Return what is pinned under the keys of a few hundred prompts, by key, beside those prompts themselves."""
        given = {one.key: one for one in wanted}
        with self._database.read() as connection:
            rows = connection.execute(sa.select(prompt).where(prompt.c.key.in_(given))).all()
        return {row.key: Known(source=row.source, is_same=pins.is_pinned(row, given[row.key], arrival)) for row in rows}

    def every(self) -> list[PinnedPrompt | Unreadable]:
        """Return every pinned prompt, by key."""
        with self._database.read() as connection:
            return [pins.pinned_or_not(row) for row in connection.execute(sa.select(prompt).order_by(prompt.c.key))]

    def newest_arrival(self) -> int:
        """Return the newest place in the order of what came through the inbox; 0: nothing did."""
        with self._database.read() as connection:
            return pins.newest_arrival(connection)

    def arrived_after(self, arrived: int, *, most: int) -> list[PinnedPrompt | Unreadable]:
        """Return what came through the inbox after a place in its order, in that order."""
        later = sa.select(prompt).where(prompt.c.arrived > arrived).order_by(prompt.c.arrived).limit(most)
        with self._database.read() as connection:
            return [pins.pinned_or_not(row) for row in connection.execute(later)]

    def waiting(self) -> list[PinnedPrompt | Unreadable]:
        """Return the prompts that a batch is to make: by priority, and then in the order in which they came.

        That is what is pending, what was interrupted, and what failed for now: a rerun may go on with it.
        """
        at_work = sa.select(plan.c.prompt_key)
        rows = (
            sa.select(prompt)
            .where(prompt.c.status.in_(("pending", "running", "failed")), prompt.c.key.not_in(at_work))
            .order_by(prompt.c.priority.desc(), prompt.c.arrived.is_(None), prompt.c.arrived, prompt.c.key)
        )
        with self._database.read() as connection:
            return [pins.pinned_or_not(row) for row in connection.execute(rows) if _goes_on(row)]

    def keys(self) -> list[str]:
        """Return the keys of every pinned prompt, sorted."""
        with self._database.read() as connection:
            return list(connection.execute(sa.select(prompt.c.key).order_by(prompt.c.key)).scalars())

    def set_status(self, one: Prompt, status: str, error: Mapping[str, str] | None = None) -> None:
        """Record how the last make of a prompt stands, for people; not if another prompt is pinned meanwhile."""
        record = json.dumps(dict(error), ensure_ascii=False) if error else None
        with self._database.read() as connection:
            known = pins.row_of(connection, one.key)
        if known is None or known.digest != one.digest or (known.status, known.error) == (status, record):
            return
        with self._database.write() as connection:
            connection.execute(
                sa.update(prompt)
                .where(prompt.c.key == one.key, prompt.c.digest == one.digest)
                .values(status=status, error=record, updated_at=utc_now())
            )

    def is_pinned(self, key: str, digest: str) -> bool:
        """Whether exactly this prompt is pinned under the key."""
        try:
            with self._database.read() as connection:
                pins.require(connection, key, digest)
        except pins.SupersededError:
            return False
        return True

    def require_pinned(self, key: str, digest: str) -> None:
        """Hold that exactly this prompt is pinned under the key.

        Raises:
            SupersededError: Another one is.
        """
        with self._database.read() as connection:
            pins.require(connection, key, digest)

    def open_plan(
        self,
        plan_id: str,
        key: str,
        *,
        amounts: Mapping[Step, int],
        caps: Collection[budgets.Cap],
        providers: Mapping[Step, str] | None = None,
        digest: str = "",
        while_pinned: str = "",
    ) -> None:
        """Open a plan of this process, with its whole worst case reserved, and mark the prompt as running.

        Args:
            plan_id: A new name.
            key: Whose plan.
            amounts: Micro-USD by step.
            caps: The limits that apply.
            providers: Who would bill each step; needed for providers' caps alone.
            digest: The prompt's; another one that is pinned by now is not marked.
            while_pinned: Digest of the prompt that has to be pinned at the reservation; empty: whatever is.

        Raises:
            BudgetExceededError: A cap would be passed; nothing is opened.
            SupersededError: Another prompt is pinned; nothing is opened.
        """
        now = utc_now()
        self._owner.renew()
        running = {"status": "running", "error": None, "updated_at": now}
        opened = {"id": plan_id, "owner": self._owner.id, "prompt_key": key, "created_at": now}
        self._at_work.add(plan_id)
        try:
            with self._database.write(_plan_stands(plan_id), point="reserve") as connection:
                if while_pinned:
                    pins.require(connection, key, while_pinned)
                connection.execute(_OPEN_PLAN, opened)
                budgets.reserve(connection, plan_id=plan_id, need=budgets.Need(amounts, providers or {}), caps=caps)
                connection.execute(_MARK, {"its_key": key, "its_digest": digest, **running})
        except BaseException:
            self._at_work.discard(plan_id)
            raise

    def reserve_again(self, plan_id: str, need: budgets.Need, caps: Collection[budgets.Cap]) -> None:
        """Reserve anew for steps of an open plan, in place of what no purchase took over: another model is asked.

        Raises:
            BudgetExceededError: A cap would be passed; nothing is reserved.
        """
        with self._database.write() as connection:
            for step in need.amounts:
                budgets.free_plan(connection, plan_id, step)
            budgets.reserve(connection, plan_id=plan_id, need=need, caps=caps)

    def close_plan(self, plan_id: str) -> None:
        """End a plan; what it reserved and no purchase took over is free again.

        Where that cannot be written, :meth:`close_dead_plans` does it later.
        """
        self._at_work.discard(plan_id)
        stands = _plan_stands(plan_id)
        with self._database.write(lambda connection: not stands(connection)) as connection:
            budgets.free_plan(connection, plan_id)
            connection.execute(_CLOSE_PLAN, {"plan": plan_id})

    def close_dead_plans(self) -> int:
        """End the plans of processes that are gone, and those that this one could not end; return how many."""
        with self._database.read() as connection:
            plans = connection.execute(sa.select(plan.c.id, plan.c.owner)).all()
        dead = {owner for owner in {one.owner for one in plans} if not self._owner.is_alive(owner)}
        ids = [one.id for one in plans if one.owner in dead or self._is_left(one.id, one.owner)]
        if not ids:
            return 0
        with self._database.write() as connection:
            for plan_id in ids:
                budgets.free_plan(connection, plan_id)
            connection.execute(sa.delete(plan).where(plan.c.id.in_(ids)))
        return len(ids)

    def _is_left(self, plan_id: str, owner: str) -> bool:
        """Whether a plan is of this process, and nobody here is at work on it any more."""
        return owner == self._owner.id and plan_id not in self._at_work

    def finished(self, key: str) -> dict[tuple[Step, str], FinishedStep]:
        """Return every finished step of a prompt, by step and digest, the older ones first."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(step).where(step.c.prompt_key == key).order_by(step.c.created_at)).all()
        return {
            (Step(row.step), row.digest): FinishedStep(
                step=Step(row.step),
                request_key=row.request_key,
                model=row.model,
                inputs=json.loads(row.inputs),
                degraded=row.degraded,
                reason=row.reason,
                gone_past=tuple(json.loads(row.gone_past or "[]")),
                notes=tuple(json.loads(row.notes or "[]")),
            )
            for row in rows
        }

    def finish(self, key: str, digest: str, done: FinishedStep, *, sha256: str, params: Mapping[str, Any]) -> None:
        """Record what a step was made by, in place of what it was made by before."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(step).where(step.c.prompt_key == key, step.c.digest == digest, step.c.step == str(done.step))
            )
            connection.execute(
                sa.insert(step).values(
                    prompt_key=key,
                    digest=digest,
                    step=str(done.step),
                    request_key=done.request_key,
                    sha256=sha256,
                    model=done.model,
                    params=canonical_json(dict(params)),
                    inputs=canonical_json(dict(done.inputs)),
                    degraded=done.degraded,
                    reason=done.reason,
                    gone_past=json.dumps(done.gone_past),
                    notes=json.dumps(done.notes, ensure_ascii=False),
                    created_at=utc_now(),
                )
            )


def _plan_stands(plan_id: str) -> Proof:
    """Return what tells whether a plan is open."""
    return lambda connection: connection.execute(sa.select(plan.c.id).filter_by(id=plan_id)).first() is not None
