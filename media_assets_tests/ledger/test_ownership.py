"""Ownership: an owner is alive exactly while its process lives, whatever clocks, forks and sweepers do."""

import contextlib
import fcntl
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from media_assets.errors import LedgerError
from media_assets.ledger import open_ledger
from media_assets.ledger.ownership import Owner
from media_assets_tests.children import race
from media_assets_tests.ledger.files import open_files

_DEADLINE_S = 20

_OWN = """
import os, subprocess, sys
from pathlib import Path
from media_assets.ledger.ownership import Owner
owner = Owner(Path(sys.argv[1]))
child = 0
if sys.argv[2] == "forks":
    child = os.fork()
    if child == 0:
        sys.stdin.read()
        os._exit(0)
if sys.argv[2] == "starts":
    child = subprocess.Popen(["sleep", "30"]).pid
print(owner.id, child, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def _owner_elsewhere(folder: Path, *, and_then: str = "waits") -> Iterator[tuple[Popen[str], str, int]]:
    """Start a process that owns, and perhaps has a child; yield it, its owner's name and the child's pid."""
    with Popen([sys.executable, "-c", _OWN, str(folder), and_then], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        name, child = process.stdout.readline().split()
        try:
            yield process, name, int(child)
        finally:
            process.kill()
            if int(child):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)


def _wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _DEADLINE_S
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.005)
    assert condition()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    one = Owner(tmp_path / "owners")
    yield one
    one.close()


def test_an_owner_is_alive_until_its_process_is_killed(owner: Owner) -> None:
    """A killed process says no goodbye; only the kernel knows, and it has to be enough."""
    with _owner_elsewhere(owner.folder) as (process, name, _):
        alive = owner.is_alive(name)
        process.kill()
        process.wait()

        assert alive
        assert not owner.is_alive(name)
        assert owner.dead_owners() == [name]


def test_a_paused_owner_is_alive(owner: Owner) -> None:
    """A laptop asleep for a night still owns what it was buying; a timer would have given it away."""
    with _owner_elsewhere(owner.folder) as (process, name, _):
        process.send_signal(signal.SIGSTOP)

        assert owner.is_alive(name)
        assert owner.dead_owners() == []


@pytest.mark.parametrize("how", ["forks", "starts"])
def test_a_child_does_not_keep_a_dead_owner_alive(owner: Owner, how: str) -> None:
    """ffmpeg, or a worker that a library forked, outlives a killed parent; what that owned must become free."""
    with _owner_elsewhere(owner.folder, and_then=how) as (process, name, child):
        process.kill()
        process.wait()
        os.kill(child, 0)

        _wait_until(lambda: not owner.is_alive(name))


def test_closing_gives_up_at_once_and_leaves_no_file(tmp_path: Path, owner: Owner) -> None:
    """A finished run must not wait for the next one to sweep up after it."""
    other = Owner(owner.folder)
    assert owner.is_alive(other.id)

    other.close()

    assert not owner.is_alive(other.id)
    assert not other.is_alive(other.id)
    assert [path.name for path in owner.folder.iterdir()] == [f"{owner.id}.lock"]


def test_an_owner_nobody_heard_of_is_dead(owner: Owner) -> None:
    """Rows outlive the files that name their owners."""
    assert not owner.is_alive("0123456789abcdef")


def test_owners_that_ask_about_a_dead_one_at_once_do_not_take_each_other_for_it(owner: Owner) -> None:
    """An exclusive lock taken only to look would make two waiters wait for each other for ever."""
    dead = "0123456789abcdef"
    (owner.folder / f"{dead}.lock").touch()
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(owner.is_alive(dead) for _ in range(2000))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 8000
    assert not any(answers)


def test_burying_removes_the_dead_only(owner: Owner) -> None:
    """Whoever's file is removed is dead to everybody: a living owner's must stay."""
    (owner.folder / "dead.lock").touch()
    with _owner_elsewhere(owner.folder) as (_, name, _):
        for one in ("dead", name, "never"):
            owner.bury(one)

        assert sorted(path.stem for path in owner.folder.iterdir()) == sorted([name, owner.id])


def be_born_while_others_bury(folder: str, births: int) -> int:
    """In a child: become an owner again and again, sweeping in between; return how often the file was not there."""
    lost = 0
    for _ in range(births):
        owner = Owner(Path(folder))
        for dead in owner.dead_owners():
            owner.bury(dead)
        lost += not (owner.folder / f"{owner.id}.lock").exists()
        lost += not owner.is_alive(owner.id)
        owner.close()
    return lost


def test_a_sweeper_never_buries_an_owner_that_is_just_being_born(tmp_path: Path) -> None:
    """Between the file's creation and its lock a new owner looks dead; 4 processes try it 1,000 times."""
    each = [{"folder": str(tmp_path / "owners"), "births": 250}] * 4

    assert race(f"{__name__}:be_born_while_others_bury", each) == [0] * 4


