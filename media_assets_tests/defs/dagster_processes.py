"""Dagster as people run it: a code server, a webserver and a daemon, three processes that can be killed one by one."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import yaml

from media_assets_tests.defs.webserver import free_port

_STOP_S = 15.0
_POLL_S = 0.5


@dataclass
class Processes:
    """The three processes, on one instance."""

    home: Path
    """DAGSTER_HOME."""
    environment: Mapping[str, str]
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _commands: dict[str, list[str]] = field(default_factory=dict)

    def prepare(self, instance: Mapping[str, object]) -> None:
        """Write the instance's configuration, and where its code is."""
        self.home.mkdir(parents=True)
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(dict(instance)))
        # One process makes the databases: of two that do so at once, one fails (Dagster 1.13.27).
        self.instance().dispose()
        port = str(free_port())
        location = {"host": "127.0.0.1", "port": int(port), "location_name": "media_assets"}
        workspace = self.home / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": location}]}))
        dagster, target = [sys.executable, "-m", "dagster"], ["-w", str(workspace)]
        serve = [*dagster, "api", "grpc", "-m", "media_assets.definitions", "-h", "127.0.0.1", "-p", port]
        web = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(free_port()), *target]
        self._commands = {
            "code": serve,
            "daemon": [str(Path(sys.executable).parent / "dagster-daemon"), "run", *target],
            "web": web,
            "sensor": [*dagster, "sensor", "start", "new_prompts", *target],
        }

    def start(self, name: str) -> None:
        """Start one of them."""
        log = (self.home / f"{name}.log").open("ab")
        self._running[name] = subprocess.Popen(
            self._commands[name],
            cwd=self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: the runs are in the code server's.
            start_new_session=True,
        )
        log.close()

    def switch_on(self) -> None:
        """Switch the sensor on, as the toggle in the UI does; waits until the code server answers."""
        ends_at = time.monotonic() + 60
        while subprocess.run(
            self._commands["sensor"], env=self._environment(), cwd=self.home, check=False, capture_output=True
        ).returncode:
            assert time.monotonic() < ends_at, self.logs()
            time.sleep(_POLL_S)

    def kill(self, name: str) -> None:
        """Kill one of them, and what it has started."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def instance(self) -> dg.DagsterInstance:
        """Open the instance that the processes share."""
        return dg.DagsterInstance.from_config(str(self.home))

    def wait_until(self, condition: Callable[[], bool], *, deadline_s: float) -> None:
        """Wait for something to come about; fail with the ends of the logs if it does not."""
        ends_at = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < ends_at, f"not within {deadline_s:g} s\n{self.logs()}"
            for name, process in self._running.items():
                assert process.poll() is None, f"{name} ended by itself\n{self.logs()}"
            time.sleep(_POLL_S)

    def logs(self) -> str:
        """Return the end of what each has said."""
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.home.glob("*.log")
        )

    def end(self) -> None:
        """End them all."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _environment(self) -> dict[str, str]:
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("DAGSTER_", "MEDIA_ASSETS_"))
        }
        return {**inherited, **self.environment, "DAGSTER_HOME": str(self.home), "PYTHONWARNINGS": "ignore"}


@contextlib.contextmanager
def dagster_processes(
    home: Path, environment: Mapping[str, str], instance: Mapping[str, object]
) -> Iterator[Processes]:
    """Start a code server, a webserver and a daemon, with the sensor ``new_prompts`` on; end them at the end."""
    processes = Processes(home, environment)
    processes.prepare(instance)
    try:
        processes.start("code")
        processes.switch_on()
        processes.start("daemon")
        processes.start("web")
        yield processes
    finally:
        processes.end()
