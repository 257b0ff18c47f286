"""A real Dagster webserver and code server for tests, and the few GraphQL questions tests ask.

What a user does in the UI goes this way too, so a test that launches and terminates here covers the webserver, the
code server and the run process. Does not belong here: which definitions are served and what is expected of them.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

ASSET_JOB = "__ASSET_JOB"
"""The job Dagster makes of all assets (dagster 1.13.27, IMPLICIT_ASSET_JOB_NAME)."""

FINAL = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

_REPOSITORY = Path(__file__).resolve().parents[2]
_POLL_S = 0.05
_STOP_S = 5.0

_LOCATIONS = """
query { workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename
    ... on PythonError { message stack cause { message } }
    ... on RepositoryLocation { name repositories { name } } } } } } }
"""

_LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on Error { message } } }
"""

_TERMINATE = """
mutation ($run: String!) { terminateRun(runId: $run) { __typename
  ... on TerminateRunFailure { message }
  ... on RunNotFoundError { message }
  ... on PythonError { message } } }
"""

_RUN = """
query ($run: ID!) { runOrError(runId: $run) { __typename ... on Run { status startTime endTime } } }
"""

_EVENTS = """
query ($run: ID!, $cursor: String) { logsForRun(runId: $run, afterCursor: $cursor) { __typename
  ... on PythonError { message }
  ... on EventConnection { cursor hasMore events { __typename
    ... on MessageEvent { message level timestamp eventType stepKey }
    ... on ErrorEvent { error { className message } }
    ... on MaterializationEvent { assetKey { path } partition metadataEntries { __typename label
      ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intRepr }
      ... on BoolMetadataEntry { boolValue } ... on JsonMetadataEntry { jsonString }
      ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
      ... on PathMetadataEntry { path } ... on UrlMetadataEntry { url }
      ... on TimestampMetadataEntry { timestamp } } } } } } }
"""

_ADD_PARTITION = """
mutation ($repository: RepositorySelector!, $name: String!, $key: String!) {
  addDynamicPartition(repositorySelector: $repository, partitionsDefName: $name, partitionKey: $key) {
    __typename ... on PythonError { message } ... on UnauthorizedError { message } } }
"""


class WebserverError(AssertionError):
    """The webserver did not do what it was asked; the message has its answer."""


@dataclass(frozen=True)
class Materialization:
    """One asset materialization of a run."""

    asset: str
    """The asset key, its parts joined with ``/``."""
    partition: str | None
    metadata: dict[str, Any]
    """Plain values by label; None for a kind of metadata that this harness does not read."""
    timestamp_s: float
    """When it happened, in seconds since the epoch."""


