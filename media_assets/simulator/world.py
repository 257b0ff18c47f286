"""Everything one simulator knows. Each provider's routes work on it, and the control API shows it."""

import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from media_assets.errors import ConfigurationError
from media_assets.simulator.chance import draw, draw_between
from media_assets.simulator.clock import Clock
from media_assets.simulator.faults import Faults
from media_assets.simulator.files import FileShelf
from media_assets.simulator.jobs import Job, JobQueue, JobState
from media_assets.simulator.options import SimulatorOptions
from media_assets.simulator.submissions import SubmissionLog

_WORKERS = 2


class Received(NamedTuple):
    """A kind of HTTP request; requests are counted by it."""

    method: str
    path: str
    """With names in braces for what varies."""
    provider: str
    call: str
    """One of ``faults.CALLS``, or "other"."""


class World:
    """One simulator's state."""

    def __init__(self, options: SimulatorOptions) -> None:
        """Make an empty world.

        Raises:
            ConfigurationError: A fault rule is wrong, or the log cannot be written.
        """
        self.options = options
        self.clock = Clock(options.time_scale)
        self.faults = Faults(options.faults, options.seed)
        self._own_dir = tempfile.TemporaryDirectory(prefix="media-assets-simulator-")
        self.state_dir = options.state_dir or Path(self._own_dir.name)
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            self.submissions = SubmissionLog(self.state_dir, self.clock)
        except OSError as error:
            self._own_dir.cleanup()
            message = f"the simulator's log cannot be kept in {self.state_dir}: {error.strerror}."
            raise ConfigurationError(message) from error
        self.workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="simulator")
        self.files = FileShelf(self.clock, self.workers, self._folder_of_files())
        self.queues: Mapping[str, JobQueue] = {
            provider: JobQueue(self.clock, options.limit_at_once(provider), self._log_end)
            for provider in ("replicate", "fal")
        }
        self._lock = threading.Lock()
        self._received: Counter[Received] = Counter()
        self._busy: Counter[str] = Counter()

    def accept(self, provider: str, model: str, endpoint: str, prediction_id: str, given: Mapping[str, Any]) -> int:
        """Log an accepted submission durably, before anything is answered; return its number in the log.

        **Costs money:** the bill counts it.

        Args:
            provider: One of ``options.PROVIDERS``.
            model: The provider's own name for it.
            endpoint: Path of the API, without the simulator's prefix.
            prediction_id: What the provider calls it.
            given: The input as it was sent.
        """
        return self.submissions.accept(provider, model, endpoint, prediction_id, given)

    def settle(self) -> None:
        """Bring the queues, and with them the log, up to now; synchronous providers log their outcomes themselves."""
        for queue in self.queues.values():
            queue.settle()

    def run_s(self, provider: str, kind: str, number: int) -> float:
        """Return how long submission ``number`` runs, virtual seconds.

        Args:
            provider: One of ``options.PROVIDERS``.
            kind: ``picture``, ``clip`` or ``voice``.
            number: Its number in the log: with the seed, it decides.
        """
        low_s, high_s = self.options.run_range_s(provider, kind)
        return draw_between(low_s, high_s, self.options.seed, provider, number)

    def media_seed(self, *about: object) -> int:
        """Return what a picture, clip or voice looks or sounds like: a number that the seed and ``about`` decide."""
        return int(draw(self.options.seed, *about) * 2**31)

    def enter(self, provider: str) -> bool:
        """Take one of a synchronous provider's places; False when all are taken, and its 429 is due."""
        with self._lock:
            if self._busy[provider] >= self.options.limit_at_once(provider):
                return False
            self._busy[provider] += 1
            return True

    def leave(self, provider: str) -> None:
        """Give a place of ``enter`` back."""
        with self._lock:
            self._busy[provider] -= 1

    def busy(self, provider: str) -> int:
        """Return how many places of ``enter`` are taken."""
        with self._lock:
            return self._busy[provider]

    def count(self, received: Received) -> None:
        """Count an HTTP request."""
        with self._lock:
            self._received[received] += 1

    def received(self) -> dict[Received, int]:
        """Return how many HTTP requests of each kind have come, refused ones too."""
        with self._lock:
            return dict(self._received)

    def close(self) -> None:
        """Wake every sleeper, end the workers and close the log."""
        self.clock.stop()
        self.workers.shutdown(cancel_futures=True)
        self.submissions.close()
        self._own_dir.cleanup()

    def _folder_of_files(self) -> Path:
        folder = Path(self._own_dir.name) / "files"
        folder.mkdir()
        return folder

    def _log_end(self, job: Job) -> None:
        outputs = job.data.outputs() if job.state is JobState.SUCCEEDED else []
        self.submissions.settle(
            job.number,
            str(job.state),
            started_s=_rounded(job.started_s),
            finished_s=_rounded(job.finished_s),
            compute_s=_rounded(job.compute_s),
            **({"outputs": outputs} if outputs else {}),
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
