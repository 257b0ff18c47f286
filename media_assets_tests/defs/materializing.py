"""What both ways of materializing share in tests: prompts that are made in a moment, and what came of a run."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from media_assets.definitions import build_defs
from media_assets.defs.checks import CHECK_SPECS
from media_assets.defs.partitions import PARTITIONS_NAME
from media_assets.ledger import open_ledger
from media_assets.ledger.rows import PurchaseRow
from media_assets.prompt import Prompt
from media_assets_tests.simulated import Market

FOUR = ["image", "video", "audio", "merged"]


def quick(key: str, **fields: Any) -> dict[str, Any]:
    """Return a prompt that takes about a second to make."""
    return {
        "key": key,
        "prompt": f"A quiet harbour called {key}",
        "size_px": [512, 512],
        "clip_s": 1,
        "params": {"video": {"fps": 4}},
        **fields,
    }


def pin(home: Path, *prompts: dict[str, Any]) -> None:
    """Put prompts into the ledger, as ``media-assets ui`` does."""
    with open_ledger(home) as ledger:
        ledger.prompts.pin([Prompt.model_validate(prompt) for prompt in prompts], source="test")


def purchases_of(home: Path, key: str) -> dict[str, PurchaseRow]:
    """Return the purchases of a prompt by step; fails if a step has several."""
    with open_ledger(home) as ledger:
        rows = ledger.purchases.search(prompt_key=key)
    by_step = {row.step: row for row in rows}
    assert len(by_step) == len(rows)
    return by_step


@contextlib.contextmanager
def at_first_post(market: Market, then: Callable[[], object]) -> Iterator[None]:
    """Do something as soon as a picture has been asked for, beside whatever asks."""

    def wait() -> None:
        while not market.posts("replicate"):
            time.sleep(0.02)
        then()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    yield
    waiting.join(timeout=60)
    assert not waiting.is_alive()


def run_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the launchpad's form of the step's options."""
    return {"ops": {"media": {"config": config}}} if config else {}


def newest_checks(instance: dg.DagsterInstance, asset: str, check: str) -> dict[str, str]:
    """Return the newest status of a check by partition, as the UI has it: for the newest materialization alone."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    infos = instance.event_log_storage.get_asset_check_partition_info([key])
    found = {one.partition_key: one.latest_execution_status.value if one.is_current else "OUTDATED" for one in infos}
    return {key: status for key, status in found.items() if key is not None}


class Stage:
    """The project's definitions on an instance of Dagster, and the home they work in."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self.home = home
        self._instance = instance
        self._job = build_defs().resolve_implicit_global_asset_job_def()

    def add(self, key: str, **fields: Any) -> None:
        """Pin a prompt and make it a partition."""
        pin(self.home, quick(key, **fields))
        self.add_partition(key)

    def add_partition(self, key: str) -> None:
        """Make a partition, whatever is behind it."""
        self._instance.add_dynamic_partitions(PARTITIONS_NAME, [key])

    def materialize(
        self, assets: list[str], key: str, *, succeeds: bool = True, tags: dict[str, str] | None = None, **config: Any
    ) -> str:
        """Materialize one partition; return the run's id."""
        return self._run(assets, succeeds=succeeds, partition_key=key, tags=tags, **config)

    def materialize_range(self, assets: list[str], first: str, last: str, *, succeeds: bool = True) -> str:
        """Materialize the partitions from one to another, in the order they were added, in one run; return its id."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return self._run(assets, succeeds=succeeds, tags=tags)

    def check(self, assets: list[str]) -> str:
        """Ask for checks alone, as the UI's button does, which names no partition; return the run's id."""
        specs = [spec for spec in CHECK_SPECS if spec.asset_key.to_user_string() in assets]
        job = self._job.get_subset(asset_selection=set(), asset_check_selection={spec.key for spec in specs})
        run = job.execute_in_process(instance=self._instance, raise_on_error=False)
        assert run.success
        return run.run_id

    def _run(
        self,
        assets: list[str],
        *,
        succeeds: bool,
        tags: dict[str, str] | None,
        partition_key: str | None = None,
        **config: Any,
    ) -> str:
        run = self._job.execute_in_process(
            instance=self._instance,
            partition_key=partition_key,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            run_config=run_config(config),
            tags=tags,
            raise_on_error=False,
        )
        assert run.success == succeeds
        return run.run_id

    def events(self, run: str) -> str:
        """Return everything that a run has told."""
        return " ".join(str(event) for event in self._instance.all_logs(run))

    def tags(self, run: str) -> dict[str, str]:
        """Return the tags of a run as they are at its end."""
        found = self._instance.get_run_by_id(run)
        assert found is not None
        return dict(found.tags)

    def failure(self, run: str) -> tuple[str, dict[str, Any]]:
        """Return what a run's failed step says to people, and its metadata."""
        (entry,) = self._instance.all_logs(run, of_type=dg.DagsterEventType.STEP_FAILURE)
        failure = entry.get_dagster_event().step_failure_data.user_failure_data
        assert failure is not None
        return str(failure.description), {name: value.value for name, value in failure.metadata.items()}

    def checks(self, run: str) -> list[dg.AssetCheckEvaluation]:
        """Return what a run has told of its assets' checks, in order."""
        entries = self._instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        return [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]

    def recorded(self, asset: str, check: str) -> dict[str, str]:
        """Return the newest status of a check by partition."""
        return newest_checks(self._instance, asset, check)

    def reported(self, run: str) -> dict[str, dict[str, Any]]:
        """Return the metadata of what a run materialized, by asset."""
        found = {}
        for entry in self._instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            event = entry.get_dagster_event().step_materialization_data.materialization
            found[event.asset_key.to_user_string()] = {name: one.value for name, one in event.metadata.items()}
        return found

    def purchases(self, key: str) -> dict[str, PurchaseRow]:
        """Return the purchases of a prompt by step; fails if a step has several."""
        return purchases_of(self.home, key)
