"""The paid models as they are asked: what a slip in the data would break at the provider, after the plan said yes."""

import time
from typing import Any

import pytest

from media_assets.catalog import Recovery, load_catalog
from media_assets.catalog.reading import read_shipped

CATALOG = load_catalog()
SDXL_VERSION = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
SVD_VERSION = "3f0457e4619daac51203dedb472816fd4af51f3149fa7a9e0b5ffcf1b8172438"
VOICE_TEMPLATE = "v1/text-to-speech/{voice_id}?output_format={output_format}"


@pytest.mark.parametrize(
    ("name", "endpoint", "version", "run_deadline_s"),
    [
        ("replicate:sdxl", "stability-ai/sdxl", SDXL_VERSION, 60),
        ("replicate:flux-schnell", "black-forest-labs/flux-schnell", "official", 120),
        ("replicate:flux-dev", "black-forest-labs/flux-dev", "official", 120),
        ("replicate:stable-video-diffusion", "stability-ai/stable-video-diffusion", SVD_VERSION, 180),
        ("fal:fast-sdxl", "fal-ai/fast-sdxl", "2025-12", 120),
        ("fal:flux-schnell", "fal-ai/flux/schnell", "2025-12", 120),
        ("fal:flux-dev", "fal-ai/flux/dev", "2025-12", 120),
        ("fal:stable-video", "fal-ai/stable-video", "2025-12", 300),
        ("fal:wan-i2v", "fal-ai/wan-i2v", "2025-12", 900),
        ("fal:kling-v2.5-turbo", "fal-ai/kling-video/v2.5-turbo/pro/image-to-video", "2025-12", 900),
        ("fal:hailuo-02", "fal-ai/minimax/hailuo-02/standard/image-to-video", "2025-12", 900),
        ("fal:kokoro", "fal-ai/kokoro/american-english", "2025-12", 120),
        ("fal:minimax-speech-2.6", "fal-ai/minimax/speech-2.6-hd", "2025-12", 120),
        ("openai:gpt-image-2", "images/generations", "gpt-image-2", 300),
        ("openai:gpt-4o-mini-tts", "audio/speech", "gpt-4o-mini-tts", 300),
        ("elevenlabs:multilingual-v2", VOICE_TEMPLATE, "eleven_multilingual_v2", 300),
        ("elevenlabs:flash-v2.5", VOICE_TEMPLATE, "eleven_flash_v2_5", 300),
    ],
)
def test_a_model_is_asked_where_it_is(name: str, endpoint: str, version: str, run_deadline_s: float) -> None:
    """All three are part of what a request buys, and of its key."""
    spec = CATALOG.get(name)

    assert (spec.endpoint, spec.version, spec.run_deadline_s) == (endpoint, version, run_deadline_s)


DEFAULTS: list[tuple[str, dict[str, Any]]] = [
    (
        "replicate:stable-video-diffusion",
        {
            "video_length": "14_frames_with_svd",
            "sizing_strategy": "maintain_aspect_ratio",
            "frames_per_second": 6,
            "motion_bucket_id": 127,
            "cond_aug": 0.02,
            "decoding_t": 14,
        },
    ),
    ("fal:stable-video", {"motion_bucket_id": 127, "cond_aug": 0.02, "fps": 10}),
    ("fal:kling-v2.5-turbo", {"duration": "5", "negative_prompt": "blur, distort, and low quality", "cfg_scale": 0.5}),
    ("fal:hailuo-02", {"duration": "6", "resolution": "768P", "prompt_optimizer": True}),
    ("fal:kokoro", {"voice": "af_heart", "speed": 1.0}),
    (
        "fal:minimax-speech-2.6",
        {
            "voice_setting.voice_id": "Wise_Woman",
            "voice_setting.speed": 1.0,
            "voice_setting.vol": 1.0,
            "audio_setting.sample_rate": "32000",
            "audio_setting.bitrate": "128000",
            "audio_setting.format": "mp3",
            "audio_setting.channel": "1",
            "output_format": "url",
        },
    ),
    ("openai:gpt-4o-mini-tts", {"voice": "alloy", "speed": 1.0, "response_format": "mp3", "stream_format": "sse"}),
    (
        "openai:gpt-image-2",
        {
            "n": 1,
            "quality": "medium",
            "background": "opaque",
            "output_format": "png",
            "output_compression": 100,
            "moderation": "auto",
        },
    ),
    (
        "elevenlabs:flash-v2.5",
        {
            "voice_id": "21m00Tcm4TlvDq8ikWAM",
            "output_format": "mp3_44100_128",
            "apply_text_normalization": "auto",
            "voice_settings.stability": 0.5,
            "voice_settings.similarity_boost": 0.75,
            "voice_settings.style": 0.0,
            "voice_settings.use_speaker_boost": True,
            "voice_settings.speed": 1.0,
        },
    ),
]


@pytest.mark.parametrize(("name", "defaults"), DEFAULTS, ids=[name for name, _ in DEFAULTS])
def test_every_parameter_has_its_default(name: str, defaults: dict[str, Any]) -> None:
    """All there are: a parameter more or less is another request, and another purchase."""
    assert {param: spec.default for param, spec in CATALOG.get(name).params.items()} == defaults


@pytest.mark.parametrize(
    ("provider", "recovery", "cancel"),
    [
        ("replicate", Recovery.LISTED, "running"),
        ("fal", Recovery.LISTED, "queued"),
        ("elevenlabs", Recovery.LISTED, "none"),
        ("openai", Recovery.NONE, "none"),
    ],
)
def test_a_providers_models_are_recovered_and_canceled_alike(provider: str, recovery: Recovery, cancel: str) -> None:
    """What can be done about a lost reply is the provider's doing, not the model's."""
    models = [spec for spec in CATALOG if spec.provider == provider]

    assert {(spec.recovery, spec.cancel) for spec in models} == {(recovery, cancel)}


def test_failures_cost_where_time_is_sold() -> None:
    """A run that failed used the machine all the same."""
    failures = {spec.id for spec in CATALOG if spec.billed_failed}

    assert failures == {"replicate:sdxl", "replicate:stable-video-diffusion"}


def test_a_provider_that_answers_at_once_is_waited_for() -> None:
    """The reply to its submit is the result; giving up on it early loses what was paid for."""
    at_once = [spec for spec in CATALOG if spec.provider in {"openai", "elevenlabs"}]

    assert len(at_once) == 4
    assert all(spec.post_deadline_s >= spec.run_deadline_s for spec in at_once)


def test_a_template_takes_parameters_that_are_there() -> None:
    """A placeholder without its parameter would be sent as it stands."""
    for name in ("elevenlabs:multilingual-v2", "elevenlabs:flash-v2.5"):
        spec = CATALOG.get(name)
        assert spec.endpoint.format(**{param: "x" for param in spec.params if "." not in param}) == (
            "v1/text-to-speech/x?output_format=x"
        )


def test_reading_everything_is_quick() -> None:
    """Every command that looks up a model waits for it: measured at 10 ms; the bound allows for a slow machine."""

    def cpu_s() -> float:
        began = time.process_time()
        read_shipped.__wrapped__()
        return time.process_time() - began

    assert min(cpu_s() for _ in range(3)) < 0.12
