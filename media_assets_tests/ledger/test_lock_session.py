"""The statements that go over a process's session on Postgres: about which owners each of them is, and what it asks."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from media_assets.ledger.clock import utc_now
from media_assets.ledger.database import Database, ledger_url
from media_assets.ledger.hosts import Host
from media_assets.ledger.lock_session import CLOSED, GONE, LAPSED, LockSession
from media_assets.ledger.rows import PurchaseState, insert_purchase
from media_assets.ledger.schema import owner as owners
from media_assets.ledger.schema import plan
from media_assets_tests.ledger.far_host import REQUEST
from media_assets_tests.postgres_server import Server

_PAST, _FUTURE = "2020-01-01T00:00:00.000000+00:00", "2099-01-01T00:00:00.000000+00:00"
_LEASE_S = 90.0


@pytest.fixture
def database(migrated: str, tmp_path: Path) -> Iterator[Database]:
    opened = Database(ledger_url(migrated, tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def session(database: Database) -> Iterator[LockSession]:
    one = LockSession(database, "me", _LEASE_S)
    yield one
    one.close()


def _add(database: Database, name: str, *, until: str = _PAST, ended: str | None = None) -> None:
    who = {"host": "h", "boot": "b", "pid": 7, "started": "9"}
    with database.write() as connection:
        connection.execute(sa.insert(owners).values(id=name, lease_until=until, ended=ended, **who))


def _owners(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        return {row.id: row for row in connection.execute(sa.select(owners))}


def _ended(database: Database) -> dict[str, str | None]:
    return {name: row.ended for name, row in _owners(database).items()}


def test_each_side_finds_out_within_the_lease_that_the_other_is_gone(database: Database) -> None:
    """Three probes, a third of a lease in all; with a very short lease a second each, which is the least there is."""
    for lease_s, probe_s in ((_LEASE_S, 10), (5.0, 1)):
        session = LockSession(database, "me", lease_s)
        driver = session._connection.connection.driver_connection
        assert driver is not None
        told = driver.get_dsn_parameters()
        shown = [
            session._connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar_one()
            for name in ("idle", "interval", "count")
        ]
        session.close()
        assert {name: told[name] for name in told if "keepalives_" in name} == {
            "keepalives_idle": str(probe_s),
            "keepalives_interval": str(probe_s),
            "keepalives_count": "3",
        }
        assert (told["connect_timeout"], told["tcp_user_timeout"]) == ("10", str(3000 * probe_s))
        assert shown == [str(probe_s), str(probe_s), "3"]


def test_an_ordinary_session_gives_up_what_a_dead_or_frozen_process_holds(database: Database) -> None:
    names = ("idle_in_transaction_session_timeout", "lock_timeout", "tcp_keepalives_idle", "tcp_keepalives_interval")
    with database.read() as connection:
        shown = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in (*names, "tcp_keepalives_count")]

    assert shown == ["30s", "1min", "30", "10", "3"]


def test_an_owner_is_written_down_whole_and_renews_its_own_lease(database: Database, session: LockSession) -> None:
    _add(database, "other")
    session.register(Host("here", "since then"), 123, "456")
    row = _owners(database)["me"]
    assert row[:5] == ("me", "here", "since then", 123, "456")
    assert (row.lease_until > utc_now(), row.ended) == (True, None)
    with database.write() as connection:
        connection.execute(sa.update(owners).values(lease_until=_PAST))

    assert session.beat()

    rows = _owners(database)
    assert (rows["me"].lease_until > utc_now(), rows["other"].lease_until) == (True, _PAST)
    seen = session.see("me")
    assert seen is not None
    assert (seen.host, seen.pid, seen.started, seen.ended) == (Host("here", "since then"), 123, "456", None)
    assert _LEASE_S - 10 < seen.lease_left_s <= _LEASE_S
    session.end("me", GONE)
    assert not session.beat()
    assert session.see("nobody") is None


def test_a_lease_is_over_no_sooner_than_a_server_that_has_just_started_could_be_told(
    database: Database, session: LockSession
) -> None:
    """Nobody could renew one while it was down; and a lock that is held is told as such."""
    _add(database, "other")
    _add(database, "later", until=_FUTURE)
    with database.read() as connection:
        up = connection.exec_driver_sql("SELECT extract(epoch FROM now() - pg_postmaster_start_time())").scalar_one()
    looker = LockSession(database, "looker", float(up) + 50)
    holder = LockSession(database, "other", _LEASE_S)
    free = looker.see("other")
    assert holder.take()
    held, later = looker.see("other"), looker.see("later")
    looker.close()
    holder.close()

    assert free is not None
    assert held is not None
    assert later is not None
    assert 20 < free.lease_left_s <= 50
    assert later.lease_left_s > 1_000_000
    assert (free.lock_is_free, held.lock_is_free, later.lock_is_free) == (True, False, True)


def test_only_a_silent_owner_lapses(database: Database, session: LockSession) -> None:
    for name, until, ended in (("silent", _PAST, None), ("other", _PAST, None), ("renewed", _FUTURE, None),
                               ("ended", _PAST, CLOSED)):  # fmt: skip
        _add(database, name, until=until, ended=ended)

    assert session.overdue() == ["silent", "other"] or session.overdue() == ["other", "silent"]
    assert [session.lapse(name) for name in ("silent", "renewed", "ended", "nobody")] == [True, False, False, False]

    assert _ended(database) == {"silent": LAPSED, "other": None, "renewed": None, "ended": CLOSED}
    assert session.overdue() == ["other"]


def test_a_lease_is_not_over_before_its_moment(database: Database, session: LockSession) -> None:
    """Within the last second, too, the owner may come back."""
    soon = "to_char(timezone('UTC', clock_timestamp() + interval '0.9 s'), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"')"
    _add(database, "soon")
    for _ in range(20):
        with database.write() as connection:
            connection.exec_driver_sql(f"UPDATE owner SET lease_until = {soon}")  # noqa: S608 - ours
        found = session.overdue(), session.lapse("soon")
        with database.read() as connection:
            in_time = connection.exec_driver_sql(
                "SELECT lease_until::timestamptz > clock_timestamp() FROM owner"
            ).scalar_one()
        if in_time:  # else this machine was too busy
            break
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE owner SET ended = NULL")
    assert found == ([], False)


def test_what_is_certain_replaces_what_was_supposed_and_nothing_else(database: Database, session: LockSession) -> None:
    for name, ended in (("silent", None), ("lapsed", LAPSED), ("closed", CLOSED), ("other", None)):
        _add(database, name, ended=ended)
    for name in ("silent", "lapsed", "closed"):
        session.end(name, GONE)

    assert _ended(database) == {"silent": GONE, "lapsed": GONE, "closed": CLOSED, "other": None}


def test_owners_are_struck_off_once_nothing_open_names_them(database: Database, session: LockSession) -> None:
    """Or nobody could say any more how it ended."""
    values = {"prompt_key": "a", "recovery": "D", "estimate_micro_usd": 0, "created_at": "", "updated_at": ""}
    for name in (*PurchaseState, "planned", "unnamed"):
        _add(database, name.lower(), ended=GONE)
    _add(database, "perhaps alive")
    with database.write() as connection:
        for take, state in enumerate(PurchaseState):
            insert_purchase(connection, replace(REQUEST, take=take), {**values, "state": state, "owner": state.lower()})
        connection.execute(sa.insert(plan).values(id="p", owner="planned", prompt_key="a", created_at=""))

    session.forget_ended()

    named = {state.lower() for state in PurchaseState if state.is_open}
    assert _owners(database).keys() == {*named, "planned", "perhaps alive"}


def test_a_lock_is_of_one_owner_and_ends_with_its_session(database: Database, session: LockSession) -> None:
    again, other = LockSession(database, "me", _LEASE_S), LockSession(database, "other", _LEASE_S)
    assert other.take()
    assert again.take()
    assert other.is_whole()
    again.close()
    assert session.take() or session.take()
    other.close()


def test_a_lease_is_as_long_in_every_time_zone(server: Server, migrated: str, tmp_path: Path) -> None:
    """A server that shows its users their own time must not give a purchase away nine hours early, or late."""
    server.run(f"ALTER DATABASE {make_url(migrated).database} SET timezone = 'Asia/Tokyo'")
    opened = Database(ledger_url(migrated, tmp_path))
    session = LockSession(opened, "me", _LEASE_S)
    session.register(Host("here", "b"), 1, "2")

    seen = session.see("me")

    session.close()
    opened.close()
    assert seen is not None
    assert _LEASE_S - 20 < seen.lease_left_s <= _LEASE_S
