"""Races of whole purchases: however many processes want the same thing, it is paid once; no cap is passed by one unit.

On SQLite, and on Postgres with fewer connections than a process has purchases under way. That the tables themselves
refuse to pass a cap is shown where they are forced to: in ``test_budgets.py`` and ``test_postgres.py``.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.rows import PurchaseState
from media_assets.ledger.schema import budget
from media_assets_tests.children import race
from media_assets_tests.conftest import LONG, SAMPLE
from media_assets_tests.ledger import racing
from media_assets_tests.ledger.money import micro
from media_assets_tests.ledger.racing import TRANSITIONS_IN_A_CYCLE, accepted_in, watched
from media_assets_tests.making import SHOP_PRICE_USD, reserved_of

DATABASES = ("sqlite", "postgres") if LONG else ("sqlite",)
_CROWDS = [(database, processes) for database in DATABASES for processes in (2, 8, 32)]
"""All of them in the long proof; for the gate one on each database, which differ in how they wait."""
_PRICE_MICRO_USD = micro(SHOP_PRICE_USD)
_KEYS = 200 if LONG else 10
_CAP, _MORE = 137, 500
"""Purchases that the short cap pays for, and that are wanted."""
_DEADLINE_S = 1500 if LONG else 150

Note = Callable[[str, object], None]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return where a child finds the ledger."""
    here: dict[str, Any] = {"home": str(tmp_path)}
    return here if request.param == "sqlite" else {**here, "url": request.getfixturevalue("migrated")}


def _opened(place: dict[str, Any]) -> Ledger:
    return open_ledger(Path(place["home"]), place.get("url"))


def _assert_at_rest(ledger: Ledger, *, spent_micro_usd: int) -> None:
    assert {row.state for row in ledger.purchases.search()} == {PurchaseState.SUCCEEDED}
    assert reserved_of(ledger) == 0
    with ledger.database.read() as connection:
        rows = connection.execute(sa.select(budget)).all()
    assert {(row.spent_micro_usd, row.reserved_micro_usd, row.overrun) for row in rows} == {(spent_micro_usd, 0, False)}


@pytest.mark.timeout(_DEADLINE_S)
@pytest.mark.parametrize(
    ("place", "processes"), _CROWDS if LONG else [("sqlite", 32), ("postgres", 8)], indirect=["place"]
)
def test_what_many_processes_want_is_bought_once(place: dict[str, Any], processes: int, record_property: Note) -> None:
    """Each provider counts for itself; what it counts is billed."""
    each = [{**place, "takes": list(range(_KEYS)), "together": processes} for _ in range(processes)]

    files = race(f"{racing.__name__}:buy_keys", each, deadline_s=_DEADLINE_S)

    accepted = accepted_in(Path(place["home"]))
    record_property(SAMPLE, f"{processes} processes x {_KEYS} of 200 keys")
    assert (len(accepted), len(set(accepted))) == (_KEYS, _KEYS)
    assert all(None not in one for one in files)
    assert {tuple(one) for one in files} == {tuple(files[0])}
    with _opened(place) as ledger:
        assert {row.attempts for row in ledger.purchases.search()} == {1}
        _assert_at_rest(ledger, spent_micro_usd=_KEYS * _PRICE_MICRO_USD)


@pytest.mark.timeout(_DEADLINE_S)
@pytest.mark.parametrize("place", DATABASES, indirect=True)
def test_a_cap_pays_for_what_it_pays_for(place: dict[str, Any], record_property: Note) -> None:
    """Check, then add: the commonest hole in budgets, as wide as there are processes. Somebody looks all the time."""
    processes = 32
    keys = list(range(_MORE * processes if LONG else _MORE))
    random.Random(20261130).shuffle(keys)  # noqa: S311 - not a secret
    cap = _CAP * _PRICE_MICRO_USD
    each = [
        {**place, "takes": keys[number::processes], "together": processes, "cap_micro_usd": cap}
        for number in range(processes)
    ]

    with _opened(place) as ledger, watched(ledger) as seen:
        files = race(f"{racing.__name__}:buy_keys", each, deadline_s=_DEADLINE_S)

    record_property(SAMPLE, f"{len(keys)} keys of {processes} processes, looked at {len(seen)} times")
    assert len(set(accepted_in(Path(place["home"])))) == len(accepted_in(Path(place["home"]))) == _CAP
    assert sum(file is not None for one in files for file in one) == _CAP
    assert max(seen) == cap
    assert len(set(seen)) > 10, "nobody looked while it was filling"
    with _opened(place) as ledger:
        _assert_at_rest(ledger, spent_micro_usd=cap)


_PROCESSES = 8
_CYCLES = 200 if LONG else 10
_CYCLES_OF_THE_CONTROL = 5


def _race_transitions(place: dict[str, Any], *, cycles: int = _CYCLES, **how: Any) -> tuple[int, int]:
    """Return how many transitions were made, and how many found the database locked."""
    each = [
        {**place, "number": number, "together": _PROCESSES, "cycles": cycles, **how} for number in range(_PROCESSES)
    ]
    ended = race(f"{racing.__name__}:make_transitions", each, deadline_s=_DEADLINE_S)
    return sum(made for made, _ in ended), sum(locked for _, locked in ended)


@pytest.mark.timeout(_DEADLINE_S)
@pytest.mark.parametrize("place", DATABASES, indirect=True)
def test_nobody_is_locked_out(place: dict[str, Any], record_property: Note) -> None:
    """A film must not end in the middle because others write too: "database is locked" is SQLite's way to say so."""
    wanted = _PROCESSES * _CYCLES * TRANSITIONS_IN_A_CYCLE

    assert _race_transitions(place) == (wanted, 0)

    record_property(SAMPLE, f"{wanted} transitions of {_PROCESSES} processes, of 16000")
    with _opened(place) as ledger:
        assert len(ledger.purchases.search()) == _PROCESSES * _CYCLES
        _assert_at_rest(ledger, spent_micro_usd=_PROCESSES * _CYCLES)


def test_transactions_that_begin_as_readers_are_locked_out(tmp_path: Path) -> None:
    """The control: the same transitions, of which only the BEGIN differs."""
    made, locked = _race_transitions({"home": str(tmp_path)}, cycles=_CYCLES_OF_THE_CONTROL, is_deferred=True)

    assert locked > 0
    assert made < _PROCESSES * _CYCLES_OF_THE_CONTROL * TRANSITIONS_IN_A_CYCLE
