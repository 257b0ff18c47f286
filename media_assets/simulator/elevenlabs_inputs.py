"""What ElevenLabs' speech takes: models, formats, and bodies checked as FastAPI checks them, with pydantic.

Fields and formats: the OpenAPI file of 2026-08-22. Limits of a text: ElevenLabs' help pages, read 2026-11-22.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

DEFAULT_MODEL: Final = "eleven_multilingual_v2"

_VOICE_ID: Final = re.compile(r"[A-Za-z0-9]{20}")
_VOICE_NAMES: Final[Mapping[str, str]] = {"21m00Tcm4TlvDq8ikWAM": "Rachel"}
"""The one that the specification's examples name; any id of that form is a voice here, and none has another form."""

_SLOWEST, _FASTEST = 0.7, 1.2
"""Speeds outside are taken and clamped: livekit/agents#4774 of 2026-02-09 and the slider of ElevenLabs' own pages. The
specification gives no range."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model."""

    id: str
    name: str
    longest: int
    """Characters of text in one request."""
    credits_per_character: float
    """What the history and ``character-cost`` count. That Flash counts half is unverified (2026-11-22)."""


MODELS: Final[Mapping[str, Model]] = {
    model.id: model
    for model in (
        Model(id=DEFAULT_MODEL, name="Eleven Multilingual v2", longest=10_000, credits_per_character=1.0),
        Model(id="eleven_flash_v2_5", name="Eleven Flash v2.5", longest=40_000, credits_per_character=0.5),
    )
}

StreamedFormat = Literal[
    "mp3_22050_32",
    "mp3_24000_48",
    "mp3_44100_32",
    "mp3_44100_64",
    "mp3_44100_96",
    "mp3_44100_128",
    "mp3_44100_192",
    "pcm_8000",
    "pcm_16000",
    "pcm_22050",
    "pcm_24000",
    "pcm_32000",
    "pcm_44100",
    "pcm_48000",
    "ulaw_8000",
    "alaw_8000",
    "opus_48000_32",
    "opus_48000_64",
    "opus_48000_96",
    "opus_48000_128",
    "opus_48000_192",
]
WholeFormat = Literal[
    StreamedFormat, "wav_8000", "wav_16000", "wav_22050", "wav_24000", "wav_32000", "wav_44100", "wav_48000"
]
"""Codec, sample rate and, where there is a choice, kilobits a second."""


class VoiceSettings(BaseModel):
    """How a voice speaks."""

    stability: Annotated[float, Field(ge=0, le=1)] | None = None
    similarity_boost: Annotated[float, Field(ge=0, le=1)] | None = None
    style: float | None = None
    use_speaker_boost: bool | None = None
    speed: Annotated[float, Field(allow_inf_nan=False)] | None = None


class PronunciationLocator(BaseModel):
    """A dictionary of pronunciations."""

    pronunciation_dictionary_id: str
    version_id: str | None = None


class SpeechBody(BaseModel):
    """The body of all four speech endpoints; unknown fields are passed over, as FastAPI does."""

    model_config = ConfigDict(protected_namespaces=())

    text: Annotated[str, Field(min_length=1)]
    """That an empty one is refused, and like this, is unverified (2026-11-22)."""
    model_id: str = DEFAULT_MODEL
    language_code: str | None = None
    voice_settings: VoiceSettings | None = None
    pronunciation_dictionary_locators: Annotated[list[PronunciationLocator], Field(max_length=3)] | None = None
    seed: Annotated[int, Field(ge=0, le=4_294_967_295)] | None = None
    previous_text: str | None = None
    next_text: str | None = None
    previous_request_ids: Annotated[list[str], Field(max_length=3)] | None = None
    next_request_ids: Annotated[list[str], Field(max_length=3)] | None = None
    use_pvc_as_ivc: bool = False
    apply_text_normalization: Literal["auto", "on", "off"] = "auto"
    apply_language_text_normalization: bool = False

    @property
    def speed(self) -> float:
        """How fast is spoken: 1 is as usual."""
        asked = self.voice_settings.speed if self.voice_settings else None
        return 1.0 if asked is None else min(max(asked, _SLOWEST), _FASTEST)


class SpeechQuery(BaseModel):
    """What stands behind the question mark; booleans as FastAPI reads them."""

    enable_logging: bool = True
    optimize_streaming_latency: int | None = None
    output_format: WholeFormat = "mp3_44100_128"


class StreamedQuery(SpeechQuery):
    """The same for endpoints that stream, which have no WAV."""

    output_format: StreamedFormat = "mp3_44100_128"


class HistoryQuery(BaseModel):
    """What a list of the history is asked with."""

    model_config = ConfigDict(protected_namespaces=())

    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    start_after_history_item_id: str | None = None
    voice_id: str | None = None
    model_id: str | None = None
    date_before_unix: int | None = None
    date_after_unix: int | None = None
    sort_direction: Literal["asc", "desc"] = "desc"
    search: str | None = None
    source: Literal["TTS", "STS", "Flows"] | None = None


@dataclass(frozen=True, kw_only=True)
class Format:
    """One of ElevenLabs' names of formats, taken apart."""

    name: str
    audio_format: str
    """As ``media.speech`` knows it."""
    sample_rate_hz: int
    bit_rate_bps: int | None


def read_format(name: str) -> Format:
    """Take a format's name apart, such as ``mp3_44100_128``."""
    audio_format, rate_hz, *bit_rate = name.split("_")
    return Format(
        name=name,
        audio_format=audio_format,
        sample_rate_hz=int(rate_hz),
        bit_rate_bps=int(bit_rate[0]) * 1000 if bit_rate else None,
    )


def fastapi_errors(error: ValidationError, *where: str) -> list[dict[str, Any]]:
    """Return a validation error as FastAPI lists it: ``loc``, ``msg`` and ``type`` of each."""
    return [
        {"loc": [*where, *one["loc"]], "msg": one["msg"], "type": one["type"]}
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def is_voice(voice_id: str) -> bool:
    """Whether there is such a voice."""
    return _VOICE_ID.fullmatch(voice_id) is not None


def voice_name(voice_id: str) -> str:
    """Return what a voice is called."""
    return _VOICE_NAMES.get(voice_id, f"Voice {voice_id[:4]}")


def credits_of(model: Model, text: str) -> int:
    """Return what a text is counted as: characters of the string, times the model's rate, rounded up."""
    return math.ceil(len(text) * model.credits_per_character)
