"""One process and its lock on Postgres: it knows when it lost it, takes it again, and stops when it came too late."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from media_assets.errors import LedgerError, PurchaseLostError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.cluster import ClusterOwner, _judged
from media_assets.ledger.lock_session import LockSession, _lock_id
from media_assets.ledger.ownership import Life
from media_assets.ledger.rows import PurchaseState
from media_assets_tests.ledger.far_host import PREDICTION, REQUEST, claim, owned_by
from media_assets_tests.ledger.proxies import Line, Pooler
from media_assets_tests.postgres_server import Server

_DEADLINE_S = 30


@pytest.fixture
def here(tmp_path: Path, migrated: str) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "here", migrated, owned_by("here")) as ledger:
        yield ledger


def _claimed(ledger: Ledger) -> Claim:
    claimed = claim(ledger)
    assert isinstance(claimed, Claim), claimed
    return claimed


def _insert_stale(ledger: Ledger, name: str) -> None:
    """Add an owner whose lease is over."""
    with ledger.database.write() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO owner VALUES ('{name}', 'h', 'b', 1, '', '2020-01-01T00:00:00.000000+00:00', NULL)"  # noqa: S608
        )


def _database(url: str) -> str:
    return str(make_url(url).database)


def _cut_lock(server: Server, url: str) -> int:
    """End every session that holds an owner's lock, as an administrator or a firewall does; return how many."""
    cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = {}"
    (oid,), *_ = server.run(f"SELECT oid FROM pg_database WHERE datname = '{_database(url)}'")  # noqa: S608 - ours
    return len(server.run(cut.format(oid)))


def test_a_process_that_lost_its_lock_may_not_send(server: Server, migrated: str, tmp_path: Path) -> None:
    """Whoever looks now finds the lock free; so nothing may leave until it is taken again, from the next instant on."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=600)) as ledger:
        ledger.owner.require_alive()
        assert _cut_lock(server, migrated) == 1

        for _ in range(2):
            with pytest.raises(LedgerError, match="nothing is sent"):
                ledger.owner.require_alive()
        with pytest.raises(LedgerError):
            ledger.owner.permit(60)()


def test_a_lost_lock_is_taken_again_before_an_intent_is_written(server: Server, migrated: str, tmp_path: Path) -> None:
    """A restart of the database must not end every film in the making."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=600)) as ledger:
        claimed = _claimed(ledger)
        _cut_lock(server, migrated)

        token = ledger.purchases.write_intent(claimed)

        ledger.owner.require_alive()
        assert ledger.purchases.attempts(REQUEST.key)[0]["post_deadline_s"] == 300
        ledger.purchases.write_submitted(claimed, token, PREDICTION)


def test_a_lost_lock_is_taken_again_by_itself(server: Server, migrated: str, tmp_path: Path) -> None:
    """A process that only waits for a prediction writes nothing for minutes."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=0.6)) as ledger:
        _cut_lock(server, migrated)
        give_up = time.monotonic() + _DEADLINE_S

        while time.monotonic() < give_up:
            with contextlib.suppress(LedgerError):
                ledger.owner.require_alive()
                return
            time.sleep(0.02)
        pytest.fail("the lock was not taken again")


def test_nobody_takes_over_from_one_whose_lock_was_lost_for_a_moment(
    here: Ledger, server: Server, migrated: str, tmp_path: Path
) -> None:
    """The lease is for this: connections break, and processes come back."""
    with open_ledger(tmp_path / "there", migrated, owned_by("there", lease_s=600)) as there:
        claimed = _claimed(there)
        _cut_lock(server, migrated)

        found = claim(here)
        assert isinstance(found, Busy)
        assert "does not answer" in found.reason
        assert 0 < (found.wait_s or 0) <= 600
        there.purchases.write_intent(claimed)
        assert claim(here) == Busy()


def test_one_that_comes_back_too_late_stops_for_good(here: Ledger, migrated: str, tmp_path: Path) -> None:
    """Its purchase is another's now: it may neither send nor write, whatever it was about to do."""
    with Line(migrated) as line, open_ledger(tmp_path / "there", line.through, owned_by("there", lease_s=0.5)) as there:
        claimed = _claimed(there)
        with line.blocked():
            while isinstance(taken := claim(here), Busy):
                time.sleep(0.02)
        assert isinstance(taken, Claim)
        assert here.owner.standing(there.owner.id).life is Life.LAPSED

        for refused in (there.owner.renew, there.owner.require_alive, lambda: there.purchases.write_intent(claimed)):
            with pytest.raises(LedgerError, match="another one took over"):
                refused()
        for take in (0, 1):
            with pytest.raises(LedgerError, match="another one took over"):
                claim(there, take=take)
        with pytest.raises(LedgerError, match="another one took over"):
            there.prompts.open_plan("plan", "a", amounts={}, caps=[])
        with pytest.raises(PurchaseLostError):
            there.purchases.write_remote(claimed, PREDICTION)
    here.purchases.write_intent(taken)


