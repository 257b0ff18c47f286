"""What the ledger's transitions cost: statements, commits, CPU and wall time of each, as they are called."""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import sqlalchemy as sa

from media_assets.ledger import Ledger


@dataclass
class Cost:
    """Of one kind of transition, or of all."""

    calls: int = 0
    statements: int = 0
    """BEGIN, which SQLAlchemy sends like one, not counted; the COMMIT that ends it is counted apart."""
    commits: int = 0
    cpu_s: float = 0.0
    """Of the thread that made it, with all that SQLAlchemy does for it."""
    wall_s: float = 0.0

    def add(self, other: "Cost") -> None:
        """Add what something else cost."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Metered:
    """The costs of a ledger's transitions, by name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Cost] = {}
        self._guard = threading.Lock()
        self._current = threading.local()

    @property
    def total(self) -> Cost:
        """What all of them cost."""
        total = Cost()
        for cost in self.by_name.values():
            total.add(cost)
        return total

    def metered(self, name: str, transition: Callable[..., Any]) -> Callable[..., Any]:
        """Return a transition that is measured; what it calls itself counts as part of it."""

        @functools.wraps(transition)
        def call(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._current, "cost", None) is not None:
                return transition(*args, **kwargs)
            self._current.cost = cost = Cost(calls=1)
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return transition(*args, **kwargs)
            finally:
                cost.cpu_s, cost.wall_s = time.thread_time() - cpu, time.perf_counter() - wall
                self._current.cost = None
                with self._guard:
                    self.by_name.setdefault(name, Cost()).add(cost)

        return call

    def note_statement(self, statement: str) -> None:
        """Count a statement for the transition that this thread is in."""
        cost = getattr(self._current, "cost", None)
        if cost is not None and not statement.startswith("BEGIN"):
            cost.statements += 1

    def note_commit(self) -> None:
        """Count a commit."""
        cost = getattr(self._current, "cost", None)
        if cost is not None:
            cost.commits += 1


@contextmanager
def metering(ledger: Ledger) -> Iterator[Metered]:
    """Measure every public call to a ledger's plans and purchases."""
    metered = Metered()
    engine = ledger.database.engine

    def statement(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        metered.note_statement(text)

    def commit(_connection: Any) -> None:
        metered.note_commit()

    sa.event.listen(engine, "before_cursor_execute", statement)
    sa.event.listen(engine, "commit", commit)
    parts = (ledger.prompts, ledger.purchases)
    try:
        for part in parts:
            for name in dir(part):
                if not name.startswith("_"):
                    vars(part)[name] = metered.metered(name, getattr(part, name))
        yield metered
    finally:
        for part in parts:
            for name in [name for name in vars(part) if not name.startswith("_")]:
                del vars(part)[name]
        sa.event.remove(engine, "before_cursor_execute", statement)
        sa.event.remove(engine, "commit", commit)
