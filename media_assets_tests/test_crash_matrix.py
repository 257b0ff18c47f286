"""Crash it anywhere, the bill shows one: a paid purchase killed at every point, at every provider, and run again.

The other signals, and the same on Postgres: ``ledger/test_crash_signals.py``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets_tests.conftest import SAMPLE
from media_assets_tests.crash_cases import (
    CASES,
    POINTS_PASSED,
    UNDECIDABLE,
    Case,
    Place,
    Plan,
    crash_market,
    run_cases,
)
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.simulated import Market

_CALLED_BACK = [
    ("replicate:sdxl", "cancel.before_send"),
    ("replicate:flux-schnell", "cancel.after_send"),
    ("fal:flux-schnell", "cancel.before_send"),
    ("fal:flux-dev", "cancel.after_send"),
]
"""Killed while a run that was told to stop calls back what is queued; of each model the first one waits for ever."""
_TWICE = [
    ("replicate:sdxl", "post.first_byte", "adopted"),
    ("replicate:sdxl", "post.before_connect", "cleared"),
    ("fal:flux-schnell", "post.after_body_sent", "adopted"),
    ("elevenlabs:flash-v2.5", "spool.before_fsync", "adopted"),
    ("elevenlabs:flash-v2.5", "id_save.after", "art.before"),
]
"""The clearing up is killed as well."""


def _plan(case: tuple[str, ...], root: Path) -> Plan:
    model, *points = case
    return Plan(
        model=model,
        chain_of=lambda buyer: [buyer.child(point) for point in points],
        place_of=lambda number: Place(home=home_with_ledger(root / str(number))),
    )


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with crash_market(tmp_path_factory.mktemp("market")) as market:
        yield market


@pytest.fixture(scope="module")
def cases(market: Market, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Case]:
    root = tmp_path_factory.mktemp("homes")
    return run_cases(market, {case: _plan(case, root) for case in (*CASES, *_TWICE)})


def _named(case: tuple[str, ...]) -> str:
    return "-".join(case)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", [case for case in CASES if case not in UNDECIDABLE], ids=_named)
def test_killed_anywhere_it_is_bought_once(cases: dict[tuple[str, ...], Case], case: tuple[str, ...]) -> None:
    """The rerun finishes it, with the money of one submission; another rerun does nothing."""
    one = cases[case]

    assert one.first.was_killed, "the point was never passed"
    one.assert_bought_once()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", UNDECIDABLE, ids=_named)
def test_what_nobody_can_know_is_held(cases: dict[tuple[str, ...], Case], case: tuple[str, ...]) -> None:
    """It keeps its budget, and a person decides; nothing is sent on a guess."""
    one = cases[case]

    assert one.first.was_killed, "the point was never passed"
    one.assert_held()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", _TWICE, ids=_named)
def test_the_clearing_up_can_be_killed_too(cases: dict[tuple[str, ...], Case], case: tuple[str, ...]) -> None:
    """What finds a lost submission again dies like anything else, and is done again."""
    one = cases[case]

    assert [ended.was_killed for ended in one.children] == [True, True]
    one.assert_bought_once()


def test_killed_while_it_calls_back_it_is_bought_once(tmp_path: Path) -> None:
    """Whether the provider heard of it or not, the rerun wants it: it is submitted again once the first one is gone."""
    plans = {
        case: Plan(
            model=case[0],
            chain_of=lambda buyer, point=case[1]: [buyer.child(f"id_save.after=SIGTERM,{point}")],  # type: ignore[misc]
            place_of=lambda number: Place(home=home_with_ledger(tmp_path / str(number))),
        )
        for case in _CALLED_BACK
    }
    with crash_market(tmp_path / "market") as market:
        catalog = load_catalog()
        market.set_faults(
            *({"fault": "queue_stuck", "model": catalog.get(model).endpoint, "times": 1} for model, _ in _CALLED_BACK)
        )

        cases = run_cases(market, plans)

        for one in cases.values():
            assert one.first.was_killed, "the point was never passed"
            one.assert_bought_once()
        assert len(market.accepted()) == 2 * len(cases)
        assert market.bill_usd() * 1_000_000 == sum(one.row.cost_micro_usd or 0 for one in cases.values())


@pytest.mark.timeout(900)
def test_every_point_was_hit_and_the_bill_is_the_ledgers(
    cases: dict[tuple[str, ...], Case], market: Market, record_property: Callable[[str, object], None]
) -> None:
    """A point nobody passes would look like a proof and be none."""
    hit = {case[1] for case, one in cases.items() if one.first.was_killed}

    record_property(SAMPLE, f"{len(cases)} crashes of a purchase on SQLite, at {len(hit)} points")
    assert hit == set(POINTS_PASSED)
    unknown = sum(cases[case].accepted for case in UNDECIDABLE)
    assert len(market.accepted()) == len(cases) - len(UNDECIDABLE) + unknown
