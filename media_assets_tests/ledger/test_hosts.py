"""What the kernel says of a process: certain where it says "gone", and silent where it cannot know."""

import os
import platform
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
import sqlalchemy as sa

from media_assets.ledger import hosts
from media_assets.ledger.hosts import clock, is_gone, started, this_host
from media_assets.ledger.schema import owner


def _sleeper() -> Popen[bytes]:
    return Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=PIPE)


def test_a_host_is_itself_and_knows_its_boot() -> None:
    """Two processes of one machine have to agree on what machine that is."""
    assert this_host() == this_host()
    assert this_host().name
    if sys.platform == "linux":
        assert len(this_host().boot) > 30, "boot id and namespaces"


def test_a_living_process_is_not_gone() -> None:
    """Whoever is taken for dead is bought for a second time."""
    assert not is_gone(os.getpid(), started(os.getpid()))
    assert not is_gone(1, started(1)), "another user's, perhaps"


def test_a_look_at_a_living_process_does_nothing_to_it() -> None:
    """It may be anybody's, in the middle of a purchase. Most signals end who does not expect them, a hang-up too."""
    # Whatever this process was started with: under nohup a hang-up would be ignored, in its children too.
    heeds = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); print('up', flush=True); print(input())"
    with Popen([sys.executable, "-c", heeds], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"

        assert not is_gone(process.pid, started(process.pid))

        said, _ = process.communicate("still here\n", timeout=20)
    assert (said, process.returncode) == ("still here\n", 0)


def test_a_killed_process_is_gone_even_before_its_parent_has_noticed() -> None:
    """A zombie keeps its number, and does nothing more."""
    with _sleeper() as process:
        start = started(process.pid)
        assert start
        process.kill()
        give_up = time.monotonic() + 20
        while not is_gone(process.pid, start) and time.monotonic() < give_up:
            time.sleep(0.005)

        assert is_gone(process.pid, start)
    assert is_gone(process.pid, start)


def test_a_process_that_got_a_dead_ones_number_is_another_one() -> None:
    """Numbers come round again; the moment of the start does not."""
    assert is_gone(os.getpid(), str(int(started(os.getpid())) - 1))


def test_without_a_start_nothing_is_certain() -> None:
    """Where the kernel does not tell it, a number that is in use says nothing."""
    assert not is_gone(os.getpid(), "")


def test_the_clock_runs_on() -> None:
    """It bounds how late a call may leave."""
    before = clock()
    time.sleep(0.01)

    assert clock() - before >= 0.009


def test_where_the_kernel_tells_nothing_nothing_is_certain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without /proc no boot and no start is known; a number in use is then somebody, perhaps the one that is meant."""
    monkeypatch.setattr(hosts, "_PROC", tmp_path)

    assert this_host().boot == ""
    assert started(os.getpid()) == ""
    assert not is_gone(os.getpid(), "")


def test_another_users_process_is_gone_only_if_it_is_seen_to_be_another_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel refuses the signal, which says that there is one; hidden from us, it may be the one that is meant."""

    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError

    start = started(os.getpid())
    monkeypatch.setattr(os, "kill", refuse)

    assert not is_gone(os.getpid(), start)
    assert is_gone(os.getpid(), str(int(start) - 1))
    monkeypatch.setattr(hosts, "_PROC", tmp_path)
    assert not is_gone(os.getpid(), start)


def test_a_long_name_is_cut_to_what_the_ledger_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    column = owner.c.host.type
    assert isinstance(column, sa.String)
    monkeypatch.setattr(platform, "node", lambda: "x" * 300)

    assert this_host().name == "x" * (column.length or 0)


def test_a_system_that_does_not_count_its_sleep_has_a_clock_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(clock() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 10
        monkeypatch.delattr(time, "CLOCK_BOOTTIME")

    assert abs(clock() - time.monotonic()) < 10


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the start of a process in /proc")
def test_a_process_may_call_itself_what_it_likes() -> None:
    """Its name stands before its start, with brackets and bytes that are no text."""
    name = Path("/proc/self/comm")
    before, start = name.read_bytes(), started(os.getpid())
    name.write_bytes(b") \xff Z 1")
    try:
        assert started(os.getpid()) == start != ""
    finally:
        name.write_bytes(before)
