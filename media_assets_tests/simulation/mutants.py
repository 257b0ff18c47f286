"""Protocols that are wrong on purpose: each is the product with one rule taken out, and has to be caught.

A harness that lets one of them pass would let the same mistake of ours pass.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.artifact import Artifact, ArtifactStore, sha256_of
from media_assets.canonical import digest_of
from media_assets.errors import (
    Billed,
    PredictionFailedError,
    ProviderUnavailableError,
    StoppedError,
    UnknownOutcomeError,
)
from media_assets.finishing import Finishing
from media_assets.ledger import budgets, claiming, decisions, purchases
from media_assets.ledger.budgets import Cap
from media_assets.ledger.claiming import Claiming
from media_assets.ledger.claims import Busy, Claim, known_of
from media_assets.ledger.lookups import Lookups
from media_assets.ledger.ownership import Owner
from media_assets.ledger.purchases import Purchases
from media_assets.ledger.rows import PurchaseRow, PurchaseState, may_be_taken
from media_assets.ledger.schema import budget, purchase
from media_assets.prediction import State
from media_assets.providers import transport
from media_assets.providers.transport import replies
from media_assets.providers.transport.follow import Following
from media_assets.request import GenerationRequest
from media_assets.submission import Submission
from media_assets.threads import in_thread
from media_assets.undecided import Undecided
from media_assets_tests.simulation.adapters import Ends
from media_assets_tests.simulation.desk import Desk

Patch = pytest.MonkeyPatch


def no_fence(patch: Patch, desk: Desk) -> None:
    """A stale writer changes the row all the same."""
    change = Claiming._change

    def anyhow(self: Claiming, connection: sa.Connection, claim: Claim, *arguments: Any) -> Any:
        fence = sa.select(purchase.c.fence).filter_by(request_key=claim.request_key)
        return change(self, connection, replace(claim, fence=connection.execute(fence).scalar_one()), *arguments)

    patch.setattr(Claiming, "_change", anyhow)


def no_intent(patch: Patch, desk: Desk) -> None:
    """Nothing is written down before the submission."""
    patch.setattr(Purchases, "write_intent", lambda *_, **__: secrets.token_hex(16))


def lost_is_unsent(patch: Patch, desk: Desk) -> None:
    """A lost reply counts as a submission that never left."""

    def unsent(adapter: Any, reason: str) -> ProviderUnavailableError:
        return ProviderUnavailableError(reason, provider=adapter.name, billed=Billed.NO)

    patch.setattr(transport, "unknown", unsent)


def a_server_error_is_a_refusal(patch: Patch, desk: Desk) -> None:
    """A 500 counts as not accepted."""
    patch.setattr(replies, "REFUSED", replies.REFUSED | {500})


def not_found_is_a_proof(patch: Patch, desk: Desk) -> None:
    """A prediction that its provider does not know counts as never bought."""
    follow = Finishing.follow

    async def forgetful(self: Finishing, claim: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return await follow(self, claim, *arguments, **named)
        except UnknownOutcomeError as error:
            never = StoppedError(error.message)
            await in_thread(self._ledger.purchases.write_failed, claim, None, never, outcome="interrupted")
            raise

    patch.setattr(Finishing, "follow", forgetful)


def settled_after_done(patch: Patch, desk: Desk) -> None:
    """The end is written in one transaction, and what it cost in the next."""

    def write_done(self: Purchases, claim: Any, prediction: Any, settlement: Any) -> None:
        with self._database.write(point="done") as connection:
            self._change(connection, claim, {**known_of(prediction), "state": PurchaseState.DONE})
        with self._database.write() as connection:
            self._change(connection, claim, self._settled(connection, claim, settlement))

    patch.setattr(Purchases, "write_done", write_done)


def settled_before_done(patch: Patch, desk: Desk) -> None:
    """What it cost is written in one transaction, and the end in the next."""
    write = Purchases.write_done

    def write_done(self: Purchases, claim: Any, prediction: Any, settlement: Any) -> None:
        with self._database.write() as connection:
            budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=settlement.cost_micro_usd)
        write(self, claim, prediction, settlement)

    patch.setattr(Purchases, "write_done", write_done)


def the_key_names_the_run(patch: Patch, desk: Desk) -> None:
    """Each run has request keys of its own."""

    def key(self: GenerationRequest) -> str:
        world = desk.world
        run = world.process.name if world is not None and world.is_at_work else ""
        return digest_of([self._as_dict(), run])

    patch.setattr(GenerationRequest, "key", property(key))


def nobody_else_lives(patch: Patch, desk: Desk) -> None:
    """What another process works on may be taken from it, dead or alive."""

    def busy(connection: sa.Connection, owner: Owner, row: PurchaseRow) -> Busy | None:
        return Busy() if row.owner == owner.id and owner.holds(row.request_key) else None

    patch.setattr(claiming, "busy_with", busy)


def silence_is_believed_at_once(patch: Patch, desk: Desk) -> None:
    """A list is asked at once, and what it does not show was never accepted."""
    patch.setattr(Undecided, "_left_s", lambda *_: (0.0, 0.0))


def a_list_of_ends_is_a_list_of_all(patch: Patch, desk: Desk) -> None:
    """What still runs counts as never accepted, where the list shows what has ended."""
    patch.setattr(Ends, "lists_running", True)


def unknown_gives_its_money_back(patch: Patch, desk: Desk) -> None:
    """A purchase of unknown outcome keeps no reservation."""
    write = Purchases.write_unknown

    def write_unknown(self: Purchases, claim: Any, error: Any, *, token: str | None = None) -> None:
        write(self, claim, error, token=token)
        with self._database.write() as connection:
            budgets.settle(connection, request_key=claim.request_key, cost_micro_usd=0)

    patch.setattr(Purchases, "write_unknown", write_unknown)


def a_plan_keeps_its_money(patch: Patch, desk: Desk) -> None:
    """The purchase does not take the plan's reservation over, so that it goes when the plan is closed."""
    patch.setattr(budgets, "take_over", lambda *_, **__: None)


