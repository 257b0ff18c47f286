"""Crash it anywhere, the bill shows one: a paid purchase killed at every point, at every provider, and run again.

Each case is a child that dies at the point and one that buys the same thing twice more, in a home of its own, against
one simulator that counts what it accepts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from media_assets.crash_points import POINTS
from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets_tests.children import Child, Ended, run_children
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.making import leftovers, reserved_micro_usd
from media_assets_tests.market_child import BUY
from media_assets_tests.simulated import Market, open_market

_MODELS = ("replicate:sdxl", "fal:flux-schnell", "openai:gpt-image-2", "elevenlabs:flash-v2.5")
"""One of each personality: a list that shows what runs, one that shows what has ended, none, and a history."""

_ELSEWHERE = frozenset(
    {"pinned", "step_recorded", "merged", "adopted", "cleared", "cancel.before_send", "cancel.after_send"}
)
"""Points that one purchase which nothing disturbs does not pass."""
_AFTER_THE_REPLY = frozenset({"poll.each", "dl.first_byte", "done.before", "done.after"})
"""Points of what is waited for; a provider that answers once is never asked again."""
_UNHEARD = frozenset(
    {
        "intent.after",
        "post.before_connect",
        "post.after_headers_sent",
        "post.after_body_sent",
        "post.first_byte",
        "spool.before_fsync",
    }
)
"""Between these and the reply on disk, only the provider knows whether it was submitted."""

_ANSWERS_ONCE = frozenset({"openai:gpt-image-2", "elevenlabs:flash-v2.5"})
_POINTS = [point for point in POINTS if point not in _ELSEWHERE and not point.startswith("gc.")]
_CASES = [
    (model, point)
    for model in _MODELS
    for point in _POINTS
    if not (model in _ANSWERS_ONCE and point in _AFTER_THE_REPLY)
]
_UNDECIDABLE = [case for case in _CASES if case[0] == "openai:gpt-image-2" and case[1] in _UNHEARD]
"""OpenAI keeps no list: nobody can know, so nobody guesses."""

_DEADLINES = {"queue_deadline_s": 0.5, "run_deadline_s": 0.5, "post_deadline_s": 2.0}
"""As long as the simulator needs at most, so that silence is a proof after seconds, not after a quarter of an hour."""
_NO_LIST = {"post_deadline_s": 60.0}
"""Where silence is no proof anyway, nobody needs to hurry."""
_TWICE = [
    ("replicate:sdxl", "post.first_byte", "adopted"),
    ("replicate:sdxl", "post.before_connect", "cleared"),
    ("fal:flux-schnell", "post.after_body_sent", "adopted"),
    ("elevenlabs:flash-v2.5", "spool.before_fsync", "adopted"),
    ("elevenlabs:flash-v2.5", "id_save.after", "art.before"),
]
"""The clearing up is killed as well."""

_numbers = count(1)


@dataclass(frozen=True)
class _Case:
    """One purchase, killed, and bought twice more."""

    home: Path
    number: int
    killed: list[Ended]
    second: dict[str, str]
    third: dict[str, str]
    row: PurchaseRow


def _child(market: Market, home: Path, model: str, number: int, point: str = "", *, times: int = 1) -> Child:
    environment = {**market.simulator.environment(), "MEDIA_ASSETS_POST_DEADLINE_S": "2"}
    deadlines = _NO_LIST if model == "openai:gpt-image-2" else _DEADLINES
    arguments = {"home": str(home), "environment": environment, "model": model, "take": number, "times": times}
    return Child(BUY, {**arguments, "deadlines": deadlines}, {"MEDIA_ASSETS_CRASH_AT": point})


def _run(market: Market, root: Path, cases: list[tuple[str, ...]]) -> dict[tuple[str, ...], _Case]:
    numbers = {case: next(_numbers) for case in cases}
    chains = []
    for case in cases:
        model, *points = case
        home = home_with_ledger(root / str(numbers[case]))
        killed = [_child(market, home, model, numbers[case], point) for point in points]
        chains.append([*killed, _child(market, home, model, numbers[case], times=2)])
    ended = run_children(chains, at_once=4, deadline_s=900)
    return {
        case: _case(root / str(numbers[case]), numbers[case], chain) for case, chain in zip(cases, ended, strict=True)
    }


def _case(home: Path, number: int, chain: list[Ended]) -> _Case:
    *killed, last = chain
    assert last.exit_code == 0
    second, third = last.value
    with open_ledger(home) as ledger:
        (row,) = ledger.purchases.search()
    return _Case(home, number, killed, second, third, row)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    latency_s = dict.fromkeys(("replicate", "fal", "openai", "elevenlabs"), (0.1, 0.2))
    with open_market(tmp_path_factory.mktemp("market"), latency_s=latency_s) as market:
        yield market


@pytest.fixture(scope="module")
def cases(market: Market, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], _Case]:
    return _run(market, tmp_path_factory.mktemp("homes"), [*_CASES, *_TWICE])


def _accepted(market: Market, case: _Case) -> int:
    """Return how many submissions of a case's own text the simulator accepted."""
    texts = [text for one in market.accepted() for text in one["input"].values() if isinstance(text, str)]
    return sum(text.endswith(f" {case.number}") for text in texts)


