"""The crash matrix with every signal, on SQLite and on Postgres: ``./dev check-long crash``; the gate runs a sample.

SIGKILL on SQLite is in ``test_crash_matrix.py``.
"""

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from media_assets_tests.children import Child
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.crash_cases import (
    CASES,
    HURRIED,
    POINTS_PASSED,
    UNDECIDABLE,
    Buyer,
    Case,
    Place,
    Plan,
    crash_market,
    run_cases,
)
from media_assets_tests.empty_ledger import home_with_ledger
from media_assets_tests.postgres_server import Server

_TRIED = len(CASES) if LONG else 2
_SEED = 20261130
_DEADLINE_S = 900 if LONG else 150

_STOPPED_S = 1.0
"""Where nobody takes over from a process that is stopped, however long that is."""
_FREE_TO_TAKE = frozenset({"reserve.after", "art.after"})
"""Points at which a process has nothing that another one would have to wait for."""


def _killed(buyer: Buyer, point: str) -> list[Child]:
    return [buyer.child(point)]


def _check_killed(one: Case, case: tuple[str, str]) -> None:
    """The kernel of this host says at once that the process is gone, whatever the ledger is kept in."""
    assert one.first.was_killed, "the point was never passed"
    (one.assert_held if case in UNDECIDABLE else one.assert_bought_once)()


def _told_with(sent: str) -> Callable[[Buyer, str], list[Child]]:
    return lambda buyer, point: [buyer.child(f"{point}={sent}")]


def _check_told(one: Case, _case: tuple[str, str]) -> None:
    """What was sent is heard to its end, so not even a provider without a list leaves a doubt."""
    assert one.first.exit_code == 0
    assert one.first.value[-1]["interrupted"], "the point was never passed"
    one.assert_bought_once()


def _stopped(buyer: Buyer, point: str) -> list[Child]:
    return [buyer.child(f"{point}=SIGSTOP", longest_stop_s=_STOPPED_S), buyer.child()]


def _check_stopped(one: Case, case: tuple[str, str]) -> None:
    """Ctrl-Z, a debugger, a laptop that sleeps: its lock stands, so a rerun waits, and both end with one purchase."""
    assert one.first.was_stopped, "the point was never passed"
    assert [ended.exit_code for ended in one.children] == [0, 0]
    assert not one.first.was_overtaken or case[1] in _FREE_TO_TAKE
    one.assert_bought_once()
    assert {ended.value[0].get("sha256") for ended in one.children} == {one.third["sha256"]}
    told = [*(bought for ended in one.children for bought in ended.value), one.second, one.third]
    assert sum(Decimal(bought["spent"]) for bought in told) == Decimal(one.third["cost"]), "said to be spent once"


def _frozen(buyer: Buyer, point: str) -> list[Child]:
    # Who takes over waits for the deadline of a submission, whatever the provider can be asked afterwards.
    first = buyer.child(f"{point}=SIGSTOP", host="far", deadlines=HURRIED)
    return [first, buyer.child(host="here", cuts_off_others=True, deadlines=HURRIED)]


def _check_frozen(one: Case, case: tuple[str, str]) -> None:
    """A host hangs, its connection is lost, another one takes over in time: when it wakes up it changes nothing."""
    assert one.first.was_stopped, "the point was never passed"
    assert one.first.was_overtaken
    took_over: dict[str, Any] = one.children[1].value[0]
    if case in UNDECIDABLE:
        assert took_over["class"] == "UnknownOutcomeError"
        one.assert_held()
        return
    one.assert_bought_once()
    assert took_over["sha256"] == one.third["sha256"], "what it stored stands"


@dataclass(frozen=True)
class _Kind:
    """One column of the matrix."""

    ledger: str
    chain_of: Callable[[Buyer, str], Sequence[Child]]
    check: Callable[[Case, tuple[str, str]], None]


_KINDS = {
    "SIGTERM on SQLite": _Kind("sqlite", _told_with("SIGTERM"), _check_told),
    "SIGINT on SQLite": _Kind("sqlite", _told_with("SIGINT"), _check_told),
    "SIGSTOP on SQLite": _Kind("sqlite", _stopped, _check_stopped),
    "SIGKILL on Postgres": _Kind("postgres", _killed, _check_killed),
    "SIGTERM on Postgres": _Kind("postgres", _told_with("SIGTERM"), _check_told),
    "SIGINT on Postgres": _Kind("postgres", _told_with("SIGINT"), _check_told),
    "SIGSTOP on Postgres": _Kind("postgres", _stopped, _check_stopped),
    "SIGSTOP on Postgres, cut off and taken over": _Kind("postgres", _frozen, _check_frozen),
}

_Ran = dict[tuple[str, tuple[str, str]], Case]


def _tried(kind: str) -> list[tuple[str, str]]:
    """Return every case, or in the gate a few, other ones for each kind."""
    return sorted(random.Random(f"{_SEED} {kind}").sample(CASES, _TRIED))  # noqa: S311 - not a secret


@pytest.fixture(scope="module")
def ran(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> _Ran:
    """Run all kinds together, so that their waits overlap; a hundred cases at a time, for a database is 8 MB."""
    root = tmp_path_factory.mktemp("homes")
    databases: list[str] = []

    def on_sqlite(number: int) -> Place:
        return Place(home=home_with_ledger(root / str(number)))

    def on_postgres(number: int) -> Place:
        name = f"case_{number}_{secrets.token_hex(4)}"
        server.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        databases.append(name)
        return Place(home=root / str(number), url=server.url + name)

    def plan(kind: _Kind, model: str, point: str) -> Plan:
        place_of = on_sqlite if kind.ledger == "sqlite" else on_postgres
        return Plan(model=model, chain_of=lambda buyer: kind.chain_of(buyer, point), place_of=place_of)

    plans = {(name, case): plan(kind, *case) for name, kind in _KINDS.items() for case in _tried(name)}
    came: _Ran = {}
    with crash_market(tmp_path_factory.mktemp("market")) as market:
        while len(came) < len(plans):
            some = dict(islice(plans.items(), len(came), len(came) + 100))
            came |= run_cases(market, some, at_once=8, deadline_s=_DEADLINE_S)
            while databases:
                server.run(f"DROP DATABASE {databases.pop()} WITH (FORCE)")
    return came


@pytest.mark.timeout(3000 if LONG else 600)
@pytest.mark.parametrize("name", _KINDS)
def test_disturbed_anywhere_it_is_bought_once(
    ran: _Ran, name: str, record_property: Callable[[str, object], None]
) -> None:
    """One submission that is accepted, nothing lost, nothing left open; whatever the signal, wherever it comes."""
    faults = []
    for case in (tried := _tried(name)):
        one = ran[name, case]
        try:
            _KINDS[name].check(one, case)
        except AssertionError as error:
            # All of them in one go: a case takes seconds, the whole of them half an hour.
            faults.append(f"{case}: {error}\n{one.children}\n{one.second}\n{one.third}\n{one.row}")

    points = {point for _, point in tried}
    record_property(SAMPLE, f"{name}: {len(tried)} of {len(CASES)} cases, at {len(points)} points")
    assert not faults, "\n\n".join(faults)
    assert points == set(POINTS_PASSED) or not LONG
