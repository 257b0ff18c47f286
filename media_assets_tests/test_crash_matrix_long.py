"""The crash matrix with every signal, on SQLite and on Postgres: ``./dev check-long crash``; the gate runs a sample.

SIGKILL on SQLite is in ``test_crash_matrix.py``.
"""

import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from media_assets.ledger.database import Database, ledger_url
from media_assets_tests.children import Child
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.crash_cases import (
    CASES,
    POINTS_PASSED,
    UNDECIDABLE,
    Buyer,
    Case,
    Place,
    crash_market,
    run_cases,
)
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.postgres_server import Server, running_server
from media_assets_tests.simulated import Market

_TRIED = len(CASES) if LONG else 4
_SEED = 20261130
_AT_ONCE = 6
_DEADLINE_S = 900

_STOPPED_S = 1.0
"""On SQLite, where nobody takes over from a process that is stopped, however long."""
_FREE_TO_TAKE = frozenset({"reserve.after", "art.after"})
"""Points at which a process has nothing that another one would have to wait for."""
_HOSTS = {"MEDIA_ASSETS_LEASE_S": "0.6", "MEDIA_ASSETS_QUARANTINE_S": "0.5"}

_TOLD_TO_STOP = ("SIGTERM", "SIGINT")


def _sampled(about: str) -> list[tuple[str, str]]:
    """Return every case, or in the gate a few, other ones for each purpose."""
    return sorted(random.Random(f"{_SEED} {about}").sample(CASES, _TRIED))  # noqa: S311 - not a secret


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with crash_market(tmp_path_factory.mktemp("market")) as market:
        yield market


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("postgres")) as one:
        one.run("CREATE DATABASE a_ledger")
        Database(ledger_url(one.url + "a_ledger", one.home)).close()
        yield one


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Callable[[int], Place]:
    return lambda number: Place(home=home_with_ledger(tmp_path / str(number)))


@pytest.fixture
def on_postgres(tmp_path: Path, server: Server) -> Callable[[int], Place]:
    def place(number: int) -> Place:
        name = f"case_{number}_{secrets.token_hex(4)}"
        server.run(f"CREATE DATABASE {name} TEMPLATE a_ledger")
        return Place(home=tmp_path / str(number), url=server.url + name)

    return place


@pytest.fixture(params=["sqlite", "postgres"])
def place_of(request: pytest.FixtureRequest) -> Callable[[int], Place]:
    place: Callable[[int], Place] = request.getfixturevalue(f"on_{request.param}")
    return place


def _faults(cases: dict[tuple[str, ...], Case], check: Callable[[tuple[str, ...], Case], None]) -> dict[str, str]:
    """Return what does not hold of each case, so that one run shows all of it."""
    faults = {}
    for case, one in cases.items():
        try:
            check(case, one)
        except AssertionError as error:
            children = [(ended.exit_code, ended.value) for ended in one.children]
            faults[" ".join(case)] = f"{error}\n  {children}\n  {one.second}\n  {one.third}\n  {one.row}"
    return faults


def _assert_all_hold(
    cases: dict[tuple[str, ...], Case],
    check: Callable[[tuple[str, ...], Case], None],
    record_property: Callable[[str, object], None],
    what: str,
) -> None:
    faults = _faults(cases, check)
    points = {point for _, point in cases}
    record_property(SAMPLE, f"{len(cases)} of {len(CASES)} purchases {what}, at {len(points)} points")
    assert not faults, "\n".join(f"{case}: {fault}" for case, fault in faults.items())
    assert points == set(POINTS_PASSED) or not LONG


def _spent_usd(one: Case) -> Decimal:
    """Return what all children together say they spent."""
    told = [bought for ended in one.children for bought in ended.value or []]
    return sum((Decimal(bought.get("spent", "0")) for bought in [*told, one.second, one.third]), Decimal(0))


def _is_undecidable(case: tuple[str, ...]) -> bool:
    return case in UNDECIDABLE


