"""The invariants, held against the ledger's file and the fake provider's books; none of it asks the code under test.

I1 one accepted submission a key, besides those that a person, or a policy a person set, has ordered. Takes of a
   request that look alike are counted together: which of them a prediction becomes is nobody's money.
I2 everything that was accepted is in the ledger under its id, or of unknown outcome; never forgotten.
I3 spent and reserved stay within every cap, and what is billed within the highest there was.
I4 what is reserved is what open purchases and plans hold; what is spent is what purchases cost.
I5 what succeeded is in the store, with its digest and the bytes of its prediction.
I6 what succeeded is had again without a call.
I8 no wait is longer than deadlines allow (in ``process.py``).
order: what has to be durable before an effect is.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from media_assets.ledger.rows import PurchaseState
from media_assets_tests.simulation.adapters import PRICE_MICRO_USD
from media_assets_tests.simulation.provider import Job

if TYPE_CHECKING:
    from media_assets_tests.simulation.process import Process
    from media_assets_tests.simulation.world import World

_OPEN = ("RESERVED", "SUBMITTING", "SUBMITTED", "DONE")
_HOLDS_MONEY = ("RESERVED", "SUBMITTING", "SUBMITTED", "UNKNOWN")
_ENDED = ("SUCCEEDED", "FAILED_PAID", "LOST_OUTPUT")
_ONCE_MORE = ("resubmit", "write-off")

_PURCHASES = "SELECT request_key, state, fence, owner, prediction_id, cost_micro_usd FROM purchase"
_HELD = "SELECT request_key, scope, amount_micro_usd FROM reservation"
_BUDGETS = "SELECT scope, cap_micro_usd, reserved_micro_usd, spent_micro_usd, overrun FROM budget"


@dataclass(frozen=True)
class Row:
    """A purchase as it is committed."""

    request_key: str
    state: str
    fence: int
    owner: str
    prediction_id: str | None
    cost: int | None


class Laws:
    """Looks at one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._ask = world.desk.checks.execute
        self.rows: dict[str, Row] = {}
        self.ordered: dict[str, int] = {}
        """Further submissions that a person asked for, by request key."""
        self._intended: set[str] = set()
        """Request keys of all that was ever about to be submitted."""

    def orders(self, request_key: str) -> None:
        """Take note that a person lets a purchase be submitted once more."""
        self.ordered[request_key] = self.ordered.get(request_key, 0) + 1

    def _violates(self, law: str, what: str) -> None:
        self._world.violates(law, what)

    def _one(self, query: str, *arguments: Any) -> Any:
        found = self._ask(query, arguments).fetchone()
        return found[0] if found else None

    def committed(self) -> None:
        """Look at what a transaction has left."""
        before, self.rows = self.rows, {row[0]: Row(*row) for row in self._ask(_PURCHASES)}
        held: dict[str, int] = {}
        by_key: dict[str | None, set[str]] = {}
        for key, scope, amount in self._ask(_HELD):
            held[scope] = held.get(scope, 0) + amount
            by_key.setdefault(key, set()).add(scope.partition(":")[0])
        for scope, cap, reserved, spent, overrun in self._ask(_BUDGETS):
            if reserved != held.get(scope, 0):
                self._violates("I4", f"{scope} has {reserved} reserved, and {held.get(scope, 0)} are held")
            if spent + reserved > cap and not overrun:
                self._violates("I3", f"{scope} has {spent} spent and {reserved} reserved of {cap}")
            if scope.startswith("day:") and spent != (cost := sum(row.cost or 0 for row in self.rows.values())):
                self._violates("I4", f"{scope} has {spent} spent, and purchases cost {cost}")
        for row in self.rows.values():
            self._holds_its_money(row, by_key.get(row.request_key, set()))
            self._changed(before.get(row.request_key), row)
        ids = [row.prediction_id for row in self.rows.values() if row.prediction_id]
        if len(ids) != len(set(ids)):
            self._violates("I2", "two purchases have the same prediction")

    def _holds_its_money(self, row: Row, scopes: Collection[str]) -> None:
        """Hold that what may still be billed is reserved for, and nothing else."""
        if row.state == PurchaseState.SUBMITTING:
            self._intended.add(row.request_key)
        if row.state in _HOLDS_MONEY and "day" not in scopes:
            self._violates("I4", f"{self._name(row)} is {row.state} and nothing is reserved for it")
        elif row.state not in _HOLDS_MONEY and scopes:
            self._violates("I4", f"{self._name(row)} is {row.state} and money is reserved for it")

    def _name(self, row: Row) -> str:
        return self._world.name_of(row.request_key)

    def _changed(self, before: Row | None, row: Row) -> None:
        """Hold that nothing that has ended begins again without an order, and that no fence falls."""
        if before is None or before == row:
            return
        if row.fence < before.fence:
            self._violates("order", f"the fence of {self._name(row)} fell from {before.fence} to {row.fence}")
        if before.state != row.state:
            self._world.note(f"{self._name(row)}: {before.state} to {row.state}")
            self._world.counts.states[row.state] += 1
            if before.owner and row.owner and before.owner != row.owner and before.state in _OPEN:
                self._world.counts.takeovers += 1
        elif before.owner != row.owner and before.owner and row.owner and row.state in _OPEN:
            self._world.counts.takeovers += 1
        has_failed = before.state in {"FAILED_PAID", "FAILED_FREE"} and row.state in _OPEN
        if has_failed and self._world.is_retry(row.owner, row.request_key):
            self.orders(row.request_key)
        if before.state in _ENDED and row.state in _OPEN and not self.ordered.get(row.request_key):
            self._violates("I1", f"{self._name(row)} was {before.state}, and is {row.state} without an order")

    def sent(self, process: "Process", key: str) -> None:
        """Hold what has to be durable when the first byte of a submission leaves."""
        row = self.rows.get(key)
        open_attempts = self._one("SELECT count(*) FROM attempt WHERE request_key=? AND outcome IS NULL", key)
        if row is None or row.state != PurchaseState.SUBMITTING or not open_attempts:
            self._violates("order", f"{process} submits {self._world.name_of(key)} without an intent")
        elif process.owner is None or row.owner != process.owner.id:
            self._violates("order", f"{process} submits {self._world.name_of(key)}, which is another's")

    def accepted(self, key: str) -> None:
        """Hold that a submission which arrives is the first, or was ordered."""
        world, alike = self._world, self._world.alike(key)
        jobs = world.provider.of(alike)
        allowed = sum(not job.billed and job.state(world.now).is_final for job in jobs)
        allowed += sum(1 + self.ordered.get(one, 0) + self.by_policy(one) for one in alike & self._intended)
        world.counts.accepted += 1
        if len(jobs) + 1 > allowed:
            self._violates("I1", f"{self._world.name_of(key)} is accepted again")

    def by_policy(self, key: str) -> int:
        """Return how often a policy had a purchase submitted once more."""
        return int(self._one("SELECT count(*) FROM decision WHERE request_key=? AND who='resubmit_if_cheap'", key))

    def _row_of(self, job: Job) -> Row | None:
        alike = self._world.alike(job.key)
        found = [row for row in self.rows.values() if row.prediction_id == job.id and row.request_key in alike]
        return found[0] if found else None

    def asked(self, process: "Process", job: Job) -> None:
        """Hold that a prediction's id is durable before it is asked about."""
        if self._row_of(job) is None:
            self._violates("order", f"{process} asks about {job.id}, and the ledger does not have it")

    def fetched(self, process: "Process", job: Job) -> None:
        """Hold that a prediction is settled before its output is fetched."""
        row = self._row_of(job)
        if row is None or row.state != PurchaseState.DONE:
            self._violates("order", f"{process} fetches {job.id} before it is settled")

    def at_rest(self) -> None:
        """Look at everything once no process runs and nothing goes wrong any more."""
        world = self._world
        self.committed()
        for row in self.rows.values():
            if row.state in _OPEN:
                self._violates("I2", f"{self._name(row)} stays {row.state}")
            if row.state == PurchaseState.SUCCEEDED:
                self._is_stored(row)
        for job in world.provider.jobs.values():
            self._is_remembered(job)
        for alike in {frozenset(world.alike(item.request.key)) for item in world.items}:
            self._is_billed(alike)
        if left := self._one("SELECT count(*) FROM plan"):
            self._violates("I4", f"{left} plans are open, and nobody has them")
        for scope, *_ in self._ask("SELECT scope FROM reservation WHERE request_key IS NULL"):
            self._violates("I4", f"{scope} has a reservation that nobody has")
        extra = sum(self.ordered.values()) + sum(self.by_policy(key) for key in self.rows)
        bill = sum(job.cost_micro_usd for job in world.provider.jobs.values())
        if bill > world.highest_cap + extra * PRICE_MICRO_USD:
            self._violates("I3", f"{bill} are billed, and no cap was above {world.highest_cap}")

    def _is_stored(self, row: Row) -> None:
        query = "SELECT sha256 FROM output WHERE request_key=?"
        digest = self._one(query, row.request_key)
        path = self._world.desk.home / "artifacts" / (digest or "")[:2] / f"{digest}.png"
        content = path.read_bytes() if digest and path.exists() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            self._violates("I5", f"{self._name(row)} succeeded, and its bytes are not in the store")
        elif content.decode().split()[2] not in str(row.prediction_id).split("+"):
            self._violates("I5", f"{self._name(row)} has the output of {content!r}, and is {row.prediction_id}")

    def _decided(self, key: str) -> list[str]:
        return [what for (what,) in self._ask("SELECT what FROM decision WHERE request_key=?", (key,))]

    def _is_remembered(self, job: Job) -> None:
        """Hold that what was accepted is in the ledger under its id, if not given up by a word or open to one."""
        alike = self._world.alike(job.key)
        rows = [self.rows[key] for key in alike if key in self.rows]
        query = "SELECT prediction_id FROM attempt WHERE request_key=?"
        ids = {one.partition("+")[0] for key in alike for (one,) in self._ask(query, (key,)) if one}
        if job.id in ids or any(row.prediction_id == job.id for row in rows):
            return
        is_open_to_one = any(row.state == PurchaseState.UNKNOWN for row in rows)
        if not is_open_to_one and not any(set(_ONCE_MORE) & set(self._decided(row.request_key)) for row in rows):
            self._violates("I2", f"{job.id} was accepted for {self._world.name_of(job.key)}, and is forgotten")

    def _is_billed(self, alike: Collection[str]) -> None:
        """Hold that purchases cost what is billed for them, where that is known."""
        world = self._world
        rows = [self.rows[key] for key in alike if key in self.rows]
        if world.misjudged & set(alike) or any(row.state == PurchaseState.UNKNOWN for row in rows):
            return
        bill = sum(job.cost_micro_usd for job in world.provider.of(alike))
        cost = sum(row.cost or 0 for row in rows)
        # A policy counts as billed what may never have arrived; a person writes off, without its id, what a retry that
        # is ordered later, or a lookalike, may find in the list after all.
        found_later = [key for key in alike if self.ordered.get(key) or len(alike) > 1]
        written_off = sum(self._decided(key).count("write-off") for key in found_later)
        more = (sum(map(self.by_policy, alike)) + written_off) * PRICE_MICRO_USD
        if not bill <= cost <= bill + more:
            names = ", ".join(sorted(map(world.name_of, alike)))
            self._violates("bill", f"{names} cost {cost} in the ledger, and {bill} are billed")
