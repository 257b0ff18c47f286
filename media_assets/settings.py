"""Every option of the project, in one object, with its unit and default. Only ``cli/`` and ``defs/`` read it."""

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from media_assets.catalog import DEFAULT_ROUTES
from media_assets.errors import ConfigurationError
from media_assets.prompt import Step
from media_assets.providers.endpoints import Endpoints
from media_assets.recall import OnCancel

if TYPE_CHECKING:
    from media_assets.caps import Caps
    from media_assets.ledger.ownership import OwnershipOptions
    from media_assets.plan import PlanSettings
    from media_assets.providers.transport.options import TransportOptions
    from media_assets.routes import UnknownTerms
    from media_assets.studio import StudioOptions

STATE_FOLDER = ".media_assets"
NO_CAP = "none"
_MARKER = "workspace.yaml"


def _route(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _cap(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


Usd = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$")]
UsdCap = Annotated[str, BeforeValidator(_cap), Field(pattern=r"^(none|\d+(\.\d+)?)$")]
Places = Annotated[int, Field(ge=1)]
Owner = Annotated[str, Field(pattern=r"^(team:[^\s,]+|[^\s@,:]+@[^\s@,:]+\.[A-Za-z]{2,})$")]
Route = Annotated[list[str], NoDecode, BeforeValidator(_route), Field(min_length=1)]


_A_CAP: TypeAdapter[str] = TypeAdapter(UsdCap)


def read_cap_usd(text: str) -> str | None:
    """Return a cap as the settings take it, an amount in USD or ``none``; None when the text is neither."""
    try:
        return _A_CAP.validate_python(text)
    except ValidationError:
        return None


def _as_cap_usd(text: str) -> Decimal | None:
    return None if text == NO_CAP else Decimal(text)


class Settings(BaseSettings):
    """Read from the environment: ``MEDIA_ASSETS_`` and the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="MEDIA_ASSETS_", env_ignore_empty=True, frozen=True, extra="ignore")

    home: Path | None = None
    """The folder of all state. None: see :func:`find_home`."""
    ledger_url: str | None = Field(default=None, repr=False)
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
    max_crop: float = Field(default=0.5, ge=0, lt=1)
    """Share of a picture's area that may be cut off to fit the next model."""
    max_enlargement: float = Field(default=2.0, ge=1)
    """Factor by which a picture may be blown up to fit the next model."""
    strict: bool = False
    """Whether a step fails with its first model, in place of going on to the next of its route."""
    max_cost_usd: UsdCap = "1"
    """Cap on what one prompt may cost, for prompts that name none of their own. ``none``: no cap."""
    max_run_usd: UsdCap = NO_CAP
    """Cap on what one run may cost: one ``generate``, one Dagster run with its retries."""
    max_day_usd: UsdCap = "5"
    """Cap on what may be spent in a UTC day; the day is that on which the money was reserved. ``none``: no cap."""
    replicate_max_day_usd: UsdCap = NO_CAP
    """Cap on what may be spent in a UTC day at Replicate."""
    fal_max_day_usd: UsdCap = NO_CAP
    """Cap on what may be spent in a UTC day at fal."""
    openai_max_day_usd: UsdCap = NO_CAP
    """Cap on what may be spent in a UTC day at OpenAI."""
    elevenlabs_max_day_usd: UsdCap = NO_CAP
    """Cap on what may be spent in a UTC day at ElevenLabs."""
    budget_wait_s: float = Field(default=1800.0, ge=0)
    """How long a prompt waits for money that others have reserved, while none of it is settled. 0: it does not wait."""
    unknown_policy: Literal["hold", "resubmit_if_cheap", "fallback"] = "hold"
    """What is done where nobody can know whether a submission was billed: ``hold`` it for you to decide, submit it once
    more if its worst case is small, or buy from the next model of the route as well."""
    resubmit_max_usd: Usd = "0.02"
    """Under ``resubmit_if_cheap``: the largest worst case that counts as small. The budget counts both."""
    assume_usd: Usd | None = None
    """What a model without a price is taken to cost a request. None: such a model is refused."""
    catalog_folder: Path | None = None
    """Folder of your own model files (``*.toml``), in the form of the catalog's."""
    lease_s: float = Field(default=90.0, gt=0)
    """On Postgres: how long a process on another host may be silent before what it had is taken over."""
    quarantine_s: float = Field(default=600.0, ge=0)
    """On Postgres: how much longer a submission that such a process may have been sending is left alone."""
    unused_days: float = Field(default=14.0, ge=0)
    """How long `gc` keeps a file after nothing needs it any more. What was paid for does not become unneeded."""
    inbox: Path | None = None
    """The folder in which new prompts are looked for. None: ``inbox`` in the home."""
    inbox_patience_s: float = Field(default=60.0, ge=0)
    """How long a file in it that cannot be read whole, or whose last line is not ended, may still be written to."""
    alert_url: SecretStr | None = None
    """A webhook for alerts: the sensors ``run_failure_alert`` and ``budget_alert`` call it. Its address is a secret."""
    alert_form: Literal["json", "slack"] = "json"
    """What it is sent: ``json``, or ``slack`` for Slack, Mattermost and Rocket.Chat."""
    alert_share: float = Field(default=0.8, gt=0, le=1)
    """The share of a budget at which it is called."""
    owners: Annotated[list[Owner], NoDecode, BeforeValidator(_route)] = ["team:films"]
    """Whose the assets are, for Dagster's UI: e-mail addresses, and teams as ``team:NAME``, comma-separated."""
    dagster_url: str = "http://127.0.0.1:3000"
    """Where people find Dagster: links in alerts lead there."""
    max_in_flight: int = Field(default=8, ge=1)
    """Prompts worked on at once."""
    poll_interval_s: float = Field(default=1.0, gt=0)
    """Wait before the first question how a prediction stands; later waits grow to fifteen times that."""
    retry_interval_s: float = Field(default=1.0, gt=0)
    """First wait before a refused or unanswered call is sent again, where sending again is safe."""
    deadline_grace_s: float = Field(default=30.0, ge=0)
    """How long a model may run beyond its deadline before it counts as too slow."""
    not_found_grace_s: float = Field(default=60.0, ge=0)
    """How long a provider may say that it does not know a prediction, or its result, before it is believed."""
    post_deadline_s: float = Field(default=60.0, gt=0)
    """How long the reply to a submission may take, of a provider that queues; after it, its outcome is unknown."""
    settle_lag_s: float = Field(default=120.0, ge=0)
    """How long after that deadline the provider's list is believed when it does not show a submission."""
    refusals_deadline_s: float = Field(default=600.0, ge=0)
    """How long a submission that a provider refuses for now (429) is tried again."""
    on_cancel: OnCancel = OnCancel.CANCEL_IF_QUEUED
    """What Ctrl-C, Terminate and a failed step do about a prediction at a provider. ``cancel_if_queued`` cancels what
    waits in its queue, free; ``cancel_always`` also what runs, which is billed so far; ``detach`` leaves both alone."""
    cancel_grace_s: float = Field(default=10.0, ge=0, le=60)
    """How long a run that was told to stop waits for what it has submitted to end, or to be canceled."""

    replicate_base_url: str = Endpoints.replicate_base_url
    """Where Replicate is asked."""
    fal_queue_url: str = Endpoints.fal_queue_url
    """Where fal's queue is asked."""
    fal_rest_url: str = Endpoints.fal_rest_url
    """Where fal's storage is asked."""
    fal_api_url: str = Endpoints.fal_api_url
    """Where fal's platform is asked: for the account's requests, and for what they cost."""
    openai_base_url: str = Endpoints.openai_base_url
    """Where OpenAI is asked."""
    elevenlabs_base_url: str = Endpoints.elevenlabs_base_url
    """Where ElevenLabs is asked."""

    replicate_concurrency: Places = 20
    """Predictions open at Replicate at once, in all processes of this ledger."""
    fal_concurrency: Places = 4
    """Predictions open at fal at once: a new account runs 2, and 2 wait in fal's queue, free of charge. Raise it with
    the account's own limit; what waits longer than its model's ``queue_deadline_s`` is given up."""
    openai_concurrency: Places = 5
    """Calls open at OpenAI at once."""
    elevenlabs_concurrency: Places = 2
    """Calls open at ElevenLabs at once; the smallest plan allows 2."""
    replicate_per_minute: Places = 500
    """Submissions a minute to Replicate, which refuses more than 600."""

    replicate_api_token: SecretStr | None = Field(default=None, validation_alias="REPLICATE_API_TOKEN")
    """The key for Replicate: REPLICATE_API_TOKEN, without the prefix."""
    fal_key: SecretStr | None = Field(default=None, validation_alias="FAL_KEY")
    """The key for fal: FAL_KEY, without the prefix."""
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    """The key for OpenAI: OPENAI_API_KEY, without the prefix."""
    elevenlabs_api_key: SecretStr | None = Field(default=None, validation_alias="ELEVENLABS_API_KEY")
    """The key for ElevenLabs: ELEVENLABS_API_KEY, without the prefix."""

    def keys(self) -> dict[str, str]:
        """Return the API keys that are set, by provider, without white space around them; a blank one is not set."""
        given = {provider: getattr(self, field) for provider, field in KEY_FIELDS.items()}
        keys = {provider: key.get_secret_value().strip() for provider, key in given.items() if key is not None}
        return {provider: key for provider, key in keys.items() if key}

    def endpoints(self) -> Endpoints:
        """Return where the providers are asked."""
        return Endpoints(**{field.name: getattr(self, field.name) for field in fields(Endpoints)})

    def transport_options(self) -> "TransportOptions":
        """Return how the providers are talked to."""
        from media_assets.ledger.admission import Limits  # noqa: PLC0415 - commands that only look do without
        from media_assets.providers.transport.options import TransportOptions  # noqa: PLC0415

        return TransportOptions(
            keys=self.keys(),
            limits={
                "replicate": Limits(concurrency=self.replicate_concurrency, per_minute=self.replicate_per_minute),
                "fal": Limits(concurrency=self.fal_concurrency),
                "openai": Limits(concurrency=self.openai_concurrency),
                "elevenlabs": Limits(concurrency=self.elevenlabs_concurrency),
            },
            poll_first_s=self.poll_interval_s,
            poll_longest_s=15 * self.poll_interval_s,
            backoff_first_s=self.retry_interval_s,
            deadline_grace_s=self.deadline_grace_s,
            not_found_grace_s=self.not_found_grace_s,
            post_deadline_s=self.post_deadline_s,
            settle_lag_s=self.settle_lag_s,
            refusals_deadline_s=self.refusals_deadline_s,
            on_cancel=self.on_cancel,
            cancel_grace_s=self.cancel_grace_s,
        )

    def ownership(self) -> "OwnershipOptions":
        """Return how processes of many hosts own what they work on."""
        from media_assets.ledger.ownership import OwnershipOptions  # noqa: PLC0415 - as below

        return OwnershipOptions(lease_s=self.lease_s, quarantine_s=self.quarantine_s)

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
            max_crop=self.max_crop,
            max_enlargement=self.max_enlargement,
            strict=self.strict,
            assume_usd=Decimal(self.assume_usd) if self.assume_usd is not None else None,
        )

    def caps(self) -> "Caps":
        """Return what may be spent at most."""
        from media_assets.caps import Caps  # noqa: PLC0415 - as above

        of_providers = {name: _as_cap_usd(getattr(self, f"{name}_max_day_usd")) for name in KEY_FIELDS}
        return Caps(
            prompt_usd=_as_cap_usd(self.max_cost_usd),
            run_usd=_as_cap_usd(self.max_run_usd),
            day_usd=_as_cap_usd(self.max_day_usd),
            provider_day_usd={name: usd for name, usd in of_providers.items() if usd is not None},
        )

    def unknown(self) -> "UnknownTerms":
        """Return what is done where nobody can know whether a submission was billed."""
        from media_assets.routes import UnknownPolicy, UnknownTerms  # noqa: PLC0415 - as above

        return UnknownTerms(policy=UnknownPolicy(self.unknown_policy), cheap_usd=Decimal(self.resubmit_max_usd))

    def studio_options(self) -> "StudioOptions":
        """Return what a studio is opened with."""
        from media_assets.studio import StudioOptions  # noqa: PLC0415 - as above

        return StudioOptions(
            ledger_url=self.ledger_url,
            ownership=self.ownership(),
            plan=self.plan_settings(),
            caps=self.caps(),
            budget_wait_s=self.budget_wait_s,
            unknown=self.unknown(),
            max_in_flight=self.max_in_flight,
            endpoints=self.endpoints(),
            transport=self.transport_options(),
            catalog_folder=self.catalog_folder,
        )


KEY_FIELDS: Mapping[str, str] = {
    "replicate": "replicate_api_token",
    "fal": "fal_key",
    "openai": "openai_api_key",
    "elevenlabs": "elevenlabs_api_key",
}
"""Which setting holds each provider's key; its name in capitals is the environment variable."""


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
    project = find_project(start)
    return project / STATE_FOLDER if project else platformdirs.user_data_path("media_assets").absolute()


def find_project(start: Path) -> Path | None:
    """Return the nearest folder, from ``start`` upwards, that holds a ``workspace.yaml`` or a ``.media_assets/``."""
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / _MARKER).is_file() or (folder / STATE_FOLDER).is_dir():
            return folder
    return None
