"""The thread that holds a connection: it beats in time however much it is asked, and answers whoever asks."""

import threading
import time

import pytest

from media_assets.ledger.beats import Beats


class _Counted:
    """Beats that are counted, and come every so often."""

    def __init__(self, every_s: float) -> None:
        self.count = 0
        self._every_s = every_s

    def __call__(self) -> float:
        self.count += 1
        return self._every_s


def test_it_beats_while_it_is_asked_all_the_time() -> None:
    """A busy process must not look dead because it is busy."""
    counted = _Counted(0.02)
    beats = Beats(counted, 0.02)
    give_up = time.monotonic() + 20

    while counted.count < 3 and time.monotonic() < give_up:
        assert beats.ask(lambda: 7, within_s=20) == 7

    beats.stop(20)
    assert counted.count >= 3


def test_what_was_asked_is_done_by_the_one_thread() -> None:
    """The connection is of one thread, whoever wants something of it."""
    beats = Beats(lambda: 60.0, 60.0)

    names = {beats.ask(lambda: threading.current_thread().name, within_s=20) for _ in range(3)}

    beats.stop(20)
    assert names == {"ledger-owner"}


def test_an_error_is_the_askers() -> None:
    """The thread goes on: there is no other one."""
    beats = Beats(lambda: 60.0, 60.0)

    def fail() -> None:
        message = "no"
        raise ValueError(message)

    with pytest.raises(ValueError, match="no"):
        beats.ask(fail, within_s=20)
    assert beats.ask(lambda: "on", within_s=20) == "on"
    beats.stop(20)


def test_who_has_waited_too_long_is_told_and_what_was_not_begun_is_not_done() -> None:
    """An event loop that asks must get on, whatever became of the database."""
    beats = Beats(lambda: 60.0, 60.0)
    go_on, done = threading.Event(), []

    with pytest.raises(TimeoutError):
        beats.ask(lambda: go_on.wait(20), within_s=0.02)
    with pytest.raises(TimeoutError):
        beats.ask(lambda: done.append("late"), within_s=0.02)

    go_on.set()
    beats.ask(lambda: done.append("in time"), within_s=20)
    beats.stop(20)
    assert done == ["in time"]


def test_it_is_over_when_it_was_stopped_and_keeps_no_process_from_ending() -> None:
    """What it has begun it brings to its end first: it may be just about to say goodbye."""
    beats, done = Beats(lambda: 60.0, 60.0), []

    def work() -> None:
        time.sleep(0.2)
        done.append("done")

    with pytest.raises(TimeoutError):
        beats.ask(work, within_s=0.01)
    beats.stop(20)

    assert done == ["done"]
    assert not beats._thread.is_alive()
    assert beats._thread.daemon


def test_the_first_beat_comes_in_its_time() -> None:
    beaten, began = threading.Event(), time.monotonic()

    def beat() -> float:
        beaten.set()
        return 60.0

    beats = Beats(beat, 0.1)
    assert beaten.wait(20)
    assert time.monotonic() - began >= 0.1
    beats.stop(20)
