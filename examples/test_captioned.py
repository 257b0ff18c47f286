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
from captioned import CAPTIONED, defs, lines_of, times_of
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
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as one:
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


def first_frame(path: Path) -> Image.Image:
    """Return a film's first picture."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_image()


def test_the_whole_chain_and_the_own_asset_are_made_for_each_partition(
    home: Path, instance: dg.DagsterInstance
) -> None:
    """As a backfill does it without a policy of its own: a run a partition."""
    keys = ["a", "b"]
    with open_ledger(home) as ledger:
        ledger.prompts.pin(map(a_prompt, keys), source="test")
    instance.add_dynamic_partitions(PARTITIONS_NAME, keys)
    graph = defs.resolve_asset_graph()
    policies = {key.to_user_string(): graph.get(key).backfill_policy for key in graph.get_all_asset_keys()}
    assert policies[CAPTIONED] is None, "shared with merged, it would be left out of the run"
    job = defs.resolve_implicit_global_asset_job_def()
    selected = [dg.AssetKey(name) for name in ("image", "video", "audio", "merged", CAPTIONED)]

    for key in keys:
        assert job.execute_in_process(instance=instance, partition_key=key, asset_selection=selected).success

    assert instance.get_materialized_partitions(dg.AssetKey(CAPTIONED)) == set(keys)
    film, burnt = home / "films" / "a.mp4", home / CAPTIONED / "a.mp4"
    assert probe(burnt).duration_s == pytest.approx(probe(film).duration_s, abs=0.2)
    before, after = first_frame(film), first_frame(burnt)
    box = ImageChops.difference(before, after).point(lambda value: 255 if value > 60 else 0).getbbox()
    assert box is not None
    assert box[1] > before.height * 0.8, "the words are at the foot"


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
