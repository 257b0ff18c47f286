"""Films bought from the simulator: right files, one submission a step, and a cost that is the bill's exactly."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from media_assets.catalog import load_catalog
from media_assets.media.probe import probe
from media_assets.prompt import Step
from media_assets_tests.conftest import LONG, SAMPLE
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
def test_a_film_of_any_models(market: Market, models: tuple[str, str, str]) -> None:
    """Each model has its own schema, sizes, lengths, files and price; any of them follows any other."""
    routes = {step: [model] for step, model in zip(_MODELS, models, strict=True)}
    prompt = paid_prompt(
        key="-".join(models).replace(":", "-").replace(".", "-")[:80], routes=routes, script="Look up."
    )
    billed_before = market.bill_usd()

    film = market.make(prompt)

    assert film.path is not None
    info = probe(film.path)
    assert (info.video_codec, info.audio_codec) == ("h264", "aac")
    assert info.video_duration_s == pytest.approx(info.audio_duration_s, abs=0.1)
    assert not film.degraded
    assert film.spent_usd == market.bill_usd() - billed_before


def test_every_film_together_costs_what_is_billed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A thousand small roundings must not add up to a difference."""
    record_property(SAMPLE, f"films of {len(_CHOSEN)} of {len(_ALL)} combinations of models")
    with open_market(tmp_path) as market:
        films = [market.make(paid_prompt(key=f"film-{seed}", seed=seed)) for seed in range(3)]

        assert sum((film.spent_usd for film in films), Decimal(0)) == market.bill_usd()
        assert len(market.accepted()) == 9, "a picture, a clip and a voice for each seed"


def test_a_voice_that_says_the_same_is_bought_once(tmp_path: Path) -> None:
    """Of one script there is one voice, whatever is shown to it; another seed is another voice."""
    with open_market(tmp_path) as market:
        films = [
            market.make(paid_prompt(key=f"film-{number}", prompt=f"barn {number}", seed=seed))
            for number, seed in enumerate([None, None, 7])
        ]

        voices = [film.steps[Step.AUDIO] for film in films]
        assert [voice.cached for voice in voices] == [False, True, False]
        spoken = [one["input"]["seed"] for one in market.accepted() if one["provider"] == "elevenlabs"]
        assert (len(spoken), spoken[1]) == (2, 7)


def test_a_second_run_asks_nobody(market: Market) -> None:
    """Zero submissions, zero polls, zero downloads."""
    first = market.make(paid_prompt(key="twice"))
    asked = market.requests()

    again = market.make(paid_prompt(key="twice"))

    assert market.requests() == asked
    assert again.spent_usd == 0
    assert again.cost_usd == first.cost_usd
    assert all(step.cached for step in again.steps.values())
