"""The models that the simulated fal runs: what they take, what they make, and how their results look.

Fields and defaults: fal's own TypeScript types of 2025-12-15; kokoro's ``speed`` and schnell's steps: fal's llms.txt
pages of 2026. Both read 2026-11-22. No source gives sizes of clips, frames of stable-video, or limits of most numbers;
ours:

* stable-video: 25 frames; made smaller to fit 1024 x 576, sides floored to multiples of 64, as the open model does.
* wan-i2v: the short side is 480 or 720, the long one follows the aspect (at most 16:9), both multiples of 16.
* kling: the long side is 1280, 24 frames a second. hailuo: the short side is 512 or 768, 24 frames a second.
* Pictures of 64 to 4096 px a side, so that nobody makes the simulator draw for minutes.
* minimax speech in ``hex``: the audio's bytes in hexadecimal, as text, in the place of the file object.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from media_assets.simulator.inputs import (
    Field,
    choice,
    code,
    flag,
    group,
    integer,
    number,
    picture,
    text,
)
from media_assets.simulator.outputs import Order, Output, clip_of, even, pictures, voice_of
from media_assets.simulator.replicate_models import svd_size_px

SIZES_PX: Final[Mapping[str, tuple[int, int]]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""Of ``image_size``'s names (fal's documentation of its image models)."""

_STABLE_VIDEO_FRAMES: Final = 25
_FRAMES_PER_S: Final = 24
_KLING_LONG_PX: Final = 1280
_WIDEST: Final = 16 / 9
_SHORT_SIDES_PX: Final = {"480p": 480, "720p": 720, "512P": 512, "768P": 768}
_KOKORO_RATE_HZ: Final = 24_000
_PIXELS_PER_MEGAPIXEL: Final = 1024 * 1024
_WAN_FREE_FRAMES: Final = 81


@dataclass(frozen=True, kw_only=True)
class Model:
    """One endpoint."""

    name: str
    """The endpoint's id, sub-path included."""
    kind: str
    """``picture``, ``clip`` or ``voice``."""
    fields: Mapping[str, Field]
    make: Callable[[Order], list[Output]]
    units: Callable[[Mapping[str, Any], list[Output]], Decimal]
    """What a success reports as ``X-Fal-Billable-Units``, from the values and the outputs; the bill does not use it."""
    tells_seed: bool = True
    """Whether a clip's result says its seed."""

    @property
    def app(self) -> str:
        """The id without its sub-path: what status, result and cancel are asked under."""
        return app_of(self.name)


def app_of(endpoint_id: str) -> str:
    """Return owner and name of an endpoint, with the namespace where it has one."""
    parts = endpoint_id.split("/")
    return "/".join(parts[: 3 if parts[0] in {"workflows", "comfy"} else 2])


def _image_size(default: str) -> Field:
    sides = {"width": integer(512, 64, 4096), "height": integer(512, 64, 4096)}
    return Field(kind="size", default=default, choices=tuple(SIZES_PX), fields=sides)


def _picture_size_px(order: Order) -> tuple[int, int]:
    size = order.values["image_size"]
    if isinstance(size, str):
        return SIZES_PX[size]
    return size.get("width", 512), size.get("height", 512)


def _pictures(order: Order) -> list[Output]:
    mime = f"image/{order.values.get('output_format') or order.values['format']}"
    return pictures(order, order.values["num_images"], _picture_size_px(order), mime)


def _stable_video(order: Order) -> list[Output]:
    size_px = svd_size_px("maintain_aspect_ratio", order.picture_px or (1024, 576))
    return clip_of(order, size_px, order.values["fps"], _STABLE_VIDEO_FRAMES)


def _by_short_side_px(picture_px: tuple[int, int], short_px: int, step_px: int) -> tuple[int, int]:
    width_px, height_px = picture_px
    aspect = min(max(picture_px) / min(picture_px), _WIDEST)
    long_px = max(step_px, round(short_px * aspect / step_px) * step_px)
    return (long_px, short_px) if width_px >= height_px else (short_px, long_px)


def _wan(order: Order) -> list[Output]:
    values = order.values
    named = {"16:9": (16, 9), "9:16": (9, 16), "1:1": (1, 1)}.get(values["aspect_ratio"])
    shape = named or order.picture_px or (16, 9)
    size_px = _by_short_side_px(shape, _SHORT_SIDES_PX[values["resolution"]], 16)
    return clip_of(order, size_px, values["frames_per_second"], values["num_frames"])


