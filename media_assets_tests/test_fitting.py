"""The picture as the clip's model is sent it: which form is chosen when it is planned, and what arrives."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets.catalog import ModelSpec, load_catalog
from media_assets.errors import ConformError
from media_assets.media.conform import conform_image
from media_assets.media.probe import probe
from media_assets.media.recipes import RECIPE_VERSION, ImageRecipe
from media_assets.prompt import Prompt, Step
from media_assets.steps import Bounds, Draft, Picture, draft_video
from media_assets_tests.simulated import Market, open_market, paid_prompt

CLIP = "fal:kling-v2.5-turbo"
RAW_BYTES = 1024 * 576 * 3


def a_clip_model(**rule: Any) -> ModelSpec:
    """Return a clip model of the catalog, with some of what it says about the picture changed."""
    spec = load_catalog().get(CLIP)
    changed = spec.accepts["image"].model_copy(update=rule)
    return spec.model_copy(update={"accepts": {"image": changed}})


def drafted(spec: ModelSpec, size_px: tuple[int, int] = (1024, 576), bounds: Bounds | None = None) -> Draft:
    """Write down what a clip of a picture of this size asks for."""
    prompt = Prompt.model_validate({"key": "k", "prompt": "a lighthouse", "size_px": size_px})
    picture = Picture(request_key="a" * 64, size_px=size_px)
    return draft_video(prompt, spec, voice=None, picture=picture, bounds=bounds or Bounds())


def recipe_of(draft: Draft) -> ImageRecipe:
    """Return how the picture is made to fit."""
    (ref,) = draft.request.inputs
    assert ref.recipe is not None
    return ImageRecipe.parse(ref.recipe)


BOTH, PNG, JPEG = ("image/png", "image/jpeg"), ("image/png",), ("image/jpeg",)


@pytest.mark.parametrize(
    ("mimes", "max_bytes", "sent_as"),
    [
        (BOTH, RAW_BYTES, "image/png"),
        (BOTH, RAW_BYTES - 1, "image/jpeg"),
        (JPEG, RAW_BYTES, "image/jpeg"),
        (PNG, RAW_BYTES - 1, "image/png"),
    ],
)
def test_what_might_not_fit_is_sent_as_jpeg(mimes: tuple[str, ...], max_bytes: int, sent_as: str) -> None:
    """A PNG keeps every shade, and may be as large as its pixels: that must not be seen after they were paid for."""
    recipe = recipe_of(drafted(a_clip_model(mimes=mimes, max_bytes=max_bytes)))

    assert (recipe.mime, recipe.max_bytes, recipe.size_px) == (sent_as, max_bytes, (1024, 576))


@pytest.mark.parametrize(
    ("size_px", "sent_px"),
    [((1024, 576), (1024, 576)), ((1023, 575), (1022, 576)), ((1600, 400), (1260, 504)), ((250, 250), (300, 300))],
)
def test_the_picture_gets_a_size_that_the_model_takes(size_px: tuple[int, int], sent_px: tuple[int, int]) -> None:
    """Even sides, a shape of at most 5 to 2, 300 pixels a side: what this model refuses is a picture paid for nothing.

    The size is that of the picture itself, never a fixed one: a model animates what it is shown.
    """
    assert recipe_of(drafted(a_clip_model())).size_px == (1024, 576)
    assert recipe_of(drafted(a_clip_model(), size_px)).size_px == sent_px


def test_a_recipe_is_read_as_it_was_written() -> None:
    """It stands in the ledger, and is carried out by another process."""
    recipe = ImageRecipe(size_px=(1024, 576), mime="image/png", max_bytes=10_000_000)

    assert recipe.text == "image/1 1024x576 image/png 10000000", "another text is another purchase"
    assert ImageRecipe.parse(recipe.text) == recipe


@pytest.mark.parametrize("text", [f"image/{RECIPE_VERSION + 1} 8x8 image/png 9", "image/1 8x8 image/png", "png-1", ""])
def test_a_recipe_of_another_version_is_not_guessed_at(text: str) -> None:
    """It would make another picture than the one that was asked for."""
    with pytest.raises(ConformError, match="another version"):
        ImageRecipe.parse(text)


@pytest.mark.parametrize(
    ("bounds", "size_px", "said"),
    [
        (Bounds(max_crop=0.38), (1600, 400), None),
        (Bounds(max_crop=0.37), (1600, 400), "38% of the picture would be cut off, at most 37% may be (max_crop)"),
        (Bounds(max_enlargement=1.2), (250, 250), None),
        (Bounds(max_enlargement=1.19), (250, 250), "blown up 1.2 times, at most 1.19 times may be (max_enlargement)"),
    ],
)
def test_a_picture_that_would_lose_too_much_is_a_problem(
    bounds: Bounds, size_px: tuple[int, int], said: str | None
) -> None:
    """Before anything is bought; up to the bound it is not."""
    problems = [problem.message for problem in drafted(a_clip_model(), size_px, bounds).problems]

    assert [said is not None and said in message for message in problems] == ([] if said is None else [True])


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with open_market(tmp_path / "home") as market:
        yield market


def test_a_picture_that_is_too_large_arrives_small_enough(market: Market, tmp_path: Path) -> None:
    """The whole way, as the provider sees it: a JPEG that is not too large, and a note of what that cost."""
    prompt = paid_prompt(script=None, size_px=(512, 512), routes={"image": ["local:landscape"], "video": [CLIP]})
    with market.studio() as studio:
        picture = asyncio.run(studio.make(prompt, wanted=[Step.IMAGE])).steps[Step.IMAGE].path
    assert picture is not None
    conform_image(picture, tmp_path / "best.jpg", size_px=None, mime="image/jpeg")
    limit = (tmp_path / "best.jpg").stat().st_size - 1

    with market.studio(models=[a_clip_model(max_bytes=limit)]) as studio:
        film = asyncio.run(studio.make(prompt, wanted=[Step.VIDEO]))

    sent = market.simulator.world.files.by_url(market.accepted()[0]["input"]["image_url"])
    assert sent is not None
    (tmp_path / "sent").write_bytes(market.simulator.world.files.content(sent))
    info = probe(tmp_path / "sent")
    assert (info.mime, info.width_px, info.height_px) == (sent.mime, 512, 512) == ("image/jpeg", 512, 512)
    assert limit * 0.5 < info.size_bytes <= limit
    assert any("of quality 90, to be small enough" in note for note in film.steps[Step.VIDEO].notes)
