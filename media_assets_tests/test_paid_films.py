"""Films bought from the simulator: right files, one submission a step, and a cost that is the bill's exactly."""

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.film import Film
from media_assets.media.probe import probe
from media_assets.plan import PlannedStep
from media_assets.prompt import Step
from media_assets_tests.conftest import LONG
from media_assets_tests.simulated import Market, open_market, paid_prompt

_MODELS = {
    step: [spec.id for spec in load_catalog() if spec.step is step and spec.provider != "local"]
    for step in (Step.IMAGE, Step.VIDEO, Step.AUDIO)
}
_ALL = list(product(*_MODELS.values()))


def _every_pair() -> list[tuple[str, str, str]]:
    """Return a cover: every image with every clip and voice model, every clip with every voice model."""
    images, clips, voices = _MODELS.values()
    return [
        (image, clip, voices[(number + other) % len(voices)])
        for number, image in enumerate(images)
        for other, clip in enumerate(clips)
    ]


_CHOSEN = _ALL if LONG else _every_pair()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    with open_market(tmp_path_factory.mktemp("market")) as market:
        yield market


def test_the_cover_covers() -> None:
    """Every two models that can meet in a chain do."""
    pairs = {pair for one in _every_pair() for pair in ((one[0], one[1]), (one[0], one[2]), (one[1], one[2]))}
    images, clips, voices = _MODELS.values()

    assert pairs == {*product(images, clips), *product(images, voices), *product(clips, voices)}
    assert min(map(len, _MODELS.values())) >= 5


@pytest.mark.parametrize("models", _CHOSEN, ids="+".join)
@pytest.mark.sample(f"films of {len(_CHOSEN)} of {len(_ALL)} combinations of models")
def test_a_film_of_any_models(market: Market, models: tuple[str, str, str]) -> None:
    """Each model has its own schema, sizes, lengths, files and price; any of them follows any other."""
    routes = {step: [model] for step, model in zip(_MODELS, models, strict=True)}
    prompt = paid_prompt(
        key="-".join(models).replace(":", "-").replace(".", "-")[:80], routes=routes, script="Look up."
    )
    billed_before = market.bill_usd()
    with market.studio() as studio:
        planned = {step.step: step for step in asyncio.run(studio.plan(prompt)).steps}

        film = asyncio.run(studio.make(prompt))

    assert not film.degraded
    assert film.spent_usd == market.bill_usd() - billed_before
    _assert_as_planned(film, planned)


def _assert_as_planned(film: Film, planned: Mapping[Step, PlannedStep]) -> None:
    """Hold every file against what the plan said of it, and the film against what it is made of."""
    files = {step: probe(result.path) for step, result in film.steps.items() if result.path is not None}
    assert list(files) == list(Step)
    picture, clip, voice, merged = files.values()
    assert (picture.width_px, picture.height_px) == planned[Step.IMAGE].size_px
    # A model that chooses the clip's size itself takes the picture's shape; how others round is not documented.
    shape_px = planned[Step.VIDEO].size_px or (picture.width_px or 0, picture.height_px or 0)
    assert (clip.width_px or 0) / (clip.height_px or 1) == pytest.approx(shape_px[0] / shape_px[1], rel=0.02)
    if planned[Step.VIDEO].size_px is not None:
        assert [clip.width_px, clip.height_px] == pytest.approx(shape_px, abs=16)
    assert clip.video_duration_s == pytest.approx(planned[Step.VIDEO].duration_s, abs=0.1)
    assert voice.duration_s == pytest.approx(planned[Step.AUDIO].duration_s, abs=0.5)
    assert (merged.video_codec, merged.audio_codec) == ("h264", "aac")
    assert (merged.width_px, merged.height_px) == (clip.width_px, clip.height_px)
    film_s = max(clip.video_duration_s or 0, voice.duration_s or 0)
    assert [merged.video_duration_s, merged.audio_duration_s] == pytest.approx([film_s, film_s], abs=0.1)


def test_every_film_together_costs_what_is_billed(tmp_path: Path) -> None:
    """A thousand small roundings must not add up to a difference."""
    with open_market(tmp_path) as market:
        films = [market.make(paid_prompt(key=f"film-{n}", prompt=f"barn number {n}")) for n in range(3)]

        assert sum((film.spent_usd for film in films), Decimal(0)) == market.bill_usd()
        assert len(market.accepted()) == 7, "the voice says the same in all three"


def test_a_second_run_asks_nobody(market: Market) -> None:
    """Zero submissions, zero polls, zero downloads."""
    first = market.make(paid_prompt(key="twice"))
    asked = market.requests()

    again = market.make(paid_prompt(key="twice"))

    assert market.requests() == asked
    assert again.spent_usd == 0
    assert again.cost_usd == first.cost_usd
    assert all(step.cached for step in again.steps.values())
