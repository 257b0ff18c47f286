"""What a model can take and make: sizes, files, frame sizes of clips, lengths. Rules only; who uses them is elsewhere.

What a rule means for one model and one request is in ``sizes.py`` and ``lengths.py``.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field, model_validator

from media_assets.catalog.entry import Entry, Px

SAME_ASPECT = 0.01
"""Shapes that differ by less than this fraction count as one, so that a size near the wanted one is found."""

Positive = Annotated[int, Field(gt=0)]


class SizeRule(Entry):
    """Which sizes there are: a list, a list with names, or a range. Exactly one of the three.

    In a range every square that fits is allowed, so that there always is a size.
    """

    choices: tuple[Px, ...] = ()
    """The only sizes, ``[[width, height], …]``."""
    named: Mapping[str, Px] = Field(default_factory=dict)
    """The only sizes, by what the model calls each, such as ``"16:9"``."""
    min_px: Positive | None = None
    """The shortest side of a range, pixels. A whole multiple of ``multiple_of``, as ``max_px`` is."""
    max_px: Positive | None = None
    """The longest side, pixels."""
    multiple_of: Positive = 1
    """Both sides are whole multiples of this."""
    min_pixels: Positive = 1
    """Width times height, at least."""
    max_pixels: Positive | None = None
    """Width times height, at most."""
    aspect_min: Annotated[float, Field(gt=0, le=1)] | None = None
    """Width divided by height, at least."""
    aspect_max: Annotated[float, Field(ge=1)] | None = None
    """Width divided by height, at most."""

    @model_validator(mode="after")
    def _is_one_of_three(self) -> "SizeRule":
        if sum((bool(self.choices), bool(self.named), self.min_px is not None)) != 1:
            message = "sizes are either choices, or named, or a range with min_px and max_px"
            raise ValueError(message)
        if self.min_px is None:
            limits = (self.max_px, self.max_pixels, self.aspect_min, self.aspect_max)
            if any(limits) or self.multiple_of != 1 or self.min_pixels != 1:
                message = "listed sizes have no limits besides themselves"
                raise ValueError(message)
            return self
        if self.max_px is None or self.min_px % self.multiple_of or self.max_px % self.multiple_of:
            message = "min_px and max_px are both given, as whole multiples of multiple_of"
            raise ValueError(message)
        side = self._smallest_square()
        if side > self.max_px or side * side > (self.max_pixels or side * side):
            message = "no square fits between the limits"
            raise ValueError(message)
        return self

    def _smallest_square(self) -> int:
        side = max(self.min_px or 1, math.isqrt(self.min_pixels - 1) + 1)
        return math.ceil(side / self.multiple_of) * self.multiple_of

    @property
    def listed(self) -> tuple[Px, ...]:
        """The sizes of a list; empty for a range."""
        return self.choices or tuple(self.named.values())

    @property
    def most_pixels(self) -> int:
        """Width times height of the largest size."""
        if self.listed:
            return max(width * height for width, height in self.listed)
        longest = self.max_px or 1
        return min(longest * longest, self.max_pixels or longest * longest)

    def allows(self, px: Px) -> bool:
        """Whether ``px`` is one of the sizes."""
        if self.listed:
            return tuple(px) in self.listed
        width, height = px
        sides_fit = all(
            (self.min_px or 1) <= side <= (self.max_px or side) and side % self.multiple_of == 0 for side in px
        )
        area_fits = self.min_pixels <= width * height <= (self.max_pixels or width * height)
        aspect = width / height
        return sides_fit and area_fits and (self.aspect_min or 0) <= aspect <= (self.aspect_max or math.inf)

    def nearest(self, wanted_px: Px) -> Px:
        """Return the allowed size nearest to ``wanted_px``: the shape comes first, then the area.

        The same answer for the same question, always; an allowed size is its own answer.
        """
        if self.allows(wanted_px):
            return wanted_px
        candidates = self.listed or tuple(size for size in self._candidates(wanted_px) if self.allows(size))
        return min(candidates or ((self._smallest_square(),) * 2,), key=lambda size: _distance(size, wanted_px))

    def _candidates(self, wanted_px: Px) -> Iterator[Px]:
        """Yield, for each width, the heights on either side of the wanted shape, brought within the range."""
        step, shortest, longest = self.multiple_of, self.min_px or 1, self.max_px or 1
        aspect = min(max(wanted_px[0] / wanted_px[1], self.aspect_min or 0), self.aspect_max or math.inf)
        for width in range(shortest, longest + 1, step):
            below = math.floor(width / aspect / step) * step
            for height in (below, below + step):
                yield width, min(max(height, shortest), longest)


def _distance(size: Px, wanted: Px) -> tuple[float, float, float, int]:
    shape = abs(math.log(size[0] / size[1] * wanted[1] / wanted[0]))
    area = abs(math.log(size[0] * size[1] / (wanted[0] * wanted[1])))
    return (0.0 if shape < SAME_ASPECT else round(shape, 9)), round(area, 9), shape, -size[0]


class InputRule(Entry):
    """What a file must be for a model to take it."""

    sizes: SizeRule | None = None
    """None: of any size."""
    mimes: Annotated[tuple[str, ...], Field(min_length=1)]
    max_bytes: Positive
    """Of the file, before it is written as a ``data:`` URI."""
    alpha: bool = False
    """Whether it may be transparent."""


class ClipCase(Entry):
    """How a clip's frame size follows from its picture's; without any field it is the picture's own."""

    size: Px | None = None
    """Always this."""
    within: Px | None = None
    """The picture's size, scaled down until it fits this box; never up."""
    short_side: Positive | None = None
    """The picture's shape with a short side of so many pixels."""
    multiple_of: Positive = 1
    """Sides are rounded down to whole multiples; a ``short_side`` stays as it is."""

    @model_validator(mode="after")
    def _is_one(self) -> "ClipCase":
        if sum(field is not None for field in (self.size, self.within, self.short_side)) > 1:
            message = "size, within and short_side exclude each other"
            raise ValueError(message)
        return self

    def of(self, image_px: Px) -> Px:
        """Return the frame size of a clip of a picture of this size, pixels."""
        width, height = image_px
        if self.size is not None:
            return self.size
        if self.short_side is not None:
            long_side = self._floor(self.short_side * max(image_px) // min(image_px))
            return (long_side, self.short_side) if width >= height else (self.short_side, long_side)
        if self.within is not None and (width > self.within[0] or height > self.within[1]):
            if width * self.within[1] >= height * self.within[0]:
                width, height = self.within[0], height * self.within[0] // width
            else:
                width, height = width * self.within[1] // height, self.within[1]
        return self._floor(width), self._floor(height)

    def _floor(self, side: int) -> int:
        return max(side - side % self.multiple_of, self.multiple_of)


class ClipSize(Entry):
    """What frame size a clip will have: one rule, or one by the value of a parameter."""

    always: ClipCase | None = None
    by: str | None = None
    """The parameter that decides, such as ``resolution``."""
    cases: Mapping[str, ClipCase] = Field(default_factory=dict)
    """The rule for each of its values."""
    aspect_by: str | None = None
    """A parameter that may give the clip another shape than the picture's, as ``WIDTH:HEIGHT``."""

    @model_validator(mode="after")
    def _is_whole(self) -> "ClipSize":
        if (self.always is None) == (self.by is None) or (self.by is None) == bool(self.cases):
            message = "clip_size is either always one rule, or cases by a parameter"
            raise ValueError(message)
        return self


class LengthRange(Entry):
    """The lengths a model can make, in seconds."""

    default: float
    min: float
    max: float
    choices: tuple[float, ...] = ()
    """The only lengths, where not all between ``min`` and ``max`` can be had."""

    @model_validator(mode="after")
    def _default_is_one(self) -> "LengthRange":
        if not 0 < self.min <= self.default <= self.max:
            message = "0 < min <= default <= max does not hold"
            raise ValueError(message)
        if self.choices and not (
            self.default in self.choices and (min(self.choices), max(self.choices)) == (self.min, self.max)
        ):
            message = "the default is one of the choices, min the shortest and max the longest of them"
            raise ValueError(message)
        return self


class FrameRule(Entry):
    """The lengths of a model that counts frames: so many frames at so many a second."""

    fps: str
    """The integer parameter that says how many frames are shown in a second."""
    fixed: Positive | None = None
    """How many frames a clip always has."""
    count: str | None = None
    """The parameter that says how many frames are made."""
    counts: Mapping[str, Positive] = Field(default_factory=dict)
    """How many each of its values means; empty: the value is the number."""

    @model_validator(mode="after")
    def _count_is_known(self) -> "FrameRule":
        if (self.fixed is None) == (self.count is None):
            message = "the number of frames is either fixed or named by count"
            raise ValueError(message)
        return self
