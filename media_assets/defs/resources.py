"""Wiring: typed resources that hand the assets a core studio. What a studio does is the core's business."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field, SecretStr

from media_assets.errors import PlanError, Problem, StorageError
from media_assets.inbox import INBOX, Inbox, InboxOptions
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.prompts import Prompts
from media_assets.recovery.rescue import Rescue, open_rescue
from media_assets.settings import KEY_FIELDS, Settings, find_home, load_settings, read_cap_usd
from media_assets.studio import Studio, StudioOptions, open_studio

_KEY = "API key, by EnvVar; empty: {}"
_CONCURRENCY = "Predictions open at once; 0: the setting's"
_URL = "Where it is asked; empty: the setting's"


class StoreResource(dg.ConfigurableResource[None]):
    """Where artifacts and all other state are kept."""

    home: str = Field(default="", description="Folder of all state; empty: as `media-assets doctor` shows it")


class LedgerResource(dg.ConfigurableResource[None]):
    """Where purchases are recorded."""

    url: str = Field(
        default="",
        repr=False,
        description="Database URL, by EnvVar; empty: MEDIA_ASSETS_LEDGER_URL, or <home>/ledger.db",
    )


class LocalResource(dg.ConfigurableResource[None]):
    """The built-in provider."""

    concurrency: int = Field(default=0, ge=0, description="Local models at work at once; 0: as many as cores")


class ReplicateResource(dg.ConfigurableResource[None]):
    """Replicate."""

    api_key: str = Field(default="", repr=False, description=_KEY.format("REPLICATE_API_TOKEN"))
    concurrency: int = Field(default=0, ge=0, description=_CONCURRENCY)
    base_url: str = Field(default="", description=_URL)


class FalResource(dg.ConfigurableResource[None]):
    """fal."""

    api_key: str = Field(default="", repr=False, description=_KEY.format("FAL_KEY"))
    concurrency: int = Field(default=0, ge=0, description=_CONCURRENCY)
    queue_url: str = Field(default="", description=_URL)
    rest_url: str = Field(default="", description=_URL)


class OpenAIResource(dg.ConfigurableResource[None]):
    """OpenAI."""

    api_key: str = Field(default="", repr=False, description=_KEY.format("OPENAI_API_KEY"))
    concurrency: int = Field(default=0, ge=0, description=_CONCURRENCY)
    base_url: str = Field(default="", description=_URL)


class ElevenLabsResource(dg.ConfigurableResource[None]):
    """ElevenLabs."""

    api_key: str = Field(default="", repr=False, description=_KEY.format("ELEVENLABS_API_KEY"))
    concurrency: int = Field(default=0, ge=0, description=_CONCURRENCY)
    base_url: str = Field(default="", description=_URL)


class StudioResource(dg.ConfigurableResource[None]):
    """Everything that a studio is opened with: what makes films needs this one."""

    store: StoreResource
    ledger: LedgerResource
    local: LocalResource
    replicate: ReplicateResource
    fal: FalResource
    openai: OpenAIResource
    elevenlabs: ElevenLabsResource

    def changes(self) -> dict[str, Any]:
        """Return the settings that the resources give a value of their own."""
        paid = {
            "replicate": self.replicate,
            "fal": self.fal,
            "openai": self.openai,
            "elevenlabs": self.elevenlabs,
        }
        given: dict[str, Any] = {}
        for name, resource in paid.items():
            values = {field: getattr(resource, field) for field in type(resource).model_fields}
            key, concurrency = values.pop("api_key"), values.pop("concurrency")
            given[KEY_FIELDS[name]] = SecretStr(key) if key.strip() else None
            given[f"{name}_concurrency"] = concurrency
            given |= {f"{name}_{field}": value for field, value in values.items()}
        given["ledger_url"] = self.ledger.url
        return {name: value for name, value in given.items() if value}


def owners_of_settings() -> list[str]:
    """Return whose the assets are.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    return list(load_settings().owners)


def _run_cap(text: str) -> str:
    cap = read_cap_usd(text)
    if cap is None:
        headline = "the run's configuration cannot be used:"
        fault = f"{text!r} is not an amount in USD, such as 2.50, nor none"
        raise PlanError.of(headline, [Problem("", "max_run_usd", fault)])
    return cap


def _home(settings: Settings, store: StoreResource) -> Path:
    return Path(store.home).expanduser().absolute() if store.home else find_home(settings, Path.cwd())


@dataclass(frozen=True, kw_only=True)
class OpenLedger:
    """A ledger, and where it and everything else is."""

    home: Path
    settings: Settings
    ledger: Ledger


@contextlib.contextmanager
def opened_ledger(store: StoreResource, ledger: LedgerResource) -> Iterator[OpenLedger]:
    """Open the ledger that the resources describe, without a studio: for what only looks.

    Raises:
        MediaAssetsError: The ledger or a setting cannot be used.
    """
    settings = load_settings()
    home = _home(settings, store)
    with open_ledger(home, ledger.url or settings.ledger_url, settings.ownership()) as opened:
        yield OpenLedger(home=home, settings=settings, ledger=opened)


@contextlib.contextmanager
def opened_inbox(store: StoreResource, ledger: LedgerResource) -> Iterator[tuple[Inbox, Prompts]]:
    """Open the inbox that the settings name, and the ledger's prompts.

    Raises:
        MediaAssetsError: The ledger, the inbox or a setting cannot be used.
    """
    with opened_ledger(store, ledger) as opened:
        options = InboxOptions(patience_s=opened.settings.inbox_patience_s)
        folder = opened.settings.inbox or opened.home / INBOX
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = (
                f"the inbox {folder} cannot be made: {error.strerror or error}. Set MEDIA_ASSETS_INBOX to a folder "
                "that you may write to, or take away what is in its place."
            )
            raise StorageError(message) from error
        yield Inbox(folder, opened.ledger, options), opened.ledger.prompts


@contextlib.contextmanager
def opened_studio(studio: StudioResource, *, max_run_usd: str = "") -> Iterator[Studio]:
    """Open the studio that the resources describe; what they leave empty comes from the settings.

    Args:
        studio: What it is opened with.
        max_run_usd: The run's own cap, or ``none``; empty: the setting's.
    """
    home, options = _options(studio, max_run_usd)
    local_concurrency = studio.local.concurrency or None
    with open_studio(
        home,
        replace(options, transport=replace(options.transport, local_concurrency=local_concurrency)),
    ) as opened:
        yield opened


@contextlib.contextmanager
def opened_rescue(studio: StudioResource, ledger: Ledger) -> Iterator[Rescue]:
    """Open what pulls files that providers have made, with the same resources and settings."""
    home, options = _options(studio)
    with open_rescue(home, options, ledger=ledger) as opened:
        yield opened


def _options(studio: StudioResource, max_run_usd: str = "") -> tuple[Path, StudioOptions]:
    settings = load_settings()
    changes = studio.changes() | ({"max_run_usd": _run_cap(max_run_usd)} if max_run_usd else {})
    return _home(settings, studio.store), settings.model_copy(update=changes).studio_options()
