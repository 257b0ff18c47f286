"""Which schedules are played: other ones at each commit, and for ever those that once found something."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_FAILED = Path(__file__).with_name("seeds.txt")
_WITHOUT_GIT = 20261130
_LARGEST = 1_000_000_000


def commit_seed() -> int:
    """Return the first seed of this commit; always the same one where there is no commit to ask for."""
    asked = subprocess.run(
        ["git", "-C", str(_ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False, timeout=30
    )
    commit = asked.stdout.strip()
    return int(commit[:12], 16) % _LARGEST if asked.returncode == 0 and commit else _WITHOUT_GIT


def failed_seeds() -> list[int]:
    """Return the seeds that found something once."""
    return list(_read(_FAILED.read_text(encoding="utf-8")))


def _read(text: str) -> Iterator[int]:
    for line in text.splitlines():
        seed = line.partition("#")[0].strip()
        if seed:
            yield int(seed)
