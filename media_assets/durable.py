"""Making files durable: what is renamed into its place survives a loss of power whole, or is not there."""

import os
from pathlib import Path


def put_in_place(finished: Path, target: Path) -> None:
    """Move a finished file to its place on the same disk, durably; what is there is replaced."""
    sync(finished)
    finished.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