def _kling(order: Order) -> list[Output]:
    width_px, height_px = order.picture_px or (16, 9)
    scale = _KLING_LONG_PX / max(width_px, height_px)
    size_px = even(width_px * scale), even(height_px * scale)
    return clip_of(order, size_px, _FRAMES_PER_S, int(order.values["duration"]) * _FRAMES_PER_S)


def _hailuo(order: Order) -> list[Output]:
    values = order.values
    size_px = _by_short_side_px(order.picture_px or (16, 9), _SHORT_SIDES_PX[values["resolution"]], 2)
    return clip_of(order, size_px, _FRAMES_PER_S, int(values["duration"]) * _FRAMES_PER_S)


def _kokoro(order: Order) -> list[Output]:
    values = order.values
    return voice_of(order, values["prompt"], speed=values["speed"], audio_format="wav", sample_rate_hz=_KOKORO_RATE_HZ)


def _minimax_speech(order: Order) -> list[Output]:
    audio = order.values["audio_setting"] or {}
    audio_format = audio.get("format", "mp3")
    return voice_of(
        order,
        order.values["prompt"],
        speed=(order.values["voice_setting"] or {}).get("speed", 1),
        audio_format=audio_format,
        sample_rate_hz=int(audio.get("sample_rate", 32_000)),
        bit_rate_bps=int(audio.get("bitrate", 128_000)) if audio_format == "mp3" else None,
    )


def _one(_values: Mapping[str, Any], _outputs: list[Output]) -> Decimal:
    return Decimal(1)


def _images(_values: Mapping[str, Any], outputs: list[Output]) -> Decimal:
    return Decimal(len(outputs))


