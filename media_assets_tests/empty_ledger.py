"""A home with an empty ledger, copied: to migrate one takes twenty times as long, and few tests are about that."""

import functools
import tempfile
from pathlib import Path

from media_assets.ledger import open_ledger


def home_with_ledger(home: Path) -> Path:
    """Create a folder of state with the ledger in it that opening it would create there; return the folder."""
    file = home / "ledger.db"
    home.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_bytes(_migrated())
    return home


@functools.cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        open_ledger(Path(folder)).close()
        return (Path(folder) / "ledger.db").read_bytes()
