"""A process killed at any named point of a film leaves a state from which the next run completes the film."""

import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from media_assets.artifact import ArtifactStore
from media_assets.crash_points import POINTS
from media_assets.ledger.rows import PurchaseState
from media_assets.media.probe import probe
from media_assets.prompt import Step
from media_assets_tests.children import Child, Ended, run_children
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.making import OWN_ROUTES, cheap_prompt, leftovers, purchases, reserved_micro_usd

_ONCE = ("pinned", "reserve.before", "reserve.after", "merged")
_PAID = ("post.", "spool.", "poll.", "dl.first_byte", "done.", "cancel.", "adopted", "cleared")
"""What only a paid purchase passes: see ``test_crash_matrix.py``."""
_FREE = [point for point in POINTS if not point.startswith((*_PAID, "gc."))]
_IN_EACH_STEP = [point for point in _FREE if point not in _ONCE]
_ALL_CASES = [*_ONCE, *(f"{point}:{step}" for point, step in product(_IN_EACH_STEP, range(1, 5)))]
_CASES = _ALL_CASES if LONG else [*_ONCE, *(f"{point}:{1 + place % 4}" for place, point in enumerate(_IN_EACH_STEP))]
"""Every point; those that each of the four steps passes, at one of the four by turns, or at each."""

_ALL_PAIRS = list(product(_ALL_CASES, _FREE))
_PAIRS_TRIED = len(_ALL_PAIRS) if LONG else 10


def _child(home: Path, crash_at: str = "") -> Child:
    # Models with a price and a cap, so that crashes leave reservations for the next run to free.
    prompt = cheap_prompt(routes=OWN_ROUTES, max_cost_usd="1").model_dump(mode="json")
    environment = {"MEDIA_ASSETS_CRASH_AT": crash_at}
    return Child("media_assets_tests.making:make_film", {"home": str(home), "prompt": prompt}, environment)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Ended]]]:
    """Run every case: a child that dies at the point, then one that does not; two cases at a time."""
    root = tmp_path_factory.mktemp("crashes")
    homes = {case: root / case.replace(":", "-") for case in _CASES}
    for home in homes.values():
        home_with_ledger(home)
    chains = run_children([[_child(home, case), _child(home)] for case, home in homes.items()], at_once=2)
    return {case: (homes[case], chain) for case, chain in zip(homes, chains, strict=True)}


def _assert_complete(home: Path, rerun: Ended) -> None:
    assert rerun.exit_code == 0
    assert "error" not in rerun.value
    film = probe(Path(rerun.value["film"]["path"]))
    assert (film.video_codec, film.audio_codec) == ("h264", "aac")
    rows = purchases(home)
    assert {step: row.state for step, row in rows.items()} == dict.fromkeys(Step, PurchaseState.SUCCEEDED)
    store = ArtifactStore(home / "artifacts")
    assert all(row.artifact is not None and store.verify(row.artifact) for row in rows.values())
    assert leftovers(home) == []
    assert reserved_micro_usd(home) == 0


@pytest.mark.parametrize("case", _CASES)
def test_a_crash_is_made_good_by_the_next_run(case: str, crashed: dict[str, tuple[Path, list[Ended]]]) -> None:
    """A laptop's lid or a deploy kills processes at any instruction; nothing may need a person afterwards."""
    home, (first, rerun) = crashed[case]

    assert first.was_killed, f"{case} was never passed: {first}"
    _assert_complete(home, rerun)


def test_every_named_point_was_hit(
    crashed: dict[str, tuple[Path, list[Ended]]], record_property: Callable[[str, object], None]
) -> None:
    """A point nobody passes any more would look like a proof and be none."""
    record_property(SAMPLE, f"killed in {len(crashed)} of {len(_ALL_CASES)} cases, at each of {len(_FREE)} points")
    hit = {case.partition(":")[0] for case, (_, chain) in crashed.items() if chain[0].was_killed}

    assert hit == set(_FREE)


@pytest.mark.timeout(3600 if len(_ALL_PAIRS) == _PAIRS_TRIED else 600)
def test_a_crash_in_the_rerun_after_a_crash_is_made_good(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Recovery itself can be killed; a seeded sample of all pairs of points shows that it, too, can be repeated."""
    pairs = random.Random(20261123).sample(_ALL_PAIRS, _PAIRS_TRIED)  # noqa: S311 - not a secret
    homes = [tmp_path / str(number) for number in range(len(pairs))]
    chains = [
        [_child(home, first), _child(home, second), _child(home)]
        for home, (first, second) in zip(homes, pairs, strict=True)
    ]

    ended = run_children(chains, at_once=2, deadline_s=60 * len(chains))

    killed_again = sum(chain[1].was_killed for chain in ended)
    record_property(SAMPLE, f"{_PAIRS_TRIED} of {len(_ALL_PAIRS)} pairs of crashes, {killed_again} killed twice")
    assert all(chain[0].was_killed for chain in ended)
    assert killed_again >= _PAIRS_TRIED // 2, "most second points have to be passed"
    for home, chain in zip(homes, ended, strict=True):
        _assert_complete(home, chain[-1])
