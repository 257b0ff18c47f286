"""Conform recipes: how a file is made to fit the model it is sent to, as a text that is part of the request.

Equal recipes give equal pictures to a person's eye, whatever version of Pillow made them; the recipe, and never the
bytes, decides whether two requests are the same. Carrying recipes out is in ``conform.py``.
"""

import re
from dataclasses import dataclass
from typing import Self

from media_assets.errors import ConformError

RECIPE_VERSION = 1

_TEXT = re.compile(r"image/(?P<version>\d+) (?P<width>\d+)x(?P<height>\d+) (?P<mime>\S+) (?P<max_bytes>\d+)")


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """A picture in the size and type that a model takes: 8-bit sRGB, upright, opaque, without metadata."""

    size_px: tuple[int, int]
    mime: str
    max_bytes: int

    @property
    def text(self) -> str:
        """The recipe as it stands in a request."""
        width, height = self.size_px
        return f"image/{RECIPE_VERSION} {width}x{height} {self.mime} {self.max_bytes}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read :attr:`text`.

        Raises:
            ConformError: It is a recipe of another version of this package.
        """
        found = _TEXT.fullmatch(text)
        if found is None or int(found["version"]) != RECIPE_VERSION:
            message = f"the recipe {text!r} is of another version of this program."
            raise ConformError(message)
        size_px = int(found["width"]), int(found["height"])
        return cls(size_px=size_px, mime=found["mime"], max_bytes=int(found["max_bytes"]))

    def loss(self, source_px: tuple[int, int], *, max_crop: float, max_enlargement: float) -> str | None:
        """Say why a picture of ``source_px`` would lose too much by this recipe; None when it would not."""
        kept = kept_ratio(source_px, self.size_px)
        if 1 - kept > max_crop:
            return f"{1 - kept:.0%} of the picture would be cut off, at most {max_crop:.0%} may be (max_crop)"
        factor = max(wanted / side for wanted, side in zip(self.size_px, source_px, strict=True))
        if factor > max_enlargement:
            return f"would be blown up {factor:.1f} times, at most {max_enlargement:g} times may be (max_enlargement)"
        return None


def kept_ratio(size_px: tuple[int, int], wanted_px: tuple[int, int]) -> float:
    """Return the share of a picture's area that is left when it covers ``wanted_px`` and is cropped."""
    shape, wanted = size_px[0] / size_px[1], wanted_px[0] / wanted_px[1]
    return min(shape, wanted) / max(shape, wanted)
