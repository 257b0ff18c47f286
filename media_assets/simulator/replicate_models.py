"""The models that the simulated Replicate runs: what they take, and what they make of it.

Sources, read 2026-11-22: SDXL's input schema as Replicate's API told it; the code of Stable Video Diffusion,
replicate/cog-svd at a9212c4 (that the version's hash belongs to it is unverified); the code of FLUX, replicate/cog-flux
at 0056c30, and a field report for schnell's limit of 4 steps. Unverified: FLUX's ``go_fast`` and ``megapixels``, its
aspect ratios 3:4 and 4:3.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from media_assets.simulator.inputs import Field, choice, flag, integer, number, picture, text
from media_assets.simulator.outputs import Order, Output, clip_of, pictures

SDXL_VERSION: Final = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
SVD_VERSION: Final = "3f0457e4619daac51203dedb472816fd4af51f3149fa7a9e0b5ffcf1b8172438"

SVD_MOST_PX: Final = (1024, 576)
SVD_STEP_PX: Final = 64

_FLUX_SIZES_PX: Final[Mapping[str, tuple[int, int]]] = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "3:2": (1216, 832),
    "2:3": (832, 1216),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "3:4": (896, 1152),
    "4:3": (1152, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
_FLUX_MIMES: Final = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model."""

    name: str
    """``owner/name``."""
    version: str | None
    """64 hexadecimal digits; None for an official model, which has none."""
    kind: str
    """``picture`` or ``clip``."""
    fields: Mapping[str, Field]
    make: Callable[[Order], list[Output]]
    picture_field: str = ""
    """The field with the input picture."""
    is_list: bool = True
    """Whether the output is a list of URLs, not one URL."""
    nsfw_error: str = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
    steps_field: str = ""
    """The field with the number of steps, which the logs count."""

    @property
    def is_official(self) -> bool:
        """Whether it is run by its name alone."""
        return self.version is None


def _sdxl(order: Order) -> list[Output]:
    values = order.values
    return pictures(order, values["num_outputs"], _steps_of_8(values["width"], values["height"]), "image/png")


def _steps_of_8(*sides_px: int) -> tuple[int, int]:
    # The model's latents have an eighth of the picture's sides.
    width_px, height_px = (max(8, side - side % 8) for side in sides_px)
    return width_px, height_px


def svd_size_px(strategy: str, picture_px: tuple[int, int]) -> tuple[int, int]:
    """Return the clip's size for an input picture's.

    A picture is made smaller to fit 1024 x 576, never larger; then both sides are floored to multiples of 64. One that
    is smaller than that in a side gets 64 there, where the real model would fail.
    """
    width_px, height_px = picture_px
    most_width_px, most_height_px = SVD_MOST_PX
    if strategy == "crop_to_16_9":
        return SVD_MOST_PX
    if strategy == "maintain_aspect_ratio":
        # In whole numbers: 1920 x 1080 times a rounded 0.5333 would be a pixel too low, and a row of 64 lost.
        if width_px > most_width_px:
            width_px, height_px = most_width_px, most_width_px * height_px // width_px
        if height_px > most_height_px:
            width_px, height_px = most_height_px * width_px // height_px, most_height_px
    width_px, height_px = (max(SVD_STEP_PX, side - side % SVD_STEP_PX) for side in (width_px, height_px))
    return width_px, height_px


def _svd(order: Order) -> list[Output]:
    values = order.values
    size_px = svd_size_px(values["sizing_strategy"], order.picture_px or SVD_MOST_PX)
    frames = 14 if values["video_length"] == "14_frames_with_svd" else 25
    return clip_of(order, size_px, values["frames_per_second"], frames)


def _flux(order: Order) -> list[Output]:
    values = order.values
    width_px, height_px = _FLUX_SIZES_PX[values["aspect_ratio"]]
    if order.picture_px is not None:
        scale = min(1.0, 1440 / max(order.picture_px))
        width_px, height_px = (max(16, round(side * scale / 16) * 16) for side in order.picture_px)
    elif values["megapixels"] == "0.25":
        width_px, height_px = width_px // 2, height_px // 2
    made = pictures(order, values["num_outputs"], (width_px, height_px), _FLUX_MIMES[values["output_format"]])
    return [replace(output, suffix=values["output_format"]) for output in made]