def _megapixels(_values: Mapping[str, Any], outputs: list[Output]) -> Decimal:
    pixels = [output.facts["width_px"] * output.facts["height_px"] for output in outputs]
    return Decimal(sum(-(-count // _PIXELS_PER_MEGAPIXEL) for count in pixels))


def _wan_units(values: Mapping[str, Any], _outputs: list[Output]) -> Decimal:
    size = Decimal("0.5") if values["resolution"] == "480p" else Decimal(1)
    return size * (Decimal("1.25") if values["num_frames"] > _WAN_FREE_FRAMES else 1)


def _seconds(values: Mapping[str, Any], _outputs: list[Output]) -> Decimal:
    return Decimal(values["duration"])


def _characters(values: Mapping[str, Any], _outputs: list[Output]) -> Decimal:
    return Decimal(len(values["prompt"])) / 1000


_VOICES: Final = (
    "af_heart",
    "af_alloy",
    "af_aoede",
    "af_bella",
    "af_jessica",
    "af_kore",
    "af_nicole",
    "af_nova",
    "af_river",
    "af_sarah",
    "af_sky",
    "am_adam",
    "am_echo",
    "am_eric",
    "am_fenrir",
    "am_liam",
    "am_michael",
    "am_onyx",
    "am_puck",
    "am_santa",
)
_LANGUAGES: Final = (
    "auto",
    "Chinese",
    "Chinese,Yue",
    "English",
    "Arabic",
    "Russian",
    "Spanish",
    "French",
    "Portuguese",
    "German",
    "Turkish",
    "Dutch",
    "Ukrainian",
    "Vietnamese",
    "Indonesian",
    "Japanese",
    "Italian",
    "Korean",
    "Thai",
    "Polish",
    "Romanian",
    "Greek",
    "Czech",
    "Finnish",
    "Hindi",
    "Bulgarian",
    "Danish",
    "Hebrew",
    "Malay",
    "Slovak",
    "Swedish",
    "Croatian",
    "Hungarian",
    "Norwegian",
    "Slovenian",
    "Catalan",
    "Nynorsk",
    "Afrikaans",
)
_PICTURE_FIELDS: Final[Mapping[str, Field]] = {
    "prompt": text(is_required=True),
    "num_images": integer(1, 1, 4),
    "seed": integer(),
    "sync_mode": flag(default=False),
    "enable_safety_checker": flag(default=True),
}
_MOVING: Final[Mapping[str, Field]] = {"prompt": text(is_required=True), "image_url": picture(is_required=True)}


def _flux(name: str, steps: Field) -> Model:
    fields = {
        **_PICTURE_FIELDS,
        "image_size": _image_size("landscape_4_3"),
        "num_inference_steps": steps,
        "guidance_scale": number(3.5, 1, 20),
        "output_format": choice("jpeg", "png"),
        "acceleration": choice("none", "regular", "high"),
    }
    return Model(name=name, kind="picture", fields=fields, make=_pictures, units=_megapixels)


MODELS: Final[tuple[Model, ...]] = (
    Model(
        name="fal-ai/fast-sdxl",
        kind="picture",
        fields={
            **_PICTURE_FIELDS,
            "negative_prompt": text(""),
            "image_size": _image_size("square_hd"),
            "num_inference_steps": integer(25, 1, 65),
            "guidance_scale": number(7.5, 0, 20),
            "num_images": integer(1, 1, 8),
            "loras": Field(kind="list"),
            "embeddings": Field(kind="list"),
            "safety_checker_version": choice("v1", "v2"),
            "expand_prompt": flag(default=False),
            "format": choice("jpeg", "png"),
            "request_id": text(""),
        },
        make=_pictures,
        units=_images,
    ),
    _flux("fal-ai/flux/schnell", integer(4, 1, 12)),
    _flux("fal-ai/flux/dev", integer(28, 1, 50)),
    Model(
        name="fal-ai/stable-video",
        kind="clip",
        fields={
            "image_url": picture(is_required=True),
            "motion_bucket_id": integer(127, 1, 255),
            "cond_aug": number(0.02, 0, 10),
            "fps": integer(25, 1, 100),
            "seed": integer(),
        },
        make=_stable_video,
        units=_one,
    ),
    Model(
        name="fal-ai/wan-i2v",
        kind="clip",
        fields={
            **_MOVING,
            "negative_prompt": text(""),
            "num_frames": integer(81, 81, 100),
            "frames_per_second": integer(16, 5, 24),
            "seed": integer(),
            "resolution": choice("720p", "480p"),
            "num_inference_steps": integer(30, 2, 40),
            "guide_scale": number(5, 1, 10),
            "shift": number(5, 1, 10),
            "enable_safety_checker": flag(default=False),
            "enable_prompt_expansion": flag(default=False),
            "acceleration": choice("regular", "none"),
            "aspect_ratio": choice("auto", "16:9", "9:16", "1:1"),
        },
        make=_wan,
        units=_wan_units,
    ),
    Model(
        name="fal-ai/kling-video/v2.5-turbo/pro/image-to-video",
        kind="clip",
        fields={
            **_MOVING,
            "duration": choice("5", "10"),
            "negative_prompt": text("blur, distort, and low quality"),
            "cfg_scale": number(0.5, 0, 1),
            "tail_image_url": picture(),
        },
        make=_kling,
        units=_seconds,
        tells_seed=False,
    ),
    Model(
        name="fal-ai/minimax/hailuo-02/standard/image-to-video",
        kind="clip",
        fields={
            **_MOVING,
            "duration": choice("6", "10"),
            "resolution": choice("768P", "512P"),
            "prompt_optimizer": flag(default=True),
            "end_image_url": picture(),
        },
        make=_hailuo,
        units=_seconds,
        tells_seed=False,
    ),
    Model(
        name="fal-ai/kokoro/american-english",
        kind="voice",
        fields={"prompt": text(""), "voice": choice(*_VOICES), "speed": number(1, 0.1, 5)},
        make=_kokoro,
        units=_characters,
    ),
    Model(
        name="fal-ai/minimax/speech-2.6-hd",
        kind="voice",
        fields={
            "prompt": text(is_required=True),
            "voice_setting": group(
                voice_id=text("Wise_Woman"),
                speed=number(1, 0.5, 2),
                vol=number(1, 0, 10),
                pitch=integer(0, -12, 12),
                emotion=choice("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),
                english_normalization=flag(default=False),
            ),
            "audio_setting": group(
                sample_rate=code("32000", "8000", "16000", "22050", "24000", "44100"),
                bitrate=code("128000", "32000", "64000", "256000"),
                format=choice("mp3", "pcm", "flac"),
                channel=code("1", "2"),
            ),
            "language_boost": choice(*_LANGUAGES),
            "output_format": choice("hex", "url"),
        },
        make=_minimax_speech,
        units=_characters,
    ),
)

BY_NAME: Final[Mapping[str, Model]] = {model.name: model for model in MODELS}
