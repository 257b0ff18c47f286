"""What is already there of a prompt: its finished steps, as far as they still follow from each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from media_assets.artifact import Artifact, ArtifactStore
from media_assets.ledger import Ledger
from media_assets.ledger.prompts import FinishedStep
from media_assets.ledger.rows import PurchaseRow, PurchaseState
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
    failed_micro_usd: int = 0
    """What the purchases cost that failed before ``row``."""


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
        known = self._ledger.prompts.finished(prompt.key)
        candidates = {step: _newest(prompt, step, known) for step in Step} if known else {}
        there = [found for found in candidates.values() if found]
        keys = [key for found in there for key in (found.request_key, *found.gone_past)]
        rows = self._ledger.purchases.get_many(keys)
        standings: dict[Step, Standing] = {}
        for step in Step:
            found = candidates.get(step)
            if found is None or (upgrade and found.degraded) or not _follows(found, standings):
                standings[step] = _NOTHING
            else:
                standings[step] = self._standing(found, rows)
        return standings

    def of_last_film(self, key: str) -> dict[Step, Standing]:
        """Return how the steps stand of the newest film made under a key, whatever is pinned now; none: no such film.

        A step whose record is gone is left out.
        """
        known = self._ledger.prompts.finished(key)
        films = [found for found in known.values() if found.step is Step.MERGED]
        chain = _chain_of(films[-1], known.values()) if films else {}
        rows = self._ledger.purchases.get_many(
            [key for found in chain.values() for key in (found.request_key, *found.gone_past)]
        )
        return {step: self._standing(chain[step], rows) for step in Step if step in chain}

    def stand_ins(self, key: str, step: Step, request_key: str) -> dict[Step, str]:
        """Return why each stand-in was taken that a finished step was made by, or from, whatever is pinned now.

        Args:
            key: Of the prompt.
            step: Which step.
            request_key: The purchase it was made by.
        """
        known = self._ledger.prompts.finished(key).values()
        found = next((one for one in known if (one.step, one.request_key) == (step, request_key)), None)
        chain = _chain_of(found, known) if found is not None else {}
        return {one.step: f"{one.model}: {one.reason}" for one in chain.values() if one.degraded}

    def _standing(self, found: FinishedStep, rows: Mapping[str, PurchaseRow]) -> Standing:
        row = rows.get(found.request_key)
        if row is None:
            return _NOTHING
        good = row.artifact if row.state is PurchaseState.SUCCEEDED else None
        there = good if good is not None and self._store.has(good) else None
        failed = sum(rows[key].cost_micro_usd or 0 for key in found.gone_past if key in rows)
        return Standing(finished=found, row=row, artifact=there, failed_micro_usd=failed)


def _chain_of(last: FinishedStep, known: Iterable[FinishedStep]) -> dict[Step, FinishedStep]:
    """Return a finished step, and what it was made from, as far as that is on record."""
    by_request = {(found.step, found.request_key): found for found in known}
    chain: dict[Step, FinishedStep] = {}
    waiting = [last]
    while waiting:
        found = waiting.pop()
        chain[found.step] = found
        named = ((Step(role), request_key) for role, request_key in found.inputs.items())
        waiting += [by_request[one] for one in named if one in by_request and one[0] not in chain]
    return chain


def _newest(prompt: Prompt, step: Step, known: Mapping[tuple[Step, str], FinishedStep]) -> FinishedStep | None:
    digests = {prompt.step_digest(step, stand_in_fields=both) for both in (False, True)}
    newest = None
    for (of_step, digest), found in known.items():
        if of_step is step and digest in digests:
            newest = found
    return newest


def _follows(found: FinishedStep, upstream: Mapping[Step, Standing]) -> bool:
    """Whether a step was made from what its inputs are now."""
    for role, request_key in found.inputs.items():
        now = upstream[Step(role)].finished
        if now is None or now.request_key != request_key:
            return False
    return True


def needs(step: Step, standing: Standing, *, spoken: bool, match_clip: bool) -> tuple[Step, ...]:
    """Return the steps whose files a step waits for.

    Args:
        step: Which.
        standing: How it stands; one that was finished is made again from what it was made from.
        spoken: Whether the prompt has a script.
        match_clip: Whether the voice waits for the clip.
    """
    if standing.row is not None:
        return tuple(Step(role) for role in standing.row.request().input_keys())
    if step is Step.MERGED and not spoken:
        return (Step.VIDEO,)
    if step is Step.AUDIO and spoken and match_clip:
        return (Step.VIDEO,)
    return MADE_FROM[step]


def missing_steps(
    wanted: frozenset[Step], standings: Mapping[Step, Standing], *, spoken: bool, match_clip: bool
) -> frozenset[Step]:
    """Return the steps that have to be made: the wanted ones whose file is not there, and what they need in turn."""
    missing = set(wanted)
    for step in reversed(Step):
        if standings[step].artifact is not None:
            missing.discard(step)
        elif step in missing:
            missing.update(needs(step, standings[step], spoken=spoken, match_clip=match_clip))
    return frozenset(missing)
