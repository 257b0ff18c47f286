"""A backfill in a test, by the daemon's own code: it chooses the runs, and they are executed one after the other here.

None of it is public in Dagster (1.13.27); with another version, look here first.
"""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, PartitionBackfill
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration

_LAUNCHER = {"module": "dagster._core.launcher.sync_in_memory_run_launcher", "class": "SyncInMemoryRunLauncher"}
_ID = "backfill"


def backfilling_instance(folder: Path) -> dg.DagsterInstance:
    """Return an instance of Dagster that executes runs in this process."""
    folder.mkdir()
    return dg.DagsterInstance.local_temp(str(folder), overrides={"run_launcher": _LAUNCHER})


def backfill(
    instance: dg.DagsterInstance, module: str, assets: Sequence[str], keys: Sequence[str]
) -> PartitionBackfill:
    """Do what the UI's "Launch backfill" does for assets of a module's definitions; return how it ended."""
    target = LoadableTargetOrigin(module_name=module, executable_path=sys.executable)
    origin = InProcessCodeLocationOrigin(target, location_name=module)
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        # Dagster itself uses what it has deprecated, where it loads schedules and selections.
        warnings.simplefilter("ignore", DeprecationWarning)
        workspace = stack.enter_context(WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)))
        instance.add_backfill(_backfill(instance, workspace, assets, keys))
        while True:
            for error in execute_backfill_iteration(workspace, logging.getLogger(__name__)):
                assert error is None, error.to_string()  # noqa: S101 - for tests
            for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])):
                instance.launch_run(run.run_id, workspace.create_request_context())
            found = instance.get_backfill(_ID)
            if found is not None and found.status in BULK_ACTION_TERMINAL_STATUSES:
                return found


def _backfill(
    instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, assets: Sequence[str], keys: Sequence[str]
) -> PartitionBackfill:
    return PartitionBackfill.from_asset_partitions(
        backfill_id=_ID,
        asset_graph=workspace.create_request_context().asset_graph,
        partition_names=list(keys),
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )
