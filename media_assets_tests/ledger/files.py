"""Files of nobody's, for tests of the ledger alone; and which files this process has open."""

import contextlib
from pathlib import Path

import pytest

from media_assets.artifact import Artifact, MediaInfo, MediaKind


def png(name: str) -> Artifact:
    """Return what the ledger knows of a picture whose digest begins so."""
    info = MediaInfo(kind=MediaKind.IMAGE, mime="image/png", extension="png", size_bytes=10)
    return Artifact(sha256=name.ljust(64, "0"), info=info)


def open_files(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open, as often as it has; of other folders, others may."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this machine does not tell which files are open")
    found = []
    for one in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(one.readlink()))
    return [name for name in found if name.startswith(f"{folder}/")]