def the_id_is_not_saved(patch: Patch, desk: Desk) -> None:
    """It is asked about the prediction before its id is in the ledger."""

    async def nothing(*_: Any) -> None:
        """Save nothing."""

    patch.setattr(Submission, "_write_submitted", nothing)


def an_id_may_be_taken_twice(patch: Patch, desk: Desk) -> None:
    """What another purchase has is adopted from a list all the same."""
    patch.setattr(Lookups, "ids_taken", lambda *_: set())
    for module in (purchases, decisions):
        patch.setattr(module, "is_taken", lambda *_: False)


def reservations_do_not_count(patch: Patch, desk: Desk) -> None:
    """A cap is held against what is spent alone."""

    def hold(connection: sa.Connection, cap: Cap, total: int) -> bool:
        found = connection.execute(sa.select(budget).where(budget.c.scope == cap.scope)).one_or_none()
        if found is None:
            values = {"cap_micro_usd": cap.micro_usd, "reserved_micro_usd": total, "spent_micro_usd": 0}
            connection.execute(sa.insert(budget).values(scope=cap.scope, overrun=False, **values))
            return total <= cap.micro_usd
        more = {"cap_micro_usd": cap.micro_usd, "reserved_micro_usd": found.reserved_micro_usd + total}
        connection.execute(sa.update(budget).where(budget.c.scope == cap.scope).values(more))
        return bool(found.spent_micro_usd + total <= cap.micro_usd)

    patch.setattr(budgets, "_hold", hold)


def what_failed_is_bought_again(patch: Patch, desk: Desk) -> None:
    """A paid failure is tried again by the next run, without being asked."""

    def always(row: Any, **terms: Any) -> bool:
        return row.state is PurchaseState.FAILED_PAID or may_be_taken(row, **terms)

    patch.setattr(claiming, "may_be_taken", always)


def recorded_before_it_is_stored(patch: Patch, desk: Desk) -> None:
    """The ledger says that it has the file, and then the file is written."""

    def keep(self: Finishing, claim: Any, path: Any, info: Any, work: Any, *, notes: Any, failed: Any) -> None:
        made = Artifact(sha256=sha256_of(path), info=info)
        self._ledger.purchases.write_stored(claim, made, notes=notes, duration_s=0.0, failed=failed)
        work.is_recorded = True
        store: ArtifactStore = self._store
        store.put(path, info, owner=self._ledger.owner.id, token=work.token, wanted_by=claim.request_key)

    patch.setattr(Finishing, "_keep", keep)


def stopped_is_unsent(patch: Patch, desk: Desk) -> None:
    """A run that is stopped while it submits takes the submission for one that never left."""

    async def at_once(self: Submission, work: Any) -> Any:
        try:
            return await work
        except BaseException as error:
            await self.release(error)
            raise

    async def forget(*_: Any, **__: Any) -> None:
        """Leave it to be released."""

    patch.setattr(Submission, "_to_the_end", at_once)
    patch.setattr(Submission, "_fail", forget)


def asked_to_cancel_is_canceled(patch: Patch, desk: Desk) -> None:
    """A prediction counts as canceled, free, as soon as its provider took the request."""
    asked = Following._asked

    async def believe(self: Following, prediction: Any) -> Any:
        if self.recall.is_heeded:
            failure = PredictionFailedError("canceled", billed=Billed.NO)
            return replace(prediction, state=State.CANCELED, failure=failure)
        return await asked(self, prediction)

    patch.setattr(Following, "_asked", believe)


MUTANTS: Mapping[str, Callable[[Patch, Desk], None]] = {
    mutant.__name__: mutant
    for mutant in (
        no_fence,
        no_intent,
        lost_is_unsent,
        a_server_error_is_a_refusal,
        not_found_is_a_proof,
        settled_after_done,
        settled_before_done,
        the_key_names_the_run,
        nobody_else_lives,
        silence_is_believed_at_once,
        a_list_of_ends_is_a_list_of_all,
        unknown_gives_its_money_back,
        a_plan_keeps_its_money,
        the_id_is_not_saved,
        an_id_may_be_taken_twice,
        reservations_do_not_count,
        what_failed_is_bought_again,
        recorded_before_it_is_stored,
        stopped_is_unsent,
        asked_to_cancel_is_canceled,
    )
}
