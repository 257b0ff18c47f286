"""Where the state is, and looking into it without making any: a command that only asks leaves no trace."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from media_assets.artifact import ArtifactStore
from media_assets.errors import ConfigurationError, LedgerError
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.database import ledger_url
from media_assets.settings import Settings, find_home, load_settings


@dataclass(frozen=True)
class Place:
    """The settings, and the folder of all state."""

    settings: Settings
    home: Path

    @property
    def store(self) -> ArtifactStore:
        """The artifact store, whether or not it has anything yet."""
        return ArtifactStore(self.home / "artifacts")

    def has_ledger(self) -> bool:
        """Whether anything was ever recorded here; a database on a server counts as there.

        Raises:
            ConfigurationError: The ledger's URL cannot be used.
        """
        url = ledger_url(self.settings.ledger_url, self.home)
        return url.get_backend_name() != "sqlite" or Path(url.database or "").is_file()


def find_place() -> Place:
    """Read the settings and find the home; nothing is made.

    Raises:
        ConfigurationError: A setting cannot be used, or the working directory is gone.
    """
    settings = load_settings()
    try:
        return Place(settings, find_home(settings, Path.cwd()))
    except FileNotFoundError as error:
        message = "the working directory does not exist any more; change to another one and run this again."
        raise ConfigurationError(message) from error


@contextlib.contextmanager
def ledger_of(place: Place) -> Iterator[Ledger]:
    """Open the ledger of a place that has one, without cleaning up after anybody.

    Raises:
        ConfigurationError: Its URL cannot be used.
        LedgerError: It cannot be opened.
    """
    try:
        ledger = open_ledger(place.home, place.settings.ledger_url, place.settings.ownership())
    except OSError as error:
        message = f"opening the ledger in {place.home}: {error.strerror or error}. Is the folder yours to write?"
        raise LedgerError(message) from error
    with ledger:
        yield ledger
