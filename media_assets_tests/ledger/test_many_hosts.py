"""Hosts that share a ledger on Postgres: what another one's process has is taken over neither too early nor never."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from media_assets.catalog import Recovery
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.admission import Limits, Wait
from media_assets.ledger.claims import Busy, Claim
from media_assets.ledger.ownership import Life, OwnershipOptions
from media_assets.ledger.rows import PurchaseRow, PurchaseState
from media_assets_tests.children import meet, race
from media_assets_tests.ledger.far_host import REQUEST, FarHost, claim, far_host, owned_by
from media_assets_tests.postgres_server import Server

_DEADLINE_S = 30
S = PurchaseState


def _wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _DEADLINE_S
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.02)
    assert condition()


def _when_claimed(ledger: Ledger, recovery: Recovery = Recovery.NONE) -> tuple[Claim, list[Busy]]:
    """Claim again and again, as a purchase does; return the claim, and what was said until then."""
    waits: list[Busy] = []
    give_up = time.monotonic() + _DEADLINE_S
    while isinstance(found := claim(ledger, recovery), Busy):
        assert time.monotonic() < give_up, found
        waits.append(found)
        time.sleep(0.02)
    assert isinstance(found, Claim), found
    return found, waits


def _row(ledger: Ledger) -> PurchaseRow:
    row = ledger.purchases.get(REQUEST.key)
    assert row is not None
    return row


@contextlib.contextmanager
def _far(tmp_path: Path, url: str, options: OwnershipOptions, *, clock_off_days: int = 0) -> Iterator[FarHost]:
    with far_host(tmp_path / "far", url, options, clock_off_days=clock_off_days) as process:
        yield process


@pytest.fixture
def url(migrated: str) -> str:
    return migrated


@pytest.fixture
def here(tmp_path: Path, url: str) -> Iterator[Ledger]:
    with open_ledger(tmp_path / "here", url, owned_by("here")) as ledger:
        yield ledger


def _bring_to(far: FarHost, state: PurchaseState, *, recovery: Recovery = Recovery.NONE, within_s: float = 60) -> None:
    """Take a new purchase through the protocol until it is in ``state``."""
    assert far.tell("claim", recovery) == "Claim"
    count = [S.RESERVED, S.SUBMITTING, S.SUBMITTED, S.DONE].index(state)
    for what in ["write_intent", "write_submitted", "write_done"][:count]:
        assert far.tell(what, *([within_s] if what == "write_intent" else [])) is None


def test_a_process_on_another_host_is_alive_while_it_has_its_lock(here: Ledger, url: str, tmp_path: Path) -> None:
    """No file tells of another machine's processes; its lock in the database does."""
    with _far(tmp_path, url, owned_by("far")) as far:
        _bring_to(far, S.RESERVED)

        assert here.owner.is_alive(far.owner)
        assert claim(here) == Busy()


@pytest.mark.parametrize("state", [S.RESERVED, S.SUBMITTED, S.DONE])
def test_what_a_killed_host_had_is_taken_over_after_its_lease(
    here: Ledger, url: str, tmp_path: Path, state: PurchaseState
) -> None:
    """Its connection may only have broken, so it is given the time to come back; then its fence is raised."""
    with _far(tmp_path, url, owned_by("far", lease_s=1.5)) as far:
        _bring_to(far, state)
        far.kill()

        claimed, waits = _when_claimed(here)

    assert claimed.found is state
    assert (claimed.prediction is not None) == (state is not S.RESERVED)
    silent = [busy for busy in waits if busy.wait_s is not None]
    assert all(0 < (busy.wait_s or 0) <= 1.5 and "does not answer" in busy.reason for busy in silent)
    assert here.owner.standing(far.owner).life is Life.LAPSED


def test_what_a_killed_host_may_have_sent_is_left_alone_for_longer(here: Ledger, url: str, tmp_path: Path) -> None:
    """It could be frozen between its last check and its send: nothing fences what is on its way to a provider."""
    with _far(tmp_path, url, owned_by("far", lease_s=0.5)) as far:
        _bring_to(far, S.SUBMITTING, within_s=2.0)
        intent = time.monotonic()
        far.kill()

        claimed, waits = _when_claimed(here)

    passed_s = time.monotonic() - intent
    assert claimed.found is S.SUBMITTING
    assert passed_s >= 2.0 + here.owner.quarantine_s - 0.2, "deadline and quarantine, counted from the intent"
    frozen = [busy for busy in waits if "frozen" in busy.reason]
    assert frozen
    assert all(0 < (busy.wait_s or 0) <= 2.0 + here.owner.quarantine_s for busy in frozen)


