"""One schedule: a wild time, then rest; everything in it is drawn from its seed."""

import random
from collections.abc import Callable
from decimal import Decimal

from media_assets.crash_points import POINTS
from media_assets.errors import ConfigurationError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets.prediction import Prediction, State
from media_assets.recall import OnCancel
from media_assets_tests.simulation.adapters import PRICE_MICRO_USD, PRICE_USD
from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.process import Item, Wish
from media_assets_tests.simulation.provider import Job, draw_weather
from media_assets_tests.simulation.world import Temper, World

ELSEWHERE = frozenset({"pinned", "step_recorded", "merged"})
"""Points of a chain, which no single purchase passes."""
SEATS = ("a", "b", "c")
COLLECTOR = "gc"
_AGAIN = 0.3
"""The part of schedules in which everything that succeeded is bought once more."""
_UNFINISHED = ("RESERVED", "SUBMITTING", "SUBMITTED", "DONE")
_KILLED_AT = (*(point for point in POINTS if point not in ELSEWHERE), "tx.begin", "tx.commit", "tx.end", "tx.read")

_WORST = (
    "claim.after",
    "claim.after",
    "intent.before",
    "intent.before",
    "intent.after",
    "post.after_body_sent",
    "id_save.before",
    "dl.mid",
    "art.after",
)
"""Points at which somebody else has to make sense of what is left."""


def draw_items(rng: random.Random) -> list[Item]:
    """Return what is bought: often the same by all, sometimes with a second take that looks alike."""
    providers = ("shows", "shows", "ends", "ends", "hides", "once")
    items = [Item(rng.choice(providers), number, 0) for number in range(rng.choice((1, 1, 2, 3)))]
    if rng.random() < 0.35:
        items.append(Item(items[0].provider, items[0].number, 1))
    return items


def draw_temper(rng: random.Random) -> Temper:
    """Return how wild it is."""
    is_deadly = rng.random() < 0.7
    return Temper(
        kill=rng.uniform(0, 0.02) if is_deadly else 0.0,
        kill_at=rng.choice(_KILLED_AT if rng.random() < 0.6 else _WORST),
        kill_there=rng.uniform(0.3, 1.0) if is_deadly else 0.0,
        interrupt_at=rng.choice(("id_save.after", "poll.each", "poll.each", "post.first_byte", "intent.after")),
        interrupt_there=rng.choice((0.0, 0.0, 0.3)),
        switch=rng.choice((0.0, 0.05, 0.2)),
        switch_at=rng.choice(("tx.begin", "tx.begin", "tx.begin", "tx.read", "tx.end", "claim.after", "intent.after")),
        switch_there=rng.choice((0.1, 0.3, 0.7)),
    )


