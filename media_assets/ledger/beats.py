"""A thread that has one thing to itself: it does what it is asked, one after the other, and a beat when it is time."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple["Future[Any]", Callable[[], Any]]


class Beats:
    """The thread; it never keeps its process from ending."""

    def __init__(self, beat: Callable[[], float], first_s: float) -> None:
        """Start it.

        Args:
            beat: Called when it is time; returns the seconds until the next time, and must not raise.
            first_s: The seconds until the first time.
        """
        self._beat = beat
        self._due = time.monotonic() + first_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-owner", daemon=True)
        self._thread.start()

    def ask(self, job: Callable[[], T], *, within_s: float) -> T:
        """Have the thread do something, and return what came of it.

        Raises:
            TimeoutError: It did not come to it, or not to its end, in that time.
        """
        future: Future[T] = Future()
        self._jobs.put((future, job))
        try:
            return future.result(within_s)
        except TimeoutError:
            future.cancel()
            raise

    def stop(self, within_s: float) -> None:
        """End the thread once it has done what it was asked before."""
        self._jobs.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            left_s = self._due - time.monotonic()
            if left_s <= 0:
                self._due = time.monotonic() + self._beat()
                continue
            try:
                asked = self._jobs.get(timeout=left_s)
            except queue.Empty:
                continue
            if asked is None:
                return
            _do(*asked)


def _do(future: "Future[Any]", job: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(job())
    except BaseException as error:  # noqa: BLE001 - it is the asker's, whatever it is
        future.set_exception(error)