def test_free_work_of_a_killed_host_needs_no_quarantine(here: Ledger, url: str, tmp_path: Path) -> None:
    """Doing it twice costs nothing."""
    with _far(tmp_path, url, owned_by("far", lease_s=0.5)) as far:
        _bring_to(far, S.SUBMITTING, recovery=Recovery.FREE, within_s=600)
        far.kill()

        claimed, _ = _when_claimed(here, Recovery.FREE)

    assert claimed.found is S.SUBMITTING


def test_a_paused_process_keeps_what_it_has_for_as_long_as_it_takes(here: Ledger, url: str, tmp_path: Path) -> None:
    """Its connection stands, so its lock does: three leases later it goes on as if nothing had been."""
    with _far(tmp_path, url, owned_by("far", lease_s=0.4)) as far:
        _bring_to(far, S.SUBMITTING, within_s=0.1)
        far.pause()
        give_up = time.monotonic() + 1.5

        while time.monotonic() < give_up:
            assert claim(here) == Busy()
            time.sleep(0.05)
        far.go_on()

        assert far.tell("require_alive") is None
        assert far.tell("write_submitted") is None
    assert _row(here).state is S.SUBMITTED


@pytest.mark.parametrize("days", [-3650, 3650])
def test_no_clock_but_the_databases_decides(here: Ledger, url: str, tmp_path: Path, days: int) -> None:
    """A machine without NTP, or a daylight saving done by hand, must neither give a purchase away nor keep it."""
    with _far(tmp_path, url, owned_by("far", lease_s=0.5), clock_off_days=days) as far:
        _bring_to(far, S.SUBMITTING, within_s=1.0)
        intent = time.monotonic()
        assert abs(int(_row(here).updated_at[:4]) - time.gmtime().tm_year) >= 9, "its own clock is off"
        assert claim(here) == Busy()
        far.kill()

        _when_claimed(here)

    assert time.monotonic() - intent >= 1.0 + here.owner.quarantine_s - 0.2


def test_a_pause_that_a_provider_asked_for_ends_by_the_databases_clock(here: Ledger, url: str, tmp_path: Path) -> None:
    """A host whose clock is ten years ahead would else stop all others for ten years."""
    with _far(tmp_path, url, owned_by("far"), clock_off_days=3650) as far:
        far.tell("claim", Recovery.NONE)
        far.tell("pause_submissions", 60)
    claimed, _ = _when_claimed(here)

    wait = here.purchases.write_intent(claimed, Limits(concurrency=5))

    assert isinstance(wait, Wait)
    assert 0 < wait.seconds <= 60


@pytest.mark.parametrize("home", ["the same", "another"])
def test_a_killed_process_of_this_very_host_is_dead_at_once(url: str, tmp_path: Path, home: str) -> None:
    """Its kernel knows, whatever was being sent: waiting out a lease and a quarantine would help nobody."""
    forever = owned_by("", lease_s=600, quarantine_s=600)
    homes = tmp_path / "here", tmp_path / ("here" if home == "the same" else "far")
    with open_ledger(homes[0], url, forever) as here, far_host(homes[1], url, forever) as far:
        _bring_to(far, S.SUBMITTING)
        assert claim(here) == Busy()
        far.kill()

        assert isinstance(claim(here), Claim)
        assert here.owner.standing(far.owner).life is Life.GONE


def test_a_paused_process_of_this_very_host_is_alive_whatever_became_of_its_connection(
    server: Server, url: str, tmp_path: Path
) -> None:
    """As it is on SQLite: the kernel's word, and no timer."""
    with (
        open_ledger(tmp_path, url, owned_by("", lease_s=0.3)) as here,
        far_host(tmp_path, url, owned_by("", lease_s=0.3)) as far,
    ):
        _bring_to(far, S.RESERVED)
        far.pause()
        every = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{make_url(url).database}'"  # noqa: S608
        server.run(every)
        time.sleep(0.6)

        assert claim(here) == Busy()
        assert here.owner.standing(far.owner).life is Life.ALIVE
        far.go_on()
        assert far.tell("write_intent", 60) is None