def test_nobody_is_declared_lapsed_while_it_has_its_lock(here: Ledger, migrated: str, tmp_path: Path) -> None:
    """Between the look at the lock and the verdict its owner may have come back; the verdict would be final."""
    looker = LockSession(here.database, "looker", 600)
    with open_ledger(tmp_path, migrated, owned_by("there", lease_s=600)) as there:
        name = there.owner.id
        with there.database.write() as connection:
            connection.exec_driver_sql("UPDATE owner SET lease_until = '2020-01-01T00:00:00.000000+00:00'")

        assert not looker.lapse(name)
        there.owner.require_alive()
        _insert_stale(there, "dead")
        assert looker.lapse("dead")
        assert not looker.lapse("dead"), "once is enough"
    looker.close()


def test_one_that_came_back_between_the_look_and_the_verdict_is_alive(
    server: Server, migrated: str, tmp_path: Path
) -> None:
    """It has its lock again, and goes on to send: taken for dead, what it has would be bought by two."""
    with open_ledger(tmp_path, migrated, owned_by("there", lease_s=600)) as there:
        looker = LockSession(there.database, "looker", 0.001)
        name = there.owner.id
        _insert_stale(there, "dead")
        with there.database.write() as connection:
            connection.exec_driver_sql("UPDATE owner SET lease_until = '2020-01-01T00:00:00.000000+00:00'")
        _cut_lock(server, migrated)
        seen, dead = looker.see(name), looker.see("dead")
        assert seen is not None
        assert dead is not None
        assert (seen.lock_is_free, seen.lease_left_s < 0, seen.ended) == (True, True, None)

        there.owner.renew()

        assert _judged(looker, name, seen).life is Life.ALIVE
        there.owner.require_alive()
        assert _judged(looker, "dead", dead).life is Life.LAPSED, "the control: nobody came back"
        looker.close()


def test_its_own_lost_session_does_not_keep_a_process_out(migrated: str, tmp_path: Path) -> None:
    """The server may not have noticed that the old connection is dead, and it still holds the lock for it."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, owned_by("here", lease_s=600)) as ledger:
        line.lose_clients()

        ledger.owner.renew()

        ledger.owner.require_alive()


def test_a_database_that_does_not_answer_lets_nothing_out(migrated: str, tmp_path: Path) -> None:
    """Perhaps it is gone, and another host sees the lock free: silence is no permission."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, owned_by("here", lease_s=0.5)) as ledger:
        line.is_stalled = True

        with pytest.raises(LedgerError, match="no answer within"):
            ledger.owner.require_alive()
        line.is_stalled = False
        line.cut()


def test_a_server_that_is_gone_is_told_as_such(migrated: str, tmp_path: Path) -> None:
    """And closing then ends, with a word in the log."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, owned_by("here", lease_s=0.5)) as ledger:
        line.is_blocked = True
        line.cut()

        with pytest.raises(LedgerError, match="cannot be used"):
            ledger.owner.renew()


@pytest.mark.parametrize("lends", ["the last one used", "the longest unused"])
@pytest.mark.parametrize("sessions", [1, 2, 5])
def test_a_pooler_that_lends_sessions_is_refused(migrated: str, tmp_path: Path, lends: str, sessions: int) -> None:
    """Behind PgBouncer in transaction mode a lock belongs to whoever is lent the session next: to everybody."""
    with (
        Pooler(migrated, sessions=sessions, last_used_first=lends == "the last one used") as pooler,
        pytest.raises(LedgerError, match="pooler in session mode"),
        open_ledger(tmp_path, pooler.through, owned_by("here")),
    ):
        pass

    assert list((tmp_path / "owners").iterdir()) == []


def test_a_line_that_only_passes_on_is_not_taken_for_a_pooler(migrated: str, tmp_path: Path) -> None:
    """Or no ledger behind a load balancer, or in session mode, could be opened."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, owned_by("here")) as ledger:
        ledger.owner.require_alive()


def test_a_database_that_confirms_before_it_is_durable_is_refused(
    server: Server, migrated: str, tmp_path: Path
) -> None:
    """With synchronous_commit off the last half second of intents is lost in a crash, and bought again."""
    server.run(f"ALTER DATABASE {_database(migrated)} SET synchronous_commit = off")

    with pytest.raises(LedgerError, match="synchronous_commit"):
        open_ledger(tmp_path, migrated)


def test_transactions_are_read_committed_whatever_the_database_prefers(
    server: Server, migrated: str, tmp_path: Path
) -> None:
    """Under SERIALIZABLE a guarded UPDATE fails with an error that nobody repeats, in place of deciding."""
    server.run(f"ALTER DATABASE {_database(migrated)} SET default_transaction_isolation = 'serializable'")

    with open_ledger(tmp_path, migrated, owned_by("here")) as ledger, ledger.database.write() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "read committed"


def test_a_writer_that_stopped_halfway_does_not_stop_all_others(here: Ledger) -> None:
    """Writers take turns on Postgres, too: a frozen host in the middle of its turn would end everybody's."""
    with here.database.write() as connection:
        limit = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one()

    assert limit == "30s"


