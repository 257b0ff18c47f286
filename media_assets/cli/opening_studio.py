"""Opening the studio, for the commands that make or plan films; the others never import it (numpy, Pillow)."""

import contextlib
from collections.abc import Iterator

from media_assets.cli.opening import Place
from media_assets.errors import LedgerError
from media_assets.studio import Studio, open_studio


@contextlib.contextmanager
def studio_of(place: Place) -> Iterator[Studio]:
    """Open the studio of a place, which is made where there is none.

    Raises:
        MediaAssetsError: The home, the ledger or the catalog cannot be used.
    """
    with contextlib.ExitStack() as stack:
        try:
            studio = stack.enter_context(open_studio(place.home, place.settings.studio_options()))
        except OSError as error:
            reason = error.strerror or error
            message = f"opening {place.home}: {reason}. Set MEDIA_ASSETS_HOME to a folder you can write."
            raise LedgerError(message) from error
        yield studio
