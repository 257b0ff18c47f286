"""Where each provider is asked. Apart from the adapters, so that settings are read without them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where each provider is asked; another address is a gateway, or the simulator."""

    replicate_base_url: str = "https://api.replicate.com/v1"
    fal_queue_url: str = "https://queue.fal.run"
    fal_rest_url: str = "https://rest.fal.ai"
    fal_api_url: str = "https://api.fal.ai/v1"
    openai_base_url: str = "https://api.openai.com/v1"
    elevenlabs_base_url: str = "https://api.elevenlabs.io"
