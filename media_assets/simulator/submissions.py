"""The log of accepted submissions: what any bill is made from, and what no client can talk away.

One JSON object a line: ``{"event": "accepted", n, at, at_s, provider, model, endpoint, id, input}``, fsynced before the
reply is sent, and later ``{"event": "outcome", n, at, state, ...}``, which a power cut may lose. The file only grows.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from media_assets.simulator.clock import Clock

FILE_NAME: Final = "submissions.jsonl"

ACCEPTED: Final = "accepted"
"""The state of a submission whose outcome is not known yet."""

_DATA_URI: Final = "data:"


@dataclass
class Submission:
    """One accepted submission: at a real provider, the moment money is owed."""

    n: int
    """Counts from 1 over all providers."""
    at: str
    """Virtual time, RFC 3339."""
    at_s: float
    """Virtual seconds since the simulator's start."""
    provider: str
    model: str
    """The provider's own name: ``owner/name``, an endpoint or a model id."""
    endpoint: str
    """Path of the API that was called, without the simulator's prefix."""
    id: str
    """The provider's id of the prediction or reply."""
    input: dict[str, Any]
    """What was asked for, defaults not filled in; ``data:`` URIs are replaced by their digest and length."""
    state: str = ACCEPTED
    """``accepted``, then ``succeeded``, ``failed``, ``canceled`` (while it ran) or ``aborted`` (before it ran)."""
    outcome: dict[str, Any] = field(default_factory=dict)
    """What the bill needs, once it is known. Of queued providers: ``started_s``, ``finished_s`` (virtual seconds since
    the simulator's start, None where it never happened), ``compute_s``, and for a success ``outputs``, one object a
    file: ``kind`` (image, video, audio) with ``width_px``, ``height_px``, ``duration_s``, ``frames`` as they apply."""

    def as_dict(self) -> dict[str, Any]:
        """Return it flat, as the control API shows it."""
        named = ("n", "at", "at_s", "provider", "model", "endpoint", "id", "input", "state")
        return {name: getattr(self, name) for name in named} | self.outcome


class SubmissionLog:
    """The accepted submissions, in memory and in a file; safe to use from any thread."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Open the log in ``folder``, going on after what an earlier simulator wrote there."""
        self.path = folder / FILE_NAME
        self._clock = clock
        self._lock = threading.RLock()
        self._submissions: list[Submission] = _read(self.path)
        self._file = self.path.open("a", encoding="utf-8")
        if _ends_torn(self.path):
            self._file.write("\n")

    def accept(self, provider: str, model: str, endpoint: str, prediction_id: str, given: Mapping[str, Any]) -> int:
        """Log an accepted submission durably; return its number.

        **Costs money:** this is the line that the bill counts.
        """
        with self._lock:
            at_s = self._clock.now_s()
            number, shown = len(self._submissions) + 1, _without_data(given)
            one = Submission(
                number, self._clock.stamp(at_s), round(at_s, 6), provider, model, endpoint, prediction_id, shown
            )
            self._append({"event": ACCEPTED, **{key: value for key, value in one.as_dict().items() if key != "state"}})
            os.fsync(self._file.fileno())
            self._submissions.append(one)
            return number

    def settle(self, number: int, state: str, **outcome: Any) -> None:
        """Log how a submission ended; ``outcome`` is described at ``Submission.outcome``."""
        with self._lock:
            one = self._submissions[number - 1]
            self._append({"event": "outcome", "n": number, "at": self._clock.stamp(), "state": state, **outcome})
            one.state, one.outcome = state, outcome

    def all(self) -> tuple[Submission, ...]:
        """Return every submission so far, oldest first."""
        with self._lock:
            return tuple(self._submissions)

    def text(self) -> str:
        """Return the file as it is now."""
        with self._lock:
            return self.path.read_text(encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()


def _without_data(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_data(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_data(inner) for inner in value]
    if isinstance(value, str) and value.startswith(_DATA_URI):
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{value.partition(',')[0]},sha256:{digest}:{len(value)}"
    return value


def _read(path: Path) -> list[Submission]:
    if not path.exists():
        return []
    found: list[Submission] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line that a crash cut short was never answered for
        event = entry.pop("event")
        if event == ACCEPTED:
            found.append(Submission(**entry))
        else:
            one = found[entry.pop("n") - 1]
            entry.pop("at")
            one.state, one.outcome = entry.pop("state"), entry
    return found


def _ends_torn(path: Path) -> bool:
    content = path.read_bytes()
    return bool(content) and not content.endswith(b"\n")