_FLUX_FIELDS: Final[Mapping[str, Field]] = {
    "prompt": text(is_required=True),
    "aspect_ratio": choice("1:1", *(ratio for ratio in _FLUX_SIZES_PX if ratio != "1:1")),
    "num_outputs": integer(1, 1, 4),
    "seed": integer(),
    "output_format": choice("webp", "jpg", "png"),
    "output_quality": integer(80, 0, 100),
    "disable_safety_checker": flag(default=False),
    "go_fast": flag(default=True),
    "megapixels": choice("1", "0.25"),
}

_SDXL_FIELDS: Final[Mapping[str, Field]] = {
    "prompt": text("An astronaut riding a rainbow unicorn"),
    "negative_prompt": text(""),
    "image": picture(),
    "mask": picture(),
    "width": integer(1024),
    "height": integer(1024),
    "num_outputs": integer(1, 1, 4),
    "scheduler": choice(
        "K_EULER", "DDIM", "DPMSolverMultistep", "HeunDiscrete", "KarrasDPM", "K_EULER_ANCESTRAL", "PNDM"
    ),
    "num_inference_steps": integer(50, 1, 500),
    "guidance_scale": number(7.5, 1, 50),
    "prompt_strength": number(0.8, 0, 1),
    "seed": integer(),
    "refine": choice("no_refiner", "expert_ensemble_refiner", "base_image_refiner"),
    "high_noise_frac": number(0.8, 0, 1),
    "refine_steps": integer(),
    "apply_watermark": flag(default=True),
    "lora_scale": number(0.6, 0, 1),
    "replicate_weights": text(),
    "disable_safety_checker": flag(default=False),
}

_SVD_FIELDS: Final[Mapping[str, Field]] = {
    "input_image": picture(is_required=True),
    "video_length": choice("14_frames_with_svd", "25_frames_with_svd_xt"),
    "sizing_strategy": choice("maintain_aspect_ratio", "crop_to_16_9", "use_image_dimensions"),
    "frames_per_second": integer(6, 5, 30),
    "motion_bucket_id": integer(127, 1, 255),
    "cond_aug": number(0.02),
    "decoding_t": integer(14),
    "seed": integer(),
}

MODELS: Final[tuple[Model, ...]] = (
    Model(
        name="stability-ai/sdxl",
        version=SDXL_VERSION,
        kind="picture",
        fields=_SDXL_FIELDS,
        make=_sdxl,
        picture_field="image",
        nsfw_error="NSFW content detected. Try running it again, or try a different prompt.",
        steps_field="num_inference_steps",
    ),
    Model(
        name="stability-ai/stable-video-diffusion",
        version=SVD_VERSION,
        kind="clip",
        fields=_SVD_FIELDS,
        make=_svd,
        picture_field="input_image",
        is_list=False,
    ),
    Model(
        name="black-forest-labs/flux-schnell",
        version=None,
        kind="picture",
        fields={**_FLUX_FIELDS, "num_inference_steps": integer(4, 1, 4)},
        make=_flux,
        steps_field="num_inference_steps",
    ),
    Model(
        name="black-forest-labs/flux-dev",
        version=None,
        kind="picture",
        fields={
            **_FLUX_FIELDS,
            "image": picture(),
            "prompt_strength": number(0.8, 0, 1),
            "num_inference_steps": integer(28, 1, 50),
            "guidance": number(3, 0, 10),
        },
        make=_flux,
        picture_field="image",
        steps_field="num_inference_steps",
    ),
)

BY_NAME: Final[Mapping[str, Model]] = {model.name: model for model in MODELS}
BY_VERSION: Final[Mapping[str, Model]] = {model.version: model for model in MODELS if model.version}


def schema_of(model: Model) -> dict[str, Any]:
    """Return a model's inputs and output as the OpenAPI document that Replicate shows of a version."""
    uri = {"type": "string", "format": "uri"}
    properties = {name: _property(field, order) for order, (name, field) in enumerate(model.fields.items())}
    required = [name for name, field in model.fields.items() if field.is_required]
    given = {"type": "object", "title": "Input", "properties": properties} | (
        {"required": required} if required else {}
    )
    made = {"title": "Output", **({"type": "array", "items": uri} if model.is_list else uri)}
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": {"Input": given, "Output": made}},
    }


def _property(field: Field, order: int) -> dict[str, Any]:
    types = {"integer": "integer", "number": "number", "flag": "boolean"}
    found: dict[str, Any] = {"type": types.get(field.kind, "string"), "x-order": order}
    if field.kind == "picture":
        found["format"] = "uri"
    limits = {"default": field.default, "minimum": field.low, "maximum": field.high}
    found |= {name: value for name, value in limits.items() if value is not None}
    return found | ({"enum": list(field.choices)} if field.choices else {})
