"""The studio: plan a prompt, make one, stream many. This is the library's front door.

``open_studio`` gives a studio on a home folder; the CLI and the Dagster layer use nothing else.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

from media_assets.artifact import ArtifactStore
from media_assets.caps import Caps
from media_assets.catalog import load_catalog
from media_assets.chain import Chain, ChainContext, Say, Tell
from media_assets.crash_points import crash_point
from media_assets.errors import DefectError, MediaAssetsError, Problem
from media_assets.exporting import export_film
from media_assets.film import FILMS, Film, StepResult
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.ownership import OwnershipOptions
from media_assets.ledger.pins import SupersededError
from media_assets.plan import Plan, Planner, PlanSettings
from media_assets.prompt import Prompt, Step
from media_assets.providers.endpoints import Endpoints
from media_assets.providers.transport import Transport, TransportOptions, open_transport
from media_assets.providers.transport.spool import Spool
from media_assets.purchase import Purchasing
from media_assets.reserving import Place, Places, Reservations, Reserving
from media_assets.routes import UnknownPolicy, UnknownTerms
from media_assets.standing import Standing, Standings, missing_steps
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)

ALL_STEPS = frozenset(Step)

_MOST_WAITING = 100
"""Prompts of a stream that wait for money at once; more are not drawn."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a chain, for progress bars and logs."""

    key: str
    step: Step
    what: str
    """started, progress, waiting, finished or failed."""
    fraction: float | None
    result: StepResult | None
    note: str = ""
    """What it waits for: money that others have reserved, or word from a provider; and why it has failed."""


OnEvent = Callable[[Event], None]
"""Called from any thread, often; must be quick and must not raise."""


def _ignore(event: Event) -> None:
    del event


@dataclass(frozen=True, kw_only=True)
class MakeOptions:
    """How far a make may leave what is finished."""

    upgrade: bool = False
    """Make degraded steps again."""
    retry_failed: bool = False
    """Try what failed for good again, which may cost money again."""
    waits: bool = True
    """Whether to wait until a provider can say what came of a submission whose reply was lost."""
    unknown: UnknownPolicy | None = None
    """What is done where nobody can know whether a submission was billed; None: what the studio was opened with."""
    source: str = "library"
    """Where the prompts came from, for people."""
    pinned: bool = False
    """Whether the prompts were read from the ledger: not pinned anew, and not begun once others are pinned."""
    seen: Mapping[str, str] = field(default_factory=dict)
    """Digests that were pinned when they were read, by key, where they are not the prompts' own: new takes."""
    run_id: str = ""
    """The run whose cap counts, at most 80 characters; empty: each call is a run of its own."""

    def while_pinned(self, prompt: Prompt) -> str:
        """Return the digest that has to be pinned for a prompt to be bought; empty: whatever is."""
        return self.seen.get(prompt.key, prompt.digest) if self.pinned else ""


