# ruff: noqa: S101 - tests assert
"""The example of an asset of one's own, and of a model of one's own: run in Dagster, by a backfill's runs."""

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import av
import dagster as dg
import pytest
from backfilling import backfill, backfilling_instance
from captioned import CAPTIONED, burn_in, lines_of, times_of
from PIL import Image, ImageChops

from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.ledger import open_ledger
from media_assets.media.probe import probe
from media_assets.prompt import Prompt, Step
from media_assets.settings import load_settings
from media_assets.studio import open_studio
from media_assets.testing import SimulatedProviders

MODELS = Path(__file__).resolve().parent / "models"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with backfilling_instance(tmp_path / "dagster") as one:
        yield one


def a_prompt(key: str) -> Prompt:
    """Return a prompt that is made in a moment."""
    return Prompt.model_validate(
        {
            "key": key,
            "prompt": "A harbour",
            "script": "The boats leave early. Nobody sees them go.",
            "size_px": "512x512",
            "clip_s": 2,
            "routes": {"audio": ["local:silence"]},
            "params": {"video": {"fps": 4}},
        }
    )


def frame(path: Path, at_s: float) -> Image.Image:
    """Return what a film shows at some time."""
    with av.open(str(path)) as container:
        return next(one for one in container.decode(video=0) if (one.time or 0.0) >= at_s - 1e-3).to_image()


def changed(film: Path, burnt: Path, *, at_s: float = 0.0) -> tuple[int, int, int, int]:
    """Return the box in which two films differ: left, top, right, bottom; fails where they do not."""
    difference = ImageChops.difference(frame(film, at_s), frame(burnt, at_s))
    box = difference.convert("L").point(lambda value: 255 if value > 60 else 0).getbbox()
    assert box is not None
    return box


def is_at_the_foot(box: tuple[int, int, int, int]) -> bool:
    """Return whether that is where captions belong, in a picture of 512 pixels."""
    return box[1] > 512 * 0.8


def test_a_backfill_makes_the_films_and_then_the_own_asset(home: Path, instance: dg.DagsterInstance) -> None:
    """One run makes all films; ``captioned``, which has no policy of its own, follows in a run a partition."""
    keys, chain = ["a", "b"], ["image", "video", "audio", "merged"]
    with open_ledger(home) as ledger:
        ledger.prompts.pin(map(a_prompt, keys), source="test")
    instance.add_dynamic_partitions(PARTITIONS_NAME, keys)

    ended = backfill(instance, "captioned", [*chain, CAPTIONED], keys)

    assert ended.status.value == "COMPLETED_SUCCESS"
    runs = [sorted(key.to_user_string() for key in run.asset_selection or ()) for run in instance.get_runs()]
    assert sorted(runs) == [sorted(chain), [CAPTIONED], [CAPTIONED]]
    assert instance.get_materialized_partitions(dg.AssetKey(CAPTIONED)) == set(keys)
    film, burnt = home / "films" / "a.mp4", home / CAPTIONED / "a.mp4"
    assert probe(burnt).duration_s == pytest.approx(probe(film).duration_s, abs=0.2)
    assert is_at_the_foot(changed(film, burnt))


def test_a_prompt_that_cannot_be_made_leaves_out_its_own_captions_alone(
    home: Path, instance: dg.DagsterInstance
) -> None:
    bad = a_prompt("b").model_copy(update={"routes": {Step.IMAGE: ["no:such"]}})
    with open_ledger(home) as ledger:
        ledger.prompts.pin([a_prompt("a"), bad], source="test")
    instance.add_dynamic_partitions(PARTITIONS_NAME, ["a", "b"])

    ended = backfill(instance, "captioned", ["image", "video", "audio", "merged", CAPTIONED], ["a", "b"])

    assert ended.status.value == "COMPLETED_FAILED"
    assert instance.get_materialized_partitions(dg.AssetKey(CAPTIONED)) == {"a"}


def test_the_films_of_long_scripts_show_each_line_in_its_time(home: Path) -> None:
    """And whoever opened the file that was there before reads on in it: it is replaced whole, or not at all."""
    with open_studio(home, load_settings().studio_options()) as studio:
        film = asyncio.run(studio.make(a_prompt("long"))).path
    assert film is not None
    target = home / CAPTIONED / "long.mp4"
    target.parent.mkdir()
    target.write_bytes(b"before")

    with target.open("rb") as reader:
        assert burn_in(film, "Up. " * 39 + "And then all of them come down the hill.", target) == 40
        assert reader.read() == b"before"

    assert list(target.parent.iterdir()) == [target], "nothing else is left"
    length_s = probe(film).duration_s or 0.0
    early, late = (changed(film, target, at_s=share * length_s) for share in (0.4, 0.85))
    assert is_at_the_foot(early)
    assert late[2] - late[0] > 4 * (early[2] - early[0]), "the last line is longer"


def test_lines_are_short_and_last_as_long_as_their_letters() -> None:
    lines = lines_of("One two. Three four five six seven eight nine ten eleven twelve thirteen.")

    assert lines[0] == "One two."
    assert all(len(line) <= 48 for line in lines)
    times = times_of(lines, 10.0)
    assert times[0][0] == 0.0
    assert times[-1][1] == pytest.approx(10.0)
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(times))


def test_a_model_of_ones_own_needs_nothing_but_its_file(
    home: Path, simulator: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the provider bills what the contract says."""
    monkeypatch.setenv("MEDIA_ASSETS_CATALOG_FOLDER", str(MODELS))
    prompt = a_prompt("own").model_copy(update={"routes": {Step.AUDIO: ["fal:my-voice"]}})
    with open_studio(home, load_settings().studio_options()) as studio:
        film = asyncio.run(studio.make(prompt))

    assert film.steps[Step.AUDIO].model == "fal:my-voice"
    assert film.steps[Step.AUDIO].cost_usd == len(prompt.script or "") * Decimal("0.00002")
    assert simulator.posts() == 1
