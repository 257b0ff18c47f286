"""Studios that buy from the simulator: the product as it is, with its settings pointed at loopback."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from media_assets.catalog import Catalog, ModelSpec, load_catalog
from media_assets.film import Film
from media_assets.prompt import Prompt
from media_assets.settings import Settings, load_settings
from media_assets.simulator.server import Simulator, SimulatorOptions, running_simulator
from media_assets.studio import MakeOptions, Studio, open_studio
from media_assets_tests.making import TODAY

FAST = {
    "MEDIA_ASSETS_POLL_INTERVAL_S": "0.02",
    "MEDIA_ASSETS_RETRY_INTERVAL_S": "0.02",
    "MEDIA_ASSETS_SETTLE_LAG_S": "0.1",
    "MEDIA_ASSETS_CANCEL_GRACE_S": "1",
    "MEDIA_ASSETS_MIN_FREE_MB": "0",
    "MEDIA_ASSETS_MAX_COST_USD": "none",
    "MEDIA_ASSETS_MAX_DAY_USD": "none",
}
"""Waits as short as the settings allow, of which none is skipped; and one home buys more than a day's default cap."""

QUICK = dict.fromkeys(("replicate", "fal", "openai", "elevenlabs"), (0.0, 0.05))
"""Seconds that the simulated models run."""

SMALL = {"size_px": "512x512", "clip_s": 1, "params": {"video": {"fps": 4}}}
"""Fields of a prompt whose clip is drawn in a moment."""

PAID_ROUTES = {
    "image": ["replicate:sdxl"],
    "video": ["replicate:stable-video-diffusion"],
    "audio": ["elevenlabs:multilingual-v2"],
}


def hurried(model: str, **deadlines: float) -> ModelSpec:
    """Return a model of the catalog that is given less time."""
    return load_catalog().get(model).model_copy(update=deadlines)


def paid_prompt(**changes: Any) -> Prompt:
    """Return a prompt whose every step but the merge is paid for."""
    row = {
        "key": "paid",
        "prompt": "a red barn at dawn",
        "script": "The barn stands where the road ends.",
        "routes": PAID_ROUTES,
    }
    return Prompt.model_validate({**row, **changes})


@dataclass(frozen=True)
class Market:
    """A simulator, and a home to buy for."""

    home: Path
    simulator: Simulator
    settings: Settings

    @contextlib.contextmanager
    def studio(self, *, models: Iterable[ModelSpec] = (), **changes: Any) -> Iterator[Studio]:
        """Open a studio, as a run of the command does; ``models`` take the place of the catalog's of the same id."""
        settings = self.settings.model_copy(update=changes)
        with open_studio(self.home, settings.studio_options(), today=lambda: TODAY) as studio:
            studio.planner.catalog = Catalog([*studio.planner.catalog, *models])
            yield studio

    def attempt(self, prompt: Prompt, *, options: MakeOptions | None = None, **changes: Any) -> Film:
        """Make one film in a studio of its own; an error is in the film."""
        with self.studio(**changes) as studio:
            return asyncio.run(studio.attempt(prompt, options=options))

    def make(self, prompt: Prompt, *, options: MakeOptions | None = None, **changes: Any) -> Film:
        """Do as :meth:`attempt`; an error is raised."""
        film = self.attempt(prompt, options=options, **changes)
        if film.error is not None:
            raise film.error
        return film

    def ask(self, path: str) -> Any:
        """Return what the simulator says of itself."""
        # Plain http on this machine: reading certificates would take longer than the request.
        reply = httpx.get(self.simulator.url + path, verify=False)  # noqa: S501
        reply.raise_for_status()
        return reply.json()

    def set_faults(self, *rules: dict[str, Any]) -> None:
        """Let these things go wrong from now on, and nothing else."""
        url = f"{self.simulator.url}/_sim/faults"
        httpx.put(url, json=list(rules), verify=False).raise_for_status()  # noqa: S501 - as above

    def bill_usd(self) -> Decimal:
        """Return what the simulator bills, by its own prices."""
        return Decimal(self.ask("/_sim/bill")["total_usd"])

    def accepted(self) -> list[dict[str, Any]]:
        """Return every submission the simulator accepted."""
        return list(self.ask("/_sim/submissions")["submissions"])

    def posts(self, provider: str | None = None) -> int:
        """Return how many submissions were sent, accepted or not."""
        rows = self.ask("/_sim/requests")["requests"]
        return sum(row["count"] for row in rows if row["call"] == "submit" and provider in (None, row["provider"]))

    def requests(self) -> int:
        """Return how many HTTP requests any provider got."""
        return sum(row["count"] for row in self.ask("/_sim/requests")["requests"] if row["provider"])


@contextlib.contextmanager
def open_market(home: Path, *, faults: Sequence[dict[str, Any]] = (), **options: Any) -> Iterator[Market]:
    """Start a simulator, and point the settings of a studio at it.

    Args:
        home: The folder of state.
        faults: What goes wrong from the start.
        options: Of the simulator.
    """
    with running_simulator(SimulatorOptions(**{"latency_s": QUICK, "faults": faults, **options})) as simulator:
        yield Market(home, simulator, settings_for(simulator))


def settings_for(simulator: Simulator) -> Settings:
    """Return the settings of a user who exported what ``simulator --print-env`` prints."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**simulator.environment(), **FAST}.items():
            patch.setenv(name, value)
        return load_settings()
