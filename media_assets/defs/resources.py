"""Wiring: typed resources that hand the assets a core studio. What a studio does is the core's business."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
from pydantic import Field

from media_assets.settings import find_home, load_settings
from media_assets.studio import Studio, open_studio


class StoreResource(dg.ConfigurableResource[None]):
    """Where artifacts and all other state are kept."""

    home: str = Field(default="", description="Folder of all state; empty: as `media-assets doctor` shows it")


class LedgerResource(dg.ConfigurableResource[None]):
    """Where purchases are recorded."""

    url: str = Field(
        default="", description="Database URL, by EnvVar; empty: MEDIA_ASSETS_LEDGER_URL, or <home>/ledger.db"
    )


class LocalResource(dg.ConfigurableResource[None]):
    """The built-in provider."""

    concurrency: int = Field(default=0, ge=0, description="Local models at work at once; 0: as many as cores")


@contextlib.contextmanager
def opened_studio(store: StoreResource, ledger: LedgerResource, local: LocalResource) -> Iterator[Studio]:
    """Open the studio that the resources describe; what they leave empty comes from the settings."""
    settings = load_settings()
    home = Path(store.home).expanduser().absolute() if store.home else find_home(settings, Path.cwd())
    options = replace(settings.studio_options(), local_concurrency=local.concurrency or None)
    with open_studio(home, replace(options, ledger_url=ledger.url or options.ledger_url)) as studio:
        yield studio
