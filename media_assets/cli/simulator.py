"""``media-assets simulator``: the providers' APIs on this machine, until it is interrupted."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media_assets.cli.interrupts import Interrupted
from media_assets.cli.output import print_text, say
from media_assets.errors import ConfigurationError
from media_assets.simulator.server import Simulator, SimulatorOptions, serve


@dataclass(frozen=True, kw_only=True)
class Typed:
    """The options as they were typed."""

    port: int
    seed: int
    time_scale: float
    latency: Sequence[str]
    faults: Path | None
    state_dir: Path | None
    print_env: bool


def run_simulator(typed: Typed) -> int:
    """Run a simulator until Ctrl-C or SIGTERM ends it; return the exit code.

    Raises:
        ConfigurationError: An option or the file of faults cannot be used, or the port is taken.
    """
    options = SimulatorOptions(
        port=typed.port,
        seed=typed.seed,
        time_scale=typed.time_scale,
        latency_s=dict(_latency_s(text) for text in typed.latency),
        faults=_read_faults(typed.faults) if typed.faults else (),
        state_dir=typed.state_dir.absolute() if typed.state_dir else None,
    )
    try:
        serve(options, lambda simulator: _announce(simulator, print_env=typed.print_env))
    except Interrupted as interrupted:
        say("the simulator has ended, and every prediction in it.")
        return interrupted.exit_code
    return 0


def _announce(simulator: Simulator, *, print_env: bool) -> None:
    if print_env:
        print_text(*(f"export {name}={shlex.quote(value)}" for name, value in simulator.environment().items()))
    say(f"simulator: {simulator.url}, log: {simulator.world.submissions.path}. Ctrl-C ends it.")


def _latency_s(text: str) -> tuple[str, tuple[float, float]]:
    provider, _, span = text.partition("=")
    low, _, high = span.partition("..")
    try:
        return provider, (float(low), float(high))
    except ValueError:
        message = f"--latency {text}: it is written PROVIDER=FROM..TO in seconds, for example fal=0.5..2."
        raise ConfigurationError(message) from None


def _read_faults(path: Path) -> list[Any]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"--faults {path}: it cannot be read: {error.strerror}."
        raise ConfigurationError(message) from error
    except ValueError as error:
        message = f"--faults {path}: it is no JSON: {error}."
        raise ConfigurationError(message) from error
    if not isinstance(given, list):
        message = f"--faults {path}: it must hold a list of rules."
        raise ConfigurationError(message)
    return given
