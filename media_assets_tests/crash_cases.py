"""One paid purchase, disturbed at one point of the protocol and then bought again: every case of the crash matrix.

A case is a chain of children in a home of its own, against one simulator that counts what it accepts; what has to hold
afterwards is in the tests.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from media_assets.artifact import ArtifactStore
from media_assets.crash_points import POINTS
from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets_tests.children import Child, Ended, run_children
from media_assets_tests.conftest import LONG
from media_assets_tests.making import leftovers, reserved_of
from media_assets_tests.market_child import BUY
from media_assets_tests.simulated import Market, open_market

MODELS = ("replicate:sdxl", "fal:flux-schnell", "openai:gpt-image-2", "elevenlabs:flash-v2.5")
"""One of each personality: a list that shows what runs, one that shows what has ended, none, and a history."""

_ELSEWHERE = frozenset(
    {"pinned", "step_recorded", "merged", "adopted", "cleared", "cancel.before_send", "cancel.after_send"}
)
"""Points that one purchase which nothing disturbs does not pass."""
_AFTER_THE_REPLY = frozenset({"poll.each", "dl.first_byte", "done.before", "done.after"})
"""Points of what is waited for; a provider that answers once is never asked again."""
UNHEARD = (
    "intent.after",
    "post.before_connect",
    "post.after_headers_sent",
    "post.after_body_sent",
    "post.first_byte",
    "spool.before_fsync",
)
"""Between these and the reply on disk, only the provider knows whether it was submitted."""
ANSWERS_ONCE = frozenset({"openai:gpt-image-2", "elevenlabs:flash-v2.5"})
NO_LIST = "openai:gpt-image-2"
"""Nobody can ask what became of a submission whose reply was lost, so nobody guesses."""

POINTS_PASSED = tuple(point for point in POINTS if point not in _ELSEWHERE and not point.startswith("gc."))
CASES = tuple(
    (model, point)
    for model in MODELS
    for point in POINTS_PASSED
    if not (model in ANSWERS_ONCE and point in _AFTER_THE_REPLY)
)
UNDECIDABLE = tuple(case for case in CASES if case[0] == NO_LIST and case[1] in UNHEARD)

_POST_DEADLINE_S = 4.0 if LONG else 2.0
"""Where much runs at once a reply takes longer, and one that is late is another case."""
HURRIED = {"queue_deadline_s": 0.5, "run_deadline_s": 0.5, "post_deadline_s": _POST_DEADLINE_S}
"""As long as the simulator needs at most, so that silence is a proof after seconds, not after a quarter of an hour."""
_PATIENT = {"post_deadline_s": 60.0}
"""Where silence is no proof anyway, nobody needs to hurry."""
_SETTINGS = {
    "MEDIA_ASSETS_POST_DEADLINE_S": str(_POST_DEADLINE_S),
    "MEDIA_ASSETS_LEASE_S": "0.6",
    "MEDIA_ASSETS_QUARANTINE_S": "0.5",
}

_numbers = count(1)
K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a case keeps its state."""

    home: Path
    url: str | None = None
    """Of its ledger, if that is not in the home."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What came of one."""

    place: Place
    accepted: int
    """How many submissions of its own text the simulator accepted, but for those that were called back, free."""
    children: Sequence[Ended]
    """All but the last one, which bought it twice more."""
    second: Mapping[str, Any]
    third: Mapping[str, Any]
    row: PurchaseRow
    reserved_micro_usd: int
    spent_micro_usd: int

    @property
    def first(self) -> Ended:
        """The child that was disturbed."""
        return self.children[0]

    def assert_bought_once(self) -> None:
        """Hold that it is bought and paid for once, whole, and that nothing is left of whoever was disturbed."""
        assert self.accepted == 1, f"{self.accepted} submissions were accepted"
        assert self.second.get("sha256") == self.third.get("sha256") is not None, self.second
        assert self.third["spent"] == "0"
        assert self.row.state is PurchaseState.SUCCEEDED
        assert self.row.cost_micro_usd == self.spent_micro_usd > 0, f"{self.spent_micro_usd} spent"
        assert self.reserved_micro_usd == 0, f"{self.reserved_micro_usd} reserved"
        assert self.row.artifact is not None
        assert ArtifactStore(self.place.home / "artifacts").verify(self.row.artifact)
        left = leftovers(self.place.home)
        assert left == [], left
        assert not list((self.place.home / "spool").glob("*")), "a raw reply outlived its purpose"

    def assert_held(self) -> None:
        """Hold that it keeps its budget until a person decides, and that nothing is sent on a guess."""
        assert self.accepted <= 1, f"{self.accepted} submissions were accepted"
        assert self.second["class"] == self.third["class"] == "UnknownOutcomeError"
        assert (self.row.state, self.row.attempts) == (PurchaseState.UNKNOWN, 1)
        assert self.reserved_micro_usd == self.row.estimate_micro_usd