def _named(case: tuple[str, ...]) -> str:
    return "-".join(case)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", [case for case in _CASES if case not in _UNDECIDABLE], ids=_named)
def test_killed_anywhere_it_is_bought_once(
    cases: dict[tuple[str, ...], _Case], market: Market, case: tuple[str, ...]
) -> None:
    """The rerun finishes it, with the money of one submission; another rerun does nothing."""
    one = cases[case]

    assert one.killed[0].was_killed, "the point was never passed"
    assert _accepted(market, one) == 1
    assert one.second.get("sha256") == one.third.get("sha256") is not None, one.second
    assert one.third["spent"] == "0"
    _assert_settled(one)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", _UNDECIDABLE, ids=_named)
def test_what_nobody_can_know_is_held(
    cases: dict[tuple[str, ...], _Case], market: Market, case: tuple[str, ...]
) -> None:
    """It keeps its budget, and a person decides; nothing is sent on a guess."""
    one = cases[case]

    assert one.killed[0].was_killed, "the point was never passed"
    assert _accepted(market, one) <= 1
    assert one.second["class"] == one.third["class"] == "UnknownOutcomeError"
    assert (one.row.state, one.row.attempts) == (PurchaseState.UNKNOWN, 1)
    assert reserved_micro_usd(one.home) == one.row.estimate_micro_usd


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", _TWICE, ids=_named)
def test_the_clearing_up_can_be_killed_too(
    cases: dict[tuple[str, ...], _Case], market: Market, case: tuple[str, ...]
) -> None:
    """What finds a lost submission again dies like anything else, and is done again."""
    one = cases[case]

    assert [ended.was_killed for ended in one.killed] == [True, True]
    assert _accepted(market, one) == 1
    assert one.third["spent"] == "0"
    _assert_settled(one)


def _assert_settled(one: _Case) -> None:
    assert one.row.state is PurchaseState.SUCCEEDED
    assert one.row.cost_micro_usd
    assert reserved_micro_usd(one.home) == 0
    assert leftovers(one.home) == []
    assert not list((one.home / "spool").glob("*")), "a raw reply outlived its purpose"


@pytest.mark.timeout(900)
def test_every_point_was_hit_and_the_bill_is_the_ledgers(cases: dict[tuple[str, ...], _Case], market: Market) -> None:
    """A point nobody passes would look like a proof and be none."""
    hit = {case[1] for case, one in cases.items() if one.killed[0].was_killed}

    assert hit == set(_POINTS)
    unknown = sum(_accepted(market, cases[case]) for case in _UNDECIDABLE)
    assert len(market.accepted()) == len(_CASES) + len(_TWICE) - len(_UNDECIDABLE) + unknown
