"""Sizes of one model's pictures and clips: what a request's parameters make, and the parameters for a wanted size."""

import re
from collections.abc import Mapping

from media_assets.catalog.entry import Px
from media_assets.catalog.spec import ModelSpec
from media_assets.prompt import Scalar


def size_of(spec: ModelSpec, params: Mapping[str, Scalar]) -> Px | None:
    """Return width and height, in pixels, that these parameters ask for; None where the model has no such choice."""
    if "size" in spec.roles:
        text = str(spec.value(params, spec.roles["size"]))
        if spec.sizes is not None and spec.sizes.named:
            return spec.sizes.named.get(text)
        match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
        return (int(match[1]), int(match[2])) if match else None
    sides = [spec.value(params, spec.roles[role]) for role in ("width", "height") if role in spec.roles]
    numbers = [side for side in sides if isinstance(side, int | float) and side >= 1]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 else None  # noqa: PLR2004 - width and height


def size_params(spec: ModelSpec, wanted_px: Px) -> dict[str, Scalar]:
    """Return the parameters for the size nearest to ``wanted_px`` that the model makes; none where it has no choice."""
    px = spec.sizes.nearest(wanted_px) if spec.sizes is not None else wanted_px
    if "size" in spec.roles:
        named = spec.sizes.named.items() if spec.sizes is not None else ()
        text = next((name for name, size in named if size == px), f"{px[0]}x{px[1]}")
        return {spec.roles["size"]: text}
    return {spec.roles[role]: side for role, side in zip(("width", "height"), px, strict=True) if role in spec.roles}


def expected_clip_size_px(spec: ModelSpec, params: Mapping[str, Scalar], image_px: Px | None) -> Px | None:
    """Return the frame size, in pixels, of the clip that these parameters make; None where nobody knows.

    Args:
        spec: The model.
        params: Of the request, in the model's own names.
        image_px: Width and height of the picture as it is sent.
    """
    own = size_of(spec, params)
    if own is not None or spec.clip_size is None or image_px is None:
        return own
    rule = spec.clip_size
    case = rule.always if rule.by is None else rule.cases.get(str(spec.value(params, rule.by)))
    if case is None:
        return None
    aspect = str(spec.value(params, rule.aspect_by)) if rule.aspect_by is not None else ""
    shape = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", aspect)
    return case.of(_cropped(image_px, int(shape[1]), int(shape[2])) if shape else image_px)


def _cropped(image_px: Px, across: int, down: int) -> Px:
    """Return the largest part of a picture that has this shape."""
    width, height = image_px
    if width * down >= height * across:
        return max(height * across // down, 1), height
    return width, max(width * down // across, 1)