@dataclass(frozen=True, kw_only=True)
class Buyer:
    """Makes the children of one case."""

    market: Market
    place: Place
    model: str
    number: int

    def child(self, crash_at: str = "", *, times: int = 1, longest_stop_s: float = 60, **more: Any) -> Child:
        """Return a child that buys, and is sent the signal that ``crash_at`` names."""
        of_ledger = {"MEDIA_ASSETS_LEDGER_URL": self.place.url} if self.place.url else {}
        environment = {**self.market.simulator.environment(), **_SETTINGS, **of_ledger}
        arguments = {
            "home": str(self.place.home),
            "environment": environment,
            "model": self.model,
            "take": self.number,
            "times": times,
            "deadlines": _PATIENT if self.model == NO_LIST else HURRIED,
            **more,
        }
        return Child(BUY, arguments, {"MEDIA_ASSETS_CRASH_AT": crash_at}, longest_stop_s)


@contextmanager
def crash_market(home: Path) -> Iterator[Market]:
    """Start a simulator whose models take long enough to be polled."""
    latency_s = dict.fromkeys(("replicate", "fal", "openai", "elevenlabs"), (0.1, 0.2))
    with open_market(home, latency_s=latency_s) as market:
        yield market


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a case goes."""

    model: str
    chain_of: Callable[[Buyer], Sequence[Child]]
    """Makes the children that are disturbed; one that buys twice more follows them."""
    place_of: Callable[[int], Place]
    """Makes a place, by the number of the case."""


def run_cases(market: Market, plans: Mapping[K, Plan], *, at_once: int = 4, deadline_s: float = 900) -> dict[K, Case]:
    """Run every case; return what came of each.

    Args:
        market: Where they buy.
        plans: The cases.
        at_once: How many at the same time.
        deadline_s: Seconds for all.
    """
    buyers = {}
    for key, plan in plans.items():
        number = next(_numbers)
        buyers[key] = Buyer(market=market, place=plan.place_of(number), model=plan.model, number=number)
    chains = [[*plans[key].chain_of(buyer), buyer.child(times=2)] for key, buyer in buyers.items()]
    ended = run_children(chains, at_once=at_once, deadline_s=deadline_s)
    kept = [one for one in market.accepted() if not _was_called_back(one)]
    accepted = Counter(_number(text) for one in kept for text in one["input"].values())
    return {
        key: _case(buyer, chain, accepted[buyer.number])
        for (key, buyer), chain in zip(buyers.items(), ended, strict=True)
    }


def _was_called_back(submission: Mapping[str, Any]) -> bool:
    """Whether a submission was canceled before it ran, which is free."""
    return submission["state"] in {"aborted", "canceled"} and submission["started_s"] is None


def _number(text: Any) -> int:
    """Return the number of the case whose own text this is; 0: it is no such text."""
    last = text.rpartition(" ")[2] if isinstance(text, str) else ""
    return int(last) if last.isdecimal() else 0


def _case(buyer: Buyer, chain: Sequence[Ended], accepted: int) -> Case:
    *children, last = chain
    assert last.exit_code == 0
    second, third = last.value
    with open_ledger(buyer.place.home, buyer.place.url) as ledger:
        (row,) = ledger.purchases.search()
        with ledger.database.read() as connection:
            spent = connection.exec_driver_sql("SELECT COALESCE(SUM(spent_micro_usd), 0) FROM budget").scalar_one()
        return Case(
            place=buyer.place,
            accepted=accepted,
            children=children,
            second=second,
            third=third,
            row=row,
            reserved_micro_usd=reserved_of(ledger),
            spent_micro_usd=int(spent),
        )