def test_a_ledger_that_was_closed_owns_nothing(migrated: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its thread is gone: whoever asks must be told, not kept waiting; and to close it again is nothing to warn of."""
    with open_ledger(tmp_path, migrated, owned_by("here")) as ledger:
        owner = ledger.owner

    with pytest.raises(LedgerError, match="closed"):
        owner.require_alive()
    assert owner.standing(owner.id).life is Life.GONE
    owner.close()
    assert "take this process for silent" not in caplog.text


def test_an_owner_that_the_ledger_does_not_list_has_lapsed(here: Ledger) -> None:
    """Rows may name one that an older version wrote, or that was struck off: dead, and nobody knows how."""
    assert here.owner.standing("0123456789abcdef").life is Life.LAPSED
    assert here.owner.standing("").life is Life.GONE


def test_an_attempt_without_a_deadline_waits_for_the_longest(here: Ledger, migrated: str, tmp_path: Path) -> None:
    """Attempts of an older version do not say how long they were given."""
    with open_ledger(tmp_path / "there", migrated, owned_by("there")) as there:
        claimed = _claimed(there)
        there.purchases.write_intent(claimed, within_s=0)
        with there.database.write() as connection:
            connection.exec_driver_sql("UPDATE attempt SET post_deadline_s = NULL")
            connection.exec_driver_sql("UPDATE purchase SET owner = 'of-old'")

    found = claim(here)

    assert isinstance(found, Busy)
    assert 290 < (found.wait_s or 0) <= 300 + here.owner.quarantine_s
    assert here.purchases.search()[0].state is PurchaseState.SUBMITTING


def test_owners_that_nothing_names_are_struck_off_once_they_are_overdue(here: Ledger) -> None:
    """Or the table would keep every process that ever died far away."""
    _insert_stale(here, "dead")

    here.owner.forget_ended()

    with here.database.read() as connection:
        assert connection.exec_driver_sql("SELECT id FROM owner").scalars().all() == [here.owner.id]


def _leading_nowhere() -> int:
    """Count this process's open descriptors of the null device."""
    count, null = 0, Path(os.devnull).stat().st_rdev
    for descriptor in range(1024):
        with contextlib.suppress(OSError):
            count += os.fstat(descriptor).st_rdev == null
    return count


def test_a_forked_child_lets_go_without_a_word_to_the_server(
    here: Ledger, migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A goodbye over the parent's connection would free the parent's lock, and its purchases with it."""
    with open_ledger(tmp_path / "there", migrated, owned_by("there", lease_s=600)) as there:
        owner = cast("ClusterOwner", there.owner)
        session = cast("LockSession", owner._session)
        parents, descriptor = os.dup(session._descriptor), session._descriptor
        own, nowhere = owner.pid, _leading_nowhere()
        monkeypatch.setattr(owner, "pid", os.getppid())
        owner.forget()
        owner.forget()
        assert _leading_nowhere() == nowhere + 1, "one in the place of the session's, and none beside it"
        assert session._descriptor < 0, "what has that number next is not this session's"
        monkeypatch.setattr(owner, "pid", own)
        time.sleep(0.2)  # in which the server would hear it

        assert here.owner.standing(owner.id).life is Life.ALIVE
        assert os.fstat(descriptor).st_rdev == Path(os.devnull).stat().st_rdev, "what the child has leads nowhere"
        os.dup2(parents, descriptor)
        os.close(parents)
        assert session.is_whole(), "the parent's goes on"


def test_a_process_that_cannot_say_goodbye_says_so(
    migrated: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Others then wait out its lease; nothing is lost, and whoever wonders finds why in the log."""
    with Line(migrated) as line, open_ledger(tmp_path, line.through, owned_by("here", lease_s=600)):
        line.is_blocked = True
        line.cut()

    assert "take this process for silent" in caplog.text
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_lock_that_somebody_else_keeps_is_not_waited_for_for_ever(
    server: Server, migrated: str, tmp_path: Path
) -> None:
    """One that looks has it for an instant; one that keeps it must not hang every process that wants it back."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=600)) as ledger:
        _cut_lock(server, migrated)
        with ledger.database.read() as keeper:
            keeper.execute(sa.select(sa.func.pg_advisory_lock_shared(_lock_id(ledger.owner.id))))
            with pytest.raises(LedgerError, match="still held by a connection that was lost"):
                ledger.owner.renew()
            keeper.execute(sa.select(sa.func.pg_advisory_unlock_all()))

        ledger.owner.renew()
        ledger.owner.require_alive()


def test_a_session_that_is_suddenly_another_is_not_believed(migrated: str, tmp_path: Path) -> None:
    """A pooler that is switched to lending sessions later takes the lock away without an error."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=600)) as ledger:
        session = cast("LockSession", cast("ClusterOwner", ledger.owner)._session)
        session.backend += 1

        with pytest.raises(LedgerError, match="pooler in session mode"):
            ledger.owner.require_alive()
        with pytest.raises(LedgerError, match="connection was lost"):
            ledger.owner.require_alive()
        ledger.owner.renew()
        ledger.owner.require_alive()
