"""Making files durable: what is renamed into its place survives a loss of power whole, or is not there."""

import os
import secrets
from collections.abc import Iterable
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


def write_whole(target: Path, lines: Iterable[str]) -> None:
    """Write a text file for its owner alone, whole or not at all; what is there is replaced.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    write_whole_bytes(target, (line.encode() for line in lines))


def write_whole_bytes(target: Path, parts: Iterable[bytes]) -> None:
    """Do as :func:`write_whole`, with bytes."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        # Owner only, as the ledger.
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(parts)
        put_in_place(part, target)
    finally:
        part.unlink(missing_ok=True)
