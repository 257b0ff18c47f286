"""What a process leaves behind on Postgres, and when its thread looks again: at its beat, its end, and after a loss."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from media_assets.errors import LedgerError, ProviderUnavailableError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.cluster import ClusterOwner
from media_assets.ledger.database import Database, ledger_url
from media_assets.ledger.lock_session import LockSession
from media_assets.ledger.ownership import Life, OwnershipOptions
from media_assets_tests.ledger.far_host import PREDICTION, claim, owned_by
from media_assets_tests.ledger.proxies import Line


@pytest.fixture
def watching(tmp_path: Path, migrated: str) -> Iterator[Database]:
    opened = Database(ledger_url(migrated, tmp_path))
    yield opened
    opened.close()


def _sessions(watching: Database) -> int:
    """Return how many sessions there are beside ours."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with watching.read() as connection:
        return int(connection.exec_driver_sql(count).scalar_one())


def _until(holds: Callable[[], bool]) -> None:
    """Wait for what Postgres does as soon as it notices that a session has ended."""
    give_up = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def _owners(watching: Database) -> dict[str, str | None]:
    with watching.read() as connection:
        return {row.id: row.ended for row in connection.exec_driver_sql("SELECT id, ended FROM owner")}


def _owner(ledger: Ledger) -> ClusterOwner:
    return cast("ClusterOwner", ledger.owner)


def _beat(ledger: Ledger) -> float:
    owner = _owner(ledger)
    return owner._beats.ask(owner._beat, within_s=20)


def test_a_closed_ledger_leaves_no_session_no_thread_and_no_row(
    migrated: str, tmp_path: Path, watching: Database
) -> None:
    """A scheduler opens one every minute, for years."""
    before = {*threading.enumerate()}
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=600)) as ledger:
        assert _owners(watching) == {ledger.owner.id: None}
        assert _sessions(watching) >= 1
        (thread,) = {*threading.enumerate()} - before

    assert not thread.is_alive()
    assert _owners(watching) == {}
    _until(lambda: _sessions(watching) == 0)


def test_it_beats_thrice_in_a_lease_and_sooner_where_the_lock_is_lost(migrated: str, tmp_path: Path) -> None:
    options = OwnershipOptions(lease_s=600, quarantine_s=7)
    with Line(migrated) as line, open_ledger(tmp_path, line.through, options) as ledger:
        assert ledger.owner.quarantine_s == 7
        assert _beat(ledger) == 200
        line.is_blocked = True
        line.cut()
        assert _beat(ledger) == 0.5
        line.is_blocked = False
        assert _beat(ledger) == 200
        ledger.owner.require_alive()
        _owner(ledger)._lease_s = 0.6
        line.is_blocked = True
        line.cut()
        assert _beat(ledger) == pytest.approx(0.2)
        line.is_blocked = False


def test_one_that_was_taken_over_lets_go_of_its_lock_and_asks_no_more(
    migrated: str, tmp_path: Path, watching: Database
) -> None:
    """It has nothing to renew; and whoever waits for its lock need not wait for its end."""
    with open_ledger(tmp_path, migrated, owned_by("here", lease_s=600)) as ledger:
        with watching.write() as connection:
            connection.exec_driver_sql("UPDATE owner SET ended = 'lapsed'")
        other = LockSession(watching, ledger.owner.id, 600)

        assert _beat(ledger) == 200
        assert _owner(ledger)._session is None
        _until(other.take)
        other.close()
        for refused in (ledger.owner.renew, ledger.owner.require_alive):
            with pytest.raises(LedgerError, match="another one took over"):
                refused()


def test_what_the_kernel_says_of_a_neighbour_is_written_down(migrated: str, tmp_path: Path, watching: Database) -> None:
    """For other hosts, which cannot ask it; a neighbour without a file is judged by its number."""
    with open_ledger(tmp_path / "home", migrated, owned_by("", lease_s=600)) as ledger:
        host = _owner(ledger)._host
        free, gone, alive = ledger.owner.folder / "free.lock", 2**22 + 1, os.getpid()
        free.touch()
        with watching.write() as connection:
            for name, pid in (("free", alive), ("gone", gone), ("alive", alive)):
                row = (name, host.name, host.boot, pid, "", "2099-01-01T00:00:00.000000+00:00")
                connection.exec_driver_sql("INSERT INTO owner VALUES (%s, %s, %s, %s, %s, %s)", row)

        lives = [ledger.owner.standing(name).life for name in ("free", "gone", "alive")]

        assert lives == [Life.GONE, Life.GONE, Life.SILENT]
        assert _owners(watching) == {ledger.owner.id: None, "free": "gone", "gone": "gone", "alive": None}


def test_a_forked_child_opens_its_own_connections_and_leaves_its_parents(watching: Database) -> None:
    """Two processes on one connection read each other's answers; and one that closes it ends the other's."""
    ask = "SELECT pg_backend_pid()"
    with watching.read() as connection:
        mine = connection.exec_driver_sql(ask).scalar_one()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with watching.read() as connection:
                os.write(writing, str(connection.exec_driver_sql(ask).scalar_one()).encode())
            watching.close()
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    its = int(os.read(reading, 100) or b"0")
    os.close(reading)

    with watching.read() as connection:
        assert connection.exec_driver_sql(ask).scalar_one() == mine
    assert its not in {0, mine}


def test_what_may_be_on_its_way_is_left_alone_by_its_newest_attempt(migrated: str, tmp_path: Path) -> None:
    """Until its deadline and the quarantine are over; another's attempts do not count, nor what was accepted."""
    options = owned_by("here", lease_s=600, quarantine_s=50)
    with open_ledger(tmp_path / "here", migrated, options) as here:
        with open_ledger(tmp_path / "there", migrated, owned_by("there", lease_s=600)) as there:
            sending, other, sent = (claim(there, take=take) for take in range(3))
            assert isinstance(sending, Claim)
            assert isinstance(other, Claim)
            assert isinstance(sent, Claim)
            token = there.purchases.write_intent(sending, within_s=600)
            there.purchases.write_put_back(sending, token, ProviderUnavailableError("no route"), block_s=0)
            there.purchases.write_intent(sending, within_s=7)
            there.purchases.write_intent(other, within_s=900)
            there.purchases.write_submitted(sent, there.purchases.write_intent(sent, within_s=900), PREDICTION)
            with there.database.write() as connection:
                connection.exec_driver_sql("UPDATE purchase SET owner = 'of-old'")

        found = claim(here)

        assert isinstance(found, Busy)
        assert "frozen" in found.reason
        assert 40 < (found.wait_s or 0) <= 57
        assert isinstance(claim(here, take=2), Claim)
        with here.database.write() as connection:
            connection.exec_driver_sql("UPDATE attempt SET intent_at = '2020-01-01T00:00:00.000000+00:00' WHERE n = 2")
        assert isinstance(claim(here), Claim)