def test_a_closed_ledger_gives_up_at_once_and_leaves_no_row(here: Ledger, url: str, tmp_path: Path) -> None:
    """A finished run must not make the next one wait, on whichever host that is."""
    with open_ledger(tmp_path / "far", url, owned_by("far", lease_s=600, quarantine_s=600)) as other:
        claimed = claim(other)
        assert isinstance(claimed, Claim)
        other.purchases.write_intent(claimed)
        name = other.owner.id

    assert isinstance(claim(here), Claim)
    assert here.owner.standing(name).life is Life.GONE
    here.owner.forget_ended()
    assert _owners(here) == [here.owner.id]


def _owners(ledger: Ledger) -> list[str]:
    with ledger.database.read() as connection:
        return list(connection.exec_driver_sql("SELECT id FROM owner ORDER BY id").scalars())


def test_sweeping_leaves_another_hosts_files_until_its_lease_is_over(here: Ledger, url: str, tmp_path: Path) -> None:
    """Hosts may share their store by a network file system; a half written file there is somebody's work."""
    with _far(tmp_path, url, owned_by("far", lease_s=1.0)) as far:
        part = tmp_path / f"{far.owner}.abc.part"
        scratch = here.scratch_root / far.owner
        part.touch()
        scratch.mkdir(parents=True)
        here.sweep(tmp_path)
        assert (part.exists(), scratch.exists()) == (True, True)
        far.kill()
        _wait_until(lambda: not here.owner.is_alive(far.owner))

        here.sweep(tmp_path)

    assert (part.exists(), scratch.exists()) == (False, False)
    assert _owners(here) == [here.owner.id]


def test_a_child_of_a_killed_process_does_not_keep_its_lock(here: Ledger, url: str, tmp_path: Path) -> None:
    """The child has the connection too, and lives on: with it the dead parent would look alive for ever."""
    with _far(tmp_path, url, owned_by("far", lease_s=0.5)) as far:
        _bring_to(far, S.RESERVED)
        child = far.tell("fork")
        try:
            far.kill()
            os.kill(child, 0)

            _when_claimed(here)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_child_cannot_use_its_parents_lock_nor_end_it(here: Ledger, url: str, tmp_path: Path) -> None:
    """Two processes on one connection garble it, and one that closes it takes the lock from the other."""
    with _far(tmp_path, url, owned_by("far", lease_s=600)) as far:
        _bring_to(far, S.SUBMITTING)

        said, same = far.tell("fork_and_use")

        assert (said.partition(":")[0], same) == ("LedgerError", False)
        assert "by the process that this one was forked from. Open it again here." in said, "not that it was closed"

        assert far.tell("require_alive") is None
        assert here.owner.standing(far.owner).life is Life.ALIVE


def claim_from(home: str, url: str, host: str, meeting: str, together: int) -> str:
    """In a child: claim one request when everybody is ready, live until everybody has tried; return what it brought."""
    with open_ledger(Path(home), url, owned_by(host)) as ledger:
        meet(Path(meeting) / "ready", ledger.owner.id, together)
        while isinstance(found := claim(ledger), Busy) and found.reason:
            time.sleep(0.02)
        meet(Path(meeting) / "tried", ledger.owner.id, together)
    return type(found).__name__


def test_of_eight_processes_on_two_hosts_that_want_a_dead_ones_purchase_one_gets_it(url: str, tmp_path: Path) -> None:
    """The promise is one submission for one request, not one for each machine."""
    with _far(tmp_path, url, owned_by("far", lease_s=0.5)) as far:
        _bring_to(far, S.RESERVED)
        far.kill()
    hosts = ["a", "b"] * 4
    each = [
        {"home": str(tmp_path / host), "url": url, "host": host, "meeting": str(tmp_path), "together": 8}
        for host in hosts
    ]

    names = race(f"{__name__}:claim_from", each)

    assert sorted(names) == ["Busy"] * 7 + ["Claim"]
