"""What is already there of a prompt: its finished steps, as far as they still follow from each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from media_assets.artifact import Artifact, ArtifactStore
from media_assets.ledger import Ledger
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.purchases import PurchaseRow
from media_assets.prompt import Prompt, Step

MADE_FROM: Mapping[Step, tuple[Step, ...]] = {
    Step.IMAGE: (),
    Step.VIDEO: (Step.IMAGE,),
    Step.AUDIO: (),
    Step.MERGED: (Step.VIDEO, Step.AUDIO),
}
"""What each step builds on."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How one step of a prompt stands."""

    finished: FinishedStep | None = None
    row: PurchaseRow | None = None
    """The purchase it was made by."""
    artifact: Artifact | None = None
    """The file, if the store still has it."""


_NOTHING = Standing()


class Standings:
    """Looks up finished steps; blocking."""

    def __init__(self, ledger: Ledger, store: ArtifactStore) -> None:
        self._ledger = ledger
        self._store = store

    def of(self, prompt: Prompt, *, upgrade: bool = False) -> dict[Step, Standing]:
        """Return every step's standing.

        A finished step counts while the prompt's fields that bear on it are unchanged and it was made from what its
        inputs are now. Code and catalog do not matter: a deploy buys nothing.

        Args:
            prompt: Whose.
            upgrade: Whether a degraded step does not count.
        """
        standings: dict[Step, Standing] = {}
        for step in Step:
            standings[step] = self._of_step(prompt, step, standings, upgrade=upgrade)
        return standings

    def _of_step(self, prompt: Prompt, step: Step, upstream: Mapping[Step, Standing], *, upgrade: bool) -> Standing:
        digests = {prompt.step_digest(step, stand_in_fields=both) for both in (False, True)}
        finished = self._ledger.prompts.finished(prompt.key, step, digests)
        if finished is None or (upgrade and finished.degraded):
            return _NOTHING
        for role, request_key in finished.inputs.items():
            now = upstream[Step(role)].finished
            if now is None or now.request_key != request_key:
                return _NOTHING
        row = self._ledger.purchases.get(finished.request_key)
        if row is None:
            return _NOTHING
        there = row.artifact if row.artifact is not None and self._store.has(row.artifact) else None
        return Standing(finished=finished, row=row, artifact=there)
