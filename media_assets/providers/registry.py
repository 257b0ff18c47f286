"""Every provider there is, and where it is asked."""

from collections.abc import Mapping

from media_assets.errors import ConfigurationError
from media_assets.providers.base import Adapter
from media_assets.providers.elevenlabs import ElevenLabsAdapter
from media_assets.providers.endpoints import Endpoints
from media_assets.providers.fal import FalAdapter
from media_assets.providers.local import LocalAdapter
from media_assets.providers.openai import OpenAIAdapter
from media_assets.providers.outputs import OutputsIn, outputs_of
from media_assets.providers.replicate import ReplicateAdapter


def build_adapters(
    endpoints: Endpoints = Endpoints(),  # noqa: B008 - frozen
    outputs_in: OutputsIn = outputs_of,
) -> dict[str, Adapter]:
    """Return an adapter for every provider, by name.

    Args:
        endpoints: Where they are asked.
        outputs_in: Reads what a prediction made, where a reply names it.
    """
    fal_urls = {"queue_url": endpoints.fal_queue_url, "rest_url": endpoints.fal_rest_url}
    adapters: list[Adapter] = [
        ElevenLabsAdapter(base_url=endpoints.elevenlabs_base_url),
        FalAdapter(**fal_urls, api_url=endpoints.fal_api_url, outputs_in=outputs_in),
        LocalAdapter(),
        OpenAIAdapter(base_url=endpoints.openai_base_url),
        ReplicateAdapter(base_url=endpoints.replicate_base_url, outputs_in=outputs_in),
    ]
    return {adapter.name: adapter for adapter in adapters}


KEY_VARIABLES: Mapping[str, str] = {
    name: adapter.key_env for name, adapter in build_adapters().items() if adapter.key_env is not None
}
"""Which environment variable holds each provider's key."""


def require_provider(name: str) -> None:
    """Make sure that a name given as ``--provider`` is one of a provider with an account.

    Raises:
        ConfigurationError: It is not; the message lists them.
    """
    if name not in KEY_VARIABLES:
        message = f"--provider {name!r}: there is no such provider. There are: {', '.join(KEY_VARIABLES)}."
        raise ConfigurationError(message)