def test_a_living_owner_is_never_seen_dead_while_others_sweep(owner: Owner) -> None:
    """Looking and burying take the same lock for an instant; that must read as alive, never as dead."""
    with _owner_elsewhere(owner.folder) as (_, name, _):
        stop = threading.Event()

        def sweep() -> None:
            while not stop.is_set():
                owner.dead_owners()
                owner.bury(name)

        threads = [threading.Thread(target=sweep) for _ in range(2)]
        for thread in threads:
            thread.start()
        seen_dead = sum(not owner.is_alive(name) for _ in range(2000))
        stop.set()
        for thread in threads:
            thread.join()

        assert seen_dead == 0


def test_one_coroutine_of_a_process_works_on_a_purchase(owner: Owner) -> None:
    """The file says which process; within it, equal requests of two prompts have to take turns, too."""
    first, second, other = owner.enter("a"), owner.enter("a"), owner.enter("b")
    held = owner.holds("a")
    owner.leave("a")

    assert (first, second, other, held) == (True, False, True, True)
    assert not owner.holds("a")
    assert owner.enter("a")


def test_a_purchase_that_nobody_holds_can_be_left(owner: Owner) -> None:
    """Clean-up paths overlap; letting go twice must not fail."""
    owner.leave("a")

    assert not owner.holds("a")


def test_an_owner_whose_file_was_swept_as_it_was_born_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between creation and lock a sweeper may take it; an owner without a file would be dead to everybody."""
    swept: list[Path] = []
    lock = fcntl.flock

    def sweep_then_lock(descriptor: int, how: int) -> None:
        if not swept:
            swept.extend((tmp_path / "owners").iterdir())
            swept[0].unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", sweep_then_lock)
    owner = Owner(tmp_path / "owners")
    monkeypatch.undo()

    assert len(open_files(owner.folder)) == 1

    assert swept != [owner.folder / f"{owner.id}.lock"]
    assert [path.stem for path in owner.folder.iterdir()] == [owner.id]
    other = Owner(owner.folder)
    assert other.is_alive(owner.id)
    other.close()
    owner.close()


def test_what_a_process_owns_its_child_does_not(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forked child that went on with its parent's claims would send what its parent sends."""
    monkeypatch.setattr(owner, "pid", os.getppid())

    for ask in (owner.require_alive, owner.renew, owner.permit(60)):
        with pytest.raises(LedgerError, match="forked"):
            ask()


def test_a_child_that_closes_its_parents_ledger_leaves_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool of processes closes what it inherits when it ends; its parent is in the middle of a download."""
    ledger = open_ledger(tmp_path)
    half = ledger.scratch("token")
    half.mkdir(parents=True)
    monkeypatch.setattr(ledger.owner, "pid", os.getppid())

    ledger.close()

    assert half.is_dir()
    assert (ledger.owner.folder / f"{ledger.owner.id}.lock").exists()


def test_looking_and_burying_leave_no_file_open(owner: Owner) -> None:
    """A long run looks a thousand times; and what stays open stays locked, so that nobody could bury it."""
    other = Owner(owner.folder)
    (owner.folder / "dead.lock").touch()
    assert len(open_files(owner.folder)) == 2

    assert [owner.is_alive(name) for name in ("dead", other.id, "never")] == [False, True, False]
    for name in ("dead", other.id, "never"):
        owner.bury(name)

    assert len(open_files(owner.folder)) == 2
    assert not (owner.folder / "dead.lock").exists()
    other.close()
    assert len(open_files(owner.folder)) == 1


def test_a_lock_file_is_its_owners_alone_and_says_who_that_is(owner: Owner) -> None:
    path = owner.folder / f"{owner.id}.lock"

    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_call_that_was_held_up_is_not_sent(owner: Owner) -> None:
    """Others reckon from its deadline on; one that is closed is nobody's at all, and may be closed again."""
    owner.permit(60)()
    with pytest.raises(LedgerError, match=r"was not sent: more than -0\.001 s passed"):
        owner.permit(-0.001)()
    owner.close()
    (owner.folder / f"{owner.id}.lock").touch()
    owner.close()
    assert not owner.is_alive(owner.id)


def test_closing_does_not_mind_that_its_file_is_gone(tmp_path: Path) -> None:
    """Somebody emptied the folder by hand; the run that ends has other things to say."""
    owner = Owner(tmp_path / "owners")
    (owner.folder / f"{owner.id}.lock").unlink()

    owner.close()

    assert not owner.is_alive(owner.id)