class Schedule:
    """The moves of one world; also those of the state machine."""

    def __init__(self, desk: Desk, seed: int) -> None:
        rng = random.Random(f"schedule {seed}")  # noqa: S311 - not a secret
        items = draw_items(rng)
        self.world = World(desk, rng.getrandbits(64), items, temper=draw_temper(rng), weather=draw_weather(rng))
        self.rng = self.world.rng
        self._written_off: set[str] = set()
        self._crowds = rng.random() < 0.7
        self._starts = rng.choice((2, 3, 3, 4))
        self._turns = rng.randint(150, 1500)
        self._restless = rng.choice((0.005, 0.02, 0.05))
        self._impatience = rng.choice((0.0, 0.02))

    def run(self) -> None:
        """Play it to its end.

        Raises:
            ViolationError: An invariant does not hold.
        """
        self.change_cap()
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            self.start()
        moves: tuple[Callable[[], None], ...] = (
            self.start,
            self.start,
            self.kill,
            self.pause,
            self.resume,
            self.interrupt,
            self.interrupt,
            self.sleep,
            self.set_clock,
            self.change_cap,
            self.decide,
            self.collect,
        )
        for _ in range(self._turns):
            if self._crowds and self.world.counts.kills.total():
                self._crowd()
            if self.rng.random() < self._restless:
                self.rng.choice(moves)()
                continue
            is_still = self.rng.random() < self._impatience or not self.world.turn()
            if is_still and not self.world.advance():
                if self._starts <= 0:
                    break
                self.start()
        self.rest()

    # Moves.

    def allow_starts(self) -> None:
        """Let processes be started as often as somebody asks."""
        self._starts = 1_000_000

    def _crowd(self) -> None:
        """Let several processes at once find what a dead one has left."""
        self._crowds = False
        self._starts += 2
        for _ in SEATS:
            self.start()

    def start(self) -> None:
        """Start a process, if there is a seat."""
        taken = {one.seat for one in self.world.alive()}
        free = [seat for seat in SEATS if seat not in taken]
        if free and self._starts > 0:
            self._starts -= 1
            rng = self.rng
            wanted = rng.sample(self.world.items, min(rng.choice((1, 1, 2)), len(self.world.items)))
            on_cancel = rng.choice(list(OnCancel))
            self.world.start(free[0], [self._wish(item) for item in wanted], on_cancel=on_cancel)

    def _wish(self, item: Item) -> Wish:
        rng = self.rng
        return Wish(
            item=item,
            retry_failed=rng.random() < 0.1,
            waits=rng.random() < 0.8,
            resubmit_max_usd=PRICE_USD if rng.random() < 0.1 else Decimal(0),
        )

    def collect(self) -> None:
        """Collect garbage, beside whatever runs."""
        if not any(one.seat == COLLECTOR for one in self.world.alive()):
            self.world.start_collecting(COLLECTOR)

    def kill(self) -> None:
        """Kill a process wherever it is."""
        if alive := self.world.alive():
            self.world.kill(self.rng.choice(alive), "any")

    def pause(self) -> None:
        """Pause a process."""
        if awake := [one for one in self.world.alive() if one.paused_at is None]:
            self.world.pause(self.rng.choice(awake))

    def resume(self) -> None:
        """Let a paused process go on."""
        if paused := [one for one in self.world.alive() if one.paused_at is not None]:
            self.world.resume(self.rng.choice(paused))

    def interrupt(self) -> None:
        """Ask a process to stop."""
        if alive := self.world.alive():
            self.world.interrupt(self.rng.choice(alive))

    def sleep(self) -> None:
        """Let the machine sleep for up to two hours."""
        self.world.sleep(self.rng.choice((1.0, 30.0, 130.0, 1000.0, 7200.0)))

    def set_clock(self) -> None:
        """Set the wall clock by up to ten years."""
        self.world.wall_s = self.rng.choice((0.0, 3600.0, -3600.0, 3e8, -3e8))

    def change_cap(self) -> None:
        """Change the setting of the day's cap."""
        self.world.set_cap(self.rng.choice((1, 2, 3, 10)))

    def decide(self) -> None:
        """Let a person decide of one undecided purchase, mostly after a look at the provider's site."""
        undecided = [
            item
            for item in self.world.items
            if (row := self.world.order.rows.get(item.request.key)) and row.state == PurchaseState.UNKNOWN
        ]
        if undecided:
            self.decide_of(self.rng.choice(undecided), is_careless=self.rng.random() < 0.1)

    def decide_of(self, item: Item, *, is_careless: bool = False) -> None:
        """Let a person decide what became of a purchase."""
        world, key = self.world, item.request.key
        if world.alike(key) & set(world.provider.under_way) and not is_careless:
            return
        world.person(lambda: self._decide(item, key, is_careless=is_careless))

    def _decide(self, item: Item, key: str, *, is_careless: bool) -> None:
        world = self.world
        with open_ledger(world.desk.home) as ledger:
            row = ledger.purchases.get(key)
            if row is None or row.state is not PurchaseState.UNKNOWN or ledger.owner.is_alive(row.owner):
                return
            world.counts.decisions += 1
            jobs = self._unaccounted(key)
            was_accepted = row.prediction_id is not None
            if is_careless and was_accepted:
                self._is_refused(ledger, item, row)
            elif (is_careless or not jobs) and not was_accepted:
                world.note(f"a person: resubmit {item}")
                if jobs or key in world.provider.under_way:
                    world.misjudged.add(key)
                world.order.orders(key)
                ledger.decisions.resubmit(row, who="a person")
            elif jobs and item.provider != "once" and self.rng.random() < 0.6 and world.provider.knows(jobs[-1]):
                world.note(f"a person: adopt {jobs[-1].id} for {item}")
                ledger.decisions.adopt(row, Prediction(id=jobs[-1].id, state=State.UNKNOWN), who="a person")
            else:
                world.note(f"a person: write off {item}")
                jobs += self._lookalikes(row, jobs)
                # What a policy sent once more counts as billed already.
                counted = world.order.by_policy(key) * PRICE_MICRO_USD
                cost = max(sum(job.cost_micro_usd for job in jobs) - counted, 0)
                self._written_off |= {job.id for job in jobs}
                ledger.decisions.write_off(row, cost_micro_usd=cost, who="a person")

    def _is_refused(self, ledger: Ledger, item: Item, row: PurchaseRow) -> None:
        """Hold that nobody can have it sent again as if it had been free, who does not care what it was."""
        self.world.note(f"a person: tries to resubmit {item}")
        try:
            ledger.decisions.resubmit(row, who="a person")
        except ConfigurationError:
            return
        self.world.violates(
            "I1", f"{item} was accepted as {row.prediction_id}, and is to be submitted as if it was not"
        )

    def _lookalikes(self, row: PurchaseRow, jobs: list[Job]) -> list[Job]:
        """Return a lookalike's prediction that a purchase had adopted: its bill comes here, whoever knows it still."""
        own = self.world.provider.jobs.get(row.prediction_id or "")
        return [] if own is None or own in jobs or own.id in self._written_off else [own]

    def _unaccounted(self, key: str) -> list[Job]:
        """Return what the provider has of such a request and no other purchase or earlier submission has."""
        alike = self.world.alike(key)
        query = (
            "SELECT prediction_id FROM attempt WHERE request_key=? AND (request_key<>? OR n<"
            "(SELECT max(n) FROM attempt WHERE request_key=?))"
        )
        known = {one for other in alike for (one,) in self.world.desk.checks.execute(query, (other, key, key))}
        known |= {row.prediction_id for row in self.world.order.rows.values() if row.request_key != key}
        known |= self._written_off
        rows = self.world.order.rows.values()
        undecided = {PurchaseState.UNKNOWN, PurchaseState.SUBMITTING}
        if any(row.state in undecided for row in rows if row.request_key in alike - {key}):
            alike = {key}  # what became of the others is still open, and theirs is theirs
        return [job for job in self.world.provider.of(alike) if job.id not in known]

    # Rest.

    def rest(self) -> None:
        """Let nothing go wrong any more, bring everything to its end, and look at all of it."""
        world = self.world
        world.temper = Temper()
        for process in world.alive():
            world.resume(process)
        world.settle()
        world.note("rest")
        world.provider.rest()
        world.set_cap(100)
        for _ in range(3):
            self._rerun(self._of_state(*_UNFINISHED, "UNKNOWN"))
            if not self._of_state(*_UNFINISHED):
                break
            world.pass_time(4000.0)
        world.pass_time(10_000.0)
        if world.counts.kills.total():
            world.person(self._sweep)
        world.order.at_rest()
        world.hold()
        self._decide_the_rest()
        if self.rng.random() < _AGAIN:
            self._rerun_costs_nothing()

    def _sweep(self) -> None:
        """Clean up after those who died, as whoever opens the ledger next does."""
        with open_ledger(self.world.desk.home) as ledger:
            ledger.sweep(self.world.desk.home / "artifacts")

    def _rerun(self, items: list[Item]) -> None:
        if items:
            self.world.start(SEATS[0], [Wish(item=item) for item in items])
            self.world.settle()

    def _of_state(self, *states: str) -> list[Item]:
        rows = self.world.order.rows
        return [item for item in self.world.items if (row := rows.get(item.request.key)) and row.state in states]

    def _rerun_costs_nothing(self) -> None:
        provider = self.world.provider
        before = (provider.posts, provider.downloads, provider.questions)
        self._rerun(self._of_state("SUCCEEDED"))
        if (provider.posts, provider.downloads, provider.questions) != before:
            self.world.violates("I6", "a rerun of what had succeeded called a provider")
        self.world.hold()

    def _decide_the_rest(self) -> None:
        if undecided := self._of_state("UNKNOWN"):
            for item in undecided:
                self.decide_of(item)
            self._rerun(self._of_state(*_UNFINISHED, "CANCELED"))
            self.world.order.at_rest()
            self.world.hold()


def play(desk: Desk, seed: int) -> World:
    """Play the schedule of a seed and return its world, with the violation if there was one."""
    schedule = Schedule(desk, seed)
    world = schedule.world
    try:
        schedule.run()
    except AssertionError as error:
        if error is not world.violation:
            raise
    finally:
        world.close()
        world.counts.posts = world.provider.posts
    return world
