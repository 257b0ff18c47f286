"""The steps of one chain after one of them has failed: which of the others are still of use, and the word to the rest.

Where the film is wanted, everything is made for the film: once it cannot be made, a step that is not submitted is not
begun, and one that waits in a provider's queue is called back, free. Where single steps are wanted, each of them is
wanted for itself, and goes on whatever becomes of the others. What already runs is paid for, so it always goes on.
"""

from collections.abc import Callable, Collection, Iterable

from media_assets.prompt import Step
from media_assets.recall import Recall


class Siblings:
    """Tells the steps of a chain that have become useless.

    Args:
        wanted: The steps that the chain was asked for.
        needs: Returns the steps that one waits for.
    """

    def __init__(self, wanted: Iterable[Step], needs: Callable[[Step], Collection[Step]]) -> None:
        goals = frozenset(wanted)
        self._goals = frozenset({Step.MERGED}) if Step.MERGED in goals else goals
        self._needs = needs
        self._failed: list[Step] = []
        self.recalls = {step: Recall() for step in Step}
        """Of each step's purchases."""

    def failed(self, step: Step) -> None:
        """Take note that a step cannot be made, and call back what is of no use without it."""
        self._failed.append(step)
        useful = self._useful()
        for other in Step:
            if other not in useful and other not in self._failed:
                self.recalls[other].ask(f"the {self._failed[0]} failed", spares_running=True)

    def _useful(self) -> set[Step]:
        """Return what the wanted steps that can still be made are made from, and those themselves."""
        useful: set[Step] = set()
        for goal in self._goals:
            made_from = self.with_needs(goal)
            if made_from.isdisjoint(self._failed):
                useful |= made_from
        return useful

    def with_needs(self, step: Step) -> set[Step]:
        """Return a step, and all that it is made from and is not there."""
        return {step}.union(*(self.with_needs(one) for one in self._needs(step)))