class Webserver:
    """A running webserver, asked over loopback HTTP."""

    def __init__(self, client: httpx.Client, home: Path) -> None:
        self.home = home
        """DAGSTER_HOME: ``DagsterInstance.from_config(home)`` opens the same storage."""
        self._client = client
        self._repository: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return str(self._client.base_url)

    def query(self, text: str, **variables: Any) -> Any:
        """Return the one field that a GraphQL query or mutation asks for."""
        answer = self._client.post("/graphql", json={"query": text, "variables": variables}).json()
        if answer.get("errors"):
            raise WebserverError(json.dumps(answer["errors"], indent=1))
        (value,) = answer["data"].values()
        return value

    def launch(
        self,
        asset_keys: Sequence[str] = (),
        *,
        partition_key: str | None = None,
        partition_range: tuple[str, str] | None = None,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        job: str = ASSET_JOB,
    ) -> str:
        """Launch a run as the UI's Materialize button does, and return its id.

        Args:
            asset_keys: Keys with their parts joined by ``/``; none selects all of ``job``.
            partition_key: The run's only partition.
            partition_range: First and last key, in the order in which the partitions were added: one run of all.
            run_config: As in the launchpad.
            tags: Further run tags.
            job: For a job of one's own.
        """
        run_tags = dict(tags or {})
        if partition_key is not None:
            run_tags["dagster/partition"] = partition_key
        if partition_range is not None:
            first, last = partition_range
            run_tags["dagster/asset_partition_range_start"] = first
            run_tags["dagster/asset_partition_range_end"] = last
        selector: dict[str, Any] = {**self._repository, "pipelineName": job}
        if asset_keys:
            selector["assetSelection"] = [{"path": key.split("/")} for key in asset_keys]
        params = {
            "selector": selector,
            "runConfigData": json.dumps(run_config or {}),
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in run_tags.items()]},
        }
        answer = self.query(_LAUNCH, params=params)
        return str(_expect(answer, "LaunchRunSuccess")["run"]["runId"])

    def terminate(self, run_id: str) -> str:
        """Ask for a safe termination, as the UI's button does, and return the answer's type.

        ``TerminateRunSuccess`` says that the run process was told, not that it has ended. A run that is ending
        already, or has ended, may answer ``TerminateRunFailure``.
        """
        return str(self.query(_TERMINATE, run=run_id)["__typename"])

    def status(self, run_id: str) -> str:
        """Return the run's status, such as ``STARTED``, ``CANCELING`` or one of ``FINAL``."""
        return str(_expect(self.query(_RUN, run=run_id), "Run")["status"])

    def wait_for(self, run_id: str, statuses: Collection[str] = FINAL, *, deadline_s: float) -> str:
        """Return the run's status once it is one of ``statuses``.

        Raises:
            WebserverError: The deadline passed, or the run ended otherwise; the message has the run's events.
        """
        ends_at_s = time.monotonic() + deadline_s
        while True:
            status = self.status(run_id)
            if status in statuses:
                return status
            late = time.monotonic() > ends_at_s
            if late or status in FINAL:
                why = f"not within {deadline_s:g} s" if late else "ended otherwise"
                events = "\n".join(_as_line(event) for event in self.events(run_id))
                message = f"wanted {sorted(statuses)}, run is {status} ({why}):\n{events}"
                raise WebserverError(message)
            time.sleep(_POLL_S)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return everything the run has logged so far, as GraphQL describes it."""
        events: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = _expect(self.query(_EVENTS, run=run_id, cursor=cursor), "EventConnection")
            events += page["events"]
            if not page["hasMore"]:
                return events
            cursor = page["cursor"]

    def materializations(self, run_id: str) -> list[Materialization]:
        """Return what the run has materialized so far, in the order in which it was reported."""
        return [
            Materialization(
                asset="/".join(event["assetKey"]["path"]),
                partition=event["partition"],
                metadata={entry["label"]: _value(entry) for entry in event["metadataEntries"]},
                timestamp_s=float(event["timestamp"]) / 1000,
            )
            for event in self.events(run_id)
            if event["__typename"] == "MaterializationEvent"
        ]

    def add_partition(self, partitions_def_name: str, key: str) -> None:
        """Add a key to a dynamic partitions definition; one that exists is left as it is."""
        answer = self.query(_ADD_PARTITION, repository=self._repository, name=partitions_def_name, key=key)
        if answer["__typename"] != "DuplicateDynamicPartitionError":
            _expect(answer, "AddDynamicPartitionSuccess")

    def find_repository(self) -> bool:
        """Return whether the only code location has loaded, and remember it.

        Raises:
            WebserverError: It failed to load.
        """
        entries = _expect(self.query(_LOCATIONS), "Workspace")["locationEntries"]
        if not entries or any(entry["loadStatus"] != "LOADED" for entry in entries):
            return False
        (entry,) = entries
        location = _expect(entry["locationOrLoadError"], "RepositoryLocation")
        (repository,) = location["repositories"]
        self._repository = {
            "repositoryLocationName": location["name"],
            "repositoryName": repository["name"],
        }
        return True


@contextlib.contextmanager
def webserver(
    target: Sequence[str],
    *,
    home: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path = _REPOSITORY,
    deadline_s: float = 60.0,
) -> Iterator[Webserver]:
    """Serve one code location until the block is left; then nothing that was started is alive any more.

    Runs are children of the code server, so a run that is still going on ends with the block too.

    Args:
        target: What to serve, in the command's words: ``("-w", FILE)``, ``("-m", MODULE)`` or ``("-f", FILE)``.
        home: A folder of this server alone. Its ``dagster.yaml`` is written unless it is there.
        environment: Variables on top of this process's own, of which those named DAGSTER_* are left out.
        directory: Where the server and its runs work; relative names in ``target`` start here.
        deadline_s: Seconds until the code location has to be loaded.

    Raises:
        WebserverError: It did not start in time or could not load its code; the message has the end of its log.
    """
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    _write_instance_config(home)
    port = free_port()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DAGSTER_")}
    log_path = home / "webserver.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), *target],
            cwd=directory,
            env={**inherited, **(environment or {}), "DAGSTER_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: the code server and its runs are in it, and so can be ended together.
            start_new_session=True,
        )
    try:
        # No proxy that the environment may name: this is loopback only.
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            server = Webserver(client, home)
            try:
                _wait_until_loaded(server, process, deadline_s)
            except WebserverError as error:
                error.add_note(log_path.read_text(errors="replace")[-4000:])
                raise
            yield server
    finally:
        _end(process)


def _write_instance_config(home: Path) -> None:
    path = home / "dagster.yaml"
    if path.exists():
        return
    config = {
        "storage": {"sqlite": {"base_dir": str(home / "storage")}},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "DefaultRunCoordinator",
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }
    path.write_text(yaml.safe_dump(config))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_loaded(server: Webserver, process: subprocess.Popen[bytes], deadline_s: float) -> None:
    ends_at_s = time.monotonic() + deadline_s
    while time.monotonic() < ends_at_s:
        if process.poll() is not None:
            message = f"the webserver ended with exit code {process.returncode}"
            raise WebserverError(message)
        with contextlib.suppress(httpx.TransportError):
            if server.find_repository():
                return
        time.sleep(_POLL_S)
    message = f"the code location was not loaded within {deadline_s:g} s"
    raise WebserverError(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the webserver politely, and whatever is left of its group for good."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
    # The group outlives its leader for as long as the code server or a run does.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _expect(answer: dict[str, Any], kind: str) -> dict[str, Any]:
    if answer["__typename"] != kind:
        raise WebserverError(json.dumps(answer, indent=1))
    return answer


def _value(entry: Mapping[str, Any]) -> Any:
    values = {key: value for key, value in entry.items() if key not in {"__typename", "label"}}
    if "intRepr" in values:
        return int(values["intRepr"])
    if "jsonString" in values:
        return json.loads(values["jsonString"])
    return next(iter(values.values()), None)


def _as_line(event: Mapping[str, Any]) -> str:
    error = event.get("error") or {}
    return f"{event.get('eventType')}: {event.get('message')} {error.get('message', '')}".rstrip()
