"""A toy chain in one step, as the real one is: for tests that terminate it through a webserver.

Its coroutines write what happens to them to files, which is how a test sees into the run process.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from media_assets.defs.run_blocking import run_blocking

WORKERS = 20
EVENTS_PER_TICK = 30

PARTITIONS = dg.DynamicPartitionsDefinition(name="toys")


class ToyConfig(dg.Config):
    """What a test wants to happen in the step."""

    marks: str
    """An existing folder, absolute."""
    work_s: float = 0.0
    """Seconds that each worker takes."""
    clean_s: float = 0.0
    """Seconds that each worker takes to clean up when it is cancelled."""
    events: bool = False
    """Whether each tick stores events in Dagster's log, one after the other."""


class Toy:
    """``first`` is done at once; ``second`` is made by many workers."""

    def __init__(self, config: ToyConfig) -> None:
        self.finished: list[str] = []
        self._config = config

    def mark(self, name: str, text: str = "") -> None:
        # Renamed into place: a reader finds a mark with all of its text.
        path = Path(self._config.marks, name)
        path.with_suffix(".part").write_text(text)
        path.with_suffix(".part").rename(path)

    async def make(self) -> None:
        self.finished.append("first")
        async with asyncio.TaskGroup() as group:
            for index in range(WORKERS):
                group.create_task(self._work(index))
        self.finished.append("second")

    async def _work(self, index: int) -> None:
        self.mark(f"started-{index}", str(os.getpid()))
        try:
            await asyncio.sleep(self._config.work_s)
        except asyncio.CancelledError:
            self.mark(f"cleaning-{index}")
            await asyncio.sleep(self._config.clean_s)
            self.mark(f"cleaned-{index}")
            raise


def _ticker(context: dg.AssetExecutionContext, toy: Toy, *, events: bool) -> Callable[[], None]:
    def tick() -> None:
        if events:
            toy.mark("storing")
            for number in range(EVENTS_PER_TICK):
                context.log_event(dg.AssetObservation("first", metadata={"number": number}))
            toy.mark("stored")

    return tick


@dg.multi_asset(
    specs=[
        dg.AssetSpec("first", skippable=True),
        dg.AssetSpec("second", skippable=True, deps=["first"]),
    ],
    partitions_def=PARTITIONS,
    can_subset=True,
)
def toys(context: dg.AssetExecutionContext, config: ToyConfig) -> Iterator[Any]:
    """Make both; what had finished is reported also when the step is interrupted."""
    toy = Toy(config)

    def report() -> None:
        for name in toy.finished:
            context.log_event(dg.AssetMaterialization(name, partition=context.partition_key, metadata={"late": True}))
        toy.mark("reported")

    run_blocking(
        toy.make,
        tick=_ticker(context, toy, events=config.events),
        on_interrupt=report,
        grace_s=4,
        poll_s=0.05,
    )
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key, metadata={"late": False})


defs = dg.Definitions(assets=[toys], executor=dg.in_process_executor)
