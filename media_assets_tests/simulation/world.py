"""One world: processes, a provider and a ledger, in which every decision is drawn from one seed.

The world decides whose turn it is, when time passes, and who is killed where. It looks at the ledger after every
transaction. How a schedule goes is in ``schedule.py``.
"""

import contextlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from typing import NoReturn

from media_assets.pricing import to_micro_usd
from media_assets.recall import OnCancel
from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.laws import Laws
from media_assets_tests.simulation.loop import Killed
from media_assets_tests.simulation.process import DayCaps, Item, Process, Wish
from media_assets_tests.simulation.provider import Provider, Weather

_DEEPEST = 3
_MOST_TURNS = 20_000


class ViolationError(AssertionError):
    """An invariant does not hold."""

    def __init__(self, law: str, what: str) -> None:
        super().__init__(f"{law}: {what}")
        self.law = law


@dataclass
class Counts:
    """What really happened, so that a proof which tried nothing is noticed."""

    schedules: int = 0
    accepted: int = 0
    posts: int = 0
    lost_replies: int = 0
    takeovers: int = 0
    processes: int = 0
    pauses: int = 0
    interrupts: int = 0
    decisions: int = 0
    collected: int = 0
    deepest: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Add what happened in another world."""
        for name, value in vars(other).items():
            if isinstance(value, Counter):
                getattr(self, name).update(value)
            else:
                setattr(self, name, max(self.deepest, value) if name == "deepest" else getattr(self, name) + value)


@dataclass(kw_only=True)
class Temper:
    """How wild a world is."""

    kill: float = 0.0
    """That a process is killed at any one point it passes."""
    kill_at: str = ""
    """The point at which it is killed more often..."""
    kill_there: float = 0.0
    """...and how often."""
    interrupt_at: str = ""
    """The point at which it is asked to stop..."""
    interrupt_there: float = 0.0
    """...and how often."""
    switch: float = 0.0
    """That others get their turns at any one point at which no transaction is open."""
    switch_at: str = ""
    """The point at which they get them more often..."""
    switch_there: float = 0.0
    """...and how often."""


class World:
    """The state of one schedule."""

    def __init__(self, desk: Desk, seed: int, items: list[Item], *, temper: Temper, weather: Weather) -> None:
        desk.clear()
        self.desk = desk
        self.rng = random.Random(seed)  # noqa: S311 - not a secret
        self.tokens = random.Random(seed + 1)  # noqa: S311 - neither, here
        random.seed(seed)
        self.now = 1000.0
        self.wall_s = 0.0
        """By how much the wall clock is wrong."""
        self.items = items
        self.temper = temper
        self.caps = DayCaps(day_usd=None)
        self.by_provider = self.rng.random() < 0.2
        self.highest_cap = 0
        self.counts = Counts(schedules=1)
        self.trace: list[str] = []
        self.misjudged: set[str] = set()
        """Request keys of which a person said what is not so."""
        self.processes: dict[str, Process] = {}
        """Who sits where."""
        self.provider = Provider(self.rng, weather, lambda: self.now)
        self.violation: ViolationError | None = None
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self._stack: list[Process] = []
        self._in_transaction = False
        self._names = {item.request.key: str(item) for item in items}
        self._keys = {name: key for key, name in self._names.items()}
        desk.world = self
        self.order = Laws(self)

    def close(self) -> None:
        """End what still runs, and leave the desk to the next."""
        for process in self.processes.values():
            if not process.has_ended and not process.is_dead:
                self._end(process)
        self.desk.world = None

    @property
    def process(self) -> Process:
        """Whose code runs."""
        return self._stack[-1]

    @property
    def is_at_work(self) -> bool:
        """Whether code of a process runs."""
        return bool(self._stack)

    @property
    def lost_replies(self) -> int:
        """How many submissions had no reply."""
        return self.counts.lost_replies

    @lost_replies.setter
    def lost_replies(self, value: int) -> None:
        self.counts.lost_replies = value

    def name_of(self, key: str) -> str:
        """Return an item's name, by its request key."""
        return self._names.get(key, key[:8])

    def key_of(self, name: str) -> str:
        """Return an item's request key, by its name."""
        return self._keys[name]

    def alike(self, key: str) -> set[str]:
        """Return the request keys of all that looks alike to the provider: takes of one request."""
        what = next(((one.provider, one.number) for one in self.items if one.request.key == key), None)
        return {one.request.key for one in self.items if (one.provider, one.number) == what} | {key}

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:9.1f} {text}")

    def fault(self, name: str) -> None:
        """Count something that went wrong."""
        self.counts.faults[name] += 1

    def violates(self, law: str, what: str) -> None:
        """Take note of the first invariant that does not hold; it is raised where no code under test can catch it."""
        if self.violation is None:
            self.note(f"VIOLATION {law}: {what}")
            self.violation = ViolationError(law, what)

    def hold(self) -> None:
        """Raise the violation there was."""
        if self.violation is not None:
            raise self.violation

    # Money and people.

    def set_cap(self, purchases: int) -> None:
        """Let a day have room for so many purchases."""
        day_usd = Decimal("0.50") * purchases
        self.caps = DayCaps(day_usd=day_usd, by_provider=self.by_provider)
        self.highest_cap = max(self.highest_cap, to_micro_usd(day_usd))
        self.note(f"the cap is {day_usd} USD")

    def is_retry(self, owner: str, key: str) -> bool:
        """Whether an owner was told to try a purchase again that has failed, and has not done so yet."""
        for process in self.processes.values():
            if process.owner is not None and process.owner.id == owner and key in process.may_retry:
                process.may_retry.discard(key)
                return True
        return False

    def person(self, does: Callable[[], None]) -> None:
        """Let a person do something with the ledger, while all processes stand still."""
        process = Process(self, "person", "a person")
        self._stack.append(process)
        temper, self.temper = self.temper, Temper()
        try:
            does()
        finally:
            self.temper = temper
            self._stack.pop()
        self.hold()

    # Time.

    def at(self, when: float, happens: Callable[[], object]) -> None:
        """Let something happen outside of all processes."""
        heapq.heappush(self._events, (when, next(self._numbers), happens))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with what happens outside in its order."""
        until = self.now + seconds
        while self._events and self._events[0][0] <= until:
            when, _, happens = heapq.heappop(self._events)
            self.now = max(self.now, when)
            happens()
        self.now = until

    def sleep(self, seconds: float) -> None:
        """Let the whole machine sleep."""
        for process in self.alive():
            process.frozen_s += seconds if process.paused_at is None else 0.0
        self.note(f"the machine sleeps {seconds:.0f} s")
        self.pass_time(seconds)

    def advance(self) -> bool:
        """Go to the next moment at which anything happens; False where nothing ever will."""
        due = [timer for one in self.alive() if one.paused_at is None and (timer := one.loop.next_timer()) is not None]
        due += [event[0] for event in self._events[:1]]
        if not due:
            return False
        self.pass_time(max(min(due) - self.now, 0.0))
        return True

    # Processes.

    def alive(self) -> list[Process]:
        """Return the processes that run, or are paused."""
        return [one for one in self.processes.values() if not one.is_dead and not one.has_ended]

    def _seated(self, seat: str) -> Process:
        self.counts.processes += 1
        process = Process(self, seat, f"{seat}{self.counts.processes}")
        self.processes[seat] = process
        return process

    def start_collecting(self, seat: str) -> None:
        """Start a process that collects garbage."""
        process = self._seated(seat)
        self.note(f"{process} collects garbage")
        process.start_collecting()

    def start(self, seat: str, wishes: list[Wish], *, on_cancel: OnCancel = OnCancel.CANCEL_IF_QUEUED) -> Process:
        """Start a process on a free seat."""
        process = self._seated(seat)
        self.note(f"{process} starts: {', '.join(str(wish.item) for wish in wishes)}")
        process.may_retry = {wish.item.request.key for wish in wishes if wish.retry_failed}
        process.start(wishes, on_cancel=on_cancel)
        return process

    def kill(self, process: Process, where: str) -> None:
        """End a process as SIGKILL does."""
        self.note(f"{process} is killed at {where}")
        self.counts.kills[where] += 1
        self._end(process)

    def _end(self, process: Process) -> None:
        process.is_dead = True
        if process.owner is not None:
            process.owner.forget()
        process.loop.abandon()

    def pause(self, process: Process) -> None:
        """Stop a process as SIGSTOP does."""
        self.note(f"{process} is paused")
        self.counts.pauses += 1
        process.paused_at = self.now

    def resume(self, process: Process) -> None:
        """Let it go on."""
        if process.paused_at is not None:
            self.note(f"{process} goes on")
            process.frozen_s += self.now - process.paused_at
            process.paused_at = None

    def interrupt(self, process: Process) -> None:
        """Ask a process to stop, as Ctrl-C does."""
        self.note(f"{process} is interrupted")
        self.counts.interrupts += 1
        process.interrupt()

    def turn(self, alone: Process | None = None) -> bool:
        """Run one callback, or one job of a thread, of one process; False where none has anything to do."""
        choices = [
            (process, turns)
            for process in self.alive()
            if alone in (None, process)
            and process.paused_at is None
            and (turns := process.loop.turns(in_callback=process.callbacks > 0))
        ]
        if not choices:
            return False
        process, turns = choices[self.rng.randrange(len(choices))] if len(choices) > 1 else choices[0]
        is_callback, run = process.loop.take(self.rng.randrange(turns) if turns > 1 else 0)
        process.callbacks += is_callback
        self._stack.append(process)
        self.counts.deepest = max(self.counts.deepest, len(self._stack))
        try:
            with process.loop.running():
                run()
        finally:
            self._stack.pop()
            process.callbacks -= is_callback
        if not self._stack:
            self.hold()
        return True

    def boundary(self, name: str) -> None:
        """Pass a point: the process may be killed here, or others may get their turns."""
        if not self._stack:
            return
        process, temper = self.process, self.temper
        if process.is_dead:
            raise Killed
        drawn = self.rng.random()
        if drawn < (temper.kill_there if name == temper.kill_at else temper.kill):
            self.kill(process, name)
            raise Killed
        if name == temper.interrupt_at and self.rng.random() < temper.interrupt_there:
            self.interrupt(process)
        switch = temper.switch_there if name == temper.switch_at else temper.switch
        if drawn > 1 - switch and not self._in_transaction and len(self._stack) < _DEEPEST:
            self._others_turn(process)
            if process.is_dead:
                raise Killed

    def _others_turn(self, held_up: Process) -> None:
        """Let others go on while a process is held up; often one of them alone, so that it comes far."""
        others = [one for one in self.alive() if one is not held_up and one.paused_at is None]
        alone = self.rng.choice(others) if others and self.rng.random() < 0.6 else None
        began = self.now
        for _ in range(self.rng.choice((2, 10, 80, 80))):
            if not self.turn(alone) and not self.advance():
                break
        for one in self.alive():
            if one.paused_at is None and (one is held_up or alone not in (None, one)):
                one.frozen_s += self.now - began  # it was given no turn, which is no wait of its own

    @contextlib.contextmanager
    def in_transaction(self) -> Iterator[None]:
        """Let nobody else have a turn: on SQLite they would wait."""
        self._in_transaction = True
        try:
            yield
        finally:
            self._in_transaction = False

    def committed(self) -> None:
        """Look at the ledger."""
        self.order.committed()

    def settle(self) -> None:
        """Let everybody who runs come to an end."""
        for _ in range(_MOST_TURNS):
            if not self.alive():
                return
            if not self.turn() and not self.advance():
                break
        self._stuck()

    def _stuck(self) -> NoReturn:
        self.violates("I8", f"{', '.join(map(str, self.alive()))} will never end")
        assert self.violation is not None
        raise self.violation
