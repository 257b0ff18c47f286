"""A run whose code server is gone: nobody terminated it, and what it has spent is known all the same."""

import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest

from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets_tests.defs.materializing import pin, quick
from media_assets_tests.simulated import FAST, QUICK, open_market

_RUN = """
import sys
import dagster as dg
from media_assets.definitions import build_defs
assets = [dg.AssetKey(name) for name in ("image", "video", "audio", "merged")]
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    build_defs().resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, partition_key="barn", asset_selection=assets, raise_on_error=False
    )
"""
_DEADLINE_S = 60


def test_a_run_that_lost_its_parent_says_what_it_has_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster starts it again; the picture that was paid for is in the tag of the run that paid for it."""
    home, storage = tmp_path / "state", tmp_path / "dagster"
    storage.mkdir()
    monkeypatch.setenv("MEDIA_ASSETS_HOME", str(home))
    routes = {"image": ["replicate:sdxl"], "audio": ["fal:kokoro"]}
    pin(home, quick("barn", script="Look up.", size_px=(1024, 576), routes=routes))
    faults, latency_s = [{"provider": "fal", "fault": "queue_stuck"}], {**QUICK, "replicate": (0.5, 0.5)}
    with (
        open_market(home, faults=faults, latency_s=latency_s) as market,
        dg.DagsterInstance.local_temp(str(storage)) as instance,
    ):
        for name, value in {**market.simulator.environment(), **FAST}.items():
            monkeypatch.setenv(name, value)
        instance.add_dynamic_partitions(PARTITIONS_NAME, ["barn"])
        start = '"$@" >/dev/null 2>&1 & wait'
        parent = subprocess.Popen(["/bin/sh", "-c", start, "sh", sys.executable, "-c", _RUN, str(storage)])
        try:
            _wait(lambda: len(market.accepted()) == 2)
        finally:
            parent.kill()
            parent.wait()
        _wait(lambda: instance.get_runs(limit=1)[0].is_finished)
        (run,) = instance.get_runs()
        told = " ".join(str(event) for event in instance.all_logs(run.run_id))
        bill_usd = market.bill_usd()

    assert run.status is dg.DagsterRunStatus.FAILURE
    assert Decimal(run.tags["cost_usd"]) == bill_usd > 0
    assert "stopped before its end: 1 stopped; " in told


def _wait(condition: Callable[[], bool]) -> None:
    ends_at_s = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at_s
        time.sleep(0.05)
