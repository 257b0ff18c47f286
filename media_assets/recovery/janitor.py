"""The janitor: brings to its end whatever was begun and is no longer worked on. It never submits, so it never spends.

What became of a submission without a reply is found out, what runs is waited for, what was made is fetched, judged and
stored, exactly as a rerun would. What a stopped run wanted called back is, while that is free; what was never accepted
is put back for whoever wants it. Any number of janitors and runs may be at work at once: whoever has the claim works,
and the others leave it alone.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from media_assets.catalog import ModelSpec, Recovery
from media_assets.errors import (
    ConfigurationError,
    DefectError,
    LedgerError,
    MediaAssetsError,
    StoppedError,
    UnknownModelError,
)
from media_assets.judging import question_of, redrafted
from media_assets.ledger import Ledger
from media_assets.ledger.claims import Busy
from media_assets.ledger.rows import UNFINISHED, PurchaseRow, PurchaseState
from media_assets.media.questions import Question
from media_assets.orders import Order
from media_assets.pricing import from_micro_usd
from media_assets.prompt import Step
from media_assets.purchase import Purchasing
from media_assets.recall import Recall
from media_assets.request import GenerationRequest
from media_assets.steps import draft_image
from media_assets.studio import Studio
from media_assets.threads import in_thread

_log = logging.getLogger(__name__)

_PLAN_ID = "janitor"
"""Of no plan: what is gone on with keeps the money that was reserved for it."""


class Outcome(StrEnum):
    """What came of one purchase."""

    FINISHED = "finished"
    """Made, fetched and stored."""
    FAILED = "failed"
    """It has ended without a file that is good enough; the ledger says whether that cost money."""
    CALLED_BACK = "called back"
    """A run that was stopped had no use for it any more; it was canceled while it was free."""
    RELEASED = "released"
    """Nothing of it is at its provider; its money is free again."""
    HELD = "held"
    """Nobody can say yet, or ever, what came of it: it keeps its money."""
    OPEN = "still open"
    """It does not get on just now; the next janitor, or a run, goes on with it."""
    AT_WORK = "at work"
    """Somebody who is alive works on it."""


_OF_STATE = {
    PurchaseState.SUCCEEDED: Outcome.FINISHED,
    PurchaseState.FAILED_FREE: Outcome.FAILED,
    PurchaseState.FAILED_PAID: Outcome.FAILED,
    PurchaseState.LOST_OUTPUT: Outcome.FAILED,
    PurchaseState.CANCELED: Outcome.RELEASED,
    PurchaseState.UNKNOWN: Outcome.HELD,
}


@dataclass(frozen=True, kw_only=True)
class Cleared:
    """One purchase, and what came of it."""

    row: PurchaseRow
    """As it stands now."""
    was: PurchaseState
    outcome: Outcome
    why: str = ""
    """For people."""
    error: MediaAssetsError | None = None


Tell = Callable[[PurchaseRow, float | None, str], None]
"""Called with a purchase, the fraction done and what is waited for; from any thread."""


def _tell_nobody(row: PurchaseRow, fraction: float | None, note: str) -> None:
    del row, fraction, note


def intention(row: PurchaseRow, ledger: Ledger) -> str:
    """Return what a janitor would do with an unfinished purchase; blocking, and nothing is changed or sent."""
    if ledger.owner.is_alive(row.owner):
        return "leave it to the run that works on it"
    if row.state is PurchaseState.RESERVED or row.recovery is Recovery.FREE:
        return "release it"
    if row.prediction_id is not None and row.cancel_requested_at is not None:
        return f"call prediction {row.prediction_id} back if it is free, else keep what it makes"
    if row.prediction_id is not None:
        return f"ask {row.provider} for prediction {row.prediction_id}, and keep what it made"
    if row.recovery is Recovery.LISTED:
        return f"look for it in {row.provider}'s list"
    return f"hold it, unless its reply is here: {row.provider} keeps no list"


class Janitor:
    """Works on the unfinished purchases of one studio."""

    def __init__(self, studio: Studio, *, waits: bool = True, tell: Tell = _tell_nobody) -> None:
        self._studio = studio
        self._waits = waits
        self._tell = tell
        self._purchasing = Purchasing(studio.ledger, studio.store, studio.transport)

    async def clear(self, rows: Iterable[PurchaseRow], on_end: Callable[[Cleared], None]) -> None:
        """Bring purchases to their end, several at once; one's trouble stops no other. Free.

        Args:
            rows: As :meth:`Lookups.unfinished` gave them, even before this studio was opened.
            on_end: Called with each as soon as it is done with.
        """
        at_once = asyncio.Semaphore(self._studio.max_in_flight)

        async def one(row: PurchaseRow) -> None:
            async with at_once:
                on_end(await self._clear(row))

        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(one(row))

    async def _clear(self, found: PurchaseRow) -> Cleared:
        busy, error = None, None
        try:
            busy = await self._finish(found)
        except MediaAssetsError as caught:
            error = caught
        except Exception as caught:  # noqa: BLE001 - P6: our own bug with one purchase must not end the others
            _log.exception("purchase %s: a defect", found.request_key[:12])
            error = DefectError.of(caught)
        row = found
        with contextlib.suppress(LedgerError):  # then why it did not get on has been told already
            row = await self._now(found) or found
        outcome = _OF_STATE.get(row.state, Outcome.OPEN)
        if isinstance(error, StoppedError) and outcome is Outcome.RELEASED:
            outcome = Outcome.CALLED_BACK
        if found.state is PurchaseState.RESERVED and outcome is Outcome.FAILED:
            outcome = Outcome.RELEASED  # a retry that was not sent: it has failed before, as it says
        if busy is not None and row.state in UNFINISHED:
            outcome = Outcome.OPEN if busy.reason else Outcome.AT_WORK
        return Cleared(row=row, was=found.state, outcome=outcome, why=_why(row, busy, error), error=error)

    async def _finish(self, found: PurchaseRow) -> Busy | None:
        row = await self._now(found)
        if row is None or row.state not in UNFINISHED:
            return None
        if row.state is not PurchaseState.RESERVED and (problem := self._key_problem(row)):
            message = f"{row.provider} cannot be asked: {problem}."
            raise ConfigurationError(message)
        order = await in_thread(self._order, row)
        came = await self._purchasing.finish_begun(order)
        return came if isinstance(came, Busy) else None

    async def _now(self, found: PurchaseRow) -> PurchaseRow | None:
        return await in_thread(self._studio.ledger.purchases.get, found.request_key)

    def _key_problem(self, row: PurchaseRow) -> str | None:
        return self._studio.transport.key_problem(row.provider)

    def _order(self, row: PurchaseRow) -> Order:
        """Return the order that a purchase was begun for, as far as the ledger tells; blocking."""
        request, planner = row.request(), self._studio.planner
        spec = planner.catalog.get(row.model)
        return Order(
            request=request,
            spec=spec,
            prompt_key=row.prompt_key,
            plan_id=_PLAN_ID,
            estimate_usd=from_micro_usd(row.estimate_micro_usd),
            today=self._studio.today(),
            assume_usd=planner.settings.assume_usd,
            inputs=self._inputs(request),
            question=self._question(row, request, spec),
            waits=self._waits,
            tell=lambda fraction: self._tell(row, fraction, ""),
            say=lambda message: self._tell(row, None, message),
            recall=_recall(row),
            calls_back=False,
        )

    def _inputs(self, request: GenerationRequest) -> dict[str, Path]:
        """Return where the files are that a request builds on; their names tell it from others in a provider's list."""
        keys = request.input_keys()
        rows = self._studio.ledger.purchases.get_many(keys.values())
        made = {role: rows[key].artifact for role, key in keys.items() if key in rows}
        return {role: self._studio.store.path(artifact) for role, artifact in made.items() if artifact is not None}

    def _question(self, row: PurchaseRow, request: GenerationRequest, spec: ModelSpec) -> Question:
        settings = self._studio.planner.settings
        draft = redrafted(spec, request)
        if request.step is Step.IMAGE and draft.size_px is None:
            # Of a model that cannot be asked for a size, the prompt says which one is needed.
            pinned = self._studio.ledger.prompts.get(row.prompt_key)
            with contextlib.suppress(UnknownModelError):
                if pinned is not None:
                    route = self._studio.planner.models(pinned.prompt, Step.IMAGE)
                    again = draft_image(pinned.prompt, spec, bounds=settings.bounds, route=route)
                    draft = again if again.request.key == request.key else draft
        return question_of(draft, min_image_side_px=settings.min_image_side_px)


def _recall(row: PurchaseRow) -> Recall:
    """Return the word that a run has given before it died, if so: it had no use for the purchase any more."""
    recall = Recall()
    if row.cancel_requested_at is not None:
        recall.ask("the run that wanted it was stopped", spares_running=False)
    return recall


def _why(row: PurchaseRow, busy: Busy | None, error: MediaAssetsError | None) -> str:
    if error is not None:
        return error.message
    if busy is not None:
        wait = f" (for another {busy.wait_s:.0f} s at most)" if busy.wait_s is not None else ""
        return f"{busy.reason}{wait}" if busy.reason else "a run that is alive works on it"
    if row.state is PurchaseState.SUCCEEDED:
        return ""
    return (row.error or {}).get("message", "")