@dataclass(frozen=True, kw_only=True)
class StudioOptions:
    """What a studio is opened with; ``settings.py`` reads the same from the environment."""

    ledger_url: str | None = field(default=None, repr=False)
    """A Postgres or SQLite URL in place of ``<home>/ledger.db``."""
    ownership: OwnershipOptions = field(default_factory=OwnershipOptions)
    """How processes of many hosts own what they work on, where the ledger is on Postgres."""
    plan: PlanSettings = field(default_factory=PlanSettings)
    caps: Caps = field(default_factory=Caps)
    """What may be spent at most."""
    budget_wait_s: float = 1800
    """How long a prompt waits for money that others have reserved, while none of it is settled."""
    unknown: UnknownTerms = field(default_factory=UnknownTerms)
    """What is done where nobody can know whether a submission was billed."""
    max_in_flight: int = 8
    """Prompts worked on at once."""
    endpoints: Endpoints = field(default_factory=Endpoints)
    """Where the providers are asked."""
    transport: TransportOptions = field(default_factory=TransportOptions)
    """How the providers are talked to, keys included."""
    catalog_folder: Path | None = None
    """Folder of the user's own model files."""


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What one call of the studio asks for, and the place of one of its prompts."""

    wanted: frozenset[Step]
    options: MakeOptions
    on_event: OnEvent
    place: Place


@dataclass(frozen=True, kw_only=True)
class _Make:
    """One prompt's make: what was asked, and what is there already."""

    prompt: Prompt
    standings: Mapping[Step, Standing]
    call: _Call
    reserving: Reserving
    tell: Tell
    say: Say


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Makes films with one ledger and one store. Open it with :func:`open_studio`."""

    home: Path
    ledger: Ledger
    store: ArtifactStore
    transport: Transport
    planner: Planner
    reservations: Reservations
    unknown: UnknownTerms
    max_in_flight: int
    today: Callable[[], date]

    async def plan(self, prompt: Prompt, *, upgrade: bool = False) -> Plan:
        """Return what making ``prompt`` would do. Free: writes nothing, sends nothing."""
        return await in_thread(self._plan, prompt, upgrade=upgrade)

    def _plan(self, prompt: Prompt, *, upgrade: bool) -> Plan:
        pinned = self.ledger.prompts.effective(prompt)
        standings = Standings(self.ledger, self.store).of(pinned, upgrade=upgrade)
        plan = self.planner.plan(pinned, today=self.today(), standings=standings)
        short = self.reservations.shortfalls(pinned, plan.need())
        return replace(plan, problems=(*plan.problems, *(Problem("", "budget", str(one)) for one in short)))

    def missing(self, prompt: Prompt, standings: Mapping[Step, Standing], wanted: Collection[Step]) -> frozenset[Step]:
        """Return the steps that have to be made of a prompt: the wanted ones that are not there, and what they need."""
        match_clip = self.planner.settings.match_clip
        return missing_steps(frozenset(wanted), standings, spoken=prompt.script is not None, match_clip=match_clip)

    async def make(
        self,
        prompt: Prompt,
        *,
        wanted: Collection[Step] = ALL_STEPS,
        options: MakeOptions | None = None,
        on_event: OnEvent = _ignore,
    ) -> Film:
        """Make one prompt's film. **Costs money**, at most the plan's estimate, for models that do.

        Args:
            prompt: What is asked for; it is pinned under its key.
            wanted: The steps that are wanted; what they need is made too.
            options: How far finished steps may be left.
            on_event: Told of progress.

        Raises:
            MediaAssetsError: Whatever ended the chain; finished steps are kept, and a rerun goes on from them.
        """
        film = await self.attempt(prompt, wanted=wanted, options=options, on_event=on_event)
        if film.error is not None:
            raise film.error
        return film

    async def attempt(
        self,
        prompt: Prompt,
        *,
        wanted: Collection[Step] = ALL_STEPS,
        options: MakeOptions | None = None,
        on_event: OnEvent = _ignore,
    ) -> Film:
        """Do as :meth:`make`, with the error in ``Film.error`` instead of raised. **Costs money** likewise."""
        call = _Call(wanted=frozenset(wanted), options=_in_a_run(options), on_event=on_event, place=Place(Places(1)))
        await call.place.take()
        return await self._attempt_in(call, prompt)

    async def _attempt_in(self, call: _Call, prompt: Prompt) -> Film:
        film = Film(key=prompt.key)
        try:
            if not call.options.pinned:
                (prompt,) = await in_thread(self.ledger.prompts.pin, [prompt], source=call.options.source)
                crash_point("pinned")
            await self._attempt(call, prompt, film)
        except asyncio.CancelledError:
            await in_thread(self.ledger.prompts.set_status, prompt, "pending")
            raise
        except SupersededError:
            film.superseded = True
            return film
        except MediaAssetsError as error:
            film.error = error
        except Exception as error:  # noqa: BLE001 - P6: our own bug in one prompt must not end a batch
            _log.exception("%s: a defect", prompt.key)
            film.error = DefectError.of(error)
        try:
            await in_thread(self._note, prompt, film)
        except Exception:  # noqa: BLE001 - likewise
            # The film and its error are what was asked for; the note is for people who look later.
            _log.exception("%s: how it stands could not be noted", prompt.key)
        return film

    async def _attempt(self, call: _Call, prompt: Prompt, film: Film) -> None:
        if while_pinned := call.options.while_pinned(prompt):
            await in_thread(self.ledger.prompts.require_pinned, prompt.key, while_pinned)
        look = Standings(self.ledger, self.store).of
        standings = await in_thread(look, prompt, upgrade=call.options.upgrade)

        def tell(step: Step, what: str, fraction: float | None, result: StepResult | None, note: str = "") -> None:
            call.on_event(Event(key=prompt.key, step=step, what=what, fraction=fraction, result=result, note=note))

        def say(step: Step, why: str) -> None:
            tell(step, "waiting", None, None, why)

        reserving = Reserving(self.reservations, prompt, run_id=call.options.run_id, place=call.place, tell=say)
        make = _Make(prompt=prompt, standings=standings, call=call, reserving=reserving, tell=tell, say=say)
        missing = self.missing(prompt, standings, call.wanted)
        if not missing:
            # Everything is there: nothing to quote, reserve or check, however many prompts ask.
            call.place.pass_on()
            await self._run_chain(make, film)
            return
        try:
            plan = await in_thread(self.planner.plan, prompt, today=self.today(), standings=standings)
            plan.require()
            await reserving.open(plan.need(missing), while_pinned=while_pinned)
            await self._run_chain(make, film)
        finally:
            await reserving.close()

    async def stream(
        self,
        prompts: Iterable[Prompt],
        *,
        wanted: Collection[Step] = ALL_STEPS,
        options: MakeOptions | None = None,
        on_event: OnEvent = _ignore,
    ) -> AsyncGenerator[Film, None]:
        """Make many prompts, each through its own chain, and yield each film as it ends. **Costs money** likewise.

        At most ``max_in_flight`` are at work at once; prompts are drawn as places free up, so a long iterable is
        never held in memory. They are asked for money in their order. One that waits for it, or for a provider to tell
        what came of a submission, leaves its place to others, as far as not too many wait. One prompt's failure is its
        film's ``error`` and stops nobody else.
        """
        source, places = iter(prompts), Places(self.max_in_flight)
        call = _Call(wanted=frozenset(wanted), options=_in_a_run(options), on_event=on_event, place=Place(places))
        working: set[asyncio.Task[Film]] = set()
        freed = asyncio.ensure_future(places.freed())
        try:
            while True:
                while not places.are_taken() and len(working) < self.max_in_flight + _MOST_WAITING:
                    if (prompt := next(source, None)) is None:
                        break
                    place = Place(places)
                    await place.take()
                    working.add(asyncio.ensure_future(self._work(replace(call, place=place), prompt)))
                if not working:
                    return
                await asyncio.wait({*working, freed}, return_when=asyncio.FIRST_COMPLETED)
                if freed.done():
                    freed = asyncio.ensure_future(places.freed())
                for task in [task for task in working if task.done()]:
                    working.remove(task)
                    yield task.result()
        finally:
            for running in (*working, freed):
                running.cancel()
            await asyncio.gather(*working, freed, return_exceptions=True)

    async def _work(self, call: _Call, prompt: Prompt) -> Film:
        try:
            return await self._attempt_in(call, prompt)
        finally:
            call.place.end()

    async def _run_chain(self, make: _Make, film: Film) -> None:
        prompt, policy = make.prompt, make.call.options.unknown
        chain = Chain(
            ChainContext(
                prompt=prompt,
                reserving=make.reserving,
                standings=make.standings,
                planner=self.planner,
                ledger=self.ledger,
                store=self.store,
                purchasing=Purchasing(self.ledger, self.store, self.transport),
                today=self.today(),
                # What made a step degraded has failed before, and is what an upgrade tries again.
                retry_failed=make.call.options.retry_failed or make.call.options.upgrade,
                waits=make.call.options.waits,
                unknown=self.unknown if policy is None else replace(self.unknown, policy=policy),
                tell=make.tell,
                say=make.say,
            )
        )
        for step, result in (await chain.run(make.call.wanted)).items():
            film.add(step, result, chain.outlays.of(step))
        film.error = chain.failure
        merged = film.steps.get(Step.MERGED)
        if film.error is None and merged is not None and merged.artifact is not None:
            film.path = await in_thread(export_film, self.home, self.ledger, self.store, prompt, merged.artifact)
            crash_point("merged")

    def _note(self, prompt: Prompt, film: Film) -> None:
        if film.error is not None:
            status = "pending" if film.deferred else "failed"
            self.ledger.prompts.set_status(prompt, status, film.error.as_dict())
            return
        done = "degraded" if film.degraded else "done"
        self.ledger.prompts.set_status(prompt, done if film.path is not None else "pending")


def _in_a_run(options: MakeOptions | None) -> MakeOptions:
    chosen = options or MakeOptions()
    return chosen if chosen.run_id else replace(chosen, run_id=secrets.token_hex(8))


def _sweep_replies(spool: Spool, ledger: Ledger) -> None:
    """Remove raw replies whose purchases have come to an end."""
    if tokens := spool.tokens():
        for token in ledger.purchases.replies_done_with(tokens):
            spool.drop(token)


def _today() -> date:
    return datetime.now(UTC).date()


@contextlib.contextmanager
def open_studio(
    home: Path, options: StudioOptions | None = None, *, today: Callable[[], date] = _today
) -> Iterator[Studio]:
    """Open a studio on a folder of state, and clean up after processes that died there.

    Args:
        home: The folder of all state; made if it is not there.
        options: None takes the defaults; nothing is read from the environment.
        today: Decides which prices are in force.

    Raises:
        MediaAssetsError: The home, the ledger or the catalog cannot be used.
    """
    chosen = options or StudioOptions()
    store = ArtifactStore(home / "artifacts")
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(home, chosen.ledger_url, chosen.ownership))
        ledger.sweep(store.root, home / FILMS)
        spool = Spool(ledger.spool_root)
        _sweep_replies(spool, ledger)
        transport = open_transport(chosen.endpoints, chosen.transport, spool)
        stack.callback(transport.close)
        yield Studio(
            home=home,
            ledger=ledger,
            store=store,
            transport=transport,
            planner=Planner(
                catalog=load_catalog(chosen.catalog_folder),
                ledger=ledger,
                store=store,
                settings=chosen.plan,
                key_problem=transport.key_problem,
            ),
            reservations=Reservations(ledger=ledger, caps=chosen.caps, wait_s=chosen.budget_wait_s, today=today),
            unknown=chosen.unknown,
            max_in_flight=chosen.max_in_flight,
            today=today,
        )
