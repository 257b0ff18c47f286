"""The four assets through a real webserver and code server: what a person sees, terminates and materializes again."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.ledger import Ledger, open_ledger
from media_assets.ledger.rows import PurchaseRow
from media_assets.prompt import Prompt
from media_assets_tests.defs.webserver import Webserver, webserver

pytestmark = pytest.mark.webserver

FOUR = ["image", "video", "audio", "merged"]
_RUN_S = 90.0


def _quick(key: str, **fields: Any) -> dict[str, Any]:
    """Return a prompt that takes about a second to make."""
    return {
        "key": key,
        "prompt": f"A quiet harbour called {key}",
        "size_px": [512, 512],
        "clip_s": 1,
        "params": {"video": {"fps": 4}},
        **fields,
    }


class Stage:
    """A served code location, and the home its runs work in."""

    def __init__(self, server: Webserver, home: Path) -> None:
        self.server = server
        self.home = home

    def add(self, *prompts: dict[str, Any]) -> None:
        """Pin prompts and make them partitions, as ``media-assets ui`` does."""
        with open_ledger(self.home) as ledger:
            ledger.prompts.pin([Prompt.model_validate(prompt) for prompt in prompts], source="test")
        for prompt in prompts:
            self.server.add_partition(PARTITIONS_NAME, prompt["key"])

    def materialize(self, assets: list[str], key: str, *, expect: str = "SUCCESS", **config: Any) -> str:
        """Materialize one partition and wait for the run's end."""
        run = self.server.launch(assets, partition_key=key, run_config=_config(config))
        self.server.wait_for(run, {expect}, deadline_s=_RUN_S)
        return run

    def purchases(self, key: str) -> dict[str, PurchaseRow]:
        """Return the purchases of a prompt by step; fails if a step has several."""
        with open_ledger(self.home) as ledger:
            return _by_step(ledger, key)

    def reported(self, run: str) -> dict[str, dict[str, Any]]:
        """Return the metadata of what a run materialized, by asset."""
        return {one.asset: one.metadata for one in self.server.materializations(run)}


def _by_step(ledger: Ledger, key: str) -> dict[str, PurchaseRow]:
    rows = ledger.purchases.search(prompt_key=key)
    by_step = {row.step: row for row in rows}
    assert len(by_step) == len(rows)
    return by_step


def _config(config: dict[str, Any]) -> dict[str, Any]:
    return {"ops": {"media": {"config": config}}} if config else {}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Serve the project's own definitions; the tests here use prompts of their own each."""
    home = tmp_path_factory.mktemp("state")
    environment = {"MEDIA_ASSETS_HOME": str(home)}
    dagster_home = tmp_path_factory.mktemp("dagster")
    with webserver(("-w", "workspace.yaml"), home=dagster_home, environment=environment) as server:
        yield Stage(server, home)


def test_materializing_all_four_shows_pictures_and_numbers(stage: Stage) -> None:
    """What the UI shows is how most people judge a film before they open it."""
    stage.add(_quick("all", script="A quiet harbour."))

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


def test_finished_prompt_is_reported_again_and_nothing_is_made(stage: Stage) -> None:
    """P5 in the UI: a second click on Materialize must be free."""
    stage.add(_quick("again"))
    stage.materialize(FOUR, "again")
    before = stage.purchases("again")

    run = stage.materialize(["merged"], "again")

    assert stage.purchases("again") == before
    assert list(stage.reported(run)) == ["merged"]
    assert stage.reported(run)["merged"]["cached"] is True


def test_selecting_only_merged_makes_and_reports_what_is_missing(stage: Stage) -> None:
    """Upstream assets that were made, and so perhaps paid for, must show up as materialized."""
    stage.add(_quick("upstream"))

    run = stage.materialize(["merged"], "upstream")

    assert sorted(stage.reported(run)) == ["image", "merged", "video"]


def test_one_by_one_makes_each_step_once(stage: Stage) -> None:
    """Checkpoints: each asset alone, in the order of the chain, buys exactly its own step."""
    stage.add(_quick("single"))

    for count, asset in enumerate(FOUR, start=1):
        run = stage.materialize([asset], "single")
        assert list(stage.reported(run)) == [asset]
        assert len(stage.purchases("single")) == count

    assert {row.attempts for row in stage.purchases("single").values()} == {1}


def test_terminate_during_the_video_step_cancels_and_keeps_what_is_done(stage: Stage) -> None:
    """P8 and P2: Terminate reaches the work within seconds, and what was finished is a checkpoint."""
    stage.add(_quick("long", clip_s=60, size_px=[1024, 1024], params={"video": {"fps": 60}}))
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

    stage.add(_quick("long", size_px=[1024, 1024]))
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
    good = [_quick("range-a"), _quick("range-c")]
    bad = _quick("range-b", routes={"image": ["local:no-such-model"]})
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


def test_new_take_is_taken_once_for_all_retries_of_a_run(stage: Stage) -> None:
    """A retried run must not buy yet another variation (decision record 4)."""
    stage.add(_quick("takes"))
    stage.materialize(FOUR, "takes")

    run = stage.materialize(FOUR, "takes", new_take=["image"])
    retry_tags = {"dagster/root_run_id": run, "dagster/parent_run_id": run}
    retry = stage.server.launch(
        FOUR, partition_key="takes", run_config=_config({"new_take": ["image"]}), tags=retry_tags
    )
    stage.server.wait_for(retry, {"SUCCESS"}, deadline_s=_RUN_S)

    assert stage.reported(run)["image"]["cached"] is False
    assert {one["cached"] for one in stage.reported(retry).values()} == {True}
    with open_ledger(stage.home) as ledger:
        takes = sorted(row.take for row in ledger.purchases.search(prompt_key="takes") if row.step == "image")
    assert takes == [0, 1]


def test_lost_artifact_is_made_again_alone(stage: Stage) -> None:
    """A deleted file costs its own step and nothing after it."""
    stage.add(_quick("lost"))
    first = stage.reported(stage.materialize(FOUR, "lost"))
    Path(first["video"]["path"]).unlink()

    second = stage.reported(stage.materialize(FOUR, "lost"))

    assert {asset: one["cached"] for asset, one in second.items()} == {
        "image": True,
        "video": False,
        "audio": True,
        "merged": True,
    }
    assert second["merged"]["sha256"] == first["merged"]["sha256"]


def test_bad_run_configuration_fails_before_anything_is_made(stage: Stage) -> None:
    """The launchpad takes any text; a cap that is not a number must not become no cap."""
    stage.add(_quick("bad-config"))

    for config in ({"max_cost_usd": "cheap"}, {"new_take": ["picture"]}):
        run = stage.materialize(["image"], "bad-config", expect="FAILURE", **config)
        assert next(iter(config)) in " ".join(str(event) for event in stage.server.events(run))

    assert stage.purchases("bad-config") == {}


def test_unknown_partition_fails_with_what_to_do(stage: Stage) -> None:
    """A partition that was typed into the UI has no prompt behind it."""
    stage.server.add_partition(PARTITIONS_NAME, "typed-by-hand")

    run = stage.materialize(["image"], "typed-by-hand", expect="FAILURE")

    assert "media-assets generate" in " ".join(str(event) for event in stage.server.events(run))
