"""A backfill of a hundred partitions, as the UI launches it: each has its own status, and the quote comes first."""

import runpy
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from media_assets.defs.partitions import PARTITIONS_NAME, prompts_partitions
from media_assets_tests.defs.materializing import Stage, pin, quick
from media_assets_tests.simulated import FAST, Market, open_market

EXAMPLE = runpy.run_path(str(Path(__file__).resolve().parents[2] / "examples" / "backfilling.py"))
"""The daemon's own code; an example, because users need it for assets of their own."""

KEYS = [f"film-{number:03}" for number in range(100)]
MADE, PAID, REFUSED, BAD, UNKNOWN = KEYS[:5], KEYS[5:8], KEYS[8:9], KEYS[9:14], KEYS[14:15]
LEFT_OUT = ["film-100", "film-101"]
"""Partitions that are not selected."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with EXAMPLE["backfilling_instance"](tmp_path / "dagster") as one:
        yield one


@pytest.fixture
def market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Market]:
    with open_market(tmp_path / "home", faults=[{"provider": "fal", "fault": "content_rejected"}]) as market:
        settings = {**market.simulator.environment(), **FAST, "MEDIA_ASSETS_HOME": str(tmp_path / "home")}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield market


def _prompt(key: str) -> dict[str, Any]:
    models = {**dict.fromkeys(PAID, "replicate:sdxl"), **dict.fromkeys(REFUSED, "fal:fast-sdxl")}
    fields: dict[str, Any] = {"size_px": [1024, 576]} if key in models else {}
    model = "no:such" if key in BAD else models.get(key, "local:landscape")
    # Ten pictures in all: what is equal is made once, and each partition is reported.
    return quick(key, **fields, prompt=f"A harbour, {int(key[-3:]) % 10}", routes={"image": [model]})


def _statuses(instance: dg.DagsterInstance, asset: str) -> dict[str, set[str]]:
    """Return the partitions of each status, as the asset's page has them."""
    key = dg.AssetKey(asset)
    cached = get_and_update_asset_status_cache_value(instance, key, prompts_partitions, instance)
    assert cached is not None
    made, failed = (
        set(subset.get_partition_keys())
        for subset in (
            cached.deserialize_materialized_partition_subsets(prompts_partitions),
            cached.deserialize_failed_partition_subsets(prompts_partitions),
        )
    )
    every = set(instance.get_dynamic_partitions(PARTITIONS_NAME))
    return {"materialized": made - failed, "failed": failed, "missing": every - made - failed}


def test_a_hundred_partitions_each_have_their_own_status_and_the_quote_comes_first(
    instance: dg.DagsterInstance, market: Market
) -> None:
    """Of the picture alone, which is enough to have a status: a hundred films would take the gate a minute."""
    pin(market.home, *(_prompt(key) for key in KEYS if key not in UNKNOWN))
    stage = Stage(instance, market.home)
    instance.add_dynamic_partitions(PARTITIONS_NAME, [*KEYS, *LEFT_OUT])
    stage.materialize_range(["image"], MADE[0], MADE[-1])
    before = {run.run_id for run in instance.get_runs()}
    assert market.posts() == 0

    ended = EXAMPLE["backfill"](instance, "media_assets.definitions", ["image"], KEYS)

    failed = {*REFUSED, *BAD, *UNKNOWN}
    assert ended.status.value == "COMPLETED_FAILED"
    assert _statuses(instance, "image") == {
        "materialized": set(KEYS) - failed,
        "failed": failed,
        "missing": set(LEFT_OUT),
    }
    assert _counts(ended) == {"targeted": 100, "materialized": 100 - len(failed), "failed": len(failed)}
    (run,) = (one.run_id for one in instance.get_runs() if one.run_id not in before)
    told, _ = stage.failure(run)
    assert f"{len(failed)} of 100 prompts failed" in told
    states = Counter((one["provider"], one["state"]) for one in market.accepted())
    assert states == {("replicate", "succeeded"): len(PAID), ("fal", "failed"): len(REFUSED)}
    first = min(datetime.fromisoformat(one["at"]).timestamp() for one in market.accepted())
    (quoted,) = (one for one in instance.all_logs(run) if "USD will be spent" in one.user_message)
    assert quoted.timestamp < first, "who watches the log can stop it in time"


def _counts(ended: Any) -> dict[str, int]:
    """Return what the backfill's own page counts."""
    data = ended.asset_backfill_data
    return {
        "targeted": data.target_subset.num_partitions_and_non_partitioned_assets,
        "materialized": data.materialized_subset.num_partitions_and_non_partitioned_assets,
        "failed": data.failed_and_downstream_subset.num_partitions_and_non_partitioned_assets,
    }
