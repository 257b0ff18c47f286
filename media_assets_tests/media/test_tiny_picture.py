"""The pictures that Dagster's tables show at once."""

import io

import numpy as np
import pytest
from PIL import Image

from media_assets.media.tiny_picture import TINY_BYTES, tiny_picture


def _png(pixels: "np.typing.NDArray[np.uint8]") -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize("shape", [(360, 640, 3), (640, 360, 3), (100, 900, 3), (500, 500, 3)])
def test_even_noise_fits(shape: tuple[int, int, int]) -> None:
    """The worst picture there is must not push the markdown over the viewer's limit."""
    noise = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)

    tiny = tiny_picture(_png(noise))

    assert len(tiny) <= TINY_BYTES
    with Image.open(io.BytesIO(tiny)) as picture:
        assert picture.format == "WEBP"
        assert abs(picture.width / picture.height - shape[1] / shape[0]) / (shape[1] / shape[0]) < 0.1


def test_simple_picture_stays_wide_enough_to_recognise() -> None:
    """A plain sky needs few bytes, so there is no reason to make it small."""
    rows = np.linspace(0, 255, 576, dtype=np.uint8)[:, None, None]
    sky = np.broadcast_to(rows, (576, 1024, 3)).copy()

    with Image.open(io.BytesIO(tiny_picture(_png(sky)))) as picture:
        assert picture.width >= 128


def test_impossible_limit_is_refused() -> None:
    """A limit that cannot be kept is an error, not a larger picture."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    with pytest.raises(ValueError, match="20 bytes"):
        tiny_picture(_png(noise), max_bytes=20)
