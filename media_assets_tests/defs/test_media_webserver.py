"""The four assets through a real webserver and code server: what a person sees, terminates and materializes again.

Which steps a run makes, and what it does with its configuration, is in ``test_media_runs.py``, without a server.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.ledger.rows import PurchaseRow
from media_assets_tests.defs.materializing import FOUR, pin, purchases_of, quick, run_config
from media_assets_tests.defs.webserver import Webserver, webserver

pytestmark = pytest.mark.webserver

_RUN_S = 90.0


class Stage:
    """A served code location, and the home its runs work in."""

    def __init__(self, server: Webserver, home: Path) -> None:
        self.server = server
        self.home = home

    def add(self, *prompts: dict[str, Any]) -> None:
        """Pin prompts and make them partitions, as ``media-assets ui`` does."""
        pin(self.home, *prompts)
        for prompt in prompts:
            self.server.add_partition(PARTITIONS_NAME, prompt["key"])

    def materialize(self, assets: list[str], key: str, **config: Any) -> str:
        """Materialize one partition and wait for the run's end."""
        run = self.server.launch(assets, partition_key=key, run_config=run_config(config))
        self.server.wait_for(run, {"SUCCESS"}, deadline_s=_RUN_S)
        return run

    def purchases(self, key: str) -> dict[str, PurchaseRow]:
        """Return the purchases of a prompt by step; fails if a step has several."""
        return purchases_of(self.home, key)

    def reported(self, run: str) -> dict[str, dict[str, Any]]:
        """Return the metadata of what a run materialized, by asset."""
        return {one.asset: one.metadata for one in self.server.materializations(run)}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Serve the project's own definitions; the tests here use prompts of their own each."""
    home = tmp_path_factory.mktemp("state")
    environment = {"MEDIA_ASSETS_HOME": str(home)}
    dagster_home = tmp_path_factory.mktemp("dagster")
    with webserver(("-w", "workspace.yaml"), home=dagster_home, environment=environment) as server:
        yield Stage(server, home)


def test_materializing_all_four_shows_pictures_and_numbers_and_a_second_time_makes_nothing(stage: Stage) -> None:
    """What the UI shows is how most people judge a film before they open it; and a second click must be free (P5)."""
    stage.add(quick("all", script="A quiet harbour."))

    run = stage.materialize(FOUR, "all")

    shown = stage.reported(run)
    assert list(shown) == FOUR
    for asset, metadata in shown.items():
        assert metadata["preview"].startswith("![](data:image/"), asset
        assert metadata["thumbnail"].startswith("![](data:image/"), asset
        assert len(metadata["thumbnail"]) < 1000, "longer markdown hides behind a button"
        assert metadata["cost_usd"] == 0.0
        assert metadata["duration_s"] > 0
        assert metadata["cached"] is False
        assert Path(metadata["path"]).is_file()
    assert shown["merged"]["timeline"].startswith("![](data:image/")
    assert (stage.home / "films" / "all.mp4").is_file()

    before = stage.purchases("all")
    again = stage.materialize(["merged"], "all", max_cost_usd="5")

    assert stage.purchases("all") == before
    assert list(stage.reported(again)) == ["merged"]
    assert stage.reported(again)["merged"]["cached"] is True


def test_terminate_during_the_video_step_cancels_and_keeps_what_is_done(stage: Stage) -> None:
    """P8 and P2: Terminate reaches the work within seconds, and what was finished is a checkpoint."""
    stage.add(quick("long", clip_s=60, size_px=[1024, 1024], params={"video": {"fps": 60}}))
    run = stage.server.launch(FOUR, partition_key="long")
    _wait_until_progress(stage, "long", "video")

    asked = time.monotonic()
    stage.server.terminate(run)
    stage.server.wait_for(run, {"CANCELED"}, deadline_s=5.0)

    assert time.monotonic() - asked < 5.0
    assert "image" in stage.reported(run)
    states = {step: str(row.state) for step, row in stage.purchases("long").items()}
    assert states["image"] == "SUCCEEDED"
    assert states["video"] == "CANCELED"
    assert list((stage.home / "scratch").glob("*/*")) == []

    stage.add(quick("long", size_px=[1024, 1024]))
    again = stage.materialize(FOUR, "long")

    shown = stage.reported(again)
    assert shown["image"]["cached"] is True
    assert shown["video"]["cached"] is False


def _wait_until_progress(stage: Stage, key: str, step: str) -> None:
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at:
        row = stage.purchases(key).get(step)
        if row is not None and row.progress:
            return
        time.sleep(0.1)
    pytest.fail(f"the step {step} never began")


def test_range_run_materializes_the_good_and_names_the_bad(stage: Stage) -> None:
    """P6: one bad prompt in a backfill of the UI must not cost the others their status."""
    good = [quick("range-a"), quick("range-c")]
    bad = quick("range-b", routes={"image": ["local:no-such-model"]})
    stage.add(good[0], bad)
    stage.server.add_partition(PARTITIONS_NAME, "range-unknown")
    stage.add(good[1])

    run = stage.server.launch(FOUR, partition_range=("range-a", "range-c"))
    stage.server.wait_for(run, {"FAILURE"}, deadline_s=_RUN_S)

    done = {(one.asset, one.partition) for one in stage.server.materializations(run)}
    assert done == {(asset, key) for asset in FOUR for key in ("range-a", "range-c")}
    said = " ".join(str(event) for event in stage.server.events(run))
    assert "2 of 4 prompts failed" in said
    assert "range-unknown: PlanError" in said
    assert "range-b: PlanError" in said