@pytest.mark.timeout(_DEADLINE_S)
@pytest.mark.parametrize("sent", _TOLD_TO_STOP)
def test_told_to_stop_anywhere_it_is_bought_once(
    market: Market, place_of: Callable[[int], Place], sent: str, record_property: Callable[[str, object], None]
) -> None:
    """Ctrl-C and Terminate: what was sent is heard to its end, so not even a provider without a list leaves a doubt."""

    def disturbed(buyer: Buyer, points: Sequence[str]) -> list[Child]:
        return [buyer.child(f"{points[0]}={sent}")]

    def check(_case: tuple[str, ...], one: Case) -> None:
        assert one.first.exit_code == 0
        assert one.first.value[-1]["interrupted"], "the point was never passed"
        one.assert_bought_once()

    cases = run_cases(
        market, _sampled(sent), disturbed, place_of, environment=_HOSTS, at_once=_AT_ONCE, deadline_s=_DEADLINE_S
    )

    _assert_all_hold(cases, check, record_property, f"told to stop with {sent}")


@pytest.mark.timeout(_DEADLINE_S)
def test_killed_anywhere_on_postgres_it_is_bought_once(
    market: Market, on_postgres: Callable[[int], Place], record_property: Callable[[str, object], None]
) -> None:
    """As on SQLite: the kernel of this host says at once that the process is gone."""

    def killed(buyer: Buyer, points: Sequence[str]) -> list[Child]:
        return [buyer.child(points[0])]

    def check(case: tuple[str, ...], one: Case) -> None:
        assert one.first.was_killed, "the point was never passed"
        (one.assert_held if _is_undecidable(case) else one.assert_bought_once)()

    cases = run_cases(
        market, _sampled("SIGKILL"), killed, on_postgres, environment=_HOSTS, at_once=_AT_ONCE, deadline_s=_DEADLINE_S
    )

    _assert_all_hold(cases, check, record_property, "killed on Postgres")


@pytest.mark.timeout(_DEADLINE_S)
def test_nobody_takes_over_from_a_stopped_process_of_this_host(
    market: Market, place_of: Callable[[int], Place], record_property: Callable[[str, object], None]
) -> None:
    """Ctrl-Z, a debugger, a laptop that sleeps: its lock stands, so a rerun waits, and both end with one purchase."""

    def stopped(buyer: Buyer, points: Sequence[str]) -> list[Child]:
        return [buyer.child(f"{points[0]}=SIGSTOP", longest_stop_s=_STOPPED_S), buyer.child()]

    def check(case: tuple[str, ...], one: Case) -> None:
        assert one.first.was_stopped, "the point was never passed"
        assert [ended.exit_code for ended in one.children] == [0, 0]
        assert not one.first.was_overtaken or case[1] in _FREE_TO_TAKE
        one.assert_bought_once()
        assert {ended.value[0].get("sha256") for ended in one.children} == {one.third["sha256"]}
        assert _spent_usd(one) == Decimal(one.third["cost"]), "who bought it paid for it, and nobody else"

    cases = run_cases(
        market, _sampled("SIGSTOP"), stopped, place_of, environment=_HOSTS, at_once=_AT_ONCE, deadline_s=_DEADLINE_S
    )

    _assert_all_hold(cases, check, record_property, "stopped for a while")


@pytest.mark.timeout(_DEADLINE_S)
def test_who_was_taken_over_from_while_it_was_frozen_changes_and_sends_nothing(
    market: Market, on_postgres: Callable[[int], Place], record_property: Callable[[str, object], None]
) -> None:
    """A host hangs and its connection is lost; another one takes over in time, and then the first one wakes up."""

    def frozen(buyer: Buyer, points: Sequence[str]) -> list[Child]:
        first = buyer.child(f"{points[0]}=SIGSTOP", host="far")
        return [first, buyer.child(host="here", cuts_off_others=True)]

    def check(case: tuple[str, ...], one: Case) -> None:
        assert one.first.was_stopped, "the point was never passed"
        assert one.first.was_overtaken
        took_over: dict[str, Any] = one.children[1].value[0]
        if _is_undecidable(case):
            assert took_over["class"] == "UnknownOutcomeError"
            one.assert_held()
            return
        one.assert_bought_once()
        assert took_over["sha256"] == one.third["sha256"], "what it stored stands"

    cases = run_cases(
        market, _sampled("frozen"), frozen, on_postgres, environment=_HOSTS, at_once=_AT_ONCE, deadline_s=_DEADLINE_S
    )

    _assert_all_hold(cases, check, record_property, "taken over from a frozen host")
