"""The two halves of the sample, one for each process of the gate; what happened in them has to be enough."""

import time
from collections import Counter
from collections.abc import Callable

from media_assets.crash_points import POINTS
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.simulation.desk import Desk
from media_assets_tests.simulation.playing import check, play_all
from media_assets_tests.simulation.schedule import ELSEWHERE
from media_assets_tests.simulation.seeds import commit_seed, failed_seeds
from media_assets_tests.simulation.world import Counts

SCHEDULES = 10_000 if LONG else 2_000
"""As many as the issue asks for; a rate of violations above 0.15 % (0.03 %) would show with 95 % certainty."""
HALF = SCHEDULES // 2
_PROGRESS_EVERY = 500
_NEVER = 3 if LONG else 8
"""Named points, of about 30, at which a sample may have killed nobody by chance; the crash matrix kills at each."""


def play_half(desk: Desk, half: int, record_property: Callable[[str, object], None]) -> None:
    """Play one half of the schedules of this commit, and with the first half those that once found something."""
    first = commit_seed() + half * HALF
    seeds = [*(failed_seeds() if half == 0 else []), *range(first, first + HALF)]
    counts = Counts()
    for start in range(0, len(seeds), _PROGRESS_EVERY):
        some = seeds[start : start + _PROGRESS_EVERY]
        began = time.process_time()
        played = play_all(desk, some)
        counts.add(played.counts)
        if LONG:
            each_ms = 1000 * (time.process_time() - began) / len(some)
            print(f"{start + len(some)} of {len(seeds)} schedules, {each_ms:.0f} ms of CPU each", flush=True)
        check(played)
    record_property(SAMPLE, f"{len(seeds)} schedules from seed {first}: {said(counts)}")
    hold_that_enough_happened(counts)


def said(counts: Counts) -> str:
    """Return what happened, for people."""
    return (
        f"{counts.accepted} submissions accepted of {counts.posts}, {counts.kills.total()} kills at "
        f"{len(counts.kills)} points, {counts.lost_replies} replies lost, {counts.takeovers} takeovers, "
        f"{counts.states['UNKNOWN']} times UNKNOWN, {counts.pauses} pauses, {counts.interrupts} interrupts, "
        f"{counts.decisions} decisions, {counts.collected} files collected"
    )


def hold_that_enough_happened(counts: Counts) -> None:
    """I9: hold that schedules were schedules, and not so many times nothing."""
    each = {name: value / counts.schedules for name, value in vars(counts).items() if isinstance(value, int)}
    least = {"accepted": 0.8, "posts": 1.0, "lost_replies": 0.2, "takeovers": 0.2, "processes": 2.5, "pauses": 0.1}
    least |= {"interrupts": 0.2, "decisions": 0.1}
    assert {name: each[name] for name in least if each[name] < least[name]} == {}
    assert counts.states["UNKNOWN"] >= 0.2 * counts.schedules
    assert counts.states["SUCCEEDED"] >= 0.5 * counts.schedules
    points = [point for point in POINTS if point not in ELSEWHERE]
    never = [point for point in points if not counts.kills[point]]
    assert len(never) <= _NEVER, f"nobody was killed at {', '.join(never)}"
    assert not [fault for fault, times in _least_faults(counts).items() if counts.faults[fault] < times]


def _least_faults(counts: Counts) -> Counter[str]:
    faults = ("unreachable", "never arrives", "reply lost", "no reply", "429", "422", "500 unaccepted", "500 accepted")
    more = ("garbage", "ask unreachable", "ask lost", "ask 503", "ask 429", "download")
    return Counter(dict.fromkeys((*faults, *more), max(counts.schedules // 50, 1)))
