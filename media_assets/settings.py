"""Every option of the project, in one object, with its unit and default. Only ``cli/`` and ``defs/`` read it."""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from media_assets.catalog import DEFAULT_ROUTES
from media_assets.errors import ConfigurationError
from media_assets.prompt import Step

if TYPE_CHECKING:
    from media_assets.plan import PlanSettings
    from media_assets.studio import StudioOptions

STATE_FOLDER = ".media_assets"
_MARKER = "workspace.yaml"


def _route(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Route = Annotated[list[str], NoDecode, BeforeValidator(_route), Field(min_length=1)]


class Settings(BaseSettings):
    """Read from the environment: ``MEDIA_ASSETS_`` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_ASSETS_", env_ignore_empty=True, frozen=True, extra="ignore")

    home: Path | None = None
    """The folder of all state. None: see :func:`find_home`."""
    ledger_url: str | None = None
    """A Postgres or SQLite URL in place of ``<home>/ledger.db``."""
    route_image: Route = list(DEFAULT_ROUTES[Step.IMAGE])
    """Models for the picture, in order, comma-separated."""
    route_video: Route = list(DEFAULT_ROUTES[Step.VIDEO])
    """Models for the clip."""
    route_audio: Route = list(DEFAULT_ROUTES[Step.AUDIO])
    """Models for the voice."""
    audio_timing: Literal["parallel", "after_video"] = "parallel"
    """``after_video`` waits for the clip and chooses the voice's speed so that both last equally long, within 10 %."""
    min_image_side_px: int = Field(default=512, ge=1)
    """A smaller picture is not built on."""
    min_free_mb: int = Field(default=512, ge=0)
    """Megabytes of disk that must be free before anything is made."""
    max_cost_usd: Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")] | None = None
    """Cap on what one prompt may cost, for prompts that name none of their own."""
    max_in_flight: int = Field(default=8, ge=1)
    """Prompts worked on at once."""

    def plan_settings(self) -> "PlanSettings":
        """Return what concerns plans."""
        # Commands that only look things up do without the planner and all it imports.
        from media_assets.plan import PlanSettings  # noqa: PLC0415

        return PlanSettings(
            routes={
                **DEFAULT_ROUTES,
                Step.IMAGE: self.route_image,
                Step.VIDEO: self.route_video,
                Step.AUDIO: self.route_audio,
            },
            match_clip=self.audio_timing == "after_video",
            min_image_side_px=self.min_image_side_px,
            min_free_bytes=self.min_free_mb * 10**6,
        )

    def studio_options(self) -> "StudioOptions":
        """Return what a studio is opened with."""
        from media_assets.studio import StudioOptions  # noqa: PLC0415 - as above

        return StudioOptions(
            ledger_url=self.ledger_url,
            plan=self.plan_settings(),
            max_cost_usd=Decimal(self.max_cost_usd) if self.max_cost_usd is not None else None,
            max_in_flight=self.max_in_flight,
        )


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: Names every variable that cannot be used, and why.
    """
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"MEDIA_ASSETS_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors(include_url=False)
        ]
        message = "the settings cannot be used:\n  " + "\n  ".join(faults)
        raise ConfigurationError(message) from error


def find_home(settings: Settings, start: Path) -> Path:
    """Return the one folder of state, absolute.

    ``MEDIA_ASSETS_HOME``; else ``.media_assets/`` in the nearest folder, from ``start`` upwards, that holds a
    ``workspace.yaml`` or a ``.media_assets/``; else the platform's folder for user data. Two working directories of
    one project never mean two ledgers.
    """
    if settings.home is not None:
        try:
            home = settings.home.expanduser()
        except RuntimeError as error:
            message = f"MEDIA_ASSETS_HOME is {str(settings.home)!r}: there is no such user. Write the folder in full."
            raise ConfigurationError(message) from error
        if not home.is_absolute():
            message = (
                f"MEDIA_ASSETS_HOME is {str(home)!r}: write it in full, or every working directory has its own ledger."
            )
            raise ConfigurationError(message)
        return home
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / _MARKER).is_file() or (folder / STATE_FOLDER).is_dir():
            return folder / STATE_FOLDER
    return platformdirs.user_data_path("media_assets").absolute()
